//! Bytes as hexadecimal digits.

/// The bytes as lower-case hexadecimal digits, two a byte.
///
/// ```
/// assert_eq!(covet_core::hex::digits([0x0f, 0xa0]), "0fa0");
/// ```
#[must_use]
pub fn digits(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = bytes.as_ref();
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
