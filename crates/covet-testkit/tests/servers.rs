//! Real servers start, answer, fall, come back and go.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use covet_testkit::{
    Certificate, Error, FaultProxy, Nginx, Postgres, Prometheus, Redis, RedisCluster, RedisSentinel, free_port,
    wait_until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn postgres_keeps_committed_rows_through_kill_9() {
    let mut postgres = Postgres::builder().setting("max_connections", "17").start().await.unwrap();
    assert_eq!(postgres.psql("SHOW max_connections").await.unwrap(), "17");
    postgres.psql("CREATE TABLE t (x int); INSERT INTO t VALUES (1), (2)").await.unwrap();
    postgres.kill9().await.unwrap();
    assert!(matches!(postgres.stop().await, Err(Error::NotRunning { .. })));
    postgres.start_again().await.unwrap();
    assert_eq!(postgres.psql("SELECT x FROM t ORDER BY x").await.unwrap(), "1\n2");
    let error = postgres.psql("SELECT nonsense").await.unwrap_err().to_string();
    assert!(error.contains("column \"nonsense\" does not exist"), "{error}");
}

#[tokio::test]
async fn a_paused_postgres_answers_nothing_until_it_is_resumed() {
    let mut postgres = Postgres::start().await.unwrap();
    postgres.pause().unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(300), postgres.psql("SELECT 1")).await;
    assert!(answer.is_err(), "{answer:?}");
    postgres.resume().unwrap();
    assert_eq!(postgres.psql("SELECT 1").await.unwrap(), "1");
    assert!(postgres.stop().await.unwrap().success());
}

#[tokio::test]
async fn redis_asks_for_its_password_and_comes_back_empty() {
    let mut redis = Redis::builder().password("sesame").setting("maxmemory", "10mb").start().await.unwrap();
    assert_eq!(redis.url(), format!("redis://:sesame@127.0.0.1:{}/0", redis.port()));
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory"]).await.unwrap(), "maxmemory\n10485760");
    redis.cli(&["SET", "key", "value"]).await.unwrap();
    assert_eq!(redis.cli(&["GET", "key"]).await.unwrap(), "value");
    redis.kill9().await.unwrap();
    redis.start_again().await.unwrap();
    assert_eq!(redis.cli(&["DBSIZE"]).await.unwrap(), "0");
    let error = redis.cli(&["NOSUCH"]).await.unwrap_err().to_string();
    assert!(error.contains("unknown command"), "{error}");
}

#[tokio::test]
async fn redis_speaks_tls_to_a_user_who_may_not_do_everything() {
    let certificate = Certificate::self_signed("redis.test").await.unwrap();
    let builder = Redis::builder().password("sesame").user("worker", "open").certificate(certificate);
    let redis = builder.start().await.unwrap();
    assert_eq!(redis.url(), format!("rediss://worker:open@127.0.0.1:{}/0", redis.port()));
    assert!(redis.authority().unwrap().is_file());
    assert_eq!(redis.cli(&["ACL", "WHOAMI"]).await.unwrap(), "default");
    let rights = redis.cli(&["ACL", "DRYRUN", "worker", "FLUSHALL"]).await.unwrap();
    assert!(rights.contains("no permissions"), "{rights}");
    assert_eq!(redis.cli(&["ACL", "DRYRUN", "worker", "SET", "key", "value"]).await.unwrap(), "OK");
}

#[tokio::test]
async fn sentinels_replace_a_master_that_is_killed_and_it_comes_back_as_a_replica() {
    let mut redis = RedisSentinel::start().await.unwrap();
    let old = redis.master().await.unwrap();
    redis.cli(old, &["SET", "key", "value"]).await.unwrap();
    redis.cli(old, &["WAIT", "2", "5000"]).await.unwrap();
    let before = std::time::UNIX_EPOCH;
    redis.kill9(old).await.unwrap();
    let (new, switched_at) = redis.switched_after(before).await.unwrap();
    assert!(new != old && switched_at > before);
    assert_eq!(redis.master().await.unwrap(), new);
    assert_eq!(redis.cli(new, &["GET", "key"]).await.unwrap(), "value");
    redis.start_again(old).await.unwrap();
    redis.wait_whole().await.unwrap();
    assert!(redis.cli(old, &["ROLE"]).await.unwrap().starts_with("slave"));
}

#[tokio::test]
async fn a_redis_cluster_replaces_a_master_that_is_killed_and_moves_a_slot() {
    let mut redis = RedisCluster::start().await.unwrap();
    let slot = redis.slot_of("key").await.unwrap();
    let old = redis.owner_of(slot).await.unwrap();
    redis.cli(old, &["SET", "key", "value"]).await.unwrap();
    redis.cli(old, &["WAIT", "1", "5000"]).await.unwrap();
    redis.kill9(old).await.unwrap();
    let new = wait_until("another master of the slot", SOON, async || match redis.owner_of(slot).await {
        Ok(owner) if owner != old => Ok(owner),
        other => Err(format!("{other:?}")),
    });
    let new = new.await.unwrap();
    redis.start_again(old).await.unwrap();
    redis.wait_whole().await.unwrap();

    let to = redis.owner_of(if slot < 8192 { 16_383 } else { 0 }).await.unwrap();
    redis.begin_move(slot, new, to).await.unwrap();
    let error = redis.cli(new, &["GET", "missing{key}"]).await.unwrap_err().to_string();
    assert!(error.contains("ASK"), "{error}");
    redis.end_move(slot, new, to).await.unwrap();
    assert_eq!(redis.cli(to, &["GET", "key"]).await.unwrap(), "value");
    let error = redis.cli(new, &["GET", "key"]).await.unwrap_err().to_string();
    assert!(error.contains("MOVED"), "{error}");
}

