//! What the OpenAPI document says beside its routes; the routes describe themselves where they are.

use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::web::problems::ProblemSchema;

/// Title, tags and the ways to authenticate.
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
        (name = "keys", description = "API keys, for programs of yours."),
        (name = "users", description = "Who is here."),
        (name = "admin", description = "All users and their roles."),
        (name = "notes", description = "Short texts with tags, each its owner's alone."),
        (name = "orders", description = "Items at a price, paid once."),
        (name = "events", description = "Your own changes as they happen."),
        (name = "stats", description = "A few numbers, for everybody."),
    ),
    components(schemas(ProblemSchema)),
    modifiers(&Credentials),
)]
struct Base;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The `access_token` from `POST /api/auth/login`."))
            .build();
        let api_key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key from `POST /api/keys`, with the permission among its scopes."))
            .build();
        let session = ApiKeyValue::with_description(
            "__Host-session",
            "The cookie from `POST /api/auth/sessions`. In development without TLS its name is `session`.",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("api_key", SecurityScheme::Http(api_key));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// The document without routes.
#[must_use]
pub fn document() -> Document {
    Base::openapi()
}
