//! [`Call`]: a request under construction, and sending it until it has an answer or it is too late.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use covet_telemetry::request;
use http::{HeaderName, HeaderValue};
use reqwest::RequestBuilder;
use serde::Serialize;
use tower::retry::budget::Budget as _;

use crate::attempt::{Attempt, Failed};
use crate::client::Inner;
use crate::error::reason;
use crate::retry::{self, Outcome};
use crate::target::Target;
use crate::{Error, Response, Result, instruments};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request to another service. Nothing happens until it is [sent](Self::send).
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    client: Arc<Inner>,
    builder: Result<RequestBuilder>,
    template: Option<Cow<'static, str>>,
    deadline: Duration,
    attempt_timeout: Option<Duration>,
    attempts: u32,
    idempotent: Option<bool>,
    hands_on: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("template", &self.template)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Call {
    pub(crate) fn new(client: Arc<Inner>, builder: Result<RequestBuilder>) -> Self {
        let settings = &client.settings;
        Self {
            deadline: settings.deadline,
            attempt_timeout: settings.attempt_timeout,
            attempts: settings.attempts,
            client,
            builder,
            template: None,
            idempotent: None,
            hands_on: true,
        }
    }

    /// Adds a header.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        <HeaderName as TryFrom<N>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.with(|builder| builder.header(name, value))
    }

    /// Adds `Authorization: Bearer …`.
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        self.with(|builder| builder.bearer_auth(token))
    }

    /// Adds `Authorization: Basic …`.
    pub fn basic_auth(self, user: impl fmt::Display, password: Option<impl fmt::Display>) -> Self {
        self.with(|builder| builder.basic_auth(user, password))
    }

    /// Adds to the query of the URL.
    pub fn query(self, query: &(impl Serialize + ?Sized)) -> Self {
        self.with(|builder| builder.query(query))
    }

    /// Sends this as JSON.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.with(|builder| builder.json(body))
    }

    /// Sends this as a form.
    pub fn form(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.with(|builder| builder.form(body))
    }

    /// Sends this body. One that is a stream can be sent once only: the call has one attempt.
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|builder| builder.body(body))
    }

    /// Anything else that `reqwest` can do with a request. Its own timeout is set by the call.
    pub fn with(mut self, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Self {
        self.builder = self.builder.map(change);
        self
    }

    /// The URL's path with names in place of values, as in `/items/{id}`: for errors and spans, in which the path itself
    /// never is.
    pub fn template(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.template = Some(template.into());
        self
    }

    /// Longest time all of it may take, instead of `COVET_CLIENT__DEADLINE`.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Longest time one attempt may take until its answer begins, instead of `COVET_CLIENT__ATTEMPT_TIMEOUT`.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Most attempts, instead of `COVET_CLIENT__ATTEMPTS`; at least one.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Says whether it may happen twice, whatever its method: a `POST` with an idempotency key may, a `DELETE` of "the
    /// newest" may not.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Keeps trace, baggage and request id to ourselves: for a service of somebody else.
    pub fn without_propagation(mut self) -> Self {
        self.hands_on = false;
        self
    }

    /// Sends it, as often as is useful, and returns the answer: also one with a status of failure.
    ///
    /// # Errors
    /// [`Error::Request`] and [`Error::Plaintext`] if it cannot or may not be sent; [`Error::Deadline`],
    /// [`Error::Connect`] or [`Error::Broken`] if there is no answer.
    pub async fn send(self) -> Result<Response> {
        let (http, request) = self.builder?.build_split();
        let mut request = request.map_err(|error| Error::Request(reason(error)))?;
        let target = Target::of(request.method(), request.url(), self.template)
            .ok_or_else(|| Error::Request("the URL begins neither with https:// nor with http://".to_owned()))?;
        self.client.plaintext.check(request.url())?;
        if self.hands_on {
            hand_on_request_id(&mut request);
        }
        let mut sending = Sending {
            until: self.client.clock.monotonic() + self.deadline,
            idempotent: self.idempotent.unwrap_or_else(|| retry::is_idempotent(&target.method)),
            client: self.client,
            http,
            target,
            limit: self.deadline,
            attempt_timeout: self.attempt_timeout,
            attempts: self.attempts,
            hands_on: self.hands_on,
            made: 0,
        };
        sending.send(request).await
    }
}

