//! A primary that dies, hangs, is demoted or comes back; replicas that lag. All servers are real.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::health::{Check, Status};
use covet_core::problem::AsProblem as _;
use covet_data::settings::DatabaseSettings;
use covet_data::{DatabaseCheck, Db, Error, Position, params};
use covet_testkit::Postgres;

use super::health_and_metrics::{registry, value};
use super::support::{INSERT, THINGS, eventually};

async fn connect(servers: &[&Postgres], change: impl FnOnce(&mut DatabaseSettings)) -> Db {
    let mut settings = DatabaseSettings::at(&Postgres::url_of(servers));
    change(&mut settings);
    Db::connect(&settings, Clock::system()).await.unwrap()
}

fn replicas(of: &[&Postgres]) -> impl FnOnce(&mut DatabaseSettings) {
    let at = DatabaseSettings::at(&Postgres::url_of(of)).url;
    move |settings| {
        let urls = covet_core::settings::Value::parse(covet_core::settings::Value::show(&at).as_str());
        settings.replica_urls = Some(urls.unwrap());
        settings.replica_max_lag = Duration::from_secs(2);
    }
}

/// How the database is, replicas that can be read from, and replicas.
async fn health(db: &Db) -> (Status, u64, u64) {
    let outcome = DatabaseCheck::new(db.clone()).check().await;
    let reading = |name: &str| outcome.readings[name].as_u64().unwrap();
    (outcome.status, reading("replicas_fresh"), reading("replicas"))
}

/// As every caller of an API is to be told: 503, and when to try again.
#[track_caller]
fn try_again(error: &Error) {
    let problem = error.problem();
    assert!(error.is_retryable() && problem.status == 503 && problem.retry_after.is_some(), "{error:?}");
}

#[tokio::test]
async fn writes_resume_by_themselves_on_the_promoted_replica_and_nothing_acknowledged_is_lost() {
    let mut primary = Postgres::start().await.unwrap();
    let (one, other) = (primary.replica().await.unwrap(), primary.replica().await.unwrap());
    primary.wait_for_replicas_at_commit().await.unwrap();
    let db = connect(&[&primary, &one, &other], |_| {}).await;
    db.write().execute(THINGS, params![]).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let clock = Clock::system();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (db, stop, clock) = (db.clone(), Arc::clone(&stop), clock.clone());
            tokio::spawn(async move {
                let (mut acknowledged, mut failed, mut last_failure) = (Vec::new(), 0_usize, None);
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("{writer}-{n}");
                    let started = clock.monotonic();
                    match db.write().execute(INSERT, params![name]).await {
                        Ok(_) => acknowledged.push(name),
                        Err(error) => {
                            try_again(&error);
                            failed += 1;
                            last_failure = Some(clock.monotonic());
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    let took = clock.monotonic() - started;
                    assert!(took < Duration::from_secs(15), "a write hung for {took:?}");
                }
                (acknowledged, failed, last_failure)
            })
        })
        .collect();
    eventually("some are written", async || {
        db.read().one::<i64>("SELECT count(*) FROM things", params![]).await.is_ok_and(|count| count > 200)
    })
    .await;
    primary.kill9().await.unwrap();
    let heir = Postgres::furthest(&[&one, &other]).await.unwrap();
    heir.promote().await.unwrap();
    let promoted = clock.monotonic();
    let before: u64 = heir.psql("SELECT count(*) FROM things").await.unwrap().parse().unwrap();
    eventually("writes arrive at the new primary", async || {
        heir.psql("SELECT count(*) FROM things").await.unwrap().parse::<u64>().unwrap() > before + 200
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut failed, mut gap) = (Vec::new(), 0, Duration::ZERO);
    for writer in writers {
        let (names, failures, last_failure) = writer.await.unwrap();
        acknowledged.extend(names);
        failed += failures;
        gap = gap.max(last_failure.map_or(Duration::ZERO, |at| at.saturating_duration_since(promoted)));
    }
    let there = heir.psql("SELECT name FROM things").await.unwrap();
    let there: BTreeSet<&str> = there.lines().collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged, and lost: {lost:?}");
    // A target of two seconds, and slack for a busy machine.
    assert!(gap < Duration::from_secs(10), "writes failed for {gap:?} after the promotion");
    println!("{} acknowledged, {failed} refused, the last {gap:?} after the promotion", acknowledged.len());
}

