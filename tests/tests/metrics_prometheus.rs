//! What a real Prometheus makes of the metrics: names, rates, quantiles, exemplars.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet_system_tests::documented::DOCUMENTED;
use covet_system_tests::drill;
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_testkit::{Nginx, OtlpReceiver, Prometheus, Service, free_port, wait_until};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::Instant;

/// How long a scrape and what follows it may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn value(result: &Value) -> Result<f64> {
    Ok(result["value"][1].as_str().context("a value")?.parse()?)
}

/// The one value of a query, once there is one.
async fn query(prometheus: &Prometheus, promql: &str) -> Result<f64> {
    let answer = wait_until(format!("one result of {promql}"), PATIENCE, async || {
        let results = prometheus.query(promql).await.map_err(|error| error.to_string())?;
        if results.len() == 1 { Ok(results) } else { Err(format!("{results:?}")) }
    });
    value(&answer.await?[0])
}

/// The names that a job has brought.
async fn names(prometheus: &Prometheus, job: &str) -> Result<BTreeSet<String>> {
    let results = prometheus.query(&format!("count by (__name__) ({{job=\"{job}\"}})")).await?;
    Ok(results.iter().filter_map(|result| result["metric"]["__name__"].as_str()).map(str::to_owned).collect())
}

/// In front of the operator's port, asking it for the text format as nobody but an old scraper would.
async fn text_only(service: &Service) -> Result<Nginx> {
    let port = free_port()?;
    let configuration = format!(
        "error_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  server {{\n    listen 127.0.0.1:{port};\n    \
         location / {{ proxy_pass http://127.0.0.1:{}; proxy_set_header Accept text/plain; }}\n  }}\n}}\n",
        service.operator_port()
    );
    Ok(Nginx::with_configuration(&configuration, port).await?)
}

#[tokio::test]
async fn the_documented_names_are_the_same_in_prometheus_whichever_format_it_asks_for() -> Result<()> {
    let service = drill::builder()?.start().await?;
    for path in ["/hello", "/fail", "/panic", "/nowhere", "/db/hold?ms=0", "/db/wrong"] {
        service.client().get(service.url(path)).send().await?;
    }
    let proxy = text_only(&service).await?;
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n\
         - {{job_name: openmetrics, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}\n\
         - {{job_name: text, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}\n",
        service.operator_port(),
        proxy.port()
    );
    let prometheus = Prometheus::start(&configuration, &[]).await?;
    for job in ["openmetrics", "text"] {
        ensure!(query(&prometheus, &format!("up{{job=\"{job}\"}}")).await? == 1.0, "{job} cannot be scraped");
        query(&prometheus, &format!("count(http_5xx_responses{{job=\"{job}\"}}) >= 2")).await?;
    }
    assert_eq!(names(&prometheus, "openmetrics").await?, names(&prometheus, "text").await?);
    let known = names(&prometheus, "openmetrics").await?;
    let shown = Exposition::parse(&service.metrics().await?)?;
    let mut compared = 0;
    for (name, _) in DOCUMENTED {
        let has = |known: &dyn Fn(&str) -> bool| ["", "_count"].iter().any(|end| known(&format!("{name}{end}")));
        if has(&|name| shown.samples.iter().any(|sample| sample.name == name)) {
            assert!(has(&|name| known.contains(name)), "{name} is not in Prometheus: {known:?}");
            compared += 1;
        }
    }
    // The others have no values without their parts.
    assert!(compared > 40, "{compared}");
    let rate = "rate(http_5xx_responses{job=\"openmetrics\",endpoint=\"/fail\"}[1m]) or vector(0)";
    query(&prometheus, &format!("sum({rate})")).await?;
    Ok(())
}

#[tokio::test]
async fn a_slow_bucket_in_prometheus_leads_to_the_trace_of_a_slow_request() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let service = drill::builder()?.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint()).start().await?;
    let prometheus = Prometheus::scraping(&format!("127.0.0.1:{}", service.operator_port())).await?;
    let (slow, quick) = ("0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c");
    for (path, trace) in [("/slow?ms=300", slow), ("/slow?ms=1", quick)] {
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        service.client().get(service.url(path)).header("traceparent", parent).send().await?;
    }
    let buckets = "http_request_duration_seconds_bucket{endpoint=\"/slow\"}";
    let series = wait_until("the exemplars of two buckets", PATIENCE, async || {
        let series = prometheus.exemplars(buckets).await.map_err(|error| error.to_string())?;
        if series.len() == 2 { Ok(series) } else { Err(format!("{series:?}")) }
    })
    .await?;
    // Bucket and trace, from the quick one to the slow one.
    let mut found = BTreeMap::new();
    for one in &series {
        let le: f64 = one["seriesLabels"]["le"].as_str().context("a bucket")?.parse()?;
        let exemplar = &one["exemplars"][0];
        let seconds: f64 = exemplar["value"].as_str().context("a value")?.parse()?;
        assert!(bucket(seconds) == bucket(le), "{seconds} s in the bucket {le}");
        found.insert(bucket(le), exemplar["labels"]["trace_id"].as_str().context("a trace")?);
    }
    assert_eq!(found.into_values().collect::<Vec<_>>(), [quick, slow]);
    Ok(())
}

