//! One server, Sentinel or Cluster: where a command goes.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Cmd;
use tokio::runtime::Handle;

use super::cluster::{Cluster, slot_of};
use super::command::key_of;
use super::connect::{Connector, Role};
use super::failure::Failure;
use super::kept::{Finder, Kept, Limits};
use super::sentinel::Sentinels;
use super::target::{Host, Kind, Target};
use super::tls;
use crate::settings::CacheSettings;

/// A sentinel gets so much time to answer, even if a server does not: it is not asked on the way of a request, and one that is
/// busy with a failover counts most.
const SENTINEL_ANSWER: Duration = Duration::from_millis(250);

/// The servers.
pub(super) struct Servers {
    kind: ServersOf,
    /// For connections beside the kept ones.
    pub(super) connector: Arc<Connector>,
}

enum ServersOf {
    Single(Arc<Kept>),
    Sentinel { master: Arc<Kept>, sentinels: Arc<Sentinels> },
    Cluster { cluster: Cluster, with_replicas: bool },
}

/// What a command wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The server that takes writes.
    Master,
    /// A replica will do.
    Replica,
}

impl Servers {
    /// Begins to connect. The error tells which setting cannot be used.
    pub(super) fn start(target: Target, settings: &CacheSettings, runtime: &Handle) -> Result<Self, String> {
        let tls = if target.tls { Some(tls::connector(settings)?) } else { None };
        let limits = Limits {
            answer_timeout: settings.timeout,
            failures: settings.breaker_failures,
            pause: settings.breaker_pause,
        };
        let connector = Arc::new(Connector {
            tls: tls.clone(),
            user: target.user,
            password: target.password,
            database: target.database,
            connect_timeout: settings.connect_timeout,
            answer_timeout: settings.timeout,
        });
        let kind = match target.kind {
            Kind::Single => {
                let host = target.hosts.into_iter().next().ok_or("the URL names no host")?;
                let finder = Finder::At(Arc::clone(&connector), host, Role::Master);
                ServersOf::Single(Arc::new(Kept::start(finder, limits, None, runtime)))
            }
            Kind::Sentinel(name) => {
                let to_sentinels = Connector {
                    tls,
                    user: settings.sentinel_user.clone(),
                    password: settings.sentinel_password.clone(),
                    database: 0,
                    connect_timeout: settings.connect_timeout,
                    answer_timeout: settings.timeout.max(SENTINEL_ANSWER),
                };
                let replica_limits = settings.read_from_replicas.then_some(limits);
                let sentinels =
                    Sentinels::new(&name, &target.hosts, to_sentinels, Arc::clone(&connector), replica_limits, runtime);
                let sentinels = Arc::new(sentinels);
                let finder = Finder::Sentinels(Arc::clone(&sentinels));
                let master = Arc::new(Kept::start(finder, limits, None, runtime));
                ServersOf::Sentinel { master, sentinels }
            }
            Kind::Cluster => {
                let with_replicas = settings.read_from_replicas;
                let cluster = Cluster::start(&target.hosts, Arc::clone(&connector), limits, with_replicas, runtime);
                ServersOf::Cluster { cluster, with_replicas }
            }
        };
        Ok(Self { kind, connector })
    }

    /// The connection that a command goes to.
    pub(super) async fn route(&self, command: &Cmd, access: Access) -> Result<Arc<Kept>, Failure> {
        match &self.kind {
            ServersOf::Single(server) => Ok(Arc::clone(server)),
            ServersOf::Sentinel { master, sentinels } => {
                let replica = if access == Access::Replica { sentinels.replica() } else { None };
                Ok(replica.unwrap_or_else(|| Arc::clone(master)))
            }
            ServersOf::Cluster { cluster, with_replicas } => {
                let slot = key_of(command).map(slot_of);
                match access {
                    Access::Replica if *with_replicas => cluster.replica(slot).await,
                    _ => cluster.master(slot).await,
                }
            }
        }
    }

    /// The node of a cluster that a redirection names.
    pub(super) fn at(&self, host: &Host) -> Option<Arc<Kept>> {
        match &self.kind {
            ServersOf::Cluster { cluster, .. } => Some(cluster.at(host)),
            _ => None,
        }
    }

    /// Who has which slot may have changed.
    pub(super) fn doubt(&self) {
        if let ServersOf::Cluster { cluster, .. } = &self.kind {
            cluster.doubt();
        }
    }

    /// The servers that take writes, as far as they are known.
    pub(super) fn masters(&self) -> Vec<Arc<Kept>> {
        match &self.kind {
            ServersOf::Single(master) | ServersOf::Sentinel { master, .. } => vec![Arc::clone(master)],
            ServersOf::Cluster { cluster, .. } => cluster.masters(),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.kind, ServersOf::Cluster { .. })
    }

    /// False while one that is needed is away.
    pub(super) fn are_available(&self) -> bool {
        match &self.kind {
            ServersOf::Single(master) | ServersOf::Sentinel { master, .. } => !master.is_down(),
            ServersOf::Cluster { cluster, .. } => cluster.is_available(),
        }
    }
}
