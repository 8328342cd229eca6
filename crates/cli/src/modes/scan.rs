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

/// How far a look at every key has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Keys looked at.
    pub sampled: u64,
    /// What part of the database that was before these keys.
    pub percent: f64,
}

impl Progress {
    /// Counts a key; now and then with a line that says so.
    pub(super) fn count(&mut self) {
        /// Keys between two lines about the progress.
        const LINE_EVERY: u64 = 1_000_000;
        self.sampled += 1;
        if self.sampled.is_multiple_of(LINE_EVERY) {
            out!("[{:05.2}%] Sampled {} keys so far\n", self.percent, self.sampled);
        }
    }
}

/// Gives every key of the database to `visit`, a few at a time, until the end or Ctrl-C, with a headline that says what is
/// looked for and a summary of how many there were. Returns their number.
pub(super) fn survey(
    session: &mut Session,
    wanted: &str,
    mut visit: impl FnMut(&mut Session, &[Vec<u8>], &mut Progress) -> Step,
) -> Step<u64> {
    let interrupted = interrupt_flag();
    let total = database_size(session)?;
    out!(
        "\n# Scanning the entire keyspace to find {wanted} keys as well as\n\
         # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
         # per 100 SCAN commands (not usually needed).\n\n"
    );
    let mut progress = Progress::default();
    let mut scan = Scan::default();
    while let Some(keys) = scan.next_keys(session)? {
        progress.percent = 100.0 * progress.sampled as f64 / total as f64;
        visit(session, &keys, &mut progress)?;
        console::flush();
        scan.pause(session);
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    out!("\n-------- summary -------\n\n");
    if interrupted.load(Ordering::Relaxed) {
        out!("[{:05.2}%] ", progress.percent);
    }
    out!("Sampled {} keys in the keyspace!\n", progress.sampled);
    Ok(progress.sampled)
}

/// The number of keys in the database.
fn database_size(session: &mut Session) -> Step<i64> {
    let reply = call(session, &[b"DBSIZE"])?;
    match &reply {
        Value::Integer(size) => Ok(*size),
        Value::Error(error) => fail!("Couldn't determine DBSIZE: {}", crate::text::lossy(error)),
        other => Ok(other.as_bytes().map_or(0, leading_integer)),
    }
}
