//! A Redis Cluster: three masters, each with a replica (requirement A-193).

use std::time::Duration;

use crate::{Error, Result, TempDir, free_port, wait_until};

use super::node::{Access, Node};

const PASSWORD: &str = "cluster-password";
/// Slots are given to masters in this number.
const SLOTS: u32 = 16_384;
/// How long a whole cluster may take to form, also on a busy machine.
const FORM_DEADLINE: Duration = Duration::from_secs(120);

/// Six Redis servers on this machine that share the slots: 0 to 2 begin as masters, 3 to 5 as their replicas. All want the
/// same password.
///
/// Timing: `cluster-node-timeout` 2000; the default is 15000. A master that vanishes is replaced some three seconds later.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
}

/// A node as the cluster knows it: a line of `CLUSTER NODES`.
#[derive(Debug)]
struct Known {
    port: u16,
    flags: Vec<String>,
    linked: bool,
    slots: Vec<(u16, u16)>,
}

impl RedisCluster {
    /// Starts all of it, and waits until it is [`whole`](Self::wait_whole).
    ///
    /// # Errors
    ///
    /// [`Error::MissingProgram`] without an installed Redis; otherwise what the servers said.
    pub async fn start() -> Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let lines = [
                line("cluster-enabled", "yes"),
                line("cluster-config-file", "nodes.conf"),
                line("cluster-node-timeout", "2000"),
                line("cluster-port", &free_port()?.to_string()),
            ];
            let mut node = Node::new(Access::new(Some(PASSWORD.to_owned()))?, TempDir::new("redis-cluster")?, &lines)?;
            node.start().await?;
            nodes.push(node);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.access().port)).collect();
        let mut words = vec!["--cluster", "create"];
        words.extend(addresses.iter().map(String::as_str));
        words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        nodes[0].access().cli_with(&words).await?;
        let cluster = Self { nodes };
        cluster.wait_whole().await?;
        Ok(cluster)
    }

    /// The value for `REDIS_URL`: all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&[0, 1, 2, 3, 4, 5])
    }

    /// The value for `REDIS_URL` that names only these nodes, by their numbers from 0.
    #[must_use]
    pub fn url_of(&self, nodes: &[usize]) -> String {
        let hosts: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", self.port(*node))).collect();
        format!("redis+cluster://:{PASSWORD}@{}", hosts.join(","))
    }

    /// The port of a node on 127.0.0.1.
    #[must_use]
    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].access().port
    }

    /// Runs one command on a node with `redis-cli`, which follows no redirection.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with the server's message.
    pub async fn cli(&self, node: usize, command: &[&str]) -> Result<String> {
        self.nodes[node].access().cli(command).await
    }

    /// The number of the master that has this slot, from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when none has.
    pub async fn owner_of(&self, slot: u16) -> Result<usize> {
        wait_until(format!("a master of slot {slot}"), FORM_DEADLINE, async || {
            let known = self.known().await?;
            let owner = known.iter().find(|node| {
                let lost = node.flags.iter().any(|flag| flag.starts_with("fail"));
                !lost && node.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
            });
            owner.and_then(|owner| self.node_at(owner.port)).ok_or_else(|| format!("{known:?}"))
        })
        .await
    }

    /// The slot of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when no node answers.
    pub async fn slot_of(&self, key: &str) -> Result<u16> {
        let running = self.nodes.iter().find(|node| node.is_running()).unwrap_or(&self.nodes[0]);
        let said = running.access().cli(&["CLUSTER", "KEYSLOT", key]).await?;
        Ok(said.parse().unwrap_or_default())
    }

    /// Begins to move a slot: from now on its master redirects (`ASK`) questions for keys that it does not have.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with a server's message.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let (slot, ids) = (slot.to_string(), [self.id(from).await?, self.id(to).await?]);
        self.cli(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]).await?;
        self.cli(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]).await?;
        Ok(())
    }

    /// Moves the keys of a slot, and tells all masters who has it from now on (`MOVED`).
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with a server's message.
    pub async fn end_move(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let (text, port, id) = (slot.to_string(), self.port(to).to_string(), self.id(to).await?);
        loop {
            let keys = self.cli(from, &["CLUSTER", "GETKEYSINSLOT", &text, "100"]).await?;
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "REPLACE", "AUTH", PASSWORD, "KEYS"];
            words.extend(keys);
            self.cli(from, &words).await?;
        }
        self.cli(to, &["CLUSTER", "SETSLOT", &text, "NODE", &id]).await?;
        self.cli(from, &["CLUSTER", "SETSLOT", &text, "NODE", &id]).await?;
        Ok(())
    }

    /// Kills a node.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] when it is lost already.
    pub async fn kill9(&mut self, node: usize) -> Result<()> {
        self.nodes[node].kill9().await.map(drop)
    }

    /// Starts a node again, empty. A former master becomes a replica of who took its place.
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

    /// Ends [`RedisCluster::pause`].
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] while it is lost.
    pub fn resume(&self, node: usize) -> Result<()> {
        self.nodes[node].resume()
    }

    /// Waits until all six nodes are linked and well, three of them masters of all slots and three their replicas, in the
    /// eyes of each.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with what a node knows instead, and the last lines of all.
    pub async fn wait_whole(&self) -> Result<()> {
        let whole = wait_until("a whole cluster", FORM_DEADLINE, async || {
            for node in &self.nodes {
                let known = known(node).await?;
                let info = node.access().cli(&["CLUSTER", "INFO"]).await.map_err(|error| error.to_string())?;
                if !info.contains("cluster_state:ok") || !is_whole(&known) {
                    return Err(format!("{known:?}"));
                }
                let replication =
                    node.access().cli(&["INFO", "replication"]).await.map_err(|error| error.to_string())?;
                let follows = replication.contains("role:slave") && replication.contains("master_link_status:up");
                if !follows && !replication.contains("connected_slaves:1") {
                    return Err(replication);
                }
            }
            Ok(())
        });
        whole.await.map_err(|error| self.explain(error))
    }

    async fn id(&self, node: usize) -> Result<String> {
        self.cli(node, &["CLUSTER", "MYID"]).await
    }

    /// What the first node that answers knows of all.
    async fn known(&self) -> Result<Vec<Known>, String> {
        let mut said = "no node answers".to_owned();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            match known(node).await {
                Ok(known) => return Ok(known),
                Err(error) => said = error,
            }
        }
        Err(said)
    }

    fn node_at(&self, port: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.access().port == port)
    }

    /// Adds to an error what all have printed last.
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

