//! Values bound to `$1`, `$2`, … of a statement.
//!
//! Not here: how a driver binds them (`sqlite/bind.rs`, `postgres/bind.rs`), nor how columns become Rust values
//! (`decode.rs`).

use std::net::IpAddr;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Timestamp};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::json::Json;

/// One value for a parameter.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Param {
    /// SQL `NULL`.
    Null,
    /// A truth value. SQLite stores 0 or 1.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An identifier. SQLite stores its hyphenated text.
    Uuid(Uuid),
    /// An instant. SQLite stores RFC 3339 text in UTC with six digits of a second, so that text order is time
    /// order; what is finer than a microsecond is cut off, as in PostgreSQL.
    Timestamp(Timestamp),
    /// JSON, as its text. SQLite stores it so.
    Json(String),
    /// A list, for a parameter of an array type, as in `WHERE id = ANY($1)`. PostgreSQL only.
    Array(Vec<Param>),
    /// A value that could not be turned into a parameter, and why. The statement fails with
    /// [`Error::Parameters`](crate::Error::Parameters) before it runs.
    Unfit(&'static str),
}

impl Param {
    /// What kind of value this is, for messages; never the value.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Bool(_) => "BOOLEAN",
            Self::Integer(_) => "INTEGER",
            Self::Real(_) => "REAL",
            Self::Text(_) => "TEXT",
            Self::Bytes(_) => "BLOB",
            Self::Uuid(_) => "UUID",
            Self::Timestamp(_) => "TIMESTAMP",
            Self::Json(_) => "JSON",
            Self::Array(_) => "a list",
            Self::Unfit(_) => "unfit",
        }
    }
}

/// Prints the kind only: values of statements do not belong in logs.
impl std::fmt::Debug for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

/// The values of a statement, in the order `$1`, `$2`, …; made by [`params!`](crate::params).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(Vec<Param>);

impl Params {
    /// No values.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds one more, for statements whose text is put together at run time. Returns its number: 1 for `$1`.
    pub fn push(&mut self, value: &(impl ToParam + ?Sized)) -> usize {
        self.0.push(value.to_param());
        self.0.len()
    }

    /// The values.
    #[must_use]
    pub fn as_slice(&self) -> &[Param] {
        &self.0
    }
}

impl From<Vec<Param>> for Params {
    fn from(values: Vec<Param>) -> Self {
        Self(values)
    }
}

