//! The page `docs/reference/metrics.md`, made from the declarations, so that it cannot fall behind them.

use std::fmt::Write;

use super::{Group, Kind, Merge, Metric};

/// What the page says before the first group.
const INTRODUCTION: &str = include_str!("reference/introduction.md");

/// The page as Markdown.
///
/// ```
/// use covet_telemetry::metrics::{Registry, reference};
///
/// let page = reference::markdown(&Registry::new().groups());
/// assert!(page.contains("### `http_requests_total`"));
/// ```
#[must_use]
pub fn markdown(groups: &[&'static Group]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for group in groups {
        page.push('\n');
        page.push_str(&group_part(group));
    }
    page
}

fn group_part(group: &Group) -> String {
    let mut part = format!("## {}\n", group.title());
    append_paragraph(&mut part, &group.introduction());
    for metric in group.metrics {
        part.push('\n');
        part.push_str(&metric_part(metric));
    }
    part
}

fn metric_part(metric: &Metric) -> String {
    let mut part = format!("### `{}`\n\n{}\n", metric.name, metric.help());
    append_paragraph(&mut part, &metric.details());
    part.push('\n');
    let mut line = |name: &str, text: String| {
        // Writing to a String does not fail.
        let _ = writeln!(part, "- {name}: {text}");
    };
    line("type", metric.kind.to_string());
    if !metric.labels.is_empty() {
        line("labels", quoted(metric.labels.iter()));
    }
    if let Kind::Histogram(bounds) = metric.kind {
        line("buckets", format!("{}, `+Inf`", quoted(bounds.iter())));
    }
    match metric.merge {
        Merge::Sum => {}
        Merge::Largest => line("of several processes", "the largest".to_owned()),
        Merge::OfCache => line("of several processes", "the sum in memory, the largest of Redis".to_owned()),
        Merge::Smallest => line("of several processes", "the smallest".to_owned()),
        Merge::Own => line("of several processes", "that of the one asked".to_owned()),
    }
    part
}

fn append_paragraph(part: &mut String, text: &str) {
    if !text.is_empty() {
        let _ = write!(part, "\n{text}\n");
    }
}

fn quoted<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<String> = items.map(|item| format!("`{}`", item.to_string())).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::declare_metrics! {
        /// Shop.
        ///
        /// What the shop counts.
        ALL;
        /// Orders, by
        /// what paid them.
        ///
        /// Moved by a payment:
        /// - `card`
        /// - `bank`
        counter ORDERS = "orders_total" {by};
        /// Oldest cart, in seconds.
        gauge(largest) OLDEST = "oldest_cart_seconds" {};
        /// Time to pay, in seconds.
        histogram PAYING = "paying_seconds" {} [0.5, 1.0];
    }

    #[test]
    fn a_metric_has_its_help_what_moves_it_type_labels_and_buckets() {
        assert_eq!((ORDERS.name, OLDEST.name, PAYING.name), ("orders_total", "oldest_cart_seconds", "paying_seconds"));
        insta::assert_snapshot!(group_part(ALL), @r"
        ## Shop

        What the shop counts.

        ### `orders_total`

        Orders, by what paid them.

        Moved by a payment:
        - `card`
        - `bank`

        - type: counter
        - labels: `by`

        ### `oldest_cart_seconds`

        Oldest cart, in seconds.

        - type: gauge
        - of several processes: the largest

        ### `paying_seconds`

        Time to pay, in seconds.

        - type: histogram
        - buckets: `0.5`, `1`, `+Inf`
        ");
    }
}
