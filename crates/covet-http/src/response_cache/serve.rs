//! The way of a request through the cache: past it, out of it, or on to the handler ([`fetch`](super::fetch)).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LOCATION, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LOCATION, PRAGMA, RANGE, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::cache_control::RequestDirectives;
use super::fetch::{self, Question};
use super::status::{CACHE_STATUS, Forwarded, Status};
use super::store::{self, Found};
use super::stored::{Entry, Stored, Variants};
use super::terms::Use;
use super::{CachedRoute, Credentials, is_safe, key};
use crate::routing::Answering;
use crate::routing::around::{Around, Next};
use crate::{Error, conditional};

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// Host, path and query, and the caller and the headers that the route names.
    pub(super) name: String,
    pub(super) tags: Vec<String>,
    pub(super) wish: RequestDirectives,
    /// Whether it has conditions.
    pub(super) conditional: bool,
}

/// What the cache has for it.
#[derive(Debug)]
pub(super) struct Looked {
    /// Under which name it lies, or will.
    pub(super) name: String,
    /// Why the handler is asked if it is not used.
    pub(super) why: Forwarded,
    /// A response; the entry is one.
    pub(super) entry: Option<Arc<Entry>>,
    /// By what the responses of the URI vary.
    pub(super) variants: Option<Variants>,
    /// The cache cannot be reached.
    pub(super) away: bool,
    /// How many questions had been answered before it was looked for.
    pub(super) landings: u64,
}

/// What matters of a request's headers, found in one pass.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    range: bool,
    upgrade: bool,
    authorization: bool,
    cookie: bool,
    directives: bool,
    conditional: bool,
}

impl Around for CachedRoute {
    fn answer(self: Arc<Self>, mut request: Request, next: Next) -> Answering {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if reads && matches!(self.cache.credentials, Credentials::TakenAway) {
            // Whatever becomes of the request, and whether responses are kept at this moment or not.
            request.headers_mut().remove(AUTHORIZATION);
            request.headers_mut().remove(COOKIE);
        }
        match *request.method() {
            Method::GET | Method::HEAD if self.settings().enabled => Box::pin(read(self, request, next)),
            ref method if is_safe(method) => next.call(request),
            _ => Box::pin(change(self, request, next)),
        }
    }
}

/// Stands around the other handlers of a path whose responses are kept: what changes it makes them stale.
pub(crate) struct Invalidating(pub(crate) Arc<CachedRoute>);

impl Around for Invalidating {
    fn answer(self: Arc<Self>, request: Request, next: Next) -> Answering {
        match is_safe(request.method()) {
            true => next.call(request),
            false => Box::pin(change(Arc::clone(&self.0), request, next)),
        }
    }
}

async fn read(route: Arc<CachedRoute>, mut request: Request, next: Next) -> Response {
    let seen = Seen::of(request.headers());
    let wish = match seen.directives && route.settings().obey_clients {
        true => RequestDirectives::of(request.headers()),
        false => RequestDirectives::default(),
    };
    let reason = seen.goes_past(&route.cache.credentials, &request);
    let reason = reason.or(wish.no_store.then_some((Forwarded::Request, "no-store")));
    if let Some((why, detail)) = reason {
        return go_past(&route, request, next, Status::forwarded(why).detail(detail)).await;
    }
    let Some(uri) = key::uri(request.uri(), request.headers()) else {
        let status = Status::forwarded(Forwarded::Bypass).detail("long-uri");
        return go_past(&route, request, next, status).await;
    };
    let choice = match &route.cache.credentials {
        Credentials::Caller(find) => {
            let (parts, body) = request.into_parts();
            let (parts, found) = find(parts).await;
            request = Request::from_parts(parts, body);
            match found {
                Ok(caller) => Some(Some(caller)),
                Err(refusal) => return refusal,
            }
        }
        _ if route.cache.vary.is_empty() => None,
        _ => Some(None),
    };
    let tags = match route.constant_tags(&uri) {
        Some(tags) => tags,
        None => {
            let (mut parts, body) = request.into_parts();
            let tags = route.tags(&uri, &mut parts);
            request = Request::from_parts(parts, body);
            let Some(tags) = tags else {
                // Checked when the routes were made; here the parameter is no text.
                let status = Status::forwarded(Forwarded::Bypass).detail("tag");
                return go_past(&route, request, next, status).await;
            };
            tags
        }
    };
    let name = match choice {
        Some(caller) => key::with_choice(&uri, caller.as_deref(), &route.cache.vary, request.headers()),
        None => uri,
    };
    let asked = Asked { method: request.method().clone(), name, tags, wish, conditional: seen.conditional };
    let looked = route.look(&asked, request.headers()).await;
    let now = route.now();
    let usage = looked.response().map(|stored| stored.terms.usage(now, &asked.wish));
    match (usage, looked.response()) {
        (Some(Use::AsIs), Some(stored)) => {
            let status = Status::hit(stored.terms.ttl_seconds(now));
            route.respond(stored, now, &asked, request.headers(), status)
        }
        (Some(Use::WhileRefreshing), Some(stored)) => {
            let status = Status::hit(stored.terms.ttl_seconds(now)).detail("stale-while-revalidate");
            let response = route.respond(stored, now, &asked, request.headers(), status);
            // The handler of `HEAD` has nothing to keep.
            if !(asked.method == Method::HEAD && route.own_head) {
                fetch::refresh(Question::new(route, asked, looked, request, next));
            }
            response
        }
        (_, _) if asked.method == Method::HEAD && route.own_head => {
            go_past(&route, request, next, Status::forwarded(looked.why).detail("own-head")).await
        }
        (usage, _) if asked.wish.only_if_cached => not_cached(&route, usage),
        (usage, _) => {
            let why = match usage {
                Some(Use::Refused) => Forwarded::Request,
                Some(_) => Forwarded::Stale,
                None => looked.why,
            };
            let looked = Looked { why, ..looked };
            // In a box of its own, so that a hit does not carry its room.
            Box::pin(fetch::fetch(Question::new(route, asked, looked, request, next))).await
        }
    }
}

