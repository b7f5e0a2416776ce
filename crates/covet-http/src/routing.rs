//! Routes: which handler serves which path and method.
//!
//! The names and the path syntax are axum's, and so are handlers, extractors and layers. What Covet adds is a
//! table of the routes, so that `routes` can list them, OpenAPI can describe them, and metrics have a slot for each
//! before the first request. A route's own handler says "this is me" when it is reached; no path is looked up
//! twice.

pub(crate) mod around;
mod description;
mod direct;
mod documented;
mod method;
pub(crate) mod parameters;
mod router;
mod stamp;

pub(crate) use direct::{Answering, DirectRoutes, Found};

pub use description::Descriptions;
pub use documented::{Documented, documented};
pub use method::{MethodRouter, any, delete, get, head, on, options, patch, post, put};
pub use router::{DuplicateRoute, InvalidRoute, RouteInfo, Router, Routes};
pub use stamp::RouteStamp;
