//! The cases, by the groups of the public list.

use crate::case::From::{Anywhere, Cache, CacheConfirmedByDate, CacheConfirmedByTag, Handler};
use crate::case::{Case, Headers, check, get, optional, required, then};

/// Cases that belong together.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
}

/// What of the list is not run, and why.
pub(crate) const NOT_APPLICABLE: [(&str, &str); 8] = [
    (
        "`heuristic-*`, `other-heuristic-content-disposition-attachment`, `pragma-response-no-cache-heuristic`",
        "Nothing is guessed: without a word of the response or the route nothing is kept. That this is so is `freshness-none` and `heuristic-200-not_cached` above.",
    ),
    (
        "`cdn-*` (`CDN-Cache-Control`)",
        "RFC 9213 is for caches that a provider runs in front of the origin; this one is part of the origin and passes the field on to them.",
    ),
    ("`interim-*` (102, 103)", "A handler answers once; it has no interim responses."),
    (
        "`partial-store-partial-*`, `partial-use-*`",
        "A request with `Range` goes past the cache, and a part is never kept: `partial-*` above.",
    ),
    (
        "`freshness-max-age-s-maxage-private*`, `cc-resp-private-private`, `cc-resp-immutable-*`",
        "For browsers' own caches; the list leaves shared caches out.",
    ),
    (
        "`stale-close`, `stale-sie-close`, `stale-warning-*`",
        "There is no connection to the handler that could break: in the `stale-close-*` and `stale-sie-*` cases above it panics or says 503. `Warning` is gone from HTTP since RFC 9111.",
    ),
    (
        "`status-*-stale`, `304-etag-update-response-*` of further headers, `headers-store-*` of further headers",
        "Run for some of each; the rest go the same way through the code.",
    ),
    ("`method-POST`", "Only answers to GET and HEAD are kept."),
];

const FRESH: Headers = &[("cache-control", "max-age=100000"), ("date", "@0")];
const BECOMES_STALE: Headers = &[("cache-control", "max-age=2"), ("date", "@0"), ("template-a", "1")];

/// A response with these headers, and then the same again, which must come from there.
macro_rules! twice {
    ($answer:expr, $from:expr) => {
        vec![get($answer), then($from).answer($answer)]
    };
}

pub(crate) fn groups() -> Vec<Group> {
    vec![
        Group { name: "Freshness by Cache-Control", cases: cc_freshness() },
        Group { name: "Reading Cache-Control", cases: cc_parse() },
        Group { name: "Cache-Control of responses", cases: cc_response() },
        Group { name: "Cache-Control of requests", cases: cc_request() },
        Group { name: "Pragma", cases: pragma() },
        Group { name: "Freshness by Expires", cases: expires() },
        Group { name: "Reading Expires", cases: expires_parse() },
        Group { name: "Reading Age", cases: age_parse() },
        Group { name: "No heuristics", cases: heuristics() },
        Group { name: "Credentials", cases: credentials() },
        Group { name: "Vary", cases: vary() },
        Group { name: "Reading Vary", cases: vary_parse() },
        Group { name: "If-None-Match and ETag", cases: conditional_etag() },
        Group { name: "If-Modified-Since and Last-Modified", cases: conditional_lm() },
        Group { name: "A 304 from the handler", cases: update_304() },
        Group { name: "HEAD", cases: head() },
        Group { name: "Which headers are kept", cases: headers() },
        Group { name: "Parts", cases: partial() },
        Group { name: "Status codes", cases: status() },
        Group { name: "Stale responses", cases: stale() },
        Group { name: "Invalidation", cases: invalidation() },
        Group { name: "Age, Date, query", cases: other() },
    ]
}

fn cc_freshness() -> Vec<Case> {
    vec![
        check("freshness-none", "without a word about freshness nothing is reused", twice!(&[], Handler)),
        optional("freshness-max-age", "`max-age` is used", twice!(&[("cache-control", "max-age=3600")], Cache)),
        required("freshness-max-age-stale", "and ends", twice!(BECOMES_STALE, Handler)),
        required(
            "freshness-max-age-0",
            "`max-age=0` is stale at once",
            twice!(&[("cache-control", "max-age=0")], Handler),
        ),
        optional(
            "freshness-max-age-max-minus-1",
            "2³¹−1 seconds",
            twice!(&[("cache-control", "max-age=2147483647")], Cache),
        ),
        optional("freshness-max-age-max", "2³¹ seconds", twice!(&[("cache-control", "max-age=2147483648")], Cache)),
        optional(
            "freshness-max-age-max-plus-1",
            "2³¹+1 seconds",
            twice!(&[("cache-control", "max-age=2147483649")], Cache),
        ),
        optional(
            "freshness-max-age-max-plus",
            "more than fit into 32 bits",
            twice!(&[("cache-control", "max-age=99999999999")], Cache),
        ),
        required(
            "freshness-max-age-age",
            "an `Age` over `max-age` is stale",
            twice!(&[("date", "@0"), ("cache-control", "max-age=3600"), ("age", "7200")], Handler),
        ),
        check(
            "freshness-max-age-date",
            "an old `Date` counts as age",
            twice!(&[("date", "@-7200"), ("cache-control", "max-age=3600")], Handler),
        ),
        optional(
            "freshness-max-age-expires",
            "`max-age` beats a past `Expires`",
            twice!(&[("cache-control", "max-age=3600"), ("expires", "@-7200"), ("date", "@0")], Cache),
        ),
        optional(
            "freshness-max-age-expires-invalid",
            "`max-age` beats an `Expires` that is no date",
            twice!(&[("cache-control", "max-age=3600"), ("expires", "0"), ("date", "@0")], Cache),
        ),
        required(
            "freshness-max-age-0-expires",
            "`max-age=0` beats a future `Expires`",
            twice!(&[("expires", "@3600"), ("cache-control", "max-age=0"), ("date", "@0")], Handler),
        ),
        optional(
            "freshness-max-age-extension",
            "an unknown directive is ignored",
            twice!(&[("cache-control", "foobar, max-age=3600")], Cache),
        ),
        optional(
            "freshness-max-age-case-insenstive",
            "names have any case",
            twice!(&[("cache-control", "MaX-aGe=3600")], Cache),
        ),
        required(
            "freshness-max-age-negative",
            "a negative `max-age` is stale",
            twice!(&[("cache-control", "max-age=-3600")], Handler),
        ),
        optional(
            "freshness-s-maxage-shared",
            "`s-maxage` is used",
            twice!(&[("cache-control", "s-maxage=3600")], Cache),
        ),
        required(
            "freshness-max-age-s-maxage-shared-longer",
            "a short `s-maxage` beats a long `max-age`",
            twice!(&[("cache-control", "max-age=3600, s-maxage=1")], Handler),
        ),
        required(
            "freshness-max-age-s-maxage-shared-longer-reversed",
            "in the other order too",
            twice!(&[("cache-control", "s-maxage=1, max-age=3600")], Handler),
        ),
        required(
            "freshness-max-age-s-maxage-shared-longer-multiple",
            "on two lines too",
            twice!(&[("cache-control", "max-age=3600"), ("cache-control", "s-maxage=1")], Handler),
        ),
        optional(
            "freshness-max-age-s-maxage-shared-shorter",
            "a long `s-maxage` beats a short `max-age`",
            twice!(&[("cache-control", "max-age=1, s-maxage=3600")], Cache),
        ),
        optional(
            "freshness-max-age-s-maxage-shared-shorter-expires",
            "also beside a past `Expires`",
            twice!(&[("expires", "@-10"), ("cache-control", "max-age=0, s-maxage=3600")], Cache),
        ),
    ]
}

