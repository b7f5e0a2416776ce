//! What becomes of a handler's answer: whether it is kept, and in which form; what the client gets when it is an error.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use covet_cache::Begun;
use covet_telemetry::request;
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::serve::{Asked, Looked};
use super::status::{CACHE_STATUS, Forwarded, Status};
use super::stored::{self, Entry, Stored, Variants};
use super::terms::{self, Refusal, Terms};
use super::{CachedRoute, key, store};
use crate::Error;
use crate::conditional::{EntityTag, to_http_date};
/// How long a stale response is kept because the handler may confirm it, when its route says nothing about time.
const TO_CONFIRM: Duration = Duration::from_secs(300);
/// Of the largest value that the cache takes, what is left for the headers.
const ROOM_FOR_HEADERS: usize = 16 * 1024;

/// What was made of a handler's answer.
pub(super) enum Kept {
    /// It can be given to others; perhaps it is stored, too.
    Entry { entry: Arc<Entry>, stored: bool, refusal: Option<Refusal> },
    /// It is this client's alone.
    Left(Response, Refusal),
}

/// A question that the handler has answered.
pub(super) struct Answered<'a> {
    pub(super) route: &'a Arc<CachedRoute>,
    pub(super) asked: &'a Asked,
    pub(super) looked: &'a Looked,
    pub(super) parts: &'a Parts,
}

