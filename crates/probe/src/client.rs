//! A client that waits for every reply.

use shoal_protocol::value::{Decoder, Value, encode_request};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take from a server that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects within `connect_timeout`, for requests that are answered within `reply_timeout`; `None` if nobody listens.
    pub fn connect(target: SocketAddr, connect_timeout: Duration, reply_timeout: Duration) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&target, connect_timeout).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(reply_timeout)).ok()?;
        stream.set_write_timeout(Some(reply_timeout)).ok()?;
        Some(Self { stream, decoder: Decoder::new(), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Connects to a server on this machine, which may take its time.
    pub fn open(port: u16) -> Option<Self> {
        Self::connect(SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE, PATIENCE)
    }

    /// Sends a request and waits for its reply; `None` when the connection ends.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Option<Value> {
        let mut request = Vec::new();
        encode_request(words, &mut request);
        self.stream.write_all(&request).ok()?;
        loop {
            if let Some(value) = self.decoder.next_value().ok()? {
                return Some(value);
            }
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(count) => self.decoder.feed(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// The reply as text, errors included; an empty text when the connection ends.
    pub fn text(&mut self, words: &[&str]) -> String {
        match self.call(words) {
            Some(Value::Integer(number)) => number.to_string(),
            Some(value) => value.as_text().map(|text| text.into_owned()).unwrap_or_default(),
            None => String::new(),
        }
    }

    /// A field of INFO.
    pub fn info(&mut self, field: &str) -> String {
        let text = self.text(&["INFO", "everything"]);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }
}
