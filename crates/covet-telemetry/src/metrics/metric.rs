//! One metric's declaration: name, type, labels and HELP text, stated once.

/// A declared metric. Made by [`declare_metrics!`](crate::declare_metrics).
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// The exact name in the exposition; nothing is appended to it.
    pub name: &'static str,
    /// The HELP text.
    pub help: &'static str,
    /// What kind of values it has.
    pub kind: Kind,
    /// Label names, in the order in which values are given and shown.
    pub labels: &'static [&'static str],
}

/// The kinds of metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations counted into buckets with these upper bounds; `+Inf` is added.
    Histogram(&'static [f64]),
    /// Observations as `_count` and `_sum`, without quantiles.
    Summary,
    /// A fact told by labels. Shown as a gauge of value 1, as text format 0.0.4 has no type for it.
    Info,
}

impl Kind {
    /// The word in the TYPE line.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Info => "gauge",
            Self::Histogram(_) => "histogram",
            Self::Summary => "summary",
        }
    }

    /// Upper bounds of the buckets, without `+Inf`. Empty for everything but histograms.
    #[must_use]
    pub fn buckets(self) -> &'static [f64] {
        match self {
            Self::Histogram(bounds) => bounds,
            _ => &[],
        }
    }
}

/// Declares metrics. The doc comment of each is its HELP text.
///
/// ```
/// covet_telemetry::declare_metrics! {
///     /// Everything this module counts.
///     pub ALL;
///
///     /// Connections accepted.
///     counter CONNECTIONS_TOTAL = "http_connections_total" {};
///     /// Connections refused, by reason.
///     counter REFUSED_TOTAL = "http_connections_refused_total" {reason};
///     /// How long connections lived.
///     histogram AGE_SECONDS = "http_connection_age_seconds" {} [1.0, 60.0, 3600.0];
/// }
///
/// assert_eq!(REFUSED_TOTAL.help, "Connections refused, by reason.");
/// assert_eq!(REFUSED_TOTAL.labels, ["reason"]);
/// assert_eq!(ALL.len(), 3);
/// ```
///
/// Kinds: `counter`, `gauge`, `histogram … [bounds]`, `summary`, `info`.
#[macro_export]
macro_rules! declare_metrics {
    (
        $(#[doc = $all_doc:literal])+
        $visibility:vis $all:ident;
        $(
            $(#[doc = $help:literal])+
            $kind:ident $constant:ident = $name:literal {$($label:ident),* $(,)?} $($buckets:expr)?;
        )+
    ) => {
        $(#[doc = $all_doc])+
        $visibility const $all: &[&$crate::metrics::Metric] = &[$($constant),+];

        $(
            $(#[doc = $help])+
            $visibility const $constant: &$crate::metrics::Metric = &$crate::metrics::Metric {
                name: $name,
                // A doc comment's lines begin with a space, which also parts them here.
                help: concat!($($help),+).trim_ascii(),
                kind: $crate::declare_metrics!(@kind $kind $($buckets)?),
                labels: &[$(stringify!($label)),*],
            };
        )+
    };
    (@kind counter) => { $crate::metrics::Kind::Counter };
    (@kind gauge) => { $crate::metrics::Kind::Gauge };
    (@kind summary) => { $crate::metrics::Kind::Summary };
    (@kind info) => { $crate::metrics::Kind::Info };
    (@kind histogram $buckets:expr) => { $crate::metrics::Kind::Histogram(&$buckets) };
}
