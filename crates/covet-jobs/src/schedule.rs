//! Jobs by the clock: [`Schedule`].

use std::str::FromStr;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::job::Job;

/// Adds a job whenever the clock says so, once, however many processes have this schedule.
///
/// The pattern is cron's: minute, hour, day of the month, month, day of the week (`0 2 * * *`, `*/15 8-18 * * MON-FRI`), and before them
/// seconds if there are six. It is read in UTC, unless [`in_time_zone`](Self::in_time_zone) says otherwise. Where clocks change, it is
/// as with cron: a fixed time (`30 2 * * *`) that a day leaves out comes at the end of the gap, one that a day has twice comes the
/// first time; steps and stars (`*/10 * * * *`) come whenever the clock on the wall shows them.
///
/// ```
/// use covet_jobs::{Missed, Schedule};
/// # use covet_jobs::{Failure, Job, Run};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct NightlyReport;
/// # impl Job for NightlyReport {
/// #     type State = (); const NAME: &'static str = "nightly_report";
/// #     async fn run(self, _: Run<()>) -> Result<(), Failure> { Ok(()) }
/// # }
///
/// # fn main() -> Result<(), covet_jobs::InvalidSchedule> {
/// let nightly = Schedule::new("0 2 * * *", NightlyReport)?.in_time_zone("Europe/Berlin")?.missed(Missed::Skip);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    name: String,
    cron: Cron,
    zone: TimeZone,
    missed: Missed,
    job: &'static str,
    priority: i16,
    payload: Value,
}

/// What becomes of times at which no process ran, or none that had the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// The job is added once, for the last of them.
    #[default]
    RunOnce,
    /// It is added for each of them, for the last hundred at most.
    RunEach,
    /// It is not added if more than a minute has passed.
    Skip,
}

