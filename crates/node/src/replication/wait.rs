//! Clients that wait until replicas have got their writes.

use crate::action::Action;
use crate::blocking::{ROLE_CHANGED, UNBLOCKED_BY_CLIENT};
use crate::clients::Handle;
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::{ErrorReply, OwnedRequest, Reply};

/// A client in WAIT or WAITAOF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// The client.
    pub handle: Handle,
    /// The offset that replicas have to acknowledge.
    pub offset: u64,
    /// How many of them.
    pub count: usize,
    /// When it gives up; `None` for never.
    pub deadline: Option<Monotonic>,
    /// For WAITAOF.
    pub aof: Option<AofWait>,
}

/// What WAITAOF waits for beside replicas, which have to have the writes on their disks, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AofWait {
    /// How much of the own append-only file has to be on the disk.
    pub position: u64,
    /// Whether that is waited for.
    pub is_local_wanted: bool,
}

/// How far a wait has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitProgress {
    /// The own disk has it; for WAITAOF.
    pub local: Option<bool>,
    /// How many replicas have it.
    pub replicas: usize,
}

impl Wait {
    /// Whether there is nothing more to wait for.
    pub(crate) fn is_satisfied(&self, progress: WaitProgress) -> bool {
        let is_local_missing =
            self.aof.is_some_and(|aof| aof.is_local_wanted) && progress.local != Some(true);
        progress.replicas >= self.count && !is_local_missing
    }
}

impl WaitProgress {
    /// Replies with it.
    pub(crate) fn reply(self, reply: &mut Reply<'_>) {
        if let Some(local) = self.local {
            reply.array(2);
            reply.integer(i64::from(local));
        }
        reply.integer(self.replicas as i64);
    }
}

/// What WAITAOF says without an append-only file.
pub(crate) const NO_AOF: ErrorReply =
    ErrorReply::new("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");

impl Node {
    /// Asks all replicas through the stream how far they are, unless they have just been asked.
    pub(crate) fn ask_replicas(&mut self) {
        if !self.replication_is_active() || self.replication.asked_at == self.replication.stream.end() {
            return;
        }
        self.feed_words(&["REPLCONF", "GETACK", "*"]);
        self.replication.asked_at = self.replication.stream.end();
    }

    /// Appends a command to the stream that touches no keys, and so needs no database.
    pub(crate) fn feed_words(&mut self, words: &[&str]) {
        let mut bytes = Vec::new();
        crate::propagation::encode(&OwnedRequest::new(words).as_request(), &mut bytes);
        self.feed_stream(&bytes);
    }

    /// Lets clients go on whose writes have arrived at enough replicas.
    pub(crate) fn serve_waits(&mut self) {
        self.note_acknowledged();
        let has_aof = self.config.appendonly;
        self.end_waits(|node, wait| {
            if wait.aof.is_some_and(|aof| aof.is_local_wanted) && !has_aof {
                return Some(Err(NO_AOF));
            }
            let progress = node.wait_progress(wait);
            wait.is_satisfied(progress).then_some(Ok(progress))
        });
    }

    /// How far a wait has come.
    pub(crate) fn wait_progress(&self, wait: &Wait) -> WaitProgress {
        let peers = &self.replication.peers;
        match wait.aof {
            None => WaitProgress { local: None, replicas: peers.acknowledged(wait.offset) },
            Some(aof) => WaitProgress {
                local: Some(self.config.appendonly && self.aof.synced_bytes >= aof.position),
                replicas: peers.synced(wait.offset),
            },
        }
    }

    /// Lets clients go on whose patience has ended.
    pub(crate) fn expire_waits(&mut self, now: Now) {
        // The append-only file may have been switched off.
        self.serve_waits();
        if self.next_wait_deadline().is_none_or(|next| next > now.monotonic) {
            return;
        }
        self.end_waits(|node, wait| {
            let is_over = wait.deadline.is_some_and(|deadline| deadline <= now.monotonic);
            is_over.then(|| Ok(node.wait_progress(wait)))
        });
        let deadlines = self.replication.waits.iter().filter_map(|wait| wait.deadline);
        self.replication.next_wait_deadline = deadlines.min();
    }

    /// A client waits. The first deadline is kept apart, so that no turn of the loop looks at all of them.
    pub(crate) fn add_wait(&mut self, wait: Wait) {
        let next = self.next_wait_deadline();
        self.replication.next_wait_deadline = next.into_iter().chain(wait.deadline).min();
        self.replication.waits.push(wait);
    }

    /// When the first client that waits gives up, or earlier.
    pub(crate) fn next_wait_deadline(&self) -> Option<Monotonic> {
        self.replication.next_wait_deadline.filter(|_| !self.replication.waits.is_empty())
    }

    /// Ends the waits for which `outcome` gives something.
    fn end_waits(&mut self, outcome: impl Fn(&Self, &Wait) -> Option<Result<WaitProgress, ErrorReply>>) {
        if self.replication.waits.is_empty() {
            return;
        }
        for wait in std::mem::take(&mut self.replication.waits) {
            match outcome(self, &wait) {
                Some(outcome) => self.unblock(wait.handle, &outcome),
                None => self.replication.waits.push(wait),
            }
        }
    }

    /// Lets one client go on, as if its patience had ended or with an error. False if it waits for no replicas.
    pub(crate) fn end_wait(&mut self, handle: Handle, with_error: bool) -> bool {
        let Some(index) = self.replication.waits.iter().position(|wait| wait.handle == handle) else {
            return false;
        };
        let wait = self.replication.waits.swap_remove(index);
        let outcome = if with_error { Err(UNBLOCKED_BY_CLIENT) } else { Ok(self.wait_progress(&wait)) };
        self.unblock(handle, &outcome);
        true
    }

    /// Lets all clients go on that wait for replicas: this node's role changes. Returns who they were.
    pub(crate) fn abort_waits(&mut self) -> Vec<Handle> {
        let waits = std::mem::take(&mut self.replication.waits);
        waits.iter().for_each(|wait| self.unblock(wait.handle, &Err(ROLE_CHANGED)));
        waits.into_iter().map(|wait| wait.handle).collect()
    }

    fn unblock(&mut self, handle: Handle, outcome: &Result<WaitProgress, ErrorReply>) {
        let Some(session) = self.clients.session_mut(handle) else { return };
        session.is_blocked = false;
        match outcome {
            Ok(progress) => progress.reply(&mut session.reply()),
            Err(error) => {
                session.reply().error(error);
                self.stats.count_error(error.code());
            }
        }
        self.clients.mark_pending(handle);
        self.actions.push(Action::Resume(handle));
    }
}
