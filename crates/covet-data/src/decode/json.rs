//! JSON inside a column: handed to `serde_json`, whose messages (they repeat values) are replaced.

use std::borrow::Cow;

use serde_json::de::{Deserializer as Parser, StrRead};

use super::refusal::Refusal;

/// Parses the whole text by what `ask` asks of the parser.
pub(crate) fn parse<'a, R>(
    text: &'a str,
    expected: impl Into<Cow<'static, str>>,
    ask: impl FnOnce(&mut Parser<StrRead<'a>>) -> serde_json::Result<R>,
) -> Result<R, Refusal> {
    let mut parser = Parser::from_str(text);
    ask(&mut parser).and_then(|value| parser.end().map(|()| value)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = if error.is_data() { "JSON that does not fit" } else { "text that is not JSON" };
        Refusal::new(format!("{what} (line {line}, column {column})"), expected)
    })
}
