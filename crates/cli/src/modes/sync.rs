//! The beginning of replication, as `--rdb` and `--replica` use it: REPLCONF, SYNC and the payload.

use super::call;
use crate::connection::Connection;
use crate::console::err;
use crate::exit::{Step, fail};
use crate::session::Session;
use crate::text::{leading_integer, lossy};

/// Length of the mark that ends a payload of unknown length.
const MARK_LENGTH: usize = 40;
/// Longest line in reply to SYNC.
const LINE_LENGTH_MAX: usize = 4096;
/// Bytes read at once.
const CHUNK_LENGTH: usize = 64 * 1024;

/// How the end of a payload is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// It has this many bytes.
    Length(u64),
    /// These bytes follow it.
    Mark([u8; MARK_LENGTH]),
}

/// Tells the server something about this replica. An old server may not know it: then the answer is false.
pub(super) fn configure(session: &mut Session, name: &str, value: &str) -> Step<bool> {
    err!("sending REPLCONF {name} {value}");
    let reply = call(session, &[b"REPLCONF", name.as_bytes(), value.as_bytes()])?;
    if let Some(error) = reply.as_error() {
        err!("REPLCONF {name} error: {error}");
    }
    Ok(!reply.is_error())
}

/// Asks for the payload and reads the line that announces it.
pub(super) fn start(connection: &mut Connection) -> Step<Payload> {
    connection.forget_queued();
    if connection.write_all(b"SYNC\r\n").is_err() {
        fail!("Error writing to master");
    }
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match connection.read_raw(&mut byte) {
            Ok(1) if line.len() < LINE_LENGTH_MAX => {}
            _ => fail!("Error reading bulk length while SYNCing"),
        }
        match byte[0] {
            // Empty lines keep the connection alive until the payload is ready.
            b'\n' if line.is_empty() => {}
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    if line.starts_with(b"-") {
        fail!("SYNC with master failed: {}", lossy(&line));
    }
    Ok(parse_announcement(&line))
}

fn parse_announcement(line: &[u8]) -> Payload {
    let rest = line.strip_prefix(b"$").unwrap_or(line);
    match rest.strip_prefix(b"EOF:").and_then(|mark| mark.first_chunk::<MARK_LENGTH>()) {
        Some(mark) => Payload::Mark(*mark),
        None => Payload::Length(leading_integer(rest).max(0).unsigned_abs()),
    }
}

/// Reads the payload and hands it to `sink`, without the mark. Returns how many bytes it has.
pub(super) fn transfer(
    connection: &mut Connection,
    payload: Payload,
    mut sink: impl FnMut(&[u8]) -> Step,
) -> Step<u64> {
    let mut chunk = vec![0; CHUNK_LENGTH];
    let mut held = Vec::new();
    let mut count = 0u64;
    loop {
        let wanted = match payload {
            Payload::Length(length) if count == length => return Ok(count),
            Payload::Length(length) => (length - count).min(CHUNK_LENGTH as u64) as usize,
            Payload::Mark(_) => CHUNK_LENGTH,
        };
        let read = match connection.read_raw(&mut chunk[..wanted]) {
            Ok(0) => fail!("Error reading RDB payload while SYNCing"),
            Ok(read) => read,
            Err(_) => fail!("Error reading RDB payload while SYNCing"),
        };
        match payload {
            Payload::Length(_) => {
                sink(&chunk[..read])?;
                count += read as u64;
            }
            Payload::Mark(mark) => {
                // What may be the mark, or its beginning, is held back until more is known.
                held.extend_from_slice(&chunk[..read]);
                let ready = held.len().saturating_sub(MARK_LENGTH);
                sink(&held[..ready])?;
                count += ready as u64;
                held.drain(..ready);
                if held == mark {
                    return Ok(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_read() {
        assert_eq!(parse_announcement(b"$123"), Payload::Length(123));
        let mark = [b'm'; MARK_LENGTH];
        assert_eq!(parse_announcement(&[b"$EOF:", mark.as_slice()].concat()), Payload::Mark(mark));
        assert_eq!(parse_announcement(b"$EOF:short"), Payload::Length(0));
    }
}
