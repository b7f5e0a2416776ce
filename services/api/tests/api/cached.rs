//! What is cached: never older than a write that has been answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{Api, text};

#[tokio::test]
async fn the_number_of_users_is_kept_for_everybody_until_it_changes() {
    let api = Api::start().await;
    let ask = async || {
        let reply = api.get("/api/stats").send().await.expect(200);
        (reply.body["users"].as_i64().unwrap(), reply.header("cache-status").contains("hit"))
    };
    assert_eq!(ask().await, (0, false));
    assert_eq!(ask().await, (0, true));
    let ada = api.register("ada").await;
    assert_eq!(ask().await, (1, false));
    let by_ada = api.get("/api/stats").by(&ada).header("cookie", "a=b").send().await.expect(200);
    assert!(by_ada.header("cache-status").contains("hit"), "it is the same for everybody");
    api.delete(&format!("/api/users/{}", ada.id)).by(&ada).send().await.expect(204);
    assert_eq!(ask().await, (0, false));
}

#[tokio::test]
async fn a_list_of_notes_is_cached_and_each_change_is_in_the_next_one() {
    let api = Api::start().await;
    let (ada, ben) = (api.register("ada").await, api.register("ben").await);
    let titles = async |user| {
        let list = api.get("/api/notes").by(user).send().await.expect(200);
        list.body["items"].as_array().unwrap().iter().map(|note| text(&note["title"])).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(titles(&ada).await, [""; 0]);
        assert_eq!(titles(&ben).await, [""; 0]);
    }
    let written = api.post("/api/notes").by(&ada).json(&json!({"title": "a"})).send().await.expect(201);
    assert_eq!((titles(&ada).await, titles(&ben).await), (vec!["a".to_owned()], vec![]));
    let path = written.header("location");
    let change = api.patch(&path).by(&ada).header("if-match", &written.etag()).json(&json!({"title": "b"}));
    change.send().await.expect(200);
    assert_eq!(titles(&ada).await, ["b"]);
    api.delete(&path).by(&ada).send().await.expect(204);
    assert_eq!(titles(&ada).await, [""; 0]);
    assert!(
        api.service
            .metrics()
            .await
            .unwrap()
            .contains(r#"cache_hits_total{cache_type="memory",key_prefix="note_lists"}"#)
    );
}

#[tokio::test]
async fn under_concurrent_writes_no_list_is_older_than_a_write_that_was_answered() {
    let api = Arc::new(Api::start().await);
    let ada = api.register("ada").await;
    let writing = Arc::new(AtomicBool::new(true));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (api, ada, writing) = (Arc::clone(&api), ada.clone(), Arc::clone(&writing));
            tokio::spawn(async move {
                let mut read = 0;
                while writing.load(Ordering::SeqCst) {
                    api.get("/api/notes?limit=100").by(&ada).send().await.expect(200);
                    read += 1;
                }
                read
            })
        })
        .collect();
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (api, ada) = (Arc::clone(&api), ada.clone());
            tokio::spawn(async move {
                for number in 0..25 {
                    let title = format!("{writer}-{number}");
                    let written =
                        api.post("/api/notes").by(&ada).json(&json!({ "title": title })).send().await.expect(201);
                    let list = api.get("/api/notes?limit=100").by(&ada).send().await.expect(200);
                    let id = written.id();
                    assert!(
                        list.body["items"].as_array().unwrap().iter().any(|note| note["id"] == id.as_str()),
                        "{title}"
                    );
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    writing.store(false, Ordering::SeqCst);
    let mut read = 0;
    for reader in readers {
        read += reader.await.unwrap();
    }
    let list = api.get("/api/notes?limit=100").by(&ada).send().await.expect(200);
    assert_eq!(list.body["items"].as_array().unwrap().len(), 75, "after {read} readings");
}
