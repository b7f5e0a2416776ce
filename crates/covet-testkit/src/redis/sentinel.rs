//! A Redis master with two replicas, and three sentinels that promote a replica when the master is lost (recipe R-SENT).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::{Error, Process, Result, TempDir, wait_until};

use super::log::time_of;
use super::node::{Access, Node};

const MASTER_NAME: &str = "mymaster";
const PASSWORD: &str = "redis-password";
const SENTINEL_PASSWORD: &str = "sentinel-password";
/// How long all of it may take to find each other, also on a busy machine.
const FORM_DEADLINE: Duration = Duration::from_secs(120);
/// How long a failover may take, with an election that has to be repeated.
const FAILOVER_DEADLINE: Duration = Duration::from_secs(90);

/// One Redis master, two replicas and three sentinels with a quorum of two, all on this machine and empty. Redis and the
/// sentinels want a password each, and every node has `masterauth`, so that a former master can follow the new one.
///
/// Timings: `down-after-milliseconds` 1000, `failover-timeout` 3000: in production several times that.
#[derive(Debug)]
pub struct RedisSentinel {
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
}

impl RedisSentinel {
    /// Starts all of it, and waits until it is [`whole`](Self::wait_whole).
    ///
    /// # Errors
    ///
    /// [`Error::MissingProgram`] without an installed Redis; otherwise what the servers said.
    pub async fn start() -> Result<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        for _ in 0..3 {
            let access = Access::new(Some(PASSWORD.to_owned()))?;
            let lines: Vec<(String, String)> = nodes
                .first()
                .map(|master| ("replicaof".to_owned(), format!("127.0.0.1 {}", master.access().port)))
                .into_iter()
                .collect();
            let mut node = Node::new(access, TempDir::new("redis")?, &lines)?;
            node.start().await?;
            nodes.push(node);
        }
        let master = nodes[0].access().port;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let of_master = |name: &str, value: &str| ("sentinel".to_owned(), format!("{name} {MASTER_NAME} {value}"));
            let lines = [
                of_master("monitor", &format!("127.0.0.1 {master} 2")),
                of_master("auth-pass", PASSWORD),
                of_master("down-after-milliseconds", "1000"),
                of_master("failover-timeout", "3000"),
                of_master("parallel-syncs", "1"),
            ];
            let access = Access::new(Some(SENTINEL_PASSWORD.to_owned()))?;
            let mut sentinel = Node::sentinel(access, TempDir::new("sentinel")?, &lines)?;
            start_sentinel(&mut sentinel).await?;
            sentinels.push(sentinel);
        }
        let started = Self { nodes, sentinels };
        started.wait_whole().await?;
        Ok(started)
    }

    /// The value for `REDIS_URL`: all sentinels. Their own password is not in it: [`Self::sentinel_password`].
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&[0, 1, 2])
    }

    /// The value for `REDIS_URL` that names only these sentinels, by their numbers from 0.
    #[must_use]
    pub fn url_of(&self, sentinels: &[usize]) -> String {
        let hosts: Vec<String> =
            sentinels.iter().map(|number| format!("127.0.0.1:{}", self.sentinels[*number].access().port)).collect();
        format!("redis+sentinel://:{PASSWORD}@{}/{MASTER_NAME}/0", hosts.join(","))
    }

    /// What the sentinels want to hear.
    #[must_use]
    pub fn sentinel_password(&self) -> &'static str {
        SENTINEL_PASSWORD
    }

    /// The number of the node that is the master now, from 0: what most sentinels that answer say.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when they cannot be asked or do not agree.
    pub async fn master(&self) -> Result<usize> {
        let asked = wait_until("the sentinels to agree on a master", FAILOVER_DEADLINE, async || {
            let mut votes = [0; 3];
            for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_running()) {
                let said = sentinel.access().cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await;
                let port = said.ok().and_then(|said| said.lines().nth(1)?.parse::<u16>().ok());
                if let Some(node) = port.and_then(|port| self.node_at(port)) {
                    votes[node] += 1;
                }
            }
            votes.iter().position(|votes| *votes >= 2).ok_or_else(|| format!("votes {votes:?}"))
        });
        asked.await.map_err(|error| self.explain(error))
    }

    /// The port of a node on 127.0.0.1.
    #[must_use]
    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].access().port
    }

    /// Runs one command on a node with `redis-cli`.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with the server's message.
    pub async fn cli(&self, node: usize, command: &[&str]) -> Result<String> {
        self.nodes[node].access().cli(command).await
    }

    /// Runs one command on a sentinel with `redis-cli`.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with the sentinel's message.
    pub async fn sentinel_cli(&self, sentinel: usize, command: &[&str]) -> Result<String> {
        self.sentinels[sentinel].access().cli(command).await
    }

    /// Kills a node.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] when it is lost already.
    pub async fn kill9(&mut self, node: usize) -> Result<()> {
        self.nodes[node].kill9().await.map(drop)
    }

    /// Starts a node again, empty. It begins as what it was; the sentinels make a replica of a former master.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn start_again(&mut self, node: usize) -> Result<()> {
        self.nodes[node].start().await
    }

    /// Freezes a node: connections are accepted, nothing answers.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] while it is lost.
    pub fn pause(&self, node: usize) -> Result<()> {
        self.nodes[node].pause()
    }

    /// Ends [`RedisSentinel::pause`].
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] while it is lost.
    pub fn resume(&self, node: usize) -> Result<()> {
        self.nodes[node].resume()
    }

    /// Kills a sentinel.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] when it is lost already.
    pub async fn kill9_sentinel(&mut self, sentinel: usize) -> Result<()> {
        self.sentinels[sentinel].kill9().await.map(drop)
    }

    /// Starts a sentinel again, with what it remembers.
    ///
    /// # Errors
    ///
    /// What the sentinel said.
    pub async fn start_sentinel_again(&mut self, sentinel: usize) -> Result<()> {
        start_sentinel(&mut self.sentinels[sentinel]).await
    }

    /// Waits until a sentinel has said `+switch-master` after `since`. Tells the new master's number, and when the first
    /// sentinel said it, by its own log.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when none does.
    pub async fn switched_after(&self, since: SystemTime) -> Result<(usize, SystemTime)> {
        let switched = wait_until("+switch-master", FAILOVER_DEADLINE, async || {
            let said = self.sentinels.iter().filter_map(|sentinel| sentinel.process().ok());
            let switches = said.flat_map(Process::lines).filter_map(|line| {
                let (_, event) = line.split_once("+switch-master ")?;
                let node = self.node_at(event.split(' ').nth(4)?.parse().ok()?)?;
                Some((node, time_of(&line).filter(|at| *at > since)?))
            });
            switches.min_by_key(|(_, at)| *at).ok_or("no such line")
        });
        switched.await.map_err(|error| self.explain(error))
    }

    /// Waits until all nodes and sentinels run and know each other: a master that is not suspected, two replicas that
    /// follow it, and two other sentinels, in the eyes of each sentinel.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with what a sentinel tells instead, and the last lines of all.
    pub async fn wait_whole(&self) -> Result<()> {
        let whole = wait_until("a whole set of master, replicas and sentinels", FORM_DEADLINE, async || {
            for sentinel in &self.sentinels {
                let ask = async |what: &str| {
                    let said = sentinel.access().cli(&["SENTINEL", what, MASTER_NAME]).await;
                    said.map_err(|error| error.to_string())
                };
                let master = fields(&ask("MASTER").await?);
                let is = |name: &str, value: &str| master.get(name).is_some_and(|found| found == value);
                let replicas = ask("REPLICAS").await?;
                let with = |name: &str, value: &str| {
                    let lines: Vec<&str> = replicas.lines().collect();
                    lines.chunks_exact(2).filter(|pair| *pair == [name, value]).count()
                };
                let (well, following) = (with("flags", "slave"), with("master-link-status", "ok"));
                let known = is("flags", "master") && is("num-slaves", "2") && is("num-other-sentinels", "2");
                if !known || (well, following) != (2, 2) {
                    return Err(format!("{master:?}; of its replicas {well} are well, {following} follow"));
                }
            }
            Ok(())
        });
        whole.await.map_err(|error| self.explain(error))
    }

    fn node_at(&self, port: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.access().port == port)
    }

    /// Adds to an error what all have printed last.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Deadline { what, waited, last } => {
                let said: Vec<String> = self.nodes.iter().chain(&self.sentinels).map(Node::tail).collect();
                Error::Deadline { what, waited, last: format!("{last}\n{}", said.join("\n")) }
            }
            error => error,
        }
    }
}

/// A sentinel asks the servers how they are every ten seconds; before that nobody knows that all is well. Here it does so every
/// second, if its release can (from 7.0): what a client waits for after a loss stays as it is.
async fn start_sentinel(sentinel: &mut Node) -> Result<()> {
    sentinel.start().await?;
    let _ = sentinel.access().cli(&["SENTINEL", "DEBUG", "INFO-PERIOD", "1000"]).await;
    Ok(())
}

/// Names and values, one a line in turn.
fn fields(said: &str) -> HashMap<String, String> {
    let lines: Vec<&str> = said.lines().collect();
    lines.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}
