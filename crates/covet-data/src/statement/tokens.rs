//! SQL text cut into tokens: just enough to see what a statement does and where its literals are.
//!
//! Not a parser. Both dialects' quoting is known: `'…'`, `"…"`, `` `…` ``, `[…]`, `$tag$…$tag$`, `--` and `/* */`.

/// A piece of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a bare name.
    Word(&'a str),
    /// A quoted name, without its quotes.
    Name(&'a str),
    /// A text, blob or number.
    Literal,
    /// `$1`, `?1`, `:name`.
    Parameter(&'a str),
    /// Anything else, one character.
    Symbol(char),
}

impl Token<'_> {
    pub(super) fn is(self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where the next token is looked for.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Moves past the characters that `belongs` accepts.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// Moves past `end`, or to the end of the text. Returns what is before it.
    fn take_until(&mut self, end: &str) -> &'a str {
        let rest = self.rest();
        let len = rest.find(end);
        self.at += len.map_or(rest.len(), |len| len + end.len());
        &rest[..len.unwrap_or(rest.len())]
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("--") {
                self.take_until("\n");
            } else if self.rest().starts_with("/*") {
                self.take_until("*/");
            } else {
                return;
            }
        }
    }

    /// A text in quotes; a doubled quote stands for itself.
    fn take_quoted(&mut self, quote: &str) -> &'a str {
        let start = self.at;
        loop {
            self.take_until(quote);
            if !self.rest().starts_with(quote) {
                let end = if self.text[start..self.at].ends_with(quote) { self.at - quote.len() } else { self.at };
                return &self.text[start..end];
            }
            self.at += quote.len();
        }
    }

    /// `$1`, or a dollar-quoted text.
    fn take_dollar(&mut self) -> Token<'a> {
        let start = self.at - 1;
        let tag = self.take_while(is_word);
        if self.rest().starts_with('$') && !tag.starts_with(|c: char| c.is_ascii_digit()) {
            self.at += 1;
            let delimiter = &self.text[start..self.at];
            self.take_until(delimiter);
            return Token::Literal;
        }
        Token::Parameter(&self.text[start..self.at])
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks_and_comments();
        let start = self.at;
        let first = self.rest().chars().next()?;
        self.at += first.len_utf8();
        Some(match first {
            '\'' => {
                self.take_quoted("'");
                Token::Literal
            }
            '"' => Token::Name(self.take_quoted("\"")),
            '`' => Token::Name(self.take_quoted("`")),
            '[' => Token::Name(self.take_until("]")),
            '$' => self.take_dollar(),
            '?' | ':' | '@' if self.rest().starts_with(is_word) => {
                self.take_while(is_word);
                Token::Parameter(&self.text[start..self.at])
            }
            '0'..='9' => {
                self.take_while(|c| is_word(c) || c == '.');
                Token::Literal
            }
            'x' | 'X' | 'e' | 'E' | 'b' | 'B' if self.rest().starts_with('\'') => {
                self.at += 1;
                self.take_quoted("'");
                Token::Literal
            }
            c if is_word(c) => {
                self.take_while(is_word);
                Token::Word(&self.text[start..self.at])
            }
            symbol => Token::Symbol(symbol),
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::Token::{Literal, Name, Parameter, Symbol, Word};
    use super::*;

    #[test]
    fn quotes_comments_and_parameters_are_told_apart() {
        let text = "SELECT \"a\"\"b\", 'it''s', x'00', 1.5 -- ' not a quote\n FROM [t] /* $9 */ WHERE a=$1 AND b=?2";
        let tokens: Vec<_> = Tokens::of(text).collect();
        assert_eq!(
            tokens,
            [
                Word("SELECT"),
                Name("a\"\"b"),
                Symbol(','),
                Literal,
                Symbol(','),
                Literal,
                Symbol(','),
                Literal,
                Word("FROM"),
                Name("t"),
                Word("WHERE"),
                Word("a"),
                Symbol('='),
                Parameter("$1"),
                Word("AND"),
                Word("b"),
                Symbol('='),
                Parameter("?2"),
            ]
        );
    }

    #[test]
    fn dollar_quoted_text_is_one_literal() {
        let tokens: Vec<_> = Tokens::of("DO $body$ SELECT $1; $body$; SELECT $$x$$").collect();
        assert_eq!(tokens, [Word("DO"), Literal, Symbol(';'), Word("SELECT"), Literal]);
    }

    #[test]
    fn an_unfinished_quote_ends_with_the_text() {
        for text in ["'abc", "\"abc", "[abc", "/* abc", "$a$ abc", "'", "x'", "$", "?", "é'"] {
            let _ = Tokens::of(text).count();
        }
    }
}
