//! What one log line says.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::ids::RequestId;
use covet_core::settings::{Section, Sources};
use covet_telemetry::logging::{Actor, Logging, SECURITY, audit, security, vocabulary};
use covet_telemetry::request::{RequestScope, enter};
use covet_telemetry::settings::LogSettings;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing_subscriber::layer::SubscriberExt;

const LONG: Duration = Duration::from_secs(20);

/// Logs what `work` logs, and returns the text.
fn logged(format: &str, level: &str, work: impl FnOnce(&Logging)) -> String {
    logged_with(&[("LOG_FORMAT", format), ("LOG_LEVEL", level)], work)
}

/// The same with these settings.
fn logged_with(variables: &[(&str, &str)], work: impl FnOnce(&Logging)) -> String {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("covet.log");
    let file = [("LOG_FILE", path.to_str().unwrap()), ("COVET_LOG__STDOUT", "false")];
    let settings = LogSettings::load(Sources::of(variables.iter().copied().chain(file)));
    let (clock, _hand) = Clock::manual("2025-10-10T12:03:04.123Z".parse().unwrap());
    let logging = Logging::start(&settings.unwrap(), "covet", clock).unwrap();
    let subscriber = tracing_subscriber::registry().with(logging.layer());
    tracing::subscriber::with_default(subscriber, || work(&logging));
    assert!(logging.shutdown(LONG));
    fs::read_to_string(path).unwrap()
}

/// The one line that `work` logs as JSON.
fn json_line(work: impl FnOnce()) -> Value {
    let text = logged("json", "trace", |_| work());
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn in_request(work: impl FnOnce()) {
    let id = RequestId::parse(b"req-1").unwrap();
    let scope = RequestScope::new(id, Ipv4Addr::new(192, 0, 2, 1).into());
    scope.set_user("42");
    enter(&mut Some(Arc::new(scope)), work);
}

#[derive(Debug)]
struct Layered(&'static str, Option<Box<Layered>>);

impl fmt::Display for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Layered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|error| error as _)
    }
}

fn failure() -> Layered {
    let cause = Layered("connection refused", Some(Box::new(Layered("os error 111", None))));
    Layered("cannot reach the \"database\"", Some(Box::new(cause)))
}

#[test]
fn a_json_line_has_the_documented_fields_in_their_order() {
    let text = logged("json", "info", |_| {
        in_request(
            || tracing::warn!(target: "covet_data::pool", database = "users", host = ?("db", 1), wait = 1.5, "pool \"full\""),
        );
    });
    insta::assert_snapshot!(text, @r#"{"timestamp":"2025-10-10T12:03:04.123Z","level":"WARN","logger":"covet.data.pool","service":"covet","message":"pool \"full\"","request_id":"req-1","user_id":"42","ip_address":"192.0.2.1","database":"users","host":"(\"db\", 1)","wait":1.5}"#);
}

#[test]
fn outside_a_request_there_is_nothing_about_one() {
    let line = json_line(|| tracing::info!("started"));
    let names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["level", "logger", "message", "service", "timestamp"]);
}

#[test]
fn values_keep_their_type() {
    let line = json_line(|| tracing::info!(a = 1_u64, b = -1_i64, c = true, d = 0.1, e = f64::NAN, f = u64::MAX, "x"));
    assert_eq!(line["a"], json!(1));
    assert_eq!(line["b"], json!(-1));
    assert_eq!(line["c"], json!(true));
    assert_eq!(line["d"], json!(0.1));
    assert_eq!(line["e"], Value::Null);
    assert_eq!(line["f"], json!(u64::MAX));
}

#[test]
fn an_error_comes_with_its_causes_and_a_backtrace_as_text() {
    let error = failure();
    let line = json_line(|| {
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::error!(error, backtrace = "0: main\n1: start", "query failed");
    });
    assert_eq!(line["error"], "cannot reach the \"database\"");
    assert_eq!(line["error_chain"], json!(["connection refused", "os error 111"]));
    assert_eq!(line["backtrace"], "0: main\n1: start");
}

#[test]
fn secrets_are_not_written_whoever_logs_them() {
    let text = ["json", "human"].map(|format| {
        logged(format, "info", |_| {
            tracing::info!(password = "hunter2", refresh_token = %"hunter2", Authorization = ?"hunter2", token_type = "Bearer", "login");
        })
    });
    for text in text {
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.matches("[redacted]").count(), 3, "{text}");
        assert!(text.contains("Bearer"), "{text}");
    }
}

