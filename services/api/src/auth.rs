//! Registering, logging in and staying logged in.
//!
//! There are two ways to be logged in. A program, or an application on another site, logs in by token; a browser by
//! cookie, whose session is `covet-identity`'s. Both are listed and ended under `/api/auth/sessions`.
//!
//! A login by token gives an access token, good for minutes and checked without the database, and a refresh
//! token, good once for the next pair. A refresh token that comes twice has been copied: the whole session ends
//! (RFC 9700 §4.14.2). Of two requests with one token at the same moment one wins, and the session ends all the
//! same, because nobody can tell a hasty client from a thief; clients refresh one at a time.
//!
//! Passwords and tokens themselves are `covet-identity`'s.
//!
//! Whoever guesses passwords or makes accounts is held up by limits of these routes' own, beside those of all: ten a minute
//! and sixty an hour from one address. A household or an office behind one address can still log in.

mod handlers;
mod my_sessions;
mod personal;
mod purge;
mod token_sessions;

use covet::access::Access;
use covet::data::Error as DbError;
use covet::problem::Problem;
use covet::rate_limit::RateLimit;
use covet::{Error, Router, routes};
use http::{HeaderValue, header};

pub(crate) use self::personal::PersonalLogins;
pub use self::purge::purge;
pub(crate) use self::token_sessions::end_others as end_other_token_sessions;
pub use self::token_sessions::{EndReason, Refreshed, TokenSessions};
use crate::state::Api;

/// `/api/auth`.
pub fn routes() -> Router<Api> {
    let guessing = RateLimit::per_minute(10).and(RateLimit::per_hour(60));
    Router::new()
        .routes(routes![handlers::register, handlers::login, my_sessions::open])
        .rate_limit(guessing)
        .routes(routes![handlers::refresh, handlers::logout])
        .access(Access::Public)
        .routes(routes![my_sessions::list, my_sessions::end_others, my_sessions::end_current, my_sessions::end])
        .access(Access::Authenticated)
}

/// 401 with a `WWW-Authenticate` header, as RFC 9110 §15.5.2 asks of every one.
fn unauthorized(kind: &'static str, title: &'static str, detail: &'static str) -> Error {
    Error::new(Problem::new(401).kind(kind, title).detail(detail))
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// For rows that belong to the caller: the access token is good, but its user has been deleted since.
pub(crate) fn or_user_is_gone(error: DbError) -> Error {
    match error {
        DbError::ForeignKey { .. } => {
            unauthorized("/problems/user-deleted", "User deleted", "The user of this access token has been deleted.")
        }
        error => error.into(),
    }
}
