//! Statements through PgBouncer, or another pooler that gives each transaction any connection to the server.
//!
//! Nothing lasts longer than a transaction there: a statement cannot stay prepared, and a session cannot be set up. So
//! every statement is parsed anew, its values are sent as text (only the server knows the types), and what a session
//! would be set up for is said at the start of a transaction.

use std::sync::Arc;
use std::time::Duration;

use super::Access;
use super::bind::bound_as_text;
use super::connection::{Connection, sent};
use super::rows::{self, Failure};
use super::session::millis;
use crate::fetch::Fetch;
use crate::statement::{Operation, Statement};
use crate::{Error, Params};

/// Runs a statement as a transaction of its own.
pub(super) async fn run<F: Fetch>(
    connection: &Arc<Connection>,
    access: Access,
    statement: &Statement,
    params: &Params,
    limit: Duration,
) -> Result<(F::Output, u64), Failure> {
    let done = async {
        match statement.operation {
            // VACUUM, CREATE INDEX CONCURRENTLY and the like do not run inside of a transaction.
            Operation::Define | Operation::Other => query::<F>(connection, statement, params).await,
            _ => in_transaction::<F>(connection, access, statement, params, limit).await,
        }
    };
    match tokio::time::timeout(limit, done).await {
        Ok(outcome) => outcome,
        Err(_) => {
            connection.doom();
            let setting = "COVET_DATABASE__STATEMENT_TIMEOUT";
            Err(Failure::Ours(Error::Timeout { what: "the statement", limit, setting }))
        }
    }
}

async fn in_transaction<F: Fetch>(
    connection: &Arc<Connection>,
    access: Access,
    statement: &Statement,
    params: &Params,
    limit: Duration,
) -> Result<(F::Output, u64), Failure> {
    let mode = match access {
        Access::Read => "BEGIN READ ONLY",
        Access::Write => "BEGIN",
    };
    let begin = command(connection, format!("{mode}; SET LOCAL statement_timeout = {}", millis(limit)));
    let outcome = query::<F>(connection, statement, params).await;
    // It is to be known that there is a transaction before it is committed.
    begin.await?;
    let end = if matches!(outcome, Err(Failure::Driver(_))) { "ROLLBACK" } else { "COMMIT" };
    command(connection, end.to_owned()).await?;
    outcome
}

/// Sends a command, right now. The future waits for its answer.
fn command(
    connection: &Arc<Connection>,
    sql: String,
) -> impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static {
    let connection = Arc::clone(connection);
    sent(async move { connection.client.batch_execute(&sql).await })
}

/// Runs a statement in whatever transaction there is.
pub(super) async fn query<F: Fetch>(
    connection: &Connection,
    statement: &Statement,
    params: &Params,
) -> Result<(F::Output, u64), Failure> {
    let rows = connection.client.query_typed_raw(&statement.text, bound_as_text(params.as_slice())).await?;
    rows::take::<F>(rows, None, statement.operation).await
}
