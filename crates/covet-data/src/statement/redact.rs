//! A statement's text for logs: without literals, comments and line breaks, and not endless.

use super::tokens::{Token, Tokens};

/// Longest text, in bytes.
const LIMIT: usize = 1024;

/// The statement with `?` for each literal. Values bound as parameters are not in the text anyway.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LIMIT));
    let mut glued = true;
    for token in Tokens::of(text) {
        let symbol = matches!(token, Token::Symbol(_));
        let leaning = matches!(token, Token::Symbol(',' | ')' | '.' | ';'));
        if !glued && !leaning {
            out.push(' ');
        }
        match token {
            Token::Word(word) => out.push_str(word),
            Token::Name(name) => {
                out.push('"');
                out.push_str(name);
                out.push('"');
            }
            Token::Literal => out.push('?'),
            Token::Parameter(parameter) => out.push_str(parameter),
            Token::Symbol(symbol) => out.push(symbol),
        }
        glued = symbol && matches!(token, Token::Symbol('(' | '.'));
        if out.len() > LIMIT {
            let whole = (0..=LIMIT).rev().find(|end| out.is_char_boundary(*end));
            out.truncate(whole.unwrap_or_default());
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_comments_and_line_breaks_are_left_out() {
        let text = "SELECT a.id, f(b)\n  FROM a -- secret\n WHERE name = 'O''Hara' AND age > 42 AND id = $1";
        assert_eq!(redact(text), "SELECT a.id, f (b) FROM a WHERE name = ? AND age > ? AND id = $1");
    }

    #[test]
    fn a_very_long_text_is_cut() {
        let text = format!("SELECT {}", "é, ".repeat(5_000));
        let redacted = redact(&text);
        assert!(redacted.len() <= LIMIT + '…'.len_utf8());
        assert!(redacted.ends_with('…'));
    }
}
