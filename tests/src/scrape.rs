//! Scrapes of a service's operator port. What they say is understood by [`exposition`](crate::exposition).

use anyhow::Result;
use covet_testkit::{Service, wait_until};

use crate::SOON;
use crate::exposition::Exposition;

/// One scrape.
///
/// # Errors
///
/// When the operator's port does not answer with 200, or the text cannot be read.
pub async fn scrape(service: &Service) -> Result<Exposition> {
    Exposition::parse(&service.metrics().await?)
}

/// Scrapes until `condition` holds: a response reaches the client before the service has counted it.
///
/// # Errors
///
/// When it does not hold in time; the error has the last scrape.
pub async fn scrape_until(
    service: &Service,
    what: &str,
    condition: impl Fn(&Exposition) -> bool,
) -> Result<Exposition> {
    let scraped = wait_until(what, SOON, async || {
        let text = service.metrics().await.map_err(|error| error.to_string())?;
        let exposition = Exposition::parse(&text).map_err(|error| error.to_string())?;
        if condition(&exposition) { Ok(exposition) } else { Err(text) }
    });
    Ok(scraped.await?)
}
