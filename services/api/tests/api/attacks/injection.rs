//! Hostile text in every parameter and every field of the description: nothing breaks, and nothing is taken for more than text.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::{Api, User, percent_encoded, service};

const HOSTILE: [&str; 14] = [
    "' OR '1'='1",
    "'; DROP TABLE users; --",
    "1) UNION SELECT id, password_hash FROM users --",
    "\" OR \"\"=\"",
    "$1",
    "%",
    "\\",
    "a\0b",
    "line\r\nSet-Cookie: session=evil\r\n\r\n{\"level\":\"ERROR\"}",
    "\u{feff}\u{202e}\u{200d}",
    "{{7*7}}${7*7}<script>alert(1)</script>",
    "../../../../etc/passwd",
    "NaN",
    "-9223372036854775809",
];

/// A service whose passwords cost little, and somebody to attack it.
async fn target() -> (Api, User) {
    let cheap = service().env("COVET_AUTH__PASSWORD_MEMORY", "7MiB").env("COVET_AUTH__PASSWORD_ITERATIONS", "1");
    let api = Api::start_with(cheap).await;
    let mallory = api.register("mallory").await;
    (api, mallory)
}

/// The operations of the description.
fn operations(document: &Value) -> Vec<(Method, &str, &Value)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((method.to_uppercase().parse().unwrap(), path.as_str(), operation));
        }
    }
    operations
}

/// A value that fits the schema closely enough that the others are looked at.
fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(document, document.pointer(&reference[1..]).unwrap());
    }
    if !schema["example"].is_null() {
        return schema["example"].clone();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[0].clone();
    }
    let kind = schema["type"].as_array().map_or(&schema["type"], |kinds| &kinds[0]);
    match kind.as_str() {
        Some("object") | None => {
            let members = schema["properties"].as_object().cloned().unwrap_or_default();
            members.iter().map(|(name, member)| (name.clone(), sample(document, member))).collect::<Map<_, _>>().into()
        }
        Some("array") => json!([sample(document, &schema["items"])]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        Some(_) => json!("seven grey herons wait"),
    }
}

/// The body with hostile text in place of each value, one at a time, also of those inside.
fn spoilt(body: &Value, hostile: &Value) -> Vec<Value> {
    let mut all = vec![hostile.clone()];
    match body {
        Value::Object(members) => {
            for (name, member) in members {
                for inner in spoilt(member, hostile) {
                    let mut body = body.clone();
                    body[name] = inner;
                    all.push(body);
                }
            }
        }
        Value::Array(items) => {
            all.extend(items.iter().flat_map(|item| spoilt(item, hostile)).map(|item| json!([item])));
        }
        _ => {}
    }
    all
}

/// Every line that was logged is one JSON object: no text has begun a line of its own.
fn assert_log_is_whole(api: &Api) {
    let output = api.service.process().unwrap().stdout();
    let mut lines = 0;
    for line in output.lines().filter(|line| !line.is_empty()) {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
        assert!(!line.contains("\"level\":\"ERROR\""), "{line}");
        lines += 1;
    }
    assert!(lines > 100, "{lines}");
}

