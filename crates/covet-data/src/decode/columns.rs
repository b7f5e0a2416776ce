//! The columns of a result: their names, examined once per prepared statement.

/// A column, as far as both drivers know it alike.
pub(crate) trait Named {
    fn name(&self) -> &str;

    /// The type of its values, where it is the same for all of them.
    fn type_name(&self) -> Option<&str> {
        None
    }
}

/// The columns of a result.
#[derive(Debug)]
pub(crate) struct Columns<C> {
    pub(crate) list: Box<[C]>,
    /// A name that two columns share.
    pub(crate) doubled: Option<Box<str>>,
}

impl<C: Named> Columns<C> {
    pub(crate) fn new(list: Vec<C>) -> Self {
        let doubled = list
            .iter()
            .enumerate()
            .find(|(index, column)| list[..*index].iter().any(|earlier| earlier.name() == column.name()))
            .map(|(_, column)| column.name().into());
        Self { list: list.into(), doubled }
    }

    pub(crate) fn names(&self) -> String {
        self.list.iter().map(Named::name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Named for &str {
        fn name(&self) -> &str {
            self
        }
    }

    #[test]
    fn a_name_that_appears_twice_is_noticed() {
        assert_eq!(Columns::new(vec!["id", "name", "id"]).doubled.as_deref(), Some("id"));
        assert_eq!(Columns::new(vec!["id", "name"]).doubled, None);
    }
}
