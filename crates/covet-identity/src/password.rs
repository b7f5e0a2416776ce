//! Passwords: hashed with argon2id, off the async threads, never more at a time than memory allows.
//!
//! [`Passwords`] hashes and verifies; [`rules`] says which new passwords are refused. What a person typed is a
//! [`Password`] until it has passed the rules and is a [`NewPassword`]; what is stored is a [`PasswordHash`].
//! Throttling by account and address is not done here.

mod hash;
pub mod rules;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use covet_core::problem::{AsProblem, Problem};
use covet_core::secret::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use self::hash::Hasher;
pub use self::hash::PasswordHash;
pub use self::rules::{NewPassword, PasswordRules, Refusal};
use crate::settings::AuthSettings;

/// What somebody typed as their password. Cannot be printed; its memory is wiped when dropped.
///
/// The text is brought to the normalisation form NFKC, as NIST SP 800-63B-4 §3.1.1.2 advises: the same
/// password typed on two keyboards may arrive in different code points.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// Longest password that is looked at, in characters. A longer one is refused as new and wrong as given.
    pub const MAX_LENGTH: usize = 1024;

    /// Takes the text as typed.
    #[must_use]
    pub fn new(typed: &str) -> Self {
        // An oversized text costs no normalisation; it is refused by its length anyway.
        if typed.is_ascii() || typed.len() > 16 * Self::MAX_LENGTH {
            return Self(SecretString::from(typed));
        }
        Self(SecretString::from(typed.nfkc().collect::<String>()))
    }

    /// Length in characters (code points).
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.expose_secret().chars().count()
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([REDACTED])")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through SecretString, so that the copy made by the deserialiser is wiped as well.
        let typed = SecretString::from(String::deserialize(deserializer)?);
        Ok(Self::new(typed.expose_secret()))
    }
}

/// What the check of a password found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not the password, or there is no such user.
    Wrong,
    /// The password.
    Right {
        /// The stored hash was made with other parameters than are set now: store a new one.
        rehash: bool,
    },
}

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hasher: Hasher,
    dummy: PasswordHash,
    rules: PasswordRules,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// Why a password could be neither hashed nor verified. None of them says anything about the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many wait already.
    #[error("{waiting} password checks are waiting, the most allowed by COVET_AUTH__PASSWORD_QUEUE")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// The stored hash cannot be read.
    #[error("the stored password hash cannot be read: {0}; reset this user's password")]
    UnreadableHash(argon2::password_hash::Error),
    /// The parameters do not fit one another.
    #[error("argon2id refuses its parameters (COVET_AUTH__PASSWORD_MEMORY, …_ITERATIONS, …_LANES): {0}")]
    Parameters(argon2::Error),
    /// Hashing failed, for example for want of memory.
    #[error("argon2id failed: {0}")]
    Hashing(argon2::password_hash::Error),
    /// There is no thread to hash on.
    #[error("no thread to hash a password on: {0}")]
    NoThread(std::io::Error),
    /// The thread that hashes was lost. The panic hook has told why.
    #[error("the hashing thread ended before it had a result")]
    Lost,
}

impl AsProblem for PasswordError {
    fn problem(&self) -> Problem {
        match self {
            Self::Busy { .. } => Problem::new(503)
                .detail("Too many logins at this moment. Try again in a second.")
                .retry_after(Duration::from_secs(1)),
            _ => Problem::new(500),
        }
    }
}

