//! Fills a server through one connection, in pipelines.

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
