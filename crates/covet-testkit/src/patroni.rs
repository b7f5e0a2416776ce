//! A PostgreSQL cluster that Patroni keeps: it promotes a replica by itself when the primary is lost. Replication is
//! synchronous.
//!
//! For a promotion that the test decides on, [`Postgres::replica`](crate::Postgres::replica) is quicker.

mod etcd;
mod node;

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::postgres::url_of;
use crate::{Error, Result, http_client, wait_until};

use etcd::Etcd;
use node::Node;

/// How long a whole cluster may take to form, also on a busy machine.
const FORM_DEADLINE: Duration = Duration::from_secs(180);
/// How long a promotion may take: until the lost leader's lock has run out, and some.
const PROMOTION_DEADLINE: Duration = Duration::from_secs(120);

/// Three nodes under Patroni and the etcd by which they agree, all on this machine, with the database `covet`.
///
/// Timings: `ttl` 20 s, `loop_wait` 2 s, `retry_timeout` 3 s. A `ttl` below that newer releases of Patroni refuse;
/// its default is 30 s. A primary that vanishes is replaced when `ttl` has passed since its last sign of life.
#[derive(Debug)]
pub struct Patroni {
    nodes: Vec<Node>,
    client: reqwest::Client,
    // Last: without it the nodes would only wait.
    _etcd: Etcd,
}

impl Patroni {
    /// Starts all of it, and waits until the cluster is [`whole`](Self::wait_whole).
    ///
    /// # Errors
    ///
    /// [`Error::MissingProgram`] without Patroni, etcd or PostgreSQL; otherwise what they said.
    pub async fn start() -> Result<Self> {
        let client = http_client().timeout(Duration::from_secs(5)).build()?;
        let etcd = Etcd::start(&client).await?;
        let mut nodes = Vec::new();
        for number in 1..=3 {
            let mut node = Node::new(&format!("node{number}"), etcd.port())?;
            node.start(&client).await?;
            nodes.push(node);
        }
        let patroni = Self { nodes, client, _etcd: etcd };
        patroni.wait_whole().await?;
        let primary = patroni.primary().await?;
        patroni.nodes[primary].make_database().await?;
        Ok(patroni)
    }

    /// The value for `DATABASE_URL`: all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.nodes.iter().map(Node::port))
    }

    /// The number of the node that is the primary, from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when there is none.
    pub async fn primary(&self) -> Result<usize> {
        let asked = wait_until("a leader", PROMOTION_DEADLINE, async || {
            let cluster = self.cluster().await?;
            let leader = members(&cluster).iter().find(|member| member["role"] == "leader");
            let name = leader.and_then(|member| member["name"].as_str()).unwrap_or_default();
            self.nodes.iter().position(|node| node.name() == name).ok_or_else(|| cluster.to_string())
        });
        asked.await.map_err(|error| self.explain(error))
    }

    /// Runs SQL with `psql` on a node and returns what it printed: one line a row, columns separated by `|`.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with the server's message.
    pub async fn psql(&self, node: usize, sql: &str) -> Result<String> {
        self.nodes[node].psql(sql).await
    }

    /// Kills Patroni and PostgreSQL of a node, as if its machine was gone: nobody gives the leader's lock back.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] when it is lost already.
    pub async fn lose(&mut self, node: usize) -> Result<()> {
        self.nodes[node].kill9().await
    }

    /// Starts a lost node again. Patroni makes a replica of it: [`Patroni::wait_whole`].
    ///
    /// # Errors
    ///
    /// What Patroni said.
    pub async fn bring_back(&mut self, node: usize) -> Result<()> {
        self.nodes[node].start(&self.client).await
    }

    /// Waits until a node has begun to take writes after `since`. Tells which one, and when by its own log.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when none does.
    pub async fn promoted_after(&self, since: SystemTime) -> Result<(usize, SystemTime)> {
        let promoted = wait_until("Patroni to promote a node", PROMOTION_DEADLINE, async || {
            let ready = self.nodes.iter().map(|node| node.ready_for_writes().into_iter().find(|at| *at > since));
            ready.enumerate().find_map(|(number, at)| Some((number, at?))).ok_or("none")
        });
        promoted.await.map_err(|error| self.explain(error))
    }

    /// Waits until all nodes run, and commits are in two places: a leader, a replica it waits for, one more replica.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with what Patroni tells of the cluster instead, and the nodes' last lines.
    pub async fn wait_whole(&self) -> Result<()> {
        let whole = wait_until("a whole cluster", FORM_DEADLINE, async || {
            let cluster = self.cluster().await?;
            if is_whole(members(&cluster)) { Ok(()) } else { Err(cluster.to_string()) }
        });
        whole.await.map_err(|error| self.explain(error))
    }

    /// What the first node that answers tells of all.
    async fn cluster(&self) -> Result<Value, String> {
        let mut said = "no node answers".to_owned();
        for node in &self.nodes {
            match self.ask(&node.api("/cluster")).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => said = error.to_string(),
            }
        }
        Err(said)
    }

    async fn ask(&self, url: &str) -> reqwest::Result<Value> {
        self.client.get(url).send().await?.error_for_status()?.json().await
    }

    /// Adds to an error what the nodes have printed last.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Deadline { what, waited, last } => {
                let said: Vec<String> = self.nodes.iter().map(Node::tail).collect();
                Error::Deadline { what, waited, last: format!("{last}\n{}", said.join("\n")) }
            }
            error => error,
        }
    }
}