impl Passwords {
    /// Ready to work with the given settings. Computes nothing yet.
    ///
    /// # Errors
    /// [`PasswordError::Parameters`] when argon2id refuses them.
    pub fn new(settings: &AuthSettings) -> Result<Self, PasswordError> {
        let hasher = Hasher::new(settings)?;
        let turns = match settings.password_concurrency {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            set => set,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                dummy: hasher.dummy()?,
                hasher,
                rules: PasswordRules { min_length: settings.password_min_length as usize },
                turns: Arc::new(Semaphore::new(turns)),
                waiting: AtomicUsize::new(0),
                most_waiting: settings.password_queue,
            }),
        })
    }

    /// Checks that a password may be used as a new one. `about` is what an attacker would try first: the
    /// user's name, e-mail address and the service's name.
    ///
    /// # Errors
    /// The [`Refusal`], to be shown to the user.
    pub fn accept(&self, typed: Password, about: &[&str]) -> Result<NewPassword, Refusal> {
        self.inner.rules.accept(typed, about)
    }

    /// Hashes a new password with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError::Busy`]: try again; the others are faults of the service.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, PasswordError> {
        self.work(move |inner| inner.hasher.hash(password.0.as_bytes())).await
    }

    /// Hashes the password just verified again, with the parameters set now (see [`Verdict::Right`]). The
    /// rules for new passwords do not apply: the user has chosen it long ago.
    ///
    /// # Errors
    /// As [`Passwords::hash`].
    pub async fn rehash(&self, verified: Password) -> Result<PasswordHash, PasswordError> {
        self.work(move |inner| inner.hasher.hash(verified.as_bytes())).await
    }

    /// Checks a password against a stored hash.
    ///
    /// # Errors
    /// [`PasswordError::Busy`]: try again; the others are faults of the service.
    pub async fn verify(&self, typed: Password, stored: PasswordHash) -> Result<Verdict, PasswordError> {
        self.verify_or_dummy(typed, Some(stored)).await
    }

    /// As [`Passwords::verify`]; without a stored hash (no such user) it does the same work and says
    /// [`Verdict::Wrong`], so that the time taken does not tell whether the user exists.
    ///
    /// # Errors
    /// As [`Passwords::verify`].
    pub async fn verify_or_dummy(
        &self,
        typed: Password,
        stored: Option<PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        self.work(move |inner| match stored {
            Some(stored) if typed.length() <= Password::MAX_LENGTH => inner.hasher.verify(typed.as_bytes(), &stored),
            _ => inner.hasher.verify(b"", &inner.dummy).map(|_| Verdict::Wrong),
        })
        .await
    }

    /// Waits for a turn, then works on a thread of its own, which costs a thousandth of what it does there. It has a lower priority than
    /// those that serve, so that a flood of logins waits for the other requests and not they for it. The turn is held until the work
    /// ends, also when the caller has gone: the memory is in use until then.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = match Arc::clone(&self.inner.turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                let _place = Place::take(&self.inner)?;
                // The semaphore is never closed; if it were, nobody could log in, and that is told as such.
                Arc::clone(&self.inner.turns).acquire_owned().await.map_err(|_| PasswordError::Busy { waiting: 0 })?
            }
        };
        let inner = Arc::clone(&self.inner);
        let (sender, result) = tokio::sync::oneshot::channel();
        let hash = move || {
            lower_priority();
            let result = work(&inner);
            drop(turn);
            // The caller may have gone.
            let _ = sender.send(result);
        };
        std::thread::Builder::new().name("argon2".to_owned()).spawn(hash).map_err(PasswordError::NoThread)?;
        result.await.map_err(|_| PasswordError::Lost)?
    }
}

