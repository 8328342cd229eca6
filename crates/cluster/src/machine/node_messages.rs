//! What the executor tells.

use super::ClusterMachine;
use crate::interface::{LogLevel, NodeMessage};
use crate::{NodeFlags, SlotSet};
use std::sync::Arc;

impl ClusterMachine {
    pub(super) fn on_node_message(&mut self, message: NodeMessage) {
        self.progress_at = self.monotonic();
        self.watch_executor();
        self.send_owed_pongs();
        match message {
            NodeMessage::Status(status) => {
                self.note_in_step(&status);
                self.status = status;
                self.status_at = self.monotonic();
                self.todo.manual_failover = true;
            }
            NodeMessage::Loaded { slots_with_keys } => self.check_loaded_slots(&slots_with_keys),
            NodeMessage::Published { publication, sharded } => self.spread(publication, sharded),
            NodeMessage::Paused { ticket, offset } => self.on_paused(ticket, offset),
            NodeMessage::Applied { version } => self.on_applied(version),
            NodeMessage::Reclaim { slots, above_epoch } => self.reclaim_slots(slots, above_epoch),
            NodeMessage::AgreeOnEpoch { ticket, above, source, slots } => {
                self.agree_on_epoch(ticket, above, source, &slots);
            }
            NodeMessage::Progress => {}
            NodeMessage::ConfigChanged(config) => self.set_config(config),
        }
    }

    /// Once the data of the primary are here this replica may take its place. A status may have been on its way when the primary
    /// changed: it counts when the executor has confirmed the view that says so.
    fn note_in_step(&mut self, status: &crate::NodeStatus) {
        if self.never_in_step && status.has_been_in_step && self.views.applied >= self.views.fence {
            self.never_in_step = false;
            self.changed();
        }
    }

    /// The data on disk and nodes.conf may disagree after a restart: slots with keys that nobody serves are taken
    /// over, those of others are shown as importing, for the operator to decide. The keys of slots that this node has given away
    /// are there twice: they go.
    fn check_loaded_slots(&mut self, slots_with_keys: &SlotSet) {
        if !self.me().is_primary() {
            return;
        }
        let given: SlotSet = slots_with_keys.iter().filter(|&slot| self.is_given(slot)).collect();
        if !given.is_empty() {
            let slots = given.ranges();
            let text =
                format!("I have keys for slots that I have given to other nodes. Deleting them: {slots}");
            self.log(LogLevel::Warning, text);
            self.let_go(&given);
            self.changed();
        }
        for slot in slots_with_keys.minus(&given).iter() {
            let owner = self.table.owner(slot);
            if owner == Some(self.myself) || self.importing.contains_key(&slot) {
                continue;
            }
            let text = match owner {
                None => {
                    self.table.assign(slot, Some(self.myself));
                    format!("I have keys for unassigned slot {slot}. Taking responsibility for it.")
                }
                Some(owner) => {
                    Arc::make_mut(&mut self.importing).insert(slot, owner);
                    format!(
                        "I have keys for slot {slot}, but the slot is assigned to another node. \
                         Setting it to importing state."
                    )
                }
            };
            self.log(LogLevel::Warning, text);
            self.todo.state = true;
            self.changed();
        }
    }

    fn is_given(&self, slot: u16) -> bool {
        let owner = self.table.owner(slot);
        let is_anothers = owner.is_some_and(|owner| owner != self.myself);
        is_anothers && self.given.contains(slot) && !self.importing.contains_key(&slot)
    }

    fn set_config(&mut self, config: Arc<crate::ClusterConfig>) {
        let old = std::mem::replace(&mut self.config, config);
        if old.announce_host.is_some() && self.config.announce_host.is_none() {
            // The next message from a peer tells the address it used.
            self.me_mut().host = Arc::from("");
            self.changed();
        }
        if old.nodes_conf_without_auxiliary != self.config.nodes_conf_without_auxiliary {
            self.changed();
        }
        self.apply_config();
    }

    /// Takes over what the configuration says about this node.
    pub(super) fn apply_config(&mut self) {
        let config = self.config.clone();
        let ports = config.announced_ports();
        let me = self.me_mut();
        let mut flags = me.flags;
        flags.clear(NodeFlags::NO_FAILOVER);
        if !config.stands_by_itself() {
            flags.set(NodeFlags::NO_FAILOVER);
        }
        let host = config.announce_host.clone().unwrap_or_else(|| me.host.clone());
        let is_same = me.flags == flags
            && me.host == host
            && (me.port, me.other_port, me.bus_port) == (ports.port, ports.other_port, ports.bus_port)
            && me.hostname == config.announce_hostname
            && me.human_name == config.announce_human_name
            && me.client == config.announce_client;
        me.flags = flags;
        me.host = host;
        (me.port, me.other_port, me.bus_port) = (ports.port, ports.other_port, ports.bus_port);
        me.hostname = config.announce_hostname.clone();
        me.human_name = config.announce_human_name.clone();
        me.client = config.announce_client.clone();
        self.todo.state = true;
        self.views.is_dirty = true;
        if !is_same {
            self.changed();
            self.announce();
        }
    }
}
