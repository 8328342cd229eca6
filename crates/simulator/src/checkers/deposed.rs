//! A deposed primary acknowledges nothing after it learned of it: by the time a node tells others that it does not
//! own a slot any more, its executor knows, and it serves the slot again only by a newer view.

use shoal_cluster::view::ClusterView;
use shoal_cluster::{Message, SlotSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What each node last claimed for itself.
#[derive(Debug, Default)]
pub(crate) struct Deposed {
    claimed: BTreeMap<usize, Arc<SlotSet>>,
    /// For slots given up: the version of the view the executor worked by then.
    given_up: BTreeMap<(usize, u16), u64>,
}

impl Deposed {
    pub(crate) fn on_send(
        &mut self,
        sender: usize,
        message: &Message,
        applied: Option<&ClusterView>,
        is_held: &dyn Fn(u16) -> bool,
    ) -> Result<(), String> {
        let header = &message.header;
        let claims = if header.primary.is_none() { header.slots.clone() } else { Arc::default() };
        let before = self.claimed.insert(sender, claims.clone());
        let Some(before) = before.filter(|before| !Arc::ptr_eq(before, &claims) && **before != *claims)
        else {
            return Ok(());
        };
        for slot in before.minus(&claims).iter() {
            if let Some(view) = applied {
                if view.owns(slot) && !is_held(slot) {
                    return Err(format!(
                        "a deposed primary serves nothing: n{sender} gave up slot {slot}, but its executor still serves it"
                    ));
                }
                self.given_up.insert((sender, slot), view.version);
            }
        }
        Ok(())
    }

    pub(crate) fn on_acknowledged(
        &mut self,
        node: usize,
        slot: u16,
        view: &ClusterView,
    ) -> Result<(), String> {
        match self.given_up.get(&(node, slot)) {
            Some(&version) if view.version <= version => Err(format!(
                "a deposed primary serves nothing: n{node} acknowledged a write to slot {slot} after it gave it up"
            )),
            _ => Ok(()),
        }
    }

    /// The executor died too; its next life starts from nothing.
    pub(crate) fn on_crash(&mut self, node: usize) {
        self.claimed.remove(&node);
        self.given_up.retain(|&(other, _), _| other != node);
    }
}
