//! [`Position`]: how far the primary had written at some moment.

use std::fmt;
use std::str::FromStr;

/// How far the database had written at some moment: what [`Db::position`](crate::Db::position) gives after a write, and
/// [`Db::read_your_writes`](crate::Db::read_your_writes) takes. It is text for a cookie or a header, and tells nothing
/// about the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position(Option<Lsn>);

/// A place in PostgreSQL's write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lsn(pub(crate) u64);

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no position of a database")]
pub struct InvalidPosition;

impl Position {
    /// Where everybody is: of SQLite, where every read sees every earlier write.
    pub(crate) const ANYWHERE: Self = Self(None);

    pub(crate) fn new(lsn: Lsn) -> Self {
        Self(Some(lsn))
    }

    pub(crate) fn lsn(&self) -> Option<Lsn> {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("0"),
            Some(Lsn(lsn)) => write!(f, "{:X}-{:X}", lsn >> 32, lsn & 0xffff_ffff),
        }
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        if text == "0" {
            return Ok(Self::ANYWHERE);
        }
        let (high, low) = text.split_once('-').ok_or(InvalidPosition)?;
        from_halves(high, low).map(|lsn| Self(Some(lsn)))
    }
}

/// As PostgreSQL writes it: `16/B374D848`.
impl FromStr for Lsn {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (high, low) = text.split_once('/').ok_or(InvalidPosition)?;
        from_halves(high, low)
    }
}

fn from_halves(high: &str, low: &str) -> Result<Lsn, InvalidPosition> {
    let half = |text: &str| u32::from_str_radix(text, 16).map_err(|_| InvalidPosition);
    Ok(Lsn(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_text_and_back() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(lsn, Lsn(0x16_B374_D848));
        for position in [Position::new(lsn), Position::new(Lsn(0)), Position::ANYWHERE] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert_eq!(Position::new(lsn).to_string(), "16-B374D848");
        for text in ["", "x", "1", "1-2-3", "1-G", "1-123456789"] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
