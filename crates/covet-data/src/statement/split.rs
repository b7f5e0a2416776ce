//! A script cut into its statements.

use super::tokens::{Token, Tokens};

/// The statements of a script, without the semicolons between them. Text without a statement in it is left out.
pub(crate) fn split(script: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut tokens = Tokens::of(script);
    let (mut start, mut empty) = (0, true);
    // BEGIN ATOMIC … END, the body of an SQL function, holds statements of its own; so does CASE … END, but no ends.
    let (mut depth, mut after_begin) = (0_usize, false);
    while let Some(token) = tokens.next() {
        match token {
            Token::Symbol(';') if depth == 0 => {
                if !empty {
                    statements.push(script[start..tokens.at() - 1].trim());
                }
                (start, empty) = (tokens.at(), true);
            }
            _ => {
                empty = false;
                if after_begin && token.is("ATOMIC") || depth > 0 && token.is("CASE") {
                    depth += 1;
                } else if depth > 0 && token.is("END") {
                    depth -= 1;
                }
                after_begin = token.is("BEGIN");
            }
        }
    }
    if !empty {
        statements.push(script[start..].trim());
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_quotes_comments_and_bodies_do_not_cut() {
        for (script, expected) in [
            ("", &[][..]),
            ("-- nothing;\n ; /* ; */", &[]),
            ("a; b", &["a", "b"]),
            ("SELECT 'a;b'; SELECT \"c;d\";", &["SELECT 'a;b'", "SELECT \"c;d\""]),
            ("DO $$ BEGIN x; END $$; SELECT 1", &["DO $$ BEGIN x; END $$", "SELECT 1"]),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
                &[
                    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
                    "SELECT 3",
                ],
            ),
            ("BEGIN; x; COMMIT", &["BEGIN", "x", "COMMIT"]),
        ] {
            assert_eq!(split(script), expected, "{script}");
        }
    }
}
