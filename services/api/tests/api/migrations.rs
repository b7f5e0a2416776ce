//! The schema goes up, down and up again, and holds up nobody on its way.

use serde_json::Value;

use crate::database::Database;
use crate::support::service;

#[tokio::test]
async fn every_migration_can_be_taken_back_and_applied_again() {
    let database = Database::create().await;
    let service = service().env("DATABASE_URL", database.url()).prepare().unwrap();
    let migrate = async |arguments: &[&str]| {
        let finished = service.command(&[&["migrate"], arguments].concat()).await.unwrap();
        finished.success("migrate").unwrap().stdout
    };
    let applied = async || {
        let status = service.command(&["migrate", "status", "--json"]).await.unwrap();
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        let migrations = status["migrations"].as_array().unwrap();
        (migrations.iter().filter(|entry| entry["state"] == "applied").count(), migrations.len())
    };
    migrate(&["up"]).await;
    let (count, all) = applied().await;
    assert_eq!(count, all);
    migrate(&["down", &all.to_string()]).await;
    assert_eq!(applied().await, (0, all));
    migrate(&["up"]).await;
    assert_eq!(applied().await, (all, all));
}

#[test]
fn no_migration_would_hold_up_or_break_a_live_service() {
    assert_eq!(covet_api::schema().lint().unwrap(), []);
}
