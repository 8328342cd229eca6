//! The way of a command: find it, check whether it may run now, queue it or run it, pass on its effects.

use crate::call::NodeCall;
use crate::clients::Handle;
use crate::commands;
use crate::eviction::Pressure;
use crate::host::{Host, LogLevel};
use crate::limits::UNCHECKED_OUTPUT_BYTES;
use crate::node::Node;
use crate::pause::{self, PauseKind};
use crate::replication::LoadKind;
use crate::routing::is_redirection;
use crate::watch::touch;
use shoal_machine::Now;
use shoal_protocol::command::Flags;
use shoal_protocol::request::UpcomingWords;
use shoal_protocol::{Arguments, Command, CommandId, ErrorReply, OwnedRequest, Request, errors};
use shoal_session::{ClientKind, Close, QUEUED_COMMAND_OVERHEAD_BYTES, ReplyMode, Session};
pub use shoal_store::prefetch::REQUESTS_MAX as PREFETCHED_REQUESTS;
use shoal_store::{Access, Call, Outcome, prefetch};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done; the next one can follow.
    Done,
    /// It waits for something; the client's further input is left alone until [`crate::Action::Resume`].
    Blocked,
    /// It has not begun: the request is to be given again after [`crate::Action::Resume`].
    Postponed,
}

impl Node {
    /// Asks the processor for the memory that the client's next [`PREFETCHED_REQUESTS`] requests will probably touch, so that
    /// the waits for it overlap.
    pub fn prefetch(&self, handle: Handle, reader: &shoal_protocol::RequestReader) {
        let Some(session) = self.clients.session(handle) else { return };
        let database = self.keyspace.database(session.database);
        if session.last_command.is_some_and(|command| prefetch::is_idle_after(database, command)) {
            return;
        }
        let mut requests = [UpcomingWords::default(); PREFETCHED_REQUESTS];
        // Two requests tell whether it is worth looking at all of them.
        if let [first, second] = look_ahead(reader, &mut requests[..2])
            && prefetch::is_worth_it(database, [first, second])
        {
            prefetch::prefetch(database, look_ahead(reader, &mut requests));
        }
    }

    /// Carries out a client's request. Replies go to the session's output.
    pub fn execute(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        request: Request<'_>,
    ) -> Verdict {
        let Some(mut session) = self.clients.take(handle) else { return Verdict::Done };
        if self.batch.is_plain(handle)
            && let Some(command) = self.plain_command(&request)
        {
            return self.execute_plainly(now, host, handle, session, command, request);
        }
        let mark = session.output.mark();
        let verdict = match session.kind {
            ClientKind::Normal => self.process(now, host, handle, &mut session, request),
            ClientKind::Import => self.process_import(now, host, handle, &mut session, request),
            _ => self.process_link(now, host, handle, &mut session, request),
        };
        let is_closing = self.finish(now, host, handle, session, mark);
        self.serve_blocked(host);
        self.look_at_batch_again(handle);
        if is_closing { Verdict::Blocked } else { verdict }
    }

    /// Puts a session back whose command has run; `mark` stands before its reply. True if the connection is to end.
    pub(crate) fn finish(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        mut session: Box<Session>,
        mark: shoal_protocol::reply::Mark,
    ) -> bool {
        if session.reply_mode != ReplyMode::On {
            suppress_reply(&mut session, mark);
        }
        if !self.own_pushes.is_empty() {
            session.output.append(&mut self.own_pushes);
        }
        if session.output.len() > UNCHECKED_OUTPUT_BYTES {
            self.check_own_output(now, host, &mut session);
        }
        self.note_own_memory(&mut session);
        if !self.crowded.is_empty() {
            self.check_crowded(now, host);
        }
        let is_closing = session.close != Close::No;
        self.clients.put_back(handle, session);
        is_closing
    }

