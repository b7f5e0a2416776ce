//! What every cache does, whatever is behind it. Each behaviour is a function over a [`Stage`]; `behaviours!` hands all of
//! them to a macro, which makes tests of them.
//!
//! On memory: `tests/memory.rs`; on Redis in all its forms: `tests/redis/everywhere.rs`.

pub(crate) mod invalidation;
pub(crate) mod loading;
pub(crate) mod messages;
pub(crate) mod ratio;
pub(crate) mod values;

use std::time::Duration;

use covet_cache::Cache;
use covet_cache::settings::CacheSettings;
use covet_telemetry::metrics::Registry;
pub(crate) use covet_testkit::eventually;

/// Where caches are opened.
pub(crate) trait Stage {
    /// Opens an instance of the service under test, with other settings than the defaults.
    async fn open(&self, change: fn(&mut CacheSettings)) -> Instance;

    /// Several instances of it, which share their entries.
    async fn several(&self, count: usize) -> Vec<Instance> {
        let mut instances = Vec::new();
        for _ in 0..count {
            instances.push(self.open(|_| ()).await);
        }
        instances
    }
}

/// One process of a service, as it were.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) cache: Cache,
    pub(crate) metrics: Registry,
}

impl Instance {
    /// The sum of the samples of this name that have all these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.metrics.render();
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let samples = text.lines().filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (of, given) = sample.split_once('{').unwrap_or((sample, ""));
            (of == name && labels.iter().all(|label| given.contains(label))).then(|| value.parse::<f64>().unwrap())
        });
        samples.sum()
    }
}

/// A limit for what happens at once on an idle machine. Only a hopeless wait gets there.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Hands the names of all behaviours to `$with`.
macro_rules! behaviours {
    ($with:ident) => {
        $with! {
            values::what_was_stored_is_read_until_it_is_deleted
            values::entries_end_when_their_time_is_over
            values::an_entry_can_be_given_another_time
            values::a_value_that_is_too_large_is_refused_and_still_given_to_who_loaded_it
            values::a_value_of_another_version_or_type_is_a_miss
            values::every_key_is_an_entry_of_its_own
            invalidation::a_tag_ends_all_that_bear_it_and_nothing_else
            invalidation::an_entry_read_with_other_tags_is_a_miss
            invalidation::what_was_being_loaded_when_its_tag_was_invalidated_is_not_used_after
            invalidation::what_was_being_loaded_when_its_key_was_deleted_is_not_used_after
            invalidation::what_was_being_loaded_when_its_key_was_set_does_not_replace_it
            loading::a_value_is_loaded_once_and_then_read
            loading::a_thousand_misses_over_three_instances_load_once
            loading::a_hot_key_that_expires_is_loaded_by_one_at_a_time
            loading::a_caller_who_leaves_is_replaced
            loading::a_load_that_panics_is_taken_over
            loading::errors_are_not_kept_and_who_waited_loads_for_himself
            loading::that_there_is_nothing_is_remembered_for_a_moment
            messages::all_instances_hear_what_one_says
            ratio::popular_keys_are_found_and_the_gauge_says_how_often
        }
    };
}
pub(crate) use behaviours;
