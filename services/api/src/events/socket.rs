//! `/ws/events`.

use std::time::Duration;

use covet::axum::extract::State;
use covet::axum::response::Response;
use covet::identity::caller::Caller;
use covet::ws::{WebSocket, WebSocketUpgrade};
use jiff::Timestamp;

use super::feed::{Received, Subscription};
use crate::metrics::Feature;
use crate::state::Api;
use crate::web::problems;

/// The subprotocol: what the messages look like.
const PROTOCOL: &str = "covet.events.v1";
/// Largest message taken from a listener, who has nothing to say.
const MAX_MESSAGE_BYTES: usize = 4096;
/// RFC 6455 §7.4.1: the server's policy ends the connection.
const POLICY: u16 = 1008;

/// Listens to your own changes: notes and orders.
///
/// Each message is `{"id", "type", "occurred_at", "data"}`, where `type` is `note.created`, `note.updated`,
/// `note.deleted`, `order.created` or `order.paid`. `{"type": "missed", "count": …}` tells a listener that was too
/// slow to read its lists again. The socket closes with 1008 when the access token expires, by cookie after the same
/// time, and with 1001 when the service stops: connect again.
///
/// The token comes as `Authorization: Bearer …`, or, from a browser, as a second subprotocol:
/// `new WebSocket(url, ["covet.events.v1", "bearer." + token])`. A page of this origin that is logged in by cookie needs no
/// token.
#[utoipa::path(
    get, path = "/ws/events", operation_id = "listen", tag = "events",
    responses(
        (status = 101, description = "A WebSocket of text messages."),
        problems::BadRequest, problems::Unauthorized,
        (status = 426, description = "Not a WebSocket handshake.", body = problems::ProblemSchema,
            content_type = "application/problem+json"),
        problems::Other,
    )
)]
pub(super) async fn listen(State(api): State<Api>, caller: Caller, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols(&[PROTOCOL]).max_message_bytes(MAX_MESSAGE_BYTES);
    // Before the handshake is answered: what happens from then on is heard.
    let subscription = api.feed.subscribe(caller.user_id);
    api.business.business_feature_usage_total(Feature::Listen).increment(1);
    // A session can be ended meanwhile. Who comes again after that is refused.
    let time_left = time_left(caller.expires_at, api.clock.now()).min(api.auth.access_token_ttl);
    upgrade.on_upgrade(move |socket| serve(socket, subscription, time_left))
}

async fn serve(mut socket: WebSocket, mut subscription: Subscription, time_left: Duration) {
    let expiry = tokio::time::sleep(time_left);
    tokio::pin!(expiry);
    loop {
        let received = tokio::select! {
            received = subscription.next() => received,
            message = socket.recv() => match message {
                // What a listener says means nothing.
                Some(_) => continue,
                None => return,
            },
            () = &mut expiry => {
                socket.close(POLICY, "the login has expired").await;
                return;
            }
        };
        let sent = match received {
            Received::Event(text) => socket.send_text(text).await,
            Received::Missed(count) => socket.send_text(format!(r#"{{"type":"missed","count":{count}}}"#)).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn time_left(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}
