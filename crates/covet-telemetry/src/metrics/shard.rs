//! Counting without a shared cache line: every worker thread has cells of its own, and a scrape sums them.
//!
//! A worker calls [`claim`] once and is from then on the only writer of its shard, so adding is a plain load
//! and store. Threads without a claim share shard 0 and add atomically. Both are exact.
//!
//! Not here: names and labels. A [`Collector`](super::Collector) gives the sums their names at scrape.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How many threads can have a shard of their own at one time. Further ones share shard 0.
pub const MAX_CLAIMS: usize = 64;

/// The shard of every thread that claimed none.
const SHARED: usize = 0;
const SHARDS: usize = MAX_CLAIMS + 1;
const CELLS_PER_LINE: usize = 16;

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(SHARED) };
    /// Gives the shard back when the thread ends.
    static CLAIM: RefCell<Option<Claim>> = const { RefCell::new(None) };
}

static FREE: Mutex<Free> = Mutex::new(Free { never_used: SHARED + 1, returned: Vec::new() });

struct Free {
    never_used: usize,
    returned: Vec<usize>,
}

struct Claim(usize);

impl Drop for Claim {
    fn drop(&mut self) {
        // What other destructors of this thread still count goes to the shared shard. The lock hands the
        // shard's cells over to its next owner.
        SHARD.set(SHARED);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).returned.push(self.0);
    }
}

/// Gives the calling thread a shard of its own until it ends. Call it once at the start of a worker thread;
/// calling it again changes nothing. Returns the shard, 0 when all are taken.
pub fn claim() -> usize {
    if thread_shard() != SHARED {
        return thread_shard();
    }
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let shard = match free.returned.pop() {
        Some(shard) => shard,
        None if free.never_used < SHARDS => {
            free.never_used += 1;
            free.never_used - 1
        }
        None => return SHARED,
    };
    drop(free);
    CLAIM.set(Some(Claim(shard)));
    SHARD.set(shard);
    shard
}

/// The calling thread's shard; 0 is the shared one.
#[inline]
#[must_use]
pub fn thread_shard() -> usize {
    SHARD.get()
}

/// Two cache lines, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; CELLS_PER_LINE]);

/// A fixed number of counters, kept once per shard. A shard's cells are made when its thread first counts.
///
/// ```
/// use covet_telemetry::metrics::shard::Cells;
///
/// let cells = Cells::new(2);
/// cells.add(0, 1);
/// cells.add(0, 2);
/// assert_eq!((cells.sum(0), cells.sum(1)), (3, 0));
/// ```
#[derive(Debug)]
pub struct Cells {
    lanes: [OnceLock<Box<[Line]>>; SHARDS],
    len: usize,
}

impl Cells {
    /// `len` counters at zero.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { lanes: [const { OnceLock::new() }; SHARDS], len }
    }

    /// How many counters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The calling thread's cells. Take it once to add to several counters in a row.
    #[inline]
    #[must_use]
    pub fn lane(&self) -> Lane<'_> {
        let shard = thread_shard();
        let lines = match self.lanes[shard].get() {
            Some(lines) => lines,
            None => self.make_lane(shard),
        };
        Lane { lines, single_writer: shard != SHARED, stays_on_thread: PhantomData }
    }

    #[cold]
    fn make_lane(&self, shard: usize) -> &[Line] {
        let lines = self.len.div_ceil(CELLS_PER_LINE);
        self.lanes[shard].get_or_init(|| (0..lines).map(|_| Line::default()).collect())
    }

    /// Adds `n` to counter `index`, wrapping.
    ///
    /// # Panics
    /// If there is no counter `index`; this also holds for the other methods that take an index.
    #[inline]
    pub fn add(&self, index: usize, n: u64) {
        self.lane().add(index, n);
    }

    /// Takes `n` off counter `index`, possibly on another thread than it was added on: read such a counter
    /// with [`level`](Self::level).
    #[inline]
    pub fn sub(&self, index: usize, n: u64) {
        self.lane().sub(index, n);
    }

    /// The sum over all shards.
    #[must_use]
    pub fn sum(&self, index: usize) -> u64 {
        self.loads(index).fold(0, u64::wrapping_add)
    }

    /// The sum over all shards of a counter that goes up and down.
    #[must_use]
    pub fn level(&self, index: usize) -> i64 {
        self.sum(index).cast_signed()
    }

    /// The sum over all shards of a counter added to by [`Lane::add_f64`].
    #[must_use]
    pub fn sum_f64(&self, index: usize) -> f64 {
        self.loads(index).map(f64::from_bits).sum()
    }

    fn loads(&self, index: usize) -> impl Iterator<Item = u64> {
        assert!(index < self.len, "there is no cell {index} among {}", self.len);
        self.lanes.iter().filter_map(OnceLock::get).map(move |lines| cell(lines, index).load(Relaxed))
    }
}

