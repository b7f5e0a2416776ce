//! Key pairs of tests. They are public, and sign nothing else.

/// That of RFC 8037 appendix A.1.
pub(crate) const ED25519: &str = include_str!("test_keys/ed25519.pem");
pub(crate) const ED25519_PUBLIC: &str = include_str!("test_keys/ed25519_public.pem");
pub(crate) const RSA: &str = include_str!("test_keys/rsa.pem");
pub(crate) const RSA_PUBLIC: &str = include_str!("test_keys/rsa_public.pem");
/// 1024 bits: too few.
pub(crate) const RSA_WEAK: &str = include_str!("test_keys/rsa_1024.pem");
