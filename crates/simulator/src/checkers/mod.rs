//! The invariants, one file each.

mod deposed;
mod epochs;
mod healed;
mod keys;
mod one_owner;
mod one_server;
mod one_vote;

use deposed::Deposed;
use epochs::Epochs;
pub(crate) use healed::check_healed;
pub(crate) use keys::SafeWrites;
use one_owner::OneOwner;
use one_server::OneServer;
use one_vote::OneVote;
use shoal_cluster::view::{ClusterView, ViewRole};
use shoal_cluster::{Message, SlotSet};

/// All that are checked all the time.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    one_vote: OneVote,
    one_owner: OneOwner,
    epochs: Epochs,
    deposed: Deposed,
    one_server: OneServer,
}

impl Checkers {
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
        self.one_owner.on_send(sender, message)?;
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

    /// A node that was a replica is elected; `shard` are the nodes of its shard.
    pub(crate) fn on_elected(&mut self, node: usize, shard: &[usize], view: &ClusterView) {
        self.one_server.on_elected(node, shard, &own_slots(view));
    }

    /// Others have taken these slots from a node that has not heard of it.
    pub(crate) fn on_unheard(&mut self, node: usize, taken: &SlotSet) {
        self.one_server.on_unheard(node, taken);
    }

    /// Granted slots were taken back from a node that has failed, with an epoch above this one.
    pub(crate) fn on_revoked(&mut self, node: usize, slots: SlotSet, epoch_max: u64) {
        self.one_server.on_revoked(node, slots, epoch_max);
    }

    /// A node has taken this epoch since another primary had the one that it had.
    pub(crate) fn on_collision(&mut self, epoch: u64) {
        self.one_owner.on_collision(epoch);
    }

    /// A node's executor has put a view into force.
    pub(crate) fn on_view(&mut self, node: usize, view: &ClusterView) {
        let epoch_of = |slot| {
            view.owners.get(slot).and_then(|owner| view.node(owner)).map_or(0, |owner| owner.config_epoch)
        };
        self.one_server.on_view(node, &own_slots(view), &epoch_of);
    }

    /// These nodes would acknowledge a write to a slot at the same moment.
    pub(crate) fn on_served(&self, slot: u16, servers: &[usize]) -> Result<(), String> {
        self.one_server.on_served(slot, servers)
    }

    /// A node crashed.
    pub(crate) fn on_crash(&mut self, node: usize) {
        self.deposed.on_crash(node);
    }
}

fn own_slots(view: &ClusterView) -> SlotSet {
    match (&view.role, view.node(view.myself)) {
        (ViewRole::Primary, Some(me)) => (*me.slots).clone(),
        _ => SlotSet::empty(),
    }
}
