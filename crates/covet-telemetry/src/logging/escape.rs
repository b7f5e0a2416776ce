//! Text inside a JSON string, and text safe for a terminal.

/// Appends `text` as it stands inside a JSON string, without the quotes.
#[inline]
pub(super) fn push_json(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut clean = clean_prefix(bytes);
    if clean == bytes.len() {
        out.extend_from_slice(bytes);
        return;
    }
    let mut rest = bytes;
    while clean < rest.len() {
        out.extend_from_slice(&rest[..clean]);
        push_json_escape(out, rest[clean]);
        rest = &rest[clean + 1..];
        clean = clean_prefix(rest);
    }
    out.extend_from_slice(rest);
}

/// How many bytes need no escape. Looks at eight at a time.
#[inline]
fn clean_prefix(bytes: &[u8]) -> usize {
    let mut done = 0;
    for chunk in bytes.as_chunks::<8>().0 {
        if has_special(u64::from_le_bytes(*chunk)) {
            break;
        }
        done += 8;
    }
    done + bytes[done..].iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len() - done)
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7F
}

/// True when one of the eight bytes is special, and sometimes when none is.
///
/// A byte that is smaller than n borrows in `word - n…n`, so its high bit is set; the bit tricks are those of
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>.
#[inline]
fn has_special(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let less_than = |n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let equal_to = |byte: u8| zero_in(word ^ (ONES * u64::from(byte)));
    (less_than(0x20) | equal_to(b'"') | equal_to(b'\\') | equal_to(0x7F)) & HIGH != 0
}

#[cold]
fn push_json_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let hex = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex);
        }
    }
}

/// Appends `text` for people. Control characters are spelt out, so that nothing in a log line can move the
/// cursor or begin a line that looks like another event; line ends become `line_end`.
pub(super) fn push_plain(out: &mut Vec<u8>, text: &str, line_end: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(|char: char| char.is_control() && char != '\t') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut after = rest[at..].chars();
        match after.next() {
            Some('\n') => out.extend_from_slice(line_end.as_bytes()),
            Some(control) => out.extend(control.escape_default().map(|char| char as u8)),
            None => {}
        }
        rest = after.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        push_json(&mut out, text);
        format!("\"{}\"", String::from_utf8(out).unwrap())
    }

    #[test]
    fn special_characters_are_escaped_at_every_position_of_a_word() {
        for special in ["\"", "\\", "\n", "\u{0}", "\u{1f}", "\u{7f}"] {
            for before in 0..20 {
                let text = format!("{}{special}after", "é".repeat(before / 2) + &"a".repeat(before % 2));
                let json = json(&text);
                assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
                assert!(!json.contains(['\n', '\u{0}', '\u{1f}', '\u{7f}']), "{json:?}");
            }
        }
    }

    #[test]
    fn text_without_special_characters_stays_as_it_is() {
        let text = "Größe äöü 日本 /api/users/{id}?#[]@!$&'()*+,;=~";
        assert_eq!(json(text), format!("\"{text}\""));
    }

    #[test]
    fn plain_text_cannot_forge_a_line_or_move_the_cursor() {
        let mut out = Vec::new();
        push_plain(&mut out, "a\nERROR\u{1b}[2J\r\tb", "\n    ");
        assert_eq!(String::from_utf8(out).unwrap(), "a\n    ERROR\\u{1b}[2J\\r\tb");
    }

    proptest! {
        #[test]
        fn any_text_survives(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&json(&text)).unwrap(), text);
        }

        #[test]
        fn any_text_of_special_characters_survives(text in "[\u{0}-\u{24}\\\\\u{7e}-\u{81}]*") {
            prop_assert_eq!(serde_json::from_str::<String>(&json(&text)).unwrap(), text);
        }
    }
}
