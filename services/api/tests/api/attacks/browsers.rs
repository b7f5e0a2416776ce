//! What a page of an attacker can make a visitor's browser do.

use reqwest::Method;
use serde_json::json;

use crate::access::log_in_by_cookie;
use crate::support::{Api, PASSWORD, table};

const NOWHERE: &str = "018f3f5e-0000-7000-8000-000000000000";

#[tokio::test]
async fn no_page_of_another_origin_reaches_an_unsafe_route_by_cookie() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let cookie = log_in_by_cookie(&api, &ada).await;
    let mut tried = 0;
    for route in table(&api).await {
        if route.access == "public" || [Method::GET, Method::HEAD, Method::OPTIONS].contains(&route.method) {
            continue;
        }
        let url = route.path.replace("{id}", NOWHERE).replace("{role}", "admin");
        for headers in [
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "http://neighbour.localhost")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "")],
        ] {
            for content_type in ["application/x-www-form-urlencoded", "text/plain", "application/json"] {
                let mut call = api.call(route.method.clone(), &url).header("cookie", &cookie);
                for (name, value) in headers {
                    call = call.header(name, value);
                }
                let reply = call.text(content_type, "{}").send().await;
                let told =
                    format!("{} {url} {headers:?} {content_type}: {} {}", route.method, reply.status, reply.body);
                assert_eq!(reply.status, 403, "{told}");
                assert_eq!(reply.body["type"], "/problems/other-origin", "{told}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 100, "{tried}");
    api.get("/api/users/me").header("cookie", &cookie).send().await.expect(200);
}

#[tokio::test]
async fn a_cookie_known_before_the_login_is_worth_nothing_after_it() {
    let api = Api::start().await;
    let (ada, mallory) = (api.register("ada").await, api.register("mallory").await);
    let planted = [log_in_by_cookie(&api, &mallory).await, "session=AAAAAAAAAAAAAAAAAAAAAA".to_owned()];
    for planted in planted {
        let body = json!({"email": ada.email, "password": PASSWORD});
        let reply = api.post("/api/auth/sessions").header("cookie", &planted).json(&body).send().await.expect(204);
        let given = reply.header("set-cookie");
        assert!(given.contains("HttpOnly") && given.contains("SameSite=Lax"), "{given}");
        let given = given.split(';').next().unwrap();
        assert_ne!(given, planted);
        let me = api.get("/api/users/me").header("cookie", given).send().await.expect(200);
        assert_eq!(me.id(), ada.id);
        api.get("/api/users/me").header("cookie", &planted).send().await.problem(401);
    }
}

#[tokio::test]
async fn a_form_with_a_method_override_stays_what_it_is() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let call = api.post(&format!("/api/users/{}?_method=DELETE", ada.id)).by(&ada).header(name, "DELETE");
        assert_eq!(call.text("application/x-www-form-urlencoded", "_method=DELETE").send().await.status, 405);
        api.get("/api/users/me").by(&ada).header(name, "DELETE").send().await.expect(200);
    }
}
