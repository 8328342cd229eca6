//! MONITOR: every command, as it runs, to those who watch; and what else is noted of each command.

use crate::clients::Handle;
use crate::node::Node;
use shoal_machine::Now;
use shoal_protocol::command::Flags;
use shoal_protocol::quoting::quote;
use shoal_protocol::{Command, CommandId, Request};
use shoal_session::Session;
use std::fmt::Write as _;

/// What stands in the place of secrets.
pub(crate) const REDACTED: &[u8] = b"(redacted)";

/// Which words of a request are secrets that no log may show.
pub(crate) fn secret_words(command: &Command, request: &Request<'_>) -> Vec<usize> {
    let after = |word: &[u8], from: usize, count: usize| -> Vec<usize> {
        (from..request.len())
            .filter(|&index| request.argument(index).eq_ignore_ascii_case(word))
            .flat_map(|index| index + 1..=index + count)
            .collect()
    };
    match command.id {
        CommandId::Auth => (1..request.len()).collect(),
        CommandId::Hello => after(b"auth", 2, 2),
        CommandId::Migrate => [after(b"auth", 6, 1), after(b"auth2", 6, 2)].concat(),
        CommandId::ConfigSet => (2..request.len())
            .step_by(2)
            .filter(|&index| shoal_config::Config::is_sensitive(request.argument(index)))
            .map(|index| index + 1)
            .collect(),
        _ => Vec::new(),
    }
}

impl Node {
    /// Notes a command that has just run, or has begun to wait: for those who monitor, and in the slow log.
    pub(crate) fn observe(
        &mut self,
        now: Now,
        handle: Handle,
        session: &mut Session,
        command: &'static Command,
        request: &Request<'_>,
        duration_us: u64,
    ) {
        // A command that waited was shown when it came.
        if !self.monitors.is_empty() && self.blocking.retried_after_us.is_none() {
            self.feed_monitors(now, handle, session, command, request);
        }
        if !session.is_blocked {
            self.note_duration(now, session, command, request, duration_us);
        }
    }

    /// Notes how long a command took, if that was long.
    pub(crate) fn note_duration(
        &mut self,
        now: Now,
        session: &Session,
        command: &'static Command,
        request: &Request<'_>,
        duration_us: u64,
    ) {
        let threshold_ms = self.config.latency_monitor_threshold_ms;
        if threshold_ms > 0 && duration_us / 1000 >= threshold_ms {
            let is_fast = command.flags.contains(Flags::FAST);
            let event = if is_fast { "fast-command" } else { "command" };
            self.latency.note(event, (now.unix_us + duration_us) / 1_000_000, duration_us / 1000);
        }
        if self.config.slowlog_log_slower_than_us >= 0
            && duration_us >= self.config.slowlog_log_slower_than_us.cast_unsigned()
            && !command.flags.contains(Flags::SKIP_SLOWLOG)
        {
            let capacity = usize::try_from(self.config.slowlog_max_len).unwrap_or(usize::MAX);
            self.slow_log.add(now, session, command, request, duration_us, capacity);
        }
    }

    fn feed_monitors(
        &mut self,
        now: Now,
        handle: Handle,
        session: &mut Session,
        command: &'static Command,
        request: &Request<'_>,
    ) {
        if self.is_loading || command.flags.intersects(Flags(Flags::SKIP_MONITOR.0 | Flags::ADMIN.0)) {
            return;
        }
        let secrets = secret_words(command, request);
        let mut line = format!("{}.{:06} [{} ", now.unix_s(), now.unix_us % 1_000_000, session.database);
        if session.identity.is_unix_socket {
            let path = session.identity.address.trim_end_matches(":0");
            let _ = write!(line, "unix:{path}]");
        } else {
            let _ = write!(line, "{}]", session.identity.address);
        }
        for (index, word) in request.iter().enumerate() {
            line.push(' ');
            line.push_str(&quote(if secrets.contains(&index) { REDACTED } else { word }));
        }
        for monitor in self.monitors.clone() {
            let mut own = Some((handle, &mut *session));
            self.push_to(monitor, own.as_mut(), |reply| reply.simple(&line));
        }
    }
}
