//! One metric's declaration: name, type, labels and text, stated once.

use std::fmt;

/// A declared metric. Made by [`declare_metrics!`](crate::declare_metrics), or by `covet::metrics!` in a service.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// The exact name in the exposition; nothing is appended to it.
    pub name: &'static str,
    /// The doc comment of the declaration. Its first paragraph is the HELP text, the rest is for the reference page.
    pub doc: &'static str,
    /// What kind of values it has.
    pub kind: Kind,
    /// Label names, in the order in which values are given and shown.
    pub labels: &'static [&'static str],
    /// How the values of several processes become one.
    pub merge: Merge,
    /// Who declared it.
    pub origin: Origin,
}

/// Metrics that belong together: one declaration, one section of the reference page.
#[derive(Debug, PartialEq)]
pub struct Group {
    /// The doc comment of the declaration; its first line is the section's title.
    pub doc: &'static str,
    /// The metrics, in the order of their declaration.
    pub metrics: &'static [&'static Metric],
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
    /// A fact told by labels. Shown as a gauge of value 1 in text format 0.0.4, which has no type for it.
    Info,
}

/// How the values that several processes of one service have for the same labels become the one that is shown; see
/// [`processes`](super::processes). Counters, histograms and summaries keep the counts of processes that have ended;
/// gauges are those of living processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// They are added up.
    Sum,
    /// The largest: for what every process reads from one place, a little later or earlier.
    Largest,
    /// They are added up for a cache in memory; of Redis (`cache_type="redis"`), which all processes share, the largest.
    OfCache,
    /// The smallest.
    Smallest,
    /// Only the answering process's own: for what is not the process's but the machine's, and the same for all.
    Own,
}

/// Who declared a metric; the operator's port shows them apart on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Covet, or a library through the `metrics` facade.
    Platform,
    /// The service itself, by `covet::metrics!`: its business.
    Business,
}

impl Metric {
    /// The HELP text: the first paragraph of the doc comment on one line.
    ///
    /// ```
    /// use covet_telemetry::metrics::catalog;
    ///
    /// assert_eq!(catalog::HTTP_REQUESTS_TOTAL.help(), "HTTP requests answered.");
    /// ```
    #[must_use]
    pub fn help(&self) -> String {
        first_paragraph(self.doc)
    }

    /// What the doc comment says after the HELP text, as Markdown: what moves the metric, which values its labels have.
    #[must_use]
    pub fn details(&self) -> String {
        rest(self.doc)
    }
}

impl Group {
    /// The first paragraph of the doc comment, without its full stop.
    #[must_use]
    pub fn title(&self) -> String {
        first_paragraph(self.doc).trim_end_matches('.').to_owned()
    }

    /// What the doc comment says after its title, as Markdown.
    #[must_use]
    pub fn introduction(&self) -> String {
        rest(self.doc)
    }
}

/// The first paragraph of a doc comment, on one line.
fn first_paragraph(doc: &str) -> String {
    let paragraph = doc.trim().split("\n\n").next().unwrap_or_default();
    paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What follows it. Each line of a doc comment begins with a space.
fn rest(doc: &str) -> String {
    let Some((_, rest)) = doc.trim().split_once("\n\n") else { return String::new() };
    rest.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

impl Kind {
    /// The word in the TYPE line of text format 0.0.4.
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

impl fmt::Display for Kind {
    /// The kind's name, `info` too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Info { "info" } else { self.type_name() })
    }
}

/// Declares metrics. The doc comment of each is its HELP text; what follows a blank line is for the reference page.
///
/// ```
/// covet_telemetry::declare_metrics! {
///     /// Connections.
///     pub ALL;
///
///     /// Connections accepted.
///     counter CONNECTIONS_TOTAL = "http_connections_total" {};
///     /// Connections refused, by reason.
///     ///
///     /// `limit`: too many were open.
///     counter REFUSED_TOTAL = "http_connections_refused_total" {reason};
///     /// Age of the oldest connection, in seconds.
///     gauge(largest) OLDEST_SECONDS = "http_oldest_connection_seconds" {};
///     /// How long connections lived, in seconds.
///     histogram AGE_SECONDS = "http_connection_age_seconds" {} [1.0, 60.0, 3600.0];
/// }
///
/// assert_eq!(REFUSED_TOTAL.help(), "Connections refused, by reason.");
/// assert_eq!(REFUSED_TOTAL.labels, ["reason"]);
/// assert_eq!((ALL.title().as_str(), ALL.metrics.len()), ("Connections", 4));
/// ```
///
/// Kinds: `counter`, `gauge`, `histogram … [bounds]`, `summary`, `info`. In brackets after the kind, how the values of
/// several processes become one: `sum` (when nothing is said), `largest`, `smallest`, `own`; see
/// [`Merge`](crate::metrics::Merge).
#[macro_export]
macro_rules! declare_metrics {
    (
        $(#[doc = $group_doc:literal])+
        $visibility:vis $group:ident;
        $(
            $(#[doc = $doc:literal])+
            $kind:ident $(($merge:ident))? $constant:ident = $name:literal {$($label:ident),* $(,)?} $($buckets:expr)?;
        )+
    ) => {
        $(#[doc = $group_doc])+
        $visibility const $group: &$crate::metrics::Group = &$crate::metrics::Group {
            doc: concat!($($group_doc, "\n"),+),
            metrics: &[$($constant),+],
        };

        $(
            $(#[doc = $doc])+
            $visibility const $constant: &$crate::metrics::Metric = &$crate::metrics::Metric {
                name: $name,
                doc: concat!($($doc, "\n"),+),
                kind: $crate::declare_metrics!(@kind $kind $($buckets)?),
                labels: &[$(stringify!($label)),*],
                merge: $crate::declare_metrics!(@merge $($merge)?),
                origin: $crate::metrics::Origin::Platform,
            };
        )+
    };
    (@kind counter) => { $crate::metrics::Kind::Counter };
    (@kind gauge) => { $crate::metrics::Kind::Gauge };
    (@kind summary) => { $crate::metrics::Kind::Summary };
    (@kind info) => { $crate::metrics::Kind::Info };
    (@kind histogram $buckets:expr) => { $crate::metrics::Kind::Histogram(&$buckets) };
    (@merge) => { $crate::metrics::Merge::Sum };
    (@merge sum) => { $crate::metrics::Merge::Sum };
    (@merge largest) => { $crate::metrics::Merge::Largest };
    (@merge of_cache) => { $crate::metrics::Merge::OfCache };
    (@merge smallest) => { $crate::metrics::Merge::Smallest };
    (@merge own) => { $crate::metrics::Merge::Own };
}
