//! One column as a serde deserialiser. The table of what goes into what is in `decode.rs`.

use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, Expected, IntoDeserializer, Visitor};
use serde_json::de::{Deserializer as Parser, StrRead};

use super::cell::{Cell, Column, Declared};
use crate::decode::{Bytes, Refusal, json};

const JSON: &str = "JSON of the type asked for";

#[derive(Clone, Copy)]
pub(crate) struct ColumnDeserializer<'a> {
    pub(super) column: &'a Column,
    pub(super) cell: Cell<'a>,
    /// Note what each visitor expects before asking it. Costs a `String` a column, so it is done on a second pass,
    /// after the first has failed.
    pub(super) diagnose: bool,
}

impl<'a> ColumnDeserializer<'a> {
    /// Refuses the cell, and says what would have been taken.
    fn refuse(self, expected: &str) -> Refusal {
        let expected = match self.cell {
            Cell::Null => format!("{expected} (only an Option takes NULL)"),
            _ => expected.to_owned(),
        };
        Refusal::new(self.column.found(self.cell), expected)
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

    fn integer<V: Visitor<'a>>(self, expected: &str, visitor: V) -> Result<V::Value, Refusal> {
        match (self.cell, self.column.declared) {
            (Cell::Integer(_), Declared::Boolean | Declared::Json) => Err(self.refuse(expected)),
            (Cell::Integer(value), _) => self.give(visitor, |visitor| visitor.visit_i64(value)),
            _ => Err(self.refuse(expected)),
        }
    }

    fn real(self, expected: &str) -> Result<f64, Refusal> {
        match (self.cell, self.column.declared) {
            (Cell::Real(_), Declared::Json) => Err(self.refuse(expected)),
            (Cell::Real(value), _) => Ok(value),
            // SQLite keeps 10.00 in a NUMERIC column as the integer 10. Up to 2^53 nothing is lost.
            (Cell::Integer(value), Declared::Numeric) if value.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS =>
            {
                #[expect(clippy::cast_precision_loss, reason = "checked above")]
                Ok(value as f64)
            }
            _ => Err(self.refuse(expected)),
        }
    }

    fn truth(self) -> Option<bool> {
        match (self.cell, self.column.declared) {
            (Cell::Integer(value @ 0..=1), Declared::Boolean | Declared::Nothing) => Some(value == 1),
            _ => None,
        }
    }

    /// Structs, lists and objects: JSON where JSON is declared.
    fn composite<V: Visitor<'a>>(
        self,
        visitor: V,
        ask: impl FnOnce(&mut Parser<StrRead<'a>>, V) -> serde_json::Result<V::Value>,
    ) -> Result<V::Value, Refusal> {
        match (self.cell, self.column.declared) {
            (Cell::Text(text), Declared::Json) => {
                let expected = if self.diagnose { expectation(&visitor) } else { String::new() };
                json::parse(text, expected, |parser| ask(parser, visitor))
            }
            (Cell::Text(_), _) => {
                Err(self.refuse(&format!("{}; if it is JSON, ask for covet_data::Json", expectation(&visitor))))
            }
            _ => Err(self.refuse(&expectation(&visitor))),
        }
    }
}

fn expectation<'de, V: Visitor<'de>>(visitor: &V) -> String {
    (visitor as &dyn Expected).to_string()
}

macro_rules! integers {
    ($($method:ident $name:literal)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.integer($name, visitor)
        }
    )*};
}

impl<'a> Deserializer<'a> for ColumnDeserializer<'a> {
    type Error = Refusal;

    integers! {
        deserialize_i8 "i8" deserialize_i16 "i16" deserialize_i32 "i32" deserialize_i64 "i64"
        deserialize_u8 "u8" deserialize_u16 "u16" deserialize_u32 "u32" deserialize_u64 "u64"
        deserialize_i128 "i128" deserialize_u128 "u128"
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if let (Cell::Text(text), Declared::Json) = (self.cell, self.column.declared) {
            return json::parse(text, JSON, |parser| parser.deserialize_any(visitor));
        }
        if self.column.declared == Declared::Boolean && !matches!(self.cell, Cell::Null) {
            return self.deserialize_bool(visitor);
        }
        self.give(visitor, |visitor| match self.cell {
            Cell::Null => visitor.visit_unit(),
            Cell::Integer(value) => visitor.visit_i64(value),
            Cell::Real(value) => visitor.visit_f64(value),
            Cell::Text(text) => visitor.visit_str(text),
            Cell::Blob(bytes) => visitor.visit_bytes(bytes),
        })
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.truth() {
            Some(truth) => self.give(visitor, |visitor| visitor.visit_bool(truth)),
            None => Err(self.refuse("bool: 0 or 1 in a column declared BOOLEAN")),
        }
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

    /// Asked for by types that parse text: uuid, jiff, decimals.
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match (self.cell, self.column.declared) {
            (Cell::Text(text), declared) if declared != Declared::Json => {
                self.give(visitor, |visitor| visitor.visit_str(text))
            }
            _ => Err(self.refuse(&expectation(&visitor))),
        }
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match (self.cell, self.column.declared) {
            (Cell::Text(_), Declared::ParsedText | Declared::Json) => {
                Err(self.refuse("its own type; CAST(… AS TEXT) gives a String"))
            }
            (Cell::Text(text), _) => self.give(visitor, |visitor| visitor.visit_str(text)),
            _ => Err(self.refuse("String")),
        }
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.cell {
            Cell::Blob(bytes) => self.give(visitor, |visitor| visitor.visit_bytes(bytes)),
            _ => Err(self.refuse("bytes")),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.cell {
            Cell::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, _visitor: V) -> Result<V::Value, Refusal> {
        Err(self.refuse("a type that holds something"))
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        if name != crate::json::MARKER {
            return visitor.visit_newtype_struct(self);
        }
        match self.cell {
            Cell::Text(text) => json::parse(text, JSON, |parser| visitor.visit_newtype_struct(parser)),
            // SQLite keeps a JSON number in a column of numeric affinity as a number.
            Cell::Integer(number) => visitor.visit_newtype_struct(number.into_deserializer()),
            Cell::Real(number) => visitor.visit_newtype_struct(number.into_deserializer()),
            Cell::Null | Cell::Blob(_) => Err(self.refuse(JSON)),
        }
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.cell {
            Cell::Blob(bytes) => self.give(visitor, |visitor| visitor.visit_seq(Bytes(bytes.iter()))),
            _ => self.composite(visitor, |parser, visitor| parser.deserialize_seq(visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        match self.cell {
            Cell::Blob(bytes) if bytes.len() == len => {
                self.give(visitor, |visitor| visitor.visit_seq(Bytes(bytes.iter())))
            }
            Cell::Blob(bytes) => Err(Refusal::new(format!("BLOB of {} bytes", bytes.len()), format!("{len} bytes"))),
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
        match (self.cell, self.column.declared) {
            (Cell::Text(_), Declared::Json) => {
                self.composite(visitor, |parser, visitor| parser.deserialize_enum(name, variants, visitor))
            }
            (Cell::Text(text), Declared::Plain | Declared::Nothing | Declared::Numeric) => {
                let variant: StrDeserializer<'_, Refusal> = text.into_deserializer();
                self.give(visitor, |visitor| visitor.visit_enum(variant))
            }
            _ => Err(self.refuse(&format!("one of {}", variants.join(", ")))),
        }
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }
}
