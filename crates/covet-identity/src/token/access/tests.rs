//! What is wrong with a token is found, by name: RFC 8725, one by one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covet_core::clock::ManualClock;
use covet_core::environment::Environment;
use covet_core::secret::ExposeSecret;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::settings::test_settings;
use crate::token::test_keys::{ED25519, RSA, RSA_PUBLIC};

const OLD: &str = "an-old-key-of-thirty-two-bytes-or-more";
const NEW: &str = "a-new-key-of-thirty-two-bytes-or-more";

fn ring(words: &[&str]) -> KeyRing {
    KeyRing::parse(&SecretString::from(words.join(" ")), Environment::Production).unwrap()
}

fn tokens(keys: KeyRing) -> (AccessTokens, ManualClock) {
    let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    (AccessTokens::new(&test_settings(), keys, clock), hand)
}

fn issue(tokens: &AccessTokens) -> String {
    let issued = tokens.issue(Uuid::from_u128(1), Uuid::from_u128(2)).unwrap();
    issued.token.expose_secret().to_owned()
}

/// A token that is right except for what `change` does to its header and claims.
fn forge(tokens: &AccessTokens, change: impl FnOnce(&mut Header, &mut Value)) -> String {
    let keys = tokens.keys();
    let key = keys.signing();
    let mut header = key.header.clone();
    let now = tokens.inner.clock.now().as_second();
    let mut claims = json!({
        "iss": "covet", "aud": "covet-api", "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2),
        "iat": now, "exp": now + 900, "jti": Uuid::from_u128(3),
    });
    change(&mut header, &mut claims);
    encode(&header, &claims, key.encoding.as_ref().unwrap()).unwrap()
}

#[test]
fn an_issued_token_says_who_it_is_for() {
    let (tokens, _) = tokens(ring(&[OLD]));
    let claims = tokens.verify(&issue(&tokens)).unwrap();
    assert_eq!((claims.sub, claims.sid), (Uuid::from_u128(1), Uuid::from_u128(2)));
    assert_eq!(claims.exp - claims.iat, 900);
    assert!(tokens.verify(&forge(&tokens, |_, _| {})).is_ok());
}

#[test]
fn a_token_ends_with_its_time_and_the_leeway() {
    let (tokens, hand) = tokens(ring(&[OLD]));
    let token = issue(&tokens);
    hand.advance(Duration::from_secs(900 + 9));
    assert!(tokens.verify(&token).is_ok());
    hand.advance(Duration::from_secs(1));
    assert_eq!(tokens.verify(&token).unwrap_err(), TokenError::Expired);
}

#[test]
fn each_wrong_part_is_refused_by_name() {
    let (tokens, _) = tokens(ring(&[OLD]));
    let now = tokens.inner.clock.now().as_second();
    let check = |change: &dyn Fn(&mut Header, &mut Value)| {
        tokens.verify(&forge(&tokens, |header, claims| change(header, claims))).unwrap_err()
    };
    assert_eq!(check(&|_, claims| claims["iss"] = json!("other")), TokenError::WrongIssuer);
    assert_eq!(check(&|_, claims| claims["aud"] = json!("other")), TokenError::WrongAudience);
    assert_eq!(check(&|_, claims| claims["iat"] = json!(now + 60)), TokenError::NotYetValid);
    assert_eq!(check(&|_, claims| claims["nbf"] = json!(now + 60)), TokenError::NotYetValid);
    assert_eq!(check(&|_, claims| claims["exp"] = json!(now - 60)), TokenError::Expired);
    assert_eq!(check(&|_, claims| claims["sub"] = json!("root")), TokenError::Malformed);
    assert_eq!(check(&|header, _| header.typ = Some("JWT".to_owned())), TokenError::WrongType);
    assert_eq!(check(&|header, _| header.typ = None), TokenError::WrongType);
    assert_eq!(check(&|header, _| header.kid = None), TokenError::UnknownKey);
    assert_eq!(check(&|header, _| header.kid = Some("../../etc/passwd".to_owned())), TokenError::UnknownKey);
    assert_eq!(check(&|header, _| header.crit = Some(vec!["exp".to_owned()])), TokenError::Malformed);
    assert_eq!(check(&|header, _| header.alg = Algorithm::HS512), TokenError::WrongAlgorithm);
    for claim in ["iss", "aud", "sub", "sid", "iat", "exp", "jti"] {
        let error = check(&|_, claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        assert_eq!(error, TokenError::Malformed, "{claim}");
    }
}

#[test]
fn an_unsigned_token_is_refused() {
    let (tokens, _) = tokens(ring(&[OLD]));
    let good = issue(&tokens);
    let (_, rest) = good.split_once('.').unwrap();
    let kid = tokens.keys().ids().next().unwrap().to_owned();
    for alg in ["none", "None", "NONE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string());
        let (claims, signature) = rest.split_once('.').unwrap();
        for token in [format!("{header}.{claims}."), format!("{header}.{claims}.{signature}")] {
            assert!(tokens.verify(&token).is_err(), "{alg}");
        }
    }
}

#[test]
fn a_changed_token_is_refused() {
    let (tokens, _) = tokens(ring(&[OLD]));
    let good = issue(&tokens);
    let parts: Vec<&str> = good.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let other = claims.replace(&Uuid::from_u128(1).to_string(), &Uuid::from_u128(9).to_string());
    let changed = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(other), parts[2]);
    assert_eq!(tokens.verify(&changed).unwrap_err(), TokenError::WrongSignature);
    for text in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", &"x".repeat(5000), &good[..good.len() - 1]] {
        assert!(tokens.verify(text).is_err(), "{text}");
    }
}

