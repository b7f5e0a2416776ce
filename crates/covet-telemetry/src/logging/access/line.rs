//! The text of an access line, as JSON and for people.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use tracing::Level;

use super::AccessLine;
use crate::logging::escape::{push_json, push_plain};
use crate::logging::human::{Palette, push_value};
use crate::logging::personal::Personal;
use crate::logging::timestamp::TimeText;
use crate::request::{RequestScope, Tally};

const PATH_BYTES: usize = 2048;
const USER_AGENT_BYTES: usize = 512;

/// `before_id` is what stands between time and request id in every line.
#[inline]
pub(super) fn push_json_line(
    out: &mut Vec<u8>,
    time: &mut TimeText,
    before_id: &[u8],
    personal: &Personal,
    line: &AccessLine<'_>,
) {
    let scope = line.scope;
    out.extend_from_slice(b"{\"timestamp\":\"");
    time.push(out, line.unix_millis);
    out.extend_from_slice(before_id);
    out.extend_from_slice(scope.id().as_bytes());
    out.extend_from_slice(b"\",\"method\":\"");
    push_json(out, line.method);
    out.extend_from_slice(b"\",\"path\":\"");
    push_json(out, cut(line.path, PATH_BYTES));
    out.extend_from_slice(b"\",\"status_code\":");
    push_integer(out, u64::from(line.status));
    out.extend_from_slice(b",\"duration_seconds\":");
    push_seconds(out, line.duration);
    out.extend_from_slice(b",\"route\":\"");
    push_json(out, line.route);
    out.extend_from_slice(b"\",\"request_bytes\":");
    push_integer(out, line.request_bytes);
    out.extend_from_slice(b",\"response_bytes\":");
    push_integer(out, line.response_bytes);
    if personal.all_is_written() {
        out.extend_from_slice(b",\"ip_address\":\"");
        push_address(out, scope.client());
        if let Some(user) = scope.user() {
            out.extend_from_slice(b"\",\"user_id\":\"");
            push_json(out, user);
        }
        out.extend_from_slice(b"\",\"user_agent\":\"");
    } else {
        push_personal(out, personal, scope);
        out.extend_from_slice(b",\"user_agent\":\"");
    }
    push_json(out, cut(line.user_agent, USER_AGENT_BYTES));
    out.extend_from_slice(b"\",\"protocol\":\"");
    push_json(out, line.protocol);
    if scope.trace().is_none() && scope.database().count() == 0 && scope.cache().count() == 0 {
        out.extend_from_slice(b"\"}\n");
    } else {
        out.push(b'"');
        push_work(out, scope);
        out.extend_from_slice(b"}\n");
    }
}

/// Address and user where a policy cuts or hides them. Apart, so that the line of every other request stays short.
#[cold]
fn push_personal(out: &mut Vec<u8>, personal: &Personal, scope: &RequestScope) {
    let address = personal.address(scope.client()).map(Cow::Owned);
    let user = scope.user().and_then(|user| personal.user(user));
    for (name, text) in [("ip_address", address), ("user_id", user)] {
        if let Some(text) = text {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":\"");
            push_json(out, &text);
            out.push(b'"');
        }
    }
}

/// The request's trace, and what database and cache did for it.
#[inline(never)]
fn push_work(out: &mut Vec<u8>, scope: &RequestScope) {
    if let Some(trace) = scope.trace() {
        out.extend_from_slice(b",\"trace_id\":\"");
        out.extend_from_slice(&trace.trace_id.hex());
        out.extend_from_slice(b"\",\"span_id\":\"");
        out.extend_from_slice(&trace.span_id.hex());
        out.push(b'"');
    }
    push_tally(out, b",\"db_count\":", b",\"db_duration_seconds\":", scope.database());
    push_tally(out, b",\"cache_count\":", b",\"cache_duration_seconds\":", scope.cache());
}

/// Nothing where nothing was done.
fn push_tally(out: &mut Vec<u8>, count_name: &[u8], duration_name: &[u8], tally: &Tally) {
    let count = tally.count();
    if count > 0 {
        out.extend_from_slice(count_name);
        push_integer(out, u64::from(count));
        out.extend_from_slice(duration_name);
        push_seconds(out, tally.duration());
    }
}

