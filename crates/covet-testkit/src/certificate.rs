//! Certificates for tests of TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::{Process, Result, TempDir, find_program};

/// A self-signed certificate for `localhost` and 127.0.0.1 with its key, as PEM files.
///
/// Clients trust it by naming [`Certificate::certificate_path`] as their authority.
#[derive(Debug)]
pub struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// Makes one that is valid for a day; `common_name` tells two of them apart.
    ///
    /// # Errors
    ///
    /// [`crate::Error::MissingProgram`] without `openssl`, or what it said.
    pub async fn self_signed(common_name: &str) -> Result<Self> {
        let directory = TempDir::new("certificate")?;
        let certificate = Self { directory };
        let mut command = Command::new(find_program("openssl", "openssl")?);
        command
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
            .args(["-subj", &format!("/CN={common_name}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            // A server certificate, not an authority: rustls refuses an authority as the server's own certificate.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-out")
            .arg(certificate.certificate_path())
            .arg("-keyout")
            .arg(certificate.key_path());
        Process::run("openssl", &mut command, Duration::from_secs(60)).await?.success("openssl req")?;
        Ok(certificate)
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn certificate_path(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// The private key, PEM (PKCS #8).
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// The directory of both.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Serves TLS with it, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when the files cannot be read or used.
    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let acceptor = || {
            let chain = vec![CertificateDer::from_pem_file(self.certificate_path()).map_err(io::Error::other)?];
            let key = PrivateKeyDer::from_pem_file(self.key_path()).map_err(io::Error::other)?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
                .map_err(io::Error::other)?;
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Ok(TlsAcceptor::from(Arc::new(config)))
        };
        acceptor().map_err(crate::Error::io("serve TLS with the certificate"))
    }

    /// Takes the place of `other`, as a renewal does: the same paths get this certificate and key.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when the files cannot be written.
    pub fn replace(&self, other: &Self) -> Result<()> {
        let copies = [(self.key_path(), other.key_path()), (self.certificate_path(), other.certificate_path())];
        for (from, to) in copies {
            std::fs::copy(&from, &to).map_err(crate::Error::io(format!("write {}", to.display())))?;
        }
        Ok(())
    }
}