#[tokio::test]
async fn a_dead_database_is_told_at_once_and_found_again() {
    let mut primary = Postgres::start().await.unwrap();
    let db = connect(&[&primary], |_| {}).await;
    let check = DatabaseCheck::new(db.clone());
    let read = async || db.read().one::<i32>("SELECT 1", params![]).await;
    for _ in 0..20 {
        read().await.unwrap();
    }
    primary.kill9().await.unwrap();
    eventually("it is known to be dead", async || matches!(read().await, Err(Error::Connection(_)))).await;
    let clock = Clock::system();
    let started = clock.monotonic();
    for _ in 0..2_000 {
        match read().await {
            Err(error) => try_again(&error),
            Ok(_) => panic!("nobody is there to answer"),
        }
    }
    let each = (clock.monotonic() - started) / 2_000;
    assert!(each < Duration::from_millis(2), "a refusal took {each:?}");
    assert_eq!(check.check().await.status, Status::Unhealthy);
    primary.start_again().await.unwrap();
    eventually("it answers again", async || read().await.is_ok()).await;
    eventually("it is healthy", async || check.check().await.status == Status::Healthy).await;
    eventually("the minimum is open", async || db.connections().idle >= 5).await;
}

#[tokio::test]
async fn what_is_in_flight_when_the_server_dies_fails_with_a_typed_error_and_reads_go_on_elsewhere() {
    let mut primary = Postgres::start().await.unwrap();
    let db = connect(&[&primary], |_| {}).await;
    db.write().execute(THINGS, params![]).await.unwrap();
    let transaction = db.begin().await.unwrap();
    transaction.execute(INSERT, params!["a"]).await.unwrap();
    let idle = db.begin().await.unwrap();
    let cloned = db.clone();
    let write = tokio::spawn(async move { cloned.write().execute("SELECT pg_sleep(60)", params![]).await });
    eventually("it runs", async || {
        primary
            .psql("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'")
            .await
            .unwrap()
            == "1"
    })
    .await;
    primary.kill9().await.unwrap();
    let lost = write.await.unwrap().unwrap_err();
    assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
    try_again(&lost);
    try_again(&transaction.execute(INSERT, params!["b"]).await.unwrap_err());
    try_again(&transaction.commit().await.unwrap_err());
    try_again(&idle.commit().await.unwrap_err());
    primary.start_again().await.unwrap();
    eventually("it answers again", async || db.read().one::<i32>("SELECT 1", params![]).await.is_ok()).await;
    assert_eq!(db.read().one::<i64>("SELECT count(*) FROM things", params![]).await.unwrap(), 0);

    // A read whose connection is ended, with the server there, is run again.
    let cloned = db.clone();
    let read = tokio::spawn(async move { cloned.read().one::<i32>("SELECT 7 FROM pg_sleep(0.5)", params![]).await });
    eventually("its session is ended", async || {
        primary
            .psql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'SELECT 7 FROM%' \
                      AND state = 'active'",
            )
            .await
            .unwrap()
            == "1"
    })
    .await;
    assert_eq!(read.await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_found_again() {
    let primary = Postgres::start().await.unwrap();
    let db = connect(&[&primary], |settings| settings.connect_timeout = Duration::from_secs(1)).await;
    let check = DatabaseCheck::new(db.clone());
    let read = async || db.read().one::<i32>("SELECT 1", params![]).await;
    for _ in 0..20 {
        read().await.unwrap();
    }
    let mut transactions = Vec::new();
    for _ in 0..3 {
        transactions.push(db.begin().await.unwrap());
    }
    primary.pause().unwrap();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.read().one::<i32>("SELECT 1", params![]).await })
        })
        .collect();
    for read in waiting {
        try_again(&read.await.unwrap().unwrap_err());
    }
    let clock = Clock::system();
    let started = clock.monotonic();
    for transaction in transactions {
        try_again(&transaction.commit().await.unwrap_err());
    }
    try_again(&read().await.unwrap_err());
    assert_eq!(check.check().await.status, Status::Unhealthy);
    assert!(clock.monotonic() - started < Duration::from_secs(5), "it is given up already");
    primary.resume().unwrap();
    eventually("it answers again", async || read().await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_hangs_while_every_connection_is_in_use_is_given_up_long_before_the_statement_timeout() {
    let primary = Postgres::start().await.unwrap();
    let small = |settings: &mut DatabaseSettings| {
        (settings.pool_min, settings.pool_max) = (2, 2);
        settings.connect_timeout = Duration::from_secs(1);
    };
    let db = connect(&[&primary], small).await;
    let sleepers: Vec<_> = (0..2)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.write().execute("SELECT pg_sleep(25)", params![]).await })
        })
        .collect();
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    eventually("both are in use", async || primary.psql(asleep).await.unwrap() == "2").await;
    // Slow statements alone are no reason.
    let clock = Clock::system();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(primary.psql(asleep).await.unwrap(), "2");
    primary.pause().unwrap();
    let paused = clock.monotonic();
    for sleeper in sleepers {
        try_again(&sleeper.await.unwrap().unwrap_err());
    }
    assert!(clock.monotonic() - paused < Duration::from_secs(15), "after {:?}", clock.monotonic() - paused);
    primary.resume().unwrap();
    eventually("it answers again", async || db.read().one::<i32>("SELECT 1", params![]).await.is_ok()).await;
}

