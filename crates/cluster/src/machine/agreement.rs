//! Epochs that a majority knows before anything is claimed with them.
//!
//! A config epoch that a node takes by itself may be one that an election has at the same time. If the node dies before anybody
//! hears of its claim, its replica is elected with that epoch or a smaller one, and when the node comes back its claim takes
//! everything from the replica again, with all that was written meanwhile. So a node that is about to take slots raises the current
//! epoch first, and waits until a majority of the primaries has saved it: every later election has a greater one.

use super::ClusterMachine;
use super::announce::Action;
use crate::interface::{MachineMessage, Output};
use crate::view::NodeKey;
use std::collections::BTreeSet;

/// Agreements that are waited for; older ones are forgotten.
const AGREEMENTS_MAX: usize = 64;

/// An epoch that others are to know.
#[derive(Clone, Debug)]
pub(super) struct Agreement {
    ticket: u64,
    epoch: u64,
    knows: BTreeSet<NodeKey>,
}

impl ClusterMachine {
    /// Begins; the executor hears of it when a majority knows the epoch.
    pub(super) fn agree_on_epoch(&mut self, ticket: u64) {
        if self.me().is_replica() {
            return;
        }
        self.current_epoch += 1;
        self.changed();
        self.views.is_dirty = true;
        if self.agreements.len() >= AGREEMENTS_MAX {
            self.agreements.remove(0);
        }
        self.agreements.push(Agreement { ticket, epoch: self.current_epoch, knows: BTreeSet::new() });
        self.when_safe(Action::AskPrimaries);
    }

    /// The new epoch is saved: everybody who votes is told, and answers.
    pub(super) fn ask_primaries(&mut self) {
        for key in self.table.keys() {
            if key != self.myself && self.votes(key) {
                self.send_ping(key);
            }
        }
        self.count_agreements();
    }

    /// A node has said which epoch it has saved.
    pub(super) fn note_epoch_of(&mut self, sender: NodeKey, epoch: u64) {
        if self.agreements.is_empty() || !self.votes(sender) {
            return;
        }
        for agreement in self.agreements.iter_mut().filter(|agreement| agreement.epoch <= epoch) {
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
            agreement.epoch <= saved_epoch && agreement.knows.len() + own_vote >= quorum
        };
        for agreement in self.agreements.extract_if(.., |agreement| is_agreed(agreement)) {
            let Agreement { ticket, epoch, .. } = agreement;
            self.outputs.push(Output::ToNode(MachineMessage::EpochAgreed { ticket, epoch }));
        }
    }
}
