//! Resident bytes per key.

use super::Size;
use super::report::Row;
use super::server::{Kind, Server};
use crate::Outcome;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Most resident bytes per key with a value of 64 bytes.
const STRING_LIMIT: f64 = 115.0;
/// Most resident bytes per key with a number as its value.
const INTEGER_LIMIT: f64 = 46.0;
/// Requests that are under way while keys are loaded.
const PIPELINE: u64 = 64;

/// Keys that are loaded, and left, before the measurement begins.
const WARM_KEYS: u64 = 1000;

/// Values to load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// 64 bytes each.
    Strings,
    /// A number of seven digits, larger than those a server may share.
    Integers,
}

/// Keys of 16 bytes, with strings and with numbers, at each size.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (values, name, limit) in
        [(Values::Strings, "64-byte string", STRING_LIMIT), (Values::Integers, "integer", INTEGER_LIMIT)]
    {
        for &keys in size.keys {
            let ours = bytes_per_key(Kind::Shoal, binary, values, keys)?;
            let theirs = bytes_per_key(Kind::Redis, binary, values, keys)?;
            let name = format!("resident, 16-byte key + {name}, {:.1} M keys", keys as f64 / 1e6);
            rows.push(Row::below(name, "bytes/key", ours, theirs, limit));
        }
    }
    Ok(rows)
}

fn bytes_per_key(kind: Kind, binary: &str, values: Values, keys: u64) -> Outcome<f64> {
    let server = Server::start(kind, binary)?;
    let load = |keys| load(server.port, values, keys).map_err(|error| format!("loading {kind:?}: {error}"));
    // Code, buffers and the allocator's own needs come into memory with the first keys and are no keys' share.
    load(WARM_KEYS)?;
    let before = server.resident_bytes();
    load(keys)?;
    Ok(server.resident_bytes().saturating_sub(before) as f64 / (keys - WARM_KEYS) as f64)
}

/// Sets so many keys, in pipelines.
pub fn load(port: u16, values: Values, keys: u64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let text = "x".repeat(64);
    let mut requests = Vec::new();
    let mut replies = vec![0; PIPELINE as usize * b"+OK\r\n".len()];
    let mut next = 0;
    while next < keys {
        requests.clear();
        let end = (next + PIPELINE).min(keys);
        for number in next..end {
            let value =
                if values == Values::Strings { text.clone() } else { (1_000_000 + number).to_string() };
            let length = value.len();
            write!(requests, "*3\r\n$3\r\nSET\r\n$16\r\nkey:{number:012}\r\n${length}\r\n{value}\r\n")?;
        }
        stream.write_all(&requests)?;
        let expected = (end - next) as usize * b"+OK\r\n".len();
        let replies = replies.get_mut(..expected).unwrap_or_default();
        stream.read_exact(replies)?;
        if !replies.chunks(5).all(|reply| reply == b"+OK\r\n") {
            return Err(std::io::Error::other(String::from_utf8_lossy(replies).into_owned()));
        }
        next = end;
    }
    Ok(())
}
