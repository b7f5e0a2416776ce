//! API keys: a user makes them for programs of theirs.
//!
//! A key may do what its scopes say, and never more than its owner may. Two of one name can live at once, so that a program
//! gets its next key before the one it has is revoked. What a key is and how it is checked is
//! [`covet::identity::api_key`]'s.

mod handlers;
mod personal;
mod store;

use covet::access::Access;
use covet::{Router, routes};

pub(crate) use self::personal::PersonalKeys;
pub use self::store::{ApiKeyTable, Inserted, KeyRow, NewKey};
use crate::state::Api;

/// `/api/keys`.
pub fn routes() -> Router<Api> {
    Router::new().routes(routes![handlers::list, handlers::create, handlers::revoke]).access(Access::Authenticated)
}
