//! What Covet is to reach, and whether it does.

use super::{Findings, database, table::by_hand, tasks};
use crate::database::Kind;
use crate::measurement::{Measurement, service};
use crate::peer::{COVET, COVET_SQLITE, SQLX};
use crate::report::{median, spread};
use crate::wanting::Wanting;

/// A ratio and its limit.
struct Aim {
    what: &'static str,
    route: &'static str,
    server: Whose,
    over: Whose,
    /// Where `over` is measured, if elsewhere.
    over_route: Option<&'static str>,
    value: fn(&Measurement) -> Option<f64>,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Whose {
    Server(&'static str),
    ByHand(Kind),
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

const AIMS: [Aim; 7] = [
    Aim {
        what: "single row, service: Covet over tokio-postgres by hand",
        route: tasks::ONE,
        server: Whose::Server(COVET),
        over: Whose::ByHand(Kind::Postgres),
        over_route: None,
        value: service,
        limit: Limit::AtMost(1.25),
    },
    Aim {
        what: "single row, PostgreSQL: Covet over tokio-postgres by hand",
        route: tasks::ONE,
        server: Whose::Server(COVET),
        over: Whose::ByHand(Kind::Postgres),
        over_route: None,
        value: database,
        limit: Limit::AtMost(1.0),
    },
    Aim {
        what: "single row, service: sqlx over Covet",
        route: tasks::ONE,
        server: Whose::Server(SQLX),
        over: Whose::Server(COVET),
        over_route: None,
        value: service,
        limit: Limit::AtLeast(2.0),
    },
    Aim {
        what: "single row, PostgreSQL: sqlx over Covet",
        route: tasks::ONE,
        server: Whose::Server(SQLX),
        over: Whose::Server(COVET),
        over_route: None,
        value: database,
        limit: Limit::AtLeast(2.0),
    },
    Aim {
        what: "100 rows, service: Covet over tokio-postgres by hand",
        route: tasks::HUNDRED,
        server: Whose::Server(COVET),
        over: Whose::ByHand(Kind::Postgres),
        over_route: None,
        value: service,
        limit: Limit::AtMost(1.15),
    },
    Aim {
        what: "single row on SQLite: Covet over rusqlite by hand",
        route: tasks::ONE,
        server: Whose::Server(COVET_SQLITE),
        over: Whose::ByHand(Kind::Sqlite),
        over_route: None,
        value: service,
        limit: Limit::AtMost(1.3),
    },
    Aim {
        what: "cached row: Covet over its own route without a database",
        route: tasks::CACHED,
        server: Whose::Server(COVET),
        over: Whose::Server(COVET),
        over_route: Some(tasks::PLAIN),
        value: service,
        limit: Limit::AtMost(1.3),
    },
];

impl Aim {
    /// Of each round.
    fn ratios(&self, findings: &Findings) -> Vec<f64> {
        let over_route = self.over_route.unwrap_or(self.route);
        let name = |whose, route| match whose {
            Whose::Server(name) => Some(name),
            Whose::ByHand(kind) => by_hand(findings, route, kind),
        };
        let (server, over) = (name(self.server, self.route), name(self.over, over_route));
        let (Some(server), Some(over)) = (server, over) else { return Vec::new() };
        findings.ratios((self.route, server), (over_route, over), self.value)
    }

    /// Judged by what the table shows: two decimals.
    fn is_kept(&self, ratio: f64) -> bool {
        let ratio = (ratio * 100.0).round() / 100.0;
        match self.limit {
            Limit::AtMost(limit) => ratio <= limit,
            Limit::AtLeast(limit) => ratio >= limit,
        }
    }

    fn limit(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("≤ {limit:.2}"),
            Limit::AtLeast(limit) => format!("≥ {limit:.2}"),
        }
    }
}

/// A row for each: what, the limit, what was measured, whether it is kept.
pub(super) fn rows(findings: &Findings) -> Vec<Vec<String>> {
    AIMS.iter()
        .map(|aim| {
            let ratios = aim.ratios(findings);
            let kept =
                median(ratios.iter().copied()).map_or("–", |ratio| if aim.is_kept(ratio) { "yes" } else { "no" });
            let measured = spread(&ratios).unwrap_or_else(|| "–".to_owned());
            vec![aim.what.to_owned(), aim.limit(), measured, kept.to_owned()]
        })
        .collect()
}

/// Whether all are kept.
///
/// # Errors
/// [`Wanting`] when one is missed; another error when one was not measured.
pub(super) fn check(findings: &Findings) -> anyhow::Result<()> {
    let mut missed = Vec::new();
    for aim in &AIMS {
        let Some(ratio) = median(aim.ratios(findings)) else {
            anyhow::bail!("--aims needs all peers; not measured: {}", aim.what);
        };
        if !aim.is_kept(ratio) {
            missed.push(format!("{} is {ratio:.2}, not {}", aim.what, aim.limit()));
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    Err(Wanting::error(missed.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::{check, rows};
    use crate::commands::database::tasks;
    use crate::commands::database::tests::findings;
    use crate::measurement::Measurement;
    use crate::wanting::Wanting;

    #[test]
    fn an_aim_is_judged_by_the_median_of_ratios_within_rounds() {
        let rows = rows(&findings(12.5, 25.0));
        let row = |number: usize| rows[number].join(" | ");
        assert_eq!(row(0), "single row, service: Covet over tokio-postgres by hand | ≤ 1.25 | **1.25** | yes");
        assert_eq!(row(1), "single row, PostgreSQL: Covet over tokio-postgres by hand | ≤ 1.00 | **1.25** | no");
        assert_eq!(row(2), "single row, service: sqlx over Covet | ≥ 2.00 | **2.00** | yes");
        assert_eq!(row(4), "100 rows, service: Covet over tokio-postgres by hand | ≤ 1.15 | – | –");
        assert_eq!(row(5), "single row on SQLite: Covet over rusqlite by hand | ≤ 1.30 | **1.20** | yes");
    }

    #[test]
    fn a_missed_aim_is_wanting_and_one_that_was_not_measured_an_error() {
        assert!(!check(&findings(9.0, 30.0)).unwrap_err().is::<Wanting>());
        let whole = |covet| {
            let mut findings = findings(covet, 30.0);
            let measured = findings.measurements.clone();
            for route in [tasks::HUNDRED, tasks::CACHED, tasks::PLAIN] {
                findings.measurements.extend(measured.iter().cloned().map(|one| Measurement { route, ..one }));
            }
            findings
        };
        assert!(check(&whole(9.0)).is_ok());
        assert!(check(&whole(13.0)).unwrap_err().is::<Wanting>());
    }
}