/// 504: the client wants nothing but what is kept (RFC 9111 §5.2.1.7).
fn not_cached(route: &CachedRoute, usage: Option<Use>) -> Response {
    let detail = match usage {
        Some(_) => "What is kept is stale, and the request says only-if-cached.",
        None => "Nothing is kept for this, and the request says only-if-cached.",
    };
    let mut response = Error::status(StatusCode::GATEWAY_TIMEOUT).detail(detail).into_response();
    route.tell(Status::forwarded(Forwarded::Request).detail("only-if-cached"), response.headers_mut());
    response
}

async fn go_past(route: &CachedRoute, request: Request, next: Next, status: Status) -> Response {
    let mut response = next.call(request).await;
    route.tell(status, response.headers_mut());
    response
}

/// Calls the handler of a method that may change something. When it has, what is kept for the URI, and for those of
/// `Location` and `Content-Location` on this host, is stale (RFC 9111 §4.4).
async fn change(route: Arc<CachedRoute>, request: Request, next: Next) -> Response {
    let host = key::host(request.uri(), request.headers()).map(str::to_owned);
    let uri = key::uri(request.uri(), request.headers());
    let response = next.call(request).await;
    if !(response.status().is_success() || response.status().is_redirection()) {
        return response;
    }
    let told = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| response.headers().get(name));
    let moved = told.filter_map(|value| host.as_deref().and_then(|host| on_host(value, host)));
    let tags: Vec<String> = uri.into_iter().chain(moved).map(|uri| store::uri_tag(&uri)).collect();
    let shared = Arc::clone(&route.cache.shared);
    let running = shared.lifecycle.track("invalidation of cached responses");
    // In a task: a client that goes away now must not leave the old response behind.
    let invalidation = tokio::spawn(async move {
        let invalidated = shared.cache.invalidate(&tags).await;
        drop(running);
        invalidated
    });
    match invalidation.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "cached responses could not be invalidated yet"
            );
        }
        Err(error) => tracing::error!(
            error = &error as &(dyn std::error::Error + 'static),
            "cached responses were not invalidated"
        ),
    }
    response
}

/// The name of the URI in a header, if it is one of this host.
fn on_host(value: &HeaderValue, host: &str) -> Option<String> {
    let uri: Uri = value.to_str().ok()?.parse().ok()?;
    if uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return None;
    }
    let path = uri.path_and_query()?.as_str();
    path.starts_with('/').then(|| key::uri_of(host, path)).flatten()
}