/// `… INFO  covet.api: GET /api/users 200 in 23.4 ms db=2/1.3ms request_id=… ip_address=…`
pub(super) fn push_human_line(
    out: &mut Vec<u8>,
    time: &mut TimeText,
    palette: Palette,
    personal: &Personal,
    line: &AccessLine<'_>,
) {
    let scope = line.scope;
    palette.dim(out, |out| time.push(out, line.unix_millis));
    out.push(b' ');
    palette.level(out, Level::INFO);
    out.push(b' ');
    palette.dim(out, |out| out.extend_from_slice(b"covet.api"));
    out.extend_from_slice(b": ");
    push_plain(out, line.method, "\\n");
    out.push(b' ');
    push_plain(out, cut(line.path, PATH_BYTES), "\\n");
    out.push(b' ');
    palette.status(out, line.status);
    // Writing to a Vec does not fail.
    let _ = write!(out, " in {:.1} ms", line.duration.as_secs_f64() * 1000.0);
    for (name, tally) in [("db", scope.database()), ("cache", scope.cache())] {
        if tally.count() > 0 {
            palette.name(out, name);
            let _ = write!(out, "{}/{:.1}ms", tally.count(), tally.duration().as_secs_f64() * 1000.0);
        }
    }
    palette.name(out, "request_id");
    push_value(out, scope.id().as_str());
    if let Some(address) = personal.address(scope.client()) {
        palette.name(out, "ip_address");
        push_value(out, &address);
    }
    if let Some(user) = scope.user().and_then(|user| personal.user(user)) {
        palette.name(out, "user_id");
        push_value(out, &user);
    }
    if let Some(trace) = scope.trace() {
        palette.name(out, "trace_id");
        let _ = write!(out, "{}", trace.trace_id);
    }
    out.push(b'\n');
}

/// At most `limit` bytes, not inside a character.
#[inline]
fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let boundary = (0..=limit).rev().find(|at| text.is_char_boundary(*at));
    &text[..boundary.unwrap_or(0)]
}

#[inline]
fn push_integer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Seconds with up to six decimals and at least one: `0.0234`.
#[inline]
fn push_seconds(out: &mut Vec<u8>, duration: Duration) {
    push_integer(out, duration.as_secs());
    let mut micros = duration.subsec_micros();
    let mut decimals = *b".000000";
    for digit in decimals[1..].iter_mut().rev() {
        *digit += (micros % 10) as u8;
        micros /= 10;
    }
    let last = decimals.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
    out.extend_from_slice(&decimals[..=last.max(1)]);
}

