//! `drill-service`: a small service on `covet::App` whose routes misbehave on request.
//!
//! Routes that hang or panic have no place in `covet-api`. They are in `src/bin/drill-service.rs`; those
//! that use the database in [`database`] and [`things`], those that use the cache in [`cache`].

pub mod cache;
pub mod database;
pub mod task;
pub mod things;

use anyhow::Result;
use covet_testkit::{Service, ServiceBuilder, cargo_binary};

/// The service, to be given variables.
///
/// # Errors
///
/// When it does not build.
pub fn builder() -> Result<ServiceBuilder> {
    Ok(Service::builder().binary(cargo_binary("covet-system-tests", "drill-service")?))
}
