//! What is added is done: once, in order, within limits.

use std::time::Duration;

use covet_data::params;
use covet_jobs::Priority;
use uuid::Uuid;

use super::bed::{AtWork, Bed, Limited, Then, says, settings, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_when_its_transaction_was_committed_and_never_when_it_was_not() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        let transaction = bed.db.begin().await.unwrap();
        jobs.add(says("rolled back", Then::Succeed)).within(&transaction).await.unwrap().unwrap();
        transaction.rollback().await;
        let transaction = bed.db.begin().await.unwrap();
        jobs.add(says("dropped", Then::Succeed)).within(&transaction).await.unwrap().unwrap();
        drop(transaction);
        let transaction = bed.db.begin().await.unwrap();
        jobs.add(says("committed", Then::Succeed)).within(&transaction).await.unwrap().unwrap();
        assert!(worker.diary.begun().is_empty(), "it was done before it was there");
        transaction.commit().await.unwrap();
        until("it was done", async || !worker.diary.begun().is_empty()).await;
        bed.until_empty().await;
        assert_eq!(worker.stop().await.begun(), ["committed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_jobs_are_each_done_once_by_three_workers() {
    for bed in Bed::each().await {
        let transaction = bed.db.begin().await.unwrap();
        let jobs = bed.jobs();
        for number in 0..2000 {
            jobs.add(says(&number.to_string(), Then::Succeed)).within(&transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        let workers = [(); 3].map(|()| AtWork::begin(&bed, settings()));
        bed.until_empty().await;
        let mut done = Vec::new();
        for worker in workers {
            done.extend(worker.stop().await.begun());
        }
        let times = done.len();
        done.sort_unstable();
        done.dedup();
        assert_eq!((times, done.len()), (2000, 2000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_tells_other_processes_of_a_job_at_once() {
    let bed = Bed::postgres(covet_core::clock::Clock::system()).await;
    let elsewhere = bed.another_process().await;
    // Who only looked would not be there in time.
    let worker = AtWork::begin(
        &bed,
        covet_jobs::settings::JobSettings { poll_interval: Duration::from_secs(300), ..settings() },
    );
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN covet_jobs'";
    until("it listens", async || bed.db.write().one::<i64>(listening, params![]).await.unwrap() > 0).await;
    for number in 0..3 {
        elsewhere.add(says(&number.to_string(), Then::Succeed)).now().await.unwrap();
        bed.until_empty().await;
    }
    assert_eq!(worker.stop().await.begun(), ["0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_urgent_comes_first_and_what_was_added_first_before_the_rest() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        for (text, priority) in [
            ("low", Priority::Low),
            ("first", Priority::Normal),
            ("second", Priority::Normal),
            ("high", Priority::High),
        ] {
            jobs.add(says(text, Then::Succeed)).priority(priority).now().await.unwrap();
        }
        let worker = AtWork::begin(&bed, covet_jobs::settings::JobSettings { at_once: 1, ..settings() });
        bed.until_empty().await;
        assert_eq!(worker.stop().await.begun(), ["high", "first", "second", "low"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_waits() {
    for bed in Bed::each().await {
        let (worker, jobs) = (AtWork::begin(&bed, settings()), bed.jobs());
        jobs.add(says("later", Then::Succeed)).after(Duration::from_millis(400)).now().await.unwrap();
        jobs.add(says("never", Then::Succeed)).at("2100-01-01T00:00:00Z".parse().unwrap()).now().await.unwrap();
        jobs.add(says("now", Then::Succeed)).now().await.unwrap();
        until("both are done", async || bed.left().await == 1).await;
        assert_eq!(worker.stop().await.begun(), ["now", "later"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_key_there_is_one_job_until_it_is_done() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        let add = async || jobs.add(says("x", Then::Succeed)).unique("user 1").now().await.unwrap();
        assert!(add().await.is_some());
        assert_eq!(add().await, None, "it waits");
        assert!(jobs.add(Limited).unique("user 1").now().await.unwrap().is_some(), "another type has keys of its own");
        let worker = AtWork::begin(&bed, settings());
        bed.until_empty().await;
        assert!(add().await.is_some(), "the other one is done");
        bed.until_empty().await;
        assert_eq!(worker.stop().await.begun().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_with_a_limit_keeps_to_it_and_does_not_hold_up_others() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        for _ in 0..12 {
            jobs.add(Limited).priority(Priority::High).now().await.unwrap();
        }
        jobs.add(says("other", Then::Succeed)).priority(Priority::Low).now().await.unwrap();
        let worker = AtWork::begin(&bed, settings());
        bed.until_empty().await;
        assert_eq!(worker.diary.most_at_once("limited"), 2);
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_not_known_here_is_left_to_others() {
    for bed in Bed::each().await {
        let sql = "INSERT INTO jobs (id, name, payload, priority, state, run_at, attempt, created_at)
                   VALUES ($1, 'of a newer release', $2, 10, 'waiting', $3, 0, $3)";
        let long_ago = jiff::Timestamp::UNIX_EPOCH;
        bed.db.write().execute(sql, params![Uuid::from_u128(1), serde_json::json!({}), long_ago]).await.unwrap();
        let worker = AtWork::begin(&bed, settings());
        bed.jobs().add(says("known", Then::Succeed)).now().await.unwrap();
        until("the known one is done", async || bed.left().await == 1).await;
        worker.stop().await;
        assert_eq!(bed.state_of(Uuid::from_u128(1)).await, Some(("waiting".to_owned(), 0, None)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_shown_to_scrapes() {
    for bed in Bed::each().await {
        let jobs = bed.jobs();
        jobs.add(says("dead", Then::GiveUp)).now().await.unwrap();
        jobs.add(says("later", Then::Succeed)).after(Duration::from_secs(3600)).now().await.unwrap();
        jobs.add(says("running", Then::Wait)).now().await.unwrap();
        let worker =
            AtWork::begin(&bed, covet_jobs::settings::JobSettings { lease: Duration::from_secs(1), ..settings() });
        let lines = ["app_background_tasks_total{task_type=\"do\"} 1.0", "app_jobs_dead_total{task_type=\"do\"} 1.0"];
        for line in lines {
            until(line, async || worker.metric(line)).await;
        }
        // Counted when the worker began, before anything had happened, and every ten seconds after.
        assert!(worker.registry.render().contains("app_jobs{task_type=\"limited\",state=\"due\"} 0"));
        let line = "app_jobs{task_type=\"do\",state=\"dead\"} 1";
        until(line, async || worker.registry.render().contains(line)).await;
        let text = worker.registry.render();
        for line in ["state=\"later\"} 1", "state=\"running\"} 1", "state=\"due\"} 0"] {
            assert!(text.contains(&format!("app_jobs{{task_type=\"do\",{line}")), "{line} in {text}");
        }
        worker.diary.gate.add_permits(1);
        worker.stop().await;
    }
}
