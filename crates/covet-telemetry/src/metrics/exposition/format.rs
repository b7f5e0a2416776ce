//! Which text a scraper gets: Prometheus text format 0.0.4 unless it asks for OpenMetrics, all metrics unless it asks
//! for a part.

use crate::metrics::Origin;

/// The form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    #[default]
    Text,
    /// OpenMetrics 1.0: the same names and values, with exemplars. See <https://prometheus.io/docs/specs/om/>.
    OpenMetrics,
}

/// Which metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// All but those that the service declares by itself.
    Platform,
    /// Those that the service declares by itself.
    Business,
}

impl Format {
    /// The format for an `Accept` header. OpenMetrics is for those who name it, in a version that is spoken here, and
    /// prefer it to plain text.
    ///
    /// ```
    /// use covet_telemetry::metrics::Format;
    ///
    /// let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    /// assert_eq!(Format::negotiate(prometheus), Format::OpenMetrics);
    /// assert_eq!(Format::negotiate("*/*"), Format::Text);
    /// ```
    #[must_use]
    pub fn negotiate(accept: &str) -> Self {
        let mut best = [0.0_f32; 2];
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0_f32, None);
            for part in parts {
                match part.split_once('=').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim())) {
                    Some((name, value)) if name == "q" => quality = value.parse().unwrap_or(0.0),
                    Some((name, value)) if name == "version" => version = Some(value.trim_matches('"')),
                    _ => {}
                }
            }
            let format = match media_type.as_str() {
                "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => Self::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Self::Text,
                _ => continue,
            };
            let best = &mut best[format as usize];
            *best = best.max(quality);
        }
        let [text, open_metrics] = best;
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of the text.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Selection {
    pub(super) fn has(self, origin: Origin) -> bool {
        match self {
            Self::All => true,
            Self::Platform => origin == Origin::Platform,
            Self::Business => origin == Origin::Business,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_name_it_and_prefer_it() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, */*;q=0.1", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0.5, */*;q=0.5", Format::OpenMetrics),
            ("application/openmetrics-text;q=nonsense", Format::Text),
            // A version that is not spoken here.
            ("application/openmetrics-text;version=0.0.1, text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }
}