impl Answered<'_> {
    /// What is kept, if it may stand in for an error.
    pub(super) fn stale_instead_of_error(&self, status: Option<StatusCode>) -> Option<Response> {
        let stored = self.looked.response()?;
        let now = self.route.now();
        if !stored.terms.may_replace_error(now) {
            return None;
        }
        let said = Status { forwarded_status: status, ..Status::forwarded(Forwarded::Stale) }.detail("stale-if-error");
        let mut response = self.route.respond(stored, now, self.asked, &self.parts.headers, said);
        response.headers_mut().insert(AGE, HeaderValue::from(stored.terms.age(now) / 1_000));
        Some(response)
    }

    /// What the client gets when the handler has failed.
    pub(super) fn error(&self, mut response: Response) -> Response {
        if let Some(stale) = self.stale_instead_of_error(Some(response.status())) {
            tracing::warn!(status = response.status().as_u16(), "a stale response is given out instead of an error");
            return stale;
        }
        let status = Status::forwarded(self.looked.why).detail(Refusal::Status.as_str());
        self.route.tell(status, response.headers_mut());
        response
    }

    /// Keeps the answer if it may be kept.
    pub(super) async fn keep(&self, response: Response, delay: u64, begun: Option<&Begun>) -> Kept {
        let confirmed = match (response.status(), self.looked.response()) {
            (StatusCode::NOT_MODIFIED, Some(stored)) if stored.can_be_confirmed() => Some(stored),
            _ => None,
        };
        match confirmed {
            Some(stored) => self.keep_confirmed(response.into_parts().0.headers, stored, delay, begun).await,
            None => self.keep_new(response, delay, begun).await,
        }
    }

    /// The handler says that what is kept is still right: it gets the new headers and is as good as new (RFC 9111
    /// §4.3.4).
    async fn keep_confirmed(&self, new: HeaderMap, kept: &Stored, delay: u64, begun: Option<&Begun>) -> Kept {
        let now = self.route.now();
        let mut headers = stored::updated(&kept.headers, &new);
        if !new.contains_key(AGE) {
            headers.remove(AGE);
        }
        if !new.contains_key(DATE) {
            headers.insert(DATE, to_http_date(now / 1_000));
        }
        // What the route has said would be taken for the handler's word.
        if kept.completed && !new.contains_key(CACHE_CONTROL) {
            headers.remove(CACHE_CONTROL);
        }
        let terms = Terms::of(kept.status(), &headers, &self.route.cache.defaults, now, delay)
            .and_then(|terms| if self.is_anothers() { Err(Refusal::Caller) } else { Ok(terms) })
            .and_then(|terms| Ok((terms, terms.worth(self.route.to_confirm()).ok_or(Refusal::NoFreshness)?)));
        let (terms, worth) = match terms {
            Ok(decided) => decided,
            Err(refusal) => {
                // What is kept, with the headers of this 304, for this client alone.
                headers.remove(CACHE_STATUS);
                let mut response = Response::new(Body::from(kept.body.clone()));
                *response.status_mut() = kept.status();
                *response.headers_mut() = headers;
                return Kept::Left(response, refusal);
            }
        };
        stored::remove_what_is_not_kept(&mut headers);
        let completed = self.route.complete(&mut headers);
        let entry = Arc::new(Entry::Response(Stored {
            status: kept.status,
            headers: stored::arranged(headers),
            body: kept.body.clone(),
            terms,
            until: after(now, worth),
            own_etag: kept.own_etag,
            completed,
            vary: kept.vary.clone(),
            selected: kept.selected.clone(),
        }));
        let stored = match begun {
            Some(begun) => self.put(&self.looked.name, begun, &entry, worth).await,
            None => false,
        };
        Kept::Entry { entry, stored, refusal: (!stored).then_some(Refusal::CacheUnavailable) }
    }

    async fn keep_new(&self, response: Response, delay: u64, begun: Option<&Begun>) -> Kept {
        let (route, now) = (self.route, self.route.now());
        let decided = Terms::of(response.status(), response.headers(), &route.cache.defaults, now, delay)
            .and_then(|terms| if self.is_anothers() { Err(Refusal::Caller) } else { Ok(terms) })
            .and_then(|terms| Ok((terms, terms::vary(response.headers())?)));
        let (terms, vary) = match decided {
            Ok(decided) => decided,
            Err(refusal) => return Kept::Left(response, refusal),
        };
        let own_etag = response.headers().contains_key(ETAG);
        let confirmable = own_etag || response.headers().contains_key(LAST_MODIFIED);
        let to_confirm = if confirmable { route.to_confirm() } else { Duration::ZERO };
        let Some(worth) = terms.worth(to_confirm) else { return Kept::Left(response, Refusal::NoFreshness) };
        let most = route.cache.shared.cache_settings.value_limit.as_usize().saturating_sub(ROOM_FOR_HEADERS);
        if response.body().size_hint().exact().is_none_or(|bytes| bytes > most as u64) {
            return Kept::Left(response, Refusal::Body);
        }
        let (head, body) = response.into_parts();
        let body = match axum::body::to_bytes(body, most).await {
            Ok(body) => body,
            Err(error) => return Kept::Left(Error::internal(error).into_response(), Refusal::Body),
        };
        let mut headers = head.headers;
        stored::remove_what_is_not_kept(&mut headers);
        headers.remove(CONTENT_LENGTH);
        if !own_etag && head.status == StatusCode::OK {
            headers.insert(ETAG, EntityTag::of_body(&headers, &body));
        }
        if !headers.contains_key(DATE) {
            headers.insert(DATE, to_http_date(now / 1_000));
        }
        let completed = route.complete(&mut headers);
        let mut stored = Stored {
            status: head.status.as_u16(),
            headers: stored::arranged(headers),
            body,
            terms,
            until: after(now, worth),
            own_etag,
            completed,
            vary: Vec::new(),
            selected: Bytes::new(),
        };
        let extra: Vec<HeaderName> = vary.into_iter().filter(|name| !route.cache.vary.contains(name)).collect();
        if extra.is_empty() {
            let entry = Arc::new(Entry::Response(stored));
            let stored = match begun {
                Some(begun) => self.put(&self.asked.name, begun, &entry, worth).await,
                None => false,
            };
            let refusal = (!stored).then_some(Refusal::CacheUnavailable);
            return Kept::Entry { entry, stored, refusal };
        }
        let (variants, selected, fits) = self.variants(extra);
        stored.vary.clone_from(&variants.names);
        stored.selected = selected.clone();
        let entry = Arc::new(Entry::Response(stored));
        if !fits {
            return Kept::Entry { entry, stored: false, refusal: Some(Refusal::TooManyVariants) };
        }
        let stored = match begun {
            Some(begun) => {
                let name = key::of_variant(&self.asked.name, &selected);
                let list = Arc::new(Entry::Variants(variants));
                let for_list = worth.max(route.to_confirm());
                self.put(&name, begun, &entry, worth).await && self.put(&self.asked.name, begun, &list, for_list).await
            }
            None => false,
        };
        let refusal = (!stored).then_some(Refusal::CacheUnavailable);
        Kept::Entry { entry, stored, refusal }
    }

    /// Whether the handler has found out who asks, by whatever credentials, without the key holding the caller: what it
    /// answers may be for nobody else.
    fn is_anothers(&self) -> bool {
        !self.route.cache.defaults.per_caller && request::current(|scope| scope.user().is_some()) == Some(true)
    }

    /// The list of variants with that of this request, what selects it, and whether it is one that may still be kept.
    fn variants(&self, extra: Vec<HeaderName>) -> (Variants, Bytes, bool) {
        let mut variants = self.looked.variants.clone().unwrap_or_default();
        let before = variants.names.len();
        for name in extra {
            if !variants.names.iter().any(|known| known == name.as_str()) {
                variants.names.push(name.as_str().to_owned());
            }
        }
        if variants.names.len() != before {
            variants.names.sort_unstable();
            variants.kept.clear();
        }
        let selected = key::selected(&variants.headers(), &self.parts.headers);
        let mut fits = true;
        if !variants.kept.contains(&selected) {
            fits = variants.kept.len() < self.route.settings().max_variants;
            variants.kept.push(selected.clone());
        }
        (variants, selected, fits)
    }

    async fn put(&self, name: &str, begun: &Begun, entry: &Arc<Entry>, ttl: Duration) -> bool {
        let cache = &self.route.cache.shared.cache;
        store::put(cache, store::key(name, &self.asked.tags), begun, entry, ttl).await
    }
}

impl CachedRoute {
    /// How long a stale response is kept because the handler may confirm it.
    fn to_confirm(&self) -> Duration {
        self.cache.defaults.lifetime.unwrap_or(TO_CONFIRM)
    }

    /// Says what the handler has not said: how clients may use the response, and by what it varies. True if it said
    /// nothing about use.
    fn complete(&self, headers: &mut HeaderMap) -> bool {
        let silent = !headers.contains_key(CACHE_CONTROL) && !headers.contains_key(EXPIRES);
        if silent {
            headers.insert(CACHE_CONTROL, self.cache_control.clone());
        }
        let said = terms::vary(headers).unwrap_or_default();
        for name in self.cache.vary.iter().filter(|name| !said.contains(name)) {
            headers.append(VARY, HeaderValue::from(name.clone()));
        }
        silent
    }
}

/// A point in time that much later, in milliseconds.
fn after(millis: u64, time: Duration) -> u64 {
    millis.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
