//! Layers of the service's own before the whole pipeline: they see a request before it has an id, and a response as it
//! goes out. A service without any pays nothing for them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::util::{BoxCloneService, Oneshot};
use tower::{Layer, Service, ServiceExt};

use super::{ConnectionService, PipelineFuture};

type Inner = BoxCloneService<Request, Response, Infallible>;
type AddLayer = Arc<dyn Fn(Inner) -> Inner + Send + Sync>;

/// Layers before the pipeline; the one added last sees a request first.
#[derive(Clone, Default)]
pub struct BeforeLayers(Vec<AddLayer>);

impl BeforeLayers {
    /// Adds a layer around those that are there.
    pub fn add<L>(&mut self, layer: L)
    where
        L: Layer<Inner> + Send + Sync + 'static,
        L::Service: Service<Request, Error = Infallible> + Clone + Send + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.0.push(Arc::new(move |inner| {
            BoxCloneService::new(layer.layer(inner).map_response(IntoResponse::into_response))
        }));
    }

    pub(super) fn around(&self, service: &ConnectionService) -> Option<LayeredConnection> {
        if self.0.is_empty() {
            return None;
        }
        let layered = self.0.iter().fold(BoxCloneService::new(service.clone()), |inner, add| add(inner));
        Some(LayeredConnection(RefCell::new(layered)))
    }
}

/// A connection's service with layers before it.
pub struct LayeredConnection(RefCell<Inner>);

impl hyper::service::Service<Request<Incoming>> for LayeredConnection {
    type Response = Response;
    type Error = Infallible;
    type Future = Oneshot<Inner, Request>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.0.borrow().clone().oneshot(request.map(Body::new))
    }
}

/// The pipeline as a tower service, for the layers before it.
impl Service<Request> for ConnectionService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<PipelineFuture>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.begin(request))
    }
}
