//! The SQLite driver: everything behind [`Db`](crate::Db) when `DATABASE_URL` names a file.
//!
//! | you want | look in |
//! |---|---|
//! | how the file is opened and set up | `open.rs` |
//! | how a statement runs, and its limits | `connection.rs`, `watch.rs` |
//! | `$1` and values | `bind.rs`; rows: `rows.rs`, `cell.rs`, `column.rs` |
//! | error codes | `translate.rs` |
//! | damage; plans | `integrity.rs`, `plan.rs`, beside everything else: `aside.rs` |
//! | reads: in place, or on threads | `readers.rs`, `stream.rs` |
//! | writes and transactions | `writer.rs`, `transaction.rs` |
//! | waiting, giving up, queueing | `ticket.rs`, `queue.rs` |

mod aside;
mod bind;
mod cell;
mod column;
mod connection;
mod integrity;
mod open;
mod plan;
mod queue;
mod readers;
mod rows;
mod stream;
mod ticket;
mod transaction;
mod translate;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;

use crate::db::Connections;
use crate::fetch::{Fetch, FromRow};
use crate::settings::DatabaseSettings;
use crate::statement::Statement;
use crate::stream::RowStream;
use crate::{Error, Params, Result};

use open::Opener;
use readers::Readers;
use writer::Writer;

pub(crate) use ticket::Pending;
pub(crate) use transaction::Handle;

/// An open SQLite database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    file: PathBuf,
    readers: Readers,
    writer: Writer,
    clock: Clock,
    stream_idle_timeout: Duration,
}

impl Sqlite {
    pub(crate) async fn open(file: PathBuf, settings: &DatabaseSettings, clock: Clock) -> Result<Self> {
        let opener = Opener::new(file.clone(), settings, &clock);
        let (writer, readers) = Writer::open(settings, opener, clock.clone()).await?;
        Ok(Self { file, readers, writer, clock, stream_idle_timeout: settings.transaction_idle_timeout })
    }

    pub(crate) async fn read<F: Fetch>(&self, statement: Arc<Statement>, params: Params) -> Result<F::Output> {
        if let Some(done) = self.readers.fetch_quick::<F>(&statement, &params) {
            // It never waited, so a loop of such reads would keep the thread to itself.
            tokio::task::coop::consume_budget().await;
            return done;
        }
        self.readers.run(move |connection, ticket| connection.run::<F>(&statement, &params, Some(ticket))).await
    }

    pub(crate) async fn stream<T: FromRow>(&self, statement: Arc<Statement>, params: Params) -> Result<RowStream<T>> {
        let (sender, batches) = stream::batches();
        let (clock, idle_timeout) = (self.clock.clone(), self.stream_idle_timeout);
        let work = move |connection: &mut connection::Connection, ticket: &Arc<ticket::Ticket>| {
            stream::send_rows::<T>(connection, ticket, (&statement, &params), &sender, (&clock, idle_timeout))
        };
        Ok(RowStream::of_thread(batches, self.readers.start(work).await?))
    }

    /// A statement that has begun is carried through, also when its caller no longer waits.
    pub(crate) async fn write<F: Fetch>(&self, statement: Arc<Statement>, params: Params) -> Result<F::Output> {
        self.writer.run(move |connection, _| connection.run::<F>(&statement, &params, None)).await
    }

    pub(crate) async fn begin(&self) -> Result<Handle> {
        self.writer.begin().await
    }

    /// Has the writer to itself, outside of a transaction, with the driver's own connection.
    pub(crate) async fn exclusively<T, E>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.writer.run(move |connection, _| work(connection.raw_mut())).await
    }

    /// How a statement would be run.
    pub(crate) async fn plan(&self, text: Arc<str>) -> Result<Vec<String>> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || plan::of(&file, &text)).await.unwrap_or(Err(Error::Panicked))
    }

    /// What is wrong with the file; nothing if it is whole.
    pub(crate) async fn check_integrity(&self) -> Result<Vec<String>> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || integrity::check(&file)).await.unwrap_or(Err(Error::Panicked))
    }

    pub(crate) fn connections(&self) -> Connections {
        let (open, mut active) = self.readers.connections();
        active += usize::from(self.writer.is_busy());
        let open = open + usize::from(self.writer.is_open());
        let waiting = self.readers.waiting() + self.writer.waiting();
        Connections { active, idle: open.saturating_sub(active), waiting }
    }

    /// Readers first: the last connection to close brings the log into the file.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Handle {
    pub(crate) async fn fetch<F: Fetch>(&self, statement: Arc<Statement>, params: Params) -> Result<F::Output> {
        self.run(move |connection, _| connection.run::<F>(&statement, &params, None)).await
    }
}

/// All rows of a statement on the driver's own connection, for migrations.
pub(crate) fn all<T: FromRow>(connection: &rusqlite::Connection, sql: &str) -> Result<Vec<T>> {
    let mut prepared = connection.prepare(sql).map_err(translate)?;
    let columns = rows::columns_of(&prepared);
    let mut rows = prepared.raw_query();
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(translate)? {
        all.push(crate::decode::row(&columns, row).map_err(Error::RowMismatch)?);
    }
    Ok(all)
}

/// An error of the driver's own connection, where no limits are in force.
pub(crate) fn translate(error: rusqlite::Error) -> Error {
    let limits = translate::Limits { busy_timeout: Duration::ZERO, statement_timeout: Duration::ZERO };
    limits.translate(error)
}
