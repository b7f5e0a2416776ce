//! The OpenAPI document and the routes say the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::Api;

async fn document(api: &Api) -> Value {
    api.get("/api/openapi.json").send().await.expect(200).body
}

fn operations(document: &Value) -> impl Iterator<Item = (String, String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods
            .as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    })
}

#[tokio::test]
async fn every_route_of_the_api_is_described_and_every_description_is_a_route() {
    let api = Api::start().await;
    let described: BTreeSet<(String, String)> =
        operations(&document(&api).await).map(|(method, path, _)| (method, path)).collect();
    let listed = api.service.command(&["routes", "--json"]).await.unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let routes: BTreeSet<(String, String)> = listed["routes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|route| {
            let path = route["path"].as_str().unwrap();
            let methods = route["methods"].as_array().unwrap().iter();
            methods.map(move |method| (method.as_str().unwrap().to_owned(), path.to_owned()))
        })
        .filter(|(_, path)| (path.starts_with("/api/") || path.starts_with("/ws/")) && path != "/api/openapi.json")
        .collect();
    let ours: BTreeSet<_> =
        described.iter().filter(|(_, path)| path.starts_with("/api/") || path.starts_with("/ws/")).cloned().collect();
    assert_eq!(ours, routes);
}

#[tokio::test]
async fn the_paths_and_their_answers_are_as_they_were() {
    let api = Api::start().await;
    let document = document(&api).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let answers: BTreeMap<String, Vec<&String>> = operations(&document)
        .filter(|(_, path, _)| !path.starts_with("/health"))
        .map(|(method, path, operation)| {
            (format!("{path} {method}"), operation["responses"].as_object().unwrap().keys().collect())
        })
        .collect();
    // The same, whatever the database.
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    let _bound = settings.bind_to_scope();
    insta::assert_json_snapshot!("paths", answers);
    let schemas: BTreeMap<&String, Value> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, schema)| {
            let properties = schema["properties"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
            (name, json!({ "properties": properties, "required": schema["required"] }))
        })
        .collect();
    insta::assert_json_snapshot!("schemas", schemas);
}

#[tokio::test]
async fn every_operation_says_what_it_does_and_every_reference_leads_somewhere() {
    let api = Api::start().await;
    let document = document(&api).await;
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}: {}", operation["operationId"]);
        for (status, response) in operation["responses"].as_object().unwrap() {
            let problem = response["content"].get("application/problem+json").is_some();
            assert_eq!(problem, status.as_str() >= "400" && !path.starts_with("/health"), "{method} {path} {status}");
        }
    }
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
    let session = json!({"type": "apiKey", "in": "cookie", "name": "__Host-session"});
    let mut described = document["components"]["securitySchemes"]["session"].clone();
    described.as_object_mut().unwrap().remove("description");
    assert_eq!(described, session);
}

#[tokio::test]
async fn the_page_with_the_documentation_is_there() {
    let api = Api::start().await;
    let page = api.service.client().get(api.service.url("/docs")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
}
