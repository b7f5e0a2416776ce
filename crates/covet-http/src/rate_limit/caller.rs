//! Limits by user and by API key: asked where the caller becomes known, which is inside the handler's extractors.
//!
//! A request to which such a limit applies is accompanied by an [`InCharge`] while its handler runs; others cost nothing.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use super::client::{By, Who};
use super::verdict::Verdict;
use super::{RateLimits, RouteRules};
use crate::Error;

/// Counts the request at hand for the caller who has just proven who they are. Call it once authentication has succeeded, and
/// give its error to the caller. For the same kind of caller it counts once a request, however often it is called; where no
/// limit by caller applies it does nothing.
///
/// The extractors of `covet-identity` call it. For API keys of your own:
///
/// ```
/// use covet_http::rate_limit::{Who, admit};
/// use covet_http::axum::extract::FromRequestParts;
/// use covet_http::{Error, Result};
///
/// /// A customer, by the key in `X-Api-Key`.
/// struct Customer(u64);
///
/// # fn look_up(_: Option<&http::HeaderValue>) -> Option<u64> { Some(7) }
/// impl<S: Sync> FromRequestParts<S> for Customer {
///     type Rejection = Error;
///
///     async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Self> {
///         let found = look_up(parts.headers.get("x-api-key"));
///         let id = found.ok_or_else(|| Error::unauthorized("This needs an API key."))?;
///         admit(Who::ApiKey(&id.to_string())).await?;
///         Ok(Self(id))
///     }
/// }
/// ```
///
/// # Errors
/// 429 with `Retry-After` when the caller has made too many requests.
pub async fn admit(who: Who<'_>) -> Result<(), Error> {
    match CURRENT.with_borrow(Clone::clone) {
        Some(in_charge) => in_charge.admit(who).await,
        None => Ok(()),
    }
}

/// The limits by caller of one request.
pub(crate) struct InCharge {
    limits: Arc<RateLimits>,
    route: Option<&'static RouteRules>,
    said: Mutex<Said>,
}

/// What has been said so far, of each kind of caller.
#[derive(Debug, Default, Clone, Copy)]
struct Said {
    user: Option<Option<Verdict>>,
    api_key: Option<Option<Verdict>>,
}

impl Said {
    fn of(&mut self, by: By) -> Option<&mut Option<Option<Verdict>>> {
        match by {
            By::User => Some(&mut self.user),
            By::ApiKey => Some(&mut self.api_key),
            By::Address => None,
        }
    }
}

impl InCharge {
    pub(crate) fn new(limits: Arc<RateLimits>, route: Option<&'static RouteRules>) -> Arc<Self> {
        Arc::new(Self { limits, route, said: Mutex::default() })
    }

    async fn admit(&self, who: Who<'_>) -> Result<(), Error> {
        let before = self.said().of(who.kind()).and_then(|said| *said);
        let verdict = match before {
            Some(verdict) => verdict,
            None => {
                let verdict = self.limits.check_caller(who, self.route).await;
                if let Some(said) = self.said().of(who.kind()) {
                    *said = Some(verdict);
                }
                verdict
            }
        };
        match verdict {
            Some(verdict) if verdict.is_refusal() => Err(self.limits.refuse(verdict, &who.shared_name())),
            _ => Ok(()),
        }
    }

    /// The strictest verdict, if there was one.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let said = *self.said();
        [said.user, said.api_key].into_iter().flatten().flatten().reduce(Verdict::strictest)
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<InCharge>>> = const { RefCell::new(None) };
}

/// Runs `work` with these limits in charge, and puts back what was there before, also when `work` panics.
pub(crate) fn enter<R>(in_charge: &mut Option<Arc<InCharge>>, work: impl FnOnce() -> R) -> R {
    struct Leave<'a> {
        slot: &'a mut Option<Arc<InCharge>>,
        before: Option<Arc<InCharge>>,
    }
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            *self.slot = CURRENT.replace(self.before.take());
        }
    }
    if in_charge.is_none() {
        return work();
    }
    let before = CURRENT.replace(in_charge.take());
    let _leave = Leave { slot: in_charge, before };
    work()
}
