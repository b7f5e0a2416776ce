//! Calls of other services over HTTP.
//!
//! ```no_run
//! # async fn example(client: &covet_client::Client) -> Result<(), covet_client::Error> {
//! #[derive(serde::Deserialize)]
//! struct Stock {
//!     pieces: u32,
//! }
//!
//! let stock: Stock = client
//!     .get("https://stock.internal/items/7")
//!     .template("/items/{id}")
//!     .send()
//!     .await?
//!     .error_for_status()?
//!     .json()
//!     .await?;
//! # let _ = stock.pieces;
//! # Ok(())
//! # }
//! ```
//!
//! What a call gets beside [`reqwest`], which it is made with:
//!
//! | | |
//! |---|---|
//! | trace and request id | `traceparent`, `tracestate`, `baggage` and `x-request-id` of the request at hand go along; each attempt has a span |
//! | a deadline | for all of it: attempts, pauses, the body of the answer |
//! | retries | where that is safe, within a budget for each host, so that a service that is down is not called all the more |
//! | TLS | plain HTTP is refused in production, with exceptions by name |
//! | errors without secrets | neither errors nor log lines nor spans hold a path, a query or a header |
//! | metrics | requests, durations, retries |
//!
//! | you want | look in |
//! |---|---|
//! | to make a call | [`Client`], [`Call`] |
//! | its answer | [`Response`] |
//! | what can go wrong | [`Error`] |
//! | what an operator can set | [`settings::ClientSettings`] |
//!
//! Not here: calls that are no HTTP, and load balancing over several addresses.

mod attempt;
mod call;
mod client;
mod error;
mod instruments;
mod plaintext;
mod response;
mod retry;
pub mod settings;
mod target;

pub use call::Call;
pub use client::{Client, ClientParts};
pub use error::Error;
pub use reqwest;
pub use response::Response;

/// What a call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
