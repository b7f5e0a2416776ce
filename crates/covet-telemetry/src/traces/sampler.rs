//! Which traces are recorded: the samplers of OpenTelemetry, decided from ids alone.

use super::context::{TraceContext, TraceId};
use crate::settings::{SamplerChoice, TraceSettings};

/// Decides over a trace where this process begins it, and whether a caller's decision counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampler {
    follows_caller: bool,
    /// A trace is recorded when the last 63 bits of its id are below this.
    bound: u64,
}

/// All 63 bits and one more: above every id.
const ALWAYS: u64 = 1 << 63;

impl Sampler {
    pub(super) fn new(settings: &TraceSettings) -> Self {
        use SamplerChoice::*;
        let choice = settings.sampler.unwrap_or(ParentBasedTraceIdRatio);
        let bound = match choice {
            ParentBasedTraceIdRatio | TraceIdRatio => {
                (settings.sampler_ratio.unwrap_or(1.0).clamp(0.0, 1.0) * ALWAYS as f64) as u64
            }
            ParentBasedAlwaysOn | AlwaysOn => ALWAYS,
            ParentBasedAlwaysOff | AlwaysOff => 0,
        };
        let follows_caller = matches!(choice, ParentBasedTraceIdRatio | ParentBasedAlwaysOn | ParentBasedAlwaysOff);
        Self { follows_caller, bound }
    }

    /// Whether the trace is recorded here. The same id gets the same answer in every service with the same share
    /// (`TraceIdRatioBased` of the specification).
    pub(super) fn decide(self, trace_id: TraceId, caller: Option<TraceContext>) -> bool {
        match caller {
            Some(caller) if self.follows_caller => caller.sampled,
            _ => self.keeps(trace_id),
        }
    }

    fn keeps(self, trace_id: TraceId) -> bool {
        let id = u128::from_be_bytes(trace_id.bytes());
        (id as u64) >> 1 < self.bound
    }
}

#[cfg(test)]
mod tests {
    use covet_core::settings::{Section, Sources};

    use super::*;
    use crate::traces::SpanId;

    fn sampler(choice: &str, ratio: &str) -> Sampler {
        let set = [("OTEL_TRACES_SAMPLER", choice), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        Sampler::new(&TraceSettings::load(Sources::of(set)).unwrap())
    }

    fn caller(sampled: bool) -> Option<TraceContext> {
        Some(TraceContext { trace_id: TraceId::random(), span_id: SpanId::random(), sampled })
    }

    #[test]
    fn the_share_of_traces_is_the_one_set() {
        fastrand::seed(1);
        for (ratio, least, most) in [("0", 0, 0), ("0.001", 65, 135), ("0.5", 49_000, 51_000), ("1", 100_000, 100_000)]
        {
            let sampler = sampler("parentbased_traceidratio", ratio);
            let kept = (0..100_000).filter(|_| sampler.decide(TraceId::random(), None)).count();
            assert!((least..=most).contains(&kept), "{kept} of 100000 at {ratio}");
        }
    }

    #[test]
    fn a_parent_based_sampler_does_as_the_caller_and_another_does_not() {
        for (choice, alone, follows) in [
            ("parentbased_traceidratio", true, true),
            ("parentbased_always_on", true, true),
            ("parentbased_always_off", false, true),
            ("traceidratio", true, false),
            ("always_on", true, false),
            ("always_off", false, false),
        ] {
            let sampler = sampler(choice, "1");
            assert_eq!(sampler.decide(TraceId::random(), None), alone, "{choice}");
            for sampled in [true, false] {
                let expected = if follows { sampled } else { alone };
                assert_eq!(sampler.decide(TraceId::random(), caller(sampled)), expected, "{choice} {sampled}");
            }
        }
    }

    #[test]
    fn services_with_the_same_share_decide_alike() {
        let [one, other] = [sampler("traceidratio", "0.3"), sampler("parentbased_traceidratio", "0.3")];
        for _ in 0..1_000 {
            let id = TraceId::random();
            assert_eq!(one.decide(id, None), other.decide(id, None));
        }
        // The id of which the specification's own test says so: the low bits decide.
        let low = TraceId::new([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        assert!(one.decide(low, None));
    }
}
