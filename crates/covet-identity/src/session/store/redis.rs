//! Sessions in Redis: every instance finds them, and they last as long as Redis does.
//!
//! An owner's sessions lie in one hash, and the users' sessions of its group in one sorted set by when they end; what
//! changes both is one script. Hash and set share the hash tag of the group, so they lie in one slot of a cluster, and
//! the groups are spread over it. Every key has a time to live: that of the session that ends last.
//!
//! ```text
//! {service}:session:{17}:3fa9…   hash         <id>:k <id>:a <id>:u <id>:e <id>:v <id>:d …
//! {service}:session:{17}:open    sorted set   <id> by when it ends
//! ```
//!
//! Always from the primary: on a replica a session that has been ended may still be open.

use std::sync::LazyLock;
use std::time::Duration;

use covet_cache::redis::Script;
use covet_cache::redis::redis::{Cmd, FromRedisValue, cmd};
use covet_cache::{CacheOperation, Error, Redis};
use covet_telemetry::metrics::Registry;
use covet_telemetry::metrics::instruments::{CacheInstruments, CacheUse};
use uuid::Uuid;

use super::Listed;
use crate::session::record::{About, Contents, Stored, Times, Written};
use crate::session::token::{Owner, Place, SecretHash};

const PREFIX: &str = "session";
/// Groups of owners. Enough to be spread over a cluster, few enough to be asked together.
const GROUPS: u8 = 64;

macro_rules! script {
    ($name:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(include_str!("redis/prelude.lua"), include_str!(concat!("redis/", $name))))
        })
    };
}

static OPEN: LazyLock<Script> = script!("open.lua");
static TOUCH: LazyLock<Script> = script!("touch.lua");
static WRITE: LazyLock<Script> = script!("write.lua");
static RENEW: LazyLock<Script> = script!("renew.lua");
static END: LazyLock<Script> = script!("end.lua");
static END_ALL: LazyLock<Script> = script!("end_all.lua");
static LIST: LazyLock<Script> = script!("list.lua");

#[derive(Debug)]
pub(in crate::session) struct RedisStore {
    redis: Redis,
    instruments: CacheInstruments,
    found: CacheUse,
}

type Bytes = Vec<u8>;

impl RedisStore {
    pub(in crate::session) fn new(redis: Redis, metrics: &Registry) -> Self {
        let instruments = CacheInstruments::new(metrics, "redis");
        Self { redis, found: instruments.of_prefix(PREFIX), instruments }
    }

    pub(super) async fn load(&self, place: Place, now: i64) -> Result<Option<Stored>, Error> {
        let mut command = cmd("HMGET");
        command.arg(self.hash(place.owner));
        for field in ["k", "a", "u", "e", "v", "d"] {
            command.arg(format!("{}:{field}", place.id.simple()));
        }
        type Fields = (Option<Bytes>, Option<Bytes>, Option<i64>, Option<i64>, Option<u64>, Option<String>);
        let fields: Fields = self.redis.call(CacheOperation::Get, &command).await?;
        let (Some(secret), Some(about), Some(used), Some(expires), Some(version), Some(json)) = fields else {
            self.found.missed();
            return Ok(None);
        };
        self.found.hit();
        let times = Times { used, expires };
        let (Some(secret), Some(about)) = (SecretHash::from_stored(&secret), read_about(&about)) else {
            return Ok(None);
        };
        let stored = Stored { secret, about, times, contents: Contents { version, json } };
        Ok(Some(stored).filter(|stored| !stored.times.are_over(now)))
    }

    pub(super) async fn open(&self, place: Place, session: &Stored, now: i64, most: usize) -> Result<(), Error> {
        let about = serde_json::to_string(&session.about).unwrap_or_default();
        let arguments = [
            place.id.simple().to_string().as_bytes(),
            session.secret.as_bytes(),
            about.as_bytes(),
            session.contents.version.to_string().as_bytes(),
            session.contents.json.as_bytes(),
            now.to_string().as_bytes(),
            session.times.expires.to_string().as_bytes(),
            session.times.left(now).to_string().as_bytes(),
            most.to_string().as_bytes(),
            flag(session.about.user.is_some()),
        ]
        .map(<[u8]>::to_vec);
        self.run::<u8>(CacheOperation::Set, &OPEN, place.owner, &arguments).await?;
        self.instruments.stored_for(Duration::from_millis(session.times.left(now).unsigned_abs()));
        Ok(())
    }

