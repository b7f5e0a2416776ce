//! Access tokens that the service has not issued, over HTTP. Each part by itself: `crates/covet-identity/src/token/access/tests.rs`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, decode_header, encode};
use serde_json::{Value, json};

use crate::support::{Api, User, service};

/// The service's secret, which the first forgeries know: then only the part that is wrong can be what refuses them.
const SECRET: &str = "a-known-key-of-thirty-two-bytes-or-more";

fn part(user: &User, at: usize) -> Value {
    let text = user.access.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn signed(header: &Header, claims: &Value, secret: &str) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

async fn status(api: &Api, token: &str) -> u16 {
    api.get("/api/users/me").bearer(token).send().await.status
}

#[tokio::test]
async fn a_token_that_is_signed_rightly_and_says_something_wrong_is_refused() {
    let api = Api::start_with(service().env("JWT_SECRET_KEY", SECRET)).await;
    let ada = api.register("ada").await;
    let (header, claims) = (decode_header(&ada.access).unwrap(), part(&ada, 1));
    assert_eq!(status(&api, &signed(&header, &claims, SECRET)).await, 200, "the forger's tools work");

    let now = claims["iat"].as_i64().unwrap();
    for (claim, wrong) in [
        ("exp", json!(now - 3600)),
        ("nbf", json!(now + 3600)),
        ("iat", json!(now + 3600)),
        ("iss", json!("https://issuer.example")),
        ("aud", json!("another-service")),
        ("aud", json!(["covet-api-2", "another-service"])),
        ("exp", Value::Null),
        ("exp", json!("9999999999")),
        ("sub", json!("admin")),
        ("sid", Value::Null),
        ("jti", Value::Null),
    ] {
        let mut forged = claims.clone();
        forged[claim] = wrong.clone();
        assert_eq!(status(&api, &signed(&header, &forged, SECRET)).await, 401, "{claim} {wrong}");
    }

    for typ in [None, Some("JWT"), Some("rt+jwt"), Some("id_token"), Some("application/jwt")] {
        let header = Header { typ: typ.map(str::to_owned), ..header.clone() };
        assert_eq!(status(&api, &signed(&header, &claims, SECRET)).await, 401, "{typ:?}");
    }
    for kid in ["../../../../dev/null", "' OR '1'='1", "https://evil.example/keys/1", "", "\0"] {
        let header = Header { kid: Some(kid.to_owned()), ..header.clone() };
        assert_eq!(status(&api, &signed(&header, &claims, "")).await, 401, "{kid}");
        assert_eq!(status(&api, &signed(&header, &claims, SECRET)).await, 401, "{kid}");
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let header = Header { alg: algorithm, ..header.clone() };
        assert_eq!(status(&api, &signed(&header, &claims, SECRET)).await, 401, "{algorithm:?}");
    }
    // A header that names the forger's own key changes nothing about which key checks.
    let header = Header { jku: Some("https://evil.example/jwks.json".to_owned()), ..header };
    assert_eq!(status(&api, &signed(&header, &claims, "the forger's own key of thirty-two bytes")).await, 401);
}

#[tokio::test]
async fn an_admin_role_in_a_claim_opens_nothing_that_the_database_does_not_say() {
    let api = Api::start_with(service().env("JWT_SECRET_KEY", SECRET)).await;
    let ada = api.register("ada").await;
    let mut claims = part(&ada, 1);
    claims["roles"] = json!(["admin", "root", "*"]);
    let token = signed(&decode_header(&ada.access).unwrap(), &claims, SECRET);
    api.get("/api/admin/users").bearer(&token).send().await.problem(403);
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_however_it_is_written() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let mut header = part(&ada, 0);
    let claims = ada.access.split('.').nth(1).unwrap();
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        header["alg"] = json!(algorithm);
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        for token in [format!("{header}.{claims}."), format!("{header}.{claims}"), format!("{header}.{claims}.AA")] {
            assert_eq!(status(&api, &token).await, 401, "{algorithm}");
        }
    }
    // A good one with something around it is none.
    for token in [format!("{}.", ada.access), format!("{} {}", ada.access, ada.access), format!("{}=", ada.access)] {
        assert_eq!(status(&api, &token).await, 401);
    }
    assert_eq!(status(&api, &ada.refresh).await, 401, "a refresh token opens nothing by itself");
}