fn cc_parse() -> Vec<Case> {
    const SHORTER: &str = "of several values the shortest counts (RFC 9111 §4.2.1 allows it)";
    const NO_NUMBER: &str = "what is no whole number is stale at once (RFC 9111 §4.2.1)";
    vec![
        check(
            "freshness-max-age-two-fresh-stale-sameline",
            "two values, the first fresh",
            twice!(&[("cache-control", "max-age=1800, max-age=1")], Cache),
        )
        .because(SHORTER),
        check(
            "freshness-max-age-two-fresh-stale-sepline",
            "on two lines",
            twice!(&[("cache-control", "max-age=1800"), ("cache-control", "max-age=1")], Cache),
        )
        .because(SHORTER),
        check(
            "freshness-max-age-two-stale-fresh-sameline",
            "two values, the second fresh",
            twice!(&[("cache-control", "max-age=1, max-age=1800")], Cache),
        )
        .because(SHORTER),
        check(
            "freshness-max-age-two-stale-fresh-sepline",
            "on two lines",
            twice!(&[("cache-control", "max-age=1"), ("cache-control", "max-age=1800")], Cache),
        )
        .because(SHORTER),
        check("freshness-max-age-quoted", "a quoted value", twice!(&[("cache-control", "max-age=\"3600\"")], Cache)),
        required(
            "freshness-max-age-ignore-quoted",
            "what is in quotes is no directive",
            twice!(&[("cache-control", "extension=\"max-age=3600\", max-age=1")], Handler),
        ),
        required(
            "freshness-max-age-ignore-quoted-rev",
            "after the real one neither",
            twice!(&[("cache-control", "max-age=1, extension=\"max-age=3600\"")], Handler),
        ),
        check(
            "freshness-max-age-space-before-equals",
            "a space before `=` makes it void",
            twice!(&[("cache-control", "max-age =3600")], Handler),
        )
        .because("spaces around `=` are overlooked"),
        check(
            "freshness-max-age-space-after-equals",
            "a space after `=` makes it void",
            twice!(&[("cache-control", "max-age= 3600")], Handler),
        )
        .because("spaces around `=` are overlooked"),
        required(
            "freshness-max-age-leading-zero",
            "zeros in front",
            twice!(&[("cache-control", "max-age=003600")], Cache),
        ),
        required(
            "freshness-max-age-single-quoted",
            "single quotes are no quotes",
            twice!(&[("cache-control", "max-age='3600'")], Handler),
        ),
        check("freshness-max-age-decimal-zero", "`3600.0`", twice!(&[("cache-control", "max-age=3600.0")], Cache))
            .because(NO_NUMBER),
        check("freshness-max-age-decimal-five", "`3600.5`", twice!(&[("cache-control", "max-age=3600.5")], Cache))
            .because(NO_NUMBER),
        check("freshness-max-age-a100", "`a3600`", twice!(&[("cache-control", "max-age=a3600")], Cache))
            .because(NO_NUMBER),
        check("freshness-max-age-100a", "`3600a`", twice!(&[("cache-control", "max-age=3600a")], Cache))
            .because(NO_NUMBER),
    ]
}

fn cc_response() -> Vec<Case> {
    const STALE_SOON: Headers = &[("cache-control", "max-age=2, must-revalidate"), ("etag", "\"abcd\"")];
    vec![
        required(
            "cc-resp-private-shared",
            "`private` is not kept",
            twice!(&[("cache-control", "private, max-age=3600")], Handler),
        ),
        required("cc-resp-no-store", "`no-store` is not kept", twice!(&[("cache-control", "no-store")], Handler)),
        required("cc-resp-no-store-case-insensitive", "in any case", twice!(&[("cache-control", "No-StOrE")], Handler)),
        required(
            "cc-resp-no-store-fresh",
            "also with freshness beside it",
            twice!(&[("cache-control", "max-age=10000, no-store"), ("expires", "@10000"), ("date", "@0")], Handler),
        ),
        check(
            "cc-resp-no-store-old-new",
            "an older kept response is used when a newer one said `no-store`",
            vec![
                get(&[("cache-control", "max-age=10000"), ("date", "@0"), ("a", "1")]),
                get(&[("cache-control", "no-store"), ("date", "@0"), ("a", "2")])
                    .sends(&[("cache-control", "no-cache")]),
                then(Cache).with(&[("a", "1")]),
            ],
        ),
        check(
            "cc-resp-no-store-old-max-age",
            "the same with `max-age=0` beside it",
            vec![
                get(&[("cache-control", "max-age=10000"), ("date", "@0"), ("a", "1")]),
                get(&[("cache-control", "no-store, max-age=0"), ("date", "@0"), ("a", "2")])
                    .sends(&[("cache-control", "no-cache")]),
                then(Cache).with(&[("a", "1")]),
            ],
        ),
        required(
            "cc-resp-no-cache",
            "`no-cache` is not used without asking",
            twice!(&[("cache-control", "max-age=10000, no-cache"), ("expires", "@10000"), ("date", "@0")], Handler),
        ),
        required(
            "cc-resp-no-cache-case-insensitive",
            "in any case",
            twice!(&[("cache-control", "max-age=10000, No-CaChE"), ("date", "@0")], Handler),
        ),
        optional(
            "cc-resp-no-cache-revalidate",
            "but kept, and confirmed by its tag",
            twice!(&[("cache-control", "no-cache"), ("etag", "\"abcd\"")], CacheConfirmedByTag),
        ),
        optional(
            "cc-resp-no-cache-revalidate-fresh",
            "also with freshness beside it",
            twice!(
                &[("cache-control", "max-age=10000, no-cache"), ("date", "@0"), ("etag", "\"abcd\"")],
                CacheConfirmedByTag
            ),
        ),
        check(
            "headers-omit-headers-listed-in-Cache-Control-no-cache-single",
            "of `no-cache=\"a\"` only the header is not kept",
            vec![
                get(&[("cache-control", "no-cache=\"a\""), ("cache-control", "max-age=3600"), ("a", "1"), ("b", "2")]),
                then(Cache).with(&[("a", ""), ("b", "2")]),
            ],
        )
        .because("it counts as `no-cache`, which RFC 9111 §5.2.2.4 allows"),
        optional(
            "cc-resp-must-revalidate-fresh",
            "`must-revalidate` is used while fresh",
            twice!(&[("cache-control", "max-age=10000, must-revalidate"), ("etag", "\"abcd\"")], Cache),
        ),
        required(
            "cc-resp-must-revalidate-stale",
            "and confirmed when stale",
            vec![
                get(STALE_SOON),
                get(STALE_SOON).after(1),
                get(STALE_SOON).after(3).asked_with(&[("if-none-match", "\"abcd\"")]),
            ],
        ),
    ]
}

