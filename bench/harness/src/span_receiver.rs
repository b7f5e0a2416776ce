//! Where the measured servers send their spans: an OTLP/HTTP receiver that counts traces and throws them away.
//!
//! A healthy receiver costs a server what it costs in production; one that is not there would cost connection attempts, or
//! nothing at all, depending on the exporter. It runs in the harness, whose time is not the server's.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, bail};

use crate::terminal;

const LARGEST_EXPORT_BYTES: usize = 64 * 1024 * 1024;
/// An empty `ExportTraceServiceResponse`: everything was taken.
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

type TraceId = [u8; 16];

/// A receiver that listens as long as the harness runs.
#[derive(Debug)]
pub(crate) struct SpanReceiver {
    address: SocketAddr,
    traces: Arc<Mutex<HashSet<TraceId>>>,
}

impl SpanReceiver {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening for spans")?;
        let receiver = Self { address: listener.local_addr()?, traces: Arc::default() };
        let traces = Arc::clone(&receiver.traces);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let traces = Arc::clone(&traces);
                thread::spawn(move || {
                    if let Err(error) = serve(stream, &traces) {
                        terminal::warn(&format!("an export of spans cannot be read: {error:#}"));
                    }
                });
            }
        });
        Ok(receiver)
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many traces have arrived since the last call. What a server held back arrives until it has ended.
    pub(crate) fn take_traces(&self) -> u64 {
        std::mem::take(&mut *self.traces.lock().unwrap_or_else(PoisonError::into_inner)).len() as u64
    }
}

/// One exporter's connection, until it closes it.
fn serve(mut stream: TcpStream, traces: &Mutex<HashSet<TraceId>>) -> anyhow::Result<()> {
    let mut received = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        while let Some((head_length, body_length)) = head(&received)? {
            let end = head_length + body_length;
            if received.len() < end {
                break;
            }
            let found = trace_ids(&received[head_length..end])?;
            traces.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
            received.drain(..end);
            stream.write_all(TAKEN)?;
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => received.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Lengths of head and body, once the head is there.
fn head(received: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_length) = head.parse(received).context("not an HTTP/1.1 request")? else {
        return Ok(None);
    };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("an export without content-length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse().context("content-length is not a number")?;
    if length > LARGEST_EXPORT_BYTES {
        bail!("an export of {length} bytes");
    }
    Ok(Some((head_length, length)))
}

/// The trace ids of an `ExportTraceServiceRequest`: `resource_spans` (1) → `scope_spans` (2) → `spans` (2) → `trace_id` (1).
fn trace_ids(request: &[u8]) -> anyhow::Result<Vec<TraceId>> {
    let mut ids = Vec::new();
    for resource in fields(request, 1)? {
        for scope in fields(resource, 2)? {
            for span in fields(scope, 2)? {
                let id = fields(span, 1)?.into_iter().next().context("a span without a trace id")?;
                ids.push(id.try_into().context("a trace id that is not 16 bytes long")?);
            }
        }
    }
    Ok(ids)
}

/// The values of a length-delimited field in a protobuf message (<https://protobuf.dev/programming-guides/encoding/>).
fn fields(mut message: &[u8], wanted: u64) -> anyhow::Result<Vec<&[u8]>> {
    const CUT_OFF: &str = "a protobuf message is cut off";
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message).context(CUT_OFF)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message).context(CUT_OFF)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message).context(CUT_OFF)?)?,
            5 => 4,
            other => bail!("protobuf wire type {other}"),
        };
        let (value, rest) = message.split_at_checked(length).context(CUT_OFF)?;
        message = rest;
        if key == wanted << 3 | 2 {
            found.push(value);
        }
    }
    Ok(found)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for position in 0..10 {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::{SpanReceiver, trace_ids};

    /// A length-delimited field.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(value.len()).unwrap();
        assert!(length < 0x80);
        [&[number << 3 | 2, length], value].concat()
    }

    /// Spans with a trace id and, before and after it, fields of every other wire type.
    fn export(ids: &[u8]) -> Vec<u8> {
        let (varint, fixed32, fixed64) =
            ([6 << 3, 0x83, 0x01], [8 << 3 | 5, 0, 0, 0, 0], [7 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let span =
            |id: &u8| field(2, &[&varint[..], &field(1, &[*id; 16]), &field(5, b"GET"), &fixed64, &fixed32].concat());
        field(1, &[field(1, b"resource"), field(2, &ids.iter().flat_map(span).collect::<Vec<_>>())].concat())
    }

    #[test]
    fn the_trace_ids_of_all_spans_are_found() {
        assert_eq!(trace_ids(&export(&[1, 2])).unwrap(), [[1; 16], [2; 16]]);
        assert_eq!(trace_ids(&[]).unwrap(), [[0; 16]; 0]);
        let export = export(&[1]);
        assert!(trace_ids(&export[..export.len() - 1]).is_err());
    }

    #[test]
    fn exports_over_one_connection_are_taken_and_traces_counted_once() {
        let receiver = SpanReceiver::start().unwrap();
        let mut stream = TcpStream::connect(receiver.address).unwrap();
        for ids in [&[1, 2][..], &[2, 3]] {
            let export = export(ids);
            let head = format!("POST /v1/traces HTTP/1.1\r\nContent-Length: {}\r\n\r\n", export.len());
            stream.write_all(&[head.as_bytes(), &export].concat()).unwrap();
            let mut answer = [0; super::TAKEN.len()];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, super::TAKEN);
        }
        assert_eq!(receiver.take_traces(), 3);
        assert_eq!(receiver.take_traces(), 0);
    }
}
