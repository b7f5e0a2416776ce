//! An HTTP client for tests.

/// A client that follows no proxy settings, to be built.
///
/// In a program that speaks TLS by rustls without a provider of its choice, as Covet does, `reqwest` wants one for the
/// process before it makes a client; this sets it, if nobody has.
///
/// ```
/// let client = covet_testkit::http_client().build()?;
/// # Ok::<_, reqwest::Error>(())
/// ```
pub fn http_client() -> reqwest::ClientBuilder {
    // Somebody else may have set one: just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}
