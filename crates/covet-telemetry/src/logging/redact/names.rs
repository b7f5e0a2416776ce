//! Names whose values are secrets.

use std::str::FromStr;

use covet_core::settings::Value;

/// `*` stands for any letters. Names are compared in lower case, with `_` for `-`, and `accessToken` as `access_token`.
const SECRET: [&str; 24] = [
    "password*",
    "*password",
    "passwd*",
    "pwd",
    "passphrase*",
    "*passphrase",
    "secret",
    "secret_*",
    "*_secret",
    "*secrets",
    "token",
    "*_token",
    "jwt",
    "otp",
    "totp",
    "authorization",
    "*_authorization",
    "cookie",
    "cookies",
    "set_cookie",
    "apikey",
    "*_key",
    "credential*",
    "*_credentials",
];

/// Keys that open nothing.
const HARMLESS: [&str; 7] =
    ["cache_key", "foreign_key", "idempotency_key", "partition_key", "primary_key", "public_key", "sort_key"];

/// A name, maybe with `*` for any letters: what `COVET_LOG__REDACT` adds to the built-in names.
///
/// ```
/// use covet_telemetry::logging::NamePattern;
///
/// let pattern: NamePattern = "iban*".parse().unwrap();
/// assert!(pattern.matches("iban_of_payer"));
/// assert!("i ban".parse::<NamePattern>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether it is the name of something secret.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, normalised(name).as_bytes())
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '*');
        if text.chars().all(valid) && text.chars().any(|char| char != '*') {
            return Ok(Self(normalised(text)));
        }
        Err(format!("expected the name of a field or header, maybe with *, such as iban or x-partner-*, got {text:?}"))
    }
}

impl Value for NamePattern {
    fn type_name() -> String {
        "name".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn show(&self) -> String {
        self.0.clone()
    }

    fn example() -> Option<String> {
        Some("iban*".to_owned())
    }
}

/// The built-in names and those of the setting, sorted by how they are compared: it happens for every field.
#[derive(Debug)]
pub(super) struct Names {
    exact: Vec<Box<[u8]>>,
    beginnings: Vec<Box<[u8]>>,
    endings: Vec<Box<[u8]>>,
    /// Patterns with a star elsewhere.
    others: Vec<String>,
    harmless: Vec<&'static [u8]>,
}

impl Names {
    pub(super) fn new(more: &[NamePattern]) -> Self {
        let named_by_setting = |name: &&&str| more.iter().any(|pattern| pattern.matches(name));
        let harmless = HARMLESS.iter().filter(|name| !named_by_setting(name)).map(|name| name.as_bytes()).collect();
        let (exact, beginnings, endings, others) = Default::default();
        let mut names = Self { exact, beginnings, endings, others, harmless };
        for pattern in SECRET.into_iter().chain(more.iter().map(|pattern| pattern.0.as_str())) {
            let kind = match (pattern.find('*'), pattern.rfind('*')) {
                (None, _) => Some(&mut names.exact),
                (Some(0), Some(0)) => Some(&mut names.endings),
                (Some(first), Some(last)) if first == last && last == pattern.len() - 1 => Some(&mut names.beginnings),
                _ => None,
            };
            match kind {
                Some(kind) => kind.push(pattern.trim_matches('*').as_bytes().into()),
                None => names.others.push(pattern.to_owned()),
            }
        }
        names
    }

    /// True when one of the name's parts is the name of a secret: `http.headers.cookie`, `user.password.hash`.
    pub(super) fn contain(&self, name: &str) -> bool {
        // Most names need no change, and have one part.
        if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return self.contain_part(name.as_bytes());
        }
        name.split(['.', ':', '/', '[', ']', ' ']).any(|part| self.contain_part(normalised(part).as_bytes()))
    }

    fn contain_part(&self, part: &[u8]) -> bool {
        let found = self.exact.iter().any(|name| **name == *part)
            || self.endings.iter().any(|ending| part.ends_with(ending))
            || self.beginnings.iter().any(|beginning| part.starts_with(beginning))
            || self.others.iter().any(|pattern| matches(pattern, part));
        found && !self.harmless.contains(&part)
    }
}

/// Lower case, `_` for `-`, and `_` where a capital follows a small letter.
fn normalised(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for char in name.chars() {
        if char.is_ascii_uppercase() && after_small {
            text.push('_');
        }
        after_small = char.is_ascii_lowercase() || char.is_ascii_digit();
        text.push(if char == '-' { '_' } else { char.to_ascii_lowercase() });
    }
    text
}

/// A name against a pattern with `*`, greedily from the left and the last part from the right.
fn matches(pattern: &str, name: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern.as_bytes() == name };
    let Some(mut name) = name.strip_prefix(first.as_bytes()) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part.as_bytes());
        }
        match find(name, part.as_bytes()) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() { Some(0) } else { text.windows(part.len()).position(|window| window == part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let names = Names::new(&[]);
        for secret in [
            "password",
            "PASSWORD",
            "password_hash",
            "db_password",
            "Authorization",
            "Proxy-Authorization",
            "refresh_token",
            "refreshToken",
            "x-api-key",
            "signing_key",
            "apiKey",
            "APIKEY",
            "client.secret",
            "set-cookie",
            "http.request.headers.cookie",
            "headers[x-auth-token]",
            "user.password.hash",
            "aws_secret_access_key",
        ] {
            assert!(names.contain(secret), "{secret}");
        }
        for harmless in ["token_type", "path", "", "tokens", "cache_key", "monkey", "key", "keys", "é", "compass"] {
            assert!(!names.contain(harmless), "{harmless}");
        }
    }

    #[test]
    fn the_setting_adds_names_with_stars_anywhere() {
        assert!(Names::new(&["*_key".parse().unwrap()]).contain("cache_key"), "the setting has the last word");
        let names = Names::new(&["iban".parse().unwrap(), "X-Partner-*".parse().unwrap(), "*_no_*".parse().unwrap()]);
        for secret in ["iban", "payer.IBAN", "x-partner-id", "x_partner_", "card_no_1", "a_no_b_no_c"] {
            assert!(names.contain(secret), "{secret}");
        }
        for harmless in ["ibans", "x-partner", "card_no", "no_1"] {
            assert!(!names.contain(harmless), "{harmless}");
        }
        for wrong in ["", "*", "**", "a b", "é", "a.b", "a=b"] {
            assert!(wrong.parse::<NamePattern>().is_err(), "{wrong}");
        }
        assert_eq!("X-Partner-*".parse::<NamePattern>().unwrap().show(), "x_partner_*");
    }
}
