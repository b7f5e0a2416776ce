//! How often a popular thing is found.

use std::convert::Infallible;

use covet_cache::{Keyspace, Ttl};

use super::Stage;

static PAGES: Keyspace<u64> = Keyspace::new("pages", Ttl::Query);

const KEYS: usize = 2_000;
const READS: usize = 20_000;

/// Draws numbers as often as [Zipf's law](https://en.wikipedia.org/wiki/Zipf%27s_law) says, exponent 1.
struct Zipf {
    sums: Vec<f64>,
    random: fastrand::Rng,
}

impl Zipf {
    fn new(keys: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { sums: sums.collect(), random: fastrand::Rng::with_seed(7) }
    }

    fn draw(&mut self) -> usize {
        let at = self.random.f64() * self.sums[self.sums.len() - 1];
        self.sums.partition_point(|sum| *sum < at)
    }
}

pub(crate) async fn popular_keys_are_found_and_the_gauge_says_how_often(stage: &impl Stage) {
    let instance = stage.open(|_| ()).await;
    let (mut zipf, mut loads) = (Zipf::new(KEYS), 0);
    for _ in 0..READS {
        let page = zipf.draw();
        let load = async || {
            loads += 1;
            Ok::<_, Infallible>(page as u64)
        };
        assert_eq!(*instance.cache.get_or_load(&PAGES.key(page), load).await.unwrap(), page as u64);
    }
    let kind = ("cache_type", instance.cache.kind());
    assert_eq!(instance.metric("cache_misses_total", &[kind]), f64::from(loads));
    assert_eq!(instance.metric("cache_hits_total", &[kind]), READS as f64 - f64::from(loads));
    let ratio = instance.metric("cache_hit_ratio", &[kind]);
    assert_eq!(ratio, 1.0 - f64::from(loads) / READS as f64);
    assert!(ratio > 0.8, "{ratio}");
}
