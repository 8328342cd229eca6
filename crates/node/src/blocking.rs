//! Clients whose command waits for a key: BLPOP, BZPOPMIN, XREAD and their kin.
//!
//! ```text
//! run ── finds nothing ──▶ waiting, in a queue at each of its keys
//!                            │ ▲
//!    a key was touched ──────▶ run again ── finds something ──▶ reply; what it does is passed on; may touch further keys
//!                            ├── time is over ──▶ the null of the command
//!                            └── CLIENT UNBLOCK, another role, a slot that has gone ──▶ an error
//! ```
//!
//! Touched keys are looked at in the order in which they were touched, and the clients at a key in the order in which
//! they came; one that finds nothing again keeps its place. Each served client goes for good, so the work ends, even when
//! served clients feed each other. Clients are served between commands, and after a transaction as a whole.

use crate::action::Action;
use crate::clients::Handle;
use crate::dispatch::is_paused;
use crate::host::Host;
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::{Command, ErrorReply, OwnedRequest, Request};
use shoal_session::{Close, Session};
use shoal_store::call::{Block, TimeoutReply};
use shoal_store::types::Type;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What clients are told that wait when this node's role changes.
pub(crate) const ROLE_CHANGED: ErrorReply = ErrorReply::new(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
);

/// What a client is told whose waiting somebody ends by CLIENT UNBLOCK with an error.
pub(crate) const UNBLOCKED_BY_CLIENT: ErrorReply =
    ErrorReply::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");

/// A client that waits.
#[derive(Debug)]
struct Waiter {
    /// Its place in the order of arrival.
    number: u64,
    database: usize,
    keys: Vec<Vec<u8>>,
    kind: Type,
    until_key_goes: bool,
    deadline: Option<Monotonic>,
    on_timeout: TimeoutReply,
    command: &'static Command,
    /// What the client sent.
    request: Arc<OwnedRequest>,
    /// What is run again.
    retry: Arc<OwnedRequest>,
    /// How long the command has run so far, the waiting left out.
    spent_us: u64,
}

/// The clients at one key.
#[derive(Debug, Default)]
struct Queue {
    /// By their numbers.
    clients: BTreeMap<u64, Handle>,
    /// How many of them want to know, too, when the key goes.
    until_key_goes: usize,
    /// The key stands in the list of those to be looked at.
    is_ready: bool,
}

/// All clients that wait for keys.
#[derive(Debug, Default)]
pub(crate) struct Blocking {
    waiters: BTreeMap<Handle, Waiter>,
    /// By database.
    queues: BTreeMap<usize, BTreeMap<Vec<u8>, Queue>>,
    deadlines: BTreeSet<(Monotonic, Handle)>,
    /// Touched keys that somebody waits for, in the order in which they are to be looked at.
    ready: VecDeque<(usize, Vec<u8>)>,
    next_number: u64,
    /// A command of a client that waited runs again; it had run for so long before.
    pub retried_after_us: Option<u64>,
}

impl Blocking {
    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Whether there are keys to be looked at.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many clients wait with a deadline.
    pub fn deadline_count(&self) -> usize {
        self.deadlines.len()
    }

    /// When the next client's time is over.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// The number of keys that clients wait for, and of those where a client wants to know when the key goes.
    pub fn key_counts(&self) -> (usize, usize) {
        let queues = || self.queues.values().flat_map(BTreeMap::values);
        (queues().count(), queues().filter(|queue| queue.until_key_goes > 0).count())
    }

    /// Notes that a key has changed or gone, if somebody waits for it.
    pub fn note(&mut self, database: usize, key: &[u8]) {
        if let Some(queue) = self.queues.get_mut(&database).and_then(|queues| queues.get_mut(key))
            && !queue.is_ready
        {
            queue.is_ready = true;
            self.ready.push_back((database, key.to_vec()));
        }
    }

    /// Notes that all keys of a database may have changed.
    pub fn note_database(&mut self, database: usize) {
        let Some(queues) = self.queues.get_mut(&database) else { return };
        for (key, queue) in queues.iter_mut().filter(|(_, queue)| !queue.is_ready) {
            queue.is_ready = true;
            self.ready.push_back((database, key.clone()));
        }
    }

    /// Notes that everything may have changed.
    pub fn note_all(&mut self) {
        let databases: Vec<usize> = self.queues.keys().copied().collect();
        databases.into_iter().for_each(|database| self.note_database(database));
    }

