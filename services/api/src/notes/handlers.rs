//! `/api/notes`.

use std::sync::Arc;

use covet::axum::extract::State;
use covet::axum::response::{IntoResponse, Response};
use covet::data::Transaction;
use covet::identity::audit::Entry;
use covet::identity::caller::Caller;
use covet::ids::new_id;
use covet::{Error, Json, Path, Query, Result};
use http::{StatusCode, header};
use serde_json::json;
use uuid::Uuid;

use super::note::{NewNote, Note, NoteChange, NoteContent, NoteFilter, NoteQuery};
use super::store::{self, Notes};
use crate::auth::or_user_is_gone;
use crate::cached::{NOTE_LISTS, notes_of};
use crate::metrics::Feature;
use crate::state::Api;
use crate::web::page::{Page, PageQuery};
use crate::web::precondition::{Etag, IfMatch, IfNoneMatch, precondition_failed};
use crate::web::problems;

/// Lists your notes, newest first.
#[utoipa::path(
    get, path = "/api/notes", operation_id = "list_notes", tag = "notes",
    params(NoteQuery, PageQuery),
    responses(
        (status = 200, description = "A page of your notes.", body = Page<Note>),
        problems::BadRequest, problems::Unauthorized, problems::Unprocessable,
        problems::Other,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<PageQuery>,
    Query(filter): Query<NoteQuery>,
) -> Result<Json<Arc<Page<Note>>>> {
    let filter = filter.check()?;
    let load = async || -> Result<Page<Note>> {
        let notes = Notes(&api.db).list(caller.user_id, &filter, &page).await?;
        Ok(page.page(notes, |note| note.id))
    };
    let found = match filter.text {
        // Nobody looks for the same text all the time.
        Some(_) => Arc::new(load().await?),
        None => {
            let NoteFilter { tag, archived, .. } = &filter;
            let (limit, before) = (page.limit, page.before());
            let key = NOTE_LISTS.key(format_args!("{}:{limit}:{before}:{archived:?}:{tag:?}", caller.user_id));
            api.cache.get_or_load(&key.tag(notes_of(caller.user_id)), load).await?
        }
    };
    if filter != NoteFilter::default() {
        api.business.business_feature_usage_total(Feature::SearchNotes).increment(1);
    }
    Ok(Json(found))
}

/// Writes a note.
#[utoipa::path(
    post, path = "/api/notes", operation_id = "create_note", tag = "notes",
    request_body = NewNote,
    responses(
        (status = 201, description = "Written.", body = Note, headers(
            ("location" = String, description = "The note."), ("etag" = String, description = "Version."),
        )),
        problems::BadRequest, problems::Unauthorized, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable,
        problems::Other,
    )
)]
pub(super) async fn create(State(api): State<Api>, caller: Caller, Json(body): Json<NewNote>) -> Result<Response> {
    let content = body.check()?;
    let id = new_id(&api.clock);
    let transaction = api.db.begin().await?;
    let note = store::insert(&transaction, id, caller.user_id, content, api.now()).await.map_err(or_user_is_gone)?;
    api.feed.publish_after(&transaction, caller.user_id, "note.created", note.clone());
    api.used(&transaction, Feature::WriteNote);
    commit(&api, transaction, caller, None).await?;
    let location = [(header::LOCATION, format!("/api/notes/{id}"))];
    Ok((StatusCode::CREATED, location, note.etag(), Json(note)).into_response())
}

/// Shows one of your notes.
#[utoipa::path(
    get, path = "/api/notes/{id}", operation_id = "read_note", tag = "notes",
    params(
        ("id" = Uuid, Path, description = "The note."),
        ("if-none-match" = Option<String>, Header, description = "The `ETag` that you have."),
    ),
    responses(
        (status = 200, description = "The note.", body = Note, headers(("etag" = String, description = "Version."))),
        (status = 304, description = "As you have it."),
        problems::Unauthorized, problems::NotFound,
        problems::Other,
    )
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<Uuid>,
    known: IfNoneMatch,
) -> Result<Response> {
    let note = Notes(&api.db).find(id, caller.user_id).await?.ok_or_else(no_such_note)?;
    Ok(known.answer(note.etag(), Json(note)))
}

