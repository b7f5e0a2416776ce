//! Durations: whole numbers with a unit, `250ms`, `10s`, `5m`, `24h`, `30d`, or several from large to small, `1h30m`.

use std::time::Duration;

use super::Value;

/// Units from large to small, in nanoseconds. `us` and `µs` are both read.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Value for Duration {
    fn type_name() -> String {
        "duration".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed == "0" {
            return Ok(Self::ZERO);
        }
        if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("expected a duration with its unit, such as {trimmed}s or {trimmed}m, got {text:?}"));
        }
        nanoseconds(trimmed)
            .and_then(|total| {
                Some(Self::new(u64::try_from(total / 1_000_000_000).ok()?, (total % 1_000_000_000) as u32))
            })
            .ok_or_else(|| format!("expected a duration such as 250ms, 10s, 5m, 24h or 30d, got {text:?}"))
    }

    fn show(&self) -> String {
        let total = self.as_nanos();
        let unit = UNITS.into_iter().find(|(name, size)| match *name {
            // A day is usually said as 24 hours; two days and more as days.
            "d" => total >= 2 * size && total.is_multiple_of(*size),
            _ => total >= *size && total.is_multiple_of(*size),
        });
        unit.map_or_else(|| "0s".to_owned(), |(name, size)| format!("{}{name}", total / size))
    }

    fn example() -> Option<String> {
        Some("10s".to_owned())
    }
}

/// `1h30m` in nanoseconds; [`None`] when it is not well-formed or too large.
fn nanoseconds(mut rest: &str) -> Option<u128> {
    let mut total: u128 = 0;
    let mut smaller_than = u128::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u128 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|letter: char| !letter.is_alphabetic()).unwrap_or(rest.len());
        let unit = rest[..letters].replace(['µ', 'μ'], "u");
        let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        if size >= smaller_than {
            return None;
        }
        total = total.checked_add(number.checked_mul(size)?)?;
        smaller_than = size;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("30d", 2_592_000_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(Duration::parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(Duration::parse("7us"), Duration::parse("7µs"));
    }

    #[test]
    fn durations_without_sense_are_refused() {
        assert_eq!(
            Duration::parse("ten").unwrap_err(),
            "expected a duration such as 250ms, 10s, 5m, 24h or 30d, got \"ten\""
        );
        assert_eq!(
            Duration::parse("10").unwrap_err(),
            "expected a duration with its unit, such as 10s or 10m, got \"10\""
        );
        for text in
            ["", "s", "1.5s", "-1s", "5m1h", "5m5m", "10 parsecs", "99999999999999999999999999999999999999999d", "1s2"]
        {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_largest_unit_that_fits() {
        for text in ["250ms", "90s", "5m", "24h", "30d", "7us", "3ns", "0s"] {
            assert_eq!(Duration::parse(text).unwrap().show(), text);
        }
        assert_eq!(Duration::parse("1h30m").unwrap().show(), "90m");
    }
}
