//! TLS to Redis by rustls: whom a connection believes, and who it says it is.

use std::sync::Arc;

use covet_core::tls;
use rustls::ClientConfig;
use rustls::crypto::ring;
use tokio_rustls::TlsConnector;

use crate::settings::CacheSettings;

const NOBODY_TRUSTED: &str = "this system lists no authorities to check the server's certificate with; name the \
                              server's with COVET_CACHE__TLS_AUTHORITY=/path/ca.pem, or install ca-certificates";

/// What makes TLS connections. The error tells which file cannot be used, and why.
pub(super) fn connector(settings: &CacheSettings) -> Result<TlsConnector, String> {
    let roots = tls::authorities(settings.tls_authority.as_deref(), NOBODY_TRUSTED)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots);
    let config = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => {
            let (certificates, key_der) = tls::identity(certificate, key)?;
            config.with_client_auth_cert(certificates, key_der).map_err(|error| {
                format!("{} and {} cannot be used together: {error}", certificate.display(), key.display())
            })?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
