//! Sessions of several instances on Redis: served by all, ended for all, and what becomes of them when Redis goes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet_system_tests::account::{Account, PASSWORD};
use covet_testkit::{Process, Redis, RedisSentinel, Service, ServiceBuilder, TempDir, wait_until};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// Longest wait for what happens within seconds on a machine of one's own.
const SOON: Duration = Duration::from_secs(90);

/// Instances that share a database, keys and Redis, as replicas do.
async fn instances(
    count: usize,
    shared: &TempDir,
    configure: impl Fn(ServiceBuilder) -> ServiceBuilder,
) -> Result<Vec<Service>> {
    let database = format!("sqlite://{}", shared.join("covet.db").display());
    let mut services = Vec::new();
    for _ in 0..count {
        let service = Service::builder().env("DATABASE_URL", &database).env("COVET_CACHE__TIMEOUT", "2s");
        services.push(configure(service).start().await?);
    }
    Ok(services)
}

/// Logs in by cookie; `name=value`, as a browser sends it back.
async fn log_in(service: &Service, email: &str) -> Result<String> {
    let body = json!({"email": email, "password": PASSWORD});
    let response = service.client().post(service.url("/api/auth/sessions")).json(&body).send().await?;
    ensure!(response.status() == 204, "log in: {} {}", response.status(), response.text().await?);
    let set = response.headers().get("set-cookie").context("no cookie")?.to_str()?;
    Ok(set.split(';').next().unwrap_or_default().to_owned())
}

fn me(service: &Service, cookie: &str) -> RequestBuilder {
    service.client().get(service.url("/api/users/me")).header("cookie", cookie)
}

async fn status(service: &Service, cookie: &str) -> Result<StatusCode> {
    Ok(me(service, cookie).send().await?.status())
}

async fn problem(response: Response) -> Result<Value> {
    let content_type = response.headers()["content-type"].to_str()?.to_owned();
    ensure!(content_type == "application/problem+json", "{content_type}");
    Ok(response.json().await?)
}

/// The value of a metric without labels.
async fn metric(service: &Service, name: &str) -> Result<Option<f64>> {
    let text = service.metrics().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.map(|value| Ok(value.parse()?)).transpose()
}

async fn wait_for_active(service: &Service, count: f64) -> Result<()> {
    let active = wait_until(format!("app_active_sessions {count}"), SOON, async || {
        match metric(service, "app_active_sessions").await {
            Ok(found) if found == Some(count) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });
    Ok(active.await?)
}

#[tokio::test]
async fn a_session_is_served_and_ended_at_every_instance_and_outlives_the_one_that_opened_it() -> Result<()> {
    let (redis, shared) = (Redis::start().await?, TempDir::new("sessions")?);
    let mut services = instances(3, &shared, |service| service.env("REDIS_URL", redis.url())).await?;
    let ada = Account::register(&services[0], "ada").await?;
    let (first, second) = (log_in(&services[0], &ada.email).await?, log_in(&services[1], &ada.email).await?);
    for service in &services {
        assert_eq!(status(service, &first).await?, 200);
        assert_eq!(status(service, &second).await?, 200);
    }
    services[0].kill9().await?;
    assert_eq!(status(&services[1], &first).await?, 200);

    let others = services[2].client().delete(services[2].url("/api/auth/sessions")).header("cookie", &second);
    assert_eq!(others.send().await?.status(), 204);
    assert_eq!(status(&services[1], &first).await?, 401);
    assert_eq!(status(&services[1], &second).await?, 200);
    Ok(())
}

#[tokio::test]
async fn every_instance_shows_the_number_of_all_active_sessions_also_one_that_has_just_started() -> Result<()> {
    let (redis, shared) = (Redis::start().await?, TempDir::new("sessions")?);
    let mut services = instances(3, &shared, |service| service.env("REDIS_URL", redis.url())).await?;
    let mut cookies = Vec::new();
    for (number, name) in ["ada", "bob", "carol", "dave", "eve"].into_iter().enumerate() {
        let account = Account::register(&services[0], name).await?;
        cookies.push(log_in(&services[number % 3], &account.email).await?);
    }
    for service in &services {
        wait_for_active(service, 5.0).await?;
    }
    services[1].restart().await?;
    wait_for_active(&services[1], 5.0).await?;
    let out = services[2].client().delete(services[2].url("/api/auth/sessions/current")).header("cookie", &cookies[0]);
    assert_eq!(out.send().await?.status(), 204);
    for service in &services {
        wait_for_active(service, 4.0).await?;
    }
    let help = services[0].metrics().await?;
    let help = help.lines().find(|line| line.starts_with("# HELP app_active_sessions")).context("HELP")?;
    assert!(help.contains("take max, never sum"), "{help}");
    Ok(())
}

#[tokio::test]
async fn without_redis_cookies_get_a_503_and_everything_else_goes_on_and_after_its_restart_everybody_is_logged_out()
-> Result<()> {
    let (mut redis, shared) = (Redis::start().await?, TempDir::new("sessions")?);
    let services = instances(1, &shared, |service| service.env("REDIS_URL", redis.url())).await?;
    let service = &services[0];
    let ada = Account::register(service, "ada").await?;
    let cookie = log_in(service, &ada.email).await?;
    assert_eq!(status(service, &cookie).await?, 200);

    redis.kill9().await?;
    let refused = me(service, &cookie).send().await?;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.headers().get("set-cookie").is_none(), "the cookie is good as soon as Redis is back");
    let told = problem(refused).await?;
    assert_eq!(told["type"], "/problems/sessions-unavailable");
    assert_eq!(ada.get("/api/users/me").send().await?.status(), 200, "tokens need no Redis");
    let body = json!({"email": ada.email, "password": PASSWORD});
    let log_in_now = service.client().post(service.url("/api/auth/sessions")).json(&body).send().await?;
    assert_eq!(log_in_now.status(), 503);
    let ready = service.client().get(service.url("/health/ready")).send().await?;
    assert_eq!(ready.status(), 200, "no instance is taken out: none would be left");

    redis.start_again().await?;
    // Empty, because it keeps nothing on disk.
    let answered = wait_until("an answer that is not 503", SOON, async || match me(service, &cookie).send().await {
        Ok(response) if response.status() != 503 => Ok(response),
        other => Err(format!("{other:?}")),
    });
    let answered = answered.await?;
    assert_eq!(answered.status(), 401);
    let told = problem(answered).await?;
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("Log in")), "{told}");
    let again = log_in(service, &ada.email).await?;
    assert_eq!(status(service, &again).await?, 200);
    Ok(())
}