    fn add(&mut self, handle: Handle, waiter: Waiter) {
        if let Some(deadline) = waiter.deadline {
            self.deadlines.insert((deadline, handle));
        }
        let queues = self.queues.entry(waiter.database).or_default();
        for key in &waiter.keys {
            let queue = queues.entry(key.clone()).or_default();
            queue.until_key_goes += usize::from(waiter.until_key_goes);
            queue.clients.insert(waiter.number, handle);
        }
        self.waiters.insert(handle, waiter);
    }

    fn remove(&mut self, handle: Handle) -> Option<Waiter> {
        let waiter = self.waiters.remove(&handle)?;
        if let Some(deadline) = waiter.deadline {
            self.deadlines.remove(&(deadline, handle));
        }
        let queues = self.queues.get_mut(&waiter.database)?;
        for key in &waiter.keys {
            let Some(queue) = queues.get_mut(key) else { continue };
            queue.clients.remove(&waiter.number);
            queue.until_key_goes -= usize::from(waiter.until_key_goes);
            if queue.clients.is_empty() {
                queues.remove(key);
            }
        }
        if queues.is_empty() {
            self.queues.remove(&waiter.database);
        }
        Some(waiter)
    }

    /// The key to be looked at next.
    fn take_ready(&mut self) -> Option<(usize, Vec<u8>)> {
        let (database, key) = self.ready.pop_front()?;
        if let Some(queue) = self.queues.get_mut(&database).and_then(|queues| queues.get_mut(&key)) {
            queue.is_ready = false;
        }
        Some((database, key))
    }

    fn queue(&self, database: usize, key: &[u8]) -> Option<&Queue> {
        self.queues.get(&database)?.get(key)
    }
}

impl Node {
    /// A client's command has found nothing and waits from now on.
    pub(crate) fn begin_blocking(
        &mut self,
        now: Now,
        (handle, session): (Handle, &mut Session),
        command: &'static Command,
        request: &Request<'_>,
        block: Block,
        spent_us: u64,
    ) {
        // One that has tried again keeps its place and its deadline.
        if let Some(waiter) = self.blocking.waiters.get_mut(&handle) {
            waiter.spent_us = spent_us;
            session.is_blocked = true;
            return;
        }
        let Block { keys, kind, timeout_ms, on_timeout, retry, until_key_goes } = block;
        let mut known = BTreeSet::new();
        let keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| known.insert(key.clone())).collect();
        let number = self.blocking.next_number;
        self.blocking.next_number += 1;
        session.is_blocked = true;
        let request = Arc::new(OwnedRequest::copy(request));
        let waiter = Waiter {
            number,
            database: session.database,
            keys,
            kind,
            until_key_goes,
            deadline: (timeout_ms > 0).then(|| now.monotonic.plus_ms(timeout_ms)),
            on_timeout,
            command,
            retry: retry.map_or_else(|| Arc::clone(&request), Arc::new),
            request,
            spent_us,
        };
        self.blocking.add(handle, waiter);
    }

    /// Notes the keys that the running command has touched and somebody waits for.
    pub(crate) fn note_ready_keys(&mut self) {
        for (database, key) in &self.effects.touched {
            self.blocking.note(*database, key);
        }
        for &database in &self.effects.touched_databases {
            self.blocking.note_database(database);
        }
    }

    /// Serves the clients that wait for keys that were touched.
    pub(crate) fn serve_blocked(&mut self, host: &mut dyn Host) {
        if !self.blocking.has_ready() {
            return;
        }
        // Time may have passed since the command began that touched the keys.
        let now = host.now();
        // Keys whose clients a pause keeps from being served are looked at again when it is over.
        let mut held = Vec::new();
        while let Some((database, key)) = self.blocking.take_ready() {
            if self.serve_key(now, host, database, &key) {
                held.push((database, key));
            }
        }
        for (database, key) in held {
            self.blocking.note(database, &key);
        }
    }

    /// Serves the clients that wait for one key. True if some have to wait for the end of a pause.
    fn serve_key(&mut self, now: Now, host: &mut dyn Host, database: usize, key: &[u8]) -> bool {
        let end = self.blocking.next_number;
        let mut next = 0;
        let mut is_held = false;
        while let Some(queue) = self.blocking.queue(database, key) {
            let held_kind = self.kind_of_key(database, key);
            if held_kind.is_none() && queue.until_key_goes == 0 {
                break;
            }
            let Some((&number, &handle)) = queue.clients.range(next..end).next() else { break };
            next = number + 1;
            let Some(waiter) = self.blocking.waiters.get(&handle) else { continue };
            if held_kind != Some(waiter.kind) && !waiter.until_key_goes {
                continue;
            }
            is_held |= !self.retry(now, host, handle);
        }
        is_held
    }

    /// What a key holds; one that has expired goes when the command that waits for it looks at it.
    fn kind_of_key(&self, database: usize, key: &[u8]) -> Option<Type> {
        let database = self.keyspace.database(database);
        Some(database.entry(database.find(key)?).kind())
    }

    /// Runs a waiting client's command again. False if a pause forbids it.
    fn retry(&mut self, now: Now, host: &mut dyn Host, handle: Handle) -> bool {
        let Some(waiter) = self.blocking.waiters.get(&handle) else { return true };
        let Some(mut session) = self.clients.take(handle) else { return true };
        let command = waiter.command;
        if self.pauses.kind().is_some_and(|kind| is_paused(kind, &session, command)) {
            self.clients.put_back(handle, session);
            return false;
        }
        if session.close != Close::No {
            self.clients.put_back(handle, session);
            return true;
        }
        let (retry, spent_us) = (Arc::clone(&waiter.retry), waiter.spent_us);
        let mark = session.output.mark();
        session.is_blocked = false;
        self.stopwatch_us = None;
        let request = retry.as_request();
        match self.check(now, &session, command, &request, false) {
            Ok(()) => {
                self.blocking.retried_after_us = Some(spent_us);
                self.run::<false>(now, host, handle, &mut session, command, request);
                self.blocking.retried_after_us = None;
            }
            Err(error) => self.refuse(handle, &mut session, Some(command), &error),
        }
        if !session.is_blocked {
            self.blocking.remove(handle);
            crate::dispatch::end_asking(&mut session);
            self.actions.push(Action::Resume(handle));
        }
        self.finish(now, host, handle, session, mark);
        true
    }
}

