//! The clients of this process: a table of fixed size, each client in a cell.
//!
//! A client is known by a number that nobody outside can choose (see [`client`](super::client)), which also says which
//! bucket it lives in. A bucket is two cache lines with a lock of its own, so two threads meet only when they serve the same
//! client or neighbours of one bucket, for some nanoseconds. Buckets come in segments that are made when the first client
//! needs them: a service with few clients has a small table.
//!
//! **What is forgotten.** A cell is free again when its client is as good as unknown. If a newcomer finds all five cells of
//! its bucket taken, it takes that of the client which would be free first. That is the one with the least behind it:
//! one that is being refused goes after all that have made few requests, so to free it somebody needs five others in its
//! bucket with as many requests behind them. How often that happened is counted: then the table is too small.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::quota::State;

const SEGMENTS: usize = 256;
const CELLS_PER_BUCKET: usize = 5;

/// The table.
pub(super) struct Cells {
    segments: [OnceLock<Box<[Bucket]>>; SEGMENTS],
    buckets_per_segment: usize,
    displaced: AtomicU64,
}

/// Two cache lines, as processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Bucket(Mutex<[Cell; CELLS_PER_BUCKET]>);

#[derive(Clone, Copy, Default)]
struct Cell {
    client: u64,
    state: State,
}

impl Cells {
    /// Room for at least so many clients. Nothing is taken before they come.
    pub(super) fn new(clients: usize) -> Self {
        let buckets_per_segment = clients.div_ceil(SEGMENTS * CELLS_PER_BUCKET).max(1);
        Self { segments: [const { OnceLock::new() }; SEGMENTS], buckets_per_segment, displaced: AtomicU64::new(0) }
    }

    /// Works on the state of a client, which is made if it has none.
    #[inline]
    pub(super) fn with<R>(&self, client: u64, now: u64, work: impl FnOnce(&mut State) -> R) -> R {
        let mut cells = self.bucket(client).0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = 0;
        for index in 0..CELLS_PER_BUCKET {
            if cells[index].client == client {
                return work(&mut cells[index].state);
            }
            if cells[index].state.fresh_at < cells[place].state.fresh_at {
                place = index;
            }
        }
        let cell = &mut cells[place];
        if cell.state.fresh_at > now {
            self.displaced.fetch_add(1, Relaxed);
        }
        *cell = Cell { client, state: State::default() };
        work(&mut cell.state)
    }

    /// The state of a client, of which nothing is made.
    #[inline]
    pub(super) fn read(&self, client: u64) -> State {
        let cells = self.bucket(client).0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().find(|cell| cell.client == client).map_or_else(State::default, |cell| cell.state)
    }

    /// Clients that were forgotten before their time.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced.load(Relaxed)
    }

    /// What the table takes now.
    pub(super) fn bytes(&self) -> usize {
        let made = self.segments.iter().filter(|segment| segment.get().is_some()).count();
        made * self.buckets_per_segment * size_of::<Bucket>() + size_of::<Self>()
    }

    #[inline]
    fn bucket(&self, client: u64) -> &Bucket {
        // The highest bits choose the segment, the lowest 32 the bucket in it.
        let segment = &self.segments[(client >> 56) as usize];
        let make = || (0..self.buckets_per_segment).map(|_| Bucket::default()).collect();
        let buckets = segment.get_or_init(make);
        let low = (client & u64::from(u32::MAX)) as usize;
        &buckets[(low * buckets.len()) >> 32]
    }
}

impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cells").field("bytes", &self.bytes()).field("displaced", &self.displaced()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;
    use crate::rate_limit::quota::Quota;

    const NOON: u64 = 12 * 3_600 * 1_000_000;
    const HUNDRED: Quota = Quota::new(100, Duration::from_secs(60), 100);

    /// What a table takes at most.
    fn most_bytes(cells: &Cells) -> usize {
        SEGMENTS * cells.buckets_per_segment * size_of::<Bucket>() + size_of::<Cells>()
    }

    #[test]
    fn a_bucket_is_two_cache_lines() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (128, 128));
    }

    #[test]
    fn a_client_keeps_its_cell_and_others_have_theirs() {
        let cells = Cells::new(200_000);
        let take = |client| cells.with(client, NOON, |state| HUNDRED.take(state, 1, NOON).remaining);
        assert_eq!((take(7), take(7), take(8), take(7)), (99, 98, 99, 97));
        assert_eq!(cells.read(9), State::default());
        assert!(cells.bytes() < most_bytes(&cells) / 50, "few clients take little");
    }

    #[test]
    fn a_million_addresses_take_no_more_than_the_bound_and_do_not_free_one_that_is_refused() {
        let cells = Cells::new(200_000);
        let random = RandomState::new();
        let refused = random.hash_one("the one that is refused");
        for _ in 0..100 {
            cells.with(refused, NOON, |state| HUNDRED.take(state, 1, NOON));
        }
        for address in 0..1_000_000_u32 {
            // Within half a minute: none of them is over.
            let now = NOON + u64::from(address) * 30;
            cells.with(random.hash_one(address), now, |state| HUNDRED.take(state, 1, now));
        }
        let now = NOON + 30_000_000;
        let standing = cells.with(refused, now, |state| HUNDRED.take(state, 1, now));
        assert_eq!(standing.refused_for, Some(30_000_000), "it was not forgotten");
        let (bytes, most) = (cells.bytes(), most_bytes(&cells));
        println!("1 000 000 addresses, room for 200 000: {bytes} bytes, {} displaced", cells.displaced());
        assert!(bytes == most && most < 5_300_000, "{bytes} of {most}");
        assert!(cells.displaced() > 799_000);
    }

    #[test]
    fn room_for_a_million_holds_a_million_but_for_some_and_is_used_again() {
        let cells = Cells::new(2_000_000);
        let random = RandomState::new();
        let visit = |address: u32, now| {
            cells.with(random.hash_one(address), now, |state| HUNDRED.take(state, 1, now));
        };
        (0..1_000_000).for_each(|address| visit(address, NOON));
        let displaced = cells.displaced();
        println!("1 000 000 addresses, room for 2 000 000: {} bytes, {displaced} displaced", cells.bytes());
        assert!(displaced < 50_000, "{displaced} of a million found their bucket full");
        // All are over: others take their cells, and nobody is displaced.
        (1_000_000..1_800_000).for_each(|address| visit(address, NOON + 61_000_000));
        assert!(cells.displaced() - displaced < 100_000, "{}", cells.displaced());
        assert!(most_bytes(&cells) < 52_000_000, "{}", most_bytes(&cells));
    }

    #[test]
    fn threads_that_serve_one_client_let_exactly_the_burst_in() {
        let cells = Cells::new(1_000);
        let passed = AtomicU32::new(0);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..10_000 {
                        let standing = cells.with(5, NOON, |state| HUNDRED.take(state, 1, NOON));
                        passed.fetch_add(u32::from(standing.refused_for.is_none()), Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 100);
    }
}
