//! Cargo does not watch folders by itself: without this line a new migration would be missed.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
