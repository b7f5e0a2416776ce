//! Why a row did not fit its type, without ever repeating a value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Expected, Unexpected};

use super::columns::Named;

/// A row that does not fit the type it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowMismatch {
    /// The column; none if the row as a whole does not fit.
    pub column: Option<String>,
    /// What the row holds there, by type; never the value.
    pub found: String,
    /// What the Rust type takes.
    pub expected: String,
    /// The Rust type asked for.
    pub rust_type: &'static str,
}

impl fmt::Display for RowMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column `{column}` holds {}, but {} is expected", self.found, self.expected)?,
            None => write!(f, "the row has {}, but {} is expected", self.found, self.expected)?,
        }
        write!(f, ", to make {}", self.rust_type)
    }
}

/// The error of the deserialisers. Serde's own messages repeat the offending value, so only what is safe is kept.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    column: Option<Box<str>>,
    found: Cow<'static, str>,
    expected: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(found: impl Into<Cow<'static, str>>, expected: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts { column: None, found: found.into(), expected: expected.into() }))
    }

    /// Names the column and its type, unless an inner one is named already.
    pub(super) fn in_column(self, column: &impl Named) -> Self {
        if self.0.column.is_some() {
            return self;
        }
        let told = column.type_name().filter(|name| !self.0.found.contains(name));
        let mut named = self.in_column_named(column.name());
        if let Some(name) = told {
            named.0.found = format!("{} ({name})", named.0.found).into();
        }
        named
    }

    /// Names the column, unless an inner one is named already.
    pub(super) fn in_column_named(mut self, column: &str) -> Self {
        self.0.column.get_or_insert_with(|| column.into());
        self
    }

    /// No column is to blame.
    pub(super) fn is_of_whole_row(&self) -> bool {
        self.0.column.is_none()
    }

    /// The type's own `Deserialize` refused, with a reason that may not be shown.
    pub(super) fn gives_no_reason(&self) -> bool {
        self.0.expected.is_empty()
    }

    /// Says what was expected, if the type itself did not.
    pub(crate) fn expected_if_unknown(mut self, expected: impl FnOnce() -> String) -> Self {
        if self.gives_no_reason() {
            self.0.expected = expected().into();
        }
        self
    }

    pub(super) fn into_mismatch<T>(self) -> RowMismatch {
        let Parts { column, found, expected } = *self.0;
        let expected = if expected.is_empty() { Cow::Borrowed("a value that it accepts") } else { expected };
        RowMismatch {
            column: column.map(Into::into),
            found: found.into_owned(),
            expected: expected.into_owned(),
            rust_type: std::any::type_name::<T>(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.0.found, self.0.expected)
    }
}

impl std::error::Error for Refusal {}

impl serde::de::Error for Refusal {
    /// The message may repeat the value (jiff's and uuid's do), so it is not kept.
    fn custom<M: fmt::Display>(_message: M) -> Self {
        Self::new("a value that its type refuses", "")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(kind(found), expected.to_string())
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("{} that is out of range", kind(found)), expected.to_string())
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("{length} values"), expected.to_string())
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new("TEXT that names none of the variants", format!("one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("a column `{field}` that is no field"), format!("one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("no such column", format!("a value for the field `{field}`")).in_column_named(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("a second value for the same field", "one").in_column_named(field)
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "BOOLEAN",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "INTEGER",
        Unexpected::Float(_) => "REAL",
        Unexpected::Char(_) | Unexpected::Str(_) => "TEXT",
        Unexpected::Bytes(_) => "BLOB",
        Unexpected::Unit | Unexpected::Option => "NULL",
        Unexpected::NewtypeStruct | Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant => "an enum",
        Unexpected::Other(_) => "something else",
    }
}
