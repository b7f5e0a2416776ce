//! Rows in batches from the server to a slower reader, on a connection of their own.
//!
//! The statement runs once, and the server sends while there is room: in the sockets' buffers, and in the two batches
//! read ahead. It is in a transaction that only reads, without the server's time limit, which would count the reader's
//! pauses; both limits are kept here.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::autocommit::check;
use super::bind::{bound, bound_as_text, check_count};
use super::connection::sent;
use super::pool::{Own, Pool};
use super::prepared::columns_of;
use super::rows::{Failure, Row};
use super::session::Session;
use super::{Access, translate};
use crate::fetch::{FromRow, Row as _};
use crate::statement::Statement;
use crate::stream::{AHEAD, BATCH, RowStream};
use crate::{Error, Params, Result};

/// Where batches go, and how long their reader may take.
struct Reader<T> {
    batches: mpsc::Sender<Vec<T>>,
    idle_timeout: Duration,
}

/// Starts a statement whose rows come one after another.
pub(super) fn start<T: FromRow>(own: Own, statement: Arc<Statement>, params: Params) -> Result<RowStream<T>> {
    check(&statement)?;
    let pool = Arc::clone(own.pool());
    let (sender, batches) = mpsc::channel(AHEAD);
    let (end, ended) = oneshot::channel();
    let reader = Reader { batches: sender, idle_timeout: pool.limits().transaction_idle_timeout };
    let runtime = Handle::try_current().unwrap_or_else(|_| own.runtime.clone());
    runtime.spawn(async move {
        let started = pool.clock().monotonic();
        let outcome = run(&own, &pool, &statement, &params, &reader).await;
        let took = pool.clock().monotonic().saturating_duration_since(started);
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Ours(error) => error,
            Failure::Driver(error) => {
                let told = translate::translate(&error, &own, pool.limits().statement_timeout, took);
                pool.learn(Access::Read, &own, &told).unwrap_or(told)
            }
        });
        drop(own);
        let _ = end.send(statement.measured(took, outcome.map(|count| ((), count))));
    });
    Ok(RowStream::of_task(batches, ended))
}

/// Sends all rows. Returns how many.
async fn run<T: FromRow>(
    own: &Own,
    pool: &Pool,
    statement: &Statement,
    params: &Params,
    reader: &Reader<T>,
) -> Result<u64, Failure> {
    own.load.set_untimed(true);
    // Until it has ended, dropping `own` cancels it.
    own.load.begin(pool.clock().monotonic());
    if !pool.limits().pooled {
        own.switch(Session::Own(Access::Read));
    }
    let connection = Arc::clone(own);
    let sql = "BEGIN READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
    let begin = sent(async move { connection.client.batch_execute(sql).await });
    let outcome = send_rows(own, pool, statement, params, reader).await;
    begin.await?;
    match outcome {
        Ok(Sent::All(count)) => {
            own.client.batch_execute("COMMIT").await?;
            own.load.end();
            own.load.set_untimed(false);
            Ok(count)
        }
        // Nobody takes them any more.
        Ok(Sent::Some(count)) => Ok(count),
        Err(Failure::Driver(error)) if error.as_db_error().is_some() => {
            own.client.batch_execute("ROLLBACK").await?;
            own.load.end();
            own.load.set_untimed(false);
            Err(error.into())
        }
        Err(failure) => Err(failure),
    }
}

enum Sent {
    All(u64),
    Some(u64),
}

async fn send_rows<T: FromRow>(
    own: &Own,
    pool: &Pool,
    statement: &Statement,
    params: &Params,
    reader: &Reader<T>,
) -> Result<Sent, Failure> {
    let limit = pool.limits().statement_timeout;
    let late = |_| {
        let setting = "COVET_DATABASE__STATEMENT_TIMEOUT";
        Failure::Ours(Error::Timeout { what: "the statement", limit, setting })
    };
    let start = async {
        let values = params.as_slice();
        if pool.limits().pooled {
            return Ok::<_, Failure>(own.client.query_typed_raw(&statement.text, bound_as_text(values)).await?);
        }
        let (prepared, _) = own.prepared.get(&own.client, statement).await?;
        check_count(prepared.statement.params().len(), values.len()).map_err(Failure::Ours)?;
        Ok(own.client.query_raw(&prepared.statement, bound(values)).await?)
    };
    let mut rows = pin!(timeout(limit, start).await.map_err(late)??);
    let mut columns = None;
    let mut count = 0;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let end = {
            let filling = fill(rows.as_mut(), &mut columns, &mut batch);
            tokio::select! {
                filled = timeout(limit, filling) => filled.map_err(late)?,
                () = reader.batches.closed() => return Ok(Sent::Some(count)),
            }
        };
        count += batch.len() as u64;
        if !batch.is_empty() {
            match timeout(reader.idle_timeout, reader.batches.send(batch)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(Sent::Some(count)),
                Err(_) => {
                    let (what, limit) = ("taking rows from a stream", reader.idle_timeout);
                    let setting = "COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT";
                    return Err(Failure::Ours(Error::Timeout { what, limit, setting }));
                }
            }
        }
        match end {
            None => {}
            Some(Ok(())) => return Ok(Sent::All(count)),
            Some(Err(failure)) => return Err(failure),
        }
    }
}

type Columns = crate::decode::Columns<super::types::Column>;

/// Fills a batch. `None`: there are more rows. What came before an error is in the batch.
async fn fill<T: FromRow>(
    mut rows: Pin<&mut tokio_postgres::RowStream>,
    columns: &mut Option<Columns>,
    batch: &mut Vec<T>,
) -> Option<Result<(), Failure>> {
    while batch.len() < BATCH {
        match rows.try_next().await {
            Ok(Some(row)) => {
                let columns = columns.get_or_insert_with(|| columns_of(row.columns()));
                match (Row { row: &row, columns }).decode() {
                    Ok(row) => batch.push(row),
                    Err(error) => return Some(Err(Failure::Ours(error))),
                }
            }
            Ok(None) => return Some(Ok(())),
            Err(error) => return Some(Err(error.into())),
        }
    }
    None
}
