//! Users: who they are, and what they may change about themselves.
//!
//! Every user may see that the others exist; an address is shown to its owner only. A user changes and deletes
//! nobody but themselves. Registering and logging in is `auth`'s.

mod email;
mod handlers;
mod personal;
mod store;
mod user;

use covet::access::Access;
use covet::{Router, routes};

pub use self::email::{Email, EmailError};
pub(crate) use self::handlers::address_taken;
pub(crate) use self::personal::PersonalAccount;
pub(crate) use self::store::insert;
pub use self::store::{Credentials, Users};
pub use self::user::{NewUser, User, UserView, checked_name};
use crate::access::USERS_READ;
use crate::state::Api;

/// `/api/users`.
pub fn routes() -> Router<Api> {
    Router::new()
        .routes(routes![handlers::list, handlers::me, handlers::read])
        .access(USERS_READ)
        .routes(routes![handlers::update, handlers::change_password, handlers::delete])
        .access(Access::Authenticated)
}
