//! The CLUSTER commands that change state.

use super::ClusterMachine;
use super::announce::Action;
use super::gossip::{FORGET_MS, MAX_NODES};
use crate::command::{NodeName, SetSlotAction, unknown_node};
use crate::config::BUS_PORT_OFFSET;
use crate::interface::{LogLevel, Output};
use crate::node_table::Node;
use crate::view::NodeKey;
use crate::{
    ClusterCommand, CommandReply, CommandResult, FailoverKind, NodeFlags, NodeId, NodeOrder, ResetKind,
};
use shoal_protocol::slot::SLOT_COUNT;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

type Failure = Cow<'static, str>;

impl ClusterMachine {
    /// Carries out a command. A refusal is answered at once; anything else when it is saved, after the views it
    /// caused.
    pub(super) fn on_command(&mut self, ticket: u64, command: ClusterCommand) {
        // None of these changes what is saved.
        let is_refresh = matches!(
            command,
            ClusterCommand::Refresh | ClusterCommand::GrantSlots { .. } | ClusterCommand::CloseLinks { .. }
        );
        let reports_failure = command == ClusterCommand::SaveConfig;
        match self.run_command(command) {
            Err(text) => self.outputs.push(Output::CommandReply { ticket, result: Err(text) }),
            Ok(reply) => {
                self.views.is_dirty = true;
                let action = Action::Reply { ticket, result: Ok(reply), reports_failure };
                if is_refresh {
                    self.after_this(action);
                } else {
                    self.when_safe(action);
                }
            }
        }
    }

    fn run_command(&mut self, command: ClusterCommand) -> CommandResult {
        match command {
            ClusterCommand::Meet { host, port, bus_port } => self.meet(&host, port, bus_port)?,
            ClusterCommand::AddSlots { slots } => self.add_slots(&slots)?,
            ClusterCommand::DeleteSlots { slots } => self.delete_slots(&slots)?,
            ClusterCommand::FlushSlots { database_is_empty } => {
                if !database_is_empty {
                    return Err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.".into());
                }
                self.table.release_slots(self.myself);
                self.slots_changed();
            }
            ClusterCommand::SetSlot { slot, action, keys_in_slot } => {
                self.set_slot(slot, action, keys_in_slot)?;
            }
            ClusterCommand::Replicate { node, database_is_empty } => {
                self.replicate(&node, database_is_empty)?;
            }
            ClusterCommand::Forget { node } => self.forget(&node)?,
            ClusterCommand::Reset { kind, database_is_empty } => self.reset(kind, database_is_empty)?,
            ClusterCommand::Failover { kind } => self.failover(kind)?,
            ClusterCommand::HandOver => self.hand_over()?,
            ClusterCommand::SetConfigEpoch { epoch } => self.set_config_epoch(epoch)?,
            ClusterCommand::TakeSlots { slots, from, epoch, epoch_max } => {
                self.take_slots(&slots, from, epoch, epoch_max)?;
            }
            ClusterCommand::GrantSlots { slots } => {
                self.grant_slots(&slots)?;
                return Ok(CommandReply::Text(self.me().config_epoch.to_string()));
            }
            ClusterCommand::BumpEpoch => {
                let word = if self.bump_config_epoch() { "BUMPED" } else { "STILL" };
                return Ok(CommandReply::Text(format!("{word} {}", self.me().config_epoch)));
            }
            ClusterCommand::CloseLinks { node, to, from } => {
                self.close_links(&node, to, from)?;
                return Ok(CommandReply::Ok);
            }
            ClusterCommand::SaveConfig => self.changed(),
            ClusterCommand::Refresh => {}
        }
        Ok(CommandReply::Ok)
    }

    fn slots_changed(&mut self) {
        self.todo.state = true;
        self.changed();
    }

    fn lookup(&self, name: &NodeName) -> Option<NodeKey> {
        self.table.find(&NodeId::parse(name)?)
    }

