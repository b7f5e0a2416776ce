//! Metrics: what [`metrics!`](crate::metrics!) needs, and the registry behind it.
//!
//! | you want | look in |
//! |---|---|
//! | to declare metrics of your own | [`metrics!`](crate::metrics!) |
//! | an enum as a label | [`Label`] |
//! | a label whose values are only known at run time | [`Text`] |
//! | to read values only when somebody scrapes | a [`Collector`], given to [`Registry::register`] |
//! | to time what frees things nobody needs any longer | [`Sweep`] |
//! | the documented metrics | [`telemetry::metrics::catalog`](crate::telemetry::metrics::catalog) |
//!
//! Handlers and tasks get the registry from [`Context::metrics`](crate::Context::metrics). What a library counts with the
//! macros of the `metrics` crate is shown too, within the same bounds.

pub use covet_macros::Label;
pub use covet_telemetry::metrics::sweep::Sweep;
pub use covet_telemetry::metrics::typed::{Label, Text};
pub use covet_telemetry::metrics::{Collector, Counter, Exposition, Gauge, Histogram, Registry};