#[test]
fn a_secret_is_not_written_wherever_it_stands() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "what is shown by Debug")]
    struct Login {
        user: &'static str,
        password: Option<&'static str>,
    }
    let login = Login { user: "ada", password: Some("hunter2") };
    let error =
        Layered("query failed", Some(Box::new(Layered("cannot reach postgres://app:hunter2@db:5432/covet", None))));
    let error: &(dyn std::error::Error + 'static) = &error;
    for format in ["json", "human"] {
        let settings = [("LOG_FORMAT", format), ("COVET_LOG__REDACT", "iban,x-partner-*")];
        let text = logged_with(&settings, |_| {
            tracing::info!(http.request.headers.cookie = "hunter2", { "x-api-key" } = 4711, "headers");
            tracing::info!(?login, IBAN = "hunter2", url = "https://x/?token=hunter2", "login of {login:?}");
            tracing::error!(error, body = r#"{"refreshToken":"hunter2","n":1}"#, "Authorization: Bearer hunter2");
            tracing::info!(header = "X-Partner-Id: hunter2", has_password = true, "password=hunter2");
            log::info!("not ours, so not here: hunter2");
        });
        assert!(!text.contains("hunter2") && !text.contains("4711"), "{text}");
        assert!(text.contains("postgres://app:********@db:5432/covet") && text.contains("ada"), "{text}");
        let flag = if format == "json" { "\"has_password\":true" } else { "has_password=true" };
        assert!(text.contains(flag), "{text}");
    }
}

#[test]
fn addresses_and_users_are_written_as_the_policy_says() {
    let line = |variables: &[(&str, &str)]| -> Value {
        let text = logged_with(&[&[("LOG_FORMAT", "json")], variables].concat(), |_| {
            in_request(|| {
                security(vocabulary::LOGIN_FAILED).failure("wrong_password").target("user", 42).log("login failed");
            });
        });
        serde_json::from_str(&text).unwrap()
    };
    let full = line(&[]);
    assert_eq!(
        (&full["ip_address"], &full["user_id"], &full["actor"]),
        (&"192.0.2.1".into(), &"42".into(), &"user:42".into())
    );
    assert_eq!(line(&[("COVET_LOG__IP_ADDRESS", "truncated")])["ip_address"], "192.0.2.0");

    let off = line(&[("COVET_LOG__IP_ADDRESS", "off"), ("COVET_LOG__USER_ID", "off")]);
    assert!(off.get("ip_address").is_none() && off.get("user_id").is_none(), "{off}");
    assert_eq!((&off["actor"], &off["target"]), (&"user:-".into(), &"user:-".into()));

    let hashed = [("COVET_LOG__IP_ADDRESS", "hashed"), ("COVET_LOG__USER_ID", "hashed")];
    let key = "0123456789abcdef0123456789abcdef";
    let keyed = line(&[&hashed[..], &[("COVET_LOG__HASH_KEY", key)]].concat());
    // `printf 192.0.2.1 | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`, its first 16 digits
    assert_eq!(keyed["ip_address"], "hash:5729dfa704e7dc63");
    assert_eq!(keyed["actor"], format!("user:{}", keyed["user_id"].as_str().unwrap()));
    assert_eq!(keyed["target"], keyed["actor"]);
    let (once, again) = (line(&hashed), line(&hashed));
    assert_ne!(once["ip_address"], again["ip_address"], "without a key each process has its own");
    for line in [&keyed, &once] {
        assert!(!line.to_string().contains("192.0.2") && !line.to_string().contains("\"42\""), "{line}");
    }
}

#[test]
fn records_of_security_and_audit_have_the_documented_fields() {
    let text = logged("json", "off", |_| {
        in_request(|| {
            security(vocabulary::LOGIN_FAILED).auth_method("password").failure("unknown_user").log("login failed");
            audit(vocabulary::USER_DELETED).target("user", 42).log("user deleted");
        });
        audit(vocabulary::LOG_LEVEL_CHANGED)
            .actor(Actor::Operator)
            .ip_address(Ipv4Addr::LOCALHOST.into())
            .changed("info", "debug")
            .log("log levels changed");
        security(vocabulary::CROSS_ORIGIN).failure("other_origin").actor(Actor::Anonymous).log("refused");
        audit(vocabulary::STARTED).log("started");
        tracing::error!("not at this level");
    });
    insta::assert_snapshot!(text, @r#"
    {"timestamp":"2025-10-10T12:03:04.123Z","level":"WARN","logger":"covet.security","service":"covet","message":"login failed","request_id":"req-1","user_id":"42","ip_address":"192.0.2.1","event":"authn_login_fail","outcome":"failure","actor":"user:42","reason":"unknown_user","auth_method":"password"}
    {"timestamp":"2025-10-10T12:03:04.123Z","level":"INFO","logger":"covet.audit","service":"covet","message":"user deleted","request_id":"req-1","user_id":"42","ip_address":"192.0.2.1","event":"user_deleted","outcome":"success","actor":"user:42","target":"user:42"}
    {"timestamp":"2025-10-10T12:03:04.123Z","level":"INFO","logger":"covet.audit","service":"covet","message":"log levels changed","event":"sys_log_level_change","outcome":"success","actor":"operator","from":"info","to":"debug","ip_address":"127.0.0.1"}
    {"timestamp":"2025-10-10T12:03:04.123Z","level":"WARN","logger":"covet.security","service":"covet","message":"refused","event":"malicious_cors","outcome":"failure","actor":"anonymous","reason":"other_origin"}
    {"timestamp":"2025-10-10T12:03:04.123Z","level":"INFO","logger":"covet.audit","service":"covet","message":"started","event":"sys_startup","outcome":"success","actor":"service"}
    "#);
}

#[test]
fn a_stream_is_switched_off_by_its_own_name() {
    let work = |_: &Logging| {
        security(vocabulary::LOGIN_FAILED).failure("unknown_user").log("login failed");
        audit(vocabulary::STARTED).log("started");
    };
    let text = logged("human", "info,covet.security=off", work);
    assert!(text.contains("covet.audit: started") && text.lines().count() == 1, "{text}");
}

#[test]
fn an_event_cannot_pass_for_another_line() {
    let text = logged("json", "info", |_| {
        in_request(|| {
            tracing::info!(level = "ERROR", timestamp = 0, service = "x", request_id = "own", "a\n{{}}\r\nb");
        });
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    for name in ["level", "timestamp", "service", "request_id"] {
        assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1, "{text}");
    }
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "a\n{}\r\nb");
    assert_eq!(line["field_level"], "ERROR");
    assert_eq!(line["request_id"], "own");
}

#[test]
fn a_line_for_people_reads_from_left_to_right() {
    let text = logged("human", "info", |_| {
        in_request(
            || tracing::error!(target: "covet_http::listener", path = "/a b", size = 3, "cannot \u{1b}[2Janswer"),
        );
        let error = failure();
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::info!(target: SECURITY, error, backtrace = "0: main\n1: start", empty = "", "login refused\nforged");
    });
    insta::assert_snapshot!(text, @r#"
    2025-10-10T12:03:04.123Z ERROR covet.http.listener: cannot \u{1b}[2Janswer path="/a b" size=3 request_id=req-1 user_id=42 ip_address=192.0.2.1
    2025-10-10T12:03:04.123Z INFO  covet.security: login refused
        forged error="cannot reach the \"database\"" empty=""
      caused by: connection refused
      caused by: os error 111
      backtrace
        0: main
        1: start
    "#);
}

#[test]
fn levels_are_per_logger_and_can_change_while_it_runs() {
    fn work(round: u32) {
        tracing::debug!(target: "covet_data::pool", round, "pool");
        tracing::debug!(target: "covet_http", round, "http");
        tracing::info!(target: "covet_http", round, "http");
    }
    let text = logged("human", "info,covet_data=debug", |logging| {
        work(1);
        let levels = logging.levels();
        assert_eq!(levels.get().to_string(), "info,covet.data=debug");
        levels.set("warn,covet.http=debug".parse().unwrap());
        work(2);
        levels.set("off".parse().unwrap());
        work(3);
    });
    let seen: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        seen,
        [
            "DEBUG covet.data.pool: pool round=1",
            "INFO  covet.http: http round=1",
            "DEBUG covet.http: http round=2",
            "INFO  covet.http: http round=2",
        ]
    );
}