/// One thread's cells of a [`Cells`]. It cannot leave the thread.
#[derive(Debug, Clone, Copy)]
pub struct Lane<'a> {
    lines: &'a [Line],
    single_writer: bool,
    stays_on_thread: PhantomData<*const ()>,
}

impl Lane<'_> {
    /// Adds `n` to counter `index`, wrapping.
    #[inline]
    pub fn add(self, index: usize, n: u64) {
        let cell = cell(self.lines, index);
        if self.single_writer {
            cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
        } else {
            cell.fetch_add(n, Relaxed);
        }
    }

    /// Takes `n` off counter `index`; see [`Cells::sub`].
    #[inline]
    pub fn sub(self, index: usize, n: u64) {
        self.add(index, n.wrapping_neg());
    }

    /// Adds to a counter that is read with [`Cells::sum_f64`]. Do not mix with [`add`](Self::add).
    #[inline]
    pub fn add_f64(self, index: usize, value: f64) {
        let cell = cell(self.lines, index);
        let added = |bits| (f64::from_bits(bits) + value).to_bits();
        if self.single_writer {
            cell.store(added(cell.load(Relaxed)), Relaxed);
        } else {
            let _ = cell.fetch_update(Relaxed, Relaxed, |bits| Some(added(bits)));
        }
    }
}

#[inline]
fn cell(lines: &[Line], index: usize) -> &AtomicU64 {
    &lines[index / CELLS_PER_LINE].0[index % CELLS_PER_LINE]
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn no_addition_is_lost_whoever_adds() {
        const EACH: u64 = 200_000;
        let cells = Cells::new(40);
        let all_there = Barrier::new(8);
        thread::scope(|scope| {
            for worker in 0..8 {
                let (cells, all_there) = (&cells, &all_there);
                scope.spawn(move || {
                    if worker % 2 == 0 {
                        claim();
                    }
                    all_there.wait();
                    for _ in 0..EACH {
                        let lane = cells.lane();
                        lane.add(0, 1);
                        lane.add(39, 2);
                        lane.add_f64(20, 0.5);
                    }
                });
            }
        });
        assert_eq!(cells.sum(0), 8 * EACH);
        assert_eq!(cells.sum(39), 16 * EACH);
        assert!((cells.sum_f64(20) - 4.0 * EACH as f64).abs() < f64::EPSILON);
        assert_eq!(cells.sum(1), 0);
    }

    #[test]
    fn a_level_may_rise_on_one_thread_and_fall_on_another() {
        let cells = Cells::new(1);
        thread::scope(|scope| {
            scope.spawn(|| {
                claim();
                cells.add(0, 3);
            });
        });
        cells.sub(0, 2);
        assert_eq!(cells.level(0), 1);
        cells.sub(0, 2);
        assert_eq!(cells.level(0), -1);
    }

    #[test]
    fn claimed_shards_are_distinct_while_held_and_used_again_after() {
        const THREADS: usize = MAX_CLAIMS + 10;
        let cells = Cells::new(1);
        for _ in 0..3 {
            let all_claimed = Barrier::new(THREADS);
            let mut shards: Vec<usize> = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| {
                        scope.spawn(|| {
                            let shard = claim();
                            assert_eq!(claim(), shard, "a second claim keeps the first");
                            all_claimed.wait();
                            cells.add(0, 1);
                            shard
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            shards.retain(|shard| *shard != SHARED);
            let held = shards.len();
            shards.sort_unstable();
            shards.dedup();
            assert_eq!(shards.len(), held, "two threads had the same shard");
            // Other tests of this process may hold some.
            assert!(held > MAX_CLAIMS - 20, "{held}");
        }
        assert_eq!(cells.sum(0), 3 * THREADS as u64);
    }
}