    fn close_links(&mut self, name: &NodeName, to: bool, from: bool) -> Result<(), Failure> {
        let unknown = || Failure::Owned(format!("ERR Unknown node {}", String::from_utf8_lossy(name)));
        let node = self.lookup(name).and_then(|key| self.table.get(key)).ok_or_else(unknown)?;
        let links = [node.link.filter(|_| to), node.accepted_link.filter(|_| from)];
        links.into_iter().flatten().for_each(|link| self.close_link(link));
        Ok(())
    }

    fn meet(&mut self, host: &str, port: i64, bus_port: Option<i64>) -> Result<(), Failure> {
        let invalid = || Failure::Owned(format!("ERR Invalid node address specified: {host}:{port}"));
        let address: IpAddr = host.parse().map_err(|_| invalid())?;
        let bus_port = bus_port.unwrap_or(port.saturating_add(i64::from(BUS_PORT_OFFSET)));
        let check = |port: i64| u16::try_from(port).ok().filter(|&port| port > 0);
        let (Some(port), Some(bus_port)) = (check(port), check(bus_port)) else { return Err(invalid()) };
        let host: Arc<str> = address.to_string().into();
        if self.is_handshake_under_way(&host, port, bus_port) || self.table.len() >= MAX_NODES {
            return Ok(());
        }
        let (id, shard_id) = (NodeId::random(&mut self.rng), NodeId::random(&mut self.rng));
        let mut node = Node::new(id, shard_id, NodeFlags::HANDSHAKE | NodeFlags::MEET, self.monotonic());
        node.host = host;
        node.port = port;
        node.bus_port = bus_port;
        let key = self.table.add(node);
        if !self.is_silent() {
            self.connect(key);
        }
        self.changed();
        Ok(())
    }

    pub(super) fn is_handshake_under_way(&self, host: &str, port: u16, bus_port: u16) -> bool {
        self.table.iter().any(|(_, node)| {
            node.is_in_handshake() && &*node.host == host && node.port == port && node.bus_port == bus_port
        })
    }

    fn check_slots(&self, slots: &[u16], should_be_free: bool) -> Result<(), Failure> {
        let mut seen = crate::SlotSet::empty();
        for &slot in slots {
            if slot >= SLOT_COUNT {
                return Err(crate::command::INVALID_SLOT.into());
            }
            match (should_be_free, self.table.owner(slot)) {
                (false, None) => return Err(format!("ERR Slot {slot} is already unassigned").into()),
                (true, Some(_)) => return Err(format!("ERR Slot {slot} is already busy").into()),
                _ => {}
            }
            if !seen.insert(slot) {
                return Err(format!("ERR Slot {slot} specified multiple times").into());
            }
        }
        Ok(())
    }

    fn add_slots(&mut self, slots: &[u16]) -> Result<(), Failure> {
        self.check_slots(slots, true)?;
        self.reassign(slots, Some(self.myself));
        Ok(())
    }

    fn delete_slots(&mut self, slots: &[u16]) -> Result<(), Failure> {
        self.check_slots(slots, false)?;
        self.reassign(slots, None);
        Ok(())
    }

    fn reassign(&mut self, slots: &[u16], owner: Option<NodeKey>) {
        for &slot in slots {
            if self.importing.contains_key(&slot) {
                Arc::make_mut(&mut self.importing).remove(&slot);
            }
            self.table.assign(slot, owner);
            self.table.set_claimed(slot);
        }
        self.slots_changed();
    }

    fn set_slot(&mut self, slot: u16, action: SetSlotAction, keys_in_slot: u64) -> Result<(), Failure> {
        if self.me().is_replica() {
            return Err("ERR Please use SETSLOT only with masters.".into());
        }
        if slot >= SLOT_COUNT {
            return Err(crate::command::INVALID_SLOT.into());
        }
        let is_mine = self.table.owner(slot) == Some(self.myself);
        match action {
            SetSlotAction::Migrating(name) => {
                if !is_mine {
                    return Err(format!("ERR I'm not the owner of hash slot {slot}").into());
                }
                let node = self.lookup_primary(&name)?;
                Arc::make_mut(&mut self.migrating).insert(slot, node);
            }
            SetSlotAction::Importing(name) => {
                if is_mine {
                    return Err(format!("ERR I'm already the owner of hash slot {slot}").into());
                }
                let node = self.lookup_primary(&name)?;
                Arc::make_mut(&mut self.importing).insert(slot, node);
                self.given.remove(slot);
            }
            SetSlotAction::Stable => self.close_slot(slot),
            SetSlotAction::Node(name) => {
                let node = self.lookup(&name).ok_or_else(|| unknown_node(&name))?;
                self.set_slot_owner(slot, node, keys_in_slot)?;
            }
        }
        self.slots_changed();
        Ok(())
    }

