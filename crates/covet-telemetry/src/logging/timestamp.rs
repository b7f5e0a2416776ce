//! The time of a line: RFC 3339 with milliseconds, in UTC.

use jiff::Timestamp;

const SECOND_LENGTH: usize = "2025-10-10T12:03:04".len();

/// Writes times, and keeps the text of the last second.
#[derive(Debug)]
pub(super) struct TimeText {
    second: u64,
    text: [u8; SECOND_LENGTH],
}

impl TimeText {
    pub(super) const fn new() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00" }
    }

    /// Appends `2025-10-10T12:03:04.123Z`.
    #[inline]
    pub(super) fn push(&mut self, out: &mut Vec<u8>, unix_millis: u64) {
        let (second, millis) = (unix_millis / 1000, unix_millis % 1000);
        if second != self.second {
            self.turn_to(second);
        }
        let digit = |value: u64| b'0' + (value % 10) as u8;
        out.extend_from_slice(&self.text);
        out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }

    #[cold]
    fn turn_to(&mut self, second: u64) {
        let text = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        let text = text.map(|time| time.to_string()).unwrap_or_default();
        if let Some(text) = text.as_bytes().first_chunk() {
            (self.second, self.text) = (second, *text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let mut times = TimeText::new();
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (1_760_097_784_007, "2025-10-10T12:03:04.007Z"),
            (1_760_097_784_120, "2025-10-10T12:03:04.120Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
            (1_760_097_784_007, "2025-10-10T12:03:04.007Z"),
        ] {
            let mut out = Vec::new();
            times.push(&mut out, millis);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
