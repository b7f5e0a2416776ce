//! Log lines of whole services: each fits the published schema, none has a secret, and none is lost when files are moved or the
//! disk is full.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use covet_system_tests::exposition::Exposition;
use covet_system_tests::log_lines::{self, is_access, statuses};
use covet_system_tests::raw_http::Connection;
use covet_system_tests::{SOON, drill, planted};
use covet_testkit::{Process, Service, ServiceBuilder, find_program, wait_until};
use futures_util::{SinkExt, StreamExt};
use nix::unistd::Uid;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const FILE: &str = "logs/covet.log";

/// A request over a kept connection.
fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        // Writing to a String does not fail.
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

/// Sends requests and counts what was answered.
struct Client<'a> {
    service: &'a Service,
    answered: BTreeMap<u64, usize>,
    /// Bodies of errors.
    refusals: String,
}

impl<'a> Client<'a> {
    fn new(service: &'a Service) -> Self {
        Self { service, answered: BTreeMap::new(), refusals: String::new() }
    }

    /// Sends each request `times` times, all mixed, on one connection.
    async fn send(&mut self, requests: &[String], times: usize) -> Result<()> {
        let mut connection = Connection::open(self.service.port()).await?;
        for _ in 0..times {
            connection.send(requests.concat()).await?;
            for request in requests {
                let response = connection.response().await.with_context(|| request.clone())?;
                *self.answered.entry(u64::from(response.status)).or_default() += 1;
                if response.status >= 400 {
                    self.refusals += &response.text();
                }
            }
        }
        Ok(())
    }

    /// A request after which the service closes the connection.
    async fn send_alone(&mut self, request: &str) -> Result<()> {
        let mut connection = Connection::open(self.service.port()).await?;
        connection.send(request).await?;
        let response = connection.response().await?;
        *self.answered.entry(u64::from(response.status)).or_default() += 1;
        self.refusals += &response.text();
        Ok(())
    }

    /// Opens a WebSocket, says something and leaves.
    async fn web_socket(&mut self, path: &str, protocols: &str) -> Result<()> {
        let mut request = self.service.url(path).replacen("http", "ws", 1).into_client_request()?;
        if !protocols.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse()?);
        }
        let (mut socket, _) = connect_async(request).await?;
        socket.send(Message::text("hello")).await?;
        socket.close(None).await?;
        while socket.next().await.is_some() {}
        *self.answered.entry(101).or_default() += 1;
        Ok(())
    }

    fn total(&self) -> usize {
        self.answered.values().sum()
    }
}

/// The lines of the service's log file once the access line of every request is there; each fits the schema.
async fn lines_of(client: &Client<'_>) -> Result<Vec<Value>> {
    let file = client.service.directory().join(FILE);
    // The probes of whoever waits for the service are not the client's.
    let not_a_probe = |line: &Value| line["path"].as_str().is_none_or(|path| !path.starts_with("/health"));
    let lines = wait_until("an access line for every request", SOON, async || {
        let lines: Vec<Value> = log_lines::of_file(&file).map_err(|error| format!("{error:#}"))?;
        let lines: Vec<Value> = lines.into_iter().filter(not_a_probe).collect();
        let counted = statuses(&lines);
        if counted == client.answered { Ok(lines) } else { Err(format!("{counted:?} for {:?}", client.answered)) }
    });
    Ok(lines.await?)
}

fn observed(builder: ServiceBuilder) -> ServiceBuilder {
    builder
        .env("LOG_FILE", FILE)
        .env("LOG_LEVEL", "debug")
        .env("COVET_LOG__BUFFER", "64MiB")
        .env("COVET_LOG__FILE_MAX_SIZE", "256KiB")
        .env("COVET_LOG__FILES_KEPT", "1000")
        .env("COVET_LOG__HASH_KEY", planted::HASH_KEY)
        .env("JWT_SECRET_KEY", planted::JWT_SECRET_KEY)
}

