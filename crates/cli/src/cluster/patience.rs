//! Deadlines: nothing that the manager waits for may last for ever.
//!
//! | option | what it bounds |
//! |---|---|
//! | `--cluster-connect-timeout` | a connection to one node |
//! | `--cluster-reply-timeout` | a node's answer to one command |
//! | `--cluster-wait-timeout` | what nodes do among themselves: join, hear of each other, agree |
//! | `--cluster-timeout` | one MIGRATE, and a migration at once that makes no progress |

use super::log::{Level, log};
use crate::exit::Exit;
use crate::options::Options;
use std::time::{Duration, Instant};

/// A MIGRATE may take this many times its timeout: the server counts anew for every piece of a large value.
const MIGRATE_TIMEOUTS_MAX: u64 = 10;

/// How often nodes are asked whether what is waited for is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Milliseconds of an option.
pub(super) fn milliseconds(amount: i64) -> Duration {
    Duration::from_millis(u64::try_from(amount).unwrap_or(0))
}

/// How long the answer to a command may take.
pub(super) fn reply_limit(command: Option<&[u8]>, options: &Options) -> Duration {
    let limit = milliseconds(options.cluster.reply_timeout_ms);
    if command.is_some_and(|name| name.eq_ignore_ascii_case(b"MIGRATE")) {
        limit + milliseconds(options.cluster.timeout_ms) * MIGRATE_TIMEOUTS_MAX as u32
    } else {
        limit
    }
}

/// The end of one wait for what nodes do among themselves.
pub(super) struct Deadline {
    began: Instant,
    limit: Duration,
}

impl Deadline {
    /// One wait for the answer of a node, which begins now.
    pub(super) fn of_answer(limit: Duration) -> Self {
        Self { began: Instant::now(), limit }
    }

    /// One wait, which begins now.
    pub(super) fn of_wait(options: &Options) -> Self {
        Self { began: Instant::now(), limit: milliseconds(options.cluster.wait_timeout_ms) }
    }

    /// Whether the time is over.
    pub(super) fn has_passed(&self) -> bool {
        self.began.elapsed() >= self.limit
    }

    /// Lets a moment pass before the next look, if there is time for one.
    pub(super) fn allows_another_look(&self) -> bool {
        if self.has_passed() {
            return false;
        }
        std::thread::sleep(LOOK_INTERVAL);
        true
    }

    /// Says what has not come, and what can be done about it.
    pub(super) fn complain(&self, missing: &str, advice: &str) -> Exit {
        let limit = shown(self.limit);
        let text = format!("[ERR] After {limit} (--cluster-wait-timeout) {missing}\n      {advice}\n");
        log(Level::Error, &text);
        Exit(1)
    }
}

/// A time for people: whole seconds, or milliseconds.
pub(super) fn shown(time: Duration) -> String {
    match time.as_millis() {
        milliseconds if milliseconds % 1000 == 0 => format!("{} s", milliseconds / 1000),
        milliseconds => format!("{milliseconds} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_answers() {
        let mut options = crate::options::parse(&[]).unwrap().0;
        (options.cluster.reply_timeout_ms, options.cluster.timeout_ms) = (30_000, 60_000);
        assert_eq!(reply_limit(Some(b"PING"), &options), Duration::from_secs(30));
        assert_eq!(reply_limit(Some(b"migrate"), &options), Duration::from_secs(630));
        assert_eq!(reply_limit(None, &options), Duration::from_secs(30));
        options.cluster.timeout_ms = -1;
        assert_eq!(reply_limit(Some(b"MIGRATE"), &options), Duration::from_secs(30));
        assert_eq!(
            (shown(Duration::from_millis(1500)), shown(Duration::from_secs(2))),
            ("1500 ms".into(), "2 s".into())
        );
    }

    #[test]
    fn a_deadline_passes() {
        let mut options = crate::options::parse(&[]).unwrap().0;
        assert!(!Deadline::of_wait(&options).has_passed());
        options.cluster.wait_timeout_ms = 0;
        let deadline = Deadline::of_wait(&options);
        assert!(deadline.has_passed());
        crate::console::capture();
        assert_eq!(deadline.complain("node a does not know node b.", "Look at b."), Exit(1));
        let text = crate::console::end_capture();
        assert!(
            text.contains(
                "After 0 s (--cluster-wait-timeout) node a does not know node b.\n      Look at b."
            )
        );
    }
}
