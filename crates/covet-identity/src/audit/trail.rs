//! Recording: [`Trail`].

use covet_core::clock::Clock;
use covet_data::{Db, Error, Transaction, params};
use covet_telemetry::logging::{Actor as LogActor, audit, truncated_address};
use covet_telemetry::request::{self, Surroundings};
use covet_telemetry::settings::AddressPolicy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entry::{Actor, Entry, Target};
use super::pseudonym::{self, Forgotten};
use super::stored::{COLUMNS, NO_HASH, Origin, Stored};

/// The lock that puts writers in order.
const CHAIN: &str = "covet.audit.chain";

/// Records what happens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trail {
    pub(super) clock: Clock,
    addresses: AddressPolicy,
}

/// An entry, as its user may see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number.
    pub sequence: i64,
    /// When it happened.
    pub recorded_at: Timestamp,
    /// What happened.
    pub event: String,
    /// Why it failed, if it did.
    pub reason: Option<String>,
    /// What was changed, as JSON.
    pub changes: Option<String>,
    /// Where it came from, as far as that was kept.
    pub address: Option<String>,
}

/// What an entry says of people and things, under their names in the trail and in the log.
struct Names {
    actor: String,
    target: Option<String>,
    logged: Logged,
}

/// The line of the log that goes with an entry.
struct Logged {
    actor: Actor,
    target: Option<(&'static str, Uuid)>,
}

impl Trail {
    /// A trail that keeps as much of addresses as the policy of the log says.
    #[must_use]
    pub fn new(clock: Clock, addresses: AddressPolicy) -> Self {
        Self { clock, addresses }
    }

    /// Records the entry and commits the transaction: both or neither. After the commit the entry is in the log stream
    /// `covet.audit` too.
    ///
    /// From here to the end of the commit whoever else records something waits.
    ///
    /// For transactions that are read committed, as [`Db::begin`] and [`Db::transaction`] have them. A stricter one does not see
    /// the entry that was added while it waited, and fails with [`Error::Unique`] or [`Error::Serialization`]; where only one may do
    /// something at a time, [`Transaction::lock`] says so.
    ///
    /// # Errors
    /// As [`Transaction::commit`]; [`Error::Timeout`] when others have recorded for longer than a statement may take;
    /// [`Error::ForeignKey`] when the user who did it is gone. Nothing has happened then.
    pub async fn commit(&self, transaction: Transaction, entry: Entry) -> Result<(), Error> {
        self.append(&transaction, entry).await?;
        transaction.commit().await
    }

    /// Records something that changes nothing else in the database.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn record(&self, db: &Db, entry: Entry) -> Result<(), Error> {
        self.commit(db.begin().await?, entry).await
    }

    /// Takes out of the trail what leads to the user: which pseudonym is theirs, and where their entries came from. The
    /// chain stays provable. The entry that tells of it is given the answer: [`Entry::forgotten`].
    ///
    /// # Errors
    /// Of the database.
    pub async fn forget(&self, transaction: &Transaction, user: Uuid) -> Result<Forgotten, Error> {
        let forgotten = pseudonym::take(transaction, user).await?;
        let sql = "UPDATE audit_entries SET address = NULL, request_id = NULL, origin_salt = NULL
                   WHERE (actor = $1 OR target = $1) AND origin_salt IS NOT NULL";
        transaction.execute(sql, params![user_text(forgotten.pseudonym)]).await?;
        Ok(forgotten)
    }

