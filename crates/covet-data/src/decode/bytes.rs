//! A BLOB as a list of bytes. Serde asks for `Vec<u8>` and `[u8; N]` as for any list; only bytes may come of it.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::refusal::Refusal;

pub(crate) struct Bytes<'a>(pub(crate) std::slice::Iter<'a, u8>);

impl<'de> SeqAccess<'de> for Bytes<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        self.0.next().map(|byte| seed.deserialize(Byte(*byte))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Byte(u8);

impl<'de> Deserializer<'de> for Byte {
    type Error = Refusal;

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_u8(self.0)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Refusal> {
        Err(Refusal::new("BLOB", "a list that is not made of bytes"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