#[tokio::test]
async fn every_line_of_ten_thousand_requests_fits_the_schema_and_no_planted_secret_is_anywhere() -> Result<()> {
    let service = observed(Service::builder()).start().await?;
    let mut client = Client::new(&service);
    let user = |email: &str, password: &str| json!({"email": email, "password": password}).to_string();
    let registration = json!({"email": "ada@covet.example", "password": planted::PASSWORD, "name": "Ada"}).to_string();
    client.send(&[request("POST", "/api/auth/register", &planted::HEADERS, &registration)], 1).await?;
    client.send(&[request("POST", "/api/auth/register", &planted::HEADERS, &registration)], 1).await?;
    client
        .send(&[request("POST", "/api/auth/login", &[], &user("ada@covet.example", planted::WRONG_PASSWORD))], 5)
        .await?;
    let login = service.client().post(service.url("/api/auth/login")).header("content-type", "application/json");
    let login = login.body(user("ada@covet.example", planted::PASSWORD)).send().await?.error_for_status()?;
    let tokens: Value = login.json().await?;
    *client.answered.entry(200).or_default() += 1;
    let (access, refresh) =
        (tokens["access_token"].as_str().context("token")?, tokens["refresh_token"].as_str().context("token")?);
    let bearer = format!("Bearer {access}");
    let signed_in = [("authorization", bearer.as_str()), ("cookie", "session=planted-cookie-4711")];

    let stale = json!({"refresh_token": planted::REFRESH_TOKEN}).to_string();
    let mixed = [
        request("GET", "/api/notes?token=planted-api-key-4711", &signed_in, ""),
        request("GET", "/docs", &[], ""),
        request("GET", "/api/openapi.json", &[("accept-encoding", "gzip")], ""),
        request("GET", "/api/notes", &planted::HEADERS, ""),
        request("GET", "/api/notes", &[], ""),
        request("GET", &format!("/no/such/path?password={}", planted::COOKIE), &planted::HEADERS, ""),
        request("DELETE", "/api/auth/login", &planted::HEADERS, ""),
        request("GET", "/api/notes/not-an-id", &signed_in, ""),
        request("POST", "/api/auth/refresh", &planted::HEADERS, &stale),
        request("POST", "/api/auth/refresh", &[], &format!("{{\"refresh_token\": [\"{}\"]}}", planted::REFRESH_TOKEN)),
        request("POST", "/api/auth/login", &[], &format!("{{\"email\": 1, \"password\": \"{}\"}}", planted::PASSWORD)),
        request(
            "POST",
            "/api/auth/login",
            &[],
            &format!("{{\"email\": \"x\", \"password\": \"{}\"", planted::PASSWORD),
        ),
        request(
            "POST",
            "/api/auth/register",
            &[],
            &format!("{{\"email\": \"x\", \"name\": \"\", \"password\": \"{}\"}}", planted::PASSWORD),
        ),
        request("POST", "/api/notes", &signed_in, "{\"title\": \"a note\", \"body\": \"of somebody\"}"),
        request(
            "OPTIONS",
            "/api/notes",
            &[("origin", "https://x.example"), ("access-control-request-method", "GET")],
            "",
        ),
    ];
    client.send(&mixed, 400).await?;
    let too_large = format!(
        "POST /api/notes HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Length: 99999999999\r\n\r\n"
    );
    for _ in 0..20 {
        client.send_alone(&too_large).await?;
        client.web_socket("/ws/events", &format!("covet.events.v1, bearer.{access}")).await?;
    }

    let drill = observed(drill::builder()?).start().await?;
    let mut clumsy = Client::new(&drill);
    let body = json!({"password": planted::PASSWORD, "access_token": planted::ACCESS_TOKEN, "database_url": planted::DATABASE_URL});
    let careless = [
        request("GET", "/panic", &planted::HEADERS, ""),
        request("POST", "/careless", &planted::HEADERS, &body.to_string()),
        request("POST", "/careless/panic", &planted::HEADERS, &body.to_string()),
        request("GET", "/fail", &[], ""),
    ];
    clumsy.send(&careless, 250).await?;
    clumsy.send(&[request("GET", "/hello", &planted::HEADERS, "")], 3_000).await?;
    for _ in 0..34 {
        clumsy.web_socket("/ws/echo", "").await?;
    }
    assert!(client.total() + clumsy.total() >= 10_000, "{} + {}", client.total(), clumsy.total());

    let of_run = [access, refresh];
    for client in [&client, &clumsy] {
        let lines = lines_of(client).await?;
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        planted::absent_from("the log", &text, &of_run)?;
        let output = client.service.process()?.lines().join("\n");
        planted::absent_from("the output", &output, &of_run)?;
        let on_stdout = log_lines::of_text(&client.service.process()?.stdout())?;
        let of_file = log_lines::of_file(&client.service.directory().join(FILE))?;
        assert!(
            on_stdout.len() >= of_file.len(),
            "{} on standard output, {} in the file",
            on_stdout.len(),
            of_file.len()
        );
        let metrics = client.service.metrics().await?;
        planted::absent_from("the metrics", &metrics, &of_run)?;
        let dropped = Exposition::parse(&metrics)?.sum("log_lines_dropped_total", &[]);
        assert_eq!(dropped, 0.0);
        planted::absent_from("an answer", &client.refusals, &of_run)?;
        let page = client.service.client().get(client.service.operator_url("/")).send().await?.text().await?;
        assert!(page.contains("JWT_SECRET_KEY") || page.contains("COVET_LOG__HASH_KEY"), "{page}");
        planted::absent_from("the operator's page", &page, &of_run)?;
        for arguments in [&["config"][..], &["config", "--json"]] {
            planted::absent_from("config", &client.service.command(arguments).await?.output(), &of_run)?;
        }
    }

    let lines = lines_of(&clumsy).await?;
    let panics = lines.iter().filter(|line| line["message"] == "handler panicked");
    assert_eq!(panics.clone().count(), 500, "each is told of");
    let of_route =
        |message: &str| lines.iter().find(|line| line["message"] == message && line["backtrace"].is_string());
    assert!(of_route("handler panicked").is_some() && of_route("request failed").is_some(), "some have a backtrace");
    let failed = lines.iter().find(|line| line["error"] == "the database is not reachable").context("no error line")?;
    assert_eq!(failed["error_chain"], json!(["cannot connect to postgresql://app:********@127.0.0.1:1/covet"]));
    let careless = lines.iter().find(|line| line["message"] == "careless").context("no careless line")?;
    assert!(
        careless["headers"].as_str().is_some_and(|headers| headers.contains("\"authorization\": \"[redacted]\"")),
        "{careless}"
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_setting_does_not_show_the_secret_in_it() -> Result<()> {
    let mut service = Service::builder().env("DATABASE_URL", planted::DATABASE_URL).spawn()?;
    let status = service.process()?.wait_exit(SOON).await;
    if status.is_err() {
        service.stop().await?;
    }
    planted::absent_from("the output", &service.process().map(|process| process.lines().join("\n"))?, &[])?;
    Ok(())
}

#[tokio::test]
async fn security_and_audit_lines_are_there_when_nothing_else_is_logged() -> Result<()> {
    let builder = Service::builder().env("LOG_LEVEL", "off").env("COVET_LOG__SECURITY_FILE", "logs/security.log");
    let service = builder.env("COVET_LOG__AUDIT_FILE", "logs/audit.log").start().await?;
    let body = json!({"email": "nobody@covet.example", "password": planted::WRONG_PASSWORD});
    let refused = service.client().post(service.url("/api/auth/login")).json(&body).send().await?;
    assert_eq!(refused.status(), 401);
    let events = async |file: &str, wanted: &[&str]| -> Result<()> {
        let path = service.directory().join(file);
        let reached = wait_until(file, SOON, async || {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let lines = log_lines::of_text(&text).map_err(|error| format!("{error:#}"))?;
            let events: Vec<String> =
                lines.iter().filter_map(|line| Some(line["event"].as_str()?.to_owned())).collect();
            if events == wanted { Ok(()) } else { Err(text) }
        });
        Ok(reached.await?)
    };
    events("logs/security.log", &["authn_login_fail"]).await?;
    events("logs/audit.log", &["sys_startup", "authn_login_fail"]).await?;
    let output = log_lines::of_text(&service.process()?.stdout())?;
    assert_eq!(output.len(), 3, "they are on standard output too, and nothing else: {output:#?}");
    Ok(())
}

/// Sends `count` requests whose ids are `<prefix>-0`, `<prefix>-1` and so on.
async fn numbered(service: &Service, prefix: &str, count: usize) -> Result<()> {
    let mut connection = Connection::open(service.port()).await?;
    for number in 0..count {
        let id = format!("{prefix}-{number}");
        connection.send(request("GET", "/hello", &[("x-request-id", &id)], "")).await?;
        ensure!(connection.response().await?.status == 200);
    }
    Ok(())
}

/// How often each numbered request is in the log files of this directory, in any order; each line fits the schema.
fn seen(directory: &Path) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        for line in log_lines::of_text(&std::fs::read_to_string(entry?.path())?)? {
            let id = line["request_id"].as_str().unwrap_or_default();
            if is_access(&line) && id.starts_with("n-") {
                *counts.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

#[tokio::test]
async fn logrotate_may_move_the_file_under_load_and_send_hangups_and_no_line_is_lost_or_split() -> Result<()> {
    const ROUNDS: usize = 8;
    const EACH: usize = 300;
    let service = drill::builder()?.env("LOG_FILE", FILE).env("COVET_LOG__STDOUT", "false").start().await?;
    let pid = service.process()?.pid();
    let log = service.directory().join(FILE);
    let rules = format!(
        "{} {{\n  rotate 100\n  nocompress\n  create 0644\n  postrotate\n    kill -HUP {pid}\n  endscript\n}}\n",
        log.display()
    );
    let rules = service.directory().write("logrotate.conf", rules)?;
    std::fs::set_permissions(&rules, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let logrotate = find_program("logrotate", "logrotate")?;
    for round in 0..ROUNDS {
        let mut rotate = Command::new(&logrotate);
        rotate.arg("--force").arg("--state").arg(service.directory().join("state")).arg(&rules);
        let prefix = format!("n-{round}");
        let load = numbered(&service, &prefix, EACH);
        let (loaded, rotated) = tokio::join!(load, Process::run("logrotate", &mut rotate, SOON));
        loaded?;
        rotated?.success("logrotate")?;
    }
    numbered(&service, "n-last", 10).await?;
    let folder = log.parent().context("folder")?;
    let counts = wait_until("every line", SOON, async || {
        let counts = seen(folder).map_err(|error| format!("{error:#}"))?;
        if counts.len() == ROUNDS * EACH + 10 { Ok(counts) } else { Err(format!("{} lines", counts.len())) }
    })
    .await?;
    assert!(counts.values().all(|count| *count == 1), "none twice");
    assert!(std::fs::read_dir(folder)?.count() > ROUNDS, "it was moved {ROUNDS} times");
    let last = log_lines::of_text(&std::fs::read_to_string(&log)?)?;
    assert!(
        last.iter().any(|line| line["request_id"] == "n-last-9"),
        "the file at its path is the one that is written"
    );
    Ok(())
}

/// The log directory as a disk of its own, of 500 KiB: it is full inside a file and inside a line. Only who makes it sees it: [`full_disk`] is the way there.
const OWN_DISK: &str = "mkdir -p logs && mount -t tmpfs -o size=500k none logs && exec \"$0\" \"$@\"";

fn full_disk(service: &Service) -> Result<PathBuf> {
    let seen_by = format!("/proc/{}/root{}", service.process()?.pid(), service.directory().join("logs").display());
    Ok(PathBuf::from(seen_by))
}

#[tokio::test]
async fn a_full_disk_stops_no_request_and_the_log_goes_on_and_tells_of_the_gap_once_there_is_room() -> Result<()> {
    let mut wrapper = vec!["unshare", "--mount"];
    if !Uid::effective().is_root() {
        wrapper.extend(["--user", "--map-root-user"]);
    }
    wrapper.extend(["sh", "-c", OWN_DISK]);
    let builder = drill::builder()?.env("LOG_FILE", FILE).env("COVET_LOG__STDOUT", "false").wrapper(&wrapper);
    let service = builder.env("COVET_LOG__FILE_MAX_SIZE", "64KiB").env("COVET_LOG__FILES_KEPT", "1000").start().await?;
    let disk = full_disk(&service)?;
    let dropped = async || -> Result<f64> {
        let metrics = Exposition::parse(&service.metrics().await?)?;
        Ok(metrics.sum("log_lines_dropped_total", &[("reason", "write_failed")]))
    };
    let mut sent = 0;
    while dropped().await? == 0.0 {
        ensure!(sent < 50_000, "the disk does not fill up");
        numbered(&service, &format!("n-{sent}"), 200).await?;
        sent += 200;
    }
    let kept = copy_of(&disk, &service)?;
    for file in std::fs::read_dir(&disk)?.collect::<Result<Vec<_>, _>>()? {
        if file.file_name() != "covet.log" {
            std::fs::remove_file(file.path())?;
        }
    }
    numbered(&service, "n-after", 200).await?;
    sent += 200;
    let lost = wait_until("the lines after the gap", SOON, async || {
        let lines = seen(&disk).map_err(|error| format!("{error:#}"))?;
        match lines.contains_key("n-after-199") {
            true => dropped().await.map_err(|error| error.to_string()),
            false => Err(format!("{} lines", lines.len())),
        }
    })
    .await?;
    let mut all = seen(&kept)?;
    all.extend(seen(&disk)?);
    let probes_lost = f64::from(sent) - all.len() as f64;
    assert!(probes_lost <= lost && lost - probes_lost < 100.0, "{probes_lost} are missing, {lost} were counted");
    let mut told = 0;
    for file in std::fs::read_dir(&disk)? {
        for line in log_lines::of_text(&std::fs::read_to_string(file?.path())?)? {
            if line["message"] == "log lines were lost here" {
                assert_eq!((&line["level"], &line["reason"]), (&json!("WARN"), &json!("write_failed")));
                told += line["lines"].as_u64().unwrap_or(0);
            }
        }
    }
    assert!(told > 0 && told as f64 <= lost, "{told} of {lost}");
    Ok(())
}

/// A copy of the files in a directory, in the service's own.
fn copy_of(from: &Path, service: &Service) -> Result<PathBuf> {
    let to = service.directory().join("copy");
    std::fs::create_dir(&to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(to)
}

#[tokio::test]
async fn the_commands_of_the_observability_guide_do_what_it_says() -> Result<()> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/observability.md");
    let guide = std::fs::read_to_string(&guide).with_context(|| guide.display().to_string())?;
    let blocks = guide.split("<!-- observability -->\n```sh\n").skip(1);
    let script: String = blocks.filter_map(|block| block.split_once("```").map(|(script, _)| script)).collect();
    let service = Service::builder().env("LOG_FILE", FILE).start().await?;
    let script = script
        .replace("http://localhost:8000", &service.url(""))
        .replace("http://localhost:9090", &service.operator_url(""));
    let mut bash = Command::new("bash");
    bash.args(["-eu", "-c", &script]).current_dir(service.directory().path());
    let output = Process::run("the guide's script", &mut bash, SOON).await?.success("the guide's script")?.stdout;
    let parts = [
        "\"path\":\"/api/notes/none\",\"status_code\":401",
        "{\"level\":\"info,covet.data=debug\",\"configured\":\"info\",\"until\":\"20",
        "\"event\":\"sys_log_level_change\"",
        "log_lines_dropped_total{reason=\"buffer_full\"} 0",
    ];
    for part in parts {
        assert!(output.contains(part), "{part} is not in:\n{output}");
    }
    Ok(())
}
