//! A connection beside those of the service, to look at the file: it only reads, and has no limits.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result};

pub(super) fn open(file: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file, flags).map_err(|error| Error::Connection(error.to_string()))
}
