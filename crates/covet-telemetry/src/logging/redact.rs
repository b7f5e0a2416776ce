//! Which fields are never written out, whoever logs them.

/// What is written in place of the value.
pub(crate) const REDACTED: &str = "[redacted]";

const SECRETS: [&str; 9] =
    ["password", "passwd", "passphrase", "secret", "token", "authorization", "cookie", "api_key", "private_key"];

/// True for `password`, `refresh_token`, `x-api-key`; not for `token_type`.
pub(crate) fn is_secret(field: &str) -> bool {
    SECRETS.iter().any(|secret| {
        let tail = field.len().checked_sub(secret.len()).and_then(|start| field.as_bytes().get(start..));
        tail.is_some_and(|tail| {
            tail.iter().zip(secret.bytes()).all(|(a, b)| match a.to_ascii_lowercase() {
                b'-' => b == b'_',
                a => a == b,
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_the_end_of_their_name() {
        for secret in ["password", "Authorization", "refresh_token", "x-api-key", "client.secret", "set-cookie"] {
            assert!(is_secret(secret), "{secret}");
        }
        for harmless in ["token_type", "path", "", "tokens", "password_age_days", "é"] {
            assert!(!is_secret(harmless), "{harmless}");
        }
    }
}
