//! What routes say of themselves, for OpenAPI: made when somebody asks for it. Most processes are never asked, and the
//! descriptions of forty routes are megabytes while they are being made.

use std::sync::Arc;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::{OpenApi, RefOr, ResponseBuilder, Schema};

use crate::access::{self, problem_content};

/// What `#[utoipa::path]` says of a handler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Description {
    methods: fn() -> Vec<HttpMethod>,
    operation: fn() -> Operation,
    schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
}

/// What the described routes of a [`Router`](crate::Router) say of themselves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Descriptions(Arc<[Described]>);

#[derive(Debug)]
pub(super) struct Described {
    pub(super) path: String,
    /// What the route's own rate limit says of itself.
    pub(super) limit: Option<String>,
    /// What it says of access.
    pub(super) access: access::Declared,
    pub(super) description: Description,
}

impl Description {
    pub(super) const fn of<P>() -> Self
    where
        P: utoipa::Path + utoipa::__dev::SchemaReferences + for<'tags> utoipa::__dev::Tags<'tags>,
    {
        Self { methods: P::methods, operation: operation::<P>, schemas: P::schemas }
    }

    pub(super) fn summary(self) -> Option<String> {
        (self.operation)().summary
    }
}

fn operation<P>() -> Operation
where
    P: utoipa::Path + for<'tags> utoipa::__dev::Tags<'tags>,
{
    let mut operation = P::operation();
    // utoipa keeps `tag = "…"` apart from the rest.
    let tags = <P as utoipa::__dev::Tags<'_>>::tags().into_iter().map(str::to_owned);
    operation.tags.get_or_insert_default().extend(tags);
    operation
}

impl Descriptions {
    pub(super) fn new(described: impl Iterator<Item = Described>) -> Self {
        Self(described.collect())
    }

    /// Whether no route describes itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the routes and their schemas to an OpenAPI document.
    pub fn add_to(&self, document: &mut OpenApi) {
        for Described { path, limit, access, description } in self.0.iter() {
            let mut operation = (description.operation)();
            if let Some(limit) = limit {
                add_too_many_requests(&mut operation, limit, document);
            }
            access.describe(&mut operation, document);
            let item = document.paths.paths.entry(path.clone()).or_default();
            for method in (description.methods)() {
                item.merge_operations(PathItem::new(method, operation.clone()));
            }
        }
        let components = document.components.get_or_insert_default();
        let mut schemas = Vec::new();
        for described in self.0.iter() {
            (described.description.schemas)(&mut schemas);
            for (name, schema) in schemas.drain(..) {
                components.schemas.entry(name).or_insert(schema);
            }
        }
    }
}

/// Says that a route has a limit. A description of the status that is there already stays.
fn add_too_many_requests(operation: &mut Operation, description: &str, document: &OpenApi) {
    let header = HeaderBuilder::new().description(Some("Seconds to wait."));
    let response = ResponseBuilder::new()
        .description(description)
        .header("retry-after", header.build())
        .content("application/problem+json", problem_content(document).build());
    operation.responses.responses.entry("429".to_owned()).or_insert_with(|| response.build().into());
}
