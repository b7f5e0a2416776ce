//! `covet-api`, the reference service.

#[tokio::main]
async fn main() -> covet::Result {
    covet_api::app().run().await
}
