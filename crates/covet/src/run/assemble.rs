//! The service's parts, joined: routes, API description, health.

use std::error::Error;
use std::sync::{Arc, LazyLock};

use covet_cache::Cache;
use covet_client::Client;
use covet_core::settings::Loaded;
use covet_http::access::Access;
use covet_http::axum::response::{Html, IntoResponse};
use covet_http::health::Health;
use covet_http::metrics::HttpMetrics;
use covet_http::routing::{Descriptions, get};
use covet_identity::session::SESSIONS;
use covet_identity::token::{REVOKED_LOGINS, jwks_routes};
use covet_telemetry::metrics::Group;
use http::header;
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder};

use super::start;
use crate::{App, Context, Router};

/// The service's routes, with the description and its page.
pub(super) fn router(app: &App, context: &Context) -> Router {
    let own = app.routes.iter().fold(Router::new(), |router, make| router.merge(make(context)));
    let own = app.layers.iter().fold(own, |router, add| add(router));
    // After the layers: whoever may see the service's routes, everybody may see its public keys.
    let own = match context.access_tokens_if_any() {
        Some(tokens) => own.merge(jwks_routes(tokens.clone()).access(Access::Public)),
        None => own,
    };
    let description = ApiDescription::of(app, &own);
    match description.is_empty() {
        true => own,
        false => own.merge(description_routes(app.name, description)),
    }
}

/// The OpenAPI document of a service, before it is made.
pub(crate) struct ApiDescription {
    name: &'static str,
    base: Option<fn() -> OpenApi>,
    version: &'static str,
    routes: Descriptions,
}

impl ApiDescription {
    pub(crate) fn of(app: &App, router: &Router) -> Self {
        Self { name: app.name, base: app.openapi, version: app.version, routes: router.descriptions() }
    }

    /// Whether the service describes nothing.
    fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.base.is_none_or(|base| base().paths.paths.is_empty())
    }

    pub(crate) fn document(&self) -> OpenApi {
        let title = || OpenApiBuilder::new().info(Info::new(self.name, "")).build();
        let mut document = self.base.map_or_else(title, |base| base());
        document.info.version = self.version.to_owned();
        self.routes.add_to(&mut document);
        document
    }
}

/// `/api/openapi.json`, made when it is first asked for, and the page that shows it. The page is Swagger UI from the binary: it
/// loads nothing from elsewhere.
fn description_routes(name: &str, description: ApiDescription) -> Router {
    let json = Arc::new(LazyLock::new(move || {
        bytes::Bytes::from(serde_json::to_vec(&description.document()).unwrap_or_default())
    }));
    let page: bytes::Bytes = include_str!("docs.html").replace("{name}", name).into();
    let as_json = move || {
        let json = bytes::Bytes::clone(&**json);
        async move { ([(header::CONTENT_TYPE, "application/json")], json) }
    };
    let as_page = move || {
        let page = page.clone();
        async move { Html(page) }
    };
    let routes = Router::new().route("/api/openapi.json", get(as_json)).route("/docs", get(as_page));
    routes.route("/docs/{file}", get(asset)).etag().access(Access::Public)
}

/// A file of Swagger UI.
async fn asset(crate::Path(file): crate::Path<String>) -> covet_http::axum::response::Response {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/api/openapi.json"));
    match utoipa_swagger_ui::serve(&file, config) {
        Ok(Some(found)) => {
            let headers = [
                (header::CONTENT_TYPE, found.content_type),
                (header::CACHE_CONTROL, "public, max-age=86400".to_owned()),
            ];
            (headers, found.bytes.into_owned()).into_response()
        }
        _ => crate::Error::not_found().into_response(),
    }
}

/// The health endpoints.
pub(super) fn health(context: &Context) -> Health {
    Health {
        registry: context.health().clone(),
        lifecycle: context.lifecycle().clone(),
        clock: context.clock().clone(),
        started: context.started(),
        version: context.version(),
    }
}

/// The routes without a service around them: for commands that only look. The database is a throw-away one.
pub(crate) async fn router_only(app: &App, loaded: Loaded) -> Result<Router, Box<dyn Error + Send + Sync>> {
    let (context, _directory) = start::context_to_look_at(app, loaded).await?;
    let router = router(app, &context).merge(health(&context).routes());
    router.check_access()?;
    if let Some(db) = context.database() {
        db.close().await;
    }
    Ok(router)
}

/// The groups of metrics that the service declares, without a service around them.
pub(crate) async fn metrics_only(
    app: &App,
    loaded: Loaded,
) -> Result<Vec<&'static Group>, Box<dyn Error + Send + Sync>> {
    let (context, _directory) = start::context_to_look_at(app, loaded).await?;
    let metrics = context.metrics();
    covet_telemetry::declare_all(metrics);
    #[cfg(feature = "jemalloc")]
    metrics.declare_all(crate::allocator::ALLOCATOR);
    Cache::declare_metrics(metrics);
    Client::declare_metrics(metrics);
    drop(HttpMetrics::new(metrics));
    if app.sessions {
        metrics.declare_all(SESSIONS);
    }
    if app.access_tokens {
        metrics.declare_all(REVOKED_LOGINS);
    }
    // What the service declares by itself it declares with its routes.
    drop(router(app, &context));
    if let Some(db) = context.database() {
        db.close().await;
    }
    Ok(context.metrics().groups())
}
