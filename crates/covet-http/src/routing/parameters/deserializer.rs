//! Serde's view of path parameters: one value, several in order, or several by name.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Why parameters did not become a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ParameterError {
    /// The client's path: it names nothing that exists.
    Value(String),
    /// The handler's declaration does not fit its path.
    Declaration(String),
}

impl ParameterError {
    pub(super) fn declaration(reason: impl Display) -> Self {
        Self::Declaration(reason.to_string())
    }
}

impl Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Value(reason) | Self::Declaration(reason)) = self;
        f.write_str(reason)
    }
}

impl std::error::Error for ParameterError {}

impl de::Error for ParameterError {
    fn custom<T: Display>(reason: T) -> Self {
        Self::Value(reason.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::declaration(format_args!("the path has no parameter {{{field}}}"))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::declaration(format_args!("the path has {length} parameters, the handler wants {expected}"))
    }
}

/// All parameters of a path.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'de> {
    pub(super) names: &'static [Box<str>],
    /// As they stand in the path, still encoded.
    pub(super) values: &'de [&'de str],
}

impl<'de> Parameters<'de> {
    fn all(self) -> impl Iterator<Item = (&'static str, Parameter<'de>)> {
        let names = self.names.iter().map(AsRef::as_ref);
        names.zip(self.values).map(|(name, text)| (name, Parameter { name, text }))
    }

    fn only(self) -> Result<Parameter<'de>, ParameterError> {
        let mut all = self.all();
        match (all.next(), all.next()) {
            (Some((_, parameter)), None) => Ok(parameter),
            _ => Err(de::Error::invalid_length(self.values.len(), &"one")),
        }
    }
}

macro_rules! the_only_one {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
                self.only()?.$method(visitor)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = ParameterError;

    the_only_one! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_identifier
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_seq(SeqDeserializer::new(self.all().map(|(_, parameter)| parameter)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, ParameterError> {
        if self.values.len() < length {
            return Err(de::Error::invalid_length(self.values.len(), &visitor));
        }
        visitor.visit_seq(SeqDeserializer::new(self.all().map(|(_, parameter)| parameter)))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_map(MapDeserializer::new(self.all()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        self.deserialize_map(visitor)
    }
}

/// One parameter.
#[derive(Clone, Copy)]
struct Parameter<'de> {
    name: &'static str,
    text: &'de str,
}

impl<'de> Parameter<'de> {
    fn decoded(self) -> Result<Cow<'de, str>, ParameterError> {
        let decoded = percent_decode_str(self.text).decode_utf8();
        decoded.map_err(|_| ParameterError::Value(format!("{} is not UTF-8.", self.name)))
    }

    fn parse<T: FromStr>(self) -> Result<T, ParameterError> {
        let text = self.decoded()?;
        text.parse().map_err(|_| self.refused(format_args!("is no {}", std::any::type_name::<T>())))
    }

    fn refused(self, reason: impl Display) -> ParameterError {
        ParameterError::Value(format!("The path's {} {reason}: {:?}.", self.name, self.text))
    }
}

impl<'de> IntoDeserializer<'de, ParameterError> for Parameter<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
                visitor.$visit(self.parse()?)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Parameter<'de> {
    type Error = ParameterError;

    parsed! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_i128 visit_i128
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_u128 visit_u128
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
        deserialize_char visit_char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        let read: Result<V::Value, ParameterError> = match self.decoded()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        };
        // What a type's own parsing says does not name the parameter.
        read.map_err(|error| self.refused(format_args!("is not accepted ({error})")))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Parameter<'de> {
    type Error = ParameterError;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, UnitOnly), ParameterError> {
        seed.deserialize(self).map(|variant| (variant, UnitOnly))
    }
}

/// A path names a variant; it cannot fill one.
struct UnitOnly;

impl UnitOnly {
    fn refused<T>() -> Result<T, ParameterError> {
        Err(ParameterError::declaration("a path parameter can be an enum of plain variants only"))
    }
}

impl<'de> VariantAccess<'de> for UnitOnly {
    type Error = ParameterError;

    fn unit_variant(self) -> Result<(), ParameterError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ParameterError> {
        Self::refused()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ParameterError> {
        Self::refused()
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, ParameterError> {
        Self::refused()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::IpAddr;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;

    fn read<T: DeserializeOwned>(pairs: &[(&str, &str)]) -> Result<T, ParameterError> {
        let names: Vec<Box<str>> = pairs.iter().map(|(name, _)| (*name).into()).collect();
        let values: Vec<&str> = pairs.iter().map(|(_, value)| *value).collect();
        T::deserialize(Parameters { names: Vec::leak(names), values: &values })
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Id(u32);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct File {
        owner: Id,
        colour: Colour,
        name: String,
    }

    #[test]
    fn one_value_several_in_order_and_several_by_name() {
        assert_eq!(read(&[("id", "42")]), Ok(42_u64));
        assert_eq!(read(&[("id", "-4")]), Ok(-4_i8));
        assert_eq!(read(&[("id", "42")]), Ok(Id(42)));
        assert_eq!(read(&[("id", "42")]), Ok((42_u16,)));
        assert_eq!(read(&[("on", "true"), ("x", "1.5")]), Ok((true, 1.5_f64)));
        assert_eq!(read(&[("colour", "green")]), Ok(Colour::Green));
        assert_eq!(read(&[("name", "a%20b%C3%A4")]), Ok("a bä".to_owned()));
        assert_eq!(read(&[("address", "::1")]), Ok(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        let file = read(&[("name", "x"), ("owner", "7"), ("colour", "red")]);
        assert_eq!(file, Ok(File { owner: Id(7), colour: Colour::Red, name: "x".to_owned() }));
        let map: HashMap<String, String> = read(&[("a", "1"), ("b", "2")]).unwrap();
        assert_eq!((map["a"].as_str(), map["b"].as_str()), ("1", "2"));
        assert_eq!(read(&[("a", "1"), ("b", "2")]), Ok(vec![1_u8, 2]));
        assert_eq!(read::<()>(&[("a", "1")]), Ok(()));
    }

    fn is_clients<T: DeserializeOwned + fmt::Debug>(pairs: &[(&str, &str)], says: &str) {
        let error = read::<T>(pairs).unwrap_err();
        assert!(matches!(&error, ParameterError::Value(reason) if reason.contains(says)), "{error:?}");
    }

    #[test]
    fn a_value_that_does_not_fit_is_the_clients() {
        is_clients::<u64>(&[("id", "abc")], "The path's id is no u64: \"abc\".");
        is_clients::<u8>(&[("id", "256")], "is no u8");
        is_clients::<String>(&[("name", "%FF")], "name is not UTF-8");
        is_clients::<Colour>(&[("colour", "blue")], "unknown variant `blue`");
        is_clients::<IpAddr>(&[("address", "12")], "The path's address is not accepted");
        is_clients::<(u8, u8)>(&[("a", "1"), ("b", "x")], "The path's b is no u8");
        is_clients::<File>(&[("name", "x"), ("owner", "?"), ("colour", "red")], "The path's owner");
    }

    #[test]
    fn a_declaration_that_does_not_fit_its_path_is_ours() {
        let ours = |error| assert!(matches!(error, ParameterError::Declaration(_)), "{error:?}");
        ours(read::<u64>(&[("a", "1"), ("b", "2")]).unwrap_err());
        ours(read::<(u8, u8)>(&[("a", "1")]).unwrap_err());
        ours(read::<File>(&[("name", "x")]).unwrap_err());
    }
}
