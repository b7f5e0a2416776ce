//! A whole row as a serde deserialiser: structs by name, tuples by position, anything else from a single column.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::columns::{Columns, Named};
use super::refusal::{Refusal, RowMismatch};

/// The row a driver stands on, value by value.
pub(crate) trait Cells {
    type Column: Named;
    type Value<'a>: Deserializer<'a, Error = Refusal>
    where
        Self: 'a;

    /// A value. To `diagnose` is to note what the Rust type expects, which costs a `String` a value.
    fn value<'a>(&'a self, index: usize, column: &'a Self::Column, diagnose: bool) -> Result<Self::Value<'a>, Refusal>;

    fn is_null(&self, index: usize) -> Result<bool, Refusal>;
}

/// Makes a `T` of the row.
pub(crate) fn row<T: DeserializeOwned, C: Cells>(
    columns: &Columns<C::Column>,
    cells: &C,
) -> Result<T, Box<RowMismatch>> {
    let attempt = |diagnose, any| T::deserialize(RowDeserializer { columns, cells, diagnose, any });
    attempt(false, Any::Row).or_else(|first: Refusal| {
        // A type that takes anything, such as a decimal, is asked with the row first. If it wants no row, then perhaps
        // the only column.
        if columns.list.len() == 1
            && let Ok(value) = attempt(false, Any::Column)
        {
            return Ok(value);
        }
        // Another pass finds what the first did not stop to note: what the refusing type had expected.
        let any = if first.is_of_whole_row() && columns.list.len() == 1 { Any::Column } else { Any::Row };
        attempt(true, any).map_err(|refusal| Box::new(name_the_only_column(refusal, columns).into_mismatch::<T>()))
    })
}

/// What a type gets that takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Any {
    Row,
    Column,
}

/// A newtype that checks its value (`#[serde(try_from = …)]`) refuses after the column was read.
fn name_the_only_column<C: Named>(refusal: Refusal, columns: &Columns<C>) -> Refusal {
    match &*columns.list {
        [column] if refusal.gives_no_reason() => refusal.in_column(column),
        _ => refusal,
    }
}

struct RowDeserializer<'a, C: Cells> {
    columns: &'a Columns<C::Column>,
    cells: &'a C,
    diagnose: bool,
    any: Any,
}

impl<C: Cells> Clone for RowDeserializer<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Cells> Copy for RowDeserializer<'_, C> {}

impl<'a, C: Cells> RowDeserializer<'a, C> {
    /// Hands a value to `ask`; an error of either names the column.
    fn value<R>(
        self,
        index: usize,
        column: &'a C::Column,
        ask: impl FnOnce(C::Value<'a>) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let value = self.cells.value(index, column, self.diagnose);
        value.and_then(ask).map_err(|refusal| refusal.in_column(column))
    }

    /// The only column, for scalars.
    fn single<R>(self, ask: impl FnOnce(C::Value<'a>) -> Result<R, Refusal>) -> Result<R, Refusal> {
        match &*self.columns.list {
            [column] => self.value(0, column, ask),
            columns => {
                Err(Refusal::new(format!("{} columns ({})", columns.len(), self.columns.names()), "exactly one column"))
            }
        }
    }

    fn by_name(self) -> Result<ByName<'a, C>, Refusal> {
        match &self.columns.doubled {
            None => Ok(ByName { row: self, next: 0 }),
            Some(name) => {
                Err(Refusal::new("this name twice", "each name once (rename one with AS)").in_column_named(name))
            }
        }
    }

    fn has(self, position: usize, field: &str) -> bool {
        let columns = &self.columns.list;
        // Most structs list their fields in the order of the columns.
        columns.get(position).is_some_and(|column| column.name() == field)
            || columns.iter().any(|column| column.name() == field)
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.single(|column| column.$method(visitor))
        }
    )*};
}

impl<'a, C: Cells> Deserializer<'a> for RowDeserializer<'a, C> {
    type Error = Refusal;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_unit deserialize_seq deserialize_identifier
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let null = self.single(|_| self.cells.is_null(0))?;
        if null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.any {
            Any::Row => self.deserialize_map(visitor),
            Any::Column => self.single(|column| column.deserialize_any(visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_map(self.by_name()?)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        // Serde would quietly make None of an Option without a column.
        if let Some((_, field)) = fields.iter().enumerate().find(|(position, field)| !self.has(*position, field)) {
            let found = format!("no such column, only {}", self.columns.names());
            return Err(Refusal::new(found, "a column for each field").in_column_named(field));
        }
        visitor.visit_map(self.by_name()?)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        match self.columns.list.len() {
            columns if columns == len => visitor.visit_seq(ByPosition { row: self, next: 0 }),
            1 => self.single(|column| column.deserialize_tuple(len, visitor)),
            columns => Err(Refusal::new(
                format!("{columns} columns ({})", self.columns.names()),
                format!("exactly {len} columns"),
            )),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        if name == crate::json::MARKER {
            return self.single(|column| column.deserialize_newtype_struct(name, visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.single(|column| column.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }
}

struct ByName<'a, C: Cells> {
    row: RowDeserializer<'a, C>,
    next: usize,
}

impl<'a, C: Cells> MapAccess<'a> for ByName<'a, C> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some(column) = self.row.columns.list.get(self.next) else { return Ok(None) };
        let name: StrDeserializer<'_, Refusal> = column.name().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let (index, column) = (self.next, &self.row.columns.list[self.next]);
        self.next += 1;
        self.row.value(index, column, |value| seed.deserialize(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.row.columns.list.len() - self.next)
    }
}

struct ByPosition<'a, C: Cells> {
    row: RowDeserializer<'a, C>,
    next: usize,
}

impl<'a, C: Cells> SeqAccess<'a> for ByPosition<'a, C> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        let index = self.next;
        let Some(column) = self.row.columns.list.get(index) else { return Ok(None) };
        self.next += 1;
        self.row.value(index, column, |value| seed.deserialize(value)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.row.columns.list.len() - self.next)
    }
}