fn cc_request() -> Vec<Case> {
    let after_fresh = |answer: Headers, sent: Headers, from| vec![get(answer), then(from).sends(sent).answer(answer)];
    const TAGGED: Headers = &[("cache-control", "max-age=3600"), ("etag", "\"abc\"")];
    const DATED: Headers = &[("cache-control", "max-age=3600"), ("last-modified", "Wed, 31 Dec 2025 00:00:00 GMT")];
    vec![
        check("ccreq-ma0", "`max-age=0` asks anew", after_fresh(FRESH, &[("cache-control", "max-age=0")], Handler)),
        check(
            "ccreq-ma1",
            "`max-age=1` asks anew after three seconds",
            after_fresh(FRESH, &[("cache-control", "max-age=1")], Handler),
        ),
        check(
            "ccreq-magreaterage",
            "`max-age` below the age",
            after_fresh(
                &[("cache-control", "max-age=3600"), ("age", "1800")],
                &[("cache-control", "max-age=600")],
                Handler,
            ),
        ),
        check(
            "ccreq-max-stale",
            "`max-stale` takes a stale one",
            after_fresh(BECOMES_STALE, &[("cache-control", "max-stale=1000")], Cache),
        )
        .because("what says only how long it is fresh is not kept longer"),
        check(
            "ccreq-max-stale-age",
            "the same of one with `Age`",
            after_fresh(
                &[("cache-control", "max-age=1500"), ("age", "2000")],
                &[("cache-control", "max-stale=1000")],
                Cache,
            ),
        )
        .because("what is stale when it is made is not kept"),
        check(
            "ccreq-min-fresh",
            "`min-fresh` wants more",
            after_fresh(&[("cache-control", "max-age=1500")], &[("cache-control", "min-fresh=2000")], Handler),
        ),
        check(
            "ccreq-min-fresh-age",
            "the same of one with `Age`",
            after_fresh(
                &[("cache-control", "max-age=1500"), ("age", "1000")],
                &[("cache-control", "min-fresh=1000")],
                Handler,
            ),
        ),
        check(
            "ccreq-no-cache",
            "`no-cache` asks anew",
            after_fresh(&[("cache-control", "max-age=3600")], &[("cache-control", "no-cache")], Handler),
        ),
        check(
            "ccreq-no-cache-lm",
            "by the date of what is kept",
            after_fresh(DATED, &[("cache-control", "no-cache")], CacheConfirmedByDate),
        ),
        check(
            "ccreq-no-cache-etag",
            "by the tag of what is kept",
            after_fresh(TAGGED, &[("cache-control", "no-cache")], CacheConfirmedByTag),
        ),
        check(
            "ccreq-no-store",
            "`no-store` gets a new one",
            after_fresh(FRESH, &[("cache-control", "no-store")], Handler),
        ),
        check(
            "ccreq-oic",
            "`only-if-cached` without one: 504",
            vec![get(FRESH).sends(&[("cache-control", "only-if-cached")]).sees(504)],
        ),
    ]
}

fn pragma() -> Vec<Case> {
    const FRESH_HOUR: Headers = &[("cache-control", "max-age=3600")];
    vec![
        check(
            "pragma-request-no-cache",
            "`Pragma: no-cache` takes a kept one",
            vec![get(FRESH_HOUR), then(Cache).sends(&[("pragma", "no-cache")])],
        )
        .because("it counts as `Cache-Control: no-cache`, as RFC 9111 §5.4 has it for old clients"),
        check(
            "pragma-request-extension",
            "another word changes nothing",
            vec![get(FRESH_HOUR), then(Cache).sends(&[("pragma", "unrecognised-extension")])],
        ),
        check(
            "pragma-response-no-cache",
            "in a response it says nothing",
            twice!(&[("cache-control", "max-age=3600"), ("pragma", "no-cache")], Cache),
        ),
        check(
            "pragma-response-extension",
            "another word neither",
            twice!(&[("cache-control", "max-age=3600"), ("pragma", "unrecognised-extension")], Cache),
        ),
    ]
}

fn expires() -> Vec<Case> {
    vec![
        optional(
            "freshness-expires-future",
            "a future `Expires` is used",
            twice!(&[("expires", "@2592000"), ("date", "@0")], Cache),
        ),
        required(
            "freshness-expires-past",
            "a past one is not",
            twice!(&[("expires", "@-2592000"), ("date", "@0")], Handler),
        ),
        required("freshness-expires-present", "nor that of now", twice!(&[("expires", "@0"), ("date", "@0")], Handler)),
        required(
            "freshness-expires-old-date",
            "it counts from `Date`",
            twice!(&[("expires", "@300"), ("date", "@400")], Handler),
        ),
        required("freshness-expires-invalid", "`0` is the past", twice!(&[("expires", "0"), ("date", "@0")], Handler)),
        optional(
            "freshness-expires-invalid-date",
            "without a valid `Date` from now",
            twice!(&[("date", "foo"), ("expires", "@10")], Cache),
        ),
        required(
            "freshness-expires-age-slow-date",
            "`Age` counts beside a slow `Date`",
            twice!(&[("date", "@-10"), ("expires", "@10"), ("age", "25")], Handler),
        ),
        required(
            "freshness-expires-age-fast-date",
            "and beside a fast one",
            twice!(&[("date", "@10"), ("expires", "@20"), ("age", "15")], Handler),
        ),
    ]
}

