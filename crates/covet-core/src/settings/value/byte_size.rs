//! Sizes in bytes: `512KiB`, `50MiB`, `2GiB` (powers of 1024), `1MB` (powers of 1000), or bytes alone.

use std::fmt;

use serde::Serialize;

use super::Value;

/// A number of bytes.
///
/// ```
/// use covet_core::settings::{ByteSize, Value};
///
/// assert_eq!(ByteSize::parse("50MiB"), Ok(ByteSize::mebibytes(50)));
/// assert_eq!(ByteSize::mebibytes(50).bytes(), 52_428_800);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

/// Units from large to small, binary before decimal: a size is shown in the first that divides it.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1024 bytes.
    #[must_use]
    pub const fn kibibytes(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many times 1024² bytes.
    #[must_use]
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; the largest one where it does not fit.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, size) =
            UNITS.into_iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)).unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

impl Value for ByteSize {
    fn type_name() -> String {
        "size".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let digits = trimmed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
        let factor = match unit {
            "" => Some(1),
            _ => UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, size)| size),
        };
        let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| format!("expected a size such as 512KiB, 50MiB or 1048576, got {text:?}"))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("50MiB".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_decimal_and_plain_bytes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1B", 1),
            ("512KiB", 524_288),
            ("50MiB", 52_428_800),
            ("2GiB", 2_147_483_648),
            ("1TiB", 1_099_511_627_776),
            ("1kB", 1000),
            ("50MB", 50_000_000),
            ("1 GB", 1_000_000_000),
            ("50mib", 52_428_800),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn sizes_without_sense_are_refused() {
        assert_eq!(
            ByteSize::parse("big").unwrap_err(),
            "expected a size such as 512KiB, 50MiB or 1048576, got \"big\""
        );
        for text in ["", "MiB", "-1", "1.5MiB", "50M", "99999999TiB", "1MiB1"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for text in ["50MiB", "512KiB", "2GiB", "50MB", "1500B", "0B"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
    }
}