#[test]
fn another_services_key_does_not_open_ours() {
    let (ours, _) = tokens(ring(&[OLD]));
    let (theirs, _) = tokens(ring(&[NEW]));
    assert_eq!(ours.verify(&issue(&theirs)).unwrap_err(), TokenError::UnknownKey);
    let kid = ours.keys().ids().next().map(str::to_owned);
    let forged = forge(&theirs, |header, _| header.kid = kid);
    assert_eq!(ours.verify(&forged).unwrap_err(), TokenError::WrongSignature);
}

#[test]
fn keys_rotate_without_refusing_a_good_token() {
    let (tokens, _) = tokens(ring(&[OLD]));
    let old = issue(&tokens);
    tokens.replace_keys(ring(&[OLD, NEW]));
    tokens.replace_keys(ring(&[NEW, OLD]));
    let new = issue(&tokens);
    assert!(tokens.verify(&old).is_ok() && tokens.verify(&new).is_ok());
    tokens.replace_keys(ring(&[NEW]));
    assert_eq!(tokens.verify(&old).unwrap_err(), TokenError::UnknownKey);
    assert!(tokens.verify(&new).is_ok());
}

#[test]
fn the_challenge_follows_rfc_6750() {
    assert_eq!(TokenError::Missing.challenge(), "Bearer");
    assert_eq!(
        TokenError::Expired.challenge(),
        r#"Bearer error="invalid_token", error_description="the access token has expired""#
    );
    assert_eq!(TokenError::Expired.problem().status, 401);
}

#[test]
fn a_key_of_another_length_still_signs_hs256() {
    let header = Header::new(Algorithm::HS256);
    assert!(encode(&header, &json!({}), &EncodingKey::from_secret(b"k")).is_ok());
    assert_eq!(tokens(KeyRing::generate()).0.keys().signing().header.alg, Algorithm::HS256);
}

#[test]
fn a_pair_signs_and_its_public_key_alone_verifies() {
    for pair in [ED25519, RSA] {
        let (ours, _) = tokens(ring(&[pair]));
        let token = issue(&ours);
        assert!(ours.verify(&token).is_ok());
        let jwk = &ours.published_keys().keys[0];
        let (verifying, _) = tokens(ring(&[OLD, &public_pem(pair)]));
        assert!(verifying.verify(&token).is_ok());
        assert_eq!(decode_header(&token).unwrap().kid, jwk.common.key_id);
    }
}

/// The public half, as `openssl pkey -pubout` writes it.
fn public_pem(pair: &str) -> String {
    if pair == RSA { RSA_PUBLIC.to_owned() } else { crate::token::test_keys::ED25519_PUBLIC.to_owned() }
}

