//! Orders.

use serde_json::{Value, json};

use crate::support::{Api, ids, text};

fn order() -> Value {
    json!({"currency": "EUR", "items": [
        {"description": "Notebook", "quantity": 2, "unit_price_minor": 1299},
        {"description": "Pencil", "quantity": 10, "unit_price_minor": 45},
    ]})
}

const TOTAL: i64 = 2 * 1299 + 10 * 45;

#[tokio::test]
async fn an_order_is_made_shown_listed_and_paid() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let made = api.post("/api/orders").by(&ada).json(&order()).send().await.expect(201);
    assert_eq!((&made.body["status"], &made.body["paid_at"]), (&json!("pending"), &Value::Null));
    assert_eq!(made.body["total_minor"], TOTAL);
    assert_eq!(made.body["items"][1]["line_total_minor"], 450);
    let path = made.header("location");
    assert_eq!(api.get(&path).by(&ada).send().await.expect(200).body, made.body);

    let pay = api.post(&format!("{path}/pay")).by(&ada).json(&json!({"amount_minor": TOTAL, "currency": "EUR"}));
    let paid = pay.send().await.expect(200);
    assert_eq!(paid.body["status"], "paid");
    assert!(paid.body["paid_at"].is_string());
    assert_eq!(api.get(&path).by(&ada).send().await.expect(200).body, paid.body);

    let second = api.post("/api/orders").by(&ada).json(&order()).send().await.expect(201);
    let list = async |query: &str| {
        ids(api.get(&format!("/api/orders?{query}")).by(&ada).send().await.expect(200).body["items"]
            .as_array()
            .unwrap())
    };
    assert_eq!(list("").await, [second.id(), made.id()]);
    assert_eq!(list("status=paid").await, [made.id()]);
    assert_eq!(list("status=pending&limit=1").await, [second.id()]);
    api.get("/api/orders?status=lost").by(&ada).send().await.problem(400);
}

#[tokio::test]
async fn paying_again_changes_nothing() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let path = api.post("/api/orders").by(&ada).json(&order()).send().await.expect(201).header("location");
    let pay = || {
        let body = json!({"amount_minor": TOTAL, "currency": "EUR"});
        api.post(&format!("{path}/pay")).by(&ada).json(&body).send()
    };
    let replies = futures_util::future::join_all((0..10).map(|_| pay())).await;
    let bodies: Vec<_> = replies.into_iter().map(|reply| reply.expect(200).body).collect();
    assert!(bodies.iter().all(|body| body == &bodies[0]), "{bodies:?}");
    assert_eq!(pay().await.expect(200).body, bodies[0]);
}

#[tokio::test]
async fn a_payment_of_another_sum_pays_nothing() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let path = api.post("/api/orders").by(&ada).json(&order()).send().await.expect(201).header("location");
    for (amount, currency, status) in [
        (json!(TOTAL - 1), "EUR", 409),
        (json!(TOTAL), "USD", 409),
        (json!(TOTAL), "eur", 422),
        (json!("3048"), "EUR", 422),
        (json!(30.48), "EUR", 422),
    ] {
        let body = json!({"amount_minor": amount, "currency": currency});
        api.post(&format!("{path}/pay")).by(&ada).json(&body).send().await.problem(status);
    }
    assert_eq!(api.get(&path).by(&ada).send().await.expect(200).body["status"], "pending");
}

