//! The exported document, written while it is sent: what somebody has kept may be more than fits into memory.

use std::io;

use covet::axum::body::{Body, Bytes};
use covet::{Error, Result};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::web::page::{Cursor, Page};

/// Sent at a time, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// Chunks that are written ahead of the client.
const CHUNKS_AHEAD: usize = 4;

/// One JSON object, member by member.
#[derive(Debug)]
pub(crate) struct Document {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    text: Vec<u8>,
    /// Whether a comma is due before what comes next.
    comma: bool,
}

/// The client does not want the rest.
#[derive(Debug, thiserror::Error)]
#[error("the client has left")]
struct Left;

impl Document {
    /// An empty document, and the body that it is sent as. The body fails if the document is dropped before its
    /// [end](Self::end).
    pub(super) fn new() -> (Self, Body) {
        let (chunks, mut received) = mpsc::channel(CHUNKS_AHEAD);
        let body = Body::from_stream(stream::poll_fn(move |context| received.poll_recv(context)));
        (Self { chunks, text: vec![b'{'], comma: false }, body)
    }

    /// A member with one value.
    ///
    /// # Errors
    /// When the client has left.
    pub(crate) async fn member(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        self.name(name)?;
        self.json(value)?;
        self.comma = true;
        self.send_if_full().await
    }

    /// Begins a member with a list.
    ///
    /// # Errors
    /// None that is expected.
    pub(crate) fn begin_list(&mut self, name: &str) -> Result<()> {
        self.name(name)?;
        self.text.push(b'[');
        self.comma = false;
        Ok(())
    }

    /// The next of the list.
    ///
    /// # Errors
    /// When the client has left.
    pub(crate) async fn item(&mut self, value: &impl Serialize) -> Result<()> {
        if self.comma {
            self.text.push(b',');
        }
        self.json(value)?;
        self.comma = true;
        self.send_if_full().await
    }

    /// The next page of the list; where the one after it begins.
    ///
    /// # Errors
    /// When the client has left.
    pub(crate) async fn page<T: Serialize>(&mut self, page: Page<T>) -> Result<Option<Cursor>> {
        for item in &page.items {
            self.item(item).await?;
        }
        Ok(page.next_cursor)
    }

    /// Ends the list.
    pub(crate) fn end_list(&mut self) {
        self.text.push(b']');
        self.comma = true;
    }

    /// Ends the document.
    pub(super) async fn end(mut self) -> Result<()> {
        self.text.extend_from_slice(b"}\n");
        self.send().await
    }

    /// Ends what has been sent so far as something that is not whole.
    pub(super) async fn break_off(self) {
        // Nobody has to be told who has left.
        let _ = self.chunks.send(Err(io::Error::other("the export could not be completed"))).await;
    }

    fn name(&mut self, name: &str) -> Result<()> {
        if self.comma {
            self.text.push(b',');
        }
        self.json(&name)?;
        self.text.push(b':');
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.text, value).map_err(Error::internal)
    }

    async fn send_if_full(&mut self) -> Result<()> {
        if self.text.len() < CHUNK_BYTES { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.text));
        self.chunks.send(Ok(chunk)).await.map_err(|_| Error::internal(Left))
    }
}

#[cfg(test)]
mod tests {
    use covet::axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn members_and_lists_are_one_json_object() {
        let (mut document, body) = Document::new();
        let writing = tokio::spawn(async move {
            document.member("schema", &"x/1").await.unwrap();
            document.begin_list("none").unwrap();
            document.end_list();
            document.begin_list("some").unwrap();
            for number in 0..10_000 {
                document.item(&number).await.unwrap();
            }
            document.end_list();
            document.member("last", &true).await.unwrap();
            document.end().await.unwrap();
        });
        let text = to_bytes(body, usize::MAX).await.unwrap();
        writing.await.unwrap();
        let read: Value = serde_json::from_slice(&text).unwrap();
        let some: Vec<u32> = (0..10_000).collect();
        assert_eq!(read, json!({"schema": "x/1", "none": [], "some": some, "last": true}));
    }

    #[tokio::test]
    async fn a_document_that_is_broken_off_is_no_whole_body() {
        let (mut document, body) = Document::new();
        document.member("schema", &"x/1").await.unwrap();
        let read = tokio::spawn(to_bytes(body, usize::MAX));
        document.break_off().await;
        assert!(read.await.unwrap().is_err());
    }
}