impl FromIterator<Param> for Params {
    fn from_iter<I: IntoIterator<Item = Param>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The values for `$1`, `$2`, … of a statement. Takes references, so nothing is moved.
///
/// ```
/// use covet_data::{Params, params};
///
/// let name = String::from("Ada");
/// let age: Option<i64> = None;
/// let values: Params = params![name, 7, age];
/// assert_eq!(values.as_slice().len(), 3);
/// assert_eq!(params![], Params::none());
/// ```
#[macro_export]
macro_rules! params {
    () => { $crate::Params::none() };
    ($($value:expr),+ $(,)?) => {
        $crate::Params::from(::std::vec![$($crate::ToParam::to_param(&$value)),+])
    };
}

/// A type whose values can be parameters. Newtypes and enums say in one line how:
///
/// ```
/// use covet_data::{Param, ToParam};
///
/// struct UserId(i64);
/// impl ToParam for UserId {
///     fn to_param(&self) -> Param {
///         self.0.to_param()
///     }
/// }
///
/// enum Role { Member, Admin }
/// impl ToParam for Role {
///     fn to_param(&self) -> Param {
///         match self { Role::Member => "member", Role::Admin => "admin" }.to_param()
///     }
/// }
/// ```
pub trait ToParam {
    /// The value to bind.
    fn to_param(&self) -> Param;
}

impl ToParam for Param {
    fn to_param(&self) -> Param {
        self.clone()
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    fn to_param(&self) -> Param {
        (**self).to_param()
    }
}

impl<T: ToParam> ToParam for Option<T> {
    fn to_param(&self) -> Param {
        self.as_ref().map_or(Param::Null, ToParam::to_param)
    }
}

macro_rules! to_param {
    ($($type:ty, $value:ident => $param:expr;)*) => {$(
        impl ToParam for $type {
            fn to_param(&self) -> Param {
                let $value = self;
                $param
            }
        }
    )*};
}

to_param! {
    bool, value => Param::Bool(*value);
    i8, value => Param::Integer(i64::from(*value));
    i16, value => Param::Integer(i64::from(*value));
    i32, value => Param::Integer(i64::from(*value));
    i64, value => Param::Integer(*value);
    u8, value => Param::Integer(i64::from(*value));
    u16, value => Param::Integer(i64::from(*value));
    u32, value => Param::Integer(i64::from(*value));
    f32, value => Param::Real(f64::from(*value));
    f64, value => Param::Real(*value);
    str, value => Param::Text(value.to_owned());
    String, value => Param::Text(value.clone());
    std::borrow::Cow<'_, str>, value => Param::Text(value.clone().into_owned());
    [u8], value => Param::Bytes(value.to_vec());
    Vec<u8>, value => Param::Bytes(value.clone());
    Uuid, value => Param::Uuid(*value);
    Timestamp, value => Param::Timestamp(*value);
    Value, value => Param::Json(value.to_string());
    Date, value => Param::Text(value.to_string());
    Time, value => Param::Text(value.to_string());
    DateTime, value => Param::Text(value.to_string());
    Span, value => Param::Text(value.to_string());
    IpAddr, value => Param::Text(value.to_string());
}

#[cfg(feature = "rust_decimal")]
to_param! {
    rust_decimal::Decimal, value => Param::Text(value.to_string());
}

#[cfg(feature = "chrono")]
to_param! {
    chrono::NaiveDate, value => Param::Text(value.to_string());
    chrono::NaiveTime, value => Param::Text(value.to_string());
    // With a T between date and time, as SQLite's functions and jiff write it.
    chrono::NaiveDateTime, value => Param::Text(format!("{value:?}"));
}

#[cfg(feature = "chrono")]
impl<Z: chrono::TimeZone> ToParam for chrono::DateTime<Z> {
    fn to_param(&self) -> Param {
        let instant = Timestamp::from_microsecond(self.timestamp_micros());
        instant.map_or(Param::Unfit("it is outside of the years -9999 to 9999"), Param::Timestamp)
    }
}

/// A type whose lists can be parameters: `params![ids]` with a `Vec` or slice of them. Every type that is a parameter
/// itself, but bytes (a list of those is one value). For newtypes and enums of one's own: `impl Element for UserId {}`.
pub trait Element: ToParam {}

macro_rules! elements {
    ($($type:ty)*) => {$(
        impl Element for $type {}
    )*};
}

elements! {
    bool i8 i16 i32 i64 u16 u32 f32 f64 str String std::borrow::Cow<'_, str> Uuid Timestamp Value Date Time DateTime
    Span IpAddr
}

#[cfg(feature = "rust_decimal")]
elements! { rust_decimal::Decimal }

#[cfg(feature = "chrono")]
elements! { chrono::NaiveDate chrono::NaiveTime chrono::NaiveDateTime }

#[cfg(feature = "chrono")]
impl<Z: chrono::TimeZone> Element for chrono::DateTime<Z> {}

impl<T: Element + ?Sized> Element for &T {}

impl<T: Element> Element for Option<T> {}

impl<T: Serialize> Element for Json<T> {}

impl<T: Element> ToParam for [T] {
    fn to_param(&self) -> Param {
        Param::Array(self.iter().map(ToParam::to_param).collect())
    }
}

impl<T: Element> ToParam for Vec<T> {
    fn to_param(&self) -> Param {
        self.as_slice().to_param()
    }
}

impl<const N: usize> ToParam for [u8; N] {
    fn to_param(&self) -> Param {
        Param::Bytes(self.to_vec())
    }
}

impl<T: Serialize> ToParam for Json<T> {
    fn to_param(&self) -> Param {
        serde_json::to_string(&self.0).map_or(Param::Unfit("it cannot be written as JSON"), Param::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_a_value() {
        let shown = format!("{:?}", params!["hunter2", 4711, Some(true), None::<i64>]);
        assert_eq!(shown, "Params([TEXT, INTEGER, BOOLEAN, NULL])");
    }

    #[test]
    fn params_borrow_and_leave_the_owner_whole() {
        let name = String::from("Ada");
        let first = params![name, &name, name.as_str()];
        assert_eq!(first.as_slice(), [Param::Text(name.clone()), Param::Text(name.clone()), Param::Text(name)]);
    }

    #[test]
    fn pushed_values_are_numbered_from_one() {
        let mut values = Params::none();
        assert_eq!(values.push("a"), 1);
        assert_eq!(values.push(&2_i64), 2);
    }
}
