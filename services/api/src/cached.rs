//! What is cached, and the tags by which it ends.
//!
//! The rule: whatever writes ends what it has made old, once that is committed, and answers only then. So who has written
//! reads what they wrote, on any instance.

use covet::cache::{Keyspace, Ttl};
use covet::data::Transaction;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::notes::Note;
use crate::state::Api;
use crate::web::page::Page;

/// Pages of lists of notes, by their owner and what was asked for.
pub(crate) static NOTE_LISTS: Keyspace<Page<Note>> = Keyspace::new("note_lists", Ttl::Response);

/// The tag of what is made of the list of users.
pub(crate) const USERS: &str = "users";

/// The tag of what is made of one user's notes.
pub(crate) fn notes_of(user: Uuid) -> String {
    format!("notes:{user}")
}

/// What a write has made old is being ended.
#[must_use = "the answer must not go out before it"]
pub(crate) struct Ending(oneshot::Receiver<()>);

impl Api {
    /// Ends what bears the tag. In a task: a client that goes away must not leave old answers behind.
    pub(crate) async fn end(&self, tag: impl Into<String>) {
        let (api, tag) = (self.clone(), tag.into());
        // It fails when the process is ending, and everything with it.
        let _ = tokio::spawn(async move { api.try_to_end(tag).await }).await;
    }

    /// Ends what bears the tag after the commit, also when nobody waits for that any more.
    pub(crate) fn end_after(&self, transaction: &Transaction, tag: impl Into<String>) -> Ending {
        let (done, ended) = oneshot::channel();
        let (api, tag, runtime) = (self.clone(), tag.into(), Handle::current());
        transaction.after_commit(move || {
            runtime.spawn(async move {
                api.try_to_end(tag).await;
                // Whoever has left does not want to know.
                let _ = done.send(());
            });
        });
        Ending(ended)
    }

    /// The write has happened; an invalidation that fails is delivered later by the cache itself.
    async fn try_to_end(&self, tag: String) {
        if let Err(error) = self.cache.invalidate([tag]).await {
            tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "cached answers could not be ended yet"
            );
        }
    }
}

impl Ending {
    /// Waits until it is done.
    pub(crate) async fn done(self) {
        // A hook that did not run has nothing to end.
        let _ = self.0.await;
    }
}
