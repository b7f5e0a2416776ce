//! Secrets inside a text: masked where they stand, the rest as it is.
//!
//! One pass. It stops at the few bytes that a secret can begin after or with: `=` and `:` (what is named so?), `B`
//! (`Bearer`, `Basic`), `e` (a JSON Web Token) and `c` (an API key). Text without any secret comes back as it is, without a copy.

use std::borrow::Cow;
use std::ops::Range;

use covet_core::settings::mask_passwords;

use super::REDACTED;
use super::names::Names;

/// The text with its secrets masked.
pub(super) fn masked<'a>(text: &'a str, names: &Names) -> Cow<'a, str> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = next_secret(text, at, names) {
        let (range, replacement) = found;
        let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
        out.push_str(&text[copied..range.start]);
        out.push_str(&replacement);
        copied = range.end;
        at = range.end;
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(&text[copied..]);
            Cow::Owned(out)
        }
    }
}

type Found = (Range<usize>, Cow<'static, str>);

/// The first secret at or after `from`. All indices that it gives are between characters.
fn next_secret(text: &str, from: usize, names: &Names) -> Option<Found> {
    let bytes = text.as_bytes();
    for at in from..bytes.len() {
        let found = match bytes[at] {
            b':' if bytes[at..].starts_with(b"://") => url(text, from, at),
            // A path such as `covet::token::parse` names nothing.
            b':' if bytes[at + 1..].starts_with(b":") || bytes[..at].ends_with(b":") => None,
            b'=' | b':' => named(text, from, at, names),
            b'B' | b'b' => scheme(text, at),
            b'e' => web_token(text, at),
            b'c' => api_key(text, at),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn redacted(range: Range<usize>) -> Found {
    (range, Cow::Borrowed(REDACTED))
}

/// `name=value`, `name: value`, `"name": "value"`, `\"name\":\"value\"`, `name: Some("value")`, with the sign at `sign`.
fn named(text: &str, from: usize, sign: usize, names: &Names) -> Option<Found> {
    let bytes = text.as_bytes();
    let mut end = sign;
    while end > from && matches!(bytes[end - 1], b' ' | b'"' | b'\'' | b'\\') {
        end -= 1;
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let start = bytes[from..end].iter().rposition(|byte| !is_name(byte)).map_or(from, |before| from + before + 1);
    let name = &text[start..end];
    // `src/token.rs:12` is a place in the source.
    if name.is_empty() || name.ends_with(".rs") || !names.contain(name) {
        return None;
    }
    let value = value_after(bytes, sign + 1, is_header(name));
    // `=` and `:` with nothing behind, and what is masked already.
    let masked = |value: &str| value.eq_ignore_ascii_case(REDACTED) || value.bytes().all(|byte| byte == b'*');
    if value.is_empty() || masked(&text[value.clone()]) {
        return None;
    }
    Some(redacted(value))
}

/// Headers whose value has spaces in it.
fn is_header(name: &str) -> bool {
    let ends_with = |ending: &str| {
        let tail = name.len().checked_sub(ending.len()).and_then(|start| name.get(start..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
    };
    ends_with("authorization") || ends_with("cookie")
}

/// Where the value is that begins at or after `at`, without its quotes.
fn value_after(bytes: &[u8], mut at: usize, whole_line: bool) -> Range<usize> {
    let skip = |at: &mut usize, skipped: &[u8]| {
        while bytes.get(*at).is_some_and(|byte| skipped.contains(byte)) {
            *at += 1;
        }
    };
    skip(&mut at, b" >");
    if bytes[at..].starts_with(b"Some(") {
        at += 5;
    }
    let before_quote = at;
    skip(&mut at, b"\\");
    match bytes.get(at) {
        Some(quote @ (b'"' | b'\'')) => {
            let escapes = at - before_quote;
            let start = at + 1;
            start..closing_quote(bytes, start, *quote, escapes)
        }
        Some(open @ (b'[' | b'{' | b'(')) => at..closing_bracket(bytes, at, *open),
        _ => {
            let start = before_quote;
            let ends = |byte: &u8| match byte {
                b'\n' | b'\r' | b'"' | b'\'' | b'`' => true,
                b' ' | b'\t' | b',' | b';' | b'&' | b')' | b'}' | b']' | b'>' | b'|' => !whole_line,
                _ => false,
            };
            start..bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length)
        }
    }
}

/// The quote that ends a text, after as many backslashes as the opening one had; the end of all text when none does.
fn closing_quote(bytes: &[u8], start: usize, quote: u8, escapes: usize) -> usize {
    let mut backslashes = 0;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match *byte {
            b'\\' => backslashes += 1,
            byte if byte == quote && backslashes <= escapes => return at - backslashes,
            _ => backslashes = 0,
        }
    }
    bytes.len()
}

/// Just behind the bracket that closes the one at `at`; the end of all text when none does.
fn closing_bracket(bytes: &[u8], at: usize, open: u8) -> usize {
    let close = match open {
        b'[' => b']',
        b'{' => b'}',
        _ => b')',
    };
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(at) {
        if *byte == open {
            depth += 1;
        } else if *byte == close {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    bytes.len()
}

/// The word of a URL around the `://` at `at`, if it has a password.
fn url(text: &str, from: usize, at: usize) -> Option<Found> {
    let is_scheme = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.');
    let start = from + text[from..at].trim_end_matches(is_scheme).len();
    let ends = |char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '<' | '>' | '`' | '\\');
    let end = text[at..].find(ends).map_or(text.len(), |length| at + length);
    match mask_passwords(&text[start..end]) {
        masked if masked == text[start..end] => None,
        masked => Some((start..end, Cow::Owned(masked.into_owned()))),
    }
}

/// `Bearer …` and `Basic …` with something behind it that is no word of a sentence.
fn scheme(text: &str, at: usize) -> Option<Found> {
    const SCHEMES: [&str; 2] = ["bearer ", "basic "];
    const LEAST: usize = 8;
    let follows = |scheme: &&str| text.get(at..at + scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme));
    let start = at + SCHEMES.iter().find(|scheme| follows(scheme))?.len();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let token = &text.as_bytes()[start..];
    let token = &token[..token.iter().position(|byte| !is_token(byte)).unwrap_or(token.len())];
    let is_word = token.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-'));
    (token.len() >= LEAST && !is_word).then(|| redacted(start..start + token.len()))
}

/// A JSON Web Token: three parts of base64url, of which the first begins an object (`{"`).
fn web_token(text: &str, at: usize) -> Option<Found> {
    const LEAST: usize = 10;
    let bytes = text.as_bytes();
    if !bytes[at..].starts_with(b"eyJ") {
        return None;
    }
    let part = |start: usize| {
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        bytes[start..].iter().position(|byte| !is_base64(byte)).map_or(bytes.len(), |length| start + length)
    };
    let header = part(at);
    if header - at < LEAST || bytes.get(header) != Some(&b'.') {
        return None;
    }
    let claims = part(header + 1);
    let end = if bytes.get(claims) == Some(&b'.') { part(claims + 1) } else { claims };
    (claims - header > LEAST).then(|| redacted(at..end))
}

/// The secret of an API key, `cvt_<id>_<secret>`. The id stays: by it the key is found and revoked.
fn api_key(text: &str, at: usize) -> Option<Found> {
    const ID_LENGTH: usize = 32;
    let after_prefix = text[at..].strip_prefix("cvt_")?;
    let is_hexadecimal = |byte: &u8| byte.is_ascii_hexdigit();
    let id = after_prefix.bytes().take_while(is_hexadecimal).count();
    let secret = after_prefix.get(id..)?.strip_prefix('_')?;
    let length = secret.bytes().take_while(is_hexadecimal).count();
    let start = text.len() - secret.len();
    (id == ID_LENGTH && length > 0).then(|| redacted(start..start + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(text: &str) -> String {
        masked(text, &Names::new(&[])).into_owned()
    }

    #[test]
    fn what_follows_a_secret_name_is_masked_in_every_spelling() {
        for (text, expected) in [
            ("password=hunter2", "password=[redacted]"),
            ("a password=hunter2, b=1", "a password=[redacted], b=1"),
            ("?token=abc&page=2", "?token=[redacted]&page=2"),
            ("Login { user: \"ada\", password: \"hun\\\"ter2\" }", "Login { user: \"ada\", password: \"[redacted]\" }"),
            ("Login { password: Some(\"hunter2\"), n: 1 }", "Login { password: Some(\"[redacted]\"), n: 1 }"),
            ("{\"access_token\": \"abc def\", \"n\": 1}", "{\"access_token\": \"[redacted]\", \"n\": 1}"),
            ("\"{\\\"token\\\":\\\"abc\\\",\\\"n\\\":1}\"", "\"{\\\"token\\\":\\\"[redacted]\\\",\\\"n\\\":1}\""),
            ("{'apiKey': 'abc'}", "{'apiKey': '[redacted]'}"),
            ("secret => abc", "secret => [redacted]"),
            ("signing_key: [1, 2, [3]], n: 1", "signing_key: [redacted], n: 1"),
            (
                "{\"authorization\": \"Bearer abc\", \"host\": \"x\"}",
                "{\"authorization\": \"[redacted]\", \"host\": \"x\"}",
            ),
            ("Authorization: Bearer abc\nHost: x", "Authorization: [redacted]\nHost: x"),
            ("Cookie: a=1; session=2\r\nHost: x", "Cookie: [redacted]\r\nHost: x"),
            ("x-api-key: abc", "x-api-key: [redacted]"),
            ("password=\"never closed", "password=\"[redacted]"),
            ("password=päss, x", "password=[redacted], x"),
            ("token=a token=b", "token=[redacted] token=[redacted]"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn passwords_in_urls_are_masked_wherever_the_url_stands() {
        for (text, expected) in [
            (
                "cannot reach postgres://app:s3cret@db:5432/covet: refused",
                "cannot reach postgres://app:********@db:5432/covet: refused",
            ),
            ("url=\"redis://:s3cret@redis/0\" ok", "url=\"redis://:********@redis/0\" ok"),
            (
                "GET https://api.example/x?api_key=abc&n=1 failed",
                "GET https://api.example/x?api_key=********&n=1 failed",
            ),
            ("(https://example.com/a:b)", "(https://example.com/a:b)"),
            ("listening on http://[::1]:8000/", "listening on http://[::1]:8000/"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn tokens_are_known_by_their_looks() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6MX0.c2lnbmF0dXJl";
        for (text, expected) in [
            (format!("refused {jwt}!"), "refused [redacted]!"),
            (format!("Bearer {jwt}"), "Bearer [redacted]"),
            ("sent bearer 0123456789abcdef".to_owned(), "sent bearer [redacted]"),
            ("Basic dXNlcjpwYXNz was sent".to_owned(), "Basic [redacted] was sent"),
            (
                format!("refused cvt_{}_{}!", "0a".repeat(16), "f1".repeat(36)),
                "refused cvt_0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a_[redacted]!",
            ),
        ] {
            assert_eq!(mask(&text), expected);
        }
    }

    #[test]
    fn what_is_no_secret_stays_without_a_copy() {
        for text in [
            "",
            "listening address=0.0.0.0:8000",
            "covet_identity::token::AccessTokens::issue",
            "the bearer of this is basic authentication",
            "expected `:` at line 1 column 2: key=1, cache_key=abc",
            "password: ",
            "password=[redacted] token: [REDACTED], secret=********",
            "eyJ is how it begins",
            "keys begin with cvt_ and go on with 32 characters, cvt_0a0a_ is none",
            "token",
            "at src/token.rs:12:5",
            "2025-10-10T12:03:04Z a::b é=ü :",
        ] {
            assert!(
                matches!(masked(text, &Names::new(&[])), Cow::Borrowed(same) if same == text),
                "{text}: {}",
                mask(text)
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_a_second_pass_changes_nothing(text in "(?s).{0,80}|([a-z:=\"\\\\ \\[{(ü]|token|eyJ|Bearer ){0,30}") {
            let once = mask(&text);
            prop_assert_eq!(mask(&once), once);
        }

        #[test]
        fn a_planted_value_never_survives(
            name in "(password|db_token|X-Api-Key|clientSecret)", sign in "(=|: |:|=>| = )", before in "[a-z ,;é]{0,10}", after in "[ ,;)].{0,10}",
        ) {
            let text = format!("{before} {name}{sign}hunter2{after}");
            prop_assert!(!mask(&text).contains("hunter2"), "{}", text);
        }
    }
}
