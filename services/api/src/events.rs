//! The live feed: your own changes as they happen, over a WebSocket.

mod feed;
mod socket;

use covet::{Router, routes};

pub use self::feed::{Feed, Received, Subscription};
use crate::access::EVENTS_LISTEN;
use crate::state::Api;

/// `/ws/events`.
pub fn routes() -> Router<Api> {
    Router::new().routes(routes![socket::listen]).access(EVENTS_LISTEN)
}
