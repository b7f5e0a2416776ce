//! TLS on the API port: rustls, and certificates that are read again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use covet_core::reload::{Change, Reload, ReloadError};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("{path}: {reason}. It must be a PEM file that this user may read")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// They do not belong together.
    #[error(
        "{certificate} and {key} cannot be used: {source}. The key must belong to the first certificate of the file"
    )]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// TLS as the listener speaks it. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<CurrentCertificate>,
}

#[derive(Debug)]
struct CurrentCertificate {
    files: Files,
    current: ArcSwap<CertifiedKey>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// Reads the certificate chain and key, both PEM.
    ///
    /// # Errors
    /// When one cannot be read or they do not belong together.
    pub fn new(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let current = ArcSwap::new(files.read()?);
        let certificate = Arc::new(CurrentCertificate { files, current });
        let resolver: Arc<dyn ResolvesServerCert> = certificate.clone();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|source| certificate.files.pair(source))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    pub(super) fn accept(&self, stream: TcpStream) -> tokio_rustls::Accept<TcpStream> {
        self.acceptor.accept(stream)
    }
}

/// A pair that does not fit, in the middle of a rotation, is an error, and the old one stays.
impl Reload for Tls {
    fn name(&self) -> &'static str {
        "tls_certificate"
    }

    fn files(&self) -> Vec<PathBuf> {
        let Files { certificate, key } = &self.certificate.files;
        vec![certificate.clone(), key.clone()]
    }

    fn reload(&self) -> Result<Option<Change>, ReloadError> {
        let fresh = self.certificate.files.read()?;
        let to = fingerprint(&fresh);
        let old = self.certificate.current.swap(fresh);
        Ok(Change::between(fingerprint(&old), to))
    }
}

/// The beginning of the certificate's SHA-256, by which `openssl x509 -fingerprint -sha256` knows it too.
fn fingerprint(pair: &CertifiedKey) -> String {
    let digest = Sha256::digest(pair.cert.first().map(AsRef::as_ref).unwrap_or_default());
    covet_core::hex::digits(&digest[..8])
}

/// What the client and server agreed on.
pub(super) fn chose_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Files {
    fn read(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(TlsError::File { path: self.certificate.clone(), reason: "holds no certificate".to_owned() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unreadable(&self.key, &error))?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        pair.map(Arc::new).map_err(|source| self.pair(source))
    }

    fn pair(&self, source: rustls::Error) -> TlsError {
        TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source }
    }
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: error.to_string() }
}