/// How a client's waiting ends that got nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error(ErrorReply),
}

impl Node {
    /// Lets clients go on whose time is over.
    pub(crate) fn expire_blocked(&mut self, now: Now, host: &mut dyn Host) {
        while let Some(&(deadline, handle)) = self.blocking.deadlines.first() {
            if deadline > now.monotonic {
                break;
            }
            self.end_blocking(now, host, handle, Ending::Timeout);
        }
    }

    /// Lets one client go on that waits for a key. False if it does not.
    pub(crate) fn end_blocking(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        ending: Ending,
    ) -> bool {
        let Some(waiter) = self.blocking.remove(handle) else { return false };
        let Some(mut session) = self.clients.take(handle) else { return true };
        let mark = session.output.mark();
        session.is_blocked = false;
        let is_error = matches!(ending, Ending::Error(_));
        match ending {
            Ending::Error(error) => {
                session.reply().error(&error);
                self.stats.count_error(error.code());
            }
            Ending::Timeout => match waiter.on_timeout {
                TimeoutReply::NullArray => session.reply().null_array(),
                TimeoutReply::Null => session.reply().null(),
            },
        }
        self.account(waiter.command, waiter.spent_us);
        self.stats.command(waiter.command.id).failed_calls += u64::from(is_error);
        let request = waiter.request.as_request();
        self.note_duration(now, &session, waiter.command, &request, waiter.spent_us);
        crate::dispatch::end_asking(&mut session);
        self.actions.push(Action::Resume(handle));
        self.finish(now, host, handle, session, mark);
        true
    }

    /// Ends the waiting of all clients, for keys and for replicas, and their connections: this node follows a primary
    /// from now on.
    pub(crate) fn end_all_blocking(&mut self, now: Now, host: &mut dyn Host) {
        let keys: Vec<Handle> = self.blocking.waiters.keys().copied().collect();
        for handle in keys {
            self.end_blocking(now, host, handle, Ending::Error(ROLE_CHANGED));
            self.close(handle, Close::AfterReply);
        }
        for handle in self.abort_waits() {
            self.close(handle, Close::AfterReply);
        }
    }

    /// Sends clients elsewhere that wait for keys of slots which this node does not serve any more.
    pub(crate) fn redirect_blocked(&mut self, now: Now, host: &mut dyn Host) {
        let lost: Vec<(Handle, ErrorReply)> = self
            .blocking
            .waiters
            .iter()
            .filter_map(|(&handle, waiter)| {
                let session = self.clients.session(handle)?;
                let error = self.refusal_to_wait(now, session, waiter.command, waiter.keys.first()?)?;
                Some((handle, error))
            })
            .collect();
        for (handle, error) in lost {
            self.end_blocking(now, host, handle, Ending::Error(error));
        }
    }

    /// A client has gone that may have waited for keys.
    pub(crate) fn forget_blocked(&mut self, handle: Handle) {
        self.blocking.remove(handle);
    }
}

#[cfg(test)]
#[path = "blocking_tests.rs"]
mod tests;
