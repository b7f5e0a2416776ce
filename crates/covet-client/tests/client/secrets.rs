//! What never leaves the process, or never unencrypted.

use covet_client::Error;
use covet_testkit::{Certificate, free_port};
use http::Response;
use tokio::net::TcpListener;

use super::support::{Upstream, answer, client};

#[tokio::test]
async fn no_error_holds_what_may_be_secret() {
    let nobody = format!("127.0.0.1:{}", free_port().unwrap());
    let (client, production) = (client(&[]), client(&[("COVET_ENV", "production")]));
    let calls = [
        client.get(format!("http://ada:secret@{nobody}/secret?token=secret")),
        client.get("ftp://ada:secret@stock/secret?token=secret"),
        client.get("secret://ada:secret@stock/secret?token=secret"),
        client.get("http://ada:secret@/secret"),
        client.get(format!("http://{nobody}/")).header("authorization", "secret\n"),
        production.get("http://ada:secret@stock.example/secret?token=secret").bearer_auth("secret"),
    ];
    for call in calls {
        let call = call.bearer_auth("secret").attempts(1);
        let error = call.send().await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.replace("secret://", "").contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn production_refuses_plain_http_and_says_what_to_do() {
    let client = client(&[("COVET_ENV", "production")]);
    let error = client.get("http://stock.internal/items").send().await.unwrap_err();
    assert!(matches!(&error, Error::Plaintext { .. }), "{error}");
    assert!(error.to_string().contains("COVET_CLIENT__ALLOW_PLAINTEXT=stock.internal"), "{error}");
}

#[tokio::test]
async fn a_redirect_goes_only_where_a_call_may_go() {
    let upstream = Upstream::new(async |count| match count {
        1 | 3 => redirect("http://stock.example/"),
        2 => redirect("/there"),
        _ => answer(200, ""),
    })
    .await;
    let production = client(&[("COVET_ENV", "production")]);
    // This machine may be called without TLS, others may not.
    let error = production.get(upstream.url("/")).send().await.unwrap_err();
    assert!(matches!(&error, Error::Redirect { .. }) && error.to_string().contains("without TLS"), "{error}");
    let error = production.get(upstream.url("/")).send().await.unwrap_err();
    assert!(matches!(&error, Error::Redirect { .. }), "by way of another place: {error}");
    assert_eq!(upstream.came().iter().map(|came| &*came.path).collect::<Vec<_>>(), ["/", "/", "/there"]);
}

fn redirect(to: &str) -> Response<super::support::Body> {
    let mut answer = answer(302, "");
    answer.headers_mut().insert("location", to.parse().unwrap());
    answer
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_not_accepted() {
    let certificate = Certificate::self_signed("nobody").await.unwrap();
    let url = tls_server(&certificate).await;
    let error = client(&[]).get(url).attempts(1).send().await.unwrap_err();
    assert!(matches!(&error, Error::Connect { .. }) && error.to_string().contains("certificate"), "{error}");
}

/// A server that does the handshake, if it comes to one.
async fn tls_server(certificate: &Certificate) -> String {
    let acceptor = certificate.acceptor().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    format!("https://localhost:{port}/")
}
