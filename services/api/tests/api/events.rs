//! The live feed.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{Api, User, service};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Long enough for a busy machine; nothing waits for it in vain.
const DEADLINE: Duration = Duration::from_secs(30);

async fn connect(api: &Api, headers: &[(&'static str, String)]) -> Result<(Socket, Option<String>), Error> {
    let mut request = api.service.url("/ws/events").replace("http://", "ws://").into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (socket, response) = connect_async(request).await?;
    let protocol = response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned());
    Ok((socket, protocol))
}

async fn listen(api: &Api, user: &User) -> Socket {
    connect(api, &[("authorization", format!("Bearer {}", user.access))]).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Message {
    timeout(DEADLINE, socket.next()).await.expect("a message").expect("an open socket").unwrap()
}

async fn event(socket: &mut Socket) -> Value {
    serde_json::from_str(next(socket).await.to_text().unwrap()).unwrap()
}

async fn close_code(socket: &mut Socket) -> u16 {
    match next(socket).await {
        Message::Close(Some(frame)) => u16::from(frame.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_listener_hears_its_own_changes_and_nobody_elses() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let mut socket = listen(&api, &ada).await;
    api.post("/api/notes").by(&bob).json(&json!({"title": "bob's"})).send().await.expect(201);
    let note = api.post("/api/notes").by(&ada).json(&json!({"title": "mine"})).send().await.expect(201);
    let path = note.header("location");
    let changed = api.patch(&path).by(&ada).header("if-match", "*").json(&json!({"title": "changed"})).send().await;
    api.delete(&path).by(&ada).send().await.expect(204);
    let order = json!({"currency": "EUR", "items": [{"description": "x", "quantity": 1, "unit_price_minor": 5}]});
    let order = api.post("/api/orders").by(&ada).json(&order).send().await.expect(201);
    let pay = format!("{}/pay", order.header("location"));
    for _ in 0..2 {
        api.post(&pay).by(&ada).json(&json!({"amount_minor": 5, "currency": "EUR"})).send().await.expect(200);
    }
    api.post("/api/notes").by(&ada).json(&json!({"title": "last"})).send().await.expect(201);

    let mut kinds = Vec::new();
    let mut data = Vec::new();
    for _ in 0..6 {
        let event = event(&mut socket).await;
        assert!(event["id"].is_string() && event["occurred_at"].is_string(), "{event}");
        kinds.push(event["type"].as_str().unwrap().to_owned());
        data.push(event["data"].clone());
    }
    let expected = ["note.created", "note.updated", "note.deleted", "order.created", "order.paid", "note.created"];
    assert_eq!(kinds, expected, "a second payment is no event");
    assert_eq!(data[0], note.body);
    assert_eq!(data[1], changed.body);
    assert_eq!(data[2], json!({"id": note.id()}));
    assert_eq!(data[4]["status"], "paid");
}

#[tokio::test]
async fn a_token_comes_in_a_header_or_a_subprotocol_and_never_in_the_url() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let offer = format!("covet.events.v1, bearer.{}", ada.access);
    let (mut socket, protocol) = connect(&api, &[("sec-websocket-protocol", offer)]).await.unwrap();
    assert_eq!(protocol.as_deref(), Some("covet.events.v1"));
    api.post("/api/notes").by(&ada).json(&json!({"title": "mine"})).send().await.expect(201);
    assert_eq!(event(&mut socket).await["type"], "note.created");

    for headers in [
        vec![],
        vec![("authorization", "Bearer nonsense".to_owned())],
        vec![("sec-websocket-protocol", "covet.events.v1, bearer.nonsense".to_owned())],
    ] {
        match connect(&api, &headers).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 401),
            other => panic!("{headers:?}: {other:?}"),
        }
    }
    api.get(&format!("/ws/events?access_token={}", ada.access)).send().await.problem(401);
    api.get("/ws/events").by(&ada).send().await.problem(426);
}

#[tokio::test]
async fn the_socket_closes_when_its_token_expires() {
    let service = service().env("COVET_AUTH__ACCESS_TOKEN_TTL", "2s");
    let api = Api::start_with(service).await;
    let ada = api.register("ada").await;
    let mut socket = listen(&api, &ada).await;
    assert_eq!(close_code(&mut socket).await, 1008);
}

#[tokio::test]
async fn the_socket_closes_when_the_service_stops() {
    let mut api = Api::start().await;
    let ada = api.register("ada").await;
    let mut socket = listen(&api, &ada).await;
    api.post("/api/notes").by(&ada).json(&json!({"title": "mine"})).send().await.expect(201);
    assert_eq!(event(&mut socket).await["type"], "note.created");
    let closed = tokio::spawn(async move { close_code(&mut socket).await });
    assert!(api.service.stop().await.unwrap().success());
    assert_eq!(closed.await.unwrap(), 1001);
}

#[tokio::test]
async fn what_a_listener_says_means_nothing() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let mut socket = listen(&api, &ada).await;
    socket.send(Message::text("{\"type\":\"note.deleted\"}")).await.unwrap();
    socket.send(Message::binary(vec![0, 1, 2])).await.unwrap();
    api.post("/api/notes").by(&ada).json(&json!({"title": "mine"})).send().await.expect(201);
    assert_eq!(event(&mut socket).await["type"], "note.created");
    socket.send(Message::text("x".repeat(5000))).await.unwrap();
    let ended = timeout(DEADLINE, socket.next()).await.expect("an end");
    assert!(matches!(ended, None | Some(Err(_) | Ok(Message::Close(_)))), "too long a message ends it: {ended:?}");
}
