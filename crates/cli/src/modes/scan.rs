//! `--scan`, and the walk over the keys that other modes share.

use super::{call, interrupt_flag};
use crate::console::{self, out};
use crate::exit::{Step, fail};
use crate::format::OutputFormat;
use crate::session::Session;
use crate::text::leading_integer;
use shoal_protocol::quoting::quote;
use shoal_protocol::value::Value;
use std::sync::atomic::Ordering;

/// Prints all keys, one per line.
pub(super) fn run(session: &mut Session) -> Step {
    let interrupted = interrupt_flag();
    let mut scan = Scan::default();
    while let Some(keys) = scan.next_keys(session)? {
        let mut text = Vec::new();
        for key in keys {
            match session.options.format {
                OutputFormat::Tty => text.extend_from_slice(quote(&key).as_bytes()),
                _ => text.extend_from_slice(&key),
            }
            text.push(b'\n');
        }
        console::write_out_bytes(&text);
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(session.options.interval);
    }
    out!("");
    Ok(())
}

/// A walk over the keys of the database, with the pattern of the options.
#[derive(Default)]
pub(super) struct Scan {
    cursor: Vec<u8>,
    finished: bool,
    /// SCAN commands sent.
    pub rounds: u64,
}

impl Scan {
    /// The next few keys, perhaps none; `None` at the end.
    pub(super) fn next_keys(&mut self, session: &mut Session) -> Step<Option<Vec<Vec<u8>>>> {
        if self.finished {
            return Ok(None);
        }
        let cursor = if self.cursor.is_empty() { b"0".to_vec() } else { std::mem::take(&mut self.cursor) };
        let reply = match session.options.pattern.clone() {
            Some(pattern) => call(session, &[b"SCAN", &cursor, b"MATCH", &pattern])?,
            None => call(session, &[b"SCAN", &cursor])?,
        };
        self.rounds += 1;
        if let Some(error) = reply.as_error() {
            fail!("SCAN error: {error}");
        }
        let Some(parts) = reply.as_elements() else { fail!("Non ARRAY response from SCAN!") };
        let [cursor, Value::Array(keys)] = parts else { fail!("Invalid element count from SCAN!") };
        self.cursor = cursor.as_bytes().unwrap_or_default().to_vec();
        self.finished = self.cursor == b"0" || self.cursor.is_empty();
        Ok(Some(keys.iter().filter_map(Value::as_bytes).map(<[u8]>::to_vec).collect()))
    }

    /// Waits as `-i` says, after every hundredth SCAN.
    pub(super) fn pause(&self, session: &Session) {
        if self.rounds.is_multiple_of(100) {
            std::thread::sleep(session.options.interval);
        }
    }
}

/// The number of keys in the database.
pub(super) fn database_size(session: &mut Session) -> Step<i64> {
    let reply = call(session, &[b"DBSIZE"])?;
    match &reply {
        Value::Integer(size) => Ok(*size),
        Value::Error(error) => fail!("Couldn't determine DBSIZE: {}", crate::text::lossy(error)),
        other => Ok(other.as_bytes().map_or(0, leading_integer)),
    }
}
