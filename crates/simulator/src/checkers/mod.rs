//! The invariants, one file each.

mod deposed;
mod epochs;
mod healed;
mod keys;
mod one_owner;
mod one_vote;

use deposed::Deposed;
use epochs::Epochs;
pub(crate) use healed::check_healed;
pub(crate) use keys::SafeWrites;
use one_owner::OneOwner;
use one_vote::OneVote;
use shoal_cluster::Message;
use shoal_cluster::view::ClusterView;

/// All that are checked all the time.
#[derive(Debug)]
pub(crate) struct Checkers {
    one_vote: OneVote,
    one_owner: Option<OneOwner>,
    epochs: Epochs,
    deposed: Deposed,
}

impl Checkers {
    pub(crate) fn new(has_unvoted_epochs: bool) -> Self {
        Self {
            one_vote: OneVote::default(),
            one_owner: (!has_unvoted_epochs).then(OneOwner::default),
            epochs: Epochs::default(),
            deposed: Deposed::default(),
        }
    }

    /// A node sends a message. `receiver` is the node it goes to, `applied` the view its executor works by, and `is_held` says
    /// whether it serves a slot of its own not for now.
    pub(crate) fn on_send(
        &mut self,
        sender: usize,
        receiver: Option<usize>,
        message: &Message,
        applied: Option<&ClusterView>,
        is_held: &dyn Fn(u16) -> bool,
    ) -> Result<(), String> {
        self.one_vote.on_send(sender, receiver, message)?;
        self.epochs.on_send(sender, message)?;
        if let Some(one_owner) = &mut self.one_owner {
            one_owner.on_send(sender, message)?;
        }
        self.deposed.on_send(sender, message, applied, is_held)
    }

    /// A node's executor acknowledges a write.
    pub(crate) fn on_acknowledged(
        &mut self,
        node: usize,
        slot: u16,
        view: &ClusterView,
    ) -> Result<(), String> {
        self.deposed.on_acknowledged(node, slot, view)
    }

    /// A node crashed.
    pub(crate) fn on_crash(&mut self, node: usize) {
        self.deposed.on_crash(node);
    }
}