fn expires_parse() -> Vec<Case> {
    const STRICT: &str = "dates are read as RFC 9110 §5.6.7 writes them; others are the past, which keeps less";
    let expires = |value: Headers, from| vec![get(value), then(from)];
    vec![
        optional(
            "freshness-expires-32bit",
            "just over 32 bits",
            expires(&[("expires", "Tue, 19 Jan 2038 14:14:08 GMT"), ("date", "@0")], Cache),
        ),
        optional(
            "freshness-expires-far-future",
            "the year 2286",
            expires(&[("expires", "Sun, 21 Nov 2286 04:46:39 GMT"), ("date", "@0")], Cache),
        ),
        optional(
            "freshness-expires-rfc850",
            "in the format of RFC 850",
            expires(&[("expires", "Thursday, 18-Aug-50 02:01:18 GMT"), ("date", "@0")], Cache),
        ),
        optional(
            "freshness-expires-ansi-c",
            "in that of asctime",
            expires(&[("expires", "Thu Aug  8 02:01:18 2050"), ("date", "@0")], Cache),
        )
        .because("the eighth of August 2050 is no Thursday, and a date that contradicts itself is none"),
        optional(
            "freshness-expires-wrong-case-weekday",
            "the weekday in capitals",
            expires(&[("expires", "THU, 18 Aug 2050 02:01:18 GMT"), ("date", "@0")], Cache),
        )
        .because(STRICT),
        optional(
            "freshness-expires-wrong-case-month",
            "the month in capitals",
            expires(&[("expires", "Thu, 18 AUG 2050 02:01:18 GMT"), ("date", "@0")], Cache),
        )
        .because(STRICT),
        optional(
            "freshness-expires-wrong-case-tz",
            "the zone in another case",
            expires(&[("expires", "Thu, 18 Aug 2050 02:01:18 gMT"), ("date", "@0")], Cache),
        )
        .because(STRICT),
        required(
            "freshness-expires-invalid-utc",
            "`UTC` is no zone of HTTP",
            expires(&[("expires", "Thu, 18 Aug 2050 02:01:18 UTC"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-aest",
            "nor is another",
            expires(&[("expires", "Thu, 18 Aug 2050 02:01:18 AEST"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-2-digit-year",
            "a year of two digits",
            expires(&[("expires", "Thu, 18 Aug 50 02:01:18 GMT"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-no-comma",
            "no comma",
            expires(&[("expires", "Thu 18 Aug 2050 02:01:18 GMT"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-multiple-spaces",
            "two spaces",
            expires(&[("expires", "Thu, 18  Aug  2050 02:01:18 GMT"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-date-dashes",
            "dashes in the date",
            expires(&[("expires", "Thu, 18-Aug-2050 02:01:18 GMT"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-time-periods",
            "periods in the time",
            expires(&[("expires", "Thu, 18 Aug 2050 02.01.18 GMT"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-1-digit-hour",
            "an hour of one digit",
            expires(&[("expires", "Thu, 18 Aug 2050 2:01:18 GMT"), ("date", "@0")], Handler),
        ),
        required(
            "freshness-expires-invalid-multiple-lines",
            "two lines",
            expires(
                &[
                    ("expires", "Thu, 18 Aug 2050 2:01:18 GMT"),
                    ("expires", "Thu, 18 Aug 2050 2:01:19 GMT"),
                    ("date", "@0"),
                ],
                Handler,
            ),
        ),
    ]
}

fn age_parse() -> Vec<Case> {
    macro_rules! age {
        ($id:literal, $what:literal, $from:expr, $($value:literal),+) => {
            required($id, $what, twice!(&[("date", "@0"), ("cache-control", "max-age=3600"), $(("age", $value)),+], $from))
        };
    }
    vec![
        age!("age-parse-nonnumeric", "no number is ignored", Cache, "abc"),
        age!("age-parse-negative", "a negative one is ignored", Cache, "-7200"),
        age!("age-parse-float", "a fraction is ignored", Cache, "7200.0"),
        age!("age-parse-large-minus-one", "2³¹−1 is stale", Handler, "2147483647"),
        age!("age-parse-large", "2³¹ is stale", Handler, "2147483648"),
        age!("age-parse-larger", "2³¹+1 is stale", Handler, "2147483649"),
        age!("age-parse-suffix", "`old, 0`: the first counts", Handler, "7200, 0"),
        age!("age-parse-prefix", "`0, old`: the first counts", Cache, "0, 7200"),
        age!("age-parse-suffix-twoline", "old, then 0 on two lines", Handler, "7200", "0"),
        age!("age-parse-prefix-twoline", "0, then old on two lines", Cache, "0", "7200"),
        age!("age-parse-dup-0", "`0, 0`", Cache, "0, 0"),
        age!("age-parse-dup-0-twoline", "0 on two lines", Cache, "0", "0"),
        check(
            "age-parse-dup-old",
            "twice the same, not too old",
            twice!(&[("date", "@0"), ("cache-control", "max-age=10000"), ("age", "3600"), ("age", "3600")], Cache),
        ),
        check(
            "age-parse-parameter",
            "a parameter after it is overlooked",
            twice!(&[("date", "@0"), ("cache-control", "max-age=3600"), ("age", "7200;foo=bar")], Handler),
        ),
        check(
            "age-parse-numeric-parameter",
            "also a number",
            twice!(&[("date", "@0"), ("cache-control", "max-age=3600"), ("age", "7200;foo=111")], Handler),
        ),
    ]
}

fn heuristics() -> Vec<Case> {
    const OLD: Headers = &[("last-modified", "@-86400"), ("date", "@0")];
    vec![
        required("heuristic-200-not_cached", "an old `Last-Modified` alone makes nothing fresh", twice!(OLD, Handler)),
        required("heuristic-201-not_cached", "nor with 201", vec![get(OLD).status(201), then(Handler).status(201)]),
        required(
            "heuristic-599-not_cached",
            "nor with an unknown status",
            vec![get(OLD).status(599), then(Handler).status(599)],
        ),
    ]
}

fn credentials() -> Vec<Case> {
    const WHY: &str = "a request with credentials goes past, unless the route says per_caller or without_credentials: a forgotten \
                       `public` has leaked more than it has saved";
    const NAMED: Headers = &[("authorization", "FOO")];
    vec![
        required(
            "other-authorization",
            "an answer to `Authorization` is not kept",
            vec![get(FRESH).sends(NAMED).asked_with(NAMED), then(Handler)],
        ),
        optional(
            "other-authorization-public",
            "unless it is `public`",
            vec![get(&[("cache-control", "max-age=3600, public")]).sends(NAMED), then(Cache)],
        )
        .because(WHY),
        optional(
            "other-authorization-must-revalidate",
            "or `must-revalidate`",
            vec![get(&[("cache-control", "max-age=3600, must-revalidate")]).sends(NAMED), then(Cache)],
        )
        .because(WHY),
        optional(
            "other-authorization-smaxage",
            "or has `s-maxage`",
            vec![get(&[("cache-control", "s-maxage=3600")]).sends(NAMED), then(Cache)],
        )
        .because(WHY),
        optional(
            "other-cookie",
            "a request with `Cookie` gets a kept one",
            vec![get(FRESH), then(Cache).sends(&[("cookie", "a=b")])],
        )
        .because(WHY),
        optional(
            "other-set-cookie",
            "a response with `Set-Cookie` is kept",
            twice!(&[("cache-control", "max-age=100000"), ("set-cookie", "a=b")], Cache),
        )
        .because("it is never kept: it would hand one client's session to the next"),
    ]
}

fn vary() -> Vec<Case> {
    const BY_FOO: Headers =
        &[("cache-control", "max-age=5000"), ("last-modified", "@-3000"), ("date", "@0"), ("vary", "Foo")];
    const BY_TWO: Headers = &[("cache-control", "max-age=5000"), ("date", "@0"), ("vary", "Foo, Bar")];
    const BY_THREE: Headers = &[("cache-control", "max-age=5000"), ("date", "@0"), ("vary", "Foo, Bar, Baz")];
    const BY_LANGUAGE: Headers =
        &[("cache-control", "max-age=5000"), ("date", "@0"), ("vary", "Accept-Language"), ("content-language", "de")];
    const ONE: Headers = &[("foo", "1")];
    const TWO: Headers = &[("foo", "1"), ("bar", "abc")];
    const THREE: Headers = &[("foo", "1"), ("bar", "abc"), ("baz", "789")];
    const LANGUAGES: Headers = &[("accept-language", "en, de")];
    vec![
        optional(
            "vary-match",
            "the same header gets the kept one",
            vec![get(BY_FOO).sends(ONE), then(Cache).sends(ONE)],
        ),
        required(
            "vary-no-match",
            "another does not",
            vec![get(BY_FOO).sends(ONE), then(Handler).sends(&[("foo", "2")])],
        ),
        required("vary-omit-stored", "nor one where the first had none", vec![get(BY_FOO), then(Handler).sends(ONE)]),
        required("vary-omit", "nor none where the first had one", vec![get(BY_FOO).sends(ONE), then(Handler)]),
        optional(
            "vary-invalidate",
            "two variants are kept side by side",
            vec![get(BY_FOO).sends(ONE), then(Handler).sends(&[("foo", "2")]).answer(BY_FOO), then(Cache).sends(ONE)],
        ),
        optional(
            "vary-cache-key",
            "other headers do not matter",
            vec![
                get(BY_FOO).sends(&[("foo", "1"), ("other", "2")]),
                then(Cache).sends(&[("foo", "1"), ("other", "3")]),
            ],
        ),
        optional("vary-2-match", "two headers, the same", vec![get(BY_TWO).sends(TWO), then(Cache).sends(TWO)]),
        required(
            "vary-2-no-match",
            "two headers, one other",
            vec![get(BY_TWO).sends(TWO), then(Handler).sends(&[("foo", "2"), ("bar", "abc")])],
        ),
        required("vary-2-match-omit", "two headers, none sent", vec![get(BY_TWO).sends(TWO), then(Handler)]),
        optional("vary-3-match", "three headers, the same", vec![get(BY_THREE).sends(THREE), then(Cache).sends(THREE)]),
        required(
            "vary-3-no-match",
            "three headers, one other",
            vec![get(BY_THREE).sends(THREE), then(Handler).sends(&[("foo", "2"), ("bar", "abc"), ("baz", "789")])],
        ),
        required(
            "vary-3-order",
            "in another order, one other",
            vec![get(BY_THREE).sends(THREE), then(Handler).sends(&[("foo", "1"), ("baz", "789"), ("bar", "abcde")])],
        ),
        optional(
            "vary-3-omit",
            "both without one of them",
            vec![
                get(BY_THREE).sends(&[("foo", "1"), ("baz", "789")]),
                then(Cache).sends(&[("foo", "1"), ("baz", "789")]),
            ],
        ),
        required(
            "vary-star",
            "`*` is never reused",
            vec![get(&[("cache-control", "max-age=5000"), ("date", "@0"), ("vary", "*")]), then(Handler)],
        ),
        optional(
            "vary-normalise-combine",
            "one line or two are the same",
            vec![get(BY_FOO).sends(&[("foo", "1, 2")]), then(Cache).sends(&[("foo", "1"), ("foo", "2")])],
        ),
        optional(
            "vary-normalise-lang-order",
            "the order of languages does not matter",
            vec![get(BY_LANGUAGE).sends(LANGUAGES), then(Cache).sends(&[("accept-language", "de, en")])],
        )
        .because("it does to handlers that take the first"),
        optional(
            "vary-normalise-lang-case",
            "nor their case",
            vec![get(BY_LANGUAGE).sends(LANGUAGES), then(Cache).sends(&[("accept-language", "eN, De")])],
        ),
        optional(
            "vary-normalise-lang-space",
            "nor spaces",
            vec![get(BY_LANGUAGE).sends(LANGUAGES), then(Cache).sends(&[("accept-language", " en ,   de")])],
        ),
        optional(
            "vary-normalise-lang-select",
            "a kept language is chosen by weight",
            vec![get(BY_LANGUAGE).sends(LANGUAGES), then(Cache).sends(&[("accept-language", "fr;q=0.5, de;q=1.0")])],
        )
        .because("which language a client gets is the handler's choice"),
        optional(
            "vary-normalise-space",
            "spaces do not matter in any header",
            vec![get(BY_FOO).sends(&[("foo", "1,2")]), then(Cache).sends(&[("foo", " 1, 2 ")])],
        ),
    ]
}

fn vary_parse() -> Vec<Case> {
    macro_rules! star {
        ($id:literal, $what:literal, $($value:literal),+) => {
            required($id, $what, twice!(&[("cache-control", "max-age=5000"), ("date", "@0"), $(("vary", $value)),+], Handler))
        };
    }
    vec![
        star!("vary-syntax-star", "`*`", "*"),
        star!("vary-syntax-star-star", "`*, *`", "*, *"),
        star!("vary-syntax-star-star-lines", "`*` on two lines", "*", "*"),
        star!("vary-syntax-empty-star", "`, *`", ", *"),
        star!("vary-syntax-empty-star-lines", "nothing, and `*` on another line", "", "*"),
        star!("vary-syntax-star-foo", "`*, Foo`", "*, Foo"),
        star!("vary-syntax-foo-star", "`Foo, *`", "Foo, *"),
    ]
}

fn conditional_etag() -> Vec<Case> {
    const TAGGED: Headers = &[("cache-control", "max-age=100000"), ("date", "@0"), ("etag", "\"abcdef\"")];
    const WEAK: Headers = &[("cache-control", "max-age=100000"), ("date", "@0"), ("etag", "W/\"abcdef\"")];
    const SOON_STALE: Headers = &[("cache-control", "max-age=2"), ("etag", "\"abcdef\"")];
    const SOON_STALE_WEAK: Headers = &[("cache-control", "max-age=2"), ("etag", "W/\"abcdef\"")];
    const BY_ABC: Headers = &[("expires", "@1"), ("etag", "\"abcdef\""), ("date", "@0"), ("vary", "Abc")];
    const BY_ABC_FRESH: Headers = &[("expires", "@10000"), ("etag", "\"abcdef\""), ("date", "@0"), ("vary", "Abc")];
    const ABC: Headers = &[("abc", "123")];
    const MALFORMED: &str = "what is no entity tag matches nothing";
    let known = |answer: Headers, sent: Headers| vec![get(answer), then(Cache).sends(sent).sees(304)];
    vec![
        optional(
            "conditional-etag-strong-respond",
            "a client that has it hears 304",
            known(TAGGED, &[("if-none-match", "\"abcdef\"")]),
        ),
        required(
            "conditional-304-etag",
            "with the `ETag`",
            vec![
                get(TAGGED),
                then(Cache).sends(&[("if-none-match", "\"abcdef\"")]).sees(304).with(&[("etag", "\"abcdef\"")]),
            ],
        ),
        required(
            "conditional-etag-precedence",
            "the tag counts, not the date",
            vec![
                get(&[("cache-control", "max-age=100000"), ("last-modified", "@-5000"), ("etag", "\"abcdef\"")]),
                then(Cache).sends(&[("if-none-match", "\"abcdef\""), ("if-modified-since", "@-10000")]).sees(304),
            ],
        ),
        check(
            "conditional-etag-quoted-respond-unquoted",
            "an unquoted tag matches a quoted one",
            known(TAGGED, &[("if-none-match", "abcdef")]),
        )
        .because(MALFORMED),
        check(
            "conditional-etag-unquoted-respond-unquoted",
            "and an unquoted one",
            known(&[("cache-control", "max-age=100000"), ("etag", "abcdef")], &[("if-none-match", "abcdef")]),
        )
        .because(MALFORMED),
        check(
            "conditional-etag-unquoted-respond-quoted",
            "a quoted tag matches an unquoted one",
            known(&[("cache-control", "max-age=100000"), ("etag", "abcdef")], &[("if-none-match", "\"abcdef\"")]),
        )
        .because(MALFORMED),
        optional("conditional-etag-weak-respond", "weak tags match", known(WEAK, &[("if-none-match", "W/\"abcdef\"")])),
        check(
            "conditional-etag-weak-respond-lowercase",
            "`w/` matches",
            known(
                &[("cache-control", "max-age=100000"), ("etag", "w/\"abcdef\"")],
                &[("if-none-match", "w/\"abcdef\"")],
            ),
        )
        .because(MALFORMED),
        check(
            "conditional-etag-weak-respond-backslash",
            "`W\\` matches",
            known(
                &[("cache-control", "max-age=100000"), ("etag", "W\\\"abcdef\"")],
                &[("if-none-match", "W\\\"abcdef\"")],
            ),
        )
        .because(MALFORMED),
        check(
            "conditional-etag-weak-respond-omit-slash",
            "`W` matches",
            known(&[("cache-control", "max-age=100000"), ("etag", "W\"abcdef\"")], &[("if-none-match", "W\"abcdef\"")]),
        )
        .because(MALFORMED),
        optional(
            "conditional-etag-strong-respond-multiple-first",
            "the first of a list",
            known(TAGGED, &[("if-none-match", "\"abcdef\", \"1234\", \"5678\"")]),
        ),
        optional(
            "conditional-etag-strong-respond-multiple-second",
            "the middle of a list",
            known(TAGGED, &[("if-none-match", "\"1234\", \"abcdef\", \"5678\"")]),
        ),
        optional(
            "conditional-etag-strong-respond-multiple-last",
            "the last of a list",
            known(TAGGED, &[("if-none-match", "\"1234\", \"5678\", \"abcdef\"")]),
        ),
        required(
            "conditional-etag-vary-headers",
            "the handler is asked with the headers in `Vary`",
            vec![get(BY_ABC).sends(ABC), then(CacheConfirmedByTag).sends(ABC).answer(BY_ABC).asked_with(ABC)],
        ),
        check(
            "conditional-etag-vary-headers-mismatch",
            "the tag of another variant is tried",
            vec![
                get(BY_ABC_FRESH).sends(ABC),
                then(Handler).sends(&[("abc", "456")]).asked_with(&[("if-none-match", "\"abcdef\"")]),
            ],
        )
        .because("only that of the variant itself"),
        optional(
            "conditional-etag-strong-generate",
            "a stale one is confirmed by its tag",
            twice!(SOON_STALE, CacheConfirmedByTag),
        ),
        optional(
            "conditional-etag-weak-generate-weak",
            "by a weak one too",
            twice!(SOON_STALE_WEAK, CacheConfirmedByTag),
        ),
        check(
            "conditional-etag-forward",
            "without a kept one the handler sees `If-None-Match`",
            vec![get(TAGGED).sends(&[("if-none-match", "\"abcdef\"")]).asked_with(&[("if-none-match", "\"abcdef\"")])],
        )
        .because("the handler is asked for the whole response, to keep it; the client's condition is answered here"),
    ]
}

fn conditional_lm() -> Vec<Case> {
    const DATED: Headers =
        &[("cache-control", "max-age=100000"), ("date", "@0"), ("last-modified", "Wed, 31 Dec 2025 00:00:00 GMT")];
    const SOON_STALE: Headers = &[("cache-control", "max-age=2"), ("last-modified", "Wed, 31 Dec 2025 00:00:00 GMT")];
    let since = |answer: Headers, sent: Headers| vec![get(answer), then(Cache).sends(sent).sees(304)];
    vec![
        optional(
            "conditional-lm-fresh",
            "a client that has that date hears 304",
            since(DATED, &[("if-modified-since", "Wed, 31 Dec 2025 00:00:00 GMT")]),
        ),
        optional(
            "conditional-lm-fresh-earlier",
            "one with a later date too",
            since(DATED, &[("if-modified-since", "Wed, 31 Dec 2025 12:00:00 GMT")]),
        ),
        optional(
            "conditional-lm-stale",
            "a stale one is confirmed by its date",
            vec![
                get(SOON_STALE),
                then(CacheConfirmedByDate)
                    .answer(SOON_STALE)
                    .sends(&[("if-modified-since", "Wed, 31 Dec 2025 00:00:00 GMT")])
                    .sees(304),
            ],
        ),
        optional(
            "conditional-lm-fresh-no-lm",
            "without `Last-Modified` the date of the response counts",
            since(&[("cache-control", "max-age=100000"), ("date", "@0")], &[("if-modified-since", "@0")]),
        )
        .because("a response without `Last-Modified` has its `ETag`"),
        optional(
            "conditional-lm-fresh-rfc850",
            "in the format of RFC 850",
            since(DATED, &[("if-modified-since", "Wednesday, 31-Dec-25 00:00:00 GMT")]),
        ),
    ]
}

fn update_304() -> Vec<Case> {
    macro_rules! updated {
        ($kind:ident, $id:literal, $name:literal, $before:literal, $after:literal, $seen:literal) => {
            $kind(
                $id,
                concat!("`", $name, "` of the 304"),
                vec![
                    get(&[("cache-control", "max-age=2"), ("etag", "\"abcdef\""), ($name, $before)]),
                    then(CacheConfirmedByTag)
                        .answer(&[("cache-control", "max-age=2"), ("etag", "\"abcdef\""), ($name, $after)])
                        .with(&[($name, $seen)]),
                    then(Cache).after(1).with(&[($name, $seen)]),
                ],
            )
        };
    }
    vec![
        required(
            "304-lm-use-stored-Test-Header",
            "what the 304 leaves out stays",
            vec![
                get(&[
                    ("cache-control", "max-age=2"),
                    ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"),
                    ("date", "@0"),
                    ("test-header", "a"),
                ]),
                then(CacheConfirmedByDate)
                    .answer(&[("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"), ("date", "@0")])
                    .with(&[("test-header", "a")]),
            ],
        ),
        updated!(required, "304-etag-update-response-Test-Header", "test-header", "a", "b", "b"),
        updated!(required, "304-etag-update-response-X-Test-Header", "x-test-header", "a", "b", "b"),
        updated!(required, "304-etag-update-response-Content-Foo", "content-foo", "a", "b", "b"),
        updated!(check, "304-etag-update-response-Content-Location", "content-location", "/foo", "/bar", "/bar"),
        updated!(
            check,
            "304-etag-update-response-X-Frame-Options",
            "x-frame-options",
            "deny",
            "sameorigin",
            "sameorigin"
        ),
        updated!(
            check,
            "304-etag-update-response-Content-Type",
            "content-type",
            "text/plain",
            "text/plain;charset=utf-8",
            "text/plain;charset=utf-8"
        )
        .because("of the kept bytes nothing changes; frameworks put a type on an empty 304"),
        required(
            "304-etag-update-response-Cache-Control",
            "`Cache-Control` of the 304",
            vec![
                get(&[("cache-control", "max-age=1"), ("etag", "\"abcdef\"")]),
                then(CacheConfirmedByTag)
                    .answer(&[("cache-control", "max-age=3600"), ("etag", "\"abcdef\"")])
                    .with(&[("cache-control", "max-age=3600")]),
                then(Cache).after(1000).with(&[("cache-control", "max-age=3600")]),
            ],
        ),
    ]
}

fn head() -> Vec<Case> {
    const AS_GET: &str = "the handler of `GET` is asked, so that the answer can be kept whole";
    vec![
        check(
            "head-writethrough",
            "a stale one: the handler is asked with `HEAD`",
            vec![get(BECOMES_STALE), then(Anywhere).method("HEAD").answer(BECOMES_STALE).with(&[("template-a", "1")])],
        ),
        check(
            "head-200-retain",
            "headers that a `HEAD` leaves out stay",
            vec![get(BECOMES_STALE), then(Handler).method("HEAD").answer(&[]).with(&[("template-a", "1")])],
        )
        .because(AS_GET),
        check(
            "head-200-freshness-update",
            "a `HEAD` renews the freshness",
            vec![
                get(BECOMES_STALE),
                then(Handler).method("HEAD").answer(&[("cache-control", "max-age=1000")]),
                then(Cache),
            ],
        ),
        check(
            "head-200-update",
            "and the headers",
            vec![
                get(BECOMES_STALE),
                then(Handler).method("HEAD").answer(&[("template-a", "2"), ("cache-control", "max-age=1000")]),
                then(Cache).with(&[("template-a", "2")]),
            ],
        ),
        check(
            "head-410-update",
            "also with another status",
            vec![
                get(BECOMES_STALE),
                then(Handler)
                    .method("HEAD")
                    .status(410)
                    .answer(&[("template-a", "2"), ("cache-control", "max-age=1000")]),
                then(Cache).with(&[("template-a", "2")]),
            ],
        ),
        optional(
            "head-from-get",
            "of our own: a `HEAD` is answered from what a `GET` has left",
            vec![get(FRESH), then(Cache).method("HEAD")],
        ),
    ]
}

fn headers() -> Vec<Case> {
    macro_rules! kept {
        ($id:literal, $name:literal, $value:literal, $seen:literal) => {
            required(
                $id,
                concat!("`", $name, "`"),
                vec![
                    get(&[("cache-control", "max-age=3600"), ("date", "@0"), ($name, $value)]),
                    then(Cache).with(&[($name, $seen)]),
                ],
            )
        };
    }
    vec![
        required(
            "headers-omit-headers-listed-in-Connection",
            "what `Connection` lists is not kept",
            vec![
                get(&[("cache-control", "max-age=3600"), ("connection", "a, b"), ("a", "1"), ("b", "2"), ("c", "3")]),
                then(Cache).with(&[("a", ""), ("b", ""), ("c", "3")]),
            ],
        ),
        kept!("headers-store-Test-Header", "test-header", "a", "a"),
        kept!("headers-store-Content-Location", "content-location", "/foo", "/foo"),
        kept!("headers-store-Content-Language", "content-language", "de", "de"),
        kept!("headers-store-X-Frame-Options", "x-frame-options", "deny", "deny"),
        kept!("headers-store-ETag", "etag", "\"abcdef\"", "\"abcdef\""),
        kept!("headers-store-Proxy-Authenticate", "proxy-authenticate", "Basic", ""),
        kept!("headers-store-Proxy-Authentication-Info", "proxy-authentication-info", "a", ""),
        kept!("headers-store-Proxy-Authorization", "proxy-authorization", "a", ""),
        kept!("headers-store-Proxy-Connection", "proxy-connection", "keep-alive", ""),
        kept!("headers-store-Keep-Alive", "keep-alive", "timeout=5", ""),
        kept!("headers-store-TE", "te", "trailers", ""),
        kept!("headers-store-Upgrade", "upgrade", "h2c", ""),
    ]
}

fn partial() -> Vec<Case> {
    const PART: Headers = &[("cache-control", "max-age=3600"), ("content-range", "bytes 4-9/10")];
    const TAIL: Headers = &[("range", "bytes=-5")];
    const PAST: &str = "a request with `Range` goes past the cache; the handler cuts";
    const WHOLE: Headers = &[("cache-control", "max-age=3600")];
    vec![
        required(
            "partial-not-kept",
            "of our own: a 206 is not given to who wants the whole",
            vec![get(PART).status(206).sends(TAIL), then(Handler)],
        ),
        required(
            "partial-206-without-range",
            "of our own: nor is one that nobody asked for",
            vec![get(PART).status(206), then(Handler)],
        ),
        optional(
            "partial-store-partial-reuse-partial",
            "a part is kept",
            vec![get(PART).status(206).sends(TAIL).asked_with(TAIL), then(Cache).sends(TAIL).sees(206)],
        )
        .because(PAST),
        optional(
            "partial-store-complete-reuse-partial",
            "a part is cut from a kept whole",
            vec![get(WHOLE), then(Cache).sends(&[("range", "bytes=0-1")]).sees(206)],
        )
        .because(PAST),
        optional(
            "partial-store-complete-reuse-partial-no-last",
            "without an end",
            vec![get(WHOLE), then(Cache).sends(&[("range", "bytes=1-")]).sees(206)],
        )
        .because(PAST),
        optional(
            "partial-store-complete-reuse-partial-suffix",
            "from the end",
            vec![get(WHOLE), then(Cache).sends(&[("range", "bytes=-1")]).sees(206)],
        )
        .because(PAST),
    ]
}

fn status() -> Vec<Case> {
    macro_rules! fresh {
        ($($code:literal)+) => {
            vec![$(optional(concat!("status-", $code, "-fresh"), concat!("a fresh ", $code, " is reused"), vec![get(FRESH).status($code), then(Cache).status($code).sees($code)])),+]
        };
    }
    macro_rules! never {
        ($($code:literal)+) => {
            vec![$(optional(concat!("status-", $code, "-fresh"), concat!("a fresh ", $code, " is reused"), vec![get(FRESH).status($code), then(Cache).status($code).sees($code)]).because("an error of the service is never kept")),+]
        };
    }
    const STALE: Headers = &[("expires", "@-5000"), ("last-modified", "@-100000"), ("date", "@0")];
    macro_rules! stale {
        ($($code:literal)+) => {
            vec![$(required(concat!("status-", $code, "-stale"), concat!("a stale ", $code, " is not"), vec![get(STALE).status($code), then(Handler).status($code)])),+]
        };
    }
    let mut cases = fresh!(200 203 204 299 301 302 303 307 308 400 404 410 499);
    cases.extend(never!(500 502 503 504 599));
    cases.extend(stale!(200 204 301 302 404 410 500 599));
    cases.push(required(
        "status-599-must-understand",
        "`no-store, must-understand` with an unknown status",
        vec![
            get(&[("cache-control", "max-age=3600, no-store, must-understand")]).status(599),
            then(Handler).status(599),
        ],
    ));
    cases.push(
        optional(
            "status-200-must-understand",
            "with a known one it lifts `no-store`",
            vec![get(&[("cache-control", "max-age=3600, no-store, must-understand")]), then(Cache)],
        )
        .because("`no-store` always counts"),
    );
    cases
}

fn stale() -> Vec<Case> {
    let breaks = |control: Headers, id, what| required(id, what, vec![get(control), then(Handler).breaks().sees(500)]);
    const WINDOW: Headers = &[("cache-control", "max-age=1, stale-while-revalidate=4"), ("etag", "\"abc\"")];
    vec![
        check(
            "stale-503",
            "a stale one goes out instead of a 503, without a word about it",
            vec![get(BECOMES_STALE), then(Anywhere).status(503).sees(200)],
        )
        .because("only where the response or the route says `stale-if-error`"),
        optional(
            "stale-while-revalidate",
            "`stale-while-revalidate` gives it out",
            vec![
                get(&[("cache-control", "max-age=1, stale-while-revalidate=3600"), ("etag", "\"abc\"")]),
                then(Anywhere).sees(200).with(&[("cache-status", "covet; hit; ttl=-2; detail=stale-while-revalidate")]),
            ],
        ),
        required(
            "stale-while-revalidate-window",
            "not after its time",
            vec![get(WINDOW), then(Handler).after(10).answer(WINDOW)],
        ),
        check(
            "stale-sie-503",
            "`stale-if-error` gives it out instead of a 503",
            vec![get(&[("cache-control", "max-age=2, stale-if-error=60")]), then(Handler).status(503).sees(200)],
        ),
        check(
            "stale-sie-panic",
            "of our own: and when the handler breaks",
            vec![get(&[("cache-control", "max-age=2, stale-if-error=60")]), then(Handler).breaks().sees(200)],
        ),
        required(
            "stale-sie-window",
            "of our own: not after its time",
            vec![
                get(&[("cache-control", "max-age=2, stale-if-error=60")]),
                then(Handler).after(70).status(503).sees(503),
            ],
        ),
        breaks(
            &[("cache-control", "max-age=2, stale-if-error=60, must-revalidate")],
            "stale-close-must-revalidate",
            "`must-revalidate` forbids it",
        ),
        breaks(
            &[("cache-control", "max-age=2, stale-if-error=60, proxy-revalidate")],
            "stale-close-proxy-revalidate",
            "so does `proxy-revalidate`",
        ),
        breaks(
            &[("cache-control", "max-age=2, stale-if-error=60, no-cache")],
            "stale-close-no-cache",
            "and `no-cache`",
        ),
        breaks(&[("cache-control", "max-age=2, s-maxage=2")], "stale-close-s-maxage=2", "and `s-maxage` alone"),
    ]
}

fn invalidation() -> Vec<Case> {
    macro_rules! of {
        ($method:literal) => {
            vec![
                required(
                    concat!("invalidate-", $method),
                    concat!("a ", $method, " ends what is kept"),
                    vec![get(FRESH), get(&[]).method($method), then(Handler)],
                ),
                optional(
                    concat!("invalidate-", $method, "-failed"),
                    "one that failed does not",
                    vec![get(FRESH), get(&[]).method($method).status(500), then(Cache)],
                ),
                check(
                    concat!("invalidate-", $method, "-location"),
                    "`Location` names what else ends",
                    vec![
                        get(FRESH).path("-target"),
                        get(&[("location", concat!("/invalidate-", $method, "-location-target"))]).method($method),
                        then(Handler).path("-target"),
                    ],
                ),
                check(
                    concat!("invalidate-", $method, "-cl"),
                    "and so does `Content-Location`",
                    vec![
                        get(FRESH).path("-target"),
                        get(&[("content-location", concat!("/invalidate-", $method, "-cl-target"))]).method($method),
                        then(Handler).path("-target"),
                    ],
                ),
            ]
        };
    }
    let mut cases = of!("POST");
    cases.extend(of!("PUT"));
    cases.extend(of!("DELETE"));
    cases.extend(of!("M-SEARCH"));
    cases
}

fn other() -> Vec<Case> {
    vec![
        required("other-age-gen", "a kept response has an `Age`", vec![get(FRESH), then(Cache).aged(3)]),
        required(
            "other-age-update-expires",
            "it grows, by `Expires`",
            vec![get(&[("expires", "@2592000"), ("date", "@0"), ("age", "30")]), then(Cache).aged(33)],
        ),
        required(
            "other-age-update-max-age",
            "and by `max-age`",
            vec![get(&[("cache-control", "max-age=100000"), ("date", "@0"), ("age", "30")]), then(Cache).aged(33)],
        ),
        required(
            "other-date-update",
            "`Date` stays",
            vec![
                get(&[("cache-control", "max-age=100000"), ("date", "Thu, 01 Jan 2026 00:00:00 GMT")]),
                then(Cache).with(&[("date", "Thu, 01 Jan 2026 00:00:00 GMT")]),
            ],
        ),
        required(
            "other-date-update-expires",
            "beside `Expires` too",
            vec![
                get(&[("expires", "Fri, 01 Jan 2038 01:01:01 GMT"), ("date", "Thu, 01 Jan 2026 00:00:00 GMT")]),
                then(Cache).with(&[("date", "Thu, 01 Jan 2026 00:00:00 GMT")]),
            ],
        ),
        check(
            "other-date-update-expires-update",
            "`Expires` stays",
            vec![
                get(&[("expires", "Fri, 01 Jan 2038 01:01:01 GMT"), ("date", "@0")]),
                then(Cache).with(&[("expires", "Fri, 01 Jan 2038 01:01:01 GMT")]),
            ],
        ),
        required(
            "query-args-different",
            "another query is another response",
            vec![get(FRESH).path("?test=1"), then(Handler).path("?test=2")],
        ),
        optional(
            "query-args-same",
            "the same query is the same",
            vec![get(FRESH).path("?test=1"), then(Cache).path("?test=1")],
        ),
        check(
            "other-fresh-content-disposition-attachment",
            "an attachment is kept",
            twice!(
                &[
                    ("cache-control", "max-age=100000"),
                    ("date", "@0"),
                    ("content-disposition", "attachment; filename=example.txt")
                ],
                Cache
            ),
        ),
    ]
}
