//! Dates, times and instants, in ISO 8601 as jiff, chrono and others parse it. PostgreSQL counts from 2000-01-01.

use std::fmt::{self, Write};

use jiff::civil::{Date, DateTime, date};
use jiff::tz::Offset;
use jiff::{Span, Timestamp};

use super::{Malformed, Parts};

/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Why there is no text for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritable {
    Malformed,
    /// `infinity`, `-infinity`.
    Infinite,
    /// Outside of the years -9999 to 9999.
    OutOfRange,
}

impl From<Malformed> for Unwritable {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<fmt::Error> for Unwritable {
    fn from(_: fmt::Error) -> Self {
        Self::Malformed
    }
}

/// Microseconds since 2000 as an instant.
pub(crate) fn instant(raw: &[u8]) -> Result<Timestamp, Unwritable> {
    let mut parts = Parts(raw);
    let micros = parts.i64()?;
    parts.end()?;
    if micros == i64::MAX || micros == i64::MIN {
        return Err(Unwritable::Infinite);
    }
    let micros = micros.checked_add(EPOCH_MICROS).ok_or(Unwritable::OutOfRange)?;
    Timestamp::from_microsecond(micros).map_err(|_| Unwritable::OutOfRange)
}

/// An instant as microseconds since 2000; what is finer is cut off, towards the past.
pub(crate) fn micros_since_2000(instant: Timestamp) -> i64 {
    let micros = instant.as_nanosecond().div_euclid(1_000);
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN + 1 } else { i64::MAX - 1 }) - EPOCH_MICROS
}

/// `TIMESTAMPTZ`: 2026-01-02T03:04:05.678901Z
pub(crate) fn timestamptz(raw: &[u8], out: &mut impl Write) -> Result<(), Unwritable> {
    Ok(write!(out, "{}", instant(raw)?)?)
}

/// `TIMESTAMP`: 2026-01-02T03:04:05.678901
pub(crate) fn timestamp(raw: &[u8], out: &mut impl Write) -> Result<(), Unwritable> {
    let there: DateTime = Offset::UTC.to_datetime(instant(raw)?);
    Ok(write!(out, "{there}")?)
}

/// `DATE`: 2026-01-02
pub(crate) fn day(raw: &[u8], out: &mut impl Write) -> Result<(), Unwritable> {
    const START: Date = date(2000, 1, 1);
    let mut parts = Parts(raw);
    let days = parts.i32()?;
    parts.end()?;
    if days == i32::MAX || days == i32::MIN {
        return Err(Unwritable::Infinite);
    }
    let span = Span::new().try_days(days).map_err(|_| Unwritable::OutOfRange)?;
    let day = START.checked_add(span).map_err(|_| Unwritable::OutOfRange)?;
    Ok(write!(out, "{day}")?)
}

/// `TIME`: 03:04:05.678901
pub(crate) fn time(raw: &[u8], out: &mut impl Write) -> Result<(), Unwritable> {
    let mut parts = Parts(raw);
    write_time(parts.i64()?, out)?;
    Ok(parts.end()?)
}

/// `TIMETZ`: 03:04:05.678901+02:00
pub(crate) fn timetz(raw: &[u8], out: &mut impl Write) -> Result<(), Unwritable> {
    let mut parts = Parts(raw);
    write_time(parts.i64()?, out)?;
    let west = parts.i32()?;
    parts.end()?;
    let (sign, away) = if west > 0 { ('-', west) } else { ('+', -west) };
    write!(out, "{sign}{:02}:{:02}", away / 3_600, away / 60 % 60)?;
    if away % 60 != 0 {
        write!(out, ":{:02}", away % 60)?;
    }
    Ok(())
}

fn write_time(micros: i64, out: &mut impl Write) -> Result<(), Unwritable> {
    let micros = u64::try_from(micros).map_err(|_| Unwritable::Malformed)?;
    let seconds = micros / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    match micros % 1_000_000 {
        0 => Ok(()),
        part => Ok(write_fraction(part, out)?),
    }
}

/// Microseconds as decimals of a second, without zeros at the end.
pub(super) fn write_fraction(micros: u64, out: &mut impl Write) -> fmt::Result {
    let (mut part, mut places) = (micros, 6);
    while part.is_multiple_of(10) {
        part /= 10;
        places -= 1;
    }
    write!(out, ".{part:0places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String) -> Result<(), Unwritable>) -> Result<String, Unwritable> {
        let mut text = String::new();
        write(&mut text).map(|()| text)
    }

    #[test]
    fn instants_come_back_as_they_went() {
        for written in ["2026-01-02T03:04:05.678901Z", "1999-12-31T23:59:59Z", "-000044-03-15T12:00:00Z"] {
            let instant: Timestamp = written.parse().unwrap();
            let raw = micros_since_2000(instant).to_be_bytes();
            let expected = instant.to_string();
            assert_eq!(text(|out| timestamptz(&raw, out)).unwrap(), expected);
            assert_eq!(text(|out| timestamp(&raw, out)).unwrap(), expected.trim_end_matches('Z'));
        }
        let fine: Timestamp = "1999-12-31T23:59:59.9999999Z".parse().unwrap();
        assert_eq!(micros_since_2000(fine), -1);
    }

    #[test]
    fn dates_and_times_are_written_in_iso_8601() {
        assert_eq!(text(|out| day(&9_498_i32.to_be_bytes(), out)).unwrap(), "2026-01-02");
        assert_eq!(text(|out| day(&(-1_i32).to_be_bytes(), out)).unwrap(), "1999-12-31");
        assert_eq!(text(|out| time(&11_045_678_901_i64.to_be_bytes(), out)).unwrap(), "03:04:05.678901");
        assert_eq!(text(|out| time(&11_045_600_000_i64.to_be_bytes(), out)).unwrap(), "03:04:05.6");
        let zone = |west: i32| [&11_045_000_000_i64.to_be_bytes()[..], &west.to_be_bytes()].concat();
        assert_eq!(text(|out| timetz(&zone(-7_200), out)).unwrap(), "03:04:05+02:00");
        assert_eq!(text(|out| timetz(&zone(12_605), out)).unwrap(), "03:04:05-03:30:05");
    }

    #[test]
    fn what_has_no_text_is_told() {
        assert_eq!(text(|out| timestamptz(&i64::MAX.to_be_bytes(), out)), Err(Unwritable::Infinite));
        assert_eq!(text(|out| timestamp(&i64::MIN.to_be_bytes(), out)), Err(Unwritable::Infinite));
        assert_eq!(text(|out| day(&i32::MAX.to_be_bytes(), out)), Err(Unwritable::Infinite));
        assert_eq!(text(|out| day(&3_000_000_i32.to_be_bytes(), out)), Err(Unwritable::OutOfRange));
        assert_eq!(text(|out| timestamptz(&[0; 7], out)), Err(Unwritable::Malformed));
    }
}