    pub(crate) fn process(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        session: &mut Session,
        request: Request<'_>,
    ) -> Verdict {
        let command = match self.lookup(&request) {
            Ok(command) => command,
            Err((command, error)) => {
                self.refuse(handle, session, command, &error);
                end_asking(session);
                return Verdict::Done;
            }
        };
        let mut is_out_of_memory = false;
        if self.client_memory_is_limited() {
            self.note_own_memory(session);
            self.evict_clients(now, host, Some((handle, session)));
            if session.close != Close::No {
                return Verdict::Done;
            }
        }
        if self.config.maxmemory_bytes > 0 {
            is_out_of_memory = self.evict(now, host, Some((handle, session))) == Pressure::Failed;
        }
        if let Err(error) = self.check(now, session, command, &request, is_out_of_memory) {
            self.refuse(handle, session, Some(command), &error);
            end_asking(session);
            return Verdict::Done;
        }
        let is_paused = match self.pauses.kind() {
            Some(kind) => session.kind != ClientKind::Replica && is_paused(kind, session, command),
            None => false,
        };
        if is_paused || self.migrations.is_holding() && self.is_held(session, command, &request) {
            // The stream of the primary is held by who reads it.
            if session.kind != ClientKind::Primary {
                session.is_postponed = true;
                self.postponed.push(handle);
            }
            return Verdict::Postponed;
        }
        if session.transaction.is_some() && !runs_inside_transaction(command.id) {
            queue(session, command, &request);
            return Verdict::Done;
        }
        self.run::<false>(now, host, handle, session, command, request);
        if session.is_blocked { Verdict::Blocked } else { Verdict::Done }
    }

