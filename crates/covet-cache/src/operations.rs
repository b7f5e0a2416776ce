//! What is counted of each operation: for metrics, for the access line of the request at hand, and for its trace.

use std::time::Duration;

use covet_telemetry::metrics::instruments::CacheInstruments;
use covet_telemetry::traces::{self, Attributes, Kind};
use covet_telemetry::{metrics::instruments::CacheOperation, request};

use crate::Error;

/// An operation has ended, and took this long.
pub(crate) fn ended(
    instruments: &CacheInstruments,
    operation: CacheOperation,
    took: Duration,
    outcome: Result<(), &Error>,
) {
    instruments.took(operation, took);
    request::current(|scope| scope.cache().add(took));
    let Some(here) = traces::recording() else { return };
    let (cache_type, name) = (instruments.cache_type(), operation.label());
    let kind = if cache_type == "memory" { Kind::Internal } else { Kind::Client };
    let mut span = here.ended(format!("cache {name}"), kind, took);
    let mut attributes = Attributes::with_capacity(4);
    attributes.set("covet.cache.type", cache_type);
    attributes.set("covet.cache.operation", name);
    if cache_type == "redis" {
        attributes.set("db.system.name", "redis");
    }
    span.set_all(attributes);
    if let Err(error) = outcome {
        span.failed(error.kind());
    }
}
