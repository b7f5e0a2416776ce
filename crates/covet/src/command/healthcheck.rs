//! `healthcheck`: for containers without curl. Asks the running service over HTTP and says which check failed.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use covet_core::settings::Loaded;
use covet_http::settings::{HttpSettings, OperatorSettings};
use serde_json::Value;

use super::{print, say};

/// A probe's patience: `/health/ready` answers within the time limit of one check.
const TIMEOUT: Duration = Duration::from_secs(8);

pub(super) fn run(loaded: &Loaded, live: bool) -> ExitCode {
    let path = if live { "/health/live" } else { "/health/ready" };
    let http = loaded.get::<HttpSettings>();
    let (host, port) = match &http.tls_certificate {
        None => (http.host, http.port),
        // The operator's port speaks plain HTTP and answers the same question.
        Some(_) => {
            let operator = loaded.get::<OperatorSettings>();
            (operator.host, operator.port)
        }
    };
    let address = SocketAddr::new(reachable(host), port);
    match ask(address, path) {
        Ok((200, _)) => {
            print("ready\n");
            ExitCode::SUCCESS
        }
        Ok((status, body)) => {
            say(&format!("not ready: {address}{path} answered {status}"));
            for line in failures(&body) {
                say(&format!("  {line}"));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("not ready: {address} does not answer: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// "All addresses" is a place to listen, not one to call.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: covet-healthcheck\r\n\r\n")?;
    let mut answer = String::new();
    // Far more than a health report; whoever answers more is not our service.
    stream.take(1024 * 1024).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    status
        .map(|status| (status, body))
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// `database: no answer within 2000 ms`, a line for each check that is not healthy.
fn failures(body: &str) -> Vec<String> {
    let Ok(report) = serde_json::from_str::<Value>(body) else { return Vec::new() };
    let mut lines: Vec<String> = report["reason"].as_str().map(str::to_owned).into_iter().collect();
    let checks = report["checks"].as_object().into_iter().flatten();
    lines.extend(checks.filter(|(_, check)| check["status"] != "healthy").map(|(name, check)| {
        let reason = check["reason"].as_str().unwrap_or("no reason given");
        format!("{name}: {} ({reason})", check["status"].as_str().unwrap_or("unknown"))
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failed_check_is_named() {
        let body = r#"{"status":"unhealthy","checks":{"database":{"status":"unhealthy","reason":"no answer within 2000 ms"},
            "memory":{"status":"healthy"}}}"#;
        assert_eq!(failures(body), ["database: unhealthy (no answer within 2000 ms)"]);
        assert_eq!(failures(r#"{"reason":"shutting down","checks":{}}"#), ["shutting down"]);
        assert!(failures("<html>").is_empty());
    }

    #[test]
    fn a_service_on_all_addresses_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0".parse().unwrap()).to_string(), "127.0.0.1");
        assert_eq!(reachable("::".parse().unwrap()).to_string(), "::1");
        assert_eq!(reachable("10.1.2.3".parse().unwrap()).to_string(), "10.1.2.3");
    }
}
