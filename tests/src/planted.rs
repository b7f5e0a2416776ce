//! Secrets planted wherever a service is given one, to be found nowhere in what it tells: log lines, spans, metrics, `config`,
//! pages, error bodies, panics.

use anyhow::{Result, ensure};

/// A password that a user has.
pub const PASSWORD: &str = "planted-password under the canyon";
/// A password that is not right.
pub const WRONG_PASSWORD: &str = "planted-wrong-password under the canyon";
/// A refresh token that nobody was given.
pub const REFRESH_TOKEN: &str = "cGxhbnRlZC1yZWZyZXNoLXRva2VuLW5vYm9keS1oYXM";
/// An access token that nobody was given: three parts, like a real one.
pub const ACCESS_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJwbGFudGVkIjoiYWNjZXNzIn0.cGxhbnRlZC1zaWduYXR1cmU";
/// The value of a cookie.
pub const COOKIE: &str = "planted-cookie-4711";
/// The value of `Authorization: Basic`.
pub const BASIC: &str = "cGxhbnRlZDpiYXNpYy1wYXNzd29yZA==";
/// The value of `X-Api-Key`.
pub const API_KEY: &str = "planted-api-key-4711";
/// A database's password, as it stands in a URL.
pub const DATABASE_PASSWORD: &str = "planted-database-password";
/// A URL with it.
pub const DATABASE_URL: &str = "postgresql://app:planted-database-password@127.0.0.1:1/covet";
/// The value of `JWT_SECRET_KEY`.
pub const JWT_SECRET_KEY: &str = "706c616e7465642d6a77742d7365637265742d6b65792d34373131706c616e74";
/// The value of `COVET_LOG__HASH_KEY`.
pub const HASH_KEY: &str = "706c616e7465642d686173682d6b65792d34373131706c616e74656468617368";

/// All of them, by name.
pub const ALL: [(&str, &str); 10] = [
    ("password", PASSWORD),
    ("wrong password", WRONG_PASSWORD),
    ("refresh token", REFRESH_TOKEN),
    ("access token", ACCESS_TOKEN),
    ("cookie", COOKIE),
    ("basic authorization", BASIC),
    ("API key", API_KEY),
    ("database password", DATABASE_PASSWORD),
    ("JWT secret key", JWT_SECRET_KEY),
    ("hash key", HASH_KEY),
];

/// The request headers that carry some of them.
pub const HEADERS: [(&str, &str); 4] = [
    ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJwbGFudGVkIjoiYWNjZXNzIn0.cGxhbnRlZC1zaWduYXR1cmU"),
    ("cookie", "session=planted-cookie-4711; theme=dark"),
    ("x-api-key", API_KEY),
    ("proxy-authorization", "Basic cGxhbnRlZDpiYXNpYy1wYXNzd29yZA=="),
];

/// Makes sure that none of them, and none of `more`, is in `text`.
///
/// # Errors
///
/// Which one is there, and in which surroundings.
pub fn absent_from(place: &str, text: &str, more: &[&str]) -> Result<()> {
    let more = more.iter().map(|secret| ("a secret of this run", *secret));
    for (name, secret) in ALL.into_iter().chain(more) {
        if let Some(at) = text.find(secret) {
            let from = text[..at].char_indices().rev().nth(200).map_or(0, |(from, _)| from);
            ensure!(false, "{place} has the {name}: …{}", &text[from..at + secret.len()]);
        }
    }
    Ok(())
}
