//! How the project's own tools ask servers: one request, one reply, and waiting for what is to come.

mod client;

pub use client::Client;

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Asks until there is an answer.
///
/// # Errors
/// There was none in time: a text that says `what` did not come.
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T, String> {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if began.elapsed() > limit {
            return Err(format!("not within {limit:?}: {what}"));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