    pub(super) async fn touch(&self, place: Place, times: Times, now: i64, is_users: bool) -> Result<bool, Error> {
        let arguments = [
            place.id.simple().to_string(),
            now.to_string(),
            times.used.to_string(),
            times.expires.to_string(),
            times.left(now).to_string(),
        ]
        .map(String::into_bytes);
        let arguments = [&arguments[..], &[flag(is_users).to_vec()]].concat();
        self.run::<bool>(CacheOperation::Expire, &TOUCH, place.owner, &arguments).await
    }

    pub(super) async fn write(&self, place: Place, before: u64, contents: &Contents) -> Result<Written, Error> {
        let arguments =
            [place.id.simple().to_string(), before.to_string(), contents.version.to_string(), contents.json.clone()]
                .map(String::into_bytes);
        type Reply = (u8, Option<u64>, Option<String>);
        match self.run::<Reply>(CacheOperation::Set, &WRITE, place.owner, &arguments).await? {
            (2, ..) => Ok(Written::Done),
            (1, Some(version), Some(json)) => Ok(Written::Newer(Contents { version, json })),
            _ => Ok(Written::Gone),
        }
    }

    pub(super) async fn renew(&self, place: Place, before: SecretHash, after: SecretHash) -> Result<bool, Error> {
        let id = place.id.simple().to_string();
        let arguments = [id.as_bytes(), before.as_bytes(), after.as_bytes()].map(<[u8]>::to_vec);
        self.run::<bool>(CacheOperation::Set, &RENEW, place.owner, &arguments).await
    }

    pub(super) async fn end(&self, place: Place) -> Result<bool, Error> {
        let arguments = [place.id.simple().to_string().into_bytes()];
        self.run::<bool>(CacheOperation::Delete, &END, place.owner, &arguments).await
    }

    pub(super) async fn end_all(&self, owner: Owner, but: Option<Uuid>, now: i64) -> Result<u64, Error> {
        let but = but.map(|id| id.simple().to_string()).unwrap_or_default();
        let arguments = [but, now.to_string()].map(String::into_bytes);
        self.run::<u64>(CacheOperation::Delete, &END_ALL, owner, &arguments).await
    }

    pub(super) async fn list(&self, owner: Owner, now: i64) -> Result<Vec<Listed>, Error> {
        let arguments = [now.to_string().into_bytes()];
        type Row = (String, Bytes, i64, i64);
        let rows = self.run::<Vec<Row>>(CacheOperation::Get, &LIST, owner, &arguments).await?;
        let listed = rows.into_iter().filter_map(|(id, about, used, expires)| {
            let id = Uuid::try_parse(&id).ok()?;
            Some(Listed { id, about: read_about(&about)?, times: Times { used, expires } })
        });
        Ok(listed.collect())
    }

    pub(super) async fn count(&self, now: i64) -> Result<u64, Error> {
        let count = |group| -> Cmd {
            let mut command = cmd("ZCOUNT");
            command.arg(self.set(group)).arg(format!("({now}")).arg("+inf");
            command
        };
        let commands: Vec<Cmd> = (0..GROUPS).map(count).collect();
        let counts: Vec<u64> = self.redis.all(CacheOperation::Get, &commands).await?;
        Ok(counts.into_iter().sum())
    }

    async fn run<T: FromRedisValue>(
        &self,
        operation: CacheOperation,
        script: &Script,
        owner: Owner,
        arguments: &[Bytes],
    ) -> Result<T, Error> {
        let keys = [self.hash(owner), self.set(owner.group(GROUPS))];
        let keys = keys.each_ref().map(Vec::as_slice);
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        self.redis.script(operation, script, &keys, &arguments).await
    }

    fn hash(&self, owner: Owner) -> Bytes {
        self.redis.key(PREFIX, format_args!("{{{}}}:{owner}", owner.group(GROUPS)))
    }

    fn set(&self, group: u8) -> Bytes {
        self.redis.key(PREFIX, format_args!("{{{group}}}:open"))
    }
}

fn flag(is_set: bool) -> &'static [u8] {
    if is_set { b"1" } else { b"0" }
}

/// What another release may have written so that this one cannot read it is told, and no session.
fn read_about(json: &[u8]) -> Option<About> {
    serde_json::from_slice(json)
        .inspect_err(
            |error| tracing::warn!(%error, "a session in Redis cannot be read, and its user has to log in again"),
        )
        .ok()
}
