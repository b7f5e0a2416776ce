//! Covet with its cache in memory, and in Redis.

use super::{COVET, COVET_DUTIES, COVET_ENVIRONMENT, Contestant, Peer};
use crate::database::Kind;
use crate::verification::{Duties, RateLimit};

/// In the order of a round.
pub(super) const PEERS: [Peer; 2] = [
    Peer {
        name: COVET,
        package: "covet-peer",
        what: "everything on, as in the table of requests; cache, sessions and counts of the rate limit in its own memory",
        arguments: &[],
        environment: COVET_ENVIRONMENT,
        duties: Some(COVET_DUTIES),
        database: None,
    },
    Peer {
        name: "covet-redis",
        package: "covet-peer",
        what: "the same program with `REDIS_URL`: all three in Redis",
        arguments: &[],
        environment: COVET_ENVIRONMENT,
        duties: Some(COVET_DUTIES),
        database: Some(Kind::Redis),
    },
];

/// The same with the rate limit switched off.
pub(super) fn without_limit(contestant: Contestant) -> Contestant {
    let label = format!("{}, no limit", contestant.label);
    let off = ("COVET_RATE_LIMIT__ENABLED".to_owned(), "false".to_owned());
    let duties = |duties| Duties { rate_limit: RateLimit::Untold, ..duties };
    contestant.with(&[off]).with_duties(duties).called(&label)
}
