//! Damage to the file is found while it is in use.

use covet_data::params;

use super::support::Fixture;

#[tokio::test]
async fn a_whole_file_has_nothing_wrong_also_while_it_is_written_to() {
    let fixture = Fixture::things().await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute("INSERT INTO things (name) VALUES ($1)", params!["a"]).await.unwrap();
    assert_eq!(fixture.db.check_integrity().await.unwrap(), Vec::<String>::new());
    transaction.commit().await.unwrap();
    assert_eq!(fixture.names().await, ["a"]);
}

#[tokio::test]
async fn a_reference_to_nothing_and_a_damaged_page_are_told() {
    let fixture = Fixture::things().await;
    fixture.run("CREATE TABLE parts (id INTEGER PRIMARY KEY, thing INTEGER REFERENCES things (id))").await;
    let unchecked = "PRAGMA foreign_keys = OFF; INSERT INTO parts VALUES (7, 99); PRAGMA foreign_keys = ON;";
    fixture.db.sqlite(|driver| driver.execute_batch(unchecked)).await.unwrap();
    let told = fixture.db.check_integrity().await.unwrap();
    assert_eq!(told, ["row 7 of parts refers to a row that is missing in things"]);

    fixture
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
                 INSERT INTO things (name) SELECT 'a name of some length, number ' || i FROM n",
        )
        .await;
    fixture.db.sqlite(|driver| driver.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))).await.unwrap();
    let mut content = std::fs::read(&fixture.file).unwrap();
    let middle = content.len() / 2;
    content[middle..middle + 4096].fill(0xa5);
    std::fs::write(&fixture.file, content).unwrap();
    let told = fixture.db.check_integrity().await.unwrap();
    assert!(told.iter().any(|line| !line.starts_with("row 7")), "{told:?}");
}