/// Why there is no such schedule.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvalidSchedule {
    /// The pattern.
    #[error(
        "the schedule `{pattern}` of {job} is none: {reason}. Five fields as in `0 2 * * *`: minute, hour, day, month, weekday"
    )]
    Pattern {
        /// Of which job.
        job: &'static str,
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pattern never comes true.
    #[error("the schedule `{pattern}` of {job} never comes true")]
    Never {
        /// Of which job.
        job: &'static str,
        /// As it was given.
        pattern: String,
    },
    /// The time zone.
    #[error(
        "the schedule of {job} is in an unknown time zone, `{zone}`: {reason}. Names are those of the IANA database, which must be installed (Debian: tzdata)"
    )]
    TimeZone {
        /// Of which job.
        job: &'static str,
        /// As it was given.
        zone: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The job cannot be turned into JSON.
    #[error("the job {job} cannot be turned into JSON: {reason}")]
    Job {
        /// Which job.
        job: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Schedule {
    /// Adds this job whenever the pattern says so.
    ///
    /// # Errors
    /// When the pattern is none, or never comes true.
    #[expect(clippy::needless_pass_by_value, reason = "the job is kept, as JSON")]
    pub fn new<J: Job>(pattern: &str, job: J) -> Result<Self, InvalidSchedule> {
        let cron = Cron::from_str(pattern).map_err(|error| InvalidSchedule::Pattern {
            job: J::NAME,
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        let payload = serde_json::to_value(&job)
            .map_err(|error| InvalidSchedule::Job { job: J::NAME, reason: error.to_string() })?;
        let schedule = Self {
            name: J::NAME.to_owned(),
            cron,
            zone: TimeZone::UTC,
            missed: Missed::default(),
            job: J::NAME,
            priority: J::options().priority.rank(),
            payload,
        };
        match schedule.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(InvalidSchedule::Never { job: J::NAME, pattern: pattern.to_owned() }),
        }
    }

    /// Its name, instead of the job's: where one job has several schedules. It stays when the pattern changes.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Reads the pattern in this time zone of the IANA database, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// When it is not known.
    pub fn in_time_zone(mut self, zone: &str) -> Result<Self, InvalidSchedule> {
        self.zone = TimeZone::get(zone).map_err(|error| InvalidSchedule::TimeZone {
            job: self.job,
            zone: zone.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(self)
    }

    /// What becomes of times at which nobody was there.
    #[must_use]
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn job(&self) -> &'static str {
        self.job
    }

    pub(crate) fn priority(&self) -> i16 {
        self.priority
    }

    pub(crate) fn payload(&self) -> &Value {
        &self.payload
    }

    /// The first time after this one.
    pub(crate) fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&time.to_zoned(self.zone.clone()), false);
        next.ok().map(|zoned| zoned.timestamp())
    }

    /// The times after `last`, up to `now`, that a job is added for, and the last time that is done with then; none if no time has come.
    pub(crate) fn due(&self, last: Timestamp, now: Timestamp) -> Option<(Vec<Timestamp>, Timestamp)> {
        let mut times = std::collections::VecDeque::new();
        let mut time = self.first_to_look_at(last, now);
        while let Some(next) = self.next_after(time).filter(|next| *next <= now) {
            if times.len() == MOST_MISSED {
                times.pop_front();
            }
            times.push_back(next);
            time = next;
        }
        let done = *times.back()?;
        let times = match self.missed {
            Missed::RunOnce => vec![done],
            Missed::RunEach => times.into(),
            Missed::Skip => times.into_iter().filter(|time| now.duration_since(*time) <= ON_TIME).collect(),
        };
        Some((times, done))
    }

    /// After years away there is no need to count every minute.
    fn first_to_look_at(&self, last: Timestamp, now: Timestamp) -> Timestamp {
        if self.next_after(last).is_none_or(|next| next > now) {
            return last;
        }
        let mut back = now;
        for _ in 0..=MOST_MISSED {
            let earlier = self.cron.find_previous_occurrence(&back.to_zoned(self.zone.clone()), false);
            match earlier.map(|zoned| zoned.timestamp()) {
                Ok(earlier) if earlier > last => back = earlier,
                _ => return last,
            }
        }
        back
    }
}

/// So many times that were missed are made up for at most.
const MOST_MISSED: usize = 100;
/// A time is not missed yet when so much has passed: processes look now and then, and are not always at once there.
const ON_TIME: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{Failure, Run};

    #[derive(Serialize, Deserialize)]
    struct Report;

    impl Job for Report {
        type State = ();
        const NAME: &'static str = "report";
        async fn run(self, _: Run<()>) -> Result<(), Failure> {
            Ok(())
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn berlin(pattern: &str) -> Schedule {
        Schedule::new(pattern, Report).unwrap().in_time_zone("Europe/Berlin").unwrap()
    }

    fn times(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
        let (mut time, end) = (at(from), at(to));
        let mut times = Vec::new();
        while let Some(next) = schedule.next_after(time).filter(|next| *next < end) {
            times.push(next.to_string());
            time = next;
        }
        times
    }

    #[test]
    fn a_fixed_time_comes_once_on_days_on_which_clocks_change() {
        let schedule = berlin("30 2 * * *");
        // On 2026-03-29 clocks go from 2:00 to 3:00, on 2026-10-25 from 3:00 back to 2:00.
        let spring = times(&schedule, "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z");
        assert_eq!(spring, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let autumn = times(&schedule, "2026-10-23T22:00:00Z", "2026-10-26T22:00:00Z");
        assert_eq!(autumn, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn steps_come_as_often_as_the_clock_on_the_wall_shows_them() {
        let schedule = berlin("*/30 * * * *");
        assert_eq!(times(&schedule, "2026-10-24T23:59:59Z", "2026-10-25T02:00:00Z").len(), 4);
        assert_eq!(
            times(&schedule, "2026-03-29T00:29:59Z", "2026-03-29T01:30:00Z"),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"]
        );
    }

    #[test]
    fn what_was_missed_is_made_up_for_as_it_says() {
        let schedule = Schedule::new("0 * * * *", Report).unwrap();
        let (last, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T03:00:10Z"));
        let three: Vec<_> = ["01", "02", "03"].map(|hour| at(&format!("2026-01-01T{hour}:00:00Z"))).into();
        let done = three[2];
        assert_eq!(schedule.due(last, now), Some((vec![done], done)));
        assert_eq!(schedule.clone().missed(Missed::RunEach).due(last, now), Some((three, done)));
        assert_eq!(schedule.clone().missed(Missed::Skip).due(last, now), Some((vec![done], done)));
        let late = at("2026-01-01T03:02:00Z");
        assert_eq!(schedule.clone().missed(Missed::Skip).due(last, late), Some((vec![], done)));
        assert_eq!(schedule.due(done, late), None);
        // Years of minutes are not gone through one by one.
        let minutes = Schedule::new("* * * * *", Report).unwrap().missed(Missed::RunEach);
        let (times, done) = minutes.due(at("2016-01-01T00:00:00Z"), now).unwrap();
        assert_eq!((times.len(), done, times[0]), (100, at("2026-01-01T03:00:00Z"), at("2026-01-01T01:21:00Z")));
    }

    #[test]
    fn what_is_no_schedule_says_why() {
        for (pattern, said) in
            [("0 2 * *", "Five fields"), ("61 * * * *", "Five fields"), ("0 0 30 2 *", "never comes true")]
        {
            let error = Schedule::new(pattern, Report).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(pattern) && error.contains("report"), "{error}");
        }
        let error = Schedule::new("0 2 * * *", Report).unwrap().in_time_zone("Europe/Atlantis").unwrap_err();
        assert!(error.to_string().contains("`Europe/Atlantis`"), "{error}");
    }
}
