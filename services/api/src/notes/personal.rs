//! What is kept of a user here: their notes.

use covet::data::{Transaction, params};
use uuid::Uuid;

use super::note::NoteFilter;
use super::store::Notes;
use crate::cached;
use crate::privacy::{Document, PersonalData, Work};
use crate::state::Api;
use crate::web::page::PageQuery;

/// The member `notes`.
pub(crate) struct PersonalNotes;

impl PersonalData for PersonalNotes {
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str] {
        &["notes", "note_tags"]
    }

    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a> {
        Box::pin(async move {
            document.begin_list("notes")?;
            let mut query = PageQuery { limit: 100, cursor: None };
            loop {
                let notes = Notes(&api.db).list(user, &NoteFilter::default(), &query).await?;
                query.cursor = document.page(query.page(notes, |note| note.id)).await?;
                if query.cursor.is_none() {
                    break;
                }
            }
            document.end_list();
            Ok(())
        })
    }

    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            transaction.execute("DELETE FROM notes WHERE owner_id = $1", params![user]).await?;
            Ok(())
        })
    }

    fn erase_outside<'a>(&'a self, api: &'a Api, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            api.end(cached::notes_of(user)).await;
            Ok(())
        })
    }
}
