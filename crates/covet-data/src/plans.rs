//! Plans of slow statements, for the log.
//!
//! Where a statement was slow nothing is waited for: its text goes to a task, which asks the database how it would run it
//! and does not run it. Each statement is asked for once in a while.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_postgres::SimpleQueryMessage;

use crate::db::{Backend, Inner};
use crate::statement::{Operation, Statement, redact};
use crate::{Db, Result};

/// A statement whose plan was told is not asked for again before.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Statements remembered as told.
const REMEMBERED: usize = 1_000;
/// Statements that may wait for their plan. Further ones have none.
const WAITING: usize = 16;

/// Takes statements that were slow.
#[derive(Debug, Clone)]
pub(crate) struct Plans(mpsc::Sender<Asked>);

/// A statement of which the plan is wanted.
#[derive(Debug)]
struct Asked {
    id: u64,
    operation: Operation,
    text: Box<str>,
}

/// Where they arrive.
pub(crate) struct Wanted(mpsc::Receiver<Asked>);

pub(crate) fn plans() -> (Plans, Wanted) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Plans(sender), Wanted(receiver))
}

impl Plans {
    pub(crate) fn want(&self, statement: &Statement) {
        if matches!(statement.operation, Operation::Select | Operation::Insert | Operation::Update | Operation::Delete)
        {
            let asked = Asked { id: statement.id, operation: statement.operation, text: statement.text.clone() };
            // So many are slow at once that one plan more would not help.
            let _ = self.0.try_send(asked);
        }
    }
}

impl Wanted {
    /// Tells plans for as long as the database is open.
    pub(crate) async fn tell(mut self, db: Weak<Inner>) {
        let mut told: HashMap<u64, Instant> = HashMap::new();
        while let Some(asked) = self.0.recv().await {
            let Some(db) = db.upgrade().map(Db::from) else { return };
            let now = db.clock().monotonic();
            if told.get(&asked.id).is_some_and(|at| now.saturating_duration_since(*at) < AGAIN_AFTER) {
                continue;
            }
            if told.len() >= REMEMBERED {
                told.clear();
            }
            told.insert(asked.id, now);
            let (operation, statement) = (asked.operation.label(), redact(&asked.text));
            match db.plan(asked.text.into()).await {
                Ok(plan) => tracing::warn!(operation, statement, plan = plan.join("\n"), "plan of a slow query"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(operation, statement, error, "the plan of a slow query cannot be had");
                }
            }
        }
    }
}

impl Db {
    /// How the database would run a statement, whatever its parameters.
    async fn plan(&self, text: Arc<str>) -> Result<Vec<String>> {
        match self.backend() {
            Backend::Sqlite(sqlite) => sqlite.plan(text).await,
            Backend::Postgres(postgres) => {
                let connection = postgres.connection().await?;
                let refused = |error: tokio_postgres::Error| crate::postgres::translate(&error);
                let params = connection.prepare(&text).await.map_err(refused)?.params().len();
                let values = if params == 0 { String::new() } else { format!("({})", vec!["NULL"; params].join(", ")) };
                // Planned for whatever values, so those that are given do not matter.
                let sql = format!(
                    "SET statement_timeout = '5s'; SET plan_cache_mode = force_generic_plan; PREPARE covet_plan AS {text}; \
                     EXPLAIN EXECUTE covet_plan{values}"
                );
                let answers = connection.simple_query(&sql).await.map_err(refused)?;
                let line = |answer: &SimpleQueryMessage| match answer {
                    SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
                    _ => None,
                };
                Ok(answers.iter().filter_map(line).collect())
            }
        }
    }
}