/// Of this thread, from now on: where others want the same core, a tenth of it.
fn lower_priority() {
    // Elsewhere it would be that of the process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "the priority of a thread stays as it is");
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Result<Self, PasswordError> {
        let waiting = inner.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(&inner.waiting);
        if waiting >= inner.most_waiting {
            return Err(PasswordError::Busy { waiting });
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::test_settings;

    const GOOD: &str = "seven grey herons wait";

    fn passwords(change: impl FnOnce(&mut AuthSettings)) -> Passwords {
        let mut settings = test_settings();
        change(&mut settings);
        Passwords::new(&settings).unwrap()
    }

    async fn hashed(passwords: &Passwords, text: &str) -> PasswordHash {
        passwords.hash(passwords.accept(Password::new(text), &[]).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn the_right_password_is_right_and_another_is_wrong() {
        let passwords = passwords(|_| {});
        let stored = hashed(&passwords, GOOD).await;
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.as_str());
        let right = passwords.verify(Password::new(GOOD), stored.clone()).await.unwrap();
        assert_eq!(right, Verdict::Right { rehash: false });
        let wrong = passwords.verify(Password::new("seven grey herons"), stored).await.unwrap();
        assert_eq!(wrong, Verdict::Wrong);
    }

    #[tokio::test]
    async fn one_password_has_a_new_salt_each_time() {
        let passwords = passwords(|_| {});
        assert_ne!(hashed(&passwords, GOOD).await.as_str(), hashed(&passwords, GOOD).await.as_str());
    }

    #[tokio::test]
    async fn an_unknown_user_is_wrong_whatever_the_password() {
        let passwords = passwords(|_| {});
        for typed in [GOOD, ""] {
            assert_eq!(passwords.verify_or_dummy(Password::new(typed), None).await.unwrap(), Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn other_parameters_ask_for_a_new_hash() {
        let old = passwords(|settings| settings.password_iterations = 3);
        let stored = hashed(&old, GOOD).await;
        let now = passwords(|_| {});
        let verdict = now.verify(Password::new(GOOD), stored).await.unwrap();
        assert_eq!(verdict, Verdict::Right { rehash: true });
        let fresh = now.rehash(Password::new(GOOD)).await.unwrap();
        let verdict = now.verify(Password::new(GOOD), fresh).await.unwrap();
        assert_eq!(verdict, Verdict::Right { rehash: false });
    }

    #[tokio::test]
    async fn composed_and_decomposed_letters_are_the_same_password() {
        let passwords = passwords(|_| {});
        let stored = hashed(&passwords, "caf\u{e9} by the harbour").await;
        let verdict = passwords.verify(Password::new("cafe\u{301} by the harbour"), stored).await.unwrap();
        assert_eq!(verdict, Verdict::Right { rehash: false });
    }

    #[tokio::test]
    async fn an_oversized_password_is_wrong_without_being_hashed() {
        let passwords = passwords(|_| {});
        let stored = hashed(&passwords, GOOD).await;
        let typed = Password::new(&"a".repeat(Password::MAX_LENGTH + 1));
        assert_eq!(passwords.verify(typed, stored).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_foreign_hash_is_an_error_that_names_the_cure() {
        let passwords = passwords(|_| {});
        for stored in ["", "plain", "$2b$12$abcdefghijklmnopqrstuv"] {
            let stored = PasswordHash::from_stored(stored.to_owned());
            let error = passwords.verify(Password::new(GOOD), stored).await.unwrap_err();
            assert!(error.to_string().contains("reset this user's password"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_with_a_time_to_come_back() {
        let passwords = passwords(|settings| {
            settings.password_concurrency = 1;
            settings.password_queue = 0;
        });
        let turn = Arc::clone(&passwords.inner.turns).acquire_owned().await.unwrap();
        let error = passwords.verify_or_dummy(Password::new(GOOD), None).await.unwrap_err();
        assert_eq!(error.problem().status, 503);
        assert_eq!(error.problem().retry_after, Some(Duration::from_secs(1)));
        drop(turn);
        assert_eq!(passwords.verify_or_dummy(Password::new(GOOD), None).await.unwrap(), Verdict::Wrong);
        assert_eq!(passwords.inner.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn work_goes_on_one_turn_at_a_time_and_no_turn_is_lost() {
        let passwords = passwords(|settings| settings.password_concurrency = 1);
        let all = (0..8).map(|_| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.verify_or_dummy(Password::new(GOOD), None).await })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap().unwrap(), Verdict::Wrong);
        }
        assert_eq!(passwords.inner.turns.available_permits(), 1);
    }

    #[test]
    fn nothing_prints_a_password() {
        let typed: Password = serde_json::from_str("\"seven grey herons wait\"").unwrap();
        assert!(!format!("{typed:?}").contains("heron"));
        let new = PasswordRules { min_length: 8 }.accept(typed, &[]).unwrap();
        assert!(!format!("{new:?}").contains("heron"));
        let stored = PasswordHash::from_stored("$argon2id$secretpart".to_owned());
        assert!(!format!("{stored:?}").contains("secretpart"));
    }
}