/// What Patroni's `GET /cluster` lists.
fn members(cluster: &Value) -> &[Value] {
    cluster["members"].as_array().map_or(&[], Vec::as_slice)
}

fn is_whole(members: &[Value]) -> bool {
    let mut roles: Vec<&str> = members.iter().filter_map(|member| member["role"].as_str()).collect();
    roles.sort_unstable();
    let run = members.iter().all(|member| member["state"] == "running" || member["state"] == "streaming");
    let together = members.iter().all(|member| member["timeline"] == members[0]["timeline"]);
    roles == ["leader", "replica", "sync_standby"] && run && together
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::process::descendants_of;

    #[tokio::test]
    async fn nothing_of_it_stays() {
        let patroni = Patroni::start().await.unwrap();
        let primary = patroni.primary().await.unwrap();
        assert_eq!(patroni.psql(primary, "SELECT pg_is_in_recovery()").await.unwrap(), "f");
        let servers: Vec<u32> = patroni.nodes.iter().filter_map(Node::postmaster).collect();
        let children = servers.iter().flat_map(|server| descendants_of(*server));
        let processes: Vec<u32> = children.chain(servers.iter().copied()).collect();
        let directories: Vec<_> = patroni.nodes.iter().map(Node::directory).collect();
        assert!(servers.len() == 3 && processes.len() > 12, "{processes:?}");
        drop(patroni);
        assert!(directories.iter().all(|directory| !directory.exists()));
        let left: Vec<_> = processes.into_iter().filter_map(state_of).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// `None` for a process that has ended, also if nobody has looked yet.
    fn state_of(pid: u32) -> Option<char> {
        let stat = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.stat());
        stat.map(|stat| stat.state).ok().filter(|state| *state != 'Z')
    }

    #[test]
    fn a_cluster_is_whole_with_a_leader_and_two_replicas_on_its_timeline_one_of_them_synchronous() {
        let member =
            |role: &str, state: &str, timeline: u32| json!({"role": role, "state": state, "timeline": timeline});
        let leader = member("leader", "running", 2);
        let [replica, standby] = ["replica", "sync_standby"].map(|role| member(role, "running", 2));
        assert!(is_whole(&[leader.clone(), standby.clone(), replica.clone()]));
        assert!(!is_whole(&[]));
        assert!(!is_whole(&[leader.clone(), standby.clone()]));
        assert!(!is_whole(&[leader.clone(), replica.clone(), replica]));
        assert!(!is_whole(&[leader.clone(), standby.clone(), member("replica", "starting", 2)]));
        assert!(!is_whole(&[leader, standby, member("replica", "running", 1)]));
    }
}
