//! The two measured routes of every peer without a database, and the exact answer each must give. Those of peers with one:
//! `commands/database/tasks.rs`.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde::Serialize;

use crate::client::{Connection, Header};
use crate::wanting::Wanting;

/// A path and the one right answer to it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// How the route is written in a router, as the report shows it.
    pub(crate) pattern: &'static str,
    /// What is asked for.
    pub(crate) path: &'static str,
    /// The load asks for another number each time, from 1 to this, in place of the path's last part.
    pub(crate) numbers: Option<u32>,
    /// The body, byte for byte.
    pub(crate) body: &'static str,
    /// Where a POST gives the cookie that comes with the request.
    pub(crate) login: Option<&'static str>,
}

/// Every measured route.
pub(crate) const ROUTES: [Route; 2] = [
    Route::get("/json", "/json", r#"{"message":"Hello, World!"}"#),
    Route::get("/users/{id}", "/users/42", r#"{"id":42,"name":"user-42"}"#),
];

/// What Covet alone is asked for: `/json` from its response cache, without a tag and with one. Measured against the plain route.
pub(crate) const CACHED: [Route; 2] = [
    Route { pattern: "/cached", path: "/cached", ..ROUTES[0] },
    Route { pattern: "/tagged", path: "/tagged", ..ROUTES[0] },
];

impl Route {
    /// One that is read, always the same.
    pub(crate) const fn get(pattern: &'static str, path: &'static str, body: &'static str) -> Self {
        Self { method: "GET", pattern, path, numbers: None, body, login: None }
    }

    /// The route of other contestants that does the same work.
    pub(crate) fn plain(pattern: &str) -> &str {
        if CACHED.iter().any(|route| route.pattern == pattern) { ROUTES[0].pattern } else { pattern }
    }

    /// Asks once and compares status, content type and body.
    ///
    /// # Errors
    /// The answer differs, or there is none.
    pub(crate) fn verify(&self, peer: &str, address: SocketAddr) -> anyhow::Result<()> {
        let answer = self
            .cookie(address)
            .and_then(|cookie| {
                let headers: Vec<Header<'_>> = cookie.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
                let mut connection = Connection::open(address)?;
                connection.request(self.method, self.path, &headers)?;
                connection.receive()
            })
            .with_context(|| format!("asking {peer} for {} {}", self.method, self.path))?;
        let content_type = answer.header("content-type").unwrap_or("nothing");
        if answer.status != 200 || content_type != "application/json" || answer.body != self.body.as_bytes() {
            return Err(Wanting::error(format!(
                "{peer} answers {path} with {status}, {content_type}, {body:?}; expected 200, application/json, {expected:?}. \
                 Peers that do different work cannot be compared.",
                path = self.path,
                status = answer.status,
                body = String::from_utf8_lossy(&answer.body),
                expected = self.body,
            )));
        }
        Ok(())
    }

    /// Logs in, where the route wants that.
    ///
    /// # Errors
    /// No cookie is given.
    pub(crate) fn cookie(&self, address: SocketAddr) -> anyhow::Result<Option<String>> {
        let Some(path) = self.login else { return Ok(None) };
        let mut connection = Connection::open(address)?;
        connection.request("POST", path, &[])?;
        let answer = connection.receive()?;
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.with_context(|| format!("POST {path} answered {} without a cookie", answer.status))?;
        Ok(Some(cookie.to_owned()))
    }
}
