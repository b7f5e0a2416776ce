//! OpenTelemetry's exporter, set up by our settings. It reads the process's environment itself, but what is set here
//! goes before that.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

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
    let gzip = settings.traces_compression.or(settings.compression) == Some(Compression::Gzip);
    let built = match target.protocol {
        Protocol::HttpProtobuf => http(target, limit, headers, gzip, &last_error),
        Protocol::Grpc => grpc(target, limit, headers, gzip),
    };
    let mut exporter = built.map_err(|error| TraceError::Exporter(in_full(&*error)))?;
    exporter.set_resource(resource);
    Ok((exporter, last_error))
}

type Built = Result<SpanExporter, Box<dyn Error + Send + Sync>>;

fn http(target: &Target, limit: Duration, headers: Option<&Headers>, gzip: bool, last_error: &LastError) -> Built {
    let client = Client { http: client(target, limit)?, last_error: last_error.clone() };
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
fn grpc(target: &Target, limit: Duration, headers: Option<&Headers>, gzip: bool) -> Built {
    use opentelemetry_otlp::WithTonicConfig;
    use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
    use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;

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
        builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    if gzip {
        builder = builder.with_compression(opentelemetry_otlp::Compression::Gzip);
    }
    Ok(builder.build()?)
}

#[cfg(not(feature = "otlp-grpc"))]
fn grpc(_: &Target, _: Duration, _: Option<&Headers>, _: bool) -> Built {
    Err("this program was built without the feature \"otlp-grpc\"".into())
}

/// The certificates are those that the system trusts; they are read only where they are needed. Nothing is taken from
/// the environment.
fn client(target: &Target, limit: Duration) -> Result<reqwest::Client, Box<dyn Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = match target.url.scheme() {
        "https" => tls.with_platform_verifier()?,
        _ => tls.with_root_certificates(RootCertStore::empty()),
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

/// Sends, and keeps what went wrong: OpenTelemetry's exporter says "network error" of everything.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    last_error: LastError,
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.last_error.set(None);
        let response = self.http.execute(request.try_into()?).await?;
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        // What it says is of no use to us, but a connection can be used again when it was read.
        *answer.body_mut() = response.bytes().await?;
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
