//! One value as a serde deserialiser. The table of what goes into what is in `decode.rs`.

use std::fmt::Write as _;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Expected, IntoDeserializer, SeqAccess, Visitor};
use serde_json::de::{Deserializer as Parser, StrRead};

use super::types::{Form, PgType};
use super::value::array::{Array, Item};
use super::value::text::ShortText;
use super::value::time::Unwritable;
use super::value::{Malformed, interval, network, numeric, time};
use crate::decode::{Bytes, Refusal, json};

const JSON: &str = "JSON of the type asked for";

#[derive(Clone, Copy)]
pub(crate) struct ValueDeserializer<'a> {
    of: &'a PgType,
    /// `None` is `NULL`.
    raw: Option<&'a [u8]>,
    /// Note what each visitor expects before asking it. Costs a `String` a value, so it is done on a second pass,
    /// after the first has failed.
    diagnose: bool,
}

impl<'a> ValueDeserializer<'a> {
    pub(super) fn new(of: &'a PgType, raw: Option<&'a [u8]>, diagnose: bool) -> Self {
        Self { of, raw, diagnose }
    }

    /// Refuses the value, and says what would have been taken.
    fn refuse(self, expected: impl Into<String>) -> Refusal {
        let (name, expected) = (&self.of.name, expected.into());
        match (self.raw, &self.of.form) {
            (None, _) => Refusal::new(format!("NULL ({name})"), format!("{expected} (only an Option takes NULL)")),
            (_, Form::Other) => Refusal::new(
                format!("{name}, which has no Rust type"),
                format!("{expected}; CAST(… AS TEXT) gives a String"),
            ),
            _ => Refusal::new(name.to_string(), expected),
        }
    }

    fn malformed(self) -> Refusal {
        Refusal::new(format!("{} of an unknown form", self.of.name), "what PostgreSQL's manual says")
    }

