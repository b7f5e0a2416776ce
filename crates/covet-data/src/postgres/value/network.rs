//! `INET`, `CIDR` and `MACADDR`, as PostgreSQL writes them: an address of one host without `/32`.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Malformed, Parts};

/// Address families of PostgreSQL's `inet_send`.
const V4: u8 = 2;
const V6: u8 = 3;

/// Writes an address or a network.
pub(crate) fn write_inet(raw: &[u8], out: &mut impl Write) -> Result<(), Malformed> {
    let mut parts = Parts(raw);
    let (family, bits, is_network, length) = (parts.u8()?, parts.u8()?, parts.u8()?, parts.u8()?);
    let bytes = parts.take(usize::from(length))?;
    parts.end()?;
    let (address, all): (IpAddr, u8) = match family {
        V4 => (Ipv4Addr::from(<[u8; 4]>::try_from(bytes).map_err(|_| Malformed)?).into(), 32),
        V6 => (Ipv6Addr::from(<[u8; 16]>::try_from(bytes).map_err(|_| Malformed)?).into(), 128),
        _ => return Err(Malformed),
    };
    let written =
        if is_network == 0 && bits == all { write!(out, "{address}") } else { write!(out, "{address}/{bits}") };
    written.map_err(|_| Malformed)
}

/// Writes six or eight bytes with colons between them.
pub(crate) fn write_mac(raw: &[u8], out: &mut impl Write) -> Result<(), Malformed> {
    for (index, byte) in raw.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        write!(out, "{colon}{byte:02x}").map_err(|_| Malformed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(raw: &[u8]) -> Result<String, Malformed> {
        let mut text = String::new();
        write_inet(raw, &mut text).map(|()| text)
    }

    #[test]
    fn hosts_and_networks_are_told_apart() {
        assert_eq!(inet(&[2, 32, 0, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1");
        assert_eq!(inet(&[2, 32, 1, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1/32");
        assert_eq!(inet(&[2, 8, 0, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1/8");
        let mut v6 = vec![3, 128, 0, 16];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(inet(&v6).unwrap(), "::1");
        assert_eq!(inet(&[2, 32, 0, 4, 10, 0, 0]), Err(Malformed));
    }

    #[test]
    fn hardware_addresses_have_colons() {
        let mut text = String::new();
        write_mac(&[0x08, 0, 0x2b, 1, 2, 0xff], &mut text).unwrap();
        assert_eq!(text, "08:00:2b:01:02:ff");
    }
}
