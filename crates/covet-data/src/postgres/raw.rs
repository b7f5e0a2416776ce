//! [`PostgresConnection`]: the driver itself, for what `Db` does not do.

use std::ops::Deref;

use tokio::sync::mpsc;
use tokio_postgres::{Client, Notification};

use super::pool::Own;

/// A connection to PostgreSQL as `tokio-postgres` gives it: for `COPY`, `LISTEN`, and whatever else `Db` does not do.
/// Nothing on it is measured or limited in time. It takes one of the pool's places until it is dropped, and is closed
/// then, because nobody knows how its session was left.
///
/// ```no_run
/// # async fn listen(db: &covet_data::Db) -> Result<(), Box<dyn std::error::Error>> {
/// let mut connection = db.postgres().await?;
/// let mut notifications = connection.notifications();
/// connection.batch_execute("LISTEN orders").await?;
/// while let Some(notification) = notifications.recv().await {
///     println!("{}", notification.payload());
/// }
/// // The connection is lost: take another, and look for what was missed meanwhile.
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresConnection {
    own: Own,
}

impl PostgresConnection {
    pub(super) fn new(mut own: Own) -> Self {
        own.load.set_untimed(true);
        own.close_when_dropped();
        Self { own }
    }

    /// What `NOTIFY` sends to the channels this connection listens to, from now on. It ends with the connection.
    pub fn notifications(&mut self) -> mpsc::UnboundedReceiver<Notification> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.own.status.notify(sender);
        receiver
    }
}

impl Deref for PostgresConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.own.client
    }
}