    /// Finds the command and checks its number of words. An error comes with the command if that was found.
    pub(crate) fn lookup(
        &self,
        request: &Request<'_>,
    ) -> Result<&'static Command, (Option<&'static Command>, ErrorReply)> {
        let name = request.argument(0);
        let unknown = || {
            let arguments: Vec<&[u8]> = request.iter().skip(1).collect();
            (None, errors::unknown_command(name, &arguments))
        };
        let mut command = self.names.lookup(name).ok_or_else(unknown)?;
        let wrong_arity = |command: &'static Command| (Some(command), errors::wrong_arity(command.name));
        if command.subcommand_count > 0 && request.len() > 1 {
            let word = request.argument(1);
            let subcommand = command.subcommand(word).filter(|found| commands::is_implemented(found.id));
            match subcommand {
                Some(subcommand) => command = subcommand,
                None if commands::is_known_container(command.id) => {
                    return Err((None, errors::unknown_subcommand(command.name, word)));
                }
                None => return Err(unknown()),
            }
        } else if !commands::is_implemented(command.id) {
            if commands::is_known_container(command.id) {
                return Err(wrong_arity(command));
            }
            return Err(unknown());
        }
        if command.arity_fits(request.len()) { Ok(command) } else { Err(wrong_arity(command)) }
    }

    /// Whether the command may run now, in the order in which Redis asks.
    pub(crate) fn check(
        &mut self,
        now: Now,
        session: &Session,
        command: &'static Command,
        request: &Request<'_>,
        is_out_of_memory: bool,
    ) -> Result<(), ErrorReply> {
        let flags = command.flags;
        if !session.is_authenticated && !flags.contains(Flags::NO_AUTH) {
            return Err(errors::NO_AUTH);
        }
        self.check_protected(session, command)?;
        match session.kind {
            ClientKind::Primary => return Ok(()),
            ClientKind::Import if is_out_of_memory && wants_memory(session, command) => {
                return Err(errors::OUT_OF_MEMORY);
            }
            ClientKind::Import => return Ok(()),
            _ => {}
        }
        let writes =
            flags.contains(Flags::WRITE) || command.id == CommandId::Exec && transaction_writes(session);
        if self.cluster.is_some() {
            self.check_slot(now, session, command, request)?;
        }
        if is_out_of_memory && wants_memory(session, command) {
            return Err(errors::OUT_OF_MEMORY);
        }
        if writes || command.id == CommandId::Ping {
            self.check_disk()?;
        }
        self.check_replication(session, command, writes)?;
        if session.is_subscriber_only() && !is_allowed_for_subscribers(command.id) {
            return Err(ErrorReply::from(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                command.name
            )));
        }
        self.check_stale(session, command)?;
        let refuses_while_loading = match self.load_kind() {
            LoadKind::Hidden => self.is_loading && !flags.contains(Flags::LOADING),
            LoadKind::Blocking => !flags.contains(Flags::LOADING),
            LoadKind::Async => flags.contains(Flags::NO_ASYNC_LOADING),
        };
        if refuses_while_loading {
            return Err(errors::LOADING);
        }
        if session.transaction.is_some() && flags.contains(Flags::NO_MULTI) {
            return Err(ErrorReply::new("ERR Command not allowed inside a transaction"));
        }
        Ok(())
    }

    /// Whether the disk takes what is written: a snapshot or the append-only file.
    pub(crate) fn check_disk(&self) -> Result<(), ErrorReply> {
        if self.is_saving_broken() {
            return Err(errors::BACKGROUND_SAVE_FAILED);
        }
        match &self.aof.write_error {
            Some(error) => Err(ErrorReply::from(format!("MISCONF Errors writing to the AOF file: {error}"))),
            None => Ok(()),
        }
    }

    /// Carries out a command of an append-only file. False if there is no such command.
    pub(crate) fn execute_from_file(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        session: &mut Session,
        request: Request<'_>,
    ) -> bool {
        let Ok(command) = self.lookup(&request) else { return false };
        if session.transaction.is_some() && !runs_inside_transaction(command.id) {
            queue(session, command, &request);
        } else {
            self.run::<false>(now, host, handle, session, command, request);
        }
        true
    }

    fn check_protected(&self, session: &Session, command: &Command) -> Result<(), ErrorReply> {
        use shoal_config::ProtectedAction;
        let (name, setting) = match command.id {
            CommandId::Debug => ("DEBUG", self.config.enable_debug_command),
            CommandId::ModuleLoad | CommandId::ModuleLoadex | CommandId::ModuleUnload => {
                ("MODULE", self.config.enable_module_command)
            }
            _ => return Ok(()),
        };
        let is_allowed = match setting {
            ProtectedAction::Yes => true,
            ProtectedAction::Local => session.identity.is_local,
            ProtectedAction::No => false,
        };
        if is_allowed {
            return Ok(());
        }
        Err(ErrorReply::from(format!(
            "ERR {name} command not allowed. If the enable-{}-command option is set to \"local\", you can run it from a \
             local connection, otherwise you need to set this option in the configuration file, and then restart the \
             server.",
            name.to_lowercase()
        )))
    }

    /// Refuses a command before it runs.
    pub(crate) fn refuse(
        &mut self,
        handle: Handle,
        session: &mut Session,
        command: Option<&'static Command>,
        error: &ErrorReply,
    ) {
        session.spoil_transaction();
        self.stats.count_error(error.code());
        if let Some(command) = command {
            self.stats.command(command.id).rejected_calls += 1;
        }
        // A refused EXEC ends the transaction, and says so.
        if command.is_some_and(|command| command.id == CommandId::Exec) {
            session.transaction = None;
            self.forget_watches(handle, session);
            if is_redirection(error) {
                session.reply().error(error);
                return;
            }
            // The plain code is left out, as the reason is a part of a sentence now.
            let reason = error.0.strip_prefix("ERR ").unwrap_or(&error.0);
            let text = format!("EXECABORT Transaction discarded because of: {reason}");
            session.reply().error(&ErrorReply::from(text));
            return;
        }
        session.reply().error(error);
    }

    /// Runs a command that has passed all checks. `IS_PLAIN` if there is nothing that an ordinary client's command on keys
    /// could meet (`plain.rs`): what has to do with anything else is left out.
    pub(crate) fn run<const IS_PLAIN: bool>(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        session: &mut Session,
        command: &'static Command,
        request: Request<'_>,
    ) {
        let began_us = self.stopwatch_us.take().unwrap_or_else(|| host.stopwatch_us());
        let is_outermost = IS_PLAIN || !self.unit.is_open;
        if !IS_PLAIN || self.has_consumers() {
            self.note_aof_time(now);
        }
        let (offset_before, aof_before) = (self.replication_offset(), self.aof.position());
        self.effects.reset();
        self.effects.track_touched = !IS_PLAIN && self.tracks_touched(session);
        let (watch_changes, counted) = if IS_PLAIN {
            (Vec::new(), None)
        } else {
            let watch_changes = self.foresee_flush(now, handle, session, command.id, &request);
            (watch_changes, self.slot_to_count(session, command, &request))
        };
        let (outcome, error_count) = match shoal_store::commands::body(command.id) {
            Some(body) => self.run_in_store::<IS_PLAIN>(now, session, command, body, request),
            None => self.run_in_node(now, host, handle, session, command, request),
        };
        if let Err(error) = &outcome {
            session.reply().error(error);
            self.stats.count_error(error.code());
        }
        if let Some(problem) = self.effects.refusal.take() {
            host.log(LogLevel::Verbose, &format!("A payload was refused: {problem}"));
        }
        if outcome.is_err() || error_count > 0 {
            self.stats.command(command.id).failed_calls += 1;
        } else if !watch_changes.is_empty() {
            self.change_watches(handle, session, watch_changes);
        }
        let ended_us = host.stopwatch_us();
        self.stopwatch_us = Some(ended_us);
        let before_us = if IS_PLAIN { 0 } else { self.blocking.retried_after_us.unwrap_or(0) };
        let duration_us = ended_us.saturating_sub(began_us) + before_us;
        if IS_PLAIN {
            self.account(command, duration_us);
            self.note_duration(now, session, command, &request, duration_us);
        } else {
            self.count_slot(session, counted, duration_us);
            self.account_or_wait(now, (handle, session), command, &request, duration_us);
            if is_outermost && command.id != CommandId::Asking && !session.is_blocked {
                end_asking(session);
            }
        }
        session.last_command = Some(command);
        self.after::<IS_PLAIN>(handle, session, command, &request);
        if is_outermost && self.aof.position() != aof_before {
            session.last_aof_position = self.aof.position();
        }
        // For WAIT; what a transaction did is in the stream only now.
        if is_outermost && self.replication_offset() != offset_before {
            session.last_write_offset = self.replication_offset();
        }
        let is_flush = !IS_PLAIN && matches!(command.id, CommandId::Flushall | CommandId::Flushdb);
        if is_flush && outcome.is_ok() {
            self.after_flush(now, host, command.id == CommandId::Flushall && !session.is_internal);
        }
        if is_outermost && self.keyspace.has_garbage() {
            self.free_garbage(host);
        }
    }

    /// Accounts for what has run, or lets the client wait for what it has not found.
    fn account_or_wait(
        &mut self,
        now: Now,
        (handle, session): (Handle, &mut Session),
        command: &'static Command,
        request: &Request<'_>,
        duration_us: u64,
    ) {
        // A command that waits counts when it is done.
        if let Some(block) = self.effects.block.take() {
            self.begin_blocking(now, (handle, session), command, request, block, duration_us);
        } else if !session.is_internal {
            self.account(command, duration_us);
        }
        if !session.is_internal {
            self.observe(now, handle, session, command, request, duration_us);
        }
    }

    /// Whether the keys that a command changes have to be known.
    fn tracks_touched(&self, session: &Session) -> bool {
        let makes_own_keys = session.kind != ClientKind::Primary && self.is_writable_replica();
        makes_own_keys || !self.watchers.is_empty() || !self.blocking.is_empty()
    }

    #[inline]
    fn run_in_store<const IS_PLAIN: bool>(
        &mut self,
        now: Now,
        session: &mut Session,
        command: &'static Command,
        body: shoal_store::commands::Body,
        request: Request<'_>,
    ) -> (Outcome, u32) {
        let heeds_no_touch = command.id != CommandId::Touch;
        let first = if command.parent.is_some() { 2 } else { 1 };
        let access = if IS_PLAIN {
            let reply_max_bytes = self.output_limit(session).hard_bytes as usize;
            Access { no_touch: session.no_touch && heeds_no_touch, reply_max_bytes, ..Access::default() }
        } else {
            self.access(session, heeds_no_touch)
        };
        let (outcome, error_count, code) = self.with_store_as(now, session, access, |call| {
            let outcome = body(call, Arguments::new(request, first));
            let (error_count, code) = call.reply.errors();
            (outcome, error_count, code.map(str::to_owned))
        });
        if let Some(code) = code {
            self.stats.count_error(&code);
        }
        (outcome, error_count)
    }

    /// Runs something on the keyspace in the way of data commands, for this client.
    #[inline]
    pub(crate) fn with_store<R>(
        &mut self,
        now: Now,
        session: &mut Session,
        heeds_no_touch: bool,
        run: impl FnOnce(&mut Call<'_, '_>) -> R,
    ) -> R {
        let access = self.access(session, heeds_no_touch);
        self.with_store_as(now, session, access, run)
    }

    /// What a client sees of the keys.
    fn access(&self, session: &Session, heeds_no_touch: bool) -> Access {
        Access {
            // While clients are paused nothing is deleted, too: the data stand still.
            on_replica: self.is_replica() || self.data_stand_still(),
            from_primary: is_fed_by_primary(session),
            no_touch: session.no_touch && heeds_no_touch,
            deny_blocking: self.unit.is_open || is_fed_by_primary(session),
            reply_max_bytes: self.output_limit(session).hard_bytes as usize,
        }
    }

    #[inline]
    fn with_store_as<R>(
        &mut self,
        now: Now,
        session: &mut Session,
        access: Access,
        run: impl FnOnce(&mut Call<'_, '_>) -> R,
    ) -> R {
        self.effects.skip_propagation = !self.has_consumers();
        let mut reply = shoal_protocol::Reply::new(&mut session.output, session.is_resp3);
        run(&mut Call {
            now,
            keyspace: &mut self.keyspace,
            database_index: session.database,
            reply: &mut reply,
            effects: &mut self.effects,
            access,
            options: &self.options,
            rng: &mut self.rng,
        })
    }

    fn run_in_node(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        session: &mut Session,
        command: &'static Command,
        request: Request<'_>,
    ) -> (Outcome, u32) {
        let Some(body) = commands::body(command.id) else {
            return (Err(errors::unknown_command(command.name.as_bytes(), &[])), 0);
        };
        let first = if command.parent.is_some() { 2 } else { 1 };
        let mut call = NodeCall { node: self, session, handle, host, now, command };
        (body(&mut call, Arguments::new(request, first)), 0)
    }

    /// Counts a command that has been carried out.
    pub(crate) fn account(&mut self, command: &Command, duration_us: u64) {
        let stats = self.stats.command(command.id);
        stats.calls += 1;
        stats.duration_us += duration_us;
        if self.config.latency_tracking {
            stats.latencies.record_us(duration_us);
        }
        self.stats.total_commands += 1;
        self.stats.command_us += duration_us;
    }

    /// What follows from what a command did.
    fn after<const IS_PLAIN: bool>(
        &mut self,
        handle: Handle,
        session: &mut Session,
        command: &'static Command,
        request: &Request<'_>,
    ) {
        self.stats.keyspace_hits += self.effects.hits;
        self.stats.keyspace_misses += self.effects.misses;
        self.stats.expired_keys += self.effects.expired;
        self.stats.expired_fields += self.effects.expired_fields;
        if !IS_PLAIN && !self.blocking.is_empty() {
            self.note_ready_keys();
        }
        if !IS_PLAIN && !self.effects.touched.is_empty() {
            if session.kind != ClientKind::Primary && self.is_writable_replica() {
                self.note_own_keys();
            }
            self.tell_watchers(handle, session);
        }
        if !self.effects.events.is_empty() {
            self.publish_events(Some((handle, session)));
        }
        // The primary's own bytes go on to replicas; but the append-only file is fed with effects.
        let is_fed = session.kind != ClientKind::Primary || self.aof.takes_effects();
        if IS_PLAIN || is_fed && !session.is_internal {
            self.propagate_effects(session.database, command, request);
        } else {
            self.changes_since_save += self.effects.dirty;
        }
    }

    /// What follows from all keys being deleted.
    fn after_flush(&mut self, now: Now, host: &mut dyn Host, saves: bool) {
        if saves {
            self.save_emptiness(now, host);
        }
        self.migrations_see_flush(now, host);
    }

    fn tell_watchers(&mut self, handle: Handle, session: &mut Session) {
        let touched = std::mem::take(&mut self.effects.touched);
        for (database, key) in &touched {
            let watchers = self.watchers.of(*database, key);
            if watchers.is_empty() {
                continue;
            }
            let exists = self.keyspace.database(*database).find(key).is_some();
            for &watcher in watchers {
                if watcher == handle {
                    touch(session, key, exists);
                } else if let Some(other) = self.clients.session_mut(watcher) {
                    touch(other, key, exists);
                }
            }
        }
        self.effects.touched = touched;
        self.effects.touched.clear();
    }
}