    fn lookup_primary(&self, name: &NodeName) -> Result<NodeKey, Failure> {
        let unknown = || format!("ERR I don't know about node {}", String::from_utf8_lossy(name));
        let key = self.lookup(name).ok_or_else(unknown)?;
        self.check_is_primary(key)?;
        Ok(key)
    }

    fn check_is_primary(&self, key: NodeKey) -> Result<(), Failure> {
        if self.table.get(key).is_some_and(Node::is_replica) {
            return Err("ERR Target node is not a master".into());
        }
        Ok(())
    }

    fn close_slot(&mut self, slot: u16) {
        for open in [&mut self.migrating, &mut self.importing] {
            if open.contains_key(&slot) {
                Arc::make_mut(open).remove(&slot);
            }
        }
    }

    fn set_slot_owner(&mut self, slot: u16, owner: NodeKey, keys_in_slot: u64) -> Result<(), Failure> {
        self.check_is_primary(owner)?;
        let was_mine = self.table.owner(slot) == Some(self.myself);
        if was_mine && owner != self.myself && keys_in_slot != 0 {
            let text = format!(
                "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
            );
            return Err(text.into());
        }
        if keys_in_slot == 0 && self.migrating.contains_key(&slot) {
            Arc::make_mut(&mut self.migrating).remove(&slot);
        }
        self.table.assign(slot, Some(owner));
        self.table.set_claimed(slot);
        let is_empty = self.me().slots.is_empty();
        if was_mine && owner != self.myself && is_empty && self.config.allow_replica_migration {
            self.log_follow("Configuration change detected. Reconfiguring myself as a replica of", owner);
            self.follow(owner);
        }
        if owner == self.myself && self.importing.contains_key(&slot) {
            if self.bump_config_epoch() {
                self.log(LogLevel::Warning, format!("configEpoch updated after importing slot {slot}"));
            }
            Arc::make_mut(&mut self.importing).remove(&slot);
            self.announce();
        }
        Ok(())
    }

    /// Claims slots whose keys a migration has brought. The answer comes when that is saved; then the others hear of it.
    fn take_slots(
        &mut self,
        slots: &crate::SlotRanges,
        from: NodeId,
        epoch: u64,
        epoch_max: u64,
    ) -> Result<(), Failure> {
        if self.me().is_replica() {
            return Err("This node is no primary any more".into());
        }
        let source = self.table.find(&from).filter(|&key| key != self.myself);
        if source.is_none() || slots.iter().any(|slot| self.table.owner(slot) != source) {
            return Err("Slots are no longer owned by source node".into());
        }
        // The source may have come to a greater epoch since the grant; but then it claims them with that only if it has taken
        // the grant back.
        let source_epoch = source.and_then(|key| self.table.get(key)).map_or(0, |node| node.config_epoch);
        // With its own greater epoch nobody has voted for the claim: whoever was elected meanwhile would lose the slots.
        if epoch < self.me().config_epoch {
            return Err(crate::slot_migration::EPOCH_IS_OLD.into());
        }
        let is_claimed = slots.iter().any(|slot| !self.table.is_unclaimed(slot));
        if epoch > epoch_max || is_claimed && epoch <= source_epoch {
            return Err("The epochs of source and target do not fit".into());
        }
        if epoch != self.me().config_epoch {
            self.me_mut().config_epoch = epoch;
            self.log(LogLevel::Warning, format!("New configEpoch set to {epoch}"));
        }
        self.current_epoch = self.current_epoch.max(epoch);
        for slot in slots.iter() {
            if self.importing.contains_key(&slot) {
                Arc::make_mut(&mut self.importing).remove(&slot);
            }
            self.table.assign(slot, Some(self.myself));
            self.table.set_claimed(slot);
        }
        self.slots_changed();
        self.announce();
        Ok(())
    }

