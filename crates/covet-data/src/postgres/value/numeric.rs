//! `NUMERIC`: digits to the base of 10 000, a weight, a sign and how many decimals to show.

use std::fmt::Write;

use super::{Malformed, Parts};

const NEGATIVE: i16 = 0x4000;

/// A number taken apart.
struct Numeric<'a> {
    /// Two bytes each, the highest first.
    digits: &'a [u8],
    /// The power of 10 000 of the first digit.
    weight: i16,
    negative: bool,
    /// Decimals to show.
    scale: usize,
}

/// What stands in place of digits.
enum Parsed<'a> {
    Number(Numeric<'a>),
    Special(&'static str),
}

fn parse(raw: &[u8]) -> Result<Parsed<'_>, Malformed> {
    let mut parts = Parts(raw);
    let count = usize::try_from(parts.i16()?).map_err(|_| Malformed)?;
    let weight = parts.i16()?;
    let sign = parts.i16()?;
    let scale = usize::try_from(parts.i16()?).map_err(|_| Malformed)?;
    let digits = parts.take(count * 2)?;
    parts.end()?;
    Ok(match sign.cast_unsigned() {
        0xc000 => Parsed::Special("NaN"),
        0xd000 => Parsed::Special("Infinity"),
        0xf000 => Parsed::Special("-Infinity"),
        _ => Parsed::Number(Numeric { digits, weight, negative: sign == NEGATIVE, scale }),
    })
}

impl Numeric<'_> {
    /// The digit of this power of 10 000.
    fn digit(&self, power: i32) -> u16 {
        usize::try_from(i32::from(self.weight) - power)
            .ok()
            .and_then(|index| self.digits.get(index * 2..index * 2 + 2))
            .map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

/// Writes the number as PostgreSQL does.
pub(crate) fn write(raw: &[u8], out: &mut impl Write) -> Result<(), Malformed> {
    let number = match parse(raw)? {
        Parsed::Number(number) => number,
        Parsed::Special(name) => return out.write_str(name).map_err(|_| Malformed),
    };
    write_digits(&number, out).map_err(|_| Malformed)
}

fn write_digits(number: &Numeric<'_>, out: &mut impl Write) -> std::fmt::Result {
    if number.negative {
        out.write_char('-')?;
    }
    let highest = i32::from(number.weight).max(0);
    write!(out, "{}", number.digit(highest))?;
    for power in (0..highest).rev() {
        write!(out, "{:04}", number.digit(power))?;
    }
    if number.scale == 0 {
        return Ok(());
    }
    out.write_char('.')?;
    let (mut left, mut power) = (number.scale, -1);
    while left > 0 {
        let digit = number.digit(power);
        let shown = left.min(4);
        // 12 with two of its four places, 0012, is 00.
        let cut = 10_u16.pow(u32::try_from(4 - shown).unwrap_or(0));
        write!(out, "{:0shown$}", digit / cut)?;
        left -= shown;
        power -= 1;
    }
    Ok(())
}

/// The number, if it is whole and fits.
pub(crate) fn whole(raw: &[u8]) -> Result<Option<i128>, Malformed> {
    let Parsed::Number(number) = parse(raw)? else { return Ok(None) };
    let count = i32::try_from(number.digits.len() / 2).map_err(|_| Malformed)?;
    let lowest = i32::from(number.weight) - count + 1;
    if (lowest..0).any(|power| number.digit(power) != 0) {
        return Ok(None);
    }
    let mut value: i128 = 0;
    for power in (0..=i32::from(number.weight).max(0)).rev() {
        let digit = i128::from(number.digit(power));
        let Some(next) = value.checked_mul(10_000).and_then(|value| value.checked_add(digit)) else {
            return Ok(None);
        };
        value = next;
    }
    Ok(Some(if number.negative { -value } else { value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(digits: &[i16], weight: i16, sign: u16, scale: i16) -> Vec<u8> {
        let head = [i16::try_from(digits.len()).unwrap(), weight, sign.cast_signed(), scale];
        head.iter().chain(digits).flat_map(|part| part.to_be_bytes()).collect()
    }

    fn text(raw: &[u8]) -> String {
        let mut text = String::new();
        write(raw, &mut text).unwrap();
        text
    }

    #[test]
    fn numbers_are_written_as_postgresql_does() {
        for (value, expected) in [
            (raw(&[], 0, 0, 0), "0"),
            (raw(&[], 0, 0, 2), "0.00"),
            (raw(&[12], 0, 0, 0), "12"),
            (raw(&[12, 3400], 0, 0x4000, 2), "-12.34"),
            (raw(&[1, 2345, 6780], 1, 0, 3), "12345.678"),
            (raw(&[12], -1, 0, 4), "0.0012"),
            (raw(&[5], -3, 0, 12), "0.000000000005"),
            (raw(&[1], 2, 0, 0), "100000000"),
            (raw(&[], 0, 0xc000, 0), "NaN"),
            (raw(&[], 0, 0xf000, 0), "-Infinity"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn whole_numbers_are_told_from_others() {
        for (value, expected) in [
            (raw(&[], 0, 0, 0), Some(0)),
            (raw(&[12], 0, 0x4000, 2), Some(-12)),
            (raw(&[1, 2345], 1, 0, 0), Some(12_345)),
            (raw(&[1], 2, 0, 0), Some(100_000_000)),
            (raw(&[12, 3400], 0, 0, 2), None),
            (raw(&[12, 0], 0, 0, 2), Some(12)),
            (raw(&[1], -1, 0, 4), None),
            (raw(&[1], 20, 0, 0), None),
            (raw(&[], 0, 0xc000, 0), None),
        ] {
            assert_eq!(whole(&value), Ok(expected));
        }
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        let value = raw(&[1, 2345], 1, 0, 0);
        for end in 0..value.len() {
            assert_eq!(whole(&value[..end]), Err(Malformed));
        }
    }
}