#[tokio::test]
async fn a_fault_proxy_delays_swallows_resets_and_heals() {
    let upstream = one_answer_server("here").await;
    let proxy = FaultProxy::in_front_of(upstream).await.unwrap();
    let get = async || {
        let client = covet_testkit::http_client().timeout(Duration::from_millis(500)).build().unwrap();
        client.get(format!("http://127.0.0.1:{}/", proxy.port())).send().await?.text().await
    };
    assert_eq!(get().await.unwrap(), "here");
    proxy.blackhole();
    assert!(get().await.unwrap_err().is_timeout());
    proxy.delay(Duration::from_millis(50));
    assert_eq!(get().await.unwrap(), "here");
    proxy.take_down();
    let error = get().await.unwrap_err();
    assert!(!error.is_timeout(), "{error}");
    proxy.heal();
    let mut open = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    wait_until("the connection", SOON, async || if proxy.accepted() >= 5 { Ok(()) } else { Err("not there") })
        .await
        .unwrap();
    proxy.reset();
    assert!(open.read(&mut [0; 1]).await.is_err(), "reset");
    assert_eq!(get().await.unwrap(), "here");
}

#[tokio::test]
async fn nginx_stands_in_front_of_upstreams_and_reloads_without_a_restart() {
    let upstream = one_answer_server("first").await;
    let builder = Nginx::in_front_of([upstream]);
    let nginx = builder.start().await.unwrap();
    let client = covet_testkit::http_client().build().unwrap();
    let get = async || client.get(nginx.url()).send().await.unwrap().text().await.unwrap();
    assert_eq!(get().await, "first");

    let error = nginx.reload("events {} nonsense;").await.unwrap_err().to_string();
    assert!(error.contains("unknown directive \"nonsense\""), "{error}");
    assert_eq!(get().await, "first", "a bad configuration changes nothing");

    let pid = nginx.process().unwrap().pid();
    let second = one_answer_server("second").await;
    nginx.reload(&Nginx::in_front_of([second]).configuration(nginx.port())).await.unwrap();
    // A connection that is open stays with its old worker; a new client meets the new one.
    wait_until("the new configuration", SOON, async || {
        let client = covet_testkit::http_client().build().unwrap();
        let body = client.get(nginx.url()).send().await.unwrap().text().await.unwrap();
        if body == "second" { Ok(()) } else { Err(body) }
    })
    .await
    .unwrap();
    assert_eq!(nginx.process().unwrap().pid(), pid);
}

#[tokio::test]
async fn nginx_speaks_tls_with_a_certificate_that_clients_can_check() {
    let upstream = one_answer_server("over TLS").await;
    let certificate = Certificate::self_signed("nginx.test").await.unwrap();
    let authority = certificate.certificate_path();
    let nginx = Nginx::in_front_of([upstream]).certificate(certificate).start().await.unwrap();
    let mut curl = std::process::Command::new("curl");
    curl.args(["--silent", "--show-error", "--http2", "--write-out", " %{http_version}"])
        .arg("--cacert")
        .arg(authority);
    let finished = covet_testkit::Process::run("curl", curl.arg(nginx.url()), SOON).await.unwrap();
    assert_eq!(finished.success("curl").unwrap().stdout.trim_end(), "over TLS 2");
}

#[tokio::test]
async fn prometheus_scrapes_and_answers_queries() {
    let metrics = one_answer_server("answer_to_everything 42\n").await;
    let prometheus = Prometheus::scraping(&format!("127.0.0.1:{metrics}")).await.unwrap();
    let value = wait_until("a scraped value", SOON, async || {
        let result =
            prometheus.query("answer_to_everything{job=\"covet\"}").await.map_err(|error| error.to_string())?;
        result.first().map(|sample| sample["value"][1].clone()).ok_or_else(|| "no sample".to_owned())
    })
    .await
    .unwrap();
    assert_eq!(value, "42");
}

#[tokio::test]
async fn a_server_that_refuses_its_settings_says_so_at_once() {
    let error = Postgres::builder().setting("no_such_setting", "1").start().await.unwrap_err().to_string();
    assert!(error.contains("unrecognized configuration parameter \"no_such_setting\""), "{error}");
}

/// Answers every request with `body` until the test's runtime ends.
async fn one_answer_server(body: &'static str) -> u16 {
    let port = free_port().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}
