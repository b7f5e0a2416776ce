//! Work that is done later: a queue in the database of the service, workers that take from it, schedules that add to it.
//!
//! | you want | look in |
//! |---|---|
//! | to say what a job is and does | [`Job`] |
//! | to add one, in the transaction at hand | [`Jobs`] |
//! | to end one and commit what it did, together | [`Run::commit`] |
//! | one every night | [`Schedule`] |
//! | those that were given up | [`Jobs::dead`] |
//! | how they are taken and handed back | `worker.rs` |
//! | the statements | `store.rs` |
//! | what an operator can set | [`settings::JobSettings`] |
//!
//! A job is a row. It is added with the change that asks for it, so it exists exactly when that was committed; it is removed when its
//! work has been done. A worker that takes it has it on loan for `COVET_JOBS__LEASE` and extends that as long as it lives; the jobs of
//! one that dies are taken by others. So a job is done **at least once**: whoever does something outside of the database uses
//! [`Run::id`] as a key, and whoever changes the database commits by [`Run::commit`], and then it happens exactly once.
//!
//! The tables `jobs` and `job_schedules` belong to the service's migrations: `services/api/migrations/0010_jobs`.

mod dead;
mod enqueue;
mod handlers;
mod job;
mod metrics;
mod run;
mod schedule;
mod scheduler;
pub mod settings;
mod store;
mod worker;

pub use dead::DeadJob;
pub use enqueue::{Enqueue, Jobs};
pub use handlers::Handlers;
pub use job::{Backoff, Failure, Job, JobOptions, Priority};
pub use metrics::JOBS;
pub use run::Run;
pub use schedule::{InvalidSchedule, Missed, Schedule};
pub use scheduler::Scheduler;
pub use worker::{Worker, WorkerParts};
