//! TLS to Redis by rustls: whom a connection believes, and who it says it is.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::settings::CacheSettings;

/// What makes TLS connections. The error tells which file cannot be used, and why.
pub(super) fn connector(settings: &CacheSettings) -> Result<TlsConnector, String> {
    let roots = roots(settings.tls_authority.as_deref())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots);
    let config = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => {
            let certificates = certificates(certificate)?;
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            config.with_client_auth_cert(certificates, key_der).map_err(|error| {
                format!("{} and {} cannot be used together: {error}", certificate.display(), key.display())
            })?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| unreadable(file, &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "this system lists no authorities to check the server's certificate with; name the server's with \
                            COVET_CACHE__TLS_AUTHORITY=/path/ca.pem, or install ca-certificates"
                        .to_owned(),
                );
            }
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unreadable(file, &"there is no certificate in it")),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(file: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}. It must be a PEM file that this user may read", file.display())
}
