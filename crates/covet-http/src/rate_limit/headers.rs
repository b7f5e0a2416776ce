//! The fields that tell a client how it stands, on answers of every kind.
//!
//! By default three fields with a number each, `RateLimit-Limit`, `-Remaining` and `-Reset`, as drafts of
//! [draft-ietf-httpapi-ratelimit-headers](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/) had them
//! up to the sixth: client libraries read these. Later drafts have two structured fields, whose syntax has changed with
//! nearly each of them and which few clients know; they can be asked for (`COVET_RATE_LIMIT__HEADERS=combined`, the draft's
//! form since the eighth).
//!
//! | field | means |
//! |---|---|
//! | `RateLimit-Limit` | requests that may be made at once |
//! | `RateLimit-Remaining` | those that may be made now |
//! | `RateLimit-Reset` | seconds until there is one more than that, rounded up: in a client's first minute, its end |

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue};

use super::settings::LimitHeaders;
use super::verdict::Verdict;

/// Most fields of a response.
pub(crate) const MOST_FIELDS: usize = 3;

static SEPARATE: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];
static COMBINED: [HeaderName; 2] = [HeaderName::from_static("ratelimit"), HeaderName::from_static("ratelimit-policy")];

/// The values, in the order of [`LimitHeaders::names`].
pub(crate) type Values = [Option<HeaderValue>; MOST_FIELDS];

impl LimitHeaders {
    pub(crate) fn names(self) -> &'static [HeaderName] {
        match self {
            Self::Separate => &SEPARATE,
            Self::Combined => &COMBINED,
            Self::Off => &[],
        }
    }

    pub(crate) fn values(self, verdict: Verdict) -> Values {
        let (limit, remaining) = (u64::from(verdict.quota.burst()), u64::from(verdict.standing.remaining));
        let reset = verdict.reset_seconds();
        match self {
            Self::Separate => [Some(number(limit)), Some(number(remaining)), Some(number(reset))],
            Self::Combined => {
                let policy = verdict.by.policy();
                let window = verdict.quota.window_seconds();
                let text = |text: String| HeaderValue::try_from(text).ok();
                let standing = text(format!("\"{policy}\";r={remaining};t={reset}"));
                [standing, text(format!("\"{policy}\";q={limit};w={window}")), None]
            }
            Self::Off => [None, None, None],
        }
    }
}

/// Numbers up to here are ready made; a larger one costs an allocation.
const READY_MADE: usize = 1_024;

static NUMBERS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    // Kept as long as the program: a static text is copied without counting references, which cores would share.
    let text: &'static str = (0..READY_MADE).map(|number| number.to_string()).collect::<String>().leak();
    let mut rest = text;
    let mut take = |length| {
        let (number, after) = rest.split_at(length);
        rest = after;
        HeaderValue::from_static(number)
    };
    (0..READY_MADE).map(|number| take(number.checked_ilog10().unwrap_or(0) as usize + 1)).collect()
});

fn number(number: u64) -> HeaderValue {
    let ready_made = usize::try_from(number).ok().and_then(|index| NUMBERS.get(index));
    ready_made.cloned().unwrap_or_else(|| HeaderValue::from(number))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rate_limit::client::By;
    use crate::rate_limit::quota::{Quota, Standing};

    fn values(style: LimitHeaders) -> Vec<String> {
        let quota = Quota::new(100, Duration::from_secs(60), 100);
        let standing = Standing { remaining: 99, more_in: 59_400_001, refused_for: None };
        let values = style.values(Verdict { by: By::Address, quota, standing });
        values.into_iter().flatten().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_style_has_a_value_for_each_of_its_names() {
        assert_eq!(values(LimitHeaders::Separate), ["100", "99", "60"]);
        assert_eq!(values(LimitHeaders::Combined), ["\"address\";r=99;t=60", "\"address\";q=100;w=60"]);
        assert!(values(LimitHeaders::Off).is_empty());
        for style in [LimitHeaders::Separate, LimitHeaders::Combined, LimitHeaders::Off] {
            assert_eq!(values(style).len(), style.names().len());
        }
    }

    #[test]
    fn numbers_ready_made_or_not_are_themselves() {
        for n in (0..1_100).chain([9_999_999_999]) {
            assert_eq!(number(n), n.to_string().as_str());
        }
    }
}
