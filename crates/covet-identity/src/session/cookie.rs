//! The cookie: its name, its attributes, and the signature that nobody else can make.
//!
//! The signature (HMAC-SHA256) spares the cache every forged cookie: what we have not signed is not looked up. The key
//! is derived from `SECRET_KEY` with a label of its own, so that no other use of that key makes a session cookie.
//!
//! Attributes as RFC 6265bis and the OWASP Session Management Cheat Sheet ask: `HttpOnly`, `SameSite`, `Path=/`, no
//! `Domain`, and over TLS `Secure` with the prefix `__Host-`, by which browsers refuse a cookie that a neighbouring
//! host or plain HTTP has set.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covet_core::environment::Environment;
use covet_core::reload::Change;
use covet_core::secret::SecretString;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, header};
use sha2::Sha256;

use super::settings::SameSite;
use super::token::SessionToken;
use crate::keys::{KeyRingError, key_texts};

/// What the key is derived with.
const LABEL: &[u8] = b"covet session cookie v1";
/// What a key's name is made with. No cookie's text has a space.
const ID_LABEL: &[u8] = b"covet session cookie key id";
/// Browsers cut what is longer (RFC 6265bis §5.5).
const LONGEST_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The keys that sign session cookies. The first signs, all verify.
pub(super) struct CookieKeys {
    keys: Vec<Hmac<Sha256>>,
    /// Names for the log, in the same order.
    ids: Vec<String>,
}

/// How the cookie looks.
#[derive(Debug)]
pub(super) struct CookieShape {
    name: String,
    secure: bool,
    same_site: SameSite,
    keys: ArcSwap<CookieKeys>,
}

/// A cookie whose signature fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verified {
    pub(super) token: SessionToken,
    /// Signed with a key that does not sign any longer: give out a new one.
    pub(super) by_old_key: bool,
}

/// Why a cookie is not one of ours. Words for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadCookie {
    Malformed,
    WrongSignature,
}

impl CookieKeys {
    /// Reads the keys in `SECRET_KEY`.
    pub(super) fn parse(text: &SecretString, environment: Environment) -> Result<Self, KeyRingError> {
        let keys: Vec<_> = key_texts(text, environment)?
            .into_iter()
            .map(|key| hmac(&hmac(key.as_bytes()).chain_update(LABEL).finalize().into_bytes()))
            .collect();
        // 64 bits of what only the key gives: it cannot be led back to the key.
        let id = |key: &Hmac<Sha256>| {
            URL_SAFE_NO_PAD.encode(&key.clone().chain_update(ID_LABEL).finalize().into_bytes()[..8])
        };
        Ok(Self { ids: keys.iter().map(id).collect(), keys })
    }

    fn sign(&self, text: &str) -> String {
        let signature = self.keys[0].clone().chain_update(text).finalize().into_bytes();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Compares in a time that does not tell how much of a forged signature was right.
    fn verify(&self, signed: &str) -> Result<Verified, BadCookie> {
        let (text, signature) = signed.split_once('.').ok_or(BadCookie::Malformed)?;
        let token = SessionToken::decode(text).ok_or(BadCookie::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| BadCookie::Malformed)?;
        let fits = |key: &Hmac<Sha256>| key.clone().chain_update(text).verify_slice(&signature).is_ok();
        let position = self.keys.iter().position(fits).ok_or(BadCookie::WrongSignature)?;
        Ok(Verified { token, by_old_key: position > 0 })
    }
}

/// HMAC takes a key of any length.
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieKeys").field("keys", &self.ids).finish_non_exhaustive()
    }
}

impl CookieShape {
    /// `secure`: the service is reached by TLS.
    pub(super) fn new(name: &str, secure: bool, same_site: SameSite, keys: CookieKeys) -> Self {
        let name = if secure { format!("__Host-{name}") } else { name.to_owned() };
        Self { name, secure, same_site, keys: ArcSwap::from_pointee(keys) }
    }

