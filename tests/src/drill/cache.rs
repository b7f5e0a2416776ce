//! Routes that use the cache.

use covet::cache::{Keyspace, Ttl};
use covet::prelude::{Context, Error, Path, Router, State, get};

static TEXTS: Keyspace<String> = Keyspace::new("drill_texts", Ttl::Response);

/// `/cache/…`.
pub fn routes(context: &Context) -> Router {
    Router::new()
        .route("/cache/read/{key}", get(read))
        .route("/cache/fill/{entries}", get(fill))
        .with_state(context.clone())
}

/// A text, made once.
async fn read(State(context): State<Context>, Path(key): Path<String>) -> Result<String, Error> {
    let text = context.cache().get_or_load(&TEXTS.key(&key), async || Ok::<_, Error>("x".repeat(1000))).await?;
    Ok(text.as_str().to_owned())
}

/// Stores so many texts.
async fn fill(State(context): State<Context>, Path(entries): Path<u32>) -> Result<(), Error> {
    for entry in 0..entries {
        let key = TEXTS.key(format_args!("filling {entry}"));
        context.cache().set(&key, "x".repeat(1000)).await?;
    }
    Ok(())
}