#[tokio::test]
async fn a_replica_that_is_promoted_while_the_old_primary_is_silent_is_found_at_once() {
    let old = Postgres::start().await.unwrap();
    let new = old.replica().await.unwrap();
    // A machine without power refuses nothing: it is silent for as long as anybody waits.
    let db = connect(&[&old, &new], |settings| settings.connect_timeout = Duration::from_secs(60)).await;
    db.write().execute(THINGS, params![]).await.unwrap();
    eventually("the replica has it", async || new.psql("SELECT count(*) FROM things").await.is_ok()).await;
    old.pause().unwrap();
    eventually("it is given up", async || {
        matches!(db.write().execute(INSERT, params!["x"]).await, Err(Error::Connection(_)))
    })
    .await;
    // Long enough that the other host has said what it is: a replica.
    tokio::time::sleep(Duration::from_secs(2)).await;
    new.promote().await.unwrap();
    eventually("the new one is found", async || db.write().execute(INSERT, params!["a"]).await.is_ok()).await;
    old.resume().unwrap();
    assert_eq!(new.psql("SELECT count(*) FROM things WHERE name = 'a'").await.unwrap(), "1");
}

#[tokio::test]
async fn commits_that_wait_for_a_lost_replica_do_not_use_up_the_servers_connections() {
    let primary = Postgres::start().await.unwrap();
    let mut replica = primary.replica().await.unwrap();
    primary.wait_for_replicas_at_commit().await.unwrap();
    let db = connect(&[&primary], |settings| settings.statement_timeout = Duration::from_secs(3)).await;
    db.write().execute(THINGS, params![]).await.unwrap();
    replica.kill9().await.unwrap();
    let clock = Clock::system();
    let began = clock.monotonic();
    let writers = (0..8).map(|writer| {
        let (db, clock) = (db.clone(), clock.clone());
        async move {
            for n in 0.. {
                if clock.monotonic() - began > Duration::from_secs(12) {
                    break;
                }
                // The server never says that a commit waits: whoever asked hears that it is unknown.
                try_again(&db.write().execute(INSERT, params![format!("{writer}-{n}")]).await.unwrap_err());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let sessions: usize = primary.psql(sessions).await.unwrap().parse().unwrap();
    assert!(sessions <= 22, "{sessions} sessions of a pool of 20, and psql's own");
    replica.start_again().await.unwrap();
    eventually("commits are confirmed again", async || db.write().execute(INSERT, params!["confirmed"]).await.is_ok())
        .await;
}

#[tokio::test]
async fn a_server_that_refuses_writes_is_left_until_it_takes_them_again() {
    let primary = Postgres::start().await.unwrap();
    let db = connect(&[&primary], |_| {}).await;
    db.write().execute(THINGS, params![]).await.unwrap();
    primary.psql("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    primary.psql("SELECT pg_reload_conf()").await.unwrap();
    eventually("writes are refused", async || match db.write().execute(INSERT, params!["a"]).await {
        Ok(_) => false,
        Err(error) => {
            try_again(&error);
            true
        }
    })
    .await;
    eventually("it is told why", async || match db.write().execute(INSERT, params!["b"]).await {
        Err(Error::Connection(why)) => why.contains("is set to refuse writes"),
        other => panic!("{other:?}"),
    })
    .await;
    primary.psql("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    primary.psql("SELECT pg_reload_conf()").await.unwrap();
    eventually("writes are taken again", async || db.write().execute(INSERT, params!["c"]).await.is_ok()).await;
}

#[tokio::test]
async fn a_primary_that_comes_back_after_it_was_replaced_is_not_written_to() {
    let mut old = Postgres::start().await.unwrap();
    let mut new = old.replica().await.unwrap();
    let db = connect(&[&old, &new], |_| {}).await;
    db.write().execute(THINGS, params![]).await.unwrap();
    eventually("the replica has it", async || new.psql("SELECT count(*) FROM things").await.is_ok()).await;
    old.kill9().await.unwrap();
    new.promote().await.unwrap();
    let written = async |name: &str| db.write().execute(INSERT, params![name]).await.is_ok();
    eventually("the new one is found", async || written("to the new").await).await;
    // Nobody has told the old one.
    old.start_again().await.unwrap();
    new.kill9().await.unwrap();
    eventually("the old one is looked at and refused", async || {
        match db.write().execute(INSERT, params!["lost"]).await {
            Ok(_) => panic!("it was written to a server that had been replaced"),
            Err(Error::Connection(why)) => why.contains("was replaced as primary by another server"),
            Err(_) => false,
        }
    })
    .await;
    assert_eq!(old.psql("SELECT count(*) FROM things").await.unwrap(), "0");
    new.start_again().await.unwrap();
    eventually("the new one is found again", async || written("to the new one again").await).await;
}

/// A primary with two replicas, and how often each replica was read from.
struct Set {
    primary: Postgres,
    replicas: [Postgres; 2],
    db: Db,
}

impl Set {
    async fn start() -> Self {
        let primary = Postgres::start().await.unwrap();
        let replicas = [primary.replica().await.unwrap(), primary.replica().await.unwrap()];
        let db = connect(&[&primary], self::replicas(&[&replicas[0], &replicas[1]])).await;
        db.write().execute(THINGS, params![]).await.unwrap();
        Self { primary, replicas, db }
    }

    /// The port of the server that answers a read.
    async fn answers(&self) -> u16 {
        let sql = "SELECT current_setting('port')::int";
        u16::try_from(self.db.read().one::<i32>(sql, params![]).await.unwrap()).unwrap()
    }

    async fn answer_all(&self, ports: &[u16]) -> bool {
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            seen.insert(self.answers().await);
        }
        seen == ports.iter().copied().collect()
    }

    fn ports(&self) -> [u16; 2] {
        [self.replicas[0].port(), self.replicas[1].port()]
    }
}

#[tokio::test]
async fn reads_go_to_replicas_and_not_to_one_that_is_behind_or_gone() {
    let mut set = Set::start().await;
    let [one, other] = set.ports();
    let primary = set.primary.port();
    eventually("both replicas answer", async || set.answer_all(&[one, other]).await).await;
    // As the replicas have it.
    for _ in 0..100 {
        set.answers().await;
    }
    for replica in &set.replicas {
        let sql = "SELECT xact_commit > 40 FROM pg_stat_database WHERE datname = 'covet'";
        eventually("it has counted them", async || replica.psql(sql).await.unwrap() == "t").await;
    }
    let write = async |name: &str| set.db.write().execute(INSERT, params![name]).await.unwrap();
    set.replicas[0].psql("SELECT pg_wal_replay_pause()").await.unwrap();
    let mut n = 0;
    eventually("the one that is behind is left", async || {
        n += 1;
        write(&format!("while behind {n}")).await;
        set.answer_all(&[other]).await
    })
    .await;
    set.replicas[0].psql("SELECT pg_wal_replay_resume()").await.unwrap();
    eventually("it has caught up", async || set.answer_all(&[one, other]).await).await;

    set.replicas[1].kill9().await.unwrap();
    eventually("only the other answers", async || set.answer_all(&[one]).await).await;
    eventually("it is missed", async || health(&set.db).await == (Status::Degraded, 1, 2)).await;
    set.replicas[0].kill9().await.unwrap();
    eventually("the primary answers", async || set.answer_all(&[primary]).await).await;
    set.replicas[0].start_again().await.unwrap();
    set.replicas[1].start_again().await.unwrap();
    eventually("both answer again", async || set.answer_all(&[one, other]).await).await;
    assert_eq!(health(&set.db).await, (Status::Healthy, 2, 2));

    // Writes and transactions never go there.
    let writer = set.db.write();
    let sql = "SELECT current_setting('port')::int";
    assert_eq!(writer.one::<i32>(sql, params![]).await.unwrap(), i32::from(primary));
    // Without the primary, reads go on.
    set.primary.kill9().await.unwrap();
    eventually("the primary is missed", async || health(&set.db).await == (Status::Degraded, 2, 2)).await;
    assert!(set.answer_all(&[one, other]).await);
    try_again(&set.db.write().execute(INSERT, params!["x"]).await.unwrap_err());
}

#[tokio::test]
async fn whoever_lists_all_servers_as_replicas_misses_none_because_one_is_the_primary() {
    registry();
    let old = Postgres::start().await.unwrap();
    let (new, other) = (old.replica().await.unwrap(), old.replica().await.unwrap());
    let all = [&old, &new, &other];
    let db = connect(&all, replicas(&all)).await;
    eventually("the two that are replicas are read from", async || health(&db).await == (Status::Healthy, 2, 2)).await;
    let failed = value("db_connection_errors", &["error_type=\"connection\""]);
    // Some rounds of trying again to find a replica there.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(value("db_connection_errors", &["error_type=\"connection\""]), failed, "nothing has failed");
    assert_eq!(health(&db).await, (Status::Healthy, 2, 2));
}

#[tokio::test]
async fn a_reader_sees_its_own_writes() {
    let set = Set::start().await;
    let [one, other] = set.ports();
    eventually("both replicas answer", async || set.answer_all(&[one, other]).await).await;
    for replica in &set.replicas {
        let table = "SELECT count(*) FROM pg_tables WHERE tablename = 'things'";
        eventually("the replica has the table", async || replica.psql(table).await.unwrap() == "1").await;
        replica.psql("SELECT pg_wal_replay_pause()").await.unwrap();
    }
    set.db.write().execute(INSERT, params!["mine"]).await.unwrap();
    let count = "SELECT count(*) FROM things";
    // The replicas still count as fresh, and do not have it.
    assert_eq!(set.db.read().one::<i64>(count, params![]).await.unwrap(), 0);
    let position: Position = set.db.position().await.unwrap().to_string().parse().unwrap();
    for _ in 0..10 {
        assert_eq!(set.db.read_your_writes(&position).one::<i64>(count, params![]).await.unwrap(), 1);
    }
    let mut stream =
        set.db.read_your_writes(&position).stream::<String>("SELECT name FROM things", params![]).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "mine");
    for replica in &set.replicas {
        replica.psql("SELECT pg_wal_replay_resume()").await.unwrap();
    }
    // Once a replica has it, it answers.
    let port = "SELECT current_setting('port')::int";
    eventually("a replica answers", async || {
        let reader = set.db.read_your_writes(&position);
        assert_eq!(reader.one::<i64>(count, params![]).await.unwrap(), 1);
        reader.one::<i32>(port, params![]).await.unwrap() != i32::from(set.primary.port())
    })
    .await;
}
