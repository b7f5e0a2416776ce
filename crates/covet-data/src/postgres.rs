//! The PostgreSQL driver: everything behind [`Db`](crate::Db) when `DATABASE_URL` names PostgreSQL.
//!
//! Over `tokio-postgres`, which speaks the protocol; here is who uses which connection, and what values become.
//!
//! | you want | look in |
//! |---|---|
//! | the URL, TLS, opening a connection | `target.rs`, `tls.rs`, `open.rs`; its session: `session.rs` |
//! | sockets, and what the server has not answered yet | `socket.rs`, `wire.rs` |
//! | single statements, what is done again | `autocommit.rs`; through PgBouncer: `pooled.rs` |
//! | who gets which connection; statements behind one another | `pool.rs`, `pool/lanes.rs`, `load.rs` |
//! | what is lost, unused, hung; finding the primary | `keeper.rs`, `pool/upkeep.rs` |
//! | replicas, and what they have read already | `replicas.rs`, `position.rs` |
//! | prepared statements | `prepared.rs` |
//! | `$1` and values | `bind.rs`; rows: `rows.rs`, `types.rs`, `column.rs`, `value.rs` |
//! | error codes | `translate.rs` |
//! | transactions, streams | `transaction.rs`, `stream.rs` |
//! | the driver itself | `raw.rs` |

mod autocommit;
mod bind;
mod column;
mod connection;
mod keeper;
mod load;
mod open;
mod pool;
mod pooled;
mod position;
mod prepared;
mod raw;
mod replicas;
mod rows;
mod session;
mod socket;
mod stream;
mod target;
mod tls;
mod transaction;
mod translate;
mod types;
mod value;
mod wire;

use std::sync::Arc;

use covet_core::clock::Clock;
use futures_util::future::join_all;
use metrics::{Counter, counter, describe_counter};

use crate::db::Connections;
use crate::fetch::{Fetch, FromRow};
use crate::settings::{ConnectionUrls, DatabaseSettings};
use crate::statement::Statement;
use crate::stream::RowStream;
use crate::transaction::TransactionOptions;
use crate::{Error, Params, Result};

use open::{Facts, Opener, Role};
use pool::Pool;
use replicas::Replicas;
use session::Session;

pub(crate) use position::Lsn;
pub use position::{InvalidPosition, Position};
pub use raw::PostgresConnection;
pub(crate) use target::Target;
pub(crate) use transaction::Handle;

/// What a statement may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// An open PostgreSQL database.
#[derive(Debug)]
pub(crate) struct Postgres {
    primary: Arc<Pool>,
    replicas: Arc<Replicas>,
    /// Reads that a replica has answered, and those that none could.
    reads: Option<[Counter; 2]>,
}

impl Postgres {
    pub(crate) async fn open(target: &Target, settings: &DatabaseSettings, clock: Clock) -> Result<Self> {
        let opener = Opener::new(target, Role::Primary, settings, clock.clone())?;
        let mut replicas = Vec::new();
        for url in settings.replica_urls.iter().flat_map(ConnectionUrls::iter) {
            for target in Target::parse(url).map_err(Error::Unsupported)?.one_for_each_host() {
                let opener = Opener::new(&target, Role::Replica, settings, clock.clone())?;
                replicas.push(Pool::unopened(opener, settings, clock.clone()));
            }
        }
        let reads = (!replicas.is_empty()).then(replica_reads);
        let replicas = Replicas::new(replicas, settings.replica_max_lag);
        let (primary, facts) = Pool::open(opener, settings, clock).await?;
        warn_of_too_many_connections(settings, facts);
        keeper::start(&primary, &replicas)?;
        Ok(Self { primary, replicas, reads })
    }

    /// Reads from a replica that is fresh enough and has come as far as `position`, else from the primary.
    pub(crate) async fn read<F: Fetch>(
        &self,
        statement: &Statement,
        params: &Params,
        position: Option<&Position>,
    ) -> Result<F::Output> {
        if let Some(replica) = self.replicas.choose(position) {
            let done = autocommit::run::<F>(replica, Access::Read, statement, params).await;
            if !done.error().is_some_and(is_of_replica) {
                self.count(Answered::ByReplica);
                return done.recorded(statement);
            }
        }
        self.count(Answered::ByPrimary);
        self.read_current::<F>(statement, params).await
    }

