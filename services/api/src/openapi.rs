//! What the OpenAPI document says beside its routes; the routes describe themselves where they are.

use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::web::problems::ProblemSchema;

/// Title, tags and the way to authenticate.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Covet reference service",
        description = "Users, notes and orders. Every error is an RFC 9457 problem; lists come in pages with an \
                       opaque cursor; what changes carries an ETag.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Register, log in, stay logged in."),
        (name = "users", description = "Who is here."),
        (name = "notes", description = "Short texts with tags, each its owner's alone."),
        (name = "orders", description = "Items at a price, paid once."),
        (name = "events", description = "Your own changes as they happen."),
    ),
    components(schemas(ProblemSchema)),
    modifiers(&BearerToken),
)]
struct Base;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The `access_token` from `POST /api/auth/login`."))
            .build();
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The document without routes.
#[must_use]
pub fn document() -> Document {
    Base::openapi()
}
