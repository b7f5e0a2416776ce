//! What an entry is in Redis.
//!
//! ```text
//! byte 0       1: the version of this layout
//! bytes 1-4    the version of the keyspace, little endian
//! byte 5       1: a value, 0: the note that there is none
//! byte 6       n: how many tags
//! 8 × n bytes  the generation of each tag when the value was loaded, little endian, in the order of the key's tags
//! the rest     the value, MessagePack with the names of fields
//! ```
//!
//! Two releases share one Redis while one replaces the other, so nothing here may fail: an entry of another layout, of
//! another version or with other bytes is a miss.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the layout.
const LAYOUT: u8 = 1;
const HEADER: usize = 7;

/// Most tags of a key.
const MAX_TAGS: usize = u8::MAX as usize;

/// What can be cached: anything that serde reads and writes. Not text with `#[serde(skip)]`ped fields that matter, and not
/// what changes inside.
pub trait Cacheable: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Cacheable for T {}

/// The generations of a key's tags.
pub(crate) type Generations = Box<[u64]>;

/// An entry as it was read.
#[derive(Debug, PartialEq)]
pub(crate) enum Decoded<T> {
    Value(T),
    /// There is nothing, and that is known.
    Nothing,
    /// A tag has been invalidated since.
    Outdated,
    /// Of another release, or of somebody else.
    Unreadable,
}

/// Encodes a value, or that there is none.
///
/// # Errors
/// What the value's `Serialize` says.
pub(crate) fn encode<T: Serialize>(
    version: u32,
    generations: &[u64],
    value: Option<&T>,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let tags = u8::try_from(generations.len())
        .map_err(|_| rmp_serde::encode::Error::Syntax(format!("its key has more than {MAX_TAGS} tags")))?;
    let mut bytes = Vec::with_capacity(HEADER + generations.len() * 8 + 128);
    bytes.push(LAYOUT);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.push(u8::from(value.is_some()));
    bytes.push(tags);
    for generation in generations {
        bytes.extend_from_slice(&generation.to_le_bytes());
    }
    if let Some(value) = value {
        write(&mut bytes, value)?;
    }
    Ok(bytes)
}

/// Size of a value without its header, without keeping it.
///
/// # Errors
/// What the value's `Serialize` says.
pub(crate) fn encoded_size<T: Serialize>(value: &T) -> Result<usize, rmp_serde::encode::Error> {
    let mut size = Size(0);
    write(&mut size, value)?;
    Ok(size.0)
}

fn write<T: Serialize>(to: &mut impl Write, value: &T) -> Result<(), rmp_serde::encode::Error> {
    value.serialize(&mut rmp_serde::Serializer::new(to).with_struct_map())
}

/// Reads an entry whose tags have these generations now. `None` as a generation: the tag has none.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], version: u32, now: &[Option<u64>]) -> Decoded<T> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Decoded::Unreadable };
    let [layout, v0, v1, v2, v3, kind, tags] = *header;
    if layout != LAYOUT || u32::from_le_bytes([v0, v1, v2, v3]) != version {
        return Decoded::Unreadable;
    }
    let Some((generations, value)) = rest.split_at_checked(usize::from(tags) * 8) else { return Decoded::Unreadable };
    let (generations, _) = generations.as_chunks::<8>();
    if !generations.iter().map(|bytes| Some(u64::from_le_bytes(*bytes))).eq(now.iter().copied()) {
        return Decoded::Outdated;
    }
    match kind {
        0 => Decoded::Nothing,
        1 => rmp_serde::from_slice(value).map_or(Decoded::Unreadable, Decoded::Value),
        _ => Decoded::Unreadable,
    }
}

/// Counts what is written.
struct Size(usize);

impl Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        id: u64,
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        id: u64,
        name: String,
        #[serde(default)]
        colour: Option<String>,
    }

    fn old() -> Old {
        Old { id: 7, name: "ada".into() }
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = encode(3, &[1, u64::MAX], Some(&old())).unwrap();
        assert_eq!(decode(&bytes, 3, &[Some(1), Some(u64::MAX)]), Decoded::Value(old()));
        let nothing = encode::<Old>(3, &[1], None).unwrap();
        assert_eq!(decode::<Old>(&nothing, 3, &[Some(1)]), Decoded::Nothing);
    }

    #[test]
    fn releases_read_each_others_values_when_only_a_field_with_a_default_was_added() {
        let bytes = encode(1, &[], Some(&old())).unwrap();
        assert_eq!(decode(&bytes, 1, &[]), Decoded::Value(New { id: 7, name: "ada".into(), colour: None }));
        let new = New { id: 7, name: "ada".into(), colour: Some("red".into()) };
        assert_eq!(decode(&encode(1, &[], Some(&new)).unwrap(), 1, &[]), Decoded::Value(old()));
    }

    #[test]
    fn another_generation_or_none_or_other_tags_are_outdated() {
        let bytes = encode(1, &[5, 6], Some(&old())).unwrap();
        for now in [&[Some(5), Some(7)][..], &[Some(5), None], &[None, None], &[Some(5)], &[], &[Some(6), Some(5)]] {
            assert_eq!(decode::<Old>(&bytes, 1, now), Decoded::Outdated, "{now:?}");
        }
    }

    #[test]
    fn whatever_else_lies_there_is_a_miss_and_not_an_error() {
        let good = encode(1, &[5], Some(&old())).unwrap();
        for length in 0..good.len() {
            let cut = decode::<Old>(&good[..length], 1, &[Some(5)]);
            assert!(matches!(cut, Decoded::Unreadable | Decoded::Outdated), "{length}: {cut:?}");
        }
        let mut newer = good.clone();
        newer[0] = LAYOUT + 1;
        assert_eq!(decode::<Old>(&newer, 1, &[Some(5)]), Decoded::Unreadable);
        assert_eq!(decode::<Old>(&good, 2, &[Some(5)]), Decoded::Unreadable);
        assert_eq!(decode::<u64>(&good, 1, &[Some(5)]), Decoded::Unreadable);
        assert_eq!(decode::<Old>(b"{\"id\":7}", 1, &[]), Decoded::Unreadable);
    }

    #[test]
    fn the_size_is_that_of_the_encoded_value() {
        let value = vec!["x".repeat(100), "y".repeat(1000)];
        let bytes = encode(1, &[], Some(&value)).unwrap();
        assert_eq!(encoded_size(&value).unwrap(), bytes.len() - HEADER);
    }
}