    /// Reads from the primary.
    pub(crate) async fn read_current<F: Fetch>(&self, statement: &Statement, params: &Params) -> Result<F::Output> {
        autocommit::run::<F>(&self.primary, Access::Read, statement, params).await.recorded(statement)
    }

    pub(crate) async fn write<F: Fetch>(&self, statement: &Statement, params: &Params) -> Result<F::Output> {
        autocommit::run::<F>(&self.primary, Access::Write, statement, params).await.recorded(statement)
    }

    pub(crate) async fn stream<T: FromRow>(
        &self,
        statement: Arc<Statement>,
        params: Params,
        position: Option<&Position>,
    ) -> Result<RowStream<T>> {
        if let Some(replica) = self.replicas.choose(position)
            && let Ok(own) = replica.own().await
        {
            self.count(Answered::ByReplica);
            return stream::start(own, statement, params);
        }
        self.count(Answered::ByPrimary);
        stream::start(self.primary.own().await?, statement, params)
    }

    pub(crate) async fn begin(&self, options: &TransactionOptions) -> Result<Handle> {
        Handle::begin(&self.primary, options).await
    }

    /// A connection to use as one likes.
    pub(crate) async fn connection(&self) -> Result<PostgresConnection> {
        let own = self.primary.own().await?;
        if !self.primary.limits().pooled {
            own.switch(Session::Own(Access::Write));
        }
        Ok(PostgresConnection::new(own))
    }

    /// Replicas that can be read from, and how many there are.
    pub(crate) fn replicas(&self) -> (usize, usize) {
        self.replicas.fresh_of_all()
    }

    pub(crate) fn connections(&self) -> Connections {
        let pools = [&self.primary].into_iter().chain(self.replicas.pools());
        pools.map(|pool| pool.connections()).fold(Connections::default(), |sum, one| Connections {
            active: sum.active + one.active,
            idle: sum.idle + one.idle,
            waiting: sum.waiting + one.waiting,
        })
    }

    pub(crate) async fn close(&self) {
        let pools = [&self.primary].into_iter().chain(self.replicas.pools());
        join_all(pools.map(Pool::close)).await;
    }

    fn count(&self, answered: Answered) {
        if let Some(reads) = &self.reads {
            reads[answered as usize].increment(1);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Answered {
    ByReplica,
    ByPrimary,
}

fn replica_reads() -> [Counter; 2] {
    let name = "db_replica_reads_total";
    describe_counter!(
        name,
        "Reads while there are replicas, by who answered: a replica, or the primary because no replica could."
    );
    ["replica", "primary"].map(|answered| counter!(name, "answered_by" => answered))
}

/// True if the primary may do better: the replica is not reached or not free, or has ended the statement because it
/// was in the way of what it repeats.
fn is_of_replica(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionLost(_)
            | Error::Connection(_)
            | Error::Serialization
            | Error::Deadlock
            | Error::Overloaded { .. }
            | Error::Timeout { what: "waiting for a database connection", .. }
    )
}

/// An error of the driver, where no limits are in force.
pub(crate) fn translate(error: &tokio_postgres::Error) -> Error {
    translate::without_connection(error)
}

/// All instances together must not want more connections than the server gives.
fn warn_of_too_many_connections(settings: &DatabaseSettings, facts: Facts) {
    let wanted = settings.instances.saturating_mul(settings.pool_max);
    if wanted > facts.max_connections {
        tracing::warn!(
            instances = settings.instances,
            pool_max = settings.pool_max,
            wanted,
            allowed = facts.max_connections,
            "all instances together can open more connections than the database server allows: lower \
             COVET_DATABASE__POOL_MAX, raise the server's max_connections, or put PgBouncer in between"
        );
    }
}