    fn raw(self, expected: &str) -> Result<&'a [u8], Refusal> {
        self.raw.ok_or_else(|| self.refuse(expected))
    }

    fn give<V: Visitor<'a>>(
        self,
        visitor: V,
        give: impl FnOnce(V) -> Result<V::Value, Refusal>,
    ) -> Result<V::Value, Refusal> {
        if !self.diagnose {
            return give(visitor);
        }
        let expected = expectation(&visitor);
        give(visitor).map_err(|refusal| refusal.expected_if_unknown(|| expected))
    }

    /// A whole number; of a NUMERIC, if it is one.
    fn integer(self, expected: &str) -> Result<i128, Refusal> {
        let raw = self.raw(expected)?;
        let fixed = |number: Option<i128>| number.ok_or_else(|| self.malformed());
        match self.of.form {
            Form::Int2 => fixed(raw.try_into().ok().map(|raw| i16::from_be_bytes(raw).into())),
            Form::Int4 => fixed(raw.try_into().ok().map(|raw| i32::from_be_bytes(raw).into())),
            Form::Int8 => fixed(raw.try_into().ok().map(|raw| i64::from_be_bytes(raw).into())),
            Form::Unsigned4 => fixed(raw.try_into().ok().map(|raw| u32::from_be_bytes(raw).into())),
            Form::Unsigned8 => fixed(raw.try_into().ok().map(|raw| u64::from_be_bytes(raw).into())),
            Form::Numeric => match numeric::whole(raw) {
                Ok(Some(number)) => Ok(number),
                Ok(None) => Err(Refusal::new("NUMERIC that is no whole number in range", expected.to_owned())),
                Err(Malformed) => Err(self.malformed()),
            },
            _ => Err(self.refuse(expected)),
        }
    }

    fn real(self, expected: &str) -> Result<f64, Refusal> {
        let raw = self.raw(expected)?;
        match self.of.form {
            Form::Float4 => match raw.try_into() {
                Ok(raw) => Ok(f64::from(f32::from_be_bytes(raw))),
                Err(_) => Err(self.malformed()),
            },
            Form::Float8 => raw.try_into().map(f64::from_be_bytes).map_err(|_| self.malformed()),
            Form::Numeric => Err(self.refuse(format!(
                "{expected}, which cannot hold every NUMERIC exactly: take a decimal type, or CAST(… AS DOUBLE PRECISION)"
            ))),
            _ => Err(self.refuse(expected)),
        }
    }

    fn truth(self) -> Result<bool, Refusal> {
        match (&self.of.form, self.raw("bool")?) {
            (Form::Bool, [0]) => Ok(false),
            (Form::Bool, [_]) => Ok(true),
            _ => Err(self.refuse("bool")),
        }
    }

    fn utf8(self, raw: &'a [u8]) -> Result<&'a str, Refusal> {
        str::from_utf8(raw).map_err(|_| Refusal::new(format!("{} that is not UTF-8", self.of.name), "text"))
    }

    /// The text of JSON, if the column is that.
    fn json(self) -> Option<Result<&'a str, Refusal>> {
        match (&self.of.form, self.raw?) {
            (Form::Json, raw) | (Form::Jsonb, [1, raw @ ..]) => Some(self.utf8(raw)),
            (Form::Jsonb, _) => Some(Err(self.malformed())),
            _ => None,
        }
    }

    /// Writes what is sent in another form than as text. False: it has no text.
    fn write(self, raw: &[u8], out: &mut ShortText) -> Result<bool, Refusal> {
        let written = match self.of.form {
            Form::Numeric => numeric::write(raw, out).map_err(Into::into),
            Form::Date => time::day(raw, out),
            Form::Time => time::time(raw, out),
            Form::TimeTz => time::timetz(raw, out),
            Form::Timestamp => time::timestamp(raw, out),
            Form::TimestampTz => time::timestamptz(raw, out),
            Form::Interval => interval::write(raw, out),
            Form::Network => network::write_inet(raw, out).map_err(Into::into),
            Form::Mac => network::write_mac(raw, out).map_err(Into::into),
            Form::Uuid => write_uuid(raw, out).map_err(Into::into),
            _ => return Ok(false),
        };
        let name = &self.of.name;
        match written {
            Ok(()) => Ok(true),
            Err(Unwritable::Malformed) => Err(self.malformed()),
            Err(Unwritable::Infinite) => Err(Refusal::new(format!("infinity ({name})"), "a point in time")),
            Err(Unwritable::OutOfRange) => {
                Err(Refusal::new(format!("{name} outside of the years -9999 to 9999"), "a year in them"))
            }
        }
    }

    /// Hands over the value's text, whatever its type.
    fn give_text<V: Visitor<'a>>(self, raw: &'a [u8], visitor: V) -> Result<V::Value, Refusal> {
        if let Form::Text | Form::Enum = self.of.form {
            let text = self.utf8(raw)?;
            return self.give(visitor, |visitor| visitor.visit_str(text));
        }
        let mut text = ShortText::new();
        if self.write(raw, &mut text)? {
            return self.give(visitor, |visitor| visitor.visit_str(text.as_str()));
        }
        Err(self.refuse(expectation(&visitor)))
    }

    /// Structs, lists and objects: JSON where the column is JSON.
    fn composite<V: Visitor<'a>>(
        self,
        visitor: V,
        ask: impl FnOnce(&mut Parser<StrRead<'a>>, V) -> serde_json::Result<V::Value>,
    ) -> Result<V::Value, Refusal> {
        match self.json() {
            Some(text) => {
                let expected = if self.diagnose { expectation(&visitor) } else { String::new() };
                json::parse(text?, expected, |parser| ask(parser, visitor))
            }
            None if matches!(self.of.form, Form::Text) && self.raw.is_some() => {
                Err(self.refuse(format!("{}; if it is JSON, ask for covet_data::Json", expectation(&visitor))))
            }
            None => Err(self.refuse(expectation(&visitor))),
        }
    }

    fn elements(self, element: &'a PgType) -> Result<Elements<'a>, Refusal> {
        let raw = self.raw("a list")?;
        let array = Array::parse(raw).map_err(|Malformed| self.malformed())?;
        Ok(Elements { of: self.of, element, array, diagnose: self.diagnose })
    }
}

