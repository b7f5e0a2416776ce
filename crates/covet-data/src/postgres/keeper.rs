//! A thread that looks after the connections: [`Pool::tend`] ten times a second and whenever something ends; while a
//! server is not reached, trying again and again; and measuring how far replicas are behind.
//!
//! A thread and not a task, because callers come from many runtimes, and none of them need outlive another.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use covet_core::backoff::Backoff;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::pool::{Condition, Pool};
use super::replicas::Replicas;
use crate::{Error, Result};

const TICK: Duration = Duration::from_millis(100);
/// First and longest pause between two attempts to reach a server.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often replicas are asked how far they are.
const MEASURE: Duration = Duration::from_millis(500);
/// When the pools are gone, their connections have this long to say good-bye.
const LAST: Duration = Duration::from_secs(1);

/// Starts the thread. It ends when the pools are closed or dropped.
pub(super) fn start(primary: &Arc<Pool>, replicas: &Arc<Replicas>) -> Result<()> {
    let cannot =
        |error: std::io::Error| Error::Connection(format!("no thread for the database can be started: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let pools: Vec<_> = [primary].into_iter().chain(replicas.pools()).map(Arc::downgrade).collect();
    let (primary, replicas) = (Arc::downgrade(primary), Arc::downgrade(replicas));
    let work = move || {
        runtime.block_on(async {
            let tending = join_all(pools.iter().map(tend));
            let measuring = measure(&primary, &replicas);
            tokio::join!(tending, measuring);
        });
        runtime.block_on(async {
            let gone = async {
                while runtime.metrics().num_alive_tasks() > 0 {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            let _ = timeout(LAST, gone).await;
        });
    };
    thread::Builder::new().name("covet-db".to_owned()).spawn(work).map_err(cannot)?;
    Ok(())
}

async fn tend(pool: &Weak<Pool>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while let Some(pool) = pool.upgrade() {
        match pool.tend() {
            Condition::Closed => return,
            Condition::Well => {
                backoff.reset();
                let nudge = pool.keeper();
                drop(pool);
                let _ = timeout(TICK, nudge.notified()).await;
            }
            Condition::Outage => {
                pool.probe().await;
                drop(pool);
                sleep(backoff.pause()).await;
            }
        }
    }
}

async fn measure(primary: &Weak<Pool>, replicas: &Weak<Replicas>) {
    while let (Some(primary), Some(replicas)) = (primary.upgrade(), replicas.upgrade()) {
        if replicas.is_empty() || primary.is_closed() {
            return;
        }
        replicas.measure(&primary).await;
        drop((primary, replicas));
        sleep(MEASURE).await;
    }
}
