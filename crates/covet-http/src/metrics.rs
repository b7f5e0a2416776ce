//! What is counted of every request, and how it costs next to nothing.
//!
//! Each route has its cells from the moment the router is finished; a request adds to them through the number
//! that its handler's stamp set. Names and labels appear only when somebody scrapes ([`collector`](self)).

mod collector;
mod connections;
mod route;
mod user_agent;

use std::sync::{Arc, Mutex, PoisonError};

use covet_telemetry::metrics::Registry;
use covet_telemetry::metrics::per_user::CallsPerUser;
use covet_telemetry::metrics::shard::Cells;
use covet_telemetry::metrics::sweep::Sweep;

pub use connections::ConnectionMetrics;
pub(crate) use route::Finished;
pub use route::RouteMetrics;
pub use user_agent::{UserAgent, UserAgentCache};

/// The endpoint of a request that no route serves: one value, whatever the path.
pub const UNMATCHED: &str = "unmatched";

/// The HTTP metrics of the process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct HttpMetrics {
    shared: Arc<Shared>,
}

struct Shared {
    /// Index 0 is [`UNMATCHED`].
    routes: Mutex<Vec<Arc<RouteMetrics>>>,
    user_agents: Cells,
    connections: ConnectionMetrics,
    sweep: Sweep,
    calls_per_user: CallsPerUser,
}

impl HttpMetrics {
    /// The HTTP metrics, shown by `registry`.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let shared = Arc::new(Shared {
            routes: Mutex::new(vec![Arc::new(RouteMetrics::new(0, UNMATCHED))]),
            user_agents: Cells::new(UserAgent::ALL.len()),
            connections: ConnectionMetrics::default(),
            sweep: Sweep::new(registry, "connections"),
            calls_per_user: CallsPerUser::new(registry),
        });
        registry.declare_all(connections::ALL);
        registry.declare_all(crate::rate_limit::metrics::ALL);
        registry.register(Arc::new(collector::HttpCollector(Arc::clone(&shared))));
        Self { shared }
    }

    /// The cells of a path; the same for the same path.
    pub(crate) fn route(&self, endpoint: &str) -> Arc<RouteMetrics> {
        let mut routes = self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.iter().find(|route| route.endpoint() == endpoint) {
            return Arc::clone(known);
        }
        let index = u32::try_from(routes.len()).unwrap_or(0);
        let route = Arc::new(RouteMetrics::new(index, endpoint));
        routes.push(Arc::clone(&route));
        route
    }

    /// All cells by their index, for a pipeline to keep.
    pub(crate) fn routes(&self) -> Arc<[Arc<RouteMetrics>]> {
        self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner).clone().into()
    }

    /// The requests in progress, such as `GET /api/report`, in no order; one that no handler has begun is not among
    /// them.
    #[must_use]
    pub fn in_progress(&self) -> Vec<String> {
        let routes = self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of_route = |route: &Arc<RouteMetrics>| {
            let endpoint = route.endpoint().to_owned();
            let running = route.readings().filter(|reading| reading.in_progress > 0);
            running.map(|reading| format!("{} {endpoint}", reading.method)).collect::<Vec<_>>()
        };
        routes.iter().flat_map(of_route).collect()
    }

    pub(crate) fn count_user_agent(&self, user_agent: UserAgent) {
        self.shared.user_agents.add(user_agent as usize, 1);
    }

    /// How many calls each user makes. Somebody has to end its windows.
    #[must_use]
    pub fn calls_per_user(&self) -> &CallsPerUser {
        &self.shared.calls_per_user
    }

    /// Where workers count what looking through their connections takes.
    pub(crate) fn sweep(&self) -> &Sweep {
        &self.shared.sweep
    }

    /// Where the listener counts connections.
    #[must_use]
    pub fn connections(&self) -> &ConnectionMetrics {
        &self.shared.connections
    }
}
