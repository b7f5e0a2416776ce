//! What a read finds.

use std::sync::Arc;

/// What lies under a key.
#[derive(Debug)]
pub(crate) enum Look<T> {
    Value(Arc<T>),
    /// There is nothing, and that is known. With what the tags had.
    Nothing(Seen),
    /// Nobody knows. With what the tags had.
    Absent(Seen),
}

/// The generations of tags; `None`: there is none yet.
pub(crate) type Seen = Box<[Option<u64>]>;

/// What a caller can do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Value,
    /// That there is nothing is an answer too.
    ValueOrNothing,
}

impl<T> Look<T> {
    /// What the caller can do with; else what the tags had.
    pub(crate) fn found(self, wanted: Wanted) -> Result<Option<Arc<T>>, Seen> {
        match self {
            Self::Value(value) => Ok(Some(value)),
            Self::Nothing(_) if wanted == Wanted::ValueOrNothing => Ok(None),
            Self::Nothing(seen) | Self::Absent(seen) => Err(seen),
        }
    }
}

/// One number for the generations of a key's tags.
pub(crate) fn fingerprint(generations: &[u64]) -> u64 {
    // They are random already.
    generations.iter().fold(0, |sum: u64, generation| sum.rotate_left(7) ^ generation)
}
