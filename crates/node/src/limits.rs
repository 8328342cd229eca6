//! How much output may wait for a client: `client-output-buffer-limit`.
//!
//! Limits are checked inside a batch, after each command of a client and after each command that pushed something to
//! others, so that no client can make the node hold much more than its limit.

use crate::client_line::ClientType;
use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_config::{ClientClass, OutputBufferLimit};
use shoal_machine::{Monotonic, Now};
use shoal_session::{ClientKind, Close, Session};

/// Output of less is not worth a look at the limits; it is what Redis gives every client for free.
pub(crate) const UNCHECKED_OUTPUT_BYTES: usize = 16 * 1024;

/// Whether `waiting_bytes` of output break a limit. `over_soft_since` is kept for one client from call to call.
pub(crate) fn is_over_limit(
    limit: OutputBufferLimit,
    waiting_bytes: u64,
    over_soft_since: &mut Option<Monotonic>,
    now: Monotonic,
) -> bool {
    let is_over_soft = limit.soft_bytes > 0 && waiting_bytes >= limit.soft_bytes;
    if !is_over_soft {
        *over_soft_since = None;
    }
    if limit.hard_bytes > 0 && waiting_bytes >= limit.hard_bytes {
        return true;
    }
    if !is_over_soft {
        return false;
    }
    let since = *over_soft_since.get_or_insert(now);
    now.ms_since(since) > limit.soft_seconds.saturating_mul(1000)
}

impl Node {
    /// Notes that something was pushed to a client outside of its own commands.
    pub(crate) fn note_output(&mut self, handle: Handle, waiting_bytes: usize) {
        self.note_client_memory(handle);
        if waiting_bytes > UNCHECKED_OUTPUT_BYTES && !self.crowded.contains(&handle) {
            self.crowded.push(handle);
        }
    }

    /// Checks the client whose command has just run.
    pub(crate) fn check_own_output(&mut self, now: Now, host: &mut dyn Host, session: &mut Session) {
        if !self.is_output_over(session, now) {
            return;
        }
        let mut line = String::new();
        crate::client_line::write_line(&mut line, session, now, None);
        let text = format!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            line.trim_end()
        );
        host.log(LogLevel::Warning, &text);
        session.close = Close::Now;
        session.output.clear();
        self.stats.output_limit_disconnections += 1;
    }

    /// Checks the clients that were pushed to, and those over a soft limit.
    pub(crate) fn check_crowded(&mut self, now: Now, host: &mut dyn Host) {
        for handle in std::mem::take(&mut self.crowded) {
            let Some(mut session) = self.clients.take(handle) else { continue };
            if session.close == Close::No {
                self.check_own_output(now, host, &mut session);
            }
            // A client over its soft limit is looked at again until it has read enough or its time is over.
            if session.over_soft_limit_since.is_some() && session.close == Close::No {
                self.crowded.push(handle);
            }
            self.clients.put_back(handle, session);
        }
    }

    /// How much output may wait for a client.
    pub(crate) fn output_limit(&self, session: &Session) -> OutputBufferLimit {
        let class = match session.kind {
            ClientKind::Export => ClientClass::Replica,
            _ => ClientType::of(session).class(),
        };
        self.config.client_output_buffer_limit.of(class)
    }

    fn is_output_over(&mut self, session: &mut Session, now: Now) -> bool {
        let limit = self.output_limit(session);
        let waiting_bytes = session.output.len() as u64;
        is_over_limit(limit, waiting_bytes, &mut session.over_soft_limit_since, now.monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn soft_limits_have_patience() {
        let limit = OutputBufferLimit { hard_bytes: 100, soft_bytes: 50, soft_seconds: 2 };
        let mut since = None;
        let mut is_over =
            |bytes, second: u64| is_over_limit(limit, bytes, &mut since, Monotonic::from_ms(second * 1000));
        for (bytes, second, expected) in [
            (100, 0, true),
            (49, 1, false),
            (60, 2, false),
            (60, 4, false),
            (40, 5, false),
            (60, 6, false),
            (60, 8, false),
            (60, 9, true),
        ] {
            assert_eq!(is_over(bytes, second), expected, "{bytes} bytes at {second} s");
        }
        let none = OutputBufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 };
        assert!(!is_over_limit(none, u64::MAX, &mut None, Monotonic(0)));
    }

    #[test]
    fn slow_subscribers_are_disconnected() {
        let mut fixture = Fixture::new();
        fixture.configure(&["client-output-buffer-limit", "pubsub 100000 50000 1"]);
        let (hard, soft) = (fixture.connect(), fixture.connect());
        fixture.run_as(hard, "SUBSCRIBE a b");
        fixture.run_as(soft, "SUBSCRIBE b");
        let message = "x".repeat(30_000);
        for channel in ["a", "b", "a", "b", "a"] {
            fixture.run(&format!("PUBLISH {channel} {message}"));
        }
        assert!(!fixture.is_connected(hard) && fixture.is_connected(soft));
        assert!(fixture.host.has_logged("for overcoming of output buffer limits."));
        fixture.advance_ms(500);
        assert!(fixture.is_connected(soft));
        fixture.advance_ms(1000);
        assert!(!fixture.is_connected(soft));
        assert_eq!(fixture.node.stats().output_limit_disconnections, 2);
    }

    #[test]
    fn a_client_cannot_outrun_its_limit_within_a_batch() {
        let mut fixture = Fixture::new();
        fixture.configure(&["client-output-buffer-limit", "normal 100000 0 0"]);
        let text = "x".repeat(30_000);
        for _ in 0..3 {
            fixture.send_as(fixture.first(), &["ECHO", &text]);
        }
        assert!(fixture.is_connected(fixture.first()));
        fixture.send_as(fixture.first(), &["ECHO", &text]);
        assert!(!fixture.is_connected(fixture.first()));
    }

    #[test]
    fn a_command_stops_that_would_write_without_end() {
        let mut fixture = Fixture::new();
        fixture.configure(&["client-output-buffer-limit", "normal 100000 0 0"]);
        fixture.run("HSET h field value");
        fixture.run("SADD s member");
        fixture.run("ZADD z 1 member");
        for command in ["HRANDFIELD h", "SRANDMEMBER s", "ZRANDMEMBER z"] {
            let client = fixture.connect();
            let words: Vec<&str> = command.split(' ').chain(["-9000000000000000000"]).collect();
            fixture.send_as(client, &words);
            assert!(!fixture.is_connected(client), "{command}");
        }
    }
}
