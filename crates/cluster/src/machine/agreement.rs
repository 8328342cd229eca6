//! Epochs that a majority knows before anything is claimed with them.
//!
//! A config epoch that a node takes by itself may be one that an election has at the same time. If the node dies before anybody
//! hears of its claim, its replica is elected with that epoch or a smaller one, and when the node comes back its claim takes
//! everything from the replica again, with all that was written meanwhile. So a node that is about to take slots raises the current
//! epoch by two first, and waits until a majority of the primaries has saved it: every later election has a greater one than the first of
//! the two.

use super::announce::Action;
use super::{ClusterMachine, Timer};
use crate::interface::{MachineMessage, Output};
use crate::view::NodeKey;
use std::collections::BTreeSet;

/// Agreements that are waited for; older ones are forgotten.
const AGREEMENTS_MAX: usize = 64;

/// A peer answers at once, and before it has saved the epoch: it is asked again after this, and then less and less often.
const ASK_AGAIN_MS: u64 = 4;
/// But at least this often.
const ASK_AGAIN_MAX_MS: u64 = 128;

/// An epoch that others are to know.
#[derive(Clone, Debug)]
pub(super) struct Agreement {
    ticket: u64,
    /// The one that slots are to be claimed with.
    epoch: u64,
    /// The next one, which a majority is to know: an election may have the epoch that its voters know already.
    known: u64,
    knows: BTreeSet<NodeKey>,
    /// How long is waited before it is asked for again.
    interval_ms: u64,
}

impl ClusterMachine {
    /// Begins; the executor hears of it when a majority knows the epoch.
    pub(super) fn agree_on_epoch(&mut self, ticket: u64, above: u64) {
        if self.me().is_replica() {
            return;
        }
        let epoch = self.current_epoch.max(above).saturating_add(1);
        let known = epoch.saturating_add(1);
        self.current_epoch = known;
        self.changed();
        self.views.is_dirty = true;
        if self.agreements.len() >= AGREEMENTS_MAX {
            self.agreements.remove(0);
        }
        let knows = BTreeSet::new();
        self.agreements.push(Agreement { ticket, epoch, known, knows, interval_ms: ASK_AGAIN_MS });
        self.when_safe(Action::AskPrimaries);
    }

    /// The new epoch is saved: everybody who votes is told, and answers.
    pub(super) fn ask_primaries(&mut self) {
        for key in self.table.keys() {
            let lacks_it = self.agreements.iter().any(|agreement| !agreement.knows.contains(&key));
            if key != self.myself && lacks_it && self.votes(key) {
                self.send_ping(key);
            }
        }
        self.count_agreements();
        let interval_ms = self.agreements.iter().map(|agreement| agreement.interval_ms).min();
        for agreement in &mut self.agreements {
            agreement.interval_ms = (agreement.interval_ms * 2).min(ASK_AGAIN_MAX_MS);
        }
        if let Some(interval_ms) = interval_ms {
            self.timers.set(Timer::Agreement, self.monotonic().plus_ms(interval_ms));
        }
    }

    /// A node has said which epoch it has saved.
    pub(super) fn note_epoch_of(&mut self, sender: NodeKey, epoch: u64) {
        if self.agreements.is_empty() || !self.votes(sender) {
            return;
        }
        for agreement in self.agreements.iter_mut().filter(|agreement| agreement.known <= epoch) {
            agreement.knows.insert(sender);
        }
        self.count_agreements();
    }

    fn votes(&self, key: NodeKey) -> bool {
        self.table.get(key).is_some_and(|node| node.is_primary() && !node.slots.is_empty())
    }

    fn count_agreements(&mut self) {
        let (quorum, saved_epoch) = (self.table.quorum(), self.announcements.epoch());
        let own_vote = usize::from(self.votes(self.myself));
        let is_agreed = |agreement: &Agreement| {
            agreement.known <= saved_epoch && agreement.knows.len() + own_vote >= quorum
        };
        for agreement in self.agreements.extract_if(.., |agreement| is_agreed(agreement)) {
            let Agreement { ticket, epoch, .. } = agreement;
            self.outputs.push(Output::ToNode(MachineMessage::EpochAgreed { ticket, epoch }));
        }
    }
}
