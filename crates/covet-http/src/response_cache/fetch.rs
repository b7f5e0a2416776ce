//! Asking the handler: who does it when many want the same. What becomes of its answer: `answered.rs`.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use covet_cache::Begun;
use covet_core::lifecycle::Phase;
use covet_telemetry::request;
use futures_util::FutureExt as _;
use http::header::{ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED};
use http::request::Parts;
use http::{Method, StatusCode};

use super::answered::{Answered, Kept};
use super::flight::{Lead, Outcome, Turn, landing};
use super::serve::{Asked, Looked};
use super::status::{Forwarded, Status};
use super::stored::{self, Entry};
use super::terms::{Refusal, Use};
use super::{CachedRoute, key, store};
use crate::Error;
use crate::pipeline::panic;
use crate::routing::around::Next;
use crate::routing::parameters;

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
