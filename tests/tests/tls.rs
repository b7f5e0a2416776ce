//! TLS without a proxy: a certificate from files, renewed without a restart.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use covet_system_tests::SOON;
use covet_testkit::{Certificate, Process, Service, ServiceBuilder, Signal, wait_until};

fn with_tls(certificate: &Certificate) -> ServiceBuilder {
    Service::builder()
        .env("COVET_HTTP__TLS_CERTIFICATE", certificate.certificate_path().display().to_string())
        .env("COVET_HTTP__TLS_KEY", certificate.key_path().display().to_string())
}

/// Asks for readiness over TLS, trusting only `authority`; tells `status http-version`.
async fn curl(service: &Service, authority: &Certificate, more: &[&str]) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code} %{http_version}"]);
    curl.arg("--cacert").arg(authority.certificate_path()).args(more);
    curl.arg(format!("https://localhost:{}/health/ready", service.port()));
    Ok(Process::run("curl", &mut curl, SOON).await?.success("curl")?.stdout.trim_end().to_owned())
}

async fn wait_ready(service: &Service, authority: &Certificate) -> Result<()> {
    let process = service.process()?;
    wait_until("readiness over TLS", SOON, async || match curl(service, authority, &[]).await {
        Ok(answer) if answer.starts_with("200") => Ok(()),
        other => Err(format!("{other:?}; {:#?}", process.lines())),
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn both_protocols_are_negotiated_and_old_tls_is_refused() -> Result<()> {
    let certificate = Certificate::self_signed("first").await?;
    let service = with_tls(&certificate).spawn()?;
    wait_ready(&service, &certificate).await?;
    assert_eq!(curl(&service, &certificate, &["--http2"]).await?, "200 2");
    assert_eq!(curl(&service, &certificate, &["--http1.1"]).await?, "200 1.1");
    assert_eq!(curl(&service, &certificate, &["--tlsv1.2", "--tls-max", "1.2"]).await?, "200 2");
    let stranger = Certificate::self_signed("stranger").await?;
    ensure!(curl(&service, &stranger, &[]).await.is_err(), "a client that does not trust the certificate gets nothing");
    ensure!(curl(&service, &certificate, &["--tls-max", "1.1"]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() -> Result<()> {
    let first = Certificate::self_signed("first").await?;
    let renewed = Certificate::self_signed("renewed").await?;
    let service = with_tls(&first).spawn()?;
    wait_ready(&service, &first).await?;
    ensure!(curl(&service, &renewed, &[]).await.is_err());
    // `first`'s files now hold the renewed certificate.
    renewed.replace(&first)?;
    wait_until("the renewed certificate", Duration::from_secs(60), async || {
        curl(&service, &renewed, &[]).await.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    ensure!(service.process()?.status().is_none());
    Ok(())
}

#[tokio::test]
async fn a_broken_renewal_leaves_the_old_certificate_in_place() -> Result<()> {
    let certificate = Certificate::self_signed("first").await?;
    let trusted = Certificate::self_signed("copy").await?;
    let service = with_tls(&certificate).spawn()?;
    wait_ready(&service, &certificate).await?;
    certificate.replace(&trusted)?; // keep what the client trusts
    std::fs::write(certificate.certificate_path(), "not a certificate")?;
    service.process()?.wait_for_line("certificate.pem", Duration::from_secs(60)).await?;
    assert!(curl(&service, &trusted, &[]).await?.starts_with("200"));
    Ok(())
}

#[tokio::test]
async fn a_client_that_never_finishes_the_handshake_is_cut() -> Result<()> {
    let certificate = Certificate::self_signed("first").await?;
    let service = with_tls(&certificate).env("COVET_HTTP__HEADER_READ_TIMEOUT", "500ms").spawn()?;
    wait_ready(&service, &certificate).await?;
    let mut silent = covet_system_tests::raw_http::Connection::open(service.port()).await?;
    silent.closed(SOON).await?;
    service.process()?.signal(Signal::SIGTERM)?;
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_at_the_start() -> Result<()> {
    let certificate = Certificate::self_signed("first").await?;
    let other = Certificate::self_signed("other").await?;
    let no_key = Service::builder()
        .env("COVET_HTTP__TLS_CERTIFICATE", certificate.certificate_path().display().to_string())
        .prepare()?
        .command(&[])
        .await?;
    assert_eq!(no_key.code(), Some(1), "{}", no_key.output());
    assert!(no_key.output().contains("COVET_HTTP__TLS_KEY"), "{}", no_key.output());
    let wrong_key = with_tls(&certificate)
        .env("COVET_HTTP__TLS_KEY", other.key_path().display().to_string())
        .prepare()?
        .command(&[])
        .await?;
    assert_eq!(wrong_key.code(), Some(2), "{}", wrong_key.output());
    Ok(())
}
