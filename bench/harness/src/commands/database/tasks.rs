//! What peers with a database are asked for: `contract/src/database.rs`, with the right answers.

use serde::Serialize;

use crate::database::USERS;
use crate::route::Route;

pub(super) const ONE: &str = "/users/{id}";
pub(super) const TWENTY: &str = "/twenty/{first}";
pub(super) const HUNDRED: &str = "/hundred/{first}";
pub(super) const CACHED: &str = "/cached/{id}";
pub(super) const PLAIN: &str = "/plain/{id}";
pub(super) const VISIT: &str = "/visits/{id}";

/// A route and what it makes the database do.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Task {
    pub(super) route: Route,
    pub(super) what: &'static str,
}

/// In the order of a round.
pub(super) fn all() -> Vec<Task> {
    vec![
        Task {
            route: Route::get(ONE, "/users/42", r#"{"id":42,"name":"user-42"}"#),
            what: "one row by its primary key",
        },
        Task {
            route: Route::get(TWENTY, "/twenty/42", users(42, 20)),
            what: "twenty such reads for one request, each a statement",
        },
        Task { route: Route::get(HUNDRED, "/hundred/42", users(42, 100)), what: "a hundred rows by one statement" },
        Task {
            route: Route::get(CACHED, "/cached/42", r#"{"id":42,"name":"user-42"}"#),
            what: "the one row, kept in memory since it was read",
        },
        Task {
            route: Route::get(PLAIN, "/plain/42", r#"{"id":42,"name":"user-42"}"#),
            what: "the same answer without a database",
        },
        Task {
            // Another row each time: all of one row would wait for its lock, one after another.
            route: Route {
                method: "POST",
                pattern: VISIT,
                path: "/visits/42",
                numbers: Some(USERS),
                body: r#"{"updated":1}"#,
                login: None,
            },
            what: "an update of one row, a transaction of its own",
        },
    ]
}

/// The list of users from one number on. Kept for ever: routes are made once.
fn users(first: u32, count: u32) -> &'static str {
    let users: Vec<_> = (first..first + count).map(|id| format!(r#"{{"id":{id},"name":"user-{id}"}}"#)).collect();
    format!("[{}]", users.join(",")).leak()
}
