//! Rows into Rust values by serde, strictly: what does not fit is an error that names the column, never a guess.
//!
//! The rules (each type of each database: docs/reference/database.md):
//!
//! | Rust | takes | on PostgreSQL | on SQLite |
//! |---|---|---|---|
//! | a struct | one column per field, by name. A field without a column, and a column that appears twice, are errors, also for an `Option`. Further columns are ignored, unless the struct says `deny_unknown_fields` | | |
//! | a tuple | exactly as many columns, by position | | |
//! | anything else | exactly one column | | |
//! | `Option<T>` | `NULL`, or what `T` takes. Nothing else takes `NULL` (but [`serde_json::Value`], which has one of its own) | | |
//! | `i8` … `u128` | a whole number within its range | any integer, NUMERIC that is whole | INTEGER |
//! | `f64` | `f32` too if nothing is lost | REAL, DOUBLE PRECISION | REAL; INTEGER only in a column declared NUMERIC or DECIMAL |
//! | `bool` | | BOOLEAN | 0 or 1 in a column declared BOOLEAN, or from an expression such as `EXISTS (…)` |
//! | `String` | what has no type of its own; `CAST(… AS TEXT)` asks for the text | TEXT, VARCHAR and the like, an enum | TEXT that is not declared UUID, TIMESTAMP, DATE, TIME or JSON |
//! | `Uuid`, `jiff::Timestamp` and other types that parse text | | the type they are for, or TEXT | TEXT |
//! | an enum of unit variants | the variant's name | TEXT, an enum | TEXT |
//! | `Vec<u8>`, `[u8; N]` | | BYTEA | BLOB |
//! | [`serde_json::Value`], structs, lists | | JSON, JSONB; lists of arrays too | JSON, in a column declared so |
//! | [`Json<T>`](crate::Json) | | JSON, JSONB, TEXT | JSON, in such a column, in TEXT, or from an expression |
//!
//! Here is what both drivers share: rows, names, refusals. Which value goes into which type: `sqlite/column.rs`,
//! `postgres/column.rs`.

mod bytes;
mod columns;
pub(crate) mod json;
mod refusal;
mod row;

pub(crate) use bytes::Bytes;
pub(crate) use columns::{Columns, Named};
pub(crate) use refusal::Refusal;
pub use refusal::RowMismatch;
pub(crate) use row::{Cells, row};
