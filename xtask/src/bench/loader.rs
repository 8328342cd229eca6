//! Fills a server through one connection, in pipelines; and a client for single requests.

use crate::Outcome;
use shoal_protocol::value::{Decoder, Value, encode_request};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

/// Requests that are under way.
const PIPELINE: u64 = 64;

/// Sends one request for each number; an error in a reply ends it.
pub fn load<W: AsRef<[u8]>>(
    port: u16,
    numbers: Range<u64>,
    request: impl Fn(u64) -> Vec<W>,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut decoder = Decoder::new();
    let mut requests = Vec::new();
    let mut next = numbers.start;
    while next < numbers.end {
        requests.clear();
        let end = (next + PIPELINE).min(numbers.end);
        for number in next..end {
            encode_request(&request(number), &mut requests);
        }
        stream.write_all(&requests)?;
        receive(&mut stream, &mut decoder, end - next)?;
        next = end;
    }
    Ok(())
}

/// Reads so many replies.
fn receive(stream: &mut TcpStream, decoder: &mut Decoder, mut count: u64) -> std::io::Result<()> {
    let mut chunk = [0; 65536];
    while count > 0 {
        match decoder.next_value() {
            Ok(Some(Value::Error(text))) => {
                return Err(Error::other(String::from_utf8_lossy(&text).into_owned()));
            }
            Ok(Some(_)) => count -= 1,
            Ok(None) => match stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                length => decoder.feed(chunk.get(..length).unwrap_or_default()),
            },
            Err(error) => return Err(Error::other(error.to_string())),
        }
    }
    Ok(())
}

/// A connection on which one request waits for the one before.
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
}

impl Client {
    /// Connects to a server of this machine.
    pub fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, decoder: Decoder::new() })
    }

    /// The reply to a request.
    pub fn ask(&mut self, words: &[&str]) -> std::io::Result<Value> {
        let mut request = Vec::new();
        encode_request(words, &mut request);
        self.stream.write_all(&request)?;
        let mut chunk = [0; 16384];
        loop {
            match self.decoder.next_value() {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => match self.stream.read(&mut chunk)? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    length => self.decoder.feed(chunk.get(..length).unwrap_or_default()),
                },
                Err(error) => return Err(Error::other(error.to_string())),
            }
        }
    }

    /// Sends a request whose reply is to be this status.
    pub fn expect(&mut self, status: &str, words: &[&str]) -> Outcome<()> {
        match self.ask(words) {
            Ok(Value::Simple(text))
                if status.strip_prefix('+').is_some_and(|status| status.as_bytes() == text) =>
            {
                Ok(())
            }
            Ok(other) => Err(format!("{words:?}: {other:?}")),
            Err(error) => Err(format!("{words:?}: {error}")),
        }
    }

    /// A field of a section of INFO, empty if it is not there.
    pub fn info_text(&mut self, section: &str, field: &str) -> Outcome<String> {
        let text = match self.ask(&["INFO", section]).map_err(|error| format!("INFO: {error}"))? {
            Value::Bulk(text) | Value::Verbatim { text, .. } => String::from_utf8_lossy(&text).into_owned(),
            other => return Err(format!("INFO: {other:?}")),
        };
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.unwrap_or_default().to_owned())
    }

    /// A number anywhere in INFO.
    pub fn info(&mut self, field: &str) -> Outcome<f64> {
        let text = self.info_text("everything", field)?;
        text.parse().map_err(|_| format!("INFO: {field} is '{text}'"))
    }
}
