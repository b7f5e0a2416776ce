//! Hides what must not be seen in a text that may be shown otherwise.

use std::borrow::Cow;

/// What stands in place of a secret.
pub(crate) const MASK: &str = "********";

/// The text with the passwords of its connection URLs masked: in the user part, and in query parameters whose name says
/// that they are secret. Text without `://` comes back as it is; a list of URLs is masked item by item.
///
/// A password that was not percent-encoded may hold `@`, `/` or `?`. So everything from the first colon to the last `@`
/// is masked: rather too much than too little.
///
/// ```
/// use covet_core::settings::mask_passwords;
///
/// assert_eq!(mask_passwords("postgresql://u:p@h1:1,h2:2/db"), "postgresql://u:********@h1:1,h2:2/db");
/// ```
#[must_use]
pub fn mask_passwords(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut url = String::new();
    for item in text.split(',') {
        // A comma also stands between the hosts of one URL.
        if item.contains("://") && !url.is_empty() {
            masked.push_str(&mask_url(&url));
            masked.push(',');
            url.clear();
        } else if !url.is_empty() {
            url.push(',');
        }
        url.push_str(item);
    }
    masked.push_str(&mask_url(&url));
    Cow::Owned(masked)
}

fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _password)) => (format!("{name}:{MASK}@"), host),
            None => (format!("{user}@"), host),
        },
        None => (String::new(), rest),
    };
    let host = match host.split_once('?') {
        Some((path, query)) => format!("{path}?{}", mask_query(query)),
        None => host.to_owned(),
    };
    format!("{scheme}://{user}{host}")
}

fn mask_query(query: &str) -> String {
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["pass", "secret", "token", "key"].iter().any(|word| name.contains(word))
    };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if secret(name) => format!("{name}={MASK}"),
        _ => parameter.to_owned(),
    });
    parameters.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::mask_passwords;

    #[test]
    fn passwords_are_masked_wherever_a_url_holds_them() {
        for (text, masked) in [
            ("plain text, nothing: here@all", "plain text, nothing: here@all"),
            ("sqlite://data/covet.db", "sqlite://data/covet.db"),
            ("postgresql://db:5432/covet", "postgresql://db:5432/covet"),
            ("postgresql://u@db/covet", "postgresql://u@db/covet"),
            ("postgresql://u:p@db:5432/covet", "postgresql://u:********@db:5432/covet"),
            ("postgresql://u:p@h1:1,h2:2/covet", "postgresql://u:********@h1:1,h2:2/covet"),
            ("redis://:p@redis:6379/0", "redis://:********@redis:6379/0"),
            ("postgresql://u:a@b/c?d@db/x", "postgresql://u:********@db/x"),
            (
                "postgresql://a:1@h1/x,postgresql://b:2@h2/x",
                "postgresql://a:********@h1/x,postgresql://b:********@h2/x",
            ),
            (
                "postgresql://db/covet?sslmode=require&password=p&sslpassword=q",
                "postgresql://db/covet?sslmode=require&password=********&sslpassword=********",
            ),
        ] {
            assert_eq!(mask_passwords(text), masked);
        }
    }
}
