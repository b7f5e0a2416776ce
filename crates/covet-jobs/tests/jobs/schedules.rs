//! Schedules: one job for each time, however many processes have them.

use std::time::Duration;

use covet_core::clock::Clock;
use covet_data::params;
use covet_jobs::{Schedule, Scheduler};
use futures_util::future::join_all;
use jiff::Timestamp;

use super::bed::{Bed, Then, says};

const NOTE: &str = "SELECT payload->>'text', run_at FROM jobs ORDER BY run_at, id";

fn schedules() -> Vec<Schedule> {
    let night = Schedule::new("30 2 * * *", says("night", Then::Succeed)).unwrap();
    let hours = Schedule::new("0 */6 * * *", says("hours", Then::Succeed)).unwrap();
    vec![
        night.named("night").in_time_zone("Europe/Berlin").unwrap(),
        hours.named("hours").in_time_zone("Europe/Berlin").unwrap(),
    ]
}

async fn added(bed: &Bed) -> Vec<(String, Timestamp)> {
    bed.db.write().all(NOTE, params![]).await.unwrap()
}

fn count(added: &[(String, Timestamp)], text: &str) -> usize {
    added.iter().filter(|(of, _)| of == text).count()
}

/// A week in which clocks are put back, looked at by three processes every few minutes, at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn three_processes_add_one_job_for_each_time_of_a_week() {
    let start: Timestamp = "2026-10-20T22:00:00Z".parse().unwrap();
    for postgres in [false, true] {
        let (clock, hand) = Clock::manual(start);
        let bed = if postgres { Bed::postgres(clock).await } else { Bed::sqlite(clock).await };
        let mut processes = Vec::new();
        for _ in 0..3 {
            processes.push(Scheduler::new(bed.another_process().await, schedules()));
        }
        let step = Duration::from_secs(25 * 60);
        let mut passed = Duration::ZERO;
        while passed <= Duration::from_secs(7 * 24 * 60 * 60) {
            join_all(processes.iter().map(Scheduler::add_due)).await;
            hand.advance(step);
            passed += step;
        }
        let added = added(&bed).await;
        // Seven nights; six hours apart by the clock on the wall.
        assert_eq!((count(&added, "night"), count(&added, "hours")), (7, 27), "{added:?}");
        let mut times: Vec<_> = added.iter().collect();
        times.dedup();
        assert_eq!(times.len(), added.len(), "{added:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_away_makes_up_for_what_it_missed_once() {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let (clock, hand) = Clock::manual(start);
    let bed = Bed::sqlite(clock).await;
    let first = Scheduler::new(bed.jobs(), schedules());
    first.add_due().await;
    assert!(added(&bed).await.is_empty(), "a schedule begins when it is first seen");
    drop(first);
    hand.advance(Duration::from_secs(3 * 24 * 60 * 60));
    let second = Scheduler::new(bed.jobs(), schedules());
    second.add_due().await;
    second.add_due().await;
    let added = added(&bed).await;
    assert_eq!((count(&added, "night"), count(&added, "hours")), (1, 1), "{added:?}");
    assert!(second.until_next() > Duration::from_secs(1));
}
