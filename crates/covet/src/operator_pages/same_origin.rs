//! Keeps pages of other sites from changing anything through an operator's browser.
//!
//! The operator's port has no login: whoever reaches it may use it. A browser inside the network reaches it, and so does
//! every page that it shows. What a browser sends on behalf of a page carries `Origin` or `Sec-Fetch-Site`; programs
//! such as curl send neither, and pass.
//!
//! Comparing `Origin` with `Host` is not enough: a stranger's name can be made to point to this address (DNS rebinding),
//! and then both are that name. So the name must be an address, `localhost` or one of `COVET_OPERATOR__NAMES`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use covet_http::axum;
use covet_telemetry::logging::{Actor, security, vocabulary};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, header};

use crate::Error;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request that may change something through only when no page of another origin has sent it.
pub(super) async fn guard(State(names): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let Err(refusal) = check(request.headers(), &names) else { return next.run(request).await };
    let mut record = security(vocabulary::CROSS_ORIGIN).failure(refusal.reason()).actor(Actor::Anonymous);
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        record = record.ip_address(peer.ip());
    }
    record.log("a page of another origin tried to change something through the operator's port");
    Error::forbidden().detail(refusal.detail()).into_response()
}

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    OtherOrigin,
    UnknownName,
}

impl Refusal {
    fn reason(self) -> &'static str {
        match self {
            Self::OtherOrigin => "other_origin",
            Self::UnknownName => "unknown_name",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::OtherOrigin => "Only the operator's own pages and programs such as curl may change something here.",
            Self::UnknownName => {
                "Pages under this name may change nothing: it is neither an address nor localhost nor one of \
                 COVET_OPERATOR__NAMES. Use the address, or add the name there."
            }
        }
    }
}

fn check(headers: &HeaderMap, names: &[String]) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (site, origin) = (text(SEC_FETCH_SITE), text(header::ORIGIN));
    if site.is_none() && origin.is_none() {
        return Ok(());
    }
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(Refusal::OtherOrigin);
    }
    let host = text(header::HOST).and_then(|host| host.parse::<Authority>().ok()).ok_or(Refusal::UnknownName)?;
    if let Some(origin) = origin {
        let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()));
        if !same {
            return Err(Refusal::OtherOrigin);
        }
    }
    if is_known(host.host(), names) { Ok(()) } else { Err(Refusal::UnknownName) }
}

/// A name that no stranger can point here.
fn is_known(host: &str, names: &[String]) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&'static str, &'static str)]) -> Result<(), Refusal> {
        let headers = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        check(&headers.collect(), &["ops.internal".to_owned()])
    }

    #[test]
    fn programs_and_the_operators_own_page_pass() {
        for headers in [
            &[("host", "covet:9090")][..],
            &[("host", "127.0.0.1:9090"), ("origin", "http://127.0.0.1:9090"), ("sec-fetch-site", "same-origin")],
            &[("host", "localhost:9090"), ("origin", "http://localhost:9090")],
            &[("host", "[::1]:9090"), ("origin", "http://[::1]:9090")],
            &[("host", "OPS.internal"), ("origin", "https://ops.internal")],
        ] {
            assert_eq!(ask(headers), Ok(()), "{headers:?}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_is_refused() {
        for headers in [
            &[("host", "127.0.0.1:9090"), ("origin", "https://evil.example")][..],
            &[("host", "127.0.0.1:9090"), ("origin", "http://127.0.0.1:8000")],
            &[("host", "127.0.0.1:9090"), ("origin", "null")],
            &[("host", "127.0.0.1:9090"), ("sec-fetch-site", "cross-site")],
            &[("host", "127.0.0.1:9090"), ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:9090")],
        ] {
            assert_eq!(ask(headers), Err(Refusal::OtherOrigin), "{headers:?}");
        }
    }

    #[test]
    fn a_strangers_name_that_points_here_is_refused() {
        for headers in [
            &[("host", "evil.example:9090"), ("origin", "http://evil.example:9090")][..],
            &[("host", "evil.example:9090"), ("sec-fetch-site", "same-origin")],
            &[("host", "localhost.evil.example"), ("origin", "http://localhost.evil.example")],
            &[("origin", "http://127.0.0.1:9090")],
        ] {
            assert_eq!(ask(headers), Err(Refusal::UnknownName), "{headers:?}");
        }
    }
}