    /// From now on this node does not claim these slots.
    fn grant_slots(&mut self, slots: &crate::SlotRanges) -> Result<(), Failure> {
        if self.me().is_replica() || slots.iter().any(|slot| self.table.owner(slot) != Some(self.myself)) {
            return Err("Slots are no longer owned by myself".into());
        }
        let claimed_with = self.me().config_epoch;
        self.grants.push((slots.to_set(), claimed_with));
        for slot in slots.iter() {
            self.granted.insert(slot);
            self.table.set_unclaimed(slot, claimed_with);
        }
        self.changed();
        Ok(())
    }

    /// A grant is over. If the slots may have been claimed by somebody who has failed, with an epoch up to `above_epoch`, a majority votes on
    /// that first.
    pub(super) fn reclaim_slots(&mut self, slots: crate::SlotRanges, above_epoch: Option<u64>) {
        match above_epoch.filter(|_| self.me().is_primary()) {
            Some(above) => self.agree_on_reclaim(slots, above),
            None => self.finish_reclaim(&slots, None),
        }
    }

    /// What is still this node's of granted slots is claimed again, with this epoch, if one is given.
    pub(super) fn finish_reclaim(&mut self, slots: &crate::SlotRanges, epoch: Option<u64>) {
        for slot in slots.iter() {
            self.granted.remove(slot);
            for (granted, _) in &mut self.grants {
                granted.remove(slot);
            }
            if self.table.owner(slot) == Some(self.myself) {
                self.table.set_claimed(slot);
            }
        }
        self.grants.retain(|(granted, _)| !granted.is_empty());
        if let Some(epoch) = epoch {
            self.current_epoch = self.current_epoch.max(epoch);
            self.me_mut().config_epoch = epoch;
            self.log(LogLevel::Warning, format!("New configEpoch set to {epoch}"));
            self.announce();
        }
        self.changed();
        self.views.is_dirty = true;
        self.when_safe(Action::TellReclaimed { slots: slots.clone() });
    }

    fn replicate(&mut self, name: &NodeName, database_is_empty: bool) -> Result<(), Failure> {
        let node = self.lookup(name).ok_or_else(|| unknown_node(name))?;
        if node == self.myself {
            return Err("ERR Can't replicate myself".into());
        }
        if self.table.get(node).is_some_and(Node::is_replica) {
            return Err("ERR I can only replicate a master, not a replica.".into());
        }
        if self.me().is_primary() && (!self.me().slots.is_empty() || !database_is_empty) {
            return Err("ERR To set a master the node must be empty and without assigned slots.".into());
        }
        self.follow(node);
        Ok(())
    }

    fn forget(&mut self, name: &NodeName) -> Result<(), Failure> {
        let Some(node) = self.lookup(name) else {
            // Another node may have told us to forget it already; the operator's script need not fail for that.
            let is_forgotten = NodeId::parse(name).is_some_and(|id| self.is_forgotten(&id));
            return if is_forgotten { Ok(()) } else { Err(unknown_node(name)) };
        };
        if node == self.myself {
            return Err("ERR I tried hard but I can't forget myself...".into());
        }
        if self.my_primary() == Some(node) {
            return Err("ERR Can't forget my master!".into());
        }
        if let Some(id) = self.table.get(node).map(|node| node.id) {
            self.forgotten.insert(id, self.monotonic().plus_ms(FORGET_MS));
        }
        self.remove_node(node);
        // The others shall forget it, too.
        self.announce();
        Ok(())
    }

