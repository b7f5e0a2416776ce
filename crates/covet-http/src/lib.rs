//! HTTP: the listener, the pipeline that every request passes, routes, health endpoints, WebSockets and the
//! operator's port.
//!
//! | you want | look in |
//! |---|---|
//! | accept loops, connection timers, TLS | [`listener`] |
//! | what happens to every request, in order | [`pipeline`] |
//! | routes and handlers | [`routing`], [`extract`] |
//! | an error as a response | [`Error`] |
//! | who may reach a route | [`access`] |
//! | how many requests a client may make | [`rate_limit`] |
//! | responses that are kept | [`response_cache`] |
//! | 304, entity tags | [`conditional`] |
//! | files | [`assets`] |
//! | `/health…` | [`health`] |
//! | WebSockets | [`ws`] |
//! | port 9090 | [`operator`] |
//!
//! axum enters Covet here, and only here: other crates take it from [`axum`].

pub use axum;

pub mod access;
pub mod assets;
pub mod client_address;
pub mod conditional;
mod error;
pub mod extract;
pub mod health;
pub mod listener;
pub mod metrics;
pub mod operator;
pub mod pipeline;
pub mod rate_limit;
pub mod response_cache;
pub mod routing;
pub mod settings;
pub mod ws;

pub use error::{Error, Result};
pub use extract::{ClientAddress, Json, Path, Query};
pub use response_cache::ResponseCache;
pub use routing::Router;

/// What `routes!` expands to. Not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use covet_macros::routes;
    pub use include_dir;

    pub use crate::routing::documented;
}

/// The files of a folder, inside the binary: for [`Assets::embedded`](assets::Assets::embedded).
///
/// ```ignore
/// let assets = Assets::embedded(embedded_files!("$CARGO_MANIFEST_DIR/static"))?;
/// ```
#[macro_export]
macro_rules! embedded_files {
    ($folder:tt) => {{
        // The expansion of `include_dir!` says `include_dir::…`.
        use $crate::__private::include_dir;
        static FOLDER: include_dir::Dir<'static> = include_dir::include_dir!($folder);
        &FOLDER
    }};
}

/// Handlers that carry their own path, method and description from `#[utoipa::path]`.
///
/// ```ignore
/// Router::new().routes(routes![notes::list, notes::create])
/// ```
#[macro_export]
macro_rules! routes {
    ($($handlers:tt)*) => {
        $crate::__private::routes!($crate; $($handlers)*)
    };
}
