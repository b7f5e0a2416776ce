//! Arrays: dimensions, then every element with its length.

use super::{Malformed, Parts};

/// Most dimensions PostgreSQL allows.
const DIMENSIONS: usize = 6;

/// An array, or one of its rows.
#[derive(Clone)]
pub(crate) struct Array<'a> {
    /// Elements in each dimension, from the outermost.
    lengths: [usize; DIMENSIONS],
    dimensions: usize,
    elements: &'a [u8],
}

/// What an array consists of.
pub(crate) enum Item<'a> {
    Row(Array<'a>),
    /// `None` is `NULL`.
    Element(Option<&'a [u8]>),
}

impl<'a> Array<'a> {
    pub(crate) fn parse(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut parts = Parts(raw);
        let dimensions = usize::try_from(parts.i32()?).ok().filter(|n| *n <= DIMENSIONS).ok_or(Malformed)?;
        let (_has_nulls, _element_type) = (parts.i32()?, parts.i32()?);
        let mut lengths = [0; DIMENSIONS];
        for length in &mut lengths[..dimensions] {
            *length = usize::try_from(parts.i32()?).map_err(|_| Malformed)?;
            let _lower_bound = parts.i32()?;
        }
        Ok(Self { lengths, dimensions, elements: parts.0 })
    }

    /// How many items it has.
    pub(crate) fn len(&self) -> usize {
        if self.dimensions == 0 { 0 } else { self.lengths[0] }
    }

    /// Takes its first item off; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'a>>, Malformed> {
        if self.len() == 0 {
            return Ok(None);
        }
        self.lengths[0] -= 1;
        if self.dimensions == 1 {
            return self.element().map(|element| Some(Item::Element(element)));
        }
        let mut lengths = [0; DIMENSIONS];
        lengths[..self.dimensions - 1].copy_from_slice(&self.lengths[1..self.dimensions]);
        let row = Self { lengths, dimensions: self.dimensions - 1, elements: self.elements };
        let inside =
            row.lengths[..row.dimensions].iter().fold(1_usize, |product, length| product.saturating_mul(*length));
        for _ in 0..inside {
            self.element()?;
        }
        Ok(Some(Item::Row(row)))
    }

    fn element(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let mut parts = Parts(self.elements);
        let length = parts.i32()?;
        let element = match usize::try_from(length) {
            Ok(length) => Some(parts.take(length)?),
            Err(_) => None,
        };
        self.elements = parts.0;
        Ok(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(dimensions: &[i32], elements: &[Option<&[u8]>]) -> Vec<u8> {
        let mut raw = Vec::new();
        let mut push = |value: i32| raw.extend(value.to_be_bytes());
        [i32::try_from(dimensions.len()).unwrap(), 0, 25].into_iter().for_each(&mut push);
        dimensions.iter().for_each(|length| [*length, 1].into_iter().for_each(&mut push));
        for element in elements {
            raw.extend(element.map_or(-1, |element| i32::try_from(element.len()).unwrap()).to_be_bytes());
            raw.extend(element.unwrap_or_default());
        }
        raw
    }

    fn flat(mut array: Array<'_>) -> String {
        let mut text = String::new();
        while let Some(item) = array.next().unwrap() {
            text += &match item {
                Item::Row(row) => format!("({})", flat(row)),
                Item::Element(None) => "-".to_owned(),
                Item::Element(Some(element)) => String::from_utf8(element.to_vec()).unwrap(),
            };
        }
        text
    }

    #[test]
    fn rows_and_elements_come_in_order() {
        let elements: Vec<Option<&[u8]>> = vec![Some(b"a"), None, Some(b"ccc"), Some(b"d"), Some(b""), Some(b"f")];
        for (dimensions, expected) in
            [(&[][..], ""), (&[6], "a-cccdf"), (&[2, 3], "(a-ccc)(df)"), (&[3, 2], "(a-)(cccd)(f)")]
        {
            let raw = raw(dimensions, &elements);
            assert_eq!(flat(Array::parse(&raw).unwrap()), expected);
        }
    }

    #[test]
    fn what_is_cut_off_is_malformed_not_a_panic() {
        let whole = raw(&[2, 2], &[Some(b"a"), Some(b"b"), Some(b"c"), Some(b"d")]);
        for end in 0..whole.len() {
            let Ok(mut array) = Array::parse(&whole[..end]) else { continue };
            while let Ok(Some(_)) = array.next() {}
        }
        assert!(Array::parse(&raw(&[1; 7], &[])).is_err());
    }
}
