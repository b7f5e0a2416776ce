//! Values that cannot be printed by accident: [`SecretString`] shows `[REDACTED]` in `{:?}`, has no
//! `Display`, and wipes its memory when dropped. [`ExposeSecret::expose_secret`] is the one way to read it.

pub use secrecy::{ExposeSecret, SecretString};
