//! Notes.

use serde_json::{Value, json};

use crate::support::{Api, User, ids, text};

async fn write(api: &Api, user: &User, body: Value) -> String {
    api.post("/api/notes").by(user).json(&body).send().await.expect(201).id()
}

#[tokio::test]
async fn a_note_is_written_read_changed_and_deleted() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let body = json!({"title": " Shopping ", "body": "bread\n\tpears", "tags": ["Home", "food", "home"]});
    let written = api.post("/api/notes").by(&ada).json(&body).send().await.expect(201);
    let path = written.header("location");
    assert_eq!(written.body["title"], "Shopping");
    assert_eq!(written.body["tags"], json!(["food", "home"]));
    assert_eq!(written.body["archived"], json!(false));
    assert!(written.body.get("version").is_none() && written.body.get("owner_id").is_none());

    let read = api.get(&path).by(&ada).send().await.expect(200);
    assert_eq!(read.body, written.body);
    assert_eq!(read.etag(), written.etag());
    assert_eq!(read.header("cache-control"), "private, no-cache");
    api.get(&path).by(&ada).header("if-none-match", &read.etag()).send().await.expect(304);

    let change = json!({"body": "", "tags": ["food"], "archived": true});
    let changed = api.patch(&path).by(&ada).header("if-match", &read.etag()).json(&change).send().await.expect(200);
    assert_eq!(changed.body["title"], "Shopping");
    assert_eq!((&changed.body["body"], &changed.body["tags"]), (&json!(""), &json!(["food"])));
    assert_eq!(changed.body["created_at"], written.body["created_at"]);
    let read = api.get(&path).by(&ada).send().await.expect(200);
    assert_eq!(read.body, changed.body);

    api.delete(&path).by(&ada).header("if-match", &written.etag()).send().await.problem(412);
    api.delete(&path).by(&ada).header("if-match", &read.etag()).send().await.expect(204);
    api.get(&path).by(&ada).send().await.problem(404);
    api.delete(&path).by(&ada).send().await.problem(404);
}

#[tokio::test]
async fn of_two_who_change_one_version_the_second_is_told() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let written = api.post("/api/notes").by(&ada).json(&json!({"title": "a"})).send().await.expect(201);
    let path = written.header("location");
    let change = |title: String| {
        let call = api.patch(&path).by(&ada).header("if-match", &written.etag());
        call.json(&json!({ "title": title })).send()
    };
    let replies = futures_util::future::join_all((0..10).map(|number| change(format!("change {number}")))).await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    let present = api.get(&path).by(&ada).send().await.expect(200);
    assert_eq!(present.body, won[0].body);
    for lost in replies.into_iter().filter(|reply| reply.status != 200) {
        assert_eq!(lost.problem(412).etag(), present.etag());
    }
    api.patch(&path).by(&ada).json(&json!({"title": "b"})).send().await.problem(428);
    api.patch(&path).by(&ada).header("if-match", "*").json(&json!({"title": "b"})).send().await.expect(200);
}

#[tokio::test]
async fn somebody_elses_note_does_not_exist() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let id = write(&api, &ada, json!({"title": "secret"})).await;
    let path = format!("/api/notes/{id}");
    let there = api.get(&path).by(&bob).send().await.problem(404);
    let nowhere = api.get("/api/notes/018f3f5e-0000-7000-8000-000000000000").by(&bob).send().await.problem(404);
    assert_eq!(there.body["detail"], nowhere.body["detail"]);
    api.patch(&path).by(&bob).header("if-match", "*").json(&json!({"title": "x"})).send().await.problem(404);
    api.delete(&path).by(&bob).send().await.problem(404);
    assert_eq!(api.get("/api/notes").by(&bob).send().await.expect(200).body["items"], json!([]));
    assert_eq!(api.get(&path).by(&ada).send().await.expect(200).body["title"], "secret");
}

