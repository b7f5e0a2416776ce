//! The 13 of HTTP and WebSocket, fed by `covet-http`.

use super::DEFAULT_SECONDS;
use crate::declare_metrics;

declare_metrics! {
    /// HTTP.
    ///
    /// Everything that reaches the API port; the operator's port is not counted. `endpoint` is the route as it was
    /// declared, such as `/api/users/{id}`; `unmatched` is every path that no route has, so that a client cannot make
    /// label values. `method` is one of the nine of RFC 9110, or `OTHER`.
    pub HTTP;

    /// HTTP requests answered.
    ///
    /// Moved by each answer when its last byte is handed over; by a client that left before, with the status 499 (NGINX's,
    /// never on the wire). A request that cannot be read (400, 408, 431 by the protocol itself) is not one: it counts in
    /// `http_malformed_requests_total`.
    counter HTTP_REQUESTS_TOTAL = "http_requests_total" {method, endpoint, status};
    /// Time from the request's head to its answer, in seconds; to its end where its length is not known.
    ///
    /// Moved as `http_requests_total`. In OpenMetrics a bucket shows the trace id of a sampled request as its exemplar.
    histogram HTTP_REQUEST_DURATION_SECONDS = "http_request_duration_seconds" {method, endpoint} DEFAULT_SECONDS;
    /// Size of request bodies, in bytes.
    ///
    /// Moved as `http_requests_total`, by what was read of the body; a request without one counts 0.
    summary HTTP_REQUEST_SIZE_BYTES = "http_request_size_bytes" {method, endpoint};
    /// Size of response bodies, in bytes.
    ///
    /// Moved as `http_requests_total`, by what was handed over of the body, compressed if it was.
    summary HTTP_RESPONSE_SIZE_BYTES = "http_response_size_bytes" {method, endpoint};
    /// HTTP requests being served now.
    ///
    /// Rises when a route's handler is reached, falls when the answer is out or its client gone.
    gauge HTTP_REQUESTS_IN_PROGRESS = "http_requests_in_progress" {method, endpoint};
    /// Requests that ended in a panic or an unhandled error, by its type.
    ///
    /// Moved by every answer with a 5xx status. `exception_type` is `panic`, the Rust type of the error given to
    /// `Error::internal`, `Problem` for a status that was chosen, and `ServerError` for a response made otherwise.
    counter HTTP_EXCEPTIONS_TOTAL = "http_exceptions_total" {method, endpoint, exception_type};
    /// Answers with a 4xx status.
    ///
    /// Moved as `http_requests_total`; 499 is among them.
    counter HTTP_4XX_RESPONSES = "http_4xx_responses" {method, endpoint, status};
    /// Answers with a 5xx status.
    ///
    /// Moved as `http_requests_total`.
    counter HTTP_5XX_RESPONSES = "http_5xx_responses" {method, endpoint, status};
    /// Time from the request's head to its answer, as count and sum of seconds; to its end where its length is not known.
    ///
    /// Moved as `http_requests_total`. Sum and count of `http_request_duration_seconds` are the same numbers.
    summary HTTP_REQUEST_DURATION_SUMMARY = "http_request_duration_summary" {method, endpoint};
    /// WebSocket connections open now.
    ///
    /// A gauge, despite its name. Rises with the handshake, falls with the connection.
    gauge WEBSOCKET_CONNECTIONS_TOTAL = "websocket_connections_total" {};
    /// WebSocket messages sent.
    ///
    /// Moved by text and binary messages; pings, pongs and closes are not counted.
    counter WEBSOCKET_MESSAGES_SENT = "websocket_messages_sent" {endpoint};
    /// WebSocket messages received.
    ///
    /// Moved by text and binary messages that a handler takes.
    counter WEBSOCKET_MESSAGES_RECEIVED = "websocket_messages_received" {endpoint};
    /// HTTP requests by class of client.
    ///
    /// Moved when a request arrives. `user_agent_type`: `browser`, `mobile`, `bot`, `cli`, `api_client`, `unknown`.
    counter HTTP_REQUESTS_BY_USER_AGENT = "http_requests_by_user_agent" {user_agent_type};
}
