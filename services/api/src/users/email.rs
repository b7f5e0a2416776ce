//! An e-mail address that can be a user's name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A checked address in lower case, so that one person cannot register `Ada@example.com` and `ada@example.com`.
///
/// The check is the one of HTML's `<input type=email>` within RFC 5321's lengths: letters, digits and signs, one
/// `@`, a domain of labels. Whether the address exists, only a mail sent to it can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

/// The text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// Longer than RFC 5321 §4.5.3.1 lets an address be.
    #[error("must have at most 254 characters, of which at most 64 before the @")]
    TooLong,
    /// Not of the form.
    #[error("is not an e-mail address such as ada@example.com")]
    Malformed,
}

impl Email {
    /// Reads an address as typed.
    ///
    /// # Errors
    /// [`EmailError`], for the caller.
    pub fn parse(typed: &str) -> Result<Self, EmailError> {
        let text = typed.trim().to_ascii_lowercase();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError::Malformed)?;
        if text.len() > 254 || local.len() > 64 {
            return Err(EmailError::TooLong);
        }
        if is_local(local) && is_domain(domain) { Ok(Self(text)) } else { Err(EmailError::Malformed) }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local(local: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    !local.is_empty() && local.bytes().all(allowed)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.split('.').all(is_label)
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_trimmed_and_lowered() {
        assert_eq!(Email::parse(" Ada.Lovelace+1@Example.COM ").unwrap().as_str(), "ada.lovelace+1@example.com");
        assert!(Email::parse("o'hara@localhost").is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(Email::parse("  "), Err(EmailError::Empty));
        assert_eq!(Email::parse(&format!("{}@b.c", "a".repeat(65))), Err(EmailError::TooLong));
        assert_eq!(Email::parse(&format!("a@{}.com", "b.".repeat(130))), Err(EmailError::TooLong));
        for bad in ["ada", "@b.c", "a@", "a b@c.d", "a@b..c", "a@-b.c", "a@b-.c", "a@b@c", "a@b c", "ä@b.c", "a\n@b.c"]
        {
            assert_eq!(Email::parse(bad), Err(EmailError::Malformed), "{bad}");
        }
    }
}
