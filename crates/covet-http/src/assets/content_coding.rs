//! Which of a file's forms a client gets: `Accept-Encoding` (RFC 9110 §12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A content coding that files come precompressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

/// All, in the order in which they are preferred among those that a client likes equally.
pub(super) const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

impl Coding {
    /// As `Content-Encoding` writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// The best of the codings that are `available`; `None`: the file as it is. That it is always: a client that refuses
/// even that gets it all the same, which RFC 9110 allows.
pub(super) fn choose(request: &HeaderMap, available: impl Fn(Coding) -> bool) -> Option<Coding> {
    let wishes = Wishes::of(request);
    let mut best = (None, wishes.identity());
    for coding in CODINGS.into_iter().filter(|coding| available(*coding)) {
        let weight = wishes.of_coding(coding.name());
        // Of equals the compressed one.
        if weight > 0 && (weight > best.1 || (weight == best.1 && best.0.is_none())) {
            best = (Some(coding), weight);
        }
    }
    best.0
}

/// What a client says, in thousandths.
struct Wishes<'a> {
    listed: Vec<(&'a [u8], u16)>,
}

impl<'a> Wishes<'a> {
    fn of(request: &'a HeaderMap) -> Self {
        let values = request.get_all(ACCEPT_ENCODING).iter();
        let items = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        Self { listed: items.filter_map(item).collect() }
    }

    fn listed(&self, name: &str) -> Option<u16> {
        let found = self.listed.iter().find(|(listed, _)| listed.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, weight)| *weight)
    }

    fn of_coding(&self, name: &str) -> u16 {
        self.listed(name).or_else(|| self.listed("*")).unwrap_or(0)
    }

    /// Without a word about it, it is acceptable and the last choice.
    fn identity(&self) -> u16 {
        self.listed("identity").or_else(|| self.listed("*").filter(|weight| *weight == 0)).unwrap_or(1)
    }
}

/// `gzip;q=0.5`. A weight that is none makes the item void.
fn item(item: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1_000;
    for parameter in parts {
        if let [b'q' | b'Q', b'=', value @ ..] = parameter {
            weight = thousandths(value)?;
        }
    }
    Some((name, weight))
}

/// `0`, `0.5`, `1.000`.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(b"000").take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let sum = u16::from(whole - b'0') * 1_000 + fraction;
    (sum <= 1_000).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str, available: &[Coding]) -> Option<&'static str> {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, accept.parse().unwrap())]);
        choose(&headers, |coding| available.contains(&coding)).map(Coding::name)
    }

    #[test]
    fn weights_decide_and_then_the_size() {
        assert_eq!(chosen("gzip, br, zstd", &CODINGS), Some("br"));
        assert_eq!(chosen("gzip, br;q=0.9", &CODINGS), Some("gzip"));
        assert_eq!(chosen("br;q=0, *", &CODINGS), Some("zstd"));
        assert_eq!(chosen("GZIP;Q=0.001", &CODINGS), Some("gzip"));
        assert_eq!(chosen("gzip, br", &[Coding::Gzip]), Some("gzip"));
    }

    #[test]
    fn the_file_as_it_is_goes_out_when_nothing_else_is_wanted() {
        for accept in ["", "identity", "deflate", "br;q=0", "br;q=2", "br;q=0.0000", "identity, br;q=0.5", "*;q=0"] {
            assert_eq!(chosen(accept, &CODINGS), None, "{accept}");
        }
        assert_eq!(choose(&HeaderMap::new(), |_| true).map(Coding::name), None);
    }
}