    /// What the trail has of a user, oldest first: a page of at most `limit` entries after the one with number `after`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn entries_of(&self, db: &Db, user: Uuid, after: i64, limit: u32) -> Result<Vec<Recorded>, Error> {
        let sql = "SELECT pseudonym FROM audit_pseudonyms WHERE user_id = $1";
        let Some(pseudonym) = db.write().optional::<Uuid>(sql, params![user]).await? else { return Ok(Vec::new()) };
        let sql = "SELECT sequence, recorded_at, event, reason, changes, address FROM audit_entries
                   WHERE (actor = $1 OR target = $1) AND sequence > $2 ORDER BY sequence LIMIT $3";
        db.write().all(sql, params![user_text(pseudonym), after, i64::from(limit)]).await
    }

    /// The last statements of a transaction: the lock is held until it ends.
    pub(super) async fn append(&self, transaction: &Transaction, entry: Entry) -> Result<(), Error> {
        let names = names(transaction, &entry).await?;
        // Where somebody came from who is being forgotten goes with them.
        let origin = if entry.forgotten.is_some() { None } else { self.origin() };
        transaction.lock(CHAIN).await?;
        let sql = "SELECT sequence, hash FROM audit_entries ORDER BY sequence DESC LIMIT 1";
        let (last, previous_hash) = match transaction.optional::<(i64, String)>(sql, params![]).await? {
            Some(last) => last,
            None => (0, NO_HASH.to_owned()),
        };
        let now = self.clock.now();
        let mut stored = Stored {
            sequence: last + 1,
            // As precise as the database keeps it, or the hash would be another when it is read.
            recorded_at: Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
            event: entry.event.to_owned(),
            reason: entry.reason.map(str::to_owned),
            actor: names.actor,
            target: names.target,
            changes: entry.changes_text(),
            address: None,
            request_id: None,
            origin_salt: None,
            origin_digest: None,
            previous_hash,
            hash: String::new(),
        };
        if let Some(origin) = origin {
            stored.set_origin(origin);
        }
        stored.hash = stored.computed_hash();
        insert(transaction, &stored).await?;
        let mut surroundings = Surroundings::here();
        let (logged, sequence, hash) = (names.logged, stored.sequence, stored.hash);
        transaction.after_commit(move || surroundings.enter(|| logged.log(&entry, sequence, &hash)));
        Ok(())
    }

    /// Where the request at hand came from; nowhere outside a request.
    fn origin(&self) -> Option<Origin> {
        let (client, request_id) = request::current(|scope| (scope.client(), scope.id().as_str().to_owned()))?;
        let address = match self.addresses {
            AddressPolicy::Full => Some(client.to_string()),
            AddressPolicy::Truncated => Some(truncated_address(client).to_string()),
            // What the log puts in its place cannot be compared with anything here: its key is the log's.
            AddressPolicy::Hashed | AddressPolicy::Off => None,
        };
        Some(Origin { address, request_id })
    }
}

/// Before the lock: nobody waits for these look-ups.
async fn names(transaction: &Transaction, entry: &Entry) -> Result<Names, Error> {
    if let Some(Forgotten { user, pseudonym }) = entry.forgotten {
        let text = user_text(pseudonym);
        let logged = Logged { actor: Actor::User(user), target: Some(("user", user)) };
        return Ok(Names { actor: text.clone(), target: Some(text), logged });
    }
    let actor = entry.actor.unwrap_or_else(Actor::here);
    let actor_text = match actor {
        Actor::Anonymous => "anonymous".to_owned(),
        Actor::Service => "service".to_owned(),
        Actor::User(user) => user_text(pseudonym::of(transaction, user).await?),
    };
    let (target, logged) = match entry.target {
        None => (None, None),
        Some(Target::Thing(kind, id)) => (Some(format!("{kind}:{id}")), Some((kind, id))),
        Some(Target::User(user)) => {
            let text = if user.is_some_and(|user| actor == Actor::User(user)) {
                Some(actor_text.clone())
            } else {
                pseudonym::of_if_known(transaction, user).await?.map(user_text)
            };
            (text, user.map(|user| ("user", user)))
        }
    };
    Ok(Names { actor: actor_text, target, logged: Logged { actor, target: logged } })
}

/// A user in the columns `actor` and `target`.
fn user_text(pseudonym: Uuid) -> String {
    format!("user:{pseudonym}")
}

async fn insert(transaction: &Transaction, stored: &Stored) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO audit_entries ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    );
    let values = params![
        stored.sequence,
        stored.recorded_at,
        stored.event,
        stored.reason,
        stored.actor,
        stored.target,
        stored.changes,
        stored.address,
        stored.request_id,
        stored.origin_salt,
        stored.origin_digest,
        stored.previous_hash,
        stored.hash,
    ];
    transaction.execute(&sql, values).await.map(drop)
}

impl Logged {
    fn log(&self, entry: &Entry, sequence: i64, hash: &str) {
        let user;
        let actor = match self.actor {
            Actor::Anonymous => LogActor::Anonymous,
            Actor::Service => LogActor::Service,
            Actor::User(id) => {
                user = id.to_string();
                LogActor::User(&user)
            }
        };
        let mut record = audit(entry.event).actor(actor).entry(sequence, hash);
        if let Some((kind, id)) = self.target {
            record = record.target(kind, id);
        }
        if let Some(reason) = entry.reason {
            record = record.failure(reason);
        }
        record.log(entry.message);
    }
}
