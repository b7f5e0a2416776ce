//! Users: who they are, and what they may change about themselves.
//!
//! Every user may see that the others exist; an address is shown to its owner only. A user changes and deletes
//! nobody but themselves. Registering and logging in is `auth`'s.
//!
//! Changes that ask for the password are limited by user: whoever has stolen a login must not find out the password by it.

mod email;
mod handlers;
mod personal;
mod store;
mod user;

use covet::access::Access;
use covet::rate_limit::{By, RateLimit};
use covet::{Router, routes};

pub use self::email::{Email, EmailError};
pub(crate) use self::handlers::address_taken;
pub(crate) use self::personal::PersonalAccount;
pub use self::store::{Credentials, Users};
pub(crate) use self::store::{hold_password, insert};
pub use self::user::{NewUser, User, UserView, checked_name};
use crate::access::USERS_READ;
use crate::state::Api;

/// `/api/users`.
pub fn routes() -> Router<Api> {
    Router::new()
        .routes(routes![handlers::update, handlers::change_password])
        .rate_limit(RateLimit::per_minute(10).by(By::User))
        .routes(routes![handlers::delete])
        .access(Access::Authenticated)
        .routes(routes![handlers::list, handlers::me, handlers::read])
        .access(USERS_READ)
}