impl Seen {
    fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            let is = |known: HeaderName| *name == known;
            seen.range |= is(RANGE);
            seen.upgrade |= is(UPGRADE);
            seen.authorization |= is(AUTHORIZATION);
            seen.cookie |= is(COOKIE);
            seen.directives |= is(CACHE_CONTROL) || is(PRAGMA);
            seen.conditional |= is(IF_NONE_MATCH) || is(IF_MODIFIED_SINCE) || is(IF_MATCH) || is(IF_UNMODIFIED_SINCE);
        }
        seen
    }

    /// Why the cache has nothing to do with a request.
    fn goes_past(&self, credentials: &Credentials, request: &Request) -> Option<(Forwarded, &'static str)> {
        let detail = match credentials {
            Credentials::GoPast if self.authorization => "authorization",
            Credentials::GoPast if self.cookie => "cookie",
            _ if self.range => "range",
            _ if self.upgrade => "upgrade",
            _ if !request.body().is_end_stream() => "body",
            _ => return None,
        };
        Some((Forwarded::Bypass, detail))
    }
}

impl Looked {
    pub(super) fn response(&self) -> Option<&Stored> {
        self.entry.as_deref().and_then(Entry::response)
    }
}

impl CachedRoute {
    /// The tags of a request's response, when they are the same for every request but for its URI.
    fn constant_tags(&self, uri: &str) -> Option<Vec<String>> {
        let changes = self.path_changes.load(Relaxed);
        if self.cache.tags.is_empty() && !changes {
            return Some(Vec::new());
        }
        let mut tags = Vec::with_capacity(self.cache.tags.len() + 1);
        for template in &self.cache.tags {
            tags.push(template.constant()?.to_owned());
        }
        tags.extend(changes.then(|| store::uri_tag(uri)));
        Some(tags)
    }

    /// The tags of a request's response. `None` when a parameter that one of them names cannot be read.
    fn tags(&self, uri: &str, parts: &mut Parts) -> Option<Vec<String>> {
        let templates = &self.cache.tags;
        let mut tags = Vec::with_capacity(templates.len() + 1);
        for template in templates {
            tags.push(template.render(parts)?);
        }
        tags.extend(self.path_changes.load(Relaxed).then(|| store::uri_tag(uri)));
        Some(tags)
    }

    /// Looks for a response.
    pub(super) async fn look(&self, asked: &Asked, headers: &HeaderMap) -> Looked {
        let cache = &self.cache.shared.cache;
        let mut looked = Looked {
            name: asked.name.clone(),
            why: Forwarded::UriMiss,
            entry: None,
            variants: None,
            away: false,
            landings: self.flights.landings(),
        };
        match store::look(cache, &store::key(&asked.name, &asked.tags)).await {
            Found::Nothing => return looked,
            Found::Away => looked.away = true,
            Found::Entry(entry) => match &*entry {
                Entry::Response(stored) => looked.entry = (stored.until > self.now()).then_some(entry),
                Entry::Variants(variants) => {
                    looked.why = Forwarded::VaryMiss;
                    looked.variants = Some(variants.clone());
                }
            },
        }
        if let Some(variants) = &looked.variants {
            let selected = key::selected(&variants.headers(), headers);
            looked.name = key::of_variant(&asked.name, &selected);
            match store::look(cache, &store::key(&looked.name, &asked.tags)).await {
                Found::Entry(entry) if entry.response().is_some_and(|stored| stored.until > self.now()) => {
                    looked.entry = Some(entry);
                }
                Found::Entry(_) | Found::Nothing => {}
                Found::Away => looked.away = true,
            }
        }
        looked
    }

    /// The response to a request that may have it.
    pub(super) fn respond(
        &self,
        stored: &Stored,
        now: u64,
        asked: &Asked,
        request: &HeaderMap,
        status: Status,
    ) -> Response {
        let mut response = Response::new(stored.body.clone().into());
        *response.status_mut() = stored.status();
        let mut headers = stored.headers.clone();
        let age = stored.terms.age(now) / 1_000;
        // Only a response that was made before has an age (RFC 9111 §5.1).
        let has_age = status.forwarded.is_none() || status.collapsed || age > 0;
        let tells = self.settings().status_header;
        // In the order of `stored::arranged`: no name is looked up.
        let mut places = headers.values_mut();
        if let (Some(age_place), Some(status_place)) = (places.next(), places.next()) {
            if has_age {
                *age_place = HeaderValue::from(age);
            }
            if tells {
                *status_place = status.value_after(status_place);
            }
        }
        if !has_age {
            headers.remove(AGE);
        }
        if !tells && headers.get(CACHE_STATUS).is_some_and(HeaderValue::is_empty) {
            headers.remove(CACHE_STATUS);
        }
        *response.headers_mut() = headers;
        if asked.conditional { conditional::answer(&asked.method, request, response) } else { response }
    }

    pub(super) fn tell(&self, status: Status, headers: &mut HeaderMap) {
        if self.settings().status_header {
            status.add(headers);
        }
    }
}
