//! One connection that speaks RESP, for what is too quick or too odd for `redis-cli`.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use shoal_protocol::value::{Decoder, Value, encode_request};

/// How long one reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A client that sends requests and waits for replies.
pub struct Connection {
    stream: TcpStream,
    decoder: Decoder,
}

impl Connection {
    /// Connects; `None` when nobody listens.
    pub fn open(host: &str, port: u16) -> Option<Self> {
        let stream = TcpStream::connect((host, port)).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).unwrap();
        Some(Self { stream, decoder: Decoder::new() })
    }

    /// Sets how long a reply may take.
    pub fn reply_timeout(&mut self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).unwrap();
    }

    /// Sends a request and waits for its reply; fails the test when the connection ends.
    pub fn call(&mut self, words: &[&str]) -> Value {
        self.try_call(words).unwrap_or_else(|| panic!("no reply to {words:?}"))
    }

    /// Sends a request and waits for its reply; `None` when the connection ends or no reply comes in time.
    pub fn try_call(&mut self, words: &[&str]) -> Option<Value> {
        self.try_send(words).then(|| self.try_read())?
    }

    /// Sends a request and answers with its reply as text: errors included, nothing as an empty text.
    pub fn text(&mut self, words: &[&str]) -> String {
        match self.call(words) {
            Value::Integer(number) => number.to_string(),
            value => value.as_text().unwrap_or_default().into_owned(),
        }
    }

    /// Sends a request without waiting.
    pub fn send(&mut self, words: &[&str]) {
        assert!(self.try_send(words), "connection lost");
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Waits for the next reply; fails the test when the connection ends.
    pub fn read(&mut self) -> Value {
        self.try_read().unwrap()
    }

    /// Waits for the next reply; `None` when the connection ends or none comes in time.
    pub fn try_read(&mut self) -> Option<Value> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(value) = self.decoder.next_value().unwrap() {
                return Some(value);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.decoder.feed(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads whatever comes until the other side closes or `limit` bytes have come.
    pub fn read_raw(&mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while bytes.len() < limit {
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        bytes
    }

    /// The stream below, for what this type does not offer.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn try_send(&mut self, words: &[&str]) -> bool {
        let mut request = Vec::new();
        encode_request(words, &mut request);
        self.stream.write_all(&request).is_ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