/// Whether a client is a primary whose commands are carried out as they are.
fn is_fed_by_primary(session: &Session) -> bool {
    matches!(session.kind, ClientKind::Primary | ClientKind::Import)
}

/// The requests that wait, as far as there is room for them.
fn look_ahead<'r, 'a>(
    reader: &'a shoal_protocol::RequestReader,
    requests: &'r mut [UpcomingWords<'a>],
) -> &'r [UpcomingWords<'a>] {
    let mut count = 0;
    reader.upcoming(requests.len(), |words| {
        if let Some(place) = requests.get_mut(count) {
            *place = words;
            count += 1;
        }
    });
    &requests[..count]
}

/// Takes back what a client does not want to read.
fn suppress_reply(session: &mut Session, mark: shoal_protocol::reply::Mark) {
    match session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off | ReplyMode::SkipThis => session.output.truncate(mark),
        ReplyMode::SkipNext => {
            session.output.truncate(mark);
            session.reply_mode = ReplyMode::SkipThis;
            return;
        }
    }
    if session.reply_mode == ReplyMode::SkipThis {
        session.reply_mode = ReplyMode::On;
    }
}

/// ASKING holds for one command, or for one transaction.
pub(crate) fn end_asking(session: &mut Session) {
    session.is_asking &= session.transaction.is_some();
}

