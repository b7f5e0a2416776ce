//! How a ring is written: words, and PEM blocks between them.

use crate::keys::{KeyRingError, words};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One key as it is written.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    /// A shared secret.
    Word(&'a str),
    /// A PEM block, from its first dash to its last.
    Pem(&'a str),
}

/// The keys in their order.
///
/// # Errors
/// [`KeyRingError::NotPem`] where a block has no end, or dashes stand outside of blocks: the lines of a damaged block must not be
/// taken for secrets.
pub(super) fn entries(text: &str) -> Result<Vec<Entry<'_>>, KeyRingError> {
    let mut entries = Vec::new();
    let mut rest = text;
    loop {
        let (before, block) = rest.split_at(rest.find(BEGIN).unwrap_or(rest.len()));
        for word in words(before) {
            if word.contains(DASHES) {
                return Err(KeyRingError::NotPem { position: entries.len() + 1 });
            }
            entries.push(Entry::Word(word));
        }
        if block.is_empty() {
            return Ok(entries);
        }
        let length = block_length(block).ok_or(KeyRingError::NotPem { position: entries.len() + 1 })?;
        let (pem, after) = block.split_at(length);
        entries.push(Entry::Pem(pem));
        rest = after;
    }
}

/// To the dashes behind the label of the last line.
fn block_length(block: &str) -> Option<usize> {
    let label = block.find(END)? + END.len();
    Some(label + block[label..].find(DASHES)? + DASHES.len())
}
