//! `--pipe`: raw protocol from standard input to the server, as fast as both can.
//!
//! One thread copies the input; this one counts replies. An ECHO of random bytes at the end tells that nothing is left.

use super::connection;
use crate::console::{self, err, out};
use crate::exit::{Exit, Step, fail};
use crate::session::Session;
use crate::text::lossy;
use shoal_protocol::value::{Value, encode_request};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes copied at once.
const CHUNK_LENGTH: usize = 64 * 1024;
/// Length of the random ECHO.
const MAGIC_LENGTH: usize = 20;
/// How often the time limit is looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Copies everything. Errors among the replies give exit code 1.
pub(super) fn run(session: &mut Session) -> Step {
    let limit_s = session.options.pipe_timeout_s.max(0).unsigned_abs();
    let limit = (limit_s > 0).then(|| Duration::from_secs(limit_s));
    let connection = connection(session)?;
    let magic: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(MAGIC_LENGTH).collect();
    let finished = Arc::new(AtomicBool::new(false));
    let writer = match connection.clone_writer().and_then(|writer| {
        connection.limit_waiting(Some(CHECK_INTERVAL))?;
        Ok(writer)
    }) {
        Ok(writer) => writer,
        Err(error) => fail!("Error: {}", console::error_text(&error)),
    };
    let copier = {
        let (magic, finished) = (magic.clone(), finished.clone());
        std::thread::spawn(move || copy_input(writer, &magic, &finished))
    };
    let (mut errors, mut replies) = (0u64, 0u64);
    let mut last_reply = Instant::now();
    loop {
        if copier.is_finished() && !finished.load(Ordering::SeqCst) {
            return Err(Exit(1));
        }
        match connection.receive() {
            Ok(Value::Bulk(text)) if text == magic && finished.load(Ordering::SeqCst) => {
                out!("Last reply received from server.\n");
                break;
            }
            Ok(value) => {
                last_reply = Instant::now();
                replies += 1;
                if let Value::Error(text) = value {
                    err!("{}", lossy(&text));
                    errors += 1;
                }
            }
            Err(error) if error.is_timeout() => {}
            Err(_) => fail!("Error reading replies from server"),
        }
        if finished.load(Ordering::SeqCst) && limit.is_some_and(|limit| last_reply.elapsed() > limit) {
            err!("No replies for {limit_s} seconds: exiting.");
            errors += 1;
            break;
        }
    }
    out!("errors: {errors}, replies: {replies}\n");
    if errors > 0 { Err(Exit(1)) } else { Ok(()) }
}

/// Copies standard input, then asks for the echo. `finished` tells that all of it was sent; without it the
/// reason has been printed.
fn copy_input(mut writer: Box<dyn Write + Send>, magic: &[u8], finished: &AtomicBool) {
    let mut chunk = vec![0; CHUNK_LENGTH];
    let mut input = std::io::stdin().lock();
    loop {
        let count = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                err!("Error reading from stdin: {}", console::error_text(&error));
                return;
            }
        };
        if let Err(error) = writer.write_all(&chunk[..count]) {
            err!("Error writing to the server: {}", console::error_text(&error));
            return;
        }
    }
    out!("All data transferred. Waiting for the last reply...\n");
    console::flush();
    // The line end closes whatever an incomplete input has left open.
    let mut request = b"\r\n".to_vec();
    encode_request(&[b"ECHO", magic], &mut request);
    finished.store(true, Ordering::SeqCst);
    if let Err(error) = writer.write_all(&request) {
        finished.store(false, Ordering::SeqCst);
        err!("Error writing to the server: {}", console::error_text(&error));
    }
}
