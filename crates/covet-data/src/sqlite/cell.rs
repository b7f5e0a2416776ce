//! The columns of a result, and one value at a time. What goes into which Rust type: `column.rs`.

use crate::decode::Named;

/// One value of a row, as the database keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl Cell<'_> {
    /// Its storage class, for messages.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "INTEGER",
            Self::Real(_) => "REAL",
            Self::Text(_) => "TEXT",
            Self::Blob(_) => "BLOB",
        }
    }
}

/// What a column was declared to hold. Decides only where the storage class leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    Boolean,
    Numeric,
    Json,
    /// UUID, TIMESTAMP, DATE, TIME: kept as text, meant as something else.
    ParsedText,
    /// INTEGER, REAL, TEXT, BLOB and names of that affinity: the storage class says all.
    Plain,
    /// An expression, or a column declared without a type.
    Nothing,
}

/// A column of a result.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    name: Box<str>,
    pub(super) declared: Declared,
    declaration: Option<Box<str>>,
}

impl Column {
    pub(super) fn new(name: &str, declaration: Option<&str>) -> Self {
        Self { name: name.into(), declared: declared(declaration), declaration: declaration.map(Into::into) }
    }

    /// What was found in it, for messages: "INTEGER in a column declared BOOLEAN".
    pub(super) fn found(&self, cell: Cell<'_>) -> String {
        match &self.declaration {
            Some(declaration) => format!("{} in a column declared {declaration}", cell.class()),
            None => format!("{} without a declared type", cell.class()),
        }
    }
}

impl Named for Column {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Reads a declared type. SQLite takes any words there; these are the ones that mean more than a storage class.
fn declared(declaration: Option<&str>) -> Declared {
    let Some(declaration) = declaration else { return Declared::Nothing };
    let is = |word: &str| {
        declaration.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && !declaration[word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    if is("BOOLEAN") || is("BOOL") {
        Declared::Boolean
    } else if is("JSON") || is("JSONB") {
        Declared::Json
    } else if ["UUID", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME", "DATE", "TIME"].into_iter().any(is) {
        Declared::ParsedText
    } else if is("NUMERIC") || is("DECIMAL") {
        Declared::Numeric
    } else if is("ANY") {
        Declared::Nothing
    } else {
        Declared::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_read_by_their_first_word() {
        for (declaration, expected) in [
            ("BOOLEAN", Declared::Boolean),
            ("bool", Declared::Boolean),
            ("JSON", Declared::Json),
            ("JSON TEXT", Declared::Json),
            ("timestamp with time zone", Declared::ParsedText),
            ("UUID", Declared::ParsedText),
            ("DECIMAL(10,2)", Declared::Numeric),
            ("DATES", Declared::Plain),
            ("INTEGER", Declared::Plain),
            ("VARCHAR(10)", Declared::Plain),
            ("ANY", Declared::Nothing),
        ] {
            assert_eq!(declared(Some(declaration)), expected, "{declaration}");
        }
        assert_eq!(declared(None), Declared::Nothing);
    }
}