fn expectation<'de, V: Visitor<'de>>(visitor: &V) -> String {
    (visitor as &dyn Expected).to_string()
}

fn write_uuid(raw: &[u8], out: &mut ShortText) -> Result<(), Malformed> {
    let id = uuid::Uuid::from_slice(raw).map_err(|_| Malformed)?;
    let mut text = uuid::Uuid::encode_buffer();
    out.write_str(id.hyphenated().encode_lower(&mut text)).map_err(|_| Malformed)
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let expected = stringify!($type);
            match $type::try_from(self.integer(expected)?) {
                Ok(number) => self.give(visitor, |visitor| visitor.$visit(number)),
                Err(_) => Err(Refusal::new(format!("{} that is out of range", self.of.name), expected)),
            }
        }
    )*};
}

impl<'a> Deserializer<'a> for ValueDeserializer<'a> {
    type Error = Refusal;

    integers! {
        deserialize_i8 visit_i8 i8 deserialize_i16 visit_i16 i16 deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64 deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8 deserialize_u16 visit_u16 u16 deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64 deserialize_u128 visit_u128 u128
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if let Some(text) = self.json() {
            return json::parse(text?, JSON, |parser| parser.deserialize_any(visitor));
        }
        let Some(raw) = self.raw else {
            let expected = if self.diagnose { expectation(&visitor) } else { String::new() };
            return visitor.visit_unit().map_err(|_: Refusal| self.refuse(expected));
        };
        match &self.of.form {
            Form::Bool => self.deserialize_bool(visitor),
            Form::Int2 | Form::Int4 | Form::Int8 => self.deserialize_i64(visitor),
            Form::Unsigned4 | Form::Unsigned8 => self.deserialize_u64(visitor),
            Form::Float4 | Form::Float8 => self.deserialize_f64(visitor),
            Form::Bytes => self.give(visitor, |visitor| visitor.visit_bytes(raw)),
            Form::Array(element) => {
                let elements = self.elements(element)?;
                self.give(visitor, |visitor| visitor.visit_seq(elements))
            }
            Form::Void => self.give(visitor, Visitor::visit_unit),
            _ => self.give_text(raw, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let truth = self.truth()?;
        self.give(visitor, |visitor| visitor.visit_bool(truth))
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let value = self.real("f32")?;
        #[expect(clippy::cast_possible_truncation, reason = "whether something is lost is looked at next")]
        let narrow = value as f32;
        if f64::from(narrow) == value || value.is_nan() {
            self.give(visitor, |visitor| visitor.visit_f32(narrow))
        } else {
            Err(self.refuse("f32, which cannot hold this value exactly (f64 can)"))
        }
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let value = self.real("f64")?;
        self.give(visitor, |visitor| visitor.visit_f64(value))
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_string(visitor)
    }

    /// Asked for by types that parse text: uuid, jiff, decimals, addresses.
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.raw {
            Some(raw) => self.give_text(raw, visitor),
            None => Err(self.refuse(expectation(&visitor))),
        }
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let raw = self.raw("String")?;
        match self.of.form {
            Form::Text | Form::Enum => self.give_text(raw, visitor),
            Form::Bytes
            | Form::Bool
            | Form::Int2
            | Form::Int4
            | Form::Int8
            | Form::Float4
            | Form::Float8
            | Form::Unsigned4
            | Form::Unsigned8
            | Form::Array(_)
            | Form::Void
            | Form::Other => Err(self.refuse("String")),
            _ => Err(self.refuse("its own type; CAST(… AS TEXT) gives a String")),
        }
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match (&self.of.form, self.raw) {
            (Form::Bytes, Some(raw)) => self.give(visitor, |visitor| visitor.visit_bytes(raw)),
            _ => Err(self.refuse("bytes")),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.raw {
            None => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.of.form {
            Form::Void => visitor.visit_unit(),
            _ => Err(self.refuse("a type that holds something")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        if name != crate::json::MARKER {
            return visitor.visit_newtype_struct(self);
        }
        let text = match self.json() {
            Some(text) => text?,
            None if matches!(self.of.form, Form::Text) => self.utf8(self.raw(JSON)?)?,
            None => return Err(self.refuse(JSON)),
        };
        json::parse(text, JSON, |parser| visitor.visit_newtype_struct(parser))
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match (&self.of.form, self.raw) {
            (Form::Bytes, Some(raw)) => self.give(visitor, |visitor| visitor.visit_seq(Bytes(raw.iter()))),
            (Form::Array(element), Some(_)) => {
                let elements = self.elements(element)?;
                self.give(visitor, |visitor| visitor.visit_seq(elements))
            }
            _ => self.composite(visitor, |parser, visitor| parser.deserialize_seq(visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        match (&self.of.form, self.raw) {
            (Form::Bytes, Some(raw)) if raw.len() == len => {
                self.give(visitor, |visitor| visitor.visit_seq(Bytes(raw.iter())))
            }
            (Form::Bytes, Some(raw)) => {
                Err(Refusal::new(format!("BYTEA of {} bytes", raw.len()), format!("{len} bytes")))
            }
            (Form::Array(element), Some(_)) => {
                let elements = self.elements(element)?;
                let found = elements.array.len();
                if found != len {
                    let found = format!("{} of {found} elements", self.of.name);
                    return Err(Refusal::new(found, format!("{len} elements")));
                }
                self.give(visitor, |visitor| visitor.visit_seq(elements))
            }
            _ => self.composite(visitor, |parser, visitor| parser.deserialize_tuple(len, visitor)),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.composite(visitor, |parser, visitor| parser.deserialize_tuple_struct(name, len, visitor))
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.composite(visitor, |parser, visitor| parser.deserialize_map(visitor))
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.composite(visitor, |parser, visitor| parser.deserialize_struct(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match (&self.of.form, self.raw) {
            (Form::Json | Form::Jsonb, Some(_)) => {
                self.composite(visitor, |parser, visitor| parser.deserialize_enum(name, variants, visitor))
            }
            (Form::Text | Form::Enum, Some(raw)) => {
                let variant: StrDeserializer<'_, Refusal> = self.utf8(raw)?.into_deserializer();
                self.give(visitor, |visitor| visitor.visit_enum(variant))
            }
            _ => Err(self.refuse(format!("one of {}", variants.join(", ")))),
        }
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }
}

/// The elements of an array; of one with several dimensions, its rows.
struct Elements<'a> {
    of: &'a PgType,
    element: &'a PgType,
    array: Array<'a>,
    diagnose: bool,
}

impl<'a> SeqAccess<'a> for Elements<'a> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        let whole = ValueDeserializer::new(self.of, Some(&[]), self.diagnose);
        let item = self.array.next().map_err(|Malformed| whole.malformed())?;
        match item {
            None => Ok(None),
            Some(Item::Element(raw)) => {
                seed.deserialize(ValueDeserializer::new(self.element, raw, self.diagnose)).map(Some)
            }
            Some(Item::Row(array)) => seed.deserialize(RowOfArray(Self { array, ..*self })).map(Some),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.array.len())
    }
}

/// A row of an array with several dimensions: a list, and nothing else.
struct RowOfArray<'a>(Elements<'a>);

impl<'de> Deserializer<'de> for RowOfArray<'de> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_seq(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