/// What OpenMetrics demands and Prometheus does not check.
#[tokio::test]
async fn the_openmetrics_text_keeps_to_the_specification() -> Result<()> {
    let service = drill::builder()?.start().await?;
    for path in ["/hello", "/fail", "/nowhere"] {
        service.client().get(service.url(path)).send().await?;
    }
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let request = service.client().get(service.operator_url("/metrics")).header("accept", accept);
    let response = request.send().await?;
    assert_eq!(response.headers()["content-type"], OPEN_METRICS);
    let text = response.text().await?;
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");

    // Samples follow the TYPE of their family, and are named as its type wants.
    let (mut family, mut kind) = ("", "");
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            (family, kind) = declared.split_once(' ').context("a type")?;
            ensure!(seen.insert(family), "{family} is there twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let suffix = name.strip_prefix(family).with_context(|| format!("{line} is not of {family}"))?;
            let allowed: &[&str] = match kind {
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                "gauge" | "unknown" => &[""],
                other => anyhow::bail!("{family} is a {other}"),
            };
            ensure!(allowed.contains(&suffix), "{line} is of the {kind} {family}");
        }
    }
    let plain = Exposition::parse(&service.metrics().await?)?;
    assert_eq!(seen.len(), plain.types.len());
    // No name of one family is made by another one's suffix.
    for counter in seen.iter().filter(|name| text.contains(&format!("# TYPE {name} counter\n"))) {
        assert!(!seen.contains(format!("{counter}_total").as_str()), "{counter}");
    }
    Ok(())
}

/// What a client measured, by endpoint.
#[derive(Debug, Default)]
struct Measured {
    seconds: BTreeMap<&'static str, Vec<f64>>,
}

impl Measured {
    fn quantile(&self, endpoint: &str, quantile: f64) -> Result<f64> {
        let mut seconds = self.seconds.get(endpoint).context("requests")?.clone();
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[((seconds.len() - 1) as f64 * quantile).round() as usize])
    }

    fn count(&self, endpoint: &str) -> usize {
        self.seconds.get(endpoint).map_or(0, Vec::len)
    }
}