#[tokio::test]
async fn replicated_sessions_survive_a_sentinel_failover_and_nobody_hears_that_they_are_logged_out() -> Result<()> {
    let (mut redis, shared) = (RedisSentinel::start().await?, TempDir::new("sessions")?);
    let configure = |service: ServiceBuilder| {
        let service = service.env("REDIS_URL", redis.url());
        service.env("COVET_CACHE__SENTINEL_PASSWORD", redis.sentinel_password())
    };
    let services = instances(2, &shared, configure).await?;
    let mut cookies = Vec::new();
    for name in ["ada", "bob", "carol"] {
        let account = Account::register(&services[0], name).await?;
        cookies.push(log_in(&services[0], &account.email).await?);
    }
    let master = redis.master().await?;
    let written = redis.cli(master, &["DBSIZE"]).await?;
    for node in 0..3 {
        let replicated =
            wait_until("the sessions to be replicated", SOON, async || match redis.cli(node, &["DBSIZE"]).await {
                Ok(found) if found == written => Ok(()),
                other => Err(format!("{other:?}, not {written}")),
            });
        replicated.await?;
    }

    redis.kill9(master).await?;
    for service in &services {
        for cookie in &cookies {
            let found =
                wait_until("the session at the new master", SOON, async || match status(service, cookie).await {
                    Ok(StatusCode::OK) => Ok(Ok(())),
                    Ok(StatusCode::SERVICE_UNAVAILABLE) => Err("503".to_owned()),
                    other => Ok(Err(format!("{other:?}"))),
                });
            assert_eq!(found.await?, Ok(()), "only 200 and 503 are true");
        }
    }
    let account = json!({"email": "ada@covet.example", "password": PASSWORD});
    let new = services[1].client().post(services[1].url("/api/auth/sessions")).json(&account).send().await?;
    assert_eq!(new.status(), 204, "the new master takes writes");

    // The old master comes back, empty, as a replica.
    redis.start_again(master).await?;
    redis.wait_whole().await?;
    for cookie in &cookies {
        assert_eq!(status(&services[0], cookie).await?, 200);
    }
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_guide_do_what_it_says() -> Result<()> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/sessions.md");
    let guide = std::fs::read_to_string(&guide).with_context(|| guide.display().to_string())?;
    let blocks = guide.split("<!-- sessions -->\n```sh\n").skip(1);
    let script: String = blocks.filter_map(|block| block.split_once("```").map(|(script, _)| script)).collect();
    let service = Service::start().await?;
    let script = script.replace("http://localhost:8000", &service.url(""));
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(service.directory().path());
    let output = Process::run("the guide's script", &mut bash, SOON).await?.success("the guide's script")?.stdout;
    for part in ["\"kind\":\"cookie\",\"current\":true", "\n403\n", "\n401\n"] {
        assert!(output.contains(part), "{part} is not in:\n{output}");
    }
    Ok(())
}
