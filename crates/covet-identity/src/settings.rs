//! What the operator may set about passwords, tokens and API keys.

use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::secret::SecretString;
use covet_core::settings::{ByteSize, Invalid, Settings};

use crate::password::Passwords;
use crate::token::KeyRing;

/// Passwords, tokens and API keys.
#[derive(Debug, Clone, Settings)]
#[settings(section = "auth", validate = "check")]
pub struct AuthSettings {
    /// Keys that sign access tokens: texts of at least 32 bytes each in production, which sign by HS256, or PEM blocks of
    /// Ed25519 or RSA keys (`openssl genpkey -algorithm ed25519`), which sign by `EdDSA` and RS256 and whose public keys are at
    /// `/.well-known/jwks.json`. Several are separated by commas or line ends: the first signs, all verify. To rotate: add
    /// the new key at the end everywhere, then move it to the front, then remove the old one once
    /// `COVET_AUTH__ACCESS_TOKEN_TTL` has passed. From a file it is read again when the file changes.
    #[setting(variable = "JWT_SECRET_KEY", key_material, example = "openssl rand -hex 32")]
    pub jwt_secret_key: SecretString,
    /// Issuer (`iss`) written into access tokens and demanded of them.
    #[setting(default = "covet")]
    pub issuer: String,
    /// Audience (`aud`) written into access tokens and demanded of them.
    #[setting(default = "covet-api")]
    pub audience: String,
    /// How long an access token is good. While Redis is away an instance may not hear of a login that another has ended, so
    /// keep it short.
    #[setting(default = "15m", min = "1s", max = "24h")]
    pub access_token_ttl: Duration,
    /// Difference between the clocks of two instances that is tolerated when a token's times are checked.
    #[setting(default = "10s", max = "5m")]
    pub clock_leeway: Duration,
    /// Ended logins whose access tokens are refused at once, at most. Each counts until its tokens would have expired. Over
    /// it the ones that expire next are given up, and `app_auth_revocations_given_up_total` rises.
    #[setting(default = "100000", min = "1000", max = "10000000")]
    pub revoked_logins: u32,
    /// How long a refresh token is good when it is not used.
    #[setting(default = "30d", min = "1m", max = "400d")]
    pub refresh_token_ttl: Duration,
    /// How long a login lasts at most, however often it is refreshed.
    #[setting(default = "90d", min = "1m", max = "400d")]
    pub session_lifetime: Duration,
    /// Fewest characters of a new password. NIST SP 800-63B-4 §3.1.1.2 demands 15 where the password is the
    /// only factor, 8 where there is a second.
    #[setting(default = "15", min = "8", max = "64")]
    pub password_min_length: u32,
    /// Memory of one argon2id computation. The default and the two below are those of the OWASP Password
    /// Storage Cheat Sheet; raise them together with what the machine can give.
    #[setting(default = "19MiB", min = "7MiB", max = "4GiB")]
    pub password_memory: ByteSize,
    /// Passes of argon2id over its memory.
    #[setting(default = "2", min = "1", max = "64")]
    pub password_iterations: u32,
    /// Lanes of argon2id.
    #[setting(default = "1", min = "1", max = "16")]
    pub password_lanes: u32,
    /// How many passwords are hashed at a time; 0 means half the cores, so that logins leave the other half to
    /// everything else. Memory for passwords is at most this times `COVET_AUTH__PASSWORD_MEMORY`.
    #[setting(default = "0", max = "1024")]
    pub password_concurrency: usize,
    /// How many may wait for their turn to be hashed; more are refused with 503 and `Retry-After`.
    #[setting(default = "256", max = "65536")]
    pub password_queue: usize,
    /// How old an API key may get before the log and the list of keys say that it should be replaced. It stays good.
    #[setting(default = "90d", min = "1d", max = "400d")]
    pub api_key_replace_after: Duration,
}

fn check(settings: &AuthSettings, environment: Environment) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    if let Err(error) = KeyRing::parse(&settings.jwt_secret_key, environment) {
        invalid.push(Invalid::new("jwt_secret_key", error.to_string()));
    }
    if let Err(error) = Passwords::new(settings) {
        invalid.push(Invalid::new("password_memory", error.to_string()).example("19MiB"));
    }
    if settings.session_lifetime < settings.refresh_token_ttl {
        let reason = "must not be shorter than COVET_AUTH__REFRESH_TOKEN_TTL, or the refresh token promises too much";
        invalid.push(Invalid::new("session_lifetime", reason).example("90d"));
    }
    for (key, text) in [("issuer", &settings.issuer), ("audience", &settings.audience)] {
        if text.is_empty() {
            invalid.push(Invalid::new(key, "must not be empty: a token is checked against it").example("covet"));
        }
    }
    invalid
}

#[cfg(test)]
pub(crate) fn test_settings() -> AuthSettings {
    use covet_core::settings::Section;

    AuthSettings::defaults(Environment::Development)
}

#[cfg(test)]
mod tests {
    use covet_core::settings::{Section, SectionDoc, Sources};

    use super::*;

    fn problems(variables: &[(&str, &str)]) -> String {
        AuthSettings::load(Sources::of(variables.iter().copied())).unwrap_err().to_string()
    }

    #[test]
    fn the_declaration_keeps_to_its_own_rules() {
        assert_eq!(SectionDoc::of::<AuthSettings>().faults(), Vec::<String>::new());
    }

    #[test]
    fn a_short_second_key_is_refused_in_production_only() {
        let ring = "3f0c1d9a7be24a6f8c5d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d,tiny";
        let told = problems(&[("COVET_ENV", "production"), ("JWT_SECRET_KEY", ring)]);
        assert!(told.contains("JWT_SECRET_KEY") && told.contains("key 2") && !told.contains("tiny"), "{told}");
        for environment in ["development", "staging"] {
            let sources = Sources::of([("COVET_ENV", environment), ("JWT_SECRET_KEY", ring)]);
            assert!(AuthSettings::load(sources).is_ok(), "{environment}");
        }
    }

    #[test]
    fn a_login_shorter_than_its_refresh_token_is_refused() {
        let told = problems(&[("COVET_AUTH__SESSION_LIFETIME", "1d"), ("COVET_AUTH__ISSUER", "")]);
        assert!(told.contains("COVET_AUTH__SESSION_LIFETIME") && told.contains("COVET_AUTH__ISSUER"), "{told}");
    }
}
