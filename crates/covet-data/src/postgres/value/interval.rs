//! `INTERVAL` in ISO 8601, as PostgreSQL writes it with `intervalstyle = iso_8601`: P1Y2M3DT4H5M6.5S

use std::fmt::Write;

use super::time::{Unwritable, write_fraction};
use super::{Malformed, Parts};

/// Months, days and microseconds are kept apart, each with a sign of its own.
pub(crate) fn write(raw: &[u8], out: &mut impl Write) -> Result<(), Unwritable> {
    let mut parts = Parts(raw);
    let (micros, days, months) = (parts.i64()?, parts.i32()?, parts.i32()?);
    parts.end()?;
    write_parts(micros, days, months, out).map_err(|_| Malformed.into())
}

fn write_parts(micros: i64, days: i32, months: i32, out: &mut impl Write) -> std::fmt::Result {
    if (micros, days, months) == (0, 0, 0) {
        return out.write_str("PT0S");
    }
    out.write_char('P')?;
    for (value, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if value != 0 {
            write!(out, "{value}{unit}")?;
        }
    }
    if micros == 0 {
        return Ok(());
    }
    out.write_char('T')?;
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    for (value, unit) in [(seconds / 3_600, 'H'), (seconds / 60 % 60, 'M')] {
        if value != 0 {
            write!(out, "{sign}{value}{unit}")?;
        }
    }
    let (seconds, part) = (seconds % 60, micros % 1_000_000);
    if seconds == 0 && part == 0 {
        return Ok(());
    }
    write!(out, "{sign}{seconds}")?;
    if part != 0 {
        write_fraction(part, out)?;
    }
    out.write_char('S')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_written_in_iso_8601() {
        for (micros, days, months, expected) in [
            (0, 0, 0, "PT0S"),
            (14_706_500_000, 3, 14, "P1Y2M3DT4H5M6.5S"),
            (-500_000, 0, 0, "PT-0.5S"),
            (-5_400_000_000, 0, -13, "P-1Y-1MT-1H-30M"),
            (0, -7, 0, "P-7D"),
            (1, 0, 0, "PT0.000001S"),
        ] {
            let mut text = String::new();
            write_parts(micros, days, months, &mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}
