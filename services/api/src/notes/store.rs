//! The tables `notes` and `note_tags`. Every statement names the owner, so nobody else's note is ever touched.

use covet::data::{Db, Error, Params, Transaction, params};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::note::{Note, NoteContent, NoteFilter};
use crate::web::page::PageQuery;

/// Reads notes. Writing goes through a transaction, which also tells the feed once it is committed.
#[derive(Debug, Clone, Copy)]
pub struct Notes<'a>(pub &'a Db);

/// A note with one of its tags; a note with several comes in as many rows.
#[derive(Debug, Deserialize)]
struct Row {
    id: Uuid,
    title: String,
    body: String,
    archived: bool,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    tag: Option<String>,
}

impl Notes<'_> {
    /// One of the owner's notes.
    ///
    /// # Errors
    /// Of the database.
    pub async fn find(self, id: Uuid, owner: Uuid) -> Result<Option<Note>, Error> {
        Ok(fold(self.0.read().all::<Row>(FIND, params![id, owner]).await?).pop())
    }

    /// A page of the owner's notes, newest first. From the primary: what is cached of it must not be older than the write
    /// that ended what was cached before.
    ///
    /// # Errors
    /// Of the database.
    pub async fn list(self, owner: Uuid, filter: &NoteFilter, page: &PageQuery) -> Result<Vec<Note>, Error> {
        let (sql, values) = list_statement(owner, filter, page);
        Ok(fold(self.0.write().all::<Row>(&sql, values).await?))
    }
}

const FIND: &str = "SELECT n.id, n.title, n.body, n.archived, n.version, n.created_at, n.updated_at, t.tag
                    FROM notes n LEFT JOIN note_tags t ON t.note_id = n.id
                    WHERE n.id = $1 AND n.owner_id = $2
                    ORDER BY t.tag";

/// Stores a new note.
///
/// # Errors
/// Of the database; a foreign key's when the owner is gone.
pub(super) async fn insert(
    transaction: &Transaction,
    id: Uuid,
    owner: Uuid,
    new: NoteContent,
    now: Timestamp,
) -> Result<Note, Error> {
    let sql = "INSERT INTO notes (id, owner_id, title, body, archived, version, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, 1, $6, $6)";
    transaction.execute(sql, params![id, owner, new.title, new.body, new.archived, now]).await?;
    insert_tags(transaction, id, &new.tags).await?;
    Ok(note(id, new, 1, now, now))
}

/// One of the owner's notes, as it is for the transaction.
///
/// # Errors
/// Of the database.
pub(super) async fn find(transaction: &Transaction, id: Uuid, owner: Uuid) -> Result<Option<Note>, Error> {
    Ok(fold(transaction.all::<Row>(FIND, params![id, owner]).await?).pop())
}

/// Stores what a note says now, if nobody has changed `before` meanwhile; else `None`.
///
/// # Errors
/// Of the database.
pub(super) async fn update(
    transaction: &Transaction,
    before: &Note,
    after: NoteContent,
    now: Timestamp,
) -> Result<Option<Note>, Error> {
    let sql = "UPDATE notes SET title = $3, body = $4, archived = $5, version = version + 1, updated_at = $6
               WHERE id = $1 AND version = $2";
    let values = params![before.id, before.version, after.title, after.body, after.archived, now];
    if transaction.execute(sql, values).await? == 0 {
        return Ok(None);
    }
    if after.tags != before.tags {
        transaction.execute("DELETE FROM note_tags WHERE note_id = $1", params![before.id]).await?;
        insert_tags(transaction, before.id, &after.tags).await?;
    }
    Ok(Some(note(before.id, after, before.version + 1, before.created_at, now)))
}

/// Deletes a note, if nobody has changed it meanwhile; else false.
///
/// # Errors
/// Of the database.
pub(super) async fn delete(transaction: &Transaction, note: &Note) -> Result<bool, Error> {
    let sql = "DELETE FROM notes WHERE id = $1 AND version = $2";
    Ok(transaction.execute(sql, params![note.id, note.version]).await? == 1)
}

async fn insert_tags(transaction: &Transaction, note: Uuid, tags: &[String]) -> Result<(), Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut values = params![note];
    let rows: Vec<String> = tags.iter().map(|tag| format!("($1, ${})", values.push(tag))).collect();
    let sql = format!("INSERT INTO note_tags (note_id, tag) VALUES {}", rows.join(", "));
    transaction.execute(&sql, values).await?;
    Ok(())
}

/// The page is cut before the tags are joined, so that a note with many tags still counts as one.
fn list_statement(owner: Uuid, filter: &NoteFilter, page: &PageQuery) -> (String, Params) {
    let mut values = params![owner, page.before()];
    let mut conditions = String::new();
    if let Some(archived) = filter.archived {
        conditions += &format!(" AND archived = ${}", values.push(&archived));
    }
    if let Some(tag) = &filter.tag {
        let tag = values.push(tag);
        conditions += &format!(" AND EXISTS (SELECT 1 FROM note_tags WHERE note_id = notes.id AND tag = ${tag})");
    }
    if let Some(text) = &filter.text {
        let text = values.push(&format!("%{}%", like_literal(&text.to_lowercase())));
        conditions += &format!(" AND (lower(title) LIKE ${text} ESCAPE '!' OR lower(body) LIKE ${text} ESCAPE '!')");
    }
    let limit = values.push(&page.rows());
    let sql = format!(
        "SELECT n.id, n.title, n.body, n.archived, n.version, n.created_at, n.updated_at, t.tag
         FROM (SELECT id, title, body, archived, version, created_at, updated_at FROM notes
               WHERE owner_id = $1 AND id < $2{conditions}
               ORDER BY id DESC LIMIT ${limit}) n
         LEFT JOIN note_tags t ON t.note_id = n.id
         ORDER BY n.id DESC, t.tag"
    );
    (sql, values)
}

/// Takes the meaning from `%` and `_`, so that they are looked for as they are.
fn like_literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            literal.push('!');
        }
        literal.push(c);
    }
    literal
}

/// Puts the rows of each note together; they follow one another.
fn fold(rows: Vec<Row>) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for row in rows {
        match notes.last_mut() {
            Some(last) if last.id == row.id => last.tags.extend(row.tag),
            _ => {
                let content = NoteContent {
                    title: row.title,
                    body: row.body,
                    tags: row.tag.into_iter().collect(),
                    archived: row.archived,
                };
                notes.push(note(row.id, content, row.version, row.created_at, row.updated_at));
            }
        }
    }
    notes
}

fn note(id: Uuid, content: NoteContent, version: i64, created_at: Timestamp, updated_at: Timestamp) -> Note {
    let NoteContent { title, body, tags, archived } = content;
    Note { id, title, body, tags, archived, created_at, updated_at, version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_looked_for_as_they_are() {
        assert_eq!(like_literal("100% of_it!"), "100!% of!_it!!");
    }

    #[test]
    fn the_statement_names_only_parameters() {
        let filter = NoteFilter { text: Some("'; --".into()), tag: Some("a".into()), archived: Some(false) };
        let (sql, values) = list_statement(Uuid::nil(), &filter, &PageQuery::default());
        assert!(!sql.contains("--"));
        assert_eq!(values.as_slice().len(), 6);
        assert!(sql.contains("LIMIT $6"));
    }
}
