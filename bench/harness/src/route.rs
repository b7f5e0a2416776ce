//! The two measured routes and the exact answer each peer must give.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde::Serialize;

use crate::client::Connection;
use crate::wanting::Wanting;

/// A path and the one right answer to it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Route {
    /// How the route is written in a router, as the report shows it.
    pub(crate) pattern: &'static str,
    /// What is asked for.
    pub(crate) path: &'static str,
    /// The body, byte for byte.
    pub(crate) body: &'static str,
}

/// Every measured route.
pub(crate) const ROUTES: [Route; 2] = [
    Route { pattern: "/json", path: "/json", body: r#"{"message":"Hello, World!"}"# },
    Route { pattern: "/users/{id}", path: "/users/42", body: r#"{"id":42,"name":"user-42"}"# },
];

impl Route {
    /// Asks once and compares status, content type and body.
    ///
    /// # Errors
    /// The answer differs, or there is none.
    pub(crate) fn verify(&self, peer: &str, address: SocketAddr) -> anyhow::Result<()> {
        let answer = Connection::open(address)
            .and_then(|mut connection| connection.get(self.path))
            .with_context(|| format!("asking {peer} for {}", self.path))?;
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
}