#[inline]
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_integer(out, u64::from(octet));
            }
        }
        // Writing to a Vec does not fail.
        IpAddr::V6(address) => _ = write!(out, "{address}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use covet_core::ids::RequestId;
    use covet_core::settings::{Section as _, Sources};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::settings::LogSettings;
    use crate::traces::TraceContext;

    const BEFORE_ID: &[u8] = b"\",\"level\":\"INFO\",\"logger\":\"covet.api\",\"service\":\"covet\",\
        \"message\":\"HTTP request completed\",\"request_id\":\"";

    /// The request of [`sample`], with these fields beside those of every line.
    fn scope(address: IpAddr, user: Option<&str>) -> RequestScope {
        let id = RequestId::parse(b"0199cdd2-7a5b-7cc0-8000-000000000001").unwrap();
        let scope = RequestScope::new(id, address);
        user.into_iter().for_each(|user| scope.set_user(user));
        scope
    }

    static SCOPE: LazyLock<RequestScope> = LazyLock::new(|| scope(IpAddr::from([192, 0, 2, 10]), Some("42")));

    fn sample() -> AccessLine<'static> {
        AccessLine {
            unix_millis: 1_760_097_784_123,
            scope: &SCOPE,
            method: "GET",
            path: "/api/users",
            status: 200,
            duration: Duration::from_micros(23_400),
            route: "/api/users",
            request_bytes: 0,
            response_bytes: 512,
            user_agent: "curl/8.5.0",
            protocol: "HTTP/1.1",
        }
    }

    fn personal(variables: &[(&'static str, &str)]) -> Personal {
        Personal::new(&LogSettings::load(Sources::of(variables.iter().copied())).unwrap())
    }

    fn json(line: &AccessLine<'_>) -> String {
        json_with(&[], line)
    }

    fn json_with(variables: &[(&'static str, &str)], line: &AccessLine<'_>) -> String {
        let mut out = Vec::new();
        push_json_line(&mut out, &mut TimeText::new(), BEFORE_ID, &personal(variables), line);
        String::from_utf8(out).unwrap()
    }

    fn human(line: &AccessLine<'_>, coloured: bool) -> String {
        let mut out = Vec::new();
        push_human_line(&mut out, &mut TimeText::new(), Palette::new(coloured), &personal(&[]), line);
        String::from_utf8(out).unwrap()
    }

    /// A request with everything that a line can tell.
    fn busy() -> RequestScope {
        let trace = TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let scope = scope(IpAddr::from([192, 0, 2, 10]), Some("42")).with_trace(trace);
        scope.database().add(Duration::from_micros(900));
        scope.database().add(Duration::from_micros(400));
        scope.cache().add(Duration::from_micros(70));
        scope
    }

    #[test]
    fn a_json_line_has_the_documented_fields_in_their_order() {
        insta::assert_snapshot!(json(&sample()), @r#"{"timestamp":"2025-10-10T12:03:04.123Z","level":"INFO","logger":"covet.api","service":"covet","message":"HTTP request completed","request_id":"0199cdd2-7a5b-7cc0-8000-000000000001","method":"GET","path":"/api/users","status_code":200,"duration_seconds":0.0234,"route":"/api/users","request_bytes":0,"response_bytes":512,"ip_address":"192.0.2.10","user_id":"42","user_agent":"curl/8.5.0","protocol":"HTTP/1.1"}"#);
    }

    #[test]
    fn trace_database_and_cache_are_there_when_the_request_has_them() {
        let scope = busy();
        let line = AccessLine { scope: &scope, ..sample() };
        let value: Value = serde_json::from_str(&json(&line)).unwrap();
        assert_eq!(value["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(value["span_id"], "b7ad6b7169203331");
        assert_eq!((&value["db_count"], &value["db_duration_seconds"]), (&2.into(), &0.0013.into()));
        assert_eq!((&value["cache_count"], &value["cache_duration_seconds"]), (&1.into(), &0.00007.into()));
        let line = human(&line, false);
        assert!(line.contains(" db=2/1.3ms cache=1/0.1ms ") && line.contains("trace_id=0af76519"), "{line}");
    }

    #[test]
    fn address_and_user_are_written_as_the_policy_says() {
        let value = |policy: &str, user: &str| -> Value {
            let variables = [("COVET_LOG__IP_ADDRESS", policy), ("COVET_LOG__USER_ID", user)];
            serde_json::from_str(&json_with(&variables, &sample())).unwrap()
        };
        let truncated = value("truncated", "off");
        assert_eq!(truncated["ip_address"], "192.0.2.0");
        assert!(truncated.get("user_id").is_none());
        let hashed = value("hashed", "hashed");
        for field in ["ip_address", "user_id"] {
            assert!(hashed[field].as_str().unwrap().starts_with("hash:"), "{hashed}");
        }
        assert!(value("off", "full").get("ip_address").is_none());
    }

    #[test]
    fn nobody_signed_in_is_no_field() {
        let scope = scope(IpAddr::from([192, 0, 2, 10]), None);
        let line = json(&AccessLine { scope: &scope, ..sample() });
        assert!(!line.contains("user_id"), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["user_agent"], "curl/8.5.0");
    }

    #[test]
    fn a_line_for_people_reads_as_a_sentence() {
        insta::assert_snapshot!(human(&sample(), false), @"2025-10-10T12:03:04.123Z INFO  covet.api: GET /api/users 200 in 23.4 ms request_id=0199cdd2-7a5b-7cc0-8000-000000000001 ip_address=192.0.2.10 user_id=42");
        assert!(human(&AccessLine { status: 503, ..sample() }, true).contains("\u{1b}[1;31m503\u{1b}[0m"));
    }

    #[test]
    fn a_path_cannot_forge_a_line() {
        let hostile = AccessLine { path: "/\n{\"level\":\"ERROR\"}\u{1b}[2J", user_agent: "\"\\\u{0}", ..sample() };
        let line = json(&hostile);
        assert_eq!(line.lines().count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["path"], hostile.path);
        assert_eq!(value["user_agent"], hostile.user_agent);
        let line = human(&hostile, false);
        assert!(line.lines().count() == 1 && !line.contains('\u{1b}'), "{line:?}");
    }

    #[test]
    fn very_long_texts_are_cut_between_characters() {
        let long = "ä".repeat(2000);
        let value: Value =
            serde_json::from_str(&json(&AccessLine { path: &long, user_agent: &long, ..sample() })).unwrap();
        assert_eq!(value["path"].as_str().unwrap().len(), PATH_BYTES);
        assert_eq!(value["user_agent"].as_str().unwrap().len(), USER_AGENT_BYTES);
    }

    #[test]
    fn durations_are_seconds_with_as_many_decimals_as_needed() {
        for (duration, text) in [
            (Duration::ZERO, "0.0"),
            (Duration::from_nanos(999), "0.0"),
            (Duration::from_micros(1), "0.000001"),
            (Duration::from_micros(23_400), "0.0234"),
            (Duration::from_micros(999_999), "0.999999"),
            (Duration::from_secs(60), "60.0"),
            (Duration::from_millis(61_050), "61.05"),
        ] {
            let mut out = Vec::new();
            push_seconds(&mut out, duration);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn every_line_is_json_with_what_went_in(
            path in any::<String>(), user_agent in "[ -\u{ff}]{0,40}", user in any::<Option<String>>(),
            micros in 0_u64..1 << 40, bytes in any::<u64>(), address in any::<IpAddr>(),
        ) {
            let scope = scope(address, user.as_deref());
            let line = AccessLine {
                path: &path, user_agent: &user_agent, scope: &scope,
                duration: Duration::from_micros(micros), response_bytes: bytes, ..sample()
            };
            let value: Value = serde_json::from_str(&json(&line)).unwrap();
            prop_assert_eq!(value["path"].as_str(), Some(path.as_str()));
            prop_assert_eq!(value["user_agent"].as_str(), Some(user_agent.as_str()));
            prop_assert_eq!(value.get("user_id").and_then(Value::as_str), user.as_deref());
            prop_assert_eq!(value["response_bytes"].as_u64(), Some(bytes));
            prop_assert_eq!(value["ip_address"].as_str().unwrap(), address.to_string());
            let seconds = value["duration_seconds"].as_f64().unwrap();
            prop_assert!((seconds - line.duration.as_secs_f64()).abs() < 1e-6);
        }
    }
}
