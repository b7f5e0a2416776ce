//! The audit trail: who did what to what and when, in a table that shows when it has been tampered with.
//!
//! | you want | look in |
//! |---|---|
//! | to say what happened | [`Entry`] |
//! | to record it, in the transaction that does it | [`Trail::commit`] |
//! | to prove that nothing was changed, removed or put in another order | [`verify()`], [`Anchors`] |
//! | to forget a user, and still prove it | [`Trail::forget`] |
//! | to remove what is older than must be kept | [`Trail::cut`] |
//! | what exactly is hashed | `audit/stored.rs` |
//!
//! **One chain.** Each entry has a number, one more than the entry before it, and the hash of the entry before it, which its own
//! hash covers. A lock of the database, taken as the last thing before the commit, puts the writers of all instances in one
//! order, so the chain has the order of the commits and no holes. What is locked is an insert and a commit, not the work of
//! the request, and only those who write entries wait for one another.
//!
//! **No person in it.** A hash cannot be computed without all that it covers, so nothing of a person may be covered by it. A user
//! stands in an entry under a pseudonym, a random id; which user that is stands in a table of its own, and goes with the user.
//! The client's address and the request's id, which lead to the person, are covered by a salted digest only: they and the salt
//! can be taken out of an entry, and its hash remains what it was. What was changed is numbers, ids, times and words of
//! the program ([`Value`]), never text that somebody has typed.
//!
//! **The end is proved from outside.** Whoever can write to the database can cut off the end of the chain, or make all of it anew.
//! So every entry is a line of the log stream `covet.audit` too, with its number and hash: collected where the
//! database's administrators cannot write, these lines are the anchors that [`Anchors`] compares the chain with. A key
//! would not do that: the service would have it, and so would whoever has the service.
//!
//! The tables are the service's, as all tables are: migrations 0008 and 0009 of `services/api`. Their triggers refuse changes
//! and removals; that stops mistakes, not administrators.

mod anchor;
mod cut;
mod entry;
mod pseudonym;
mod stored;
mod trail;
mod verify;

pub use anchor::{Anchor, Anchors};
pub use entry::{Actor, Entry, Value};
pub use pseudonym::Forgotten;
pub use trail::{Recorded, Trail};
pub use verify::{Finding, Verification, verify};
