//! A blocking HTTP/1.1 client of one connection: enough to verify an answer, await readiness and hold a connection idle.
//! The load comes from `wrk` (see [`crate::load`]).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use socket2::{Domain, Socket, Type};

/// No answer of a server on this machine takes longer, unless the server hangs.
const TIME_LIMIT: Duration = Duration::from_secs(10);
const LONGEST_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A header of a request.
pub(crate) type Header<'a> = (&'a str, &'a str);

/// An open keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection(TcpStream);

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this (lower-case) name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Self::prepare(TcpStream::connect_timeout(&address, TIME_LIMIT)?)
    }

    /// Connects from the given local address, so that more connections fit than one address has ports.
    ///
    /// # Errors
    /// Nobody listens there, or files or ports have run out.
    pub(crate) fn open_from(source: Ipv4Addr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect_timeout(&address.into(), TIME_LIMIT)?;
        Self::prepare(socket.into())
    }

    fn prepare(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        stream.set_write_timeout(Some(TIME_LIMIT))?;
        Ok(Self(stream))
    }

    /// Asks for a path and reads the whole answer; the connection stays usable.
    ///
    /// # Errors
    /// The connection breaks, the answer is not HTTP/1.1 or takes too long.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask(path, &[])?;
        self.receive()
    }

    /// Asks for a path; [`Connection::receive`] waits for the answer.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn ask(&mut self, path: &str, headers: &[Header<'_>]) -> anyhow::Result<()> {
        self.request("GET", path, headers)
    }

    /// Sends a request without a body; [`Connection::receive`] waits for the answer.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[Header<'_>]) -> anyhow::Result<()> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = if method == "GET" { "" } else { "content-length: 0\r\n" };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}{headers}\r\n");
        Ok(self.0.write_all(head.as_bytes())?)
    }

    /// Reads the whole answer to one question.
    ///
    /// # Errors
    /// As for [`Connection::get`].
    pub(crate) fn receive(&mut self) -> anyhow::Result<Answer> {
        self.read_until(|received| {
            let Some((mut answer, head_length)) = parse_head(received)? else { return Ok(None) };
            let length: usize = answer
                .header("content-length")
                .context("an answer without content-length; the harness reads no chunked bodies")?
                .parse()
                .context("content-length is not a number")?;
            answer.body = received[head_length..].to_vec();
            Ok((answer.body.len() >= length).then_some(answer))
        })
    }

    /// Reads the head of an answer and gives the connection up, since the end of the body is not looked for.
    ///
    /// # Errors
    /// As for [`Connection::get`].
    pub(crate) fn receive_head(mut self) -> anyhow::Result<Answer> {
        self.read_until(|received| Ok(parse_head(received)?.map(|(answer, _)| answer)))
    }

    fn read_until(&mut self, parse: impl Fn(&[u8]) -> anyhow::Result<Option<Answer>>) -> anyhow::Result<Answer> {
        let mut received = Vec::with_capacity(1024);
        let mut chunk = [0; 16 * 1024];
        loop {
            let count = self.0.read(&mut chunk)?;
            if count == 0 {
                bail!("the server closed the connection before its answer was whole");
            }
            received.extend_from_slice(&chunk[..count]);
            if let Some(answer) = parse(&received)? {
                return Ok(answer);
            }
            if received.len() > LONGEST_ANSWER_BYTES {
                bail!("the answer is longer than {LONGEST_ANSWER_BYTES} bytes");
            }
        }
    }

    /// Whether the server still holds the connection: nothing to read, and no end.
    ///
    /// # Errors
    /// The socket cannot be asked.
    pub(crate) fn is_open(&self) -> anyhow::Result<bool> {
        self.0.set_nonblocking(true)?;
        let answer = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false)?;
        Ok(matches!(answer, Err(error) if error.kind() == ErrorKind::WouldBlock))
    }
}

/// The answer without its body, and where the body begins, once the head is there.
fn parse_head(received: &[u8]) -> anyhow::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_length) = head.parse(received).context("not an HTTP/1.1 answer")? else {
        return Ok(None);
    };
    let status = head.code.context("an answer without a status")?;
    let headers = head
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    Ok(Some((Answer { status, headers, body: Vec::new() }, head_length)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::Connection;

    const WHOLE: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-One: 1\r\n\r\nno";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n";

    /// A connection to somebody who sends these pieces, one after the other.
    fn connection(pieces: &'static [&'static [u8]]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            pieces.iter().for_each(|piece| stream.write_all(piece).unwrap());
        });
        Connection::open(address).unwrap()
    }

    #[test]
    fn an_answer_is_whole_when_its_last_byte_is_there() {
        let answer = connection(&[WHOLE]).receive().unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), answer.header("x-one")), (404, &b"no"[..], Some("1")));
        let (head, body) = WHOLE.split_at(WHOLE.len() - 1);
        let pieces = Box::leak(Box::new([head, body]));
        assert_eq!(connection(pieces).receive().unwrap().body, b"no");
        assert!(connection(Box::leak(Box::new([head]))).receive().is_err());
    }

    #[test]
    fn of_a_body_of_unknown_length_only_the_head_is_read() {
        assert!(connection(&[CHUNKED]).receive().is_err());
        assert_eq!(connection(&[CHUNKED]).receive_head().unwrap().header("transfer-encoding"), Some("chunked"));
    }
}
