//! The parameters of a path that was matched on the short way: where in the path they are, and what they become.
//!
//! [`Path`](crate::Path) reads them; on the long way, through axum's router, it reads axum's list instead.

mod deserializer;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;

use matchit::Params;
use serde::de::DeserializeOwned;

pub(crate) use deserializer::ParameterError;
use deserializer::Parameters;

/// More of them than any path has that is read by people; others go the long way.
const MOST: usize = 6;

/// The names of a path's parameters, in their order. They live as long as the program, as routes do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names(&'static [Box<str>]);

impl Names {
    /// Of a path such as `/users/{id}/files/{*file}`.
    pub(super) fn of(path: &str) -> Self {
        let opened = path.split('{').skip(1);
        let names: Vec<Box<str>> = opened
            .filter_map(|rest| rest.split_once('}'))
            .map(|(name, _)| name.trim_start_matches('*').into())
            .collect();
        Self(if names.is_empty() { &[] } else { Vec::leak(names) })
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Whether a [`Matched`] has room for them.
    pub(super) fn are_few(self) -> bool {
        self.0.len() <= MOST
    }
}

/// Where the parameters are in the path of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matched {
    names: Names,
    /// First byte and the one after the last.
    places: [(u16, u16); MOST],
}

thread_local! {
    static CURRENT: Cell<Option<Matched>> = const { Cell::new(None) };
}

impl Matched {
    /// `None` when a place cannot be told.
    pub(super) fn new(names: Names, path: &str, params: &Params<'_, '_>) -> Option<Self> {
        let mut places = [(0, 0); MOST];
        if params.len() != names.0.len() {
            return None;
        }
        for (place, (_, value)) in places.iter_mut().zip(params.iter()) {
            // A value is a part of the path.
            let start = (value.as_ptr() as usize).checked_sub(path.as_ptr() as usize)?;
            *place = (u16::try_from(start).ok()?, u16::try_from(start + value.len()).ok()?);
        }
        Some(Self { names, places })
    }

    /// The parameter `name` in `path`, as it was sent.
    pub(crate) fn get<'a>(self, path: &'a str, name: &str) -> Option<&'a str> {
        let place = self.names.0.iter().position(|known| **known == *name)?;
        let (start, end) = self.places[place];
        path.get(usize::from(start)..usize::from(end))
    }

    /// Makes a value of the parameters in `path`.
    pub(crate) fn read<T: DeserializeOwned>(self, path: &str) -> Result<T, ParameterError> {
        let mut values = [""; MOST];
        let names = self.names.0;
        for (value, (start, end)) in values.iter_mut().zip(&self.places[..names.len()]) {
            let found = path.get(usize::from(*start)..usize::from(*end));
            *value = found.ok_or_else(|| ParameterError::declaration("the path has changed since it was matched"))?;
        }
        T::deserialize(Parameters { names, values: &values[..names.len()] })
    }
}

/// The parameters of the request at hand; `None` when it went the long way, or has none.
pub(crate) fn current() -> Option<Matched> {
    CURRENT.get()
}

/// Takes the parameters at hand along into a task.
pub(crate) fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let matched = current();
    async move {
        let mut work = pin!(work);
        std::future::poll_fn(|context| with(matched, || work.as_mut().poll(context))).await
    }
}

/// Runs `work` with these parameters at hand, and puts back what was there before.
pub(crate) fn with<R>(matched: Option<Matched>, work: impl FnOnce() -> R) -> R {
    struct Leave(Option<Matched>);
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    if matched.is_none() {
        return work();
    }
    let _leave = Leave(CURRENT.replace(matched));
    work()
}
