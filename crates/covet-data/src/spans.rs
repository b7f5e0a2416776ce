//! Spans of statements and transactions, where the request is recorded: the same for every database.
//!
//! Names and attributes are those of
//! [OpenTelemetry's conventions for databases](https://opentelemetry.io/docs/specs/semconv/database/database-spans/).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covet_core::settings::ConnectionUrl;
use covet_telemetry::traces::{self, Attributes, Kind, OpenSpan, Recording};

use crate::Error;
use crate::statement::{Operation, Statement, redact};

/// The database, as spans name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct System {
    name: &'static str,
    /// The name of the database on its server.
    namespace: Option<Arc<str>>,
}

impl System {
    pub(crate) fn of(url: &ConnectionUrl) -> Self {
        let name = match url.scheme() {
            "postgresql" | "postgres" => "postgresql",
            _ => return Self { name: "sqlite", namespace: None },
        };
        let (_, rest) = url.expose().split_once("://").unwrap_or_default();
        let path = rest.split(['?', '#']).next().unwrap_or_default().split_once('/').map(|(_, path)| path);
        Self { name, namespace: path.filter(|path| !path.is_empty()).map(Arc::from) }
    }

    fn set(&self, attributes: &mut Attributes) {
        attributes.set("db.system.name", self.name);
        if let Some(namespace) = &self.namespace {
            attributes.set("db.namespace", Arc::clone(namespace));
        }
    }
}

/// What all spans of a statement say. Made when the first is.
#[derive(Debug, Default)]
pub(crate) struct Texts(OnceLock<Box<Known>>);

#[derive(Debug)]
struct Known {
    /// Operation and table.
    summary: Arc<str>,
    operation: Arc<str>,
    table: Option<Arc<str>>,
    query: Arc<str>,
}

impl Texts {
    fn of(&self, statement: &Statement) -> &Known {
        self.0.get_or_init(|| {
            let query = redact(&statement.text);
            let verb = || query.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let operation: Arc<str> = match statement.operation {
                // The labels of metrics have one word for several of these.
                Operation::Define | Operation::Transaction | Operation::Other => verb().into(),
                operation => operation.label().into(),
            };
            let table: Option<Arc<str>> = statement.table().map(Arc::from);
            let summary = match &table {
                Some(table) => format!("{operation} {table}").into(),
                None => Arc::clone(&operation),
            };
            Box::new(Known { summary, operation, table, query: query.into() })
        })
    }
}

/// A statement that has just run, and took this long.
pub(crate) fn statement_ran(statement: &Statement, took: Duration, outcome: Result<u64, &Error>) {
    let Some(here) = traces::recording() else { return };
    let known = statement.texts.of(statement);
    let mut span = here.ended(known.summary.to_string(), Kind::Client, took);
    let mut attributes = Attributes::with_capacity(8);
    statement.system.set(&mut attributes);
    attributes.set("db.operation.name", Arc::clone(&known.operation));
    attributes.set("db.query.summary", Arc::clone(&known.summary));
    attributes.set("db.query.text", Arc::clone(&known.query));
    if let Some(table) = &known.table {
        attributes.set("db.collection.name", Arc::clone(table));
    }
    if let (Ok(rows), Operation::Select) = (outcome, statement.operation) {
        attributes.set("db.response.returned_rows", rows);
    }
    span.set_all(attributes);
    if let Err(error) = outcome {
        span.failed(error.kind());
    }
}

/// The span of a transaction: from its begin to its end, with the statements in it below. Empty where the request is
/// not recorded.
#[derive(Debug)]
pub(crate) struct TransactionSpan(Option<(OpenSpan, Recording)>);

impl TransactionSpan {
    /// The transaction has begun.
    pub(crate) fn begin(system: &System) -> Self {
        Self(traces::recording().map(|here| {
            let mut span = here.begin("TRANSACTION", Kind::Client);
            let mut attributes = Attributes::with_capacity(4);
            system.set(&mut attributes);
            attributes.set("db.operation.name", "TRANSACTION");
            // Stands if nobody ends it.
            attributes.set(STATUS, "rollback");
            span.set_all(attributes);
            let recording = span.recording();
            (span, recording)
        }))
    }

    /// Runs a statement of the transaction.
    pub(crate) async fn within<F: Future>(&self, statement: F) -> F::Output {
        let recording = self.0.as_ref().map(|(_, recording)| recording);
        let mut statement = pin!(statement);
        poll_fn(|context| match recording {
            Some(recording) => recording.enter(|| statement.as_mut().poll(context)),
            None => statement.as_mut().poll(context),
        })
        .await
    }

    /// Its commit has succeeded, or failed with this.
    pub(crate) fn committed(self, error: Option<&Error>) {
        let Some((mut span, _)) = self.0 else { return };
        match error {
            None => span.set(STATUS, "commit"),
            Some(error) => {
                span.set(STATUS, "failed");
                span.failed(error.kind());
            }
        }
    }
}

/// How a transaction ended.
const STATUS: &str = "covet.transaction.status";

#[cfg(test)]
mod tests {
    use covet_core::settings::Value as _;

    use super::*;

    #[test]
    fn a_system_is_told_by_its_url() {
        for (url, name, namespace) in [
            ("sqlite://data/covet.db", "sqlite", None),
            ("postgresql://u:p@h1:5432,h2:5432/shop?sslmode=require", "postgresql", Some("shop")),
            ("postgres://h", "postgresql", None),
            ("postgres://h/", "postgresql", None),
        ] {
            let system = System::of(&ConnectionUrl::parse(url).unwrap());
            assert_eq!(system, System { name, namespace: namespace.map(Arc::from) }, "{url}");
        }
    }
}
