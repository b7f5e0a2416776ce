//! OpenTelemetry's exporter, set up by our settings. It reads the process's environment itself, but what is set here
//! goes before that.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::{LastError, TraceError};
use crate::settings::{Compression, Headers, Protocol, Target, TraceSettings};

/// The exporter, and where it leaves why it failed.
pub(super) fn exporter(
    settings: &TraceSettings,
    target: &Target,
    resource: &Resource,
) -> Result<(SpanExporter, LastError), TraceError> {
    let last_error = LastError::default();
    let limit = settings.export_limit();
    let headers = settings.traces_headers.as_ref().or(settings.headers.as_ref());
    let authorities = settings.certificate.as_deref().map(read).transpose()?;
    let gzip = settings.traces_compression.or(settings.compression) == Some(Compression::Gzip);
    let built = match target.protocol {
        Protocol::HttpProtobuf => client(target, limit, authorities.as_deref())
            .and_then(|http| by_http(target, limit, headers, gzip, Client { http, last_error: last_error.clone() })),
        Protocol::Grpc => by_grpc(target, limit, headers, gzip, authorities),
    };
    let mut exporter = built.map_err(|error| TraceError::Exporter(in_full(&*error)))?;
    exporter.set_resource(resource);
    Ok((exporter, last_error))
}

type Failure = Box<dyn Error + Send + Sync>;

/// The certificates in a file, PEM.
fn read(path: &Path) -> Result<Vec<u8>, TraceError> {
    std::fs::read(path).map_err(|error| {
        TraceError::Exporter(format!("cannot read {} (OTEL_EXPORTER_OTLP_CERTIFICATE): {error}", path.display()))
    })
}

fn by_http(
    target: &Target,
    limit: Duration,
    headers: Option<&Headers>,
    gzip: bool,
    client: Client,
) -> Result<SpanExporter, Failure> {
    let headers: HashMap<_, _> =
        headers.iter().flat_map(|all| all.iter()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(target.url.as_str())
        .with_timeout(limit)
        .with_headers(headers)
        .with_http_client(client);
    if gzip {
        builder = builder.with_compression(opentelemetry_otlp::Compression::Gzip);
    }
    Ok(builder.build()?)
}

#[cfg(feature = "otlp-grpc")]
fn by_grpc(
    target: &Target,
    limit: Duration,
    headers: Option<&Headers>,
    gzip: bool,
    authorities: Option<Vec<u8>>,
) -> Result<SpanExporter, Failure> {
    use opentelemetry_otlp::WithTonicConfig;
    use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
    use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};

    let mut all = http::HeaderMap::new();
    for (name, value) in headers.iter().flat_map(|all| all.iter()) {
        all.insert(http::HeaderName::try_from(name)?, http::HeaderValue::try_from(value)?);
    }
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(target.url.as_str())
        .with_timeout(limit)
        .with_metadata(MetadataMap::from_headers(all));
    if target.url.scheme() == "https" {
        let tls = ClientTlsConfig::new().with_native_roots();
        let own = authorities.into_iter().map(Certificate::from_pem);
        builder = builder.with_tls_config(own.fold(tls, ClientTlsConfig::ca_certificate));
    }
    if gzip {
        builder = builder.with_compression(opentelemetry_otlp::Compression::Gzip);
    }
    Ok(builder.build()?)
}

#[cfg(not(feature = "otlp-grpc"))]
fn by_grpc(_: &Target, _: Duration, _: Option<&Headers>, _: bool, _: Option<Vec<u8>>) -> Result<SpanExporter, Failure> {
    Err("this program was built without the feature \"otlp-grpc\"".into())
}

/// The certificates are those that the system trusts; they are read only where they are needed. Nothing is taken from
/// the environment.
fn client(target: &Target, limit: Duration, authorities: Option<&[u8]>) -> Result<reqwest::Client, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let tls = if target.url.scheme() == "https" {
        let own = CertificateDer::pem_slice_iter(authorities.unwrap_or_default()).collect::<Result<Vec<_>, _>>()?;
        let verifier = Verifier::new_with_extra_roots(own, provider)?;
        tls.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        tls.with_root_certificates(RootCertStore::empty())
    };
    let tls = tls.with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(limit)
        .build()?;
    Ok(client)
}

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Sends, and keeps what went wrong: OpenTelemetry's exporter says "network error" of everything.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    last_error: LastError,
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.last_error.set(None);
        let mut response = self.http.execute(request.try_into()?).await?;
        let mut body = BytesMut::new();
        // A short answer is read to its end, so that the connection can be used again.
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                return Err("the answer is too long to be one of OTLP".into());
            }
        }
        let mut answer = Response::new(body.freeze());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let outcome = self.send(request).await;
            if let Err(error) = &outcome {
                self.last_error.set(Some(in_full(&**error)));
            }
            outcome
        })
    }
}

/// An error with its causes.
fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
