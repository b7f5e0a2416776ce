//! A short text on the stack: what a value is written into for a type that parses text.

use std::fmt;

/// Longest text that needs no allocation. A timestamp has 27 characters, a UUID 36, an address 43.
const SHORT: usize = 48;

/// Text being written.
pub(crate) enum ShortText {
    Stack { bytes: [u8; SHORT], len: usize },
    Heap(String),
}

impl ShortText {
    pub(crate) fn new() -> Self {
        Self::Stack { bytes: [0; SHORT], len: 0 }
    }

    /// What was written.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            // Only whole texts are copied in.
            Self::Stack { bytes, len } => str::from_utf8(&bytes[..*len]).unwrap_or_default(),
            Self::Heap(text) => text,
        }
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self {
            Self::Stack { bytes, len } => match bytes.get_mut(*len..*len + text.len()) {
                Some(place) => {
                    place.copy_from_slice(text.as_bytes());
                    *len += text.len();
                }
                None => *self = Self::Heap(format!("{}{text}", self.as_str())),
            },
            Self::Heap(heap) => heap.push_str(text),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn a_long_text_moves_to_the_heap_whole() {
        let mut text = ShortText::new();
        for n in 0..30 {
            write!(text, "{n},").unwrap();
        }
        let expected: String = (0..30).map(|n| format!("{n},")).collect();
        assert_eq!(text.as_str(), expected);
        assert!(matches!(text, ShortText::Heap(_)));
    }
}