#[tokio::test]
async fn filters_narrow_together() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let one = write(&api, &ada, json!({"title": "Buy Bread", "tags": ["home", "food"]})).await;
    let two = write(&api, &ada, json!({"title": "Call", "body": "about the bread", "tags": ["work"]})).await;
    let three = write(&api, &ada, json!({"title": "100% sure", "tags": ["food"], "archived": true})).await;
    let four = write(&api, &ada, json!({"title": "a_b"})).await;
    let found = async |query: &str, expected: &[&String]| {
        let page = api.get(&format!("/api/notes?{query}")).by(&ada).send().await.expect(200);
        assert_eq!(ids(page.body["items"].as_array().unwrap()).iter().collect::<Vec<_>>(), expected, "{query}");
    };
    found("", &[&four, &three, &two, &one]).await;
    found("q=BREAD", &[&two, &one]).await;
    found("q=bread&tag=home", &[&one]).await;
    found("tag=Food", &[&three, &one]).await;
    found("tag=food&archived=false", &[&one]).await;
    found("archived=true", &[&three]).await;
    found("tag=nothing", &[]).await;
    found("q=100%25", &[&three]).await;
    found("q=a_b", &[&four]).await;
    found("q=%25", &[&three]).await;
    found("q='%20OR%201=1%20--", &[]).await;
    let page = api.get("/api/notes?tag=food&limit=1").by(&ada).send().await.expect(200);
    assert_eq!(page.body["items"][0]["tags"], json!(["food"]));
    let note = api.get("/api/notes?tag=home&limit=1").by(&ada).send().await.expect(200);
    assert_eq!(note.body["items"][0]["tags"], json!(["food", "home"]), "a filter by one tag keeps the others");
    assert_eq!(api.get("/api/notes?q=&tag=!").by(&ada).send().await.refused_fields(), ["q", "tag"]);
    api.get("/api/notes?archived=perhaps").by(&ada).send().await.problem(400);
}

#[tokio::test]
async fn pages_are_stable_while_notes_come_and_go() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let mut written = Vec::new();
    for number in 0..7 {
        written.push(write(&api, &ada, json!({"title": format!("note {number}"), "tags": ["a", "b", "c"]})).await);
    }
    let first = api.get("/api/notes?limit=3").by(&ada).send().await.expect(200);
    let mut seen = ids(first.body["items"].as_array().unwrap());
    assert_eq!(seen.len(), 3);
    // One comes, and the one that the cursor points at goes.
    write(&api, &ada, json!({"title": "late"})).await;
    api.delete(&format!("/api/notes/{}", seen[2])).by(&ada).send().await.expect(204);
    let mut cursor = text(&first.body["next_cursor"]);
    loop {
        let page = api.get(&format!("/api/notes?limit=3&cursor={cursor}")).by(&ada).send().await.expect(200);
        seen.extend(ids(page.body["items"].as_array().unwrap()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    written.reverse();
    assert_eq!(seen, written);
    assert_eq!(api.all_pages(&ada, "/api/notes?limit=2").await.len(), 7);
}

#[tokio::test]
async fn every_bad_field_of_a_note_is_named() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let id = write(&api, &ada, json!({"title": "a"})).await;
    let many: Vec<String> = (0..21).map(|number| format!("t{number}")).collect();
    for (body, fields) in [
        (json!({"title": ""}), vec!["title"]),
        (json!({"title": "a".repeat(201)}), vec!["title"]),
        (json!({"title": "a\nb"}), vec!["title"]),
        (json!({"title": "a", "body": "b".repeat(20_001)}), vec!["body"]),
        (json!({"title": "a", "tags": ["ok", "", "a,b"]}), vec!["tags[1]", "tags[2]"]),
        (json!({"title": "a", "tags": many}), vec!["tags"]),
    ] {
        let refused = api.post("/api/notes").by(&ada).json(&body).send().await;
        assert_eq!(refused.refused_fields(), fields, "{body}");
        let refused = api.patch(&format!("/api/notes/{id}")).by(&ada).header("if-match", "*").json(&body).send().await;
        assert_eq!(refused.refused_fields(), fields, "{body}");
    }
    for body in [json!({"title": null}), json!({"tags": null}), json!({"version": 7})] {
        api.patch(&format!("/api/notes/{id}")).by(&ada).header("if-match", "*").json(&body).send().await.problem(422);
    }
    for body in [json!({"body": "no title"}), json!({"title": "a", "owner_id": ada.id}), json!([]), json!({"title": 1})]
    {
        api.post("/api/notes").by(&ada).json(&body).send().await.problem(422);
    }
}
