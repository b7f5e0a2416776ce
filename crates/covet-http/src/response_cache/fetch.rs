//! Asking the handler: who does it when many want the same, and what becomes of its answer.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use covet_cache::Begun;
use covet_core::lifecycle::Phase;
use covet_telemetry::request;
use futures_util::FutureExt as _;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::flight::{Lead, Outcome, Turn, landing};
use super::serve::{Asked, Looked};
use super::status::{CACHE_STATUS, Forwarded, Status};
use super::stored::{self, Entry, Stored, Variants};
use super::terms::{self, Refusal, Terms, Use};
use super::{CachedRoute, key, store};
use crate::Error;
use crate::conditional::{EntityTag, to_http_date};
use crate::pipeline::panic;
use crate::routing::around::Next;
use crate::routing::parameters;

/// How long a stale response is kept because the handler may confirm it, when its route says nothing about time.
const TO_CONFIRM: Duration = Duration::from_secs(300);
/// Of the largest value that the cache takes, what is left for the headers.
const ROOM_FOR_HEADERS: usize = 16 * 1024;

/// A request that is not served from the cache alone.
pub(super) struct Question {
    pub(super) route: Arc<CachedRoute>,
    pub(super) asked: Asked,
    pub(super) looked: Looked,
    pub(super) parts: Parts,
    pub(super) body: Body,
    pub(super) next: Next,
    /// How the tags were before the handler is asked. `None`: the cache cannot be reached, or has not been asked yet.
    begun: Option<Begun>,
}

/// What was made of a handler's answer.
enum Kept {
    /// It can be given to others; perhaps it is stored, too.
    Entry { entry: Arc<Entry>, stored: bool, refusal: Option<Refusal> },
    /// It is this client's alone.
    Left(Response, Refusal),
}

/// Answers: with what another request gets at this moment, or by asking the handler.
pub(super) async fn fetch(mut question: Question) -> Response {
    let mut limit = pin!(tokio::time::sleep(question.route.settings().wait));
    loop {
        let name = question.begin().await;
        let turn = question.route.flights.turn(&name);
        let receiver = match turn {
            Turn::Lead(lead) => {
                // Who asked before may have stored it since this one has looked.
                if question.may_wait() && question.looked.landings != question.route.flights.landings() {
                    question.look_again().await;
                    if let Some(response) = question.answer_from_cache() {
                        return response;
                    }
                }
                return ask(question, Some(lead)).await;
            }
            Turn::Wait(receiver) if question.may_wait() => receiver,
            Turn::Wait(_) | Turn::Alone => break,
        };
        let outcome = tokio::select! {
            biased;
            outcome = landing(receiver) => outcome,
            () = &mut limit => break,
        };
        match outcome {
            Some(Outcome::Kept(entry)) => {
                if let Some(response) = question.collapsed(&entry) {
                    return response;
                }
            }
            Some(Outcome::NotKept) => break,
            Some(Outcome::Failed) => {
                if let Some(response) = question.stale_instead_of_error(None) {
                    return response;
                }
            }
            None => {}
        }
        question.look_again().await;
        if let Some(response) = question.answer_from_cache() {
            return response;
        }
    }
    ask(question, None).await
}

/// Asks the handler in the background, unless somebody does already.
pub(super) fn refresh(mut question: Question) {
    let shared = Arc::clone(&question.route.cache.shared);
    // A process that is about to end leaves it to the others.
    if shared.lifecycle.phase() >= Phase::Draining {
        return;
    }
    let Turn::Lead(lead) = question.route.flights.turn(&format!("refresh {}", question.looked.name)) else { return };
    let running = shared.lifecycle.track("refresh of a cached response");
    let work = async move {
        let asking = async {
            question.begin().await;
            ask(question, Some(lead)).await
        };
        let asking = AssertUnwindSafe(asking).catch_unwind();
        match tokio::time::timeout(shared.refresh_timeout, asking).await {
            Ok(Ok(response)) if response.status().is_server_error() => {
                tracing::warn!(status = response.status().as_u16(), "a cached response could not be refreshed");
            }
            Ok(Ok(_)) => {}
            Ok(Err(payload)) => drop(panic::answer(&*payload)),
            Err(_) => tracing::warn!("a cached response was not refreshed in time"),
        }
        drop(running);
    };
    tokio::spawn(request::carry(parameters::carry(work)));
}

/// Asks the handler, and tells those that wait.
async fn ask(question: Question, lead: Option<Lead>) -> Response {
    let Question { route, asked, looked, parts, body, next, begun } = question;
    let shared = &route.cache.shared;
    let request = request_to_handler(&looked, &parts, body);
    let started = shared.clock.monotonic();
    let may_be_replaced = looked.response().is_some_and(|stored| stored.terms.may_replace_error(route.now()));
    let answered = match may_be_replaced {
        true => AssertUnwindSafe(async { next.call(request).await }).catch_unwind().await,
        false => Ok(next.call(request).await),
    };
    let answering = Answered { route: &route, asked: &asked, looked: &looked, parts: &parts };
    let response = answered.unwrap_or_else(|payload| panic::answer(&*payload));
    let delay = shared.clock.monotonic().saturating_duration_since(started);
    let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    if response.status().is_server_error() {
        if let Some(lead) = lead {
            lead.land(Outcome::Failed);
        }
        return answering.error(response);
    }
    let handlers_status = response.status();
    let (outcome, response) = match answering.keep(response, delay, begun.as_ref()).await {
        Kept::Entry { entry, stored, refusal } => {
            let mut status = Status { stored, ..Status::forwarded(looked.why) };
            status.forwarded_status = (handlers_status == StatusCode::NOT_MODIFIED).then_some(handlers_status);
            status.detail = refusal.map(Refusal::as_str);
            let response = match entry.response() {
                Some(stored) => route.respond(stored, route.now(), &asked, &parts.headers, status),
                None => Error::status(StatusCode::INTERNAL_SERVER_ERROR).into_response(),
            };
            (Outcome::Kept(entry), response)
        }
        Kept::Left(mut response, refusal) => {
            route.tell(Status::forwarded(looked.why).detail(refusal.as_str()), response.headers_mut());
            if asked.conditional {
                response = crate::conditional::answer(&asked.method, &parts.headers, response);
            }
            (Outcome::NotKept, response)
        }
    };
    if let Some(lead) = lead {
        lead.land(outcome);
    }
    response
}

