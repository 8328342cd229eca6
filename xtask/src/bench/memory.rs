//! Resident bytes per key.

use super::report::Row;
use super::server::{Kind, Server};
use super::{Size, loader};
use crate::Outcome;

/// Most resident bytes per key with a value of 64 bytes.
const STRING_LIMIT: f64 = 115.0;
/// Most resident bytes per key with a number as its value.
const INTEGER_LIMIT: f64 = 46.0;
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
    let text = "x".repeat(64);
    loader::load(port, 0..keys, |number| {
        let value = if values == Values::Strings { text.clone() } else { (1_000_000 + number).to_string() };
        vec!["SET".to_owned(), format!("key:{number:012}"), value]
    })
}
