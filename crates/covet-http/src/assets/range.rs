//! `Range`: one part of a file (RFC 9110 §14).

use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};

use crate::conditional::{EntityTag, Validators, http_date};

/// What part of a representation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: there is no `Range`, or one that is ignored.
    All,
    /// The first byte, and how many.
    Part(u64, u64),
    /// A part that it does not have: 416.
    Nothing,
}

/// Which part a `GET` asks for. Several parts, another unit and what is malformed are ignored, as RFC 9110 §14.2
/// allows: the whole is a right answer, and a multipart one costs more than it saves.
pub(super) fn wanted(request: &HeaderMap, validators: &Validators<'_>, length: u64) -> Wanted {
    let Some(range) = request.get(RANGE) else { return Wanted::All };
    if !is_of_this_version(request, validators) {
        return Wanted::All;
    }
    let Some(set) = range.to_str().ok().and_then(|range| range.trim().split_once('=')) else { return Wanted::All };
    let (unit, set) = set;
    if !unit.eq_ignore_ascii_case("bytes") {
        return Wanted::All;
    }
    part(set.trim(), length)
}

fn part(set: &str, length: u64) -> Wanted {
    let Some((first, last)) = set.split_once('-') else { return Wanted::All };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More than fit are beyond any file.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first, number(first), last, number(last)) {
        ("", _, _, Some(0)) => Wanted::Nothing,
        ("", _, _, Some(_)) if length == 0 => Wanted::Nothing,
        ("", _, _, Some(suffix)) => {
            let suffix = suffix.min(length);
            Wanted::Part(length - suffix, suffix)
        }
        (_, Some(first), "", _) if first < length => Wanted::Part(first, length - first),
        (_, Some(first), _, Some(last)) if first <= last && first < length => {
            Wanted::Part(first, last.min(length - 1) - first + 1)
        }
        (_, Some(_), "", _) => Wanted::Nothing,
        (_, Some(first), _, Some(last)) if first <= last => Wanted::Nothing,
        _ => Wanted::All,
    }
}

/// `If-Range`: the part is wanted only of the version that the client has begun with.
fn is_of_this_version(request: &HeaderMap, validators: &Validators<'_>) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    let own = validators.etag.and_then(|etag| EntityTag::parse(etag.as_bytes()));
    match (EntityTag::parse(condition.as_bytes()), own) {
        (Some(tag), Some(own)) => own.is_strongly(&tag),
        (Some(_), None) => false,
        // A date must be the very one.
        (None, _) => http_date(condition).is_some_and(|date| validators.last_modified == Some(date)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(headers: &[(&'static str, &str)]) -> Wanted {
        let request = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let etag = HeaderValue::from_static("\"a\"");
        wanted(&request, &Validators { etag: Some(&etag), last_modified: Some(784_111_777) }, 100)
    }

    #[test]
    fn one_part_is_cut_from_the_front_the_middle_or_the_end() {
        assert_eq!(asked(&[("range", "bytes=0-9")]), Wanted::Part(0, 10));
        assert_eq!(asked(&[("range", "Bytes=90-")]), Wanted::Part(90, 10));
        assert_eq!(asked(&[("range", "bytes=-10")]), Wanted::Part(90, 10));
        assert_eq!(asked(&[("range", "bytes=-1000")]), Wanted::Part(0, 100));
        assert_eq!(asked(&[("range", "bytes=99-99999999999999999999999")]), Wanted::Part(99, 1));
    }

    #[test]
    fn a_part_that_is_not_there_is_told_and_what_is_no_range_is_ignored() {
        for none in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(asked(&[("range", none)]), Wanted::Nothing, "{none}");
        }
        for ignored in ["bytes=0-1,5-6", "lines=1-2", "bytes=9-0", "bytes=a-b", "bytes", "bytes=-", "bytes=+1-2"] {
            assert_eq!(asked(&[("range", ignored)]), Wanted::All, "{ignored}");
        }
    }

    #[test]
    fn a_part_of_another_version_is_not_given_out() {
        let if_range = |condition| asked(&[("range", "bytes=0-0"), ("if-range", condition)]);
        assert_eq!(if_range("\"a\""), Wanted::Part(0, 1));
        assert_eq!(if_range("Sun, 06 Nov 1994 08:49:37 GMT"), Wanted::Part(0, 1));
        for other in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:38 GMT", "nonsense"] {
            assert_eq!(if_range(other), Wanted::All, "{other}");
        }
    }
}