/// A point in time that much later, in milliseconds.
fn after(millis: u64, time: Duration) -> u64 {
    millis.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The request as the handler gets it: without the client's conditions, since the whole response is wanted; with the
/// validators of what is kept, if the handler made them.
fn request_to_handler(looked: &Looked, parts: &Parts, body: Body) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = parts.uri.clone();
    *request.version_mut() = parts.version;
    *request.headers_mut() = parts.headers.clone();
    *request.extensions_mut() = parts.extensions.clone();
    let headers = request.headers_mut();
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE] {
        headers.remove(name);
    }
    if let Some(stored) = looked.response() {
        if stored.own_etag
            && let Some(etag) = stored.headers.get(ETAG)
        {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(modified) = stored.headers.get(LAST_MODIFIED) {
            headers.insert(IF_MODIFIED_SINCE, modified.clone());
        }
    }
    request
}

impl Question {
    pub(super) fn new(route: Arc<CachedRoute>, asked: Asked, looked: Looked, request: Request, next: Next) -> Self {
        let (parts, body) = request.into_parts();
        Self { route, asked, looked, parts, body, next, begun: None }
    }

    /// Notes how the tags are now, and gives the name under which those meet who want the same: whoever comes after an
    /// invalidation does not get what is being made since before it.
    async fn begin(&mut self) -> String {
        let cache = &self.route.cache.shared.cache;
        self.begun = match self.looked.away {
            true => None,
            false => store::begin(cache, &store::key(&self.asked.name, &self.asked.tags)).await,
        };
        let state = self.begun.as_ref().map_or(0, Begun::fingerprint);
        format!("{} {state:x}", self.looked.name)
    }

    /// Whether it may take what another request gets: not if its client wants a fresh one, nor where each must ask.
    fn may_wait(&self) -> bool {
        let never_fresh = self.looked.response().is_some_and(|stored| stored.terms.is_never_fresh());
        self.looked.why != Forwarded::Request && !never_fresh
    }

    async fn look_again(&mut self) {
        let looked = self.route.look(&self.asked, &self.parts.headers).await;
        let why = match looked.entry {
            Some(_) => Forwarded::Stale,
            None => looked.why,
        };
        self.looked = Looked { why, ..looked };
    }

    fn answer_from_cache(&self) -> Option<Response> {
        let stored = self.looked.response()?;
        let now = self.route.now();
        let usable = matches!(stored.terms.usage(now, &self.asked.wish), Use::AsIs | Use::WhileRefreshing);
        let status = Status { collapsed: true, ..Status::hit(stored.terms.ttl_seconds(now)) };
        usable.then(|| self.route.respond(stored, now, &self.asked, &self.parts.headers, status))
    }

    /// What another request got, if it is good for this one.
    fn collapsed(&self, entry: &Entry) -> Option<Response> {
        let stored = entry.response()?;
        let now = self.route.now();
        let selects = stored.vary.is_empty()
            || key::selected(&stored::header_names(&stored.vary), &self.parts.headers) == stored.selected;
        if !selects || stored.terms.usage(now, &self.asked.wish) != Use::AsIs {
            return None;
        }
        let status = Status { collapsed: true, ..Status::forwarded(self.looked.why) };
        Some(self.route.respond(stored, now, &self.asked, &self.parts.headers, status))
    }

    fn stale_instead_of_error(&self, status: Option<StatusCode>) -> Option<Response> {
        let answered = Answered { route: &self.route, asked: &self.asked, looked: &self.looked, parts: &self.parts };
        answered.stale_instead_of_error(status)
    }
}

/// A question that the handler has answered.
struct Answered<'a> {
    route: &'a Arc<CachedRoute>,
    asked: &'a Asked,
    looked: &'a Looked,
    parts: &'a Parts,
}

impl Answered<'_> {
    fn stale_instead_of_error(&self, status: Option<StatusCode>) -> Option<Response> {
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
    fn error(&self, mut response: Response) -> Response {
        if let Some(stale) = self.stale_instead_of_error(Some(response.status())) {
            tracing::warn!(status = response.status().as_u16(), "a stale response is given out instead of an error");
            return stale;
        }
        let status = Status::forwarded(self.looked.why).detail(Refusal::Status.as_str());
        self.route.tell(status, response.headers_mut());
        response
    }

    /// Keeps the answer if it may be kept.
    async fn keep(&self, response: Response, delay: u64, begun: Option<&Begun>) -> Kept {
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
