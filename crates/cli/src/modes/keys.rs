//! `--bigkeys` and `--memkeys`: the biggest key of each type, and how much there is of each type.

use super::connection;
use super::scan::survey;
use crate::console::{err, out};
use crate::exit::{Step, fail};
use crate::session::Session;
use crate::text::lossy;
use shoal_protocol::quoting::quote;
use shoal_protocol::value::Value;

/// What is measured of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Bytes of a string, elements of anything else.
    Elements,
    /// Bytes of memory. With 0 samples the server decides how many elements it looks at.
    Memory { samples: i64 },
}

/// The types every server has: name, command of the length, unit.
const TYPES: &[(&str, &str, &str)] = &[
    ("string", "STRLEN", "bytes"),
    ("list", "LLEN", "items"),
    ("set", "SCARD", "members"),
    ("hash", "HLEN", "fields"),
    ("zset", "ZCARD", "members"),
    ("stream", "XLEN", "entries"),
];

/// What was found of one type.
struct Found {
    name: String,
    /// The command of the length; modules' types have none.
    length_command: Option<&'static str>,
    unit: &'static str,
    count: u64,
    total: u64,
    biggest: u64,
    biggest_key: Option<String>,
}

impl Found {
    fn new(name: &str, length_command: Option<&'static str>, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            length_command,
            unit,
            count: 0,
            total: 0,
            biggest: 0,
            biggest_key: None,
        }
    }
}

/// Looks at every key.
pub(super) fn run(session: &mut Session, measure: Measure) -> Step {
    let mut found: Vec<_> =
        TYPES.iter().map(|(name, command, unit)| Found::new(name, Some(command), unit)).collect();
    let unit = |found: &Found| if measure == Measure::Elements { found.unit } else { "bytes" };
    let mut name_bytes = 0u64;
    let sampled = survey(session, "biggest", |session, keys, progress| {
        let types = types_of(session, keys, &mut found)?;
        let sizes = sizes_of(session, keys, &types, &found, measure)?;
        for ((key, index), size) in keys.iter().zip(types).zip(sizes) {
            let Some(index) = index else { continue };
            let entry = &mut found[index];
            entry.total += size;
            entry.count += 1;
            name_bytes += key.len() as u64;
            if entry.biggest < size {
                let key = quote(key);
                let (percent, name, unit) = (progress.percent, &entry.name, unit(entry));
                out!("[{percent:05.2}%] Biggest {name:<6} found so far '{key}' with {size} {unit}\n");
                entry.biggest = size;
                entry.biggest_key = Some(key);
            }
            progress.count();
        }
        Ok(())
    })?;
    out!("Total key length in bytes is {name_bytes} (avg len {:.2})\n\n", ratio(name_bytes, sampled));
    for entry in &found {
        if let Some(key) = &entry.biggest_key {
            out!("Biggest {:>6} found '{key}' has {} {}\n", entry.name, entry.biggest, unit(entry));
        }
    }
    out!("\n");
    for entry in &found {
        let Found { name, count, total, .. } = entry;
        let (share, average) = (100.0 * ratio(*count, sampled), ratio(*total, *count));
        out!("{count} {name}s with {total} {} ({share:05.2}% of keys, avg size {average:.2})\n", unit(entry));
    }
    Ok(())
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The type of each key, as an index into `found`; `None` for a key that is gone. New types are added.
fn types_of(session: &mut Session, keys: &[Vec<u8>], found: &mut Vec<Found>) -> Step<Vec<Option<usize>>> {
    let connection = connection(session)?;
    keys.iter().for_each(|key| connection.queue(&[b"TYPE", key.as_slice()]));
    let mut types = Vec::with_capacity(keys.len());
    for key in keys {
        let name = match connection.receive() {
            Ok(Value::Simple(name)) => lossy(&name).into_owned(),
            Ok(Value::Error(error)) => fail!("TYPE returned an error: {}", lossy(&error)),
            Ok(_) => fail!("Invalid reply type for TYPE on key '{}'!", lossy(key)),
            Err(error) => fail!("Error getting type for key '{}' ({error})", lossy(key)),
        };
        types.push(match found.iter().position(|entry| entry.name == name) {
            Some(index) => Some(index),
            None if name == "none" => None,
            None => {
                found.push(Found::new(&name, None, "?"));
                Some(found.len() - 1)
            }
        });
    }
    Ok(types)
}

/// The size of each key; 0 for one that is gone or cannot be measured.
fn sizes_of(
    session: &mut Session,
    keys: &[Vec<u8>],
    types: &[Option<usize>],
    found: &[Found],
    measure: Measure,
) -> Step<Vec<u64>> {
    let connection = connection(session)?;
    let mut asked = Vec::with_capacity(keys.len());
    for (key, index) in keys.iter().zip(types) {
        let length_command = index.and_then(|index| found[index].length_command);
        let command = match measure {
            Measure::Elements => length_command,
            Measure::Memory { .. } => index.map(|_| "MEMORY USAGE"),
        };
        match (command, measure) {
            (None, _) => {}
            (Some(command), Measure::Elements) => connection.queue(&[command.as_bytes(), key]),
            (Some(_), Measure::Memory { samples: 0 }) => {
                connection.queue(&[b"MEMORY", b"USAGE".as_slice(), key]);
            }
            (Some(_), Measure::Memory { samples }) => {
                let samples = samples.to_string();
                connection.queue(&[b"MEMORY", b"USAGE".as_slice(), key, b"SAMPLES", samples.as_bytes()]);
            }
        }
        asked.push(command);
    }
    let mut sizes = Vec::with_capacity(keys.len());
    for (key, command) in keys.iter().zip(asked) {
        let Some(command) = command else {
            sizes.push(0);
            continue;
        };
        sizes.push(match connection.receive() {
            Ok(Value::Integer(size)) => size.max(0).unsigned_abs(),
            Ok(_) => {
                err!("Warning:  {command} on '{}' failed (may have changed type)", lossy(key));
                0
            }
            Err(error) => fail!("Error getting size for key '{}' ({error})", lossy(key)),
        });
    }
    Ok(sizes)
}
