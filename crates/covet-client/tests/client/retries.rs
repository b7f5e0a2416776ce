//! What is tried again, how often, and what is not.

use std::time::Duration;

use covet_client::Error;
use covet_client::reqwest::Body;
use covet_testkit::free_port;
use http::StatusCode;

use super::support::{LONG, Upstream, answer, client, never};

/// Answers 503 as often as this, then 200.
async fn recovers_after(failures: usize) -> Upstream {
    Upstream::new(move |count| async move { if count <= failures { answer(503, "") } else { answer(200, "well") } })
        .await
}

#[tokio::test]
async fn what_may_happen_twice_is_tried_again() {
    let upstream = recovers_after(2).await;
    let response = client(&[]).get(upstream.url("/")).send().await.unwrap();
    assert_eq!((response.status(), response.attempts()), (StatusCode::OK, 3));
    assert_eq!(response.text().await.unwrap(), "well");
    assert_eq!(upstream.came().len(), 3);
}

#[tokio::test]
async fn what_may_not_happen_twice_is_not_unless_it_is_said_to() {
    let upstream = recovers_after(1).await;
    let post = client(&[]).post(upstream.url("/")).json(&[1, 2]).send().await.unwrap();
    assert_eq!((post.status().as_u16(), post.attempts()), (503, 1));

    let upstream = recovers_after(1).await;
    let post = client(&[]).post(upstream.url("/")).json(&[1, 2]).idempotent(true).send().await.unwrap();
    assert_eq!((post.status().as_u16(), post.attempts()), (200, 2));
    assert!(upstream.came().iter().all(|came| came.body == "[1,2]"), "the body goes along each time");

    let upstream = recovers_after(1).await;
    let delete = client(&[]).delete(upstream.url("/newest")).idempotent(false).send().await.unwrap();
    assert_eq!((delete.status().as_u16(), delete.attempts()), (503, 1));
}

#[tokio::test]
async fn what_was_never_sent_is_tried_again_whatever_it_is() {
    let url = format!("http://127.0.0.1:{}/", free_port().unwrap());
    let error = client(&[]).post(url).send().await.unwrap_err();
    assert!(matches!(&error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("onnection refused"), "{error}");
}

#[tokio::test]
async fn a_status_that_will_not_change_is_the_answer() {
    let upstream = Upstream::new(async |_| answer(500, "")).await;
    assert_eq!(client(&[]).get(upstream.url("/")).send().await.unwrap().attempts(), 1);
}

#[tokio::test]
async fn a_body_that_is_a_stream_is_sent_once() {
    let upstream = recovers_after(1).await;
    let body = Body::wrap(http_body_util::StreamBody::new(tokio_stream()));
    let put = client(&[]).put(upstream.url("/")).body(body).send().await.unwrap();
    assert_eq!((put.status().as_u16(), put.attempts()), (503, 1));
    assert_eq!(upstream.came()[0].body, "streamed");
}

type Frame = Result<hyper::body::Frame<hyper::body::Bytes>, std::io::Error>;

fn tokio_stream() -> impl futures_util::Stream<Item = Frame> {
    futures_util::stream::iter([Ok(hyper::body::Frame::data("streamed".into()))])
}

#[tokio::test]
async fn a_host_that_is_down_is_not_called_all_the_more() {
    let upstream = Upstream::new(async |_| answer(503, "")).await;
    let client = client(&[("COVET_CLIENT__RETRIES_PER_SECOND", "1"), ("COVET_CLIENT__RETRY_RATIO", "0.1")]);
    for _ in 0..200 {
        assert_eq!(client.get(upstream.url("/")).send().await.unwrap().status(), 503);
    }
    // A tenth of the calls, and one for each of the ten seconds that count.
    let came = upstream.came().len();
    assert!((201..=235).contains(&came), "{came} requests for 200 calls");

    let another = recovers_after(1).await;
    let response = client.get(another.url("/")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (200, 2), "its budget is its own");
}

#[tokio::test]
async fn without_attempts_there_are_no_retries() {
    let upstream = recovers_after(1).await;
    assert_eq!(client(&[("COVET_CLIENT__ATTEMPTS", "1")]).get(upstream.url("/")).send().await.unwrap().status(), 503);
    assert_eq!(client(&[]).get(upstream.url("/")).attempts(1).send().await.unwrap().attempts(), 1);
}

#[tokio::test]
async fn an_attempt_that_hangs_leaves_time_for_another() {
    let upstream = Upstream::new(async |count| if count == 1 { never().await } else { answer(200, "") }).await;
    let call = client(&[]).get(upstream.url("/")).deadline(LONG).attempt_timeout(Duration::from_millis(200));
    assert_eq!(call.send().await.unwrap().attempts(), 2);
}

#[tokio::test]
async fn a_pause_that_does_not_fit_the_deadline_is_not_made() {
    let upstream = Upstream::new(async |_| {
        let mut answer = answer(429, "");
        answer.headers_mut().insert("retry-after", "60".parse().unwrap());
        answer
    })
    .await;
    let response = client(&[]).get(upstream.url("/")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (429, 1));
}
