//! What a session's cookie carries: where the session lies, and a secret that only its browser has.
//!
//! | part | bytes | what |
//! |---|---|---|
//! | owner | 16 | whose sessions lie together: made of the user's id, random for one without a user |
//! | id | 16 | which of them; also the session's name for its user, and in the log. Not secret |
//! | secret | 32 | from the operating system. Only its SHA-256 is stored, so that who reads Redis cannot make a cookie |

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covet_core::clock::Clock;
use covet_core::ids::{new_id, random_bytes};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Whose sessions lie together: one key in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Owner([u8; 16]);

/// Where a session lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) owner: Owner,
    pub(super) id: Uuid,
}

/// The whole content of a cookie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionToken {
    pub(super) place: Place,
    secret: [u8; 32],
}

/// SHA-256 of a secret: what is stored. Without a salt and without stretching, because the secret has 256 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SecretHash([u8; 32]);

impl Owner {
    /// The user's place. It lies in keys of Redis, which are shown in its logs and statistics: not the id as it is.
    pub(super) fn of_user(user: Uuid) -> Self {
        let digest = Sha256::new().chain_update(b"covet session owner\0").chain_update(user.as_bytes()).finalize();
        let mut owner = [0; 16];
        owner.copy_from_slice(&digest[..16]);
        Self(owner)
    }

    /// A place of its own.
    pub(super) fn nobody() -> Self {
        Self(random_bytes())
    }

    /// One of `count` groups, always the same one.
    pub(super) fn group(self, count: u8) -> u8 {
        self.0[0] % count
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Uuid::from_bytes(self.0).simple())
    }
}

impl SessionToken {
    /// Length of the text.
    const LENGTH: usize = 86;

    /// For a new session in the place of `owner`.
    pub(super) fn generate(owner: Owner, clock: &Clock) -> Self {
        Self { place: Place { owner, id: new_id(clock) }, secret: random_bytes() }
    }

    /// The same session with another secret.
    pub(super) fn renewed(self) -> Self {
        Self { secret: random_bytes(), ..self }
    }

    /// What to store and to compare with.
    pub(super) fn secret_hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.secret).into())
    }

    /// The text for the cookie.
    pub(super) fn encode(&self) -> String {
        let mut bytes = [0; 64];
        bytes[..16].copy_from_slice(&self.place.owner.0);
        bytes[16..32].copy_from_slice(self.place.id.as_bytes());
        bytes[32..].copy_from_slice(&self.secret);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text of a cookie; `None` when it cannot be one of ours.
    pub(super) fn decode(text: &str) -> Option<Self> {
        if text.len() != Self::LENGTH {
            return None;
        }
        let bytes: [u8; 64] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (owner, rest) = bytes.split_first_chunk::<16>()?;
        let (id, secret) = rest.split_first_chunk::<16>()?;
        let place = Place { owner: Owner(*owner), id: Uuid::from_bytes(*id) };
        Some(Self { place, secret: secret.try_into().ok()? })
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionToken").field("id", &self.place.id).finish_non_exhaustive()
    }
}

impl SecretHash {
    /// As it is stored.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it was stored.
    pub(super) fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> SessionToken {
        SessionToken::generate(Owner::of_user(Uuid::from_u128(7)), &Clock::system())
    }

    #[test]
    fn a_token_survives_its_journey_and_nothing_else_is_one() {
        let token = token();
        let text = token.encode();
        assert_eq!(text.len(), SessionToken::LENGTH);
        assert!(SessionToken::decode(&text) == Some(token));
        for bad in ["", "x", &text[1..], &format!("{text}A"), &"!".repeat(86), &"é".repeat(43)] {
            assert!(SessionToken::decode(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn tokens_of_one_user_lie_together_and_differ() {
        let (a, b) = (token(), token());
        assert_eq!(a.place.owner, b.place.owner);
        assert!(a.place.id != b.place.id && a.secret_hash() != b.secret_hash());
        assert_ne!(Owner::nobody(), Owner::nobody());
        assert_ne!(Owner::of_user(Uuid::from_u128(7)), Owner::of_user(Uuid::from_u128(8)));
    }

    #[test]
    fn neither_print_nor_key_shows_the_secret_or_the_user() {
        let token = token();
        let shown = format!("{token:?} {}", token.place.owner);
        assert!(!shown.contains(&token.encode()[43..]) && !shown.contains(&Uuid::from_u128(7).simple().to_string()));
    }

    #[test]
    fn a_renewed_token_is_the_same_session_by_another_secret() {
        let (old, new) = (token(), token().renewed());
        let renewed = old.renewed();
        assert_eq!(old.place, renewed.place);
        assert_ne!(old.secret_hash(), renewed.secret_hash());
        assert_ne!(new.place.id, old.place.id);
    }
}