/// Commands that are not queued in a transaction.
fn runs_inside_transaction(id: CommandId) -> bool {
    use CommandId::{Discard, Exec, Multi, Quit, Reset, Watch};
    matches!(id, Exec | Discard | Multi | Watch | Quit | Reset)
}

fn is_allowed_for_subscribers(id: CommandId) -> bool {
    use CommandId::{
        Ping, Psubscribe, Punsubscribe, Quit, Reset, Ssubscribe, Subscribe, Sunsubscribe, Unsubscribe,
    };
    matches!(
        id,
        Ping | Subscribe | Ssubscribe | Psubscribe | Unsubscribe | Sunsubscribe | Punsubscribe | Quit | Reset
    )
}

/// Whether a pause puts this command off.
pub(crate) fn is_paused(kind: PauseKind, session: &Session, command: &Command) -> bool {
    match kind {
        PauseKind::All => true,
        PauseKind::Writes => {
            pause::may_write(command) && (command.id != CommandId::Exec || transaction_writes(session))
        }
    }
}

fn transaction_writes(session: &Session) -> bool {
    session.transaction.as_ref().is_some_and(|transaction| transaction.has_write)
}

/// Whether a command is refused when memory is used up: it asks for more, or waits for EXEC in memory.
fn wants_memory(session: &Session, command: &Command) -> bool {
    let Some(transaction) = &session.transaction else { return command.flags.contains(Flags::DENYOOM) };
    match command.id {
        CommandId::Exec => transaction.denies_oom,
        CommandId::Discard | CommandId::Quit | CommandId::Reset => false,
        _ => true,
    }
}

fn queue(session: &mut Session, command: &'static Command, request: &Request<'_>) {
    let Some(transaction) = &mut session.transaction else { return };
    // A transaction that cannot run any more keeps no commands.
    if !transaction.is_spoilt && !session.is_watch_broken {
        let owned = OwnedRequest::copy(request);
        transaction.size_bytes += owned.size_bytes() + QUEUED_COMMAND_OVERHEAD_BYTES;
        transaction.has_write |= pause::may_write(command);
        transaction.denies_oom |= command.flags.contains(Flags::DENYOOM);
        transaction.queue.push((command, owned));
    }
    session.reply().simple("QUEUED");
}
