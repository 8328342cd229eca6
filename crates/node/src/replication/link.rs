//! Commands on the links between primaries and replicas. Nobody reads their replies: one that is an error means that the
//! data may have come apart, and one to a replica would get into the stream.

use crate::clients::Handle;
use crate::dispatch::Verdict;
use crate::host::{Crash, Host, LogLevel};
use crate::node::Node;
use shoal_config::PropagationErrorBehavior;
use shoal_machine::Now;
use shoal_protocol::Request;
use shoal_session::{ClientKind, Close, Session};

/// The most of an error that is logged.
const ERROR_MAX_BYTES: usize = 4096;

impl Node {
    /// Carries out a request on a link.
    pub(crate) fn process_link(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        session: &mut Session,
        request: Request<'_>,
    ) -> Verdict {
        let mark = session.output.mark();
        let kind = session.kind;
        let command = self.lookup(&request).ok().map_or("<unknown>", |command| command.name);
        let verdict = self.process(now, host, handle, session, request);
        let reply = session.output.written_after(mark);
        if reply.is_empty() {
            return verdict;
        }
        let error = error_in(reply);
        if kind == ClientKind::Replica {
            session.output.truncate(mark);
            session.close = Close::Now;
            let text = format!(
                "Replica generated a reply to command '{command}', disconnecting it: {}",
                self.describe_client(now, session)
            );
            host.log(LogLevel::Warning, &text);
        }
        if let Some(error) = error {
            self.note_link_error(host, kind, &error, command);
        }
        verdict
    }

    /// A command on a link has failed.
    fn note_link_error(&mut self, host: &mut dyn Host, kind: ClientKind, error: &str, command: &str) {
        let (from, to) =
            if kind == ClientKind::Primary { ("replica", "master") } else { ("master", "replica") };
        self.stats.unexpected_errors += 1;
        let text = format!(
            "== CRITICAL == This {from} is sending an error to its {to}: '{error}' after processing the command \
             '{command}'"
        );
        host.log(LogLevel::Warning, &text);
        let gives_up = matches!(
            self.config.propagation_error_behavior,
            PropagationErrorBehavior::Panic | PropagationErrorBehavior::PanicOnReplicas
        );
        if gives_up && kind == ClientKind::Primary && self.config.replica_read_only {
            host.crash(Crash::Panic);
        }
    }

    fn describe_client(&self, now: Now, session: &Session) -> String {
        let mut line = String::new();
        crate::client_line::write_line(&mut line, session, now, None);
        line.trim_end().to_owned()
    }
}

/// The error that a reply is, as far as it is shown.
pub(crate) fn error_in(reply: &[u8]) -> Option<String> {
    let text = reply.strip_prefix(b"-")?;
    let line = text.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Some(String::from_utf8_lossy(&line[..line.len().min(ERROR_MAX_BYTES)]).into_owned())
}
