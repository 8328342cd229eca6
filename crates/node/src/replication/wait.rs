//! Clients that wait until replicas have got their writes.

use crate::action::Action;
use crate::blocking::{ROLE_CHANGED, UNBLOCKED_BY_CLIENT};
use crate::clients::Handle;
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::{ErrorReply, OwnedRequest};

/// A client in WAIT.
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
}

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
        self.end_waits(|node, wait| {
            let count = node.replication.peers.acknowledged(wait.offset);
            (count >= wait.count).then_some(count)
        });
    }

    /// Lets clients go on whose patience has ended.
    pub(crate) fn expire_waits(&mut self, now: Now) {
        self.end_waits(|node, wait| {
            let is_over = wait.deadline.is_some_and(|deadline| deadline <= now.monotonic);
            is_over.then(|| node.replication.peers.acknowledged(wait.offset))
        });
    }

    /// Ends the waits for which `outcome` gives a number.
    fn end_waits(&mut self, outcome: impl Fn(&Self, &Wait) -> Option<usize>) {
        if self.replication.waits.is_empty() {
            return;
        }
        for wait in std::mem::take(&mut self.replication.waits) {
            match outcome(self, &wait) {
                Some(count) => self.unblock(wait.handle, &Ok(count)),
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
        let outcome = if with_error {
            Err(UNBLOCKED_BY_CLIENT)
        } else {
            Ok(self.replication.peers.acknowledged(wait.offset))
        };
        self.unblock(handle, &outcome);
        true
    }

    /// Lets all clients go on that wait for replicas: this node's role changes. Returns who they were.
    pub(crate) fn abort_waits(&mut self) -> Vec<Handle> {
        let waits = std::mem::take(&mut self.replication.waits);
        waits.iter().for_each(|wait| self.unblock(wait.handle, &Err(ROLE_CHANGED)));
        waits.into_iter().map(|wait| wait.handle).collect()
    }

    fn unblock(&mut self, handle: Handle, outcome: &Result<usize, ErrorReply>) {
        let Some(session) = self.clients.session_mut(handle) else { return };
        session.is_blocked = false;
        match outcome {
            Ok(count) => session.reply().integer(*count as i64),
            Err(error) => {
                session.reply().error(error);
                self.stats.count_error(error.code());
            }
        }
        self.clients.mark_pending(handle);
        self.actions.push(Action::Resume(handle));
    }
}
