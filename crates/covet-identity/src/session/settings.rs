//! What the operator may set about sessions.

use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::secret::SecretString;
use covet_core::settings::{ByteSize, Invalid, SettingValue, Settings};

use super::cookie::CookieKeys;
use super::origin::is_origin;

/// Sessions by cookie.
///
/// A session that is not used ends after `COVET_CACHE__SESSION_TTL`.
#[derive(Debug, Clone, Settings)]
#[settings(section = "session", validate = "check")]
pub struct SessionSettings {
    /// Keys that sign session cookies, at least 32 bytes each in production. Several are separated by commas or line
    /// ends: the first signs, all verify. To rotate: add the new key at the end everywhere, then move it to the front;
    /// whoever comes with a cookie of the old key gets one of the new. Remove the old key once
    /// `COVET_SESSION__LIFETIME` has passed.
    #[setting(variable = "SECRET_KEY", key_material, example = "openssl rand -hex 32")]
    pub secret_key: SecretString,
    /// Name of the cookie. Where the service is reached by TLS, `__Host-` stands before it: always but in development
    /// without `COVET_HTTP__TLS_CERTIFICATE`.
    #[setting(default = "session")]
    pub cookie_name: String,
    /// Whether a browser sends the cookie with requests that begin on a page of another site.
    #[setting(default = "lax")]
    pub same_site: SameSite,
    /// How long a session lasts at most, however much it is used.
    #[setting(default = "30d", min = "1s", max = "400d")]
    pub lifetime: Duration,
    /// Sessions that a user can have at once. One more ends the one that has not been used for the longest time.
    #[setting(default = "100", min = "1", max = "1000")]
    pub per_user: u16,
    /// Most that a session can hold, as JSON.
    #[setting(default = "16KiB", min = "64B", max = "1MiB")]
    pub data_limit: ByteSize,
    /// Other origins whose pages may change something with a session's cookie, and open a session. Their site must be
    /// ours: a browser sends the cookie from no other. They need `COVET_CORS__ALLOWED_ORIGINS` and
    /// `COVET_CORS__CREDENTIALS` too.
    #[setting(default = "", example = "https://app.covet.example")]
    pub trusted_origins: Vec<String>,
}

/// Whether a browser sends the cookie with requests that begin on a page of another site. There is no `none`: browsers
/// keep cookies of other sites to themselves more and more; an application on another site takes access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum SameSite {
    /// When somebody follows a link to here; not with forms, images or scripts.
    Lax,
    /// Never: who follows a link to here arrives logged out.
    Strict,
}

impl SameSite {
    pub(super) fn attribute(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
        }
    }
}

fn check(settings: &SessionSettings, environment: Environment) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    if let Err(error) = CookieKeys::parse(&settings.secret_key, environment) {
        invalid.push(Invalid::new("secret_key", error.to_string()));
    }
    // A token of RFC 9110 §5.6.2, as RFC 6265 §4.1.1 asks.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if settings.cookie_name.is_empty() || !settings.cookie_name.bytes().all(allowed) {
        let reason = "must consist of letters, digits, `-`, `_` and `.`";
        invalid.push(Invalid::new("cookie_name", reason).example("session"));
    }
    if settings.cookie_name.starts_with("__") {
        let reason = "must not begin with `__`: the prefix is put before it by itself";
        invalid.push(Invalid::new("cookie_name", reason).example("session"));
    }
    for origin in settings.trusted_origins.iter().filter(|origin| !is_origin(origin)) {
        let reason = format!("`{origin}` is not an origin: scheme, host and, if it is not the usual one, port");
        invalid.push(Invalid::new("trusted_origins", reason).example("https://app.covet.example"));
    }
    invalid
}

#[cfg(test)]
mod tests {
    use covet_core::settings::{Section, SectionDoc, Sources};

    use super::*;

    const GOOD_KEY: &str = "3f0c1d9a7be24a6f8c5d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d";

    #[test]
    fn the_declaration_keeps_to_its_own_rules() {
        assert_eq!(SectionDoc::of::<SessionSettings>().faults(), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_value_is_told_at_once() {
        let ring = format!("{GOOD_KEY},tiny");
        let told = SessionSettings::load(Sources::of([
            ("COVET_ENV", "production"),
            ("SECRET_KEY", ring.as_str()),
            ("COVET_SESSION__COOKIE_NAME", "__Host-a b"),
            ("COVET_SESSION__TRUSTED_ORIGINS", "https://good.example,https://bad.example/path,*"),
        ]));
        let told = told.unwrap_err().to_string();
        for part in ["SECRET_KEY", "key 2", "COVET_SESSION__COOKIE_NAME", "bad.example/path", "`*`"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(!told.contains("tiny") && !told.contains("good.example"), "{told}");
    }

    #[test]
    fn outside_development_a_key_is_needed() {
        for environment in ["staging", "production"] {
            let told = SessionSettings::load(Sources::of([("COVET_ENV", environment)])).unwrap_err().to_string();
            assert!(told.contains("SECRET_KEY"), "{told}");
        }
    }
}
