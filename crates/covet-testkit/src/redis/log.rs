//! Times in the log of a Redis server, which is told to write them in UTC.

use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// When a line was written: `4711:X 24 Nov 2026 13:35:32.123 # +switch-master …`.
pub(super) fn time_of(line: &str) -> Option<SystemTime> {
    let (_process, rest) = line.split_once(' ')?;
    // "24 Nov 2026 13:35:32.123" is four words.
    let end = rest.match_indices(' ').nth(3)?.0;
    let time = DateTime::strptime("%d %b %Y %H:%M:%S%.f", &rest[..end]).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_tells_its_time_to_the_millisecond() {
        let time =
            time_of("4711:X 01 Jan 1970 00:01:02.345 # +switch-master mymaster 127.0.0.1 1 127.0.0.1 2").unwrap();
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap(), Duration::from_millis(62_345));
        assert_eq!(time_of("no time here"), None);
    }
}
