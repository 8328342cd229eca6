//! Resident bytes per element of each data type.

use super::Size;
use super::loader::load;
use super::report::Row;
use super::server::{Kind, Server};
use crate::Outcome;

/// Elements that are added, and left, before the measurement begins.
const WARM: u64 = 1000;

/// One kind of element, and the request that adds one.
struct Case {
    name: &'static str,
    unit: &'static str,
    /// Most bytes; in any case no more than Redis needs.
    limit: Option<f64>,
    /// So many of them share one round of the measurement: large ones are fewer.
    divisor: u64,
    request: fn(u64) -> Vec<String>,
}

const CASES: &[Case] = &[
    Case {
        name: "sorted-set member of 16 bytes",
        unit: "bytes/member",
        limit: Some(65.0),
        divisor: 1,
        request: |number| words(&["ZADD", "scores", &number.to_string(), &format!("member:{number:09}")]),
    },
    Case {
        name: "set member of 16 bytes",
        unit: "bytes/member",
        limit: Some(40.0),
        divisor: 1,
        request: |number| words(&["SADD", "members", &format!("member:{number:09}")]),
    },
    Case {
        name: "set member, an integer",
        unit: "bytes/member",
        limit: None,
        divisor: 1,
        request: |number| words(&["SADD", "numbers", &(number * 7919).to_string()]),
    },
    Case {
        name: "field of 15 and value of 12 bytes in one hash",
        unit: "bytes/field",
        limit: Some(65.0),
        divisor: 1,
        request: |number| {
            words(&[
                "HSET",
                "table",
                &format!("field:{number:09}"),
                &format!("value:{:06}", number % 1_000_000),
            ])
        },
    },
    Case {
        name: "hash of 10 fields (6 and 10 bytes), 16-byte key",
        unit: "bytes/hash",
        limit: Some(300.0),
        divisor: 5,
        request: |number| {
            let mut request = words(&["HSET", &format!("hash:{number:011}")]);
            for field in 0..10 {
                request.extend([format!("field{field}"), format!("value{:05}", (number + field) % 100_000)]);
            }
            request
        },
    },
    Case {
        name: "list element of 32 bytes",
        unit: "bytes/element",
        limit: Some(36.0),
        divisor: 1,
        request: |number| words(&["RPUSH", "elements", &format!("element:{number:024}")]),
    },
    Case {
        name: "stream entry, 5-byte field and 12-byte value",
        unit: "bytes/entry",
        limit: None,
        divisor: 1,
        request: |number| {
            words(&["XADD", "entries", "*", "field", &format!("value:{:06}", number % 1_000_000)])
        },
    },
];

/// All kinds.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let row = |case: &Case| {
        let count = size.elements / case.divisor;
        let ours = bytes_per_element(Kind::Shoal, binary, case, count)?;
        let theirs = bytes_per_element(Kind::Redis, binary, case, count)?;
        let name = format!("resident, {}, {:.1} M", case.name, count as f64 / 1e6);
        Ok(Row::below_both(name, case.unit, ours, theirs, case.limit))
    };
    CASES.iter().map(row).collect()
}

fn bytes_per_element(kind: Kind, binary: &str, case: &Case, count: u64) -> Outcome<f64> {
    let server = Server::start(kind, binary)?;
    let add = |numbers| {
        load(server.port, numbers, case.request).map_err(|error| format!("{}, {kind:?}: {error}", case.name))
    };
    // Code, buffers and the allocator's own needs come into memory with the first elements and are no element's share.
    add(0..WARM)?;
    let before = server.resident_bytes();
    add(WARM..count)?;
    Ok(server.resident_bytes().saturating_sub(before) as f64 / (count - WARM) as f64)
}

/// A request as the loader takes it.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
