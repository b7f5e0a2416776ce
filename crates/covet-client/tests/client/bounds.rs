//! Time and size.

use std::time::Duration;

use covet_client::Error;
use covet_client::settings::ClientSettings;
use covet_core::settings::{Section, SectionDoc, Sources};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde::Deserialize;

use super::support::{Upstream, answer, client, never};

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let upstream = Upstream::new(async |_| never().await).await;
    let error = client(&[]).get(upstream.url("/")).deadline(Duration::from_millis(200)).send().await.unwrap_err();
    assert!(matches!(&error, Error::Deadline { attempts: 1, .. }), "{error}");
    assert!(error.to_string().ends_with("no answer within 200ms (1 attempts)"), "{error}");
}

#[tokio::test]
async fn a_body_that_does_not_end_ends_at_the_deadline() {
    let upstream = Upstream::new(async |_| {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from("begun")))]);
        let never = futures_util::stream::pending();
        let body = futures_util::StreamExt::chain(first, never);
        Response::new(BodyExt::boxed(StreamBody::new(body)))
    })
    .await;
    let response = client(&[]).get(upstream.url("/")).deadline(Duration::from_millis(300)).send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert!(matches!(&error, Error::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read_announced_or_not() {
    let upstream = Upstream::new(async |count| match count {
        1 => answer(200, &"x".repeat(2_000)),
        _ => {
            let chunks = (0..200).map(|_| Ok(Frame::data(Bytes::from("0123456789"))));
            Response::new(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(chunks))))
        }
    })
    .await;
    let client = client(&[("COVET_CLIENT__RESPONSE_LIMIT", "1KiB")]);
    for _ in 0..2 {
        let error = client.get(upstream.url("/")).send().await.unwrap().bytes().await.unwrap_err();
        assert!(matches!(&error, Error::TooLarge { limit: 1024, .. }), "{error}");
    }
}

#[derive(Debug, Deserialize)]
struct Stock {
    pieces: u32,
}

#[tokio::test]
async fn json_that_does_not_fit_is_told_by_field_and_without_its_value() {
    let bodies = [r#"{"pieces": 7}"#, r#"{"pieces": "secret"}"#, r#"{"other": "secret"}"#, "secret"];
    let upstream = Upstream::new(move |count| async move { answer(200, bodies[count - 1]) }).await;
    let client = client(&[]);
    let ask = async || client.get(upstream.url("/")).send().await.unwrap().json::<Stock>().await;
    assert_eq!(ask().await.unwrap().pieces, 7);
    for expected in ["`pieces`", "is missing", "no JSON"] {
        let error = ask().await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected) && !text.contains("secret"), "{text}");
    }
}

#[test]
fn the_declarations_are_sound() {
    assert_eq!(SectionDoc::of::<ClientSettings>().faults(), Vec::<String>::new());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for (variable, text, expected) in [
        ("COVET_CLIENT__ALLOW_PLAINTEXT", "http://stock", "neither a host's name"),
        ("COVET_CLIENT__ATTEMPT_TIMEOUT", "11s", "longer than COVET_CLIENT__DEADLINE"),
        ("COVET_CLIENT__ATTEMPTS", "0", "at least 1"),
    ] {
        let problem = ClientSettings::load(Sources::of([(variable, text)])).unwrap_err().to_string();
        assert!(problem.contains(variable) && problem.contains(expected), "{problem}");
    }
}