async fn known(node: &Node) -> Result<Vec<Known>, String> {
    let said = node.access().cli(&["CLUSTER", "NODES"]).await.map_err(|error| error.to_string())?;
    said.lines().map(|line| parse(line).ok_or_else(|| format!("not understood: {line}"))).collect()
}

/// `id ip:port@bus flags master ping pong epoch linked slots…`
fn parse(line: &str) -> Option<Known> {
    let mut words = line.split_ascii_whitespace();
    let port = words.nth(1)?.split_once('@')?.0.rsplit_once(':')?.1.parse().ok()?;
    let flags = words.next()?.split(',').map(ToOwned::to_owned).collect();
    let linked = words.nth(4)? == "connected";
    // A slot that is being moved stands in brackets.
    let slots = words.filter(|word| !word.starts_with('['));
    let slots = slots
        .map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect::<Option<_>>()?;
    Some(Known { port, flags, linked, slots })
}

fn is_whole(known: &[Known]) -> bool {
    let with = |flag: &str| known.iter().filter(|node| node.flags.iter().any(|found| found == flag)).count();
    let well = known.iter().all(|node| node.linked && !node.flags.iter().any(|flag| flag.starts_with("fail")));
    let slots = known.iter().flat_map(|node| &node.slots).map(|(first, last)| u32::from(last - first) + 1);
    known.len() == 6 && well && with("master") == 3 && with("slave") == 3 && slots.sum::<u32>() == SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cluster_nodes_is_understood() {
        let line = "07c3 127.0.0.1:30004@31004,host slave,fail? e7d1 0 1426238317239 4 connected";
        let node = parse(line).unwrap();
        assert_eq!((node.port, node.linked), (30_004, true));
        assert_eq!(node.flags, ["slave", "fail?"]);
        let line = "e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460 7000 [93->-292f]";
        assert_eq!(parse(line).unwrap().slots, [(0, 5460), (7000, 7000)]);
        assert!(parse("nonsense").is_none());
    }

    #[test]
    fn a_cluster_is_whole_with_all_slots_in_three_masters_that_are_well() {
        let node =
            |flags: &str, slots: &str| parse(&format!("id 127.0.0.1:1@2 {flags} - 0 0 1 connected {slots}")).unwrap();
        let masters = || [node("master", "0-5460"), node("master", "5461-10922"), node("master", "10923-16383")];
        let replicas = || [node("slave", ""), node("slave", ""), node("slave", "")];
        assert!(is_whole(&masters().into_iter().chain(replicas()).collect::<Vec<_>>()));
        assert!(!is_whole(&masters().into_iter().collect::<Vec<_>>()));
        let lost = [node("master,fail", "0-5460"), node("master", "5461-10922"), node("master", "10923-16383")];
        assert!(!is_whole(&lost.into_iter().chain(replicas()).collect::<Vec<_>>()));
        let hole = [node("master", "0-5460"), node("master", "5461-10922"), node("master", "10923-16382")];
        assert!(!is_whole(&hole.into_iter().chain(replicas()).collect::<Vec<_>>()));
    }
}
