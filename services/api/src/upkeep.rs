//! What is cleaned up every hour, by one instance of all: jobs by the clock.

use covet::Context;
use covet::jobs::{Failure, Handlers, InvalidSchedule, Job, Run, Schedule};
use covet::metrics::Sweep;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::privacy::RetentionSettings;
use crate::{auth, state};

/// The jobs and when they are done.
pub(crate) fn handlers(context: &Context) -> Result<Handlers, InvalidSchedule> {
    Ok(Handlers::new()
        .job::<Purge>(context.clone())
        .schedule(Schedule::new("7 * * * *", Purge)?)
        .job::<CutAuditTrail>(context.clone())
        .schedule(Schedule::new("37 * * * *", CutAuditTrail)?))
}

/// Removes logins and kept answers that are over.
#[derive(Debug, Serialize, Deserialize)]
struct Purge;

impl Job for Purge {
    type State = Context;
    const NAME: &'static str = "purge";

    async fn run(self, run: Run<Context>) -> Result<(), Failure> {
        let context = run.state();
        let started = context.clock().monotonic();
        let kept = context.settings::<RetentionSettings>().ended_logins;
        let removed = auth::purge(context.db(), kept, context.clock().now()).await?;
        Sweep::new(context.metrics(), "sessions").took(context.clock().monotonic().duration_since(started));
        tracing::debug!(removed, "purged logins and kept answers");
        Ok(())
    }
}

/// Removes entries of the audit trail that are older than is kept.
#[derive(Debug, Serialize, Deserialize)]
struct CutAuditTrail;

impl Job for CutAuditTrail {
    type State = Context;
    const NAME: &'static str = "cut_audit_trail";

    async fn run(self, run: Run<Context>) -> Result<(), Failure> {
        let context = run.state();
        let kept = context.settings::<RetentionSettings>().audit_entries;
        let before = context.clock().now().checked_sub(kept).unwrap_or(Timestamp::MIN);
        let removed = state::trail(context).cut(context.db(), before).await?;
        tracing::debug!(removed, "cut the audit trail");
        Ok(())
    }
}