/// Sends requests to one instance until the end, at an even pace.
async fn measure(port: u16, until: Instant) -> Result<Measured> {
    const PATHS: [(&str, &str); 8] = [
        ("/hello", "/hello"),
        ("/slow?ms=20", "/slow"),
        ("/slow?ms=40", "/slow"),
        ("/slow?ms=80", "/slow"),
        ("/slow?ms=200", "/slow"),
        ("/slow?ms=400", "/slow"),
        ("/fail", "/fail"),
        ("/hello", "/hello"),
    ];
    let mut measured = Measured::default();
    let mut connection = Connection::open(port).await?;
    for (path, endpoint) in PATHS.into_iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let start = Instant::now();
        connection.send_get(path).await?;
        let status = connection.response().await?.status;
        ensure!(status == if endpoint == "/fail" { 500 } else { 200 }, "{path} answers {status}");
        measured.seconds.entry(endpoint).or_default().push(start.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(measured)
}

const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn bucket(seconds: f64) -> usize {
    BUCKETS.iter().filter(|bound| seconds > **bound).count()
}

/// Takes a minute and a half: rates over a minute need a minute.
#[tokio::test]
#[ignore = "load: takes a minute and a half"]
async fn rates_and_quantiles_of_three_instances_under_load_are_those_that_the_clients_measured() -> Result<()> {
    let services = try_join_all((0..3).map(|_| async { anyhow::Ok(drill::builder()?.start().await?) })).await?;
    let targets: Vec<String> =
        services.iter().map(|service| format!("'127.0.0.1:{}'", service.operator_port())).collect();
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: covet, static_configs: [{{targets: [{}]}}]}}]\n",
        targets.join(", ")
    );
    let prometheus = Prometheus::start(&configuration, &[]).await?;
    query(&prometheus, "sum(up{job=\"covet\"}) == 3").await?;
    // A series that appears with its first event has no rate before its second scrape.
    for service in &services {
        service.client().get(service.url("/fail")).send().await?;
    }
    query(&prometheus, "count(http_5xx_responses{endpoint=\"/fail\"}) == 3").await?;

    let until = Instant::now() + Duration::from_secs(80);
    let load = services.iter().flat_map(|service| [service.port(); 2]).map(|port| measure(port, until));
    let mut all = Measured::default();
    for measured in try_join_all(load).await? {
        for (endpoint, mut seconds) in measured.seconds {
            all.seconds.entry(endpoint).or_default().append(&mut seconds);
        }
    }
    // Asked for a moment at which every instance was under load for the whole of the minute before.
    let at = |promql: &str| query_before(&prometheus, promql.to_owned(), Duration::from_secs(5));
    let rate = at("sum(rate(http_5xx_responses[1m]))").await?;
    let expected = all.count("/fail") as f64 / 80.0;
    println!("rate(http_5xx_responses[1m]): {rate:.3}, the clients {expected:.3}");
    assert!((rate - expected).abs() < 0.1 * expected, "{rate} {expected}");
    for endpoint in ["/slow", "/hello"] {
        for quantile in [0.5, 0.95, 0.99] {
            let promql = format!(
                "histogram_quantile({quantile}, sum by (le) \
                 (rate(http_request_duration_seconds_bucket{{endpoint=\"{endpoint}\"}}[1m])))"
            );
            let (told, measured) = (at(&promql).await?, all.quantile(endpoint, quantile)?);
            println!("{endpoint} p{}: {told:.4} s, the clients {measured:.4} s", quantile * 100.0);
            assert!(bucket(told).abs_diff(bucket(measured)) <= 1, "{endpoint} {quantile}: {told} {measured}");
        }
    }
    let scrapes = query(&prometheus, "sum(count_over_time(up{job=\"covet\"}[2m]))").await?;
    assert_eq!(query(&prometheus, "min(min_over_time(up{job=\"covet\"}[2m]))").await?, 1.0, "a scrape failed");
    println!("{scrapes} scrapes without an error");
    assert!(scrapes > 180.0, "{scrapes}");
    Ok(())
}

/// The one value that a query had so long ago.
async fn query_before(prometheus: &Prometheus, promql: String, ago: Duration) -> Result<f64> {
    let shifted = promql.replace("[1m]", &format!("[1m] offset {}s", ago.as_secs()));
    query(prometheus, &shifted).await
}

#[tokio::test]
#[ignore = "load: waits for the end of a minute"]
async fn calls_of_users_are_told_under_load_as_a_distribution_at_the_end_of_the_minute() -> Result<()> {
    use covet_system_tests::account::Account;
    let service = Service::start().await?;
    let (ada, bob) = (Account::register(&service, "ada").await?, Account::register(&service, "bob").await?);
    for _ in 0..30 {
        ensure!(ada.get("/api/notes").send().await?.status() == 200, "no notes");
    }
    ensure!(bob.get("/api/notes").send().await?.status() == 200, "no notes");
    let told = wait_until("the end of the minute", Duration::from_secs(100), async || {
        let text = service.metrics().await.map_err(|error| error.to_string())?;
        let now = Exposition::parse(&text).map_err(|error| error.to_string())?;
        if now.sum("app_api_calls_per_user_count", &[]) == 2.0 { Ok(now) } else { Err("not yet".to_owned()) }
    })
    .await?;
    assert_eq!(told.sum("app_api_calls_per_user_sum", &[]), 31.0);
    assert_eq!(told.sum("app_api_calls_per_user_bucket", &[("le", "20.0")]), 1.0);
    assert_eq!(told.sum("app_api_calls_per_user_bucket", &[("le", "50.0")]), 2.0);
    Ok(())
}