    fn reset(&mut self, kind: ResetKind, database_is_empty: bool) -> Result<(), Failure> {
        let was_replica = self.me().is_replica();
        if !was_replica && !database_is_empty {
            return Err("ERR CLUSTER RESET can't be called with master nodes containing keys".into());
        }
        if was_replica {
            self.set_as_primary(self.myself);
            self.orders.push(NodeOrder::DropAllKeys);
            let shard_id = NodeId::random(&mut self.rng);
            self.me_mut().shard_id = shard_id;
        }
        self.close_all_slots();
        self.reset_manual_failover();
        self.election = super::Election::Idle;
        for slot in 0..SLOT_COUNT {
            self.table.assign(slot, None);
            self.table.set_claimed(slot);
        }
        for key in self.table.keys() {
            self.remove_node(key);
        }
        self.me_mut().flags.clear(NodeFlags::MIGRATE_TO);
        if kind == ResetKind::Hard {
            self.current_epoch = 0;
            self.last_vote_epoch = 0;
            self.me_mut().config_epoch = 0;
            self.log(LogLevel::Warning, "configEpoch set to 0 via CLUSTER RESET HARD".to_owned());
            let id = NodeId::random(&mut self.rng);
            self.table.rename(self.myself, id);
            self.log(LogLevel::Notice, format!("Node hard reset, now I'm {}", id.as_str()));
        }
        self.slots_changed();
        Ok(())
    }

    fn failover(&mut self, kind: FailoverKind) -> Result<(), Failure> {
        if self.me().is_primary() {
            return Err("ERR You should send CLUSTER FAILOVER to a replica".into());
        }
        let Some(primary) = self.my_primary() else {
            return Err("ERR I'm a replica but my master is unknown to me".into());
        };
        let is_failed = self.table.get(primary).is_none_or(Node::is_failed);
        match kind {
            FailoverKind::Coordinated => {
                if is_failed || self.open_link(primary).is_none() {
                    return Err("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".into());
                }
                self.begin_manual_failover(false);
                self.log(LogLevel::Warning, "Manual failover user request accepted.".to_owned());
                self.send_manual_failover_start(primary);
            }
            FailoverKind::Force => {
                self.begin_manual_failover(true);
                self.log(LogLevel::Warning, "Forced failover user request accepted.".to_owned());
            }
            FailoverKind::Takeover => {
                self.log(LogLevel::Warning, "Taking over the master (user request).".to_owned());
                self.bump_config_epoch();
                self.replace_primary();
            }
        }
        Ok(())
    }

    /// Asks the replica that has most of the data. It begins a manual failover, as CLUSTER FAILOVER does.
    fn hand_over(&mut self) -> Result<(), Failure> {
        let can_follow = |node: &Node| node.is_shoal && node.may_take_over() && !node.is_suspected();
        let me = self.myself;
        let best = self
            .table
            .replicas_of(me)
            .filter(|&(key, node)| can_follow(node) && self.open_link(key).is_some())
            .max_by_key(|(_, node)| (node.replication_offset, std::cmp::Reverse(node.id)));
        let Some((replica, node)) = best.filter(|_| self.me().is_primary() && !self.me().slots.is_empty())
        else {
            return Err("ERR There is no replica that can take over".into());
        };
        let text = format!("Asking replica {} to take over.", node.id);
        self.log(LogLevel::Notice, text);
        self.begin_hand_over(replica);
        Ok(())
    }

    /// Our primary is about to end, and wants us in its place.
    pub(super) fn on_hand_over(&mut self, sender: NodeKey) {
        if self.my_primary() != Some(sender)
            || self.is_manual_failover_of_replica()
            || !self.config.stands_by_itself()
        {
            return;
        }
        self.log(
            LogLevel::Notice,
            "My master is about to end, and asks this replica to take over.".to_owned(),
        );
        self.begin_manual_failover(false);
        self.send_manual_failover_start(sender);
    }

    fn set_config_epoch(&mut self, epoch: i64) -> Result<(), Failure> {
        let Ok(new_epoch) = u64::try_from(epoch) else {
            return Err(format!("ERR Invalid config epoch specified: {epoch}").into());
        };
        if self.table.len() > 1 {
            return Err(
                "ERR The user can assign a config epoch only when the node does not know any other node."
                    .into(),
            );
        }
        if self.me().config_epoch != 0 {
            return Err("ERR Node config epoch is already non-zero".into());
        }
        self.me_mut().config_epoch = new_epoch;
        self.log(LogLevel::Warning, format!("configEpoch set to {epoch} via CLUSTER SET-CONFIG-EPOCH"));
        self.current_epoch = self.current_epoch.max(new_epoch);
        self.slots_changed();
        Ok(())
    }
}