/// The id of the request at hand, unless the call has one already.
fn hand_on_request_id(request: &mut reqwest::Request) {
    let id = request::current(|scope| HeaderValue::from_str(scope.id().as_str()).ok()).flatten();
    if let (Some(id), false) = (id, request.headers().contains_key(X_REQUEST_ID)) {
        request.headers_mut().insert(X_REQUEST_ID, id);
    }
}

/// A call on its way.
struct Sending {
    client: Arc<Inner>,
    http: reqwest::Client,
    target: Target,
    until: Instant,
    limit: Duration,
    attempt_timeout: Option<Duration>,
    attempts: u32,
    idempotent: bool,
    hands_on: bool,
    /// Attempts so far.
    made: u32,
}

impl Sending {
    async fn send(&mut self, first: reqwest::Request) -> Result<Response> {
        let budget = self.client.budgets.deposit(&self.target);
        let mut next = Some(first);
        loop {
            let Some(request) = next.take() else { return Err(self.too_late()) };
            // A body that is a stream cannot be sent twice.
            next = if self.made + 1 < self.attempts { request.try_clone() } else { None };
            let outcome = self.attempt(request).await?;
            let (came_to, answer) = match &outcome {
                Ok(response) => (Outcome::Status(response.status()), Some(response.headers())),
                Err(failed) => (failed.outcome, None),
            };
            let wanted = next.is_some() && retry::may_try_again(came_to, self.idempotent);
            let pause = if wanted { retry::pause(self.made + 1, answer, &self.client.clock) } else { Duration::ZERO };
            if !wanted || pause >= self.left() {
                return self.finish(outcome);
            }
            if !budget.withdraw() {
                instruments::refused(&self.target);
                return self.finish(outcome);
            }
            drop(outcome);
            instruments::retried(&self.target);
            tracing::debug!(call = %self.target, attempt = self.made, outcome = ?came_to, "a call is tried again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One attempt, with what is left of the time.
    async fn attempt(&mut self, mut request: reqwest::Request) -> Result<Result<reqwest::Response, Failed>> {
        let left = self.left();
        if left.is_zero() {
            return Err(self.too_late());
        }
        self.made += 1;
        // Of the body too.
        *request.timeout_mut() = Some(left);
        let attempt = Attempt {
            target: &self.target,
            number: self.made,
            limit: self.attempt_timeout.map_or(left, |limit| limit.min(left)),
            clock: &self.client.clock,
        };
        let hands_on = self.hands_on.then_some(&self.client.traces);
        Ok(attempt.make(&self.http, request, hands_on).await)
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(self.client.clock.monotonic())
    }

    fn too_late(&self) -> Error {
        Error::Deadline { call: self.target.to_string(), limit: self.limit, attempts: self.made }
    }

    fn finish(&self, outcome: Result<reqwest::Response, Failed>) -> Result<Response> {
        let limit = self.client.settings.response_limit.as_usize();
        let call = || self.target.to_string();
        match outcome {
            Ok(response) => Ok(Response::new(response, call(), limit, self.limit, self.made)),
            Err(Failed { timed_out: Some(limit), .. }) => {
                let limit = if self.left().is_zero() { self.limit } else { limit };
                Err(Error::Deadline { call: call(), limit, attempts: self.made })
            }
            Err(Failed { outcome: Outcome::NotSent, reason, .. }) => Err(Error::Connect { call: call(), reason }),
            Err(Failed { outcome: Outcome::Refused, reason, .. }) => Err(Error::Redirect { call: call(), reason }),
            Err(Failed { reason, .. }) => Err(Error::Broken { call: call(), reason }),
        }
    }
}
