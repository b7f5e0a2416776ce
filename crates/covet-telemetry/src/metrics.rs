//! Metrics: what is counted, how it is counted cheaply, and how it is shown to Prometheus.
//!
//! | you want | look in |
//! |---|---|
//! | the 60 documented metrics | [`catalog`] |
//! | to declare metrics, with HELP text and labels | [`declare_metrics!`](crate::declare_metrics); in a service `covet::metrics!`, which stands on [`typed`] |
//! | to feed a documented metric of cache, background work or rate limits | [`instruments`] |
//! | to count something now and then | the `metrics` crate: `metrics::counter!("db_deadlocks_total").increment(1)` |
//! | to count something on every request | [`shard::Cells`] behind a [`Collector`] of your own |
//! | to read values only when somebody scrapes | a [`Collector`] |
//! | to measure a sweep of kept things | [`sweep::Sweep`] |
//! | to tell what each user does, without a label for each | [`per_user`] |
//! | the text of `/metrics` | [`Registry::render_as`] |
//! | a trace beside a bucket | [`exemplar`] |
//! | several processes scraped as one | [`processes`] |
//! | the page with all metrics | [`reference`](mod@reference) |
//!
//! Rule of thumb: the facade finds its series by hashing name and labels (some 100 ns); resolve the handle once
//! and keep it where it matters. A cell of one's own costs 2–3 ns.
//!
//! Not here: the endpoint (`covet-http`, operator port) and the readings of the machine ([`crate::system`]).

pub mod catalog;
mod cells;
pub mod exemplar;
mod exposition;
pub mod histogram;
pub mod instruments;
mod metric;
pub mod per_user;
pub mod processes;
mod recorder;
pub mod reference;
mod registry;
mod series;
pub mod shard;
pub mod sweep;
pub mod typed;

pub use ::metrics::{Counter, Gauge, Histogram};
pub use exposition::{Exposition, Format, Number, Selection};
pub use metric::{Group, Kind, Merge, Metric, Origin};
pub use recorder::Recorder;
pub use registry::{Collector, RecorderInstalled, Registry};
