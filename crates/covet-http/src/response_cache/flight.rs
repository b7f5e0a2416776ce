//! One request asks the handler, the others for the same wait for what it gets: against the stampede when a much-read
//! entry is over.
//!
//! Those that wait do so for a bounded time. When the one that asks goes away (its client left, its handler panicked),
//! the next takes its place. When the answer turns out to be nothing that is kept, all go on at once, and for some
//! seconds nobody waits for that URI any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use tokio::sync::watch;

use super::stored::Entry;

/// For how long nobody waits for a URI whose answer is not kept.
const ALONE_FOR: Duration = Duration::from_secs(10);
/// Of how many URIs that is remembered.
const MOST_REMEMBERED: usize = 4_096;

/// What became of the question.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It is kept.
    Kept(Arc<Entry>),
    /// It is nothing that is kept.
    NotKept,
    /// The handler failed: one after the other may try, not all at once.
    Failed,
}

/// Who asks at this moment.
#[derive(Debug)]
pub(super) struct Flights {
    clock: Clock,
    slots: Mutex<HashMap<Box<str>, Slot>>,
    /// How many have landed.
    landings: AtomicU64,
}

#[derive(Debug)]
enum Slot {
    Flying(watch::Receiver<Option<Outcome>>),
    AloneUntil(Instant),
}

/// What a request is to do.
#[derive(Debug)]
pub(super) enum Turn {
    /// Ask, and tell the others.
    Lead(Lead),
    /// Wait.
    Wait(watch::Receiver<Option<Outcome>>),
    /// Ask, and tell nobody.
    Alone,
}

/// The right to ask. Dropped without a word, it goes to the next.
#[derive(Debug)]
pub(super) struct Lead {
    flights: Arc<Flights>,
    name: Box<str>,
    sender: watch::Sender<Option<Outcome>>,
    landed: bool,
}

impl Flights {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, slots: Mutex::default(), landings: AtomicU64::new(0) })
    }

    /// How many questions have been answered. Who has looked into the cache before one of them looks again before asking.
    pub(super) fn landings(&self) -> u64 {
        self.landings.load(Ordering::Acquire)
    }

    /// Whose turn it is to ask for `name`.
    pub(super) fn turn(self: &Arc<Self>, name: &str) -> Turn {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get(name) {
            Some(Slot::Flying(receiver)) => return Turn::Wait(receiver.clone()),
            Some(Slot::AloneUntil(until)) if self.clock.monotonic() < *until => return Turn::Alone,
            _ => {}
        }
        let (sender, receiver) = watch::channel(None);
        slots.insert(name.into(), Slot::Flying(receiver));
        Turn::Lead(Lead { flights: Arc::clone(self), name: name.into(), sender, landed: false })
    }
}

impl Lead {
    /// Tells those that wait.
    pub(super) fn land(mut self, outcome: Outcome) {
        self.landed = true;
        self.flights.landings.fetch_add(1, Ordering::Release);
        let mut slots = self.flights.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.remove(&self.name);
        if matches!(outcome, Outcome::NotKept) {
            let now = self.flights.clock.monotonic();
            if slots.len() >= MOST_REMEMBERED {
                slots.retain(|_, slot| !matches!(slot, Slot::AloneUntil(until) if *until <= now));
            }
            if slots.len() < MOST_REMEMBERED {
                slots.insert(self.name.clone(), Slot::AloneUntil(now + ALONE_FOR));
            }
        }
        drop(slots);
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.landed {
            self.flights.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        }
    }
}

/// Waits for what the one that asks gets. `None` when it went away.
pub(super) async fn landing(mut receiver: watch::Receiver<Option<Outcome>>) -> Option<Outcome> {
    let landed = receiver.wait_for(Option::is_some).await.ok()?;
    landed.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flights() -> (Arc<Flights>, covet_core::clock::ManualClock) {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        (Flights::new(clock), hand)
    }

    #[tokio::test]
    async fn when_the_one_that_asks_goes_away_the_next_takes_its_place() {
        let (flights, _) = flights();
        let Turn::Lead(lead) = flights.turn("a") else { panic!("nobody else asks") };
        let Turn::Wait(waiting) = flights.turn("a") else { panic!("one asks already") };
        drop(lead);
        assert!(landing(waiting).await.is_none());
        assert!(matches!(flights.turn("a"), Turn::Lead(_)));
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_not_kept_and_after_a_while_one_asks_again() {
        let (flights, hand) = flights();
        let Turn::Lead(lead) = flights.turn("a") else { panic!("nobody else asks") };
        let Turn::Wait(waiting) = flights.turn("a") else { panic!("one asks already") };
        lead.land(Outcome::NotKept);
        assert!(matches!(landing(waiting).await, Some(Outcome::NotKept)));
        assert!(matches!(flights.turn("a"), Turn::Alone));
        assert!(matches!(flights.turn("b"), Turn::Lead(_)));
        hand.advance(ALONE_FOR);
        assert!(matches!(flights.turn("a"), Turn::Lead(_)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (flights, hand) = flights();
        let fly = |name: String| match flights.turn(&name) {
            Turn::Lead(lead) => lead.land(Outcome::NotKept),
            other => panic!("{other:?}"),
        };
        (0..MOST_REMEMBERED + 10).for_each(|number| fly(number.to_string()));
        assert_eq!(flights.slots.lock().unwrap().len(), MOST_REMEMBERED);
        hand.advance(ALONE_FOR);
        fly("later".to_owned());
        assert_eq!(flights.slots.lock().unwrap().len(), 1);
    }
}
