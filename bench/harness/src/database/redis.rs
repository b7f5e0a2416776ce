//! A Redis server for a run, on a free port, without persistence, gone when dropped or when the harness is killed.

use std::time::Duration;

use anyhow::Context as _;

use crate::process::{cpu_time, pin_family};

pub(crate) struct Redis {
    server: covet_testkit::Redis,
    runtime: tokio::runtime::Runtime,
    pid: u32,
    version: String,
}

impl Redis {
    pub(super) fn start(core: Option<usize>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let server = runtime.block_on(covet_testkit::Redis::start()).context("starting Redis")?;
        let pid = server.process()?.pid();
        if let Some(core) = core {
            pin_family(pid, core)?;
        }
        let info = runtime.block_on(server.cli(&["INFO", "server"]))?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("of unknown version");
        let version = version.trim().to_owned();
        Ok(Self { server, runtime, pid, version })
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn clear(&self) -> anyhow::Result<()> {
        self.runtime.block_on(self.server.cli(&["FLUSHALL"]))?;
        Ok(())
    }

    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        cpu_time(self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::Redis;

    #[test]
    fn each_measurement_finds_it_empty() {
        let redis = Redis::start(Some(0)).unwrap();
        let ask = |words: &[&str]| redis.runtime.block_on(redis.server.cli(words)).unwrap();
        ask(&["SET", "a", "1"]);
        redis.clear().unwrap();
        assert_eq!(ask(&["DBSIZE"]).trim(), "0");
        assert!(redis.version().starts_with(|first: char| first.is_ascii_digit()), "{}", redis.version());
        redis.cpu_time().unwrap();
    }
}
