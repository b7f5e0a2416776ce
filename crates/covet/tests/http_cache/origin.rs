//! A service whose handler does what the case says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use covet::axum::extract::Request;
use covet::cache::Ttl;
use covet::clock::{Clock, ManualClock};
use covet::prelude::*;
use covet::testing::{TestApp, TestReply};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::case::{Case, From, Step};

/// The service, its clock, and what its handler is told.
pub(crate) struct Origin {
    app: TestApp,
    hand: ManualClock,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    status: u16,
    headers: HeaderMap,
    breaks: bool,
    /// Requests that the handler has had in this case.
    asked: Vec<(Method, HeaderMap)>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let told = Arc::clone(&script);
        let app = App::new("conformance").without_database().routes(move |context| {
            let script = Arc::clone(&told);
            let handler = move |request: Request| {
                let response = act(&script, &request);
                async move { response }
            };
            // As a cache in front of a handler of which it knows nothing.
            let cache = context.response_cache(Ttl::Response).only_as_told();
            Router::new().route("/{case}", any(handler).cached(cache))
        });
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let app = TestApp::builder(app).clock(clock).set("LOG_LEVEL", "off").start().await.unwrap();
        Self { app, hand, script }
    }

    /// What is not as the case wants it; nothing if all is.
    pub(crate) async fn run(&self, case: &Case) -> Result<(), String> {
        self.script().asked.clear();
        let mut bodies: Vec<String> = Vec::new();
        for (number, step) in case.steps.iter().enumerate() {
            self.hand.advance(step.after);
            let before = self.tell(step);
            let reply = self.send(case, step).await;
            let asked: Vec<(Method, HeaderMap)> = self.script().asked.iter().skip(before).cloned().collect();
            judge(step, &reply, &asked, &bodies).map_err(|why| format!("request {}: {why}", number + 1))?;
            bodies.push(reply.text());
        }
        Ok(())
    }

    fn tell(&self, step: &Step) -> usize {
        let headers = step.answer.iter().map(|(name, value)| (HeaderName::from_static(name), self.value(value)));
        let mut script = self.script();
        script.status = step.status;
        script.breaks = step.breaks;
        script.headers = HeaderMap::new();
        for (name, value) in headers {
            script.headers.append(name, value);
        }
        script.asked.len()
    }

    async fn send(&self, case: &Case, step: &Step) -> TestReply {
        let method = Method::from_bytes(step.method.as_bytes()).unwrap();
        let path = format!("/{}{}", case.id, step.path);
        let request = self.app.request(method, &path);
        let request = step
            .sent
            .iter()
            .fold(request, |request, (name, value)| request.header(name, self.value(value).to_str().unwrap()));
        request.send().await
    }

    /// A header's value, or the date that it stands for.
    fn value(&self, text: &str) -> HeaderValue {
        let seconds = text.strip_prefix('@').and_then(|seconds| seconds.parse::<i64>().ok());
        let text = match seconds {
            Some(seconds) => self.date(seconds),
            None => text.to_owned(),
        };
        HeaderValue::from_str(&text).or_else(|_| HeaderValue::from_bytes(text.as_bytes())).unwrap()
    }

    fn date(&self, seconds: i64) -> String {
        let now = i64::try_from(self.app.context().clock().unix_millis() / 1_000).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(now + seconds).unwrap());
        httpdate::fmt_http_date(at)
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handler.
fn act(script: &Mutex<Script>, request: &Request) -> Response {
    let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
    script.asked.push((request.method().clone(), request.headers().clone()));
    assert!(!script.breaks, "the case wants it so");
    let same = |condition: &str, validator: &str| {
        let (condition, validator) = (request.headers().get(condition), script.headers.get(validator));
        condition.is_some() && condition == validator
    };
    let known = script.status == 200 && (same("if-none-match", "etag") || same("if-modified-since", "last-modified"));
    let body = if known { String::new() } else { format!("made {}", script.asked.len()) };
    let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::from_u16(script.status).unwrap() };
    let mut response = (status, body).into_response();
    if known || !request.method().is_safe() {
        response.headers_mut().clear();
    }
    for name in script.headers.keys() {
        response.headers_mut().remove(name);
    }
    for (name, value) in &script.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

fn judge(step: &Step, reply: &TestReply, asked: &[(Method, HeaderMap)], bodies: &[String]) -> Result<(), String> {
    let with = |name: &str| asked.first().is_some_and(|(_, headers)| headers.contains_key(name));
    let fine = match step.from {
        From::Anywhere => true,
        From::Cache => asked.is_empty() && reply.status() != 504,
        From::Handler => !asked.is_empty(),
        From::CacheConfirmedByTag => with("if-none-match") && (reply.status() == 304 || bodies.contains(&reply.text())),
        From::CacheConfirmedByDate => {
            with("if-modified-since") && (reply.status() == 304 || bodies.contains(&reply.text()))
        }
    };
    if !fine {
        let said = reply.header("cache-status");
        return Err(format!(
            "wanted it from {:?}; the handler was asked {} times, and the cache says {said:?}",
            step.from,
            asked.len()
        ));
    }
    if step.seen_status.is_some_and(|status| status != reply.status()) {
        return Err(format!("status {}", reply.status()));
    }
    for (name, value) in step.seen {
        let found: Vec<_> = reply
            .headers()
            .get_all(*name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        if found.join(", ") != *value {
            return Err(format!("{name} is {found:?}, not {value:?}"));
        }
    }
    if let Some(least) = step.age
        && !reply.header("age").parse::<u64>().is_ok_and(|age| age >= least)
    {
        return Err(format!("the age is {:?}, not {least} or more", reply.header("age")));
    }
    for (name, value) in step.asked_with {
        let found = asked.first().and_then(|(_, headers)| headers.get(*name)).map(|value| value.to_str().unwrap_or(""));
        if found.unwrap_or("") != *value {
            return Err(format!("the handler was asked with {name}: {found:?}, not {value:?}"));
        }
    }
    Ok(())
}
