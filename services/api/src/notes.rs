//! Notes: short texts with tags, each its owner's alone. Somebody else's note is answered as one that does not
//! exist, so that ids tell nothing.

mod handlers;
mod note;
mod personal;
mod store;
mod tag;

use covet::{Router, routes};

pub use self::note::{Note, NoteContent, NoteFilter};
pub(crate) use self::personal::PersonalNotes;
pub use self::store::Notes;
use crate::access::{NOTES_READ, NOTES_WRITE};
use crate::state::Api;

/// `/api/notes`.
pub fn routes() -> Router<Api> {
    Router::new()
        .routes(routes![handlers::list, handlers::read])
        .access(NOTES_READ)
        .routes(routes![handlers::create, handlers::update, handlers::delete])
        .access(NOTES_WRITE)
}
