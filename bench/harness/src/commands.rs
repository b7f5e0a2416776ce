//! One file per command.

pub(crate) mod cache;
pub(crate) mod concerns;
pub(crate) mod database;
pub(crate) mod http;
pub(crate) mod idle_connections;
pub(crate) mod instructions;
pub(crate) mod start_up;
