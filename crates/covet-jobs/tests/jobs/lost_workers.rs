//! Workers that stop, die, or lose the database.

use std::time::Duration;

use covet_core::lifecycle::Phase;
use covet_data::params;
use covet_jobs::settings::JobSettings;
use uuid::Uuid;

use super::bed::{AtWork, Bed, Then, says, settings, until};

fn short() -> JobSettings {
    JobSettings { lease: Duration::from_secs(1), hand_back_after: Duration::from_millis(50), ..settings() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_work_when_the_process_stops_finishes_or_is_handed_back() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        let worker = AtWork::begin(&bed, JobSettings { hand_back_after: Duration::from_secs(1), ..settings() });
        for text in ["one", "other"] {
            jobs.add(says(text, Then::Wait)).now().await.unwrap();
        }
        until("both are at work", async || worker.diary.begun().len() == 2).await;
        worker.lifecycle.advance(Phase::Draining);
        let not_taken = jobs.add(says("not taken", Then::Succeed)).now().await.unwrap().unwrap();
        assert_eq!(worker.lifecycle.still_running().len(), 3, "the two jobs, and who does jobs");
        worker.diary.gate.add_permits(1);
        let diary = worker.stop().await;
        assert_eq!(diary.begun().len(), 2);
        // One has finished. That the other was begun was no attempt.
        let left: Vec<(Uuid, String, i64)> =
            bed.db.write().all("SELECT id, state, attempt FROM jobs ORDER BY id", params![]).await.unwrap();
        assert_eq!((left.len(), left[1].0), (2, not_taken));
        assert!(left.iter().all(|(_, state, attempt)| state == "waiting" && *attempt == 0), "{left:?}");

        let next = AtWork::begin(&bed, settings());
        next.diary.gate.add_permits(1);
        bed.until_empty().await;
        next.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_worker_that_died_are_done_by_another() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        let id = jobs.add(says("x", Then::Succeed)).now().await.unwrap().unwrap();
        // As a worker leaves it that was killed.
        let sql = "UPDATE jobs SET state = 'running', attempt = 1, claimed_by = $2, lease_until = $3 WHERE id = $1";
        let until_then = bed.clock.now() + Duration::from_millis(300);
        bed.db.write().execute(sql, params![id, Uuid::from_u128(7), until_then]).await.unwrap();
        let worker = AtWork::begin(&bed, short());
        bed.until_empty().await;
        assert!(bed.clock.now() >= until_then, "it was taken from one who had it");
        assert!(worker.metric("app_jobs_taken_over_total{task_type=\"do\"} 1.0"), "{}", worker.registry.render());
        assert_eq!(worker.stop().await.begun(), ["x"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_worker_each_time_is_given_up() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        let id = jobs.add(says("deadly", Then::Succeed)).now().await.unwrap().unwrap();
        let sql = "UPDATE jobs SET state = 'running', attempt = 4, claimed_by = $2, lease_until = $3 WHERE id = $1";
        bed.db.write().execute(sql, params![id, Uuid::from_u128(7), bed.clock.now()]).await.unwrap();
        let worker = AtWork::begin(&bed, short());
        until("it is dead", async || bed.state_of(id).await.is_some_and(|(state, ..)| state == "dead")).await;
        let (_, _, error) = bed.state_of(id).await.unwrap();
        assert_eq!(error.as_deref(), Some("its worker was lost at each of 4 attempts"));
        assert!(worker.stop().await.begun().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_stays_with_its_worker() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        jobs.add(says("long", Then::Wait)).now().await.unwrap();
        let workers =
            [(); 2].map(|()| AtWork::begin(&bed, JobSettings { lease: Duration::from_millis(600), ..settings() }));
        // For longer than a loan.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for worker in &workers {
            worker.diary.gate.add_permits(1);
        }
        bed.until_empty().await;
        let mut begun = 0;
        for worker in workers {
            begun += worker.stop().await.begun().len();
        }
        assert_eq!(begun, 1);
    }
}
