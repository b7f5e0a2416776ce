//! A real Prometheus (recipe R-PROM).

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::server::Server;
use crate::{Process, Result, Stop, TempDir, find_program, free_port, http_client};

/// A Prometheus of its own on a free port, with an empty store.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    client: reqwest::Client,
    port: u16,
    // Last: the server ends before its directory goes.
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it with this `prometheus.yml`; file names in it are relative to `files`, which are written beside it.
    ///
    /// # Errors
    ///
    /// [`crate::Error::MissingProgram`] without Prometheus, [`crate::Error::Ended`] with what it says about the file.
    pub async fn start(configuration: &str, files: &[(&str, &str)]) -> Result<Self> {
        let program = find_program("prometheus", "prometheus")?;
        let directory = TempDir::new("prometheus")?;
        let path = directory.write("prometheus.yml", configuration)?;
        for (name, content) in files {
            directory.write(name, content)?;
        }
        let port = free_port()?;
        let mut command = Command::new(program);
        command
            .current_dir(directory.path())
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--enable-feature=exemplar-storage");
        let server = Server::new("prometheus", command, Stop::KILL);
        let client = http_client().timeout(Duration::from_secs(30)).build()?;
        let mut prometheus = Self { server, client, port, _directory: directory };
        let ready = format!("{}/-/ready", prometheus.url());
        let client = &prometheus.client;
        let is_ready = async || Ok(client.get(&ready).send().await?.error_for_status().map(drop)?);
        prometheus.server.start(is_ready).await?;
        Ok(prometheus)
    }

    /// Scrapes one target, `host:port`, every second under the job name `covet`.
    ///
    /// # Errors
    ///
    /// As [`Prometheus::start`].
    pub async fn scraping(target: &str) -> Result<Self> {
        let configuration = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: covet, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        Self::start(&configuration, &[]).await
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The server process, for its output and its state.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] when it has ended.
    pub fn process(&self) -> Result<&Process> {
        self.server.process()
    }

    /// The result of an instant query: a list of `{"metric": {…}, "value": [time, "text"]}`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Http`] for a query that Prometheus refuses.
    pub async fn query(&self, promql: &str) -> Result<Vec<Value>> {
        let data = self.ask("query", &[("query", promql)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The exemplars of the series that a query selects: a list of `{"seriesLabels": {…}, "exemplars": [{"labels": {…}, "value":
    /// "text", "timestamp": time}]}`.
    ///
    /// # Errors
    ///
    /// As [`Prometheus::query`].
    pub async fn exemplars(&self, promql: &str) -> Result<Vec<Value>> {
        // From the beginning to the year 2100.
        let data = self.ask("query_exemplars", &[("query", promql), ("start", "0"), ("end", "4102444800")]).await?;
        Ok(data.as_array().cloned().unwrap_or_default())
    }

    async fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let mut url = reqwest::Url::parse(&self.url()).unwrap_or_else(|_| unreachable!("made of a port number"));
        url.set_path(&format!("/api/v1/{endpoint}"));
        url.query_pairs_mut().extend_pairs(parameters);
        let mut answer: Value = self.client.get(url).send().await?.error_for_status()?.json().await?;
        Ok(answer["data"].take())
    }
}
