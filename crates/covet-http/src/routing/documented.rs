//! Handlers that carry their own path, method and description: `#[utoipa::path]`.

use axum::handler::Handler;
use http::Method;
use utoipa::openapi::path::HttpMethod;

use super::description::Description;
use super::method::{MethodRouter, on};

/// One handler with what `#[utoipa::path]` says of it. Made by the `routes!` macro.
pub struct Documented<S = ()> {
    pub(super) path: String,
    pub(super) description: Description,
    pub(super) router: MethodRouter<S>,
}

/// Joins a handler and its description.
///
/// # Panics
/// When the description names no method, which `#[utoipa::path]` does not allow.
pub fn documented<P, H, T, S>(handler: H) -> Documented<S>
where
    P: utoipa::Path + utoipa::__dev::SchemaReferences + for<'tags> utoipa::__dev::Tags<'tags>,
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let methods = P::methods();
    let first = methods.first().expect("#[utoipa::path] names a method");
    Documented { path: P::path(), router: on(http_method(first), handler), description: Description::of::<P>() }
}

fn http_method(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}