/// Changes one of your notes.
#[utoipa::path(
    patch, path = "/api/notes/{id}", operation_id = "update_note", tag = "notes",
    request_body = NoteChange,
    params(
        ("id" = Uuid, Path, description = "The note."),
        ("if-match" = Option<String>, Header, example = "\"v1\"", description = "The `ETag` of the version that you change. Needed."),
    ),
    responses(
        (status = 200, description = "Changed.", body = Note, headers(("etag" = String, description = "Version."))),
        problems::BadRequest, problems::Unauthorized, problems::NotFound, problems::PreconditionFailed,
        problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable, problems::PreconditionRequired,
        problems::Other,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<Uuid>,
    precondition: IfMatch,
    Json(change): Json<NoteChange>,
) -> Result<(Etag, Json<Note>)> {
    precondition.required()?;
    let transaction = api.db.begin().await?;
    let before = store::find(&transaction, id, caller.user_id).await?.ok_or_else(no_such_note)?;
    precondition.check(before.etag())?;
    let after = change.check(NoteContent::from(before.clone()))?;
    let Some(note) = store::update(&transaction, &before, after, api.now()).await? else {
        return Err(changed_meanwhile(&transaction, id, caller).await?);
    };
    api.feed.publish_after(&transaction, caller.user_id, "note.updated", note.clone());
    api.used(&transaction, Feature::ChangeNote);
    commit(&api, transaction, caller, None).await?;
    Ok((note.etag(), Json(note)))
}

/// Deletes one of your notes.
#[utoipa::path(
    delete, path = "/api/notes/{id}", operation_id = "delete_note", tag = "notes",
    params(
        ("id" = Uuid, Path, description = "The note."),
        ("if-match" = Option<String>, Header, example = "\"v1\"", description = "The `ETag` of the version to delete; any when absent."),
    ),
    responses(
        (status = 204, description = "Deleted."),
        problems::BadRequest, problems::Unauthorized, problems::NotFound, problems::PreconditionFailed,
        problems::Other,
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<Uuid>,
    precondition: IfMatch,
) -> Result<StatusCode> {
    let transaction = api.db.begin().await?;
    let before = store::find(&transaction, id, caller.user_id).await?.ok_or_else(no_such_note)?;
    precondition.check(before.etag())?;
    if !store::delete(&transaction, &before).await? {
        return Err(changed_meanwhile(&transaction, id, caller).await?);
    }
    api.feed.publish_after(&transaction, caller.user_id, "note.deleted", json!({ "id": id }));
    api.used(&transaction, Feature::ChangeNote);
    let entry = Entry::new("note_deleted", "note deleted").target("note", id);
    commit(&api, transaction, caller, Some(entry)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Commits a change of the caller's notes, recorded if it is to be, and ends the lists that are cached of them.
async fn commit(api: &Api, transaction: Transaction, caller: Caller, entry: Option<Entry>) -> Result<()> {
    let ending = api.end_after(&transaction, notes_of(caller.user_id));
    let committed = match entry {
        Some(entry) => api.trail.commit(transaction, entry).await,
        None => transaction.commit().await,
    };
    match committed {
        Ok(()) => ending.done().await,
        // It may have happened all the same.
        Err(_) => api.end(notes_of(caller.user_id)).await,
    }
    Ok(committed?)
}

/// Why a change found no row: somebody was quicker, or the note is gone.
async fn changed_meanwhile(transaction: &Transaction, id: Uuid, caller: Caller) -> Result<Error> {
    let present = store::find(transaction, id, caller.user_id).await?;
    Ok(present.map_or_else(no_such_note, |note| precondition_failed(note.etag())))
}

fn no_such_note() -> Error {
    Error::not_found().detail("There is no such note of yours.")
}
