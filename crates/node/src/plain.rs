//! The short way of a command: an ordinary client sends a command on keys, and there is nothing about the client or the
//! node that such a command could meet. No transaction, pause, watched key or waiting client; nothing is loaded, memory has
//! no limit, this node is no replica.
//!
//! Whether that is so is looked at once per batch of a client's requests, and again after each of them that took the long
//! way: commands on keys change none of it.

use crate::clients::Handle;
use crate::dispatch::Verdict;
use crate::host::Host;
use crate::limits::UNCHECKED_OUTPUT_BYTES;
use crate::node::Node;
use shoal_machine::Now;
use shoal_protocol::command::{Flags, fold_short};
use shoal_protocol::{Command, CommandId, Request};
use shoal_session::{ClientKind, Close, ReplyMode, Session};

/// The requests of one client that are carried out one after another, with nothing between them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    client: Option<Handle>,
    is_plain: bool,
}

/// The last command that took the short way, with its folded name: most come in a row.
#[derive(Debug, Default)]
pub(crate) struct RecentCommand(Option<(u64, &'static Command)>);

impl Batch {
    /// Whether a client's commands on keys may take the short way.
    #[inline]
    pub fn is_plain(&self, client: Handle) -> bool {
        self.is_plain && self.client == Some(client)
    }
}

impl Node {
    /// Requests of one client follow, and nothing else until [`Node::batch_ends`]. They do not directly follow those
    /// before: the stopwatch is to be read anew.
    pub fn batch_begins(&mut self, handle: Handle) {
        self.stopwatch_us = None;
        self.batch.client = Some(handle);
        self.look_at_batch_again(handle);
    }

    /// Others have their turn.
    pub fn batch_ends(&mut self) {
        self.batch = Batch::default();
    }

    /// A command that has taken the long way may have changed what there is to meet.
    pub(crate) fn look_at_batch_again(&mut self, handle: Handle) {
        if self.batch.client == Some(handle) {
            let session = self.clients.session(handle);
            self.batch.is_plain = session.is_some_and(|session| self.has_nothing_special(session));
        }
    }

    fn has_nothing_special(&self, session: &Session) -> bool {
        let is_plain_client = session.kind == ClientKind::Normal
            && session.is_authenticated
            && session.reply_mode == ReplyMode::On
            && session.close == Close::No
            && session.transaction.is_none()
            && session.subscriptions.is_empty()
            && !(session.is_asking || session.is_monitor || session.is_internal);
        let nobody_else_minds = self.watchers.is_empty()
            && self.blocking.is_empty()
            && self.monitors.is_empty()
            && self.own_pushes.is_empty()
            && !self.unit.is_open;
        let takes_writes = !self.is_replica()
            && !self.is_loading
            && !self.data_stand_still()
            && self.check_disk().is_ok()
            && !self.wants_good_replicas();
        let counts_little = self.config.maxmemory_bytes == 0
            && !self.client_memory_is_limited()
            && self.cluster.as_ref().is_none_or(|side| side.slot_stats.is_none());
        is_plain_client && nobody_else_minds && takes_writes && counts_little
    }

    /// The command that a request asks for, if it may take the short way.
    #[inline]
    pub(crate) fn plain_command(&mut self, request: &Request<'_>) -> Option<&'static Command> {
        let folded = fold_short(request.argument(0));
        let command = match self.recent_command.0 {
            Some((name, command)) if folded == Some(name) => command,
            _ => self.look_up_plain_command(request.argument(0), folded)?,
        };
        command.arity_fits(request.len()).then_some(command)
    }

    fn look_up_plain_command(&mut self, name: &[u8], folded: Option<u64>) -> Option<&'static Command> {
        let command = self.names.lookup(name)?;
        let is_plain = shoal_store::commands::body(command.id).is_some()
            && command.subcommand_count == 0
            && !command.flags.contains(Flags::BLOCKING)
            && !matches!(command.id, CommandId::Flushall | CommandId::Flushdb);
        if !is_plain {
            return None;
        }
        // Of letters alone the folded name is exact.
        let folded = folded.filter(|_| name.iter().all(u8::is_ascii_alphabetic));
        self.recent_command = RecentCommand(folded.map(|folded| (folded, command)));
        Some(command)
    }

    /// Carries out such a command, and puts the session back.
    pub(crate) fn execute_plainly(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        mut session: Box<Session>,
        command: &'static Command,
        request: Request<'_>,
    ) -> Verdict {
        debug_assert!(self.has_nothing_special(&session), "since the batch began: {session:?}");
        let refusal = match self.cluster {
            Some(_) => self.check_slot(now, &session, command, &request).err(),
            None => None,
        };
        match refusal {
            Some(error) => self.refuse(handle, &mut session, Some(command), &error),
            None => self.run::<true>(now, host, handle, &mut session, command, request),
        }
        if session.output.len() > UNCHECKED_OUTPUT_BYTES {
            self.check_own_output(now, host, &mut session);
        }
        if !self.crowded.is_empty() {
            self.check_crowded(now, host);
        }
        let is_closing = session.close != Close::No;
        self.clients.put_back(handle, session);
        if is_closing {
            self.batch.is_plain = false;
            return Verdict::Blocked;
        }
        Verdict::Done
    }
}
