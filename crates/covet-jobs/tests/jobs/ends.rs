//! How a job ends: done, tried again, given up, committed with what it did.

use covet_data::params;
use serde_json::json;
use uuid::Uuid;

use super::bed::{AtWork, Bed, Diary, Hangs, Then, says, settings, until};

async fn effects(bed: &Bed) -> i64 {
    bed.db.write().one("SELECT count(*) FROM job_schedules", params![]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_until_it_works_or_was_tried_often_enough() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        jobs.add(says("third time", Then::FailUntil(3))).now().await.unwrap();
        let never = jobs.add(says("never", Then::Fail)).now().await.unwrap().unwrap();
        until("only the hopeless one is left", async || {
            bed.left().await == 1 && bed.state_of(never).await.is_some_and(|(state, ..)| state == "dead")
        })
        .await;
        assert_eq!(bed.state_of(never).await, Some(("dead".to_owned(), 4, Some("it failed".to_owned()))));
        assert!(worker.metric("app_jobs_retried_total{task_type=\"do\"} 5.0"), "{}", worker.registry.render());
        let mut begun = worker.stop().await.begun();
        begun.sort();
        assert_eq!(begun, ["never", "never", "never", "never", "third time", "third time", "third time"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_use_is_given_up_at_once_looked_at_and_done_anew() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        let id = jobs.add(says("no", Then::GiveUp)).unique("one").now().await.unwrap().unwrap();
        let other = jobs.add(says("nor this", Then::GiveUp)).now().await.unwrap().unwrap();
        until("both are dead", async || jobs.dead(None, 10).await.unwrap().len() == 2).await;
        let dead = jobs.dead_job(id).await.unwrap().unwrap();
        assert_eq!((dead.name.as_str(), dead.attempt), ("do", 1));
        assert_eq!(dead.last_error.as_deref(), Some("it makes no sense"));
        assert_eq!(dead.payload, json!({"text": "no", "then": "GiveUp"}));
        assert!(jobs.dead(Some("other"), 10).await.unwrap().is_empty());

        assert!(jobs.discard(other).await.unwrap() && !jobs.discard(other).await.unwrap());
        assert!(jobs.revive(id).await.unwrap());
        until("it has died again", async || {
            worker.diary.begun().len() == 3 && jobs.dead(None, 10).await.unwrap().len() == 1
        })
        .await;
        // Where another has taken its key, that one does the work.
        jobs.add(says("instead", Then::Wait)).unique("one").now().await.unwrap().unwrap();
        assert!(!jobs.revive(id).await.unwrap());
        assert_eq!(jobs.revive_all(Some("do")).await.unwrap(), 0);
        worker.diary.gate.add_permits(1);
        until("the other one is done", async || bed.left().await == 1).await;
        assert_eq!(jobs.revive_all(None).await.unwrap(), 1);
        until("once more", async || worker.diary.begun().len() == 5).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_job_without_end_are_failures_like_others() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        let panics = jobs.add(says("panics", Then::Panic)).now().await.unwrap().unwrap();
        let hangs = jobs.add(Hangs).now().await.unwrap().unwrap();
        let last_error = async |id| bed.state_of(id).await.and_then(|(_, _, error)| error).unwrap_or_default();
        until("the panic is noted", async || last_error(panics).await == "panicked").await;
        until("the hang is noted", async || last_error(hangs).await.contains("longer than its limit of 100ms")).await;
        jobs.add(says("works", Then::Succeed)).now().await.unwrap();
        until("the worker works", async || worker.diary.begun().iter().any(|text| text == "works")).await;
        worker.lifecycle.advance(covet_core::lifecycle::Phase::Cut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_is_what_the_failure_says() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        let id = jobs.add(says("later", Then::RetryIn(3_600_000))).now().await.unwrap().unwrap();
        until("it failed", async || bed.state_of(id).await.is_some_and(|(_, _, error)| error.is_some())).await;
        let (state, attempt, _) = bed.state_of(id).await.unwrap();
        assert_eq!((state.as_str(), attempt), ("waiting", 1));
        let sql = "SELECT run_at FROM jobs WHERE id = $1";
        let run_at: jiff::Timestamp = bed.db.write().one(sql, params![id]).await.unwrap();
        let wait = run_at.duration_since(bed.clock.now()).as_secs();
        assert!((3500..=3600).contains(&wait), "{wait}");
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_did_is_committed_with_its_end_or_not_at_all() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        worker.diary.gate.add_permits(2);
        jobs.add(says("commits", Then::Commit)).now().await.unwrap();
        bed.until_empty().await;
        // Its work is done, so it is not tried again whatever it says then.
        jobs.add(says("too late", Then::CommitThenFail)).now().await.unwrap();
        bed.until_empty().await;
        assert_eq!(effects(&bed).await, 2);
        assert_eq!(worker.stop().await.begun().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_by_whoever_does_not_have_the_job_any_more() {
    // On SQLite the open transaction keeps everybody else from taking the job.
    let bed = Bed::postgres(covet_core::clock::Clock::system()).await;
    let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
    let id = jobs.add(says("commits", Then::Commit)).now().await.unwrap().unwrap();
    until("it is at work", async || !worker.diary.begun().is_empty()).await;
    let sql = "UPDATE jobs SET claimed_by = $2 WHERE id = $1";
    bed.db.write().execute(sql, params![id, Uuid::from_u128(7)]).await.unwrap();
    worker.diary.gate.add_permits(1);
    let Diary { begun, .. } = worker.stop().await;
    assert_eq!(begun.lock().unwrap().len(), 1);
    assert_eq!(effects(&bed).await, 0);
    assert_eq!(bed.state_of(id).await.unwrap().0, "running", "it is the other one's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_read_is_given_up_and_says_why() {
    for bed in Bed::each().await {
        let sql = "INSERT INTO jobs (id, name, payload, priority, state, run_at, attempt, created_at)
                   VALUES ($1, 'do', $2, 10, 'waiting', $3, 0, $3)";
        let id = Uuid::from_u128(1);
        let payload = json!({"text": "without the rest"});
        bed.db.write().execute(sql, params![id, payload, jiff::Timestamp::UNIX_EPOCH]).await.unwrap();
        let worker = AtWork::begin(&bed, settings());
        until("it is dead", async || bed.state_of(id).await.is_some_and(|(state, ..)| state == "dead")).await;
        let (_, attempt, error) = bed.state_of(id).await.unwrap();
        assert_eq!((attempt, error.as_deref()), (1, Some("cannot be read: missing field `then`")));
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_tells_how_far_it_is() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        let id = jobs.add(says("tells", Then::Progress)).now().await.unwrap().unwrap();
        let sql = "SELECT progress_percent, progress_note FROM jobs WHERE id = $1 AND progress_note IS NOT NULL";
        let told = async || bed.db.write().optional::<(i16, String)>(sql, params![id]).await.unwrap();
        until("it has told", async || told().await.is_some()).await;
        assert_eq!(told().await, Some((40, "halfway, nearly".to_owned())));
        worker.diary.gate.add_permits(1);
        bed.until_empty().await;
        worker.stop().await;
    }
}