/// A token signed by HMAC with `secret`, under the id of the ring's first key.
fn forged_by_hmac(tokens: &AccessTokens, algorithm: Algorithm, secret: &[u8]) -> String {
    let mut header = Header::new(algorithm);
    header.typ = Some(TOKEN_TYPE.to_owned());
    header.kid = tokens.keys().ids().next().map(str::to_owned);
    let good = issue(tokens);
    let claims = URL_SAFE_NO_PAD.decode(good.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
}

#[test]
fn a_public_key_taken_for_a_secret_signs_nothing() {
    for pair in [RSA, ED25519] {
        let (tokens, _) = tokens(ring(&[pair]));
        let pem = public_pem(pair);
        let jwk = serde_json::to_string(&tokens.published_keys().keys[0]).unwrap();
        for secret in [pem.as_str(), pem.trim_end(), jwk.as_str()] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let forged = forged_by_hmac(&tokens, algorithm, secret.as_bytes());
                assert_eq!(tokens.verify(&forged).unwrap_err(), TokenError::WrongAlgorithm);
            }
        }
    }
}

#[test]
fn a_key_checks_no_algorithm_of_its_family_but_its_own() {
    let (tokens, _) = tokens(ring(&[RSA]));
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let forged = forge(&tokens, |header, _| header.alg = algorithm);
        assert_eq!(tokens.verify(&forged).unwrap_err(), TokenError::WrongAlgorithm, "{algorithm:?}");
    }
}

#[test]
fn a_token_of_one_key_is_refused_under_the_id_of_another() {
    let (tokens, _) = tokens(ring(&[ED25519, RSA, OLD]));
    let ids: Vec<String> = tokens.keys().ids().map(str::to_owned).collect();
    for id in &ids[1..] {
        let forged = forge(&tokens, |header, _| header.kid = Some(id.clone()));
        assert_eq!(tokens.verify(&forged).unwrap_err(), TokenError::WrongAlgorithm);
    }
}

#[test]
fn a_key_id_is_compared_and_nothing_else_is_done_with_it() {
    let (tokens, _) = tokens(ring(&[OLD]));
    let huge = "A".repeat(3000);
    for id in [
        "../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "key' UNION SELECT 'x'--",
        "$(id)",
        "\0",
        "",
        "http://evil.example/k",
        &huge,
    ] {
        let forged = forge(&tokens, |header, _| header.kid = Some(id.to_owned()));
        let refused = tokens.verify(&forged).unwrap_err();
        // The largest header makes the whole token too long to be looked at.
        let expected = if forged.len() > MAX_TOKEN_BYTES { TokenError::Malformed } else { TokenError::UnknownKey };
        assert_eq!(refused, expected, "{id}");
    }
}

#[test]
fn a_key_that_comes_with_the_token_is_not_used() {
    let (ours, _) = tokens(ring(&[OLD]));
    let (theirs, _) = tokens(ring(&[ED25519]));
    let forged = forge(&theirs, |header, _| {
        header.jwk = Some(theirs.published_keys().keys[0].clone());
        header.jku = Some("https://evil.example/jwks.json".to_owned());
        header.x5u = Some("https://evil.example/cert.pem".to_owned());
    });
    assert_eq!(ours.verify(&forged).unwrap_err(), TokenError::UnknownKey);
}

#[tokio::test]
async fn a_revoked_login_is_refused_at_once_and_others_go_on() {
    let (tokens, _) = tokens(ring(&[OLD]));
    let token = issue(&tokens);
    let other = tokens.issue(Uuid::from_u128(1), Uuid::from_u128(3)).unwrap().token;
    tokens.revoke(&[Uuid::from_u128(2)]).await;
    assert_eq!(tokens.verify(&token).unwrap_err(), TokenError::LoginEnded);
    assert!(tokens.verify(other.expose_secret()).is_ok());
    assert_eq!(TokenError::LoginEnded.problem().status, 401);
}

#[test]
fn what_changed_in_a_ring_is_told_by_ids() {
    let (tokens, _) = tokens(ring(&[OLD]));
    assert_eq!(tokens.replace_keys(ring(&[OLD])), None);
    let change = tokens.replace_keys(ring(&[NEW, OLD])).unwrap();
    assert!(change.to.ends_with(&change.from) && !change.to.contains(NEW), "{change:?}");
}