#[tokio::test]
async fn hostile_text_in_every_parameter_is_text_or_refused() {
    let (api, mallory) = target().await;
    let document = api.get("/api/openapi.json").send().await.expect(200).body;
    let mut tried = 0;
    for (method, path, operation) in operations(&document) {
        if path.ends_with("/current") || path == "/api/auth/logout" {
            continue;
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for hostile in HOSTILE {
            let encoded = percent_encoded(hostile);
            for attacked in &parameters {
                let mut url = path.to_owned();
                let mut header = None;
                let name = attacked["name"].as_str().unwrap();
                match attacked["in"].as_str().unwrap() {
                    "path" => url = url.replace(&format!("{{{name}}}"), &encoded),
                    "query" => url = format!("{url}?{name}={encoded}&{name}={encoded}"),
                    _ => header = Some(name),
                }
                let url = url.replace("{id}", &mallory.id).replace("{role}", "admin").replace("{file}", "index.css");
                let mut call = api.call(method.clone(), &url).by(&mallory);
                if let Some(name) = header {
                    // HTTP itself has no line ends and no NUL in a header.
                    if hostile.contains(['\0', '\r']) {
                        continue;
                    }
                    call = call.header(name, hostile);
                }
                // Deleting mallory is not what is tried here.
                if (method.as_str(), path, header) == ("DELETE", "/api/users/{id}", Some("if-match")) && hostile == "%"
                {
                    continue;
                }
                let reply = call.send().await;
                assert!(reply.status < 500, "{method} {url} {hostile:?}: {} {}", reply.status, reply.body);
                assert!(reply.headers.get("set-cookie").is_none(), "{method} {url} {hostile:?}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 150, "{tried}");
    api.get("/api/users/me").by(&mallory).send().await.expect(200);
    assert_log_is_whole(&api);
}

#[tokio::test]
async fn hostile_text_in_every_field_is_text_or_refused() {
    let (api, mallory) = target().await;
    let document = api.get("/api/openapi.json").send().await.expect(200).body;
    let mut hostile: Vec<Value> = HOSTILE.iter().map(|text| json!(text)).collect();
    hostile.extend([json!(null), json!(i64::MIN), json!(1e308), json!({}), json!([[]]), json!("a".repeat(100_000))]);
    // What a slow regular expression would take long for.
    hostile.push(json!(format!("{}!", "a@a.".repeat(5_000))));
    let mut tried = 0;
    for (method, path, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let body = sample(&document, schema);
        let url = path.replace("{id}", &mallory.id).replace("{role}", "admin");
        for hostile in &hostile {
            for body in spoilt(&body, hostile) {
                let call = api.call(method.clone(), &url).by(&mallory).header("if-match", "*");
                let reply = call.json(&body).send().await;
                let told = format!("{method} {url}: {} {}", reply.status, reply.body);
                assert!(reply.status < 500, "{told} for {hostile}");
                assert!(told.len() < 10_000, "an answer repeats what it was sent: {} bytes", told.len());
                tried += 1;
            }
        }
    }
    assert!(tried >= 400, "{tried}");
    api.get("/api/users/me").by(&mallory).send().await.expect(200);
    assert_log_is_whole(&api);
}

#[tokio::test]
async fn a_body_that_is_no_json_or_too_much_of_it_is_refused() {
    let (api, mallory) = target().await;
    let document = api.get("/api/openapi.json").send().await.expect(200).body;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(20_000), close.repeat(20_000)).into_bytes();
    let bodies: [(&str, Vec<u8>); 11] = [
        ("invalid UTF-8", b"{\"title\": \"\xff\xfe\xc0\x80\"}".to_vec()),
        ("an unpaired surrogate", br#"{"title": "\ud800"}"#.to_vec()),
        ("a NUL", b"{\"title\": \"a\0b\"}".to_vec()),
        ("a deep array", deep("[", "]")),
        ("a deep object", deep("{\"a\":", "}")),
        (
            "a name twice",
            br#"{"title": "one", "title": "two", "email": "a@a.example", "email": "b@a.example"}"#.to_vec(),
        ),
        ("a huge number", format!("{{\"title\": {}}}", "9".repeat(100_000)).into_bytes()),
        ("a huge exponent", br#"{"title": 1e999999999}"#.to_vec()),
        ("two values", b"{}{}".to_vec()),
        ("nothing", Vec::new()),
        ("a byte-order mark", b"\xef\xbb\xbf{}".to_vec()),
    ];
    for (method, path, operation) in operations(&document) {
        if operation["requestBody"].is_null() {
            continue;
        }
        let url = path.replace("{id}", &mallory.id).replace("{role}", "admin");
        for (what, bytes) in &bodies {
            let call = api.call(method.clone(), &url).by(&mallory).header("if-match", "*");
            let reply = call.bytes("application/json", bytes.clone()).send().await;
            assert!((400..500).contains(&reply.status), "{what}: {method} {url}: {} {}", reply.status, reply.body);
        }
    }
    api.get("/api/users/me").by(&mallory).send().await.expect(200);
}
