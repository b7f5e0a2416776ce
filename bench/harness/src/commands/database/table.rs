//! From measurements to the tables: a ratio per round first, then the median of the ratios.

use super::{Findings, aims, database};
use crate::database::Kind;
use crate::measurement::{middle, noise, service};
use crate::peer::{BY_HAND_POSTGRES, BY_HAND_SQLITE};
use crate::report::{mebibytes, median, spread, table};

/// The report: the aims, a table per task, and what runs in each server.
pub(super) fn markdown(findings: &Findings) -> String {
    let mode = findings.mode.describe_with("wrk and PostgreSQL", findings.rounds);
    let aims = table(&["aim", "limit", "measured (lowest–highest round)", "kept"], &aims::rows(findings));
    let mut text = format!("**{mode}**\n\n{aims}\n");
    for task in &findings.tasks {
        let head = [
            "server",
            "CPU µs/request",
            "× by hand (lowest–highest round)",
            "PostgreSQL CPU µs/request",
            "× by hand",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "RSS MiB",
        ];
        let (method, pattern) = (task.route.method, task.route.pattern);
        let servers = findings.entrants.iter().map(|entrant| entrant.server.as_str());
        let rows: Vec<_> = servers.map(|server| row(findings, pattern, server)).collect();
        text += &format!("**`{method} {pattern}`: {}**\n\n{}\n", task.what, table(&head, &rows));
    }
    for entrant in &findings.entrants {
        text += &format!("- `{}`: {}.\n", entrant.server, entrant.what);
    }
    text + &format!(
        "\n{}{}, {}. Medians; other processes used at most {:.0} % of a core during a measurement.\n",
        reference(findings),
        findings.machine.line(),
        findings.databases,
        noise(&findings.measurements),
    )
}

/// What is written by hand for this database and costs least on this route; `None` when it was left out.
pub(super) fn by_hand(findings: &Findings, route: &str, kind: Kind) -> Option<&'static str> {
    let cpu = |server: &str| median(findings.of(route, server).filter_map(service));
    let candidates: &[&str] = match kind {
        Kind::Postgres => &BY_HAND_POSTGRES,
        Kind::Sqlite => &BY_HAND_SQLITE,
        Kind::Redis => &[],
    };
    let measured = candidates.iter().filter_map(|server| Some((*server, cpu(server)?)));
    measured.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(server, _)| server)
}

/// Which servers the ratios are taken from.
fn reference(findings: &Findings) -> String {
    let of_kind = |kind| {
        let routes = findings.tasks.iter().filter_map(|task| {
            let pattern = task.route.pattern;
            Some(format!("`{}` for `{pattern}`", by_hand(findings, pattern, kind)?))
        });
        routes.collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    for (name, kind) in [("PostgreSQL", Kind::Postgres), ("SQLite", Kind::Sqlite)] {
        let routes = of_kind(kind);
        if !routes.is_empty() {
            text += &format!("By hand on {name} is what costs least: {routes}. ");
        }
    }
    text
}

fn row(findings: &Findings, route: &str, server: &str) -> Vec<String> {
    const NONE: &str = "–";
    let of = |decimals, value| middle(&findings.measurements, (route, server), decimals, value);
    let kind = findings.entrants.iter().find(|entrant| entrant.server == server).and_then(|entrant| entrant.database);
    let over = kind.and_then(|kind| by_hand(findings, route, kind));
    let ratios = |value| over.map_or_else(Vec::new, |over| findings.ratios((route, server), (route, over), value));
    vec![
        server.to_owned(),
        of(2, service),
        spread(&ratios(service)).unwrap_or_else(|| NONE.to_owned()),
        of(2, database),
        median(ratios(database)).map_or_else(|| NONE.to_owned(), |ratio| format!("{ratio:.2}")),
        of(0, |one| Some(one.requests_per_second)),
        of(0, |one| Some(one.p50_us)),
        of(0, |one| Some(one.p99_us)),
        of(1, |one| Some(mebibytes(one.resident_bytes))),
    ]
}

#[cfg(test)]
mod tests {
    use super::{by_hand, markdown};
    use crate::commands::database::tasks::{ONE, TWENTY};
    use crate::commands::database::tests::findings;
    use crate::database::Kind;

    #[test]
    fn ratios_are_taken_from_the_cheaper_of_what_is_written_by_hand() {
        let mut findings = findings(12.5, 25.0);
        assert_eq!(by_hand(&findings, ONE, Kind::Postgres), Some("axum-tokio-postgres-1"));
        assert_eq!(by_hand(&findings, ONE, Kind::Sqlite), Some("axum-rusqlite"));
        assert_eq!(by_hand(&findings, TWENTY, Kind::Postgres), None);
        for one in findings.measurements.iter_mut().filter(|one| one.server == "axum-tokio-postgres-4") {
            one.cpu_us_per_request = 1.0;
        }
        assert_eq!(by_hand(&findings, ONE, Kind::Postgres), Some("axum-tokio-postgres-4"));
    }

    #[test]
    fn every_server_has_a_row_with_both_sides_of_the_wire() {
        let text = markdown(&findings(12.5, 25.0));
        for row in [
            "| covet | 18.75 | **1.25** | 37.50 | 1.25 | 80000 | 100 | 200 | 5.0 |\n",
            "| covet-sqlite | 9.00 | **1.20** | – | – | 166667 | 100 | 200 | 5.0 |\n",
            "**`GET /users/{id}`: one row by its primary key**\n",
            "- `axum-sqlx`: what it does.\n",
            "`axum-tokio-postgres-1` for `/users/{id}`. By hand on SQLite",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
        // Six servers in each of six tables, their heads, and the aims.
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 6 * 7 + 8, "{text}");
    }
}