#[tokio::test]
async fn a_repeated_request_with_a_key_is_answered_the_same_and_done_once() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let make = |key: &'static str, body: Value| {
        api.post("/api/orders").by(&ada).header("idempotency-key", key).json(&body).send()
    };
    let replies = futures_util::future::join_all((0..10).map(|_| make("k1", order()))).await;
    let first: Vec<_> = replies.iter().filter(|reply| !reply.headers.contains_key("idempotency-replayed")).collect();
    assert_eq!(first.len(), 1);
    for reply in &replies {
        assert_eq!((reply.status, &reply.body), (201, &first[0].body));
        assert_eq!(reply.header("location"), first[0].header("location"));
    }
    assert_eq!(api.all_pages(&ada, "/api/orders?limit=100").await.len(), 1);

    // The same key with quotes, and members in another order.
    let reordered = serde_json::from_str(
        r#"{"items":[{"unit_price_minor":1299,"quantity":2,"description":"Notebook"},
            {"quantity":10,"description":"Pencil","unit_price_minor":45}],"currency":"EUR"}"#,
    );
    assert_eq!(make("\"k1\"", reordered.unwrap()).await.expect(201).body, first[0].body);
    // Another request, another path or another user is not the same.
    let mut other = order();
    other["currency"] = json!("USD");
    let refused = make("k1", other).await.problem(422);
    assert_eq!(refused.body["type"], "/problems/idempotency-key-reused");
    let pay = format!("/api/orders/{}/pay", text(&first[0].body["id"]));
    let payment = json!({"amount_minor": TOTAL, "currency": "EUR"});
    api.post(&pay).by(&ada).header("idempotency-key", "k1").json(&payment).send().await.problem(422);
    let bobs = api.post("/api/orders").by(&bob).header("idempotency-key", "k1").json(&order()).send().await.expect(201);
    assert_ne!(bobs.body["id"], first[0].body["id"]);
    make("", order()).await.problem(400);
    make("a b", order()).await.problem(400);

    let paid = api.post(&pay).by(&ada).header("idempotency-key", "k2").json(&payment).send().await.expect(200);
    let again = api.post(&pay).by(&ada).header("idempotency-key", "k2").json(&payment).send().await.expect(200);
    assert_eq!(again.body, paid.body);
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_request_that_failed_leaves_its_key_free() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let id = api.post("/api/orders").by(&ada).json(&order()).send().await.expect(201).id();
    let pay = |amount: i64| {
        let body = json!({"amount_minor": amount, "currency": "EUR"});
        api.post(&format!("/api/orders/{id}/pay")).by(&ada).header("idempotency-key", "k").json(&body).send()
    };
    pay(1).await.problem(409);
    assert_eq!(pay(TOTAL).await.expect(200).body["status"], "paid");
}

#[tokio::test]
async fn somebody_elses_order_does_not_exist() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let path = api.post("/api/orders").by(&ada).json(&order()).send().await.expect(201).header("location");
    api.get(&path).by(&bob).send().await.problem(404);
    let body = json!({"amount_minor": TOTAL, "currency": "EUR"});
    api.post(&format!("{path}/pay")).by(&bob).json(&body).send().await.problem(404);
    assert!(api.all_pages(&bob, "/api/orders?limit=100").await.is_empty());
    assert_eq!(api.get(&path).by(&ada).send().await.expect(200).body["status"], "pending");
}

#[tokio::test]
async fn every_bad_field_of_an_order_is_named() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let most = 9_007_199_254_740_991_i64;
    let item = |quantity: i64, price: i64| json!({"description": "x", "quantity": quantity, "unit_price_minor": price});
    for (body, fields) in [
        (json!({"currency": "EURO", "items": [item(1, 1)]}), vec!["currency"]),
        (json!({"currency": "XXX", "items": []}), vec!["currency", "items"]),
        (
            json!({"currency": "EUR", "items": [item(0, 1), item(1, -1), item(10_001, 1)]}),
            vec!["items[0].quantity", "items[1].unit_price_minor", "items[2].quantity"],
        ),
        (json!({"currency": "EUR", "items": [item(2, most)]}), vec!["items[0].unit_price_minor"]),
        (json!({"currency": "EUR", "items": [item(1, most), item(1, most)]}), vec!["items"]),
        (
            json!({"currency": "EUR", "items": [{"description": "", "quantity": 1, "unit_price_minor": 1}]}),
            vec!["items[0].description"],
        ),
    ] {
        let refused = api.post("/api/orders").by(&ada).json(&body).send().await;
        assert_eq!(refused.refused_fields(), fields, "{body}");
    }
    for body in [
        json!({"currency": "EUR", "items": [item(1, 1)], "total_minor": 0}),
        json!({"currency": "EUR", "items": [item(1, 1)], "status": "paid"}),
        json!({"currency": "EUR", "items": [{"description": "x", "quantity": 1.5, "unit_price_minor": 1}]}),
        json!({"currency": "EUR"}),
    ] {
        api.post("/api/orders").by(&ada).json(&body).send().await.problem(422);
    }
    assert!(api.all_pages(&ada, "/api/orders?limit=100").await.is_empty());
}

#[tokio::test]
async fn the_largest_sum_comes_back_exactly() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let most = 9_007_199_254_740_991_i64;
    let body = json!({"currency": "JPY", "items": [{"description": "x", "quantity": 1, "unit_price_minor": most}]});
    let made = api.post("/api/orders").by(&ada).json(&body).send().await.expect(201);
    assert_eq!(made.body["total_minor"], most);
    let read = api.get(&made.header("location")).by(&ada).send().await.expect(200);
    assert_eq!(read.body["total_minor"], most);
}
