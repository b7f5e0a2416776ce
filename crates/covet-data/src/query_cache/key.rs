//! [`Key`]: what has the same result.

use std::any::TypeId;

use crate::{Param, Params};

use super::CachedQuery;

/// A query with its parameters, the type of its result, and the generation of its tables.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The address of a `static`: two queries have two.
    query: usize,
    output: TypeId,
    generation: u64,
    params: Vec<u8>,
}

impl Key {
    pub(super) fn new<T: 'static>(query: &'static CachedQuery, generation: u64, params: &Params) -> Self {
        let params = params.as_slice();
        // A number and its kind; longer ones have it grow.
        let mut bytes = Vec::with_capacity(params.len() * 9);
        params.iter().for_each(|param| put(&mut bytes, param));
        Self { query: std::ptr::from_ref(query).addr(), output: TypeId::of::<T>(), generation, params: bytes }
    }
}

/// Different values are different bytes, also in a row: each begins with its kind, and if need be with its length.
fn put(bytes: &mut Vec<u8>, param: &Param) {
    let mut value = |kind: u8, value: &[u8]| {
        bytes.push(kind);
        bytes.extend_from_slice(value);
    };
    match param {
        Param::Null => value(0, &[]),
        Param::Bool(truth) => value(1, &[u8::from(*truth)]),
        Param::Integer(number) => value(2, &number.to_le_bytes()),
        Param::Real(number) => value(3, &number.to_bits().to_le_bytes()),
        Param::Uuid(id) => value(4, id.as_bytes()),
        Param::Timestamp(time) => value(5, &time.as_nanosecond().to_le_bytes()),
        Param::Text(text) => with_length(bytes, 6, text.as_bytes()),
        Param::Bytes(content) => with_length(bytes, 7, content),
        Param::Json(text) => with_length(bytes, 8, text.as_bytes()),
        Param::Array(list) => {
            with_length(bytes, 9, &[]);
            list.iter().for_each(|param| put(bytes, param));
            bytes.push(10);
        }
        Param::Unfit(why) => with_length(bytes, 11, why.as_bytes()),
    }
}

fn with_length(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend_from_slice(&value.len().to_le_bytes());
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    static A: CachedQuery = CachedQuery::new("SELECT 1", &[]);
    static B: CachedQuery = CachedQuery::new("SELECT 1", &[]);

    #[test]
    fn what_may_differ_has_another_key() {
        let key = |params: Params| Key::new::<i64>(&A, 1, &params);
        let lists = |a: Vec<i64>, b: Vec<i64>| key(params![a, b]);
        let keys = [
            key(params![]),
            key(params![1]),
            key(params![1.0]),
            key(params![true]),
            key(params!["1"]),
            key(params!["1", ""]),
            key(params!["", "1"]),
            key(params![vec![1_u8]]),
            key(params![None::<i64>]),
            lists(vec![1], vec![2]),
            lists(vec![1, 2], vec![]),
            Key::new::<i64>(&A, 2, &params![1]),
            Key::new::<String>(&A, 1, &params![1]),
            Key::new::<i64>(&B, 1, &params![1]),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys[index + 1..].iter().all(|other| one != other), "{one:?}");
        }
        assert_eq!(key(params!["a", 1]), key(params!["a", 1]));
    }
}
