//! Reading the clocks.

use shoal_machine::{Monotonic, Now};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The process's clocks. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that begins now. It begins at one second, so that "never" can be told from "at the start".
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> Monotonic {
        Monotonic(1_000_000 + u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: self.monotonic(),
            unix_us: u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX),
        }
    }
}