    /// Puts other keys in place, and says what changed.
    pub(super) fn replace_keys(&self, keys: CookieKeys) -> Option<Change> {
        let to = keys.ids.join(" ");
        let old = self.keys.swap(Arc::new(keys));
        Change::between(old.ids.join(" "), to)
    }

    /// The name as it is sent.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the request has such a cookie at all, good or not.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        self.values(headers).next().is_some()
    }

    /// The cookie of a request. Of several, the first with a good signature: without the prefix a neighbouring host can
    /// add one. `None`: there is none.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Result<Verified, BadCookie>> {
        let (keys, mut bad) = (self.keys.load(), None);
        for value in self.values(headers) {
            match keys.verify(value) {
                Ok(verified) => return Some(Ok(verified)),
                Err(reason) => bad = bad.or(Some(Err(reason))),
            }
        }
        bad
    }

    /// The values under our name. HTTP/2 may send each cookie in a header of its own (RFC 9113 §8.2.3).
    fn values<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name)
            .map(|(_, value)| value)
    }

    /// `Set-Cookie` that gives the browser this token, for as long as the session can last.
    pub(super) fn set(&self, token: &SessionToken, lasts: Duration) -> HeaderValue {
        self.header(&self.keys.load().sign(&token.encode()), lasts.min(LONGEST_AGE).as_secs())
    }

    /// `Set-Cookie` that takes it away.
    pub(super) fn remove(&self) -> HeaderValue {
        self.header("", 0)
    }

    fn header(&self, value: &str, max_age: u64) -> HeaderValue {
        let mut text = String::with_capacity(240);
        let same_site = self.same_site.attribute();
        // Writing to a String does not fail.
        let _ = write!(text, "{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site}", self.name);
        if self.secure {
            text.push_str("; Secure");
        }
        HeaderValue::try_from(text).expect("the settings allow no other characters in the name")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use covet_core::clock::Clock;
    use uuid::Uuid;

    use super::*;
    use crate::session::token::Owner;

    const OLD: &str = "an-old-key-of-thirty-two-bytes-or-more";
    const NEW: &str = "a-new-key-of-thirty-two-bytes-or-more";

    fn shape(keys: &str, secure: bool) -> CookieShape {
        let keys = CookieKeys::parse(&SecretString::from(keys), Environment::Production).unwrap();
        CookieShape::new("session", secure, SameSite::Lax, keys)
    }

    fn token() -> SessionToken {
        SessionToken::generate(Owner::of_user(Uuid::from_u128(7)), &Clock::system())
    }

    /// `name=value` of a `Set-Cookie`, as a browser sends it back.
    fn sent_back(set: &HeaderValue) -> String {
        set.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    fn headers(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (header::COOKIE, HeaderValue::from_str(cookie).unwrap())).collect()
    }

    #[test]
    fn over_tls_the_cookie_is_bound_to_the_host_and_out_of_reach_of_scripts() {
        let set = shape(OLD, true).set(&token(), Duration::from_secs(3600));
        let text = set.to_str().unwrap();
        assert!(text.starts_with("__Host-session="), "{text}");
        let attributes: BTreeSet<_> = text.split("; ").skip(1).collect();
        assert_eq!(attributes, BTreeSet::from(["HttpOnly", "Max-Age=3600", "Path=/", "SameSite=Lax", "Secure"]));
    }

    #[test]
    fn without_tls_there_is_neither_prefix_nor_secure() {
        let set = shape(OLD, false).set(&token(), Duration::from_secs(10));
        let text = set.to_str().unwrap();
        assert!(text.starts_with("session=") && !text.contains("Secure"), "{text}");
        let years = shape(OLD, false).set(&token(), Duration::from_secs(u64::MAX));
        assert!(years.to_str().unwrap().contains("Max-Age=34560000;"), "{years:?}");
    }

    #[test]
    fn a_removed_cookie_has_the_same_attributes_and_no_time_left() {
        let removed = shape(OLD, true).remove();
        let text = "__Host-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(removed, text);
    }

    #[test]
    fn what_we_have_signed_is_read_back_among_other_cookies() {
        let (shape, token) = (shape(OLD, true), token());
        let ours = sent_back(&shape.set(&token, Duration::from_secs(10)));
        for cookies in [
            &[ours.as_str()][..],
            &[&format!("a=b; {ours}; c=d")],
            &["theme=dark", ours.as_str()],
            &[&format!("__Host-session=forged; {ours}")],
        ] {
            let read = shape.read(&headers(cookies)).unwrap().unwrap();
            assert!(read.token == token && !read.by_old_key, "{cookies:?}");
        }
        for cookies in [&[][..], &["theme=dark"], &["session=x"], &["x__Host-session=y"]] {
            assert!(shape.read(&headers(cookies)).is_none(), "{cookies:?}");
        }
    }

    #[test]
    fn a_forged_or_changed_cookie_is_refused() {
        let (shape, theirs) = (shape(OLD, true), shape(NEW, true));
        let good = sent_back(&shape.set(&token(), Duration::from_secs(10)));
        let value = good.split_once('=').unwrap().1;
        let (text, signature) = value.split_once('.').unwrap();
        let other = token().encode();
        let foreign = sent_back(&theirs.set(&token(), Duration::from_secs(10)));
        let foreign = foreign.split_once('=').unwrap().1;
        for (value, reason) in [
            (String::new(), BadCookie::Malformed),
            (text.to_owned(), BadCookie::Malformed),
            (format!("{text}."), BadCookie::WrongSignature),
            (format!("{text}.{}", &signature[..40]), BadCookie::WrongSignature),
            (format!("{other}.{signature}"), BadCookie::WrongSignature),
            (format!("{text}.{signature}.{signature}"), BadCookie::Malformed),
            (foreign.to_owned(), BadCookie::WrongSignature),
            ("x".repeat(5000), BadCookie::Malformed),
        ] {
            let refused = shape.read(&headers(&[&format!("__Host-session={value}")])).unwrap().unwrap_err();
            assert_eq!(refused, reason, "{value}");
        }
    }

    #[test]
    fn an_old_key_verifies_until_it_is_removed() {
        let before = shape(OLD, true);
        let token = token();
        let cookie = sent_back(&before.set(&token, Duration::from_secs(10)));
        let during = shape(&format!("{NEW},{OLD}"), true);
        let read = during.read(&headers(&[&cookie])).unwrap().unwrap();
        assert!(read.token == token && read.by_old_key);
        let renewed = sent_back(&during.set(&read.token, Duration::from_secs(10)));
        let after = shape(NEW, true);
        assert!(after.read(&headers(&[&cookie])).unwrap().is_err());
        assert!(after.read(&headers(&[&renewed])).unwrap().is_ok());
    }

    #[test]
    fn keys_are_replaced_under_cookies_that_are_in_use() {
        let (shape, token) = (shape(OLD, true), token());
        let cookie = sent_back(&shape.set(&token, Duration::from_secs(10)));
        let keys = |text: &str| CookieKeys::parse(&SecretString::from(text), Environment::Production).unwrap();
        let change = shape.replace_keys(keys(&format!("{NEW},{OLD}"))).unwrap();
        assert!(change.to.ends_with(&change.from), "{change:?}");
        let read = shape.read(&headers(&[&cookie])).unwrap().unwrap();
        assert!(read.token == token && read.by_old_key);
        assert_eq!(shape.replace_keys(keys(&format!("{NEW},{OLD}"))), None);
        shape.replace_keys(keys(NEW));
        assert_eq!(shape.read(&headers(&[&cookie])).unwrap().unwrap_err(), BadCookie::WrongSignature);
    }

    #[test]
    fn neither_keys_nor_their_faults_are_printed() {
        let shown = format!("{:?}", shape(OLD, true));
        assert!(!shown.contains("thirty-two"), "{shown}");
    }
}
