//! What every feature's handlers share: pages, preconditions, field checks, and their part of the OpenAPI document.

pub mod fields;
pub mod page;
pub mod precondition;
pub mod problems;
