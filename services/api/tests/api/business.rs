//! What the business counts, against a journey with known numbers.

use std::time::Duration;

use covet_testkit::wait_until;
use serde_json::json;

use crate::support::{Api, PASSWORD, User};

const SOON: Duration = Duration::from_secs(60);

/// The value of a sample; none when it is not there.
async fn value(api: &Api, sample: &str) -> Option<f64> {
    let text = api.service.client().get(api.service.operator_url("/metrics/business")).send().await.unwrap();
    let text = text.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

async fn order_and_pay(api: &Api, user: &User, currency: &str, amount: i64) {
    let item = json!({"description": "Notebook", "quantity": 1, "unit_price_minor": amount});
    let order = api.post("/api/orders").by(user).json(&json!({"currency": currency, "items": [item]})).send().await;
    let order = order.expect(201).id();
    let payment = json!({"amount_minor": amount, "currency": currency});
    // Paying twice is paying once.
    for _ in 0..2 {
        api.post(&format!("/api/orders/{order}/pay")).by(user).json(&payment).send().await.expect(200);
    }
}

#[tokio::test]
async fn registrations_logins_features_and_revenue_are_counted_as_they_happened() {
    let api = Api::start().await;
    let feature = |name: &str| format!("business_feature_usage_total{{feature=\"{name}\"}}");
    for name in ["log_in", "write_note", "change_note", "search_notes", "order", "pay", "listen"] {
        assert_eq!(value(&api, &feature(name)).await, Some(0.0), "{name} is there from the start");
    }
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    api.post("/api/auth/register")
        .json(&json!({"email": "nobody", "password": "x", "name": ""}))
        .send()
        .await
        .expect(422);

    for title in ["a", "b", "c"] {
        api.post("/api/notes").by(&ada).json(&json!({ "title": title })).send().await.expect(201);
    }
    api.post("/api/notes").by(&ada).json(&json!({"title": ""})).send().await.expect(422);
    api.get("/api/notes").by(&ada).send().await.expect(200);
    api.get("/api/notes?q=a").by(&ada).send().await.expect(200);
    order_and_pay(&api, &ada, "EUR", 2598).await;
    order_and_pay(&api, &bob, "EUR", 2).await;
    order_and_pay(&api, &bob, "JPY", 1000).await;
    let wrong = json!({"currency": "EUR", "items": [{"description": "x", "quantity": 1, "unit_price_minor": 5}]});
    let unpaid = api.post("/api/orders").by(&ada).json(&wrong).send().await.expect(201).id();
    let too_little = json!({"amount_minor": 4, "currency": "EUR"});
    api.post(&format!("/api/orders/{unpaid}/pay")).by(&ada).json(&too_little).send().await.expect(409);

    for (sample, expected) in [
        ("business_user_registrations_total", 2.0),
        (&feature("log_in"), 2.0),
        (&feature("write_note"), 3.0),
        (&feature("search_notes"), 1.0),
        (&feature("order"), 4.0),
        (&feature("pay"), 3.0),
        ("business_revenue_minor_units_total{currency=\"EUR\"}", 2600.0),
        ("business_revenue_minor_units_total{currency=\"JPY\"}", 1000.0),
    ] {
        assert_eq!(value(&api, sample).await, Some(expected), "{sample}");
    }
}

#[tokio::test]
async fn open_sessions_rise_with_logins_and_fall_with_logouts() {
    let api = Api::start().await;
    let mut ada = api.register("ada").await;
    let bob = api.register("bob").await;
    api.log_in(&mut ada).await;
    let credentials = json!({"email": ada.email, "password": PASSWORD});
    api.post("/api/auth/sessions").json(&credentials).send().await.expect(204);
    let sessions_are = async |count: f64| {
        let are = wait_until(format!("{count} open sessions"), SOON, async || {
            let now = value(&api, "business_active_sessions").await;
            if now == Some(count) { Ok(()) } else { Err(format!("{now:?}")) }
        });
        are.await.unwrap();
    };
    sessions_are(4.0).await;
    assert_eq!(value(&api, "app_active_sessions").await, Some(1.0));
    api.post("/api/auth/logout").json(&json!({"refresh_token": bob.refresh})).send().await.expect(204);
    sessions_are(3.0).await;
}

#[tokio::test]
async fn business_and_platform_are_apart_and_together_all() {
    let api = Api::start().await;
    let names = async |path: &str| {
        let text = api.service.client().get(api.service.operator_url(path)).send().await.unwrap().text().await.unwrap();
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (all, platform, business) =
        (names("/metrics").await, names("/metrics/platform").await, names("/metrics/business").await);
    assert!(business.iter().all(|name| {
        name.starts_with("business_") || name.starts_with("app_api_calls_") || name.starts_with("app_active_sessions")
    }));
    assert!(business.len() >= 4 && platform.len() >= 60);
    let mut both = [platform, business].concat();
    both.sort();
    assert_eq!(both, all);
}
