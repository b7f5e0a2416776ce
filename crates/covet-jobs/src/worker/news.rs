//! PostgreSQL's news of added jobs: `LISTEN covet_jobs`, which the trigger on `jobs` notifies.
//!
//! They only save waiting for the next look; what is missed is found by it.

use std::error::Error;
use std::time::Duration;

use super::Shared;

/// After a connection was lost, or could not be had.
const PAUSE: Duration = Duration::from_secs(5);

/// Listens, for as long as jobs are taken.
pub(super) async fn hear(shared: &Shared) {
    loop {
        tokio::select! {
            () = shared.lifecycle.draining().cancelled() => return,
            ended = listen(shared) => if let Err(error) = ended {
                tracing::debug!(error = &*error, "no news of added jobs; they are looked for meanwhile");
            }
        }
        tokio::select! {
            () = shared.lifecycle.draining().cancelled() => return,
            () = tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())) => {}
        }
    }
}

/// Until the connection is lost.
async fn listen(shared: &Shared) -> Result<(), Box<dyn Error + Send + Sync>> {
    let queue = shared.jobs.shared();
    let mut connection = queue.db.postgres().await?;
    let mut news = connection.notifications();
    connection.batch_execute("LISTEN covet_jobs").await?;
    // What was added before.
    queue.added.notify_one();
    while news.recv().await.is_some() {
        queue.added.notify_one();
    }
    Ok(())
}
