//! The etcd by which Patroni's nodes agree on a leader: one member, which in production would be three.

use std::process::Command;

use crate::server::Server;
use crate::{Result, Stop, TempDir, find_program, free_port};

/// An etcd of its own on free ports.
#[derive(Debug)]
pub(super) struct Etcd {
    _server: Server,
    port: u16,
    // Last: the server ends before its directory goes.
    _directory: TempDir,
}

impl Etcd {
    pub(super) async fn start(client: &reqwest::Client) -> Result<Self> {
        let program = find_program("etcd", "etcd-server")?;
        let directory = TempDir::new("etcd")?;
        let (port, peer_port) = (free_port()?, free_port()?);
        let (url, peer_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
        let mut command = Command::new(program);
        command
            .current_dir(directory.path())
            .args(["--name", "etcd", "--data-dir"])
            .arg(directory.join("data"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("etcd={peer_url}")]);
        let mut server = Server::new("etcd", command, Stop::KILL);
        let health = format!("{url}/health");
        server.start(async || Ok(client.get(&health).send().await?.error_for_status().map(drop)?)).await?;
        Ok(Self { _server: server, port, _directory: directory })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}
