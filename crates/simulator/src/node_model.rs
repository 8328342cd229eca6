//! The executor of a simulated node, as far as its messages with the machine go: role, replicated offset, pause, and
//! which writes it acknowledges.

use crate::keys::Keys;
use crate::migrations::Migrations;
use shoal_cluster::view::ViewRole;
use shoal_cluster::{
    ClusterView, MachineMessage, NodeId, NodeMessage, NodeOrder, NodeStatus, PrimaryLink, SlotRanges, SlotSet,
};
use shoal_machine::Monotonic;
use std::collections::VecDeque;
use std::sync::Arc;

/// The executor says how it stands this often even if nothing changed.
const STATUS_INTERVAL_US: u64 = 200_000;

/// See the module's comment.
#[derive(Debug)]
pub(crate) struct NodeModel {
    pub view: Option<Arc<ClusterView>>,
    pub following: Option<NodeId>,
    pub offset: u64,
    pub hung_until_us: u64,
    pub busy_until_us: u64,
    pub acknowledged: u64,
    pub keys: Keys,
    pub migrations: Migrations,
    /// The machine knows which slots have keys.
    pub has_told_slots: bool,
    /// Whom it followed when that was looked at last.
    pub followed: Option<NodeId>,
    /// Slots of others whose keys are still here.
    pub hidden: SlotSet,
    inbox: VecDeque<MachineMessage>,
    paused_until_us: u64,
    report_at: Option<u64>,
    link_up: bool,
    /// The link has been up since this primary is followed.
    has_been_in_step: bool,
    link_changed_us: u64,
    last_status: Option<(NodeStatus, u64)>,
}

impl NodeModel {
    pub(crate) fn starting(now_us: u64, offset: u64, keys: Keys) -> Self {
        let mut migrations = Migrations::default();
        let marks = keys.marks.iter().map(|(&name, slots)| (name, slots.clone()));
        migrations.follow(Monotonic(now_us), marks);
        Self {
            keys,
            migrations,
            has_told_slots: false,
            followed: None,
            view: None,
            following: None,
            offset,
            hung_until_us: 0,
            busy_until_us: 0,
            acknowledged: 0,
            hidden: SlotSet::empty(),
            inbox: VecDeque::new(),
            paused_until_us: 0,
            report_at: None,
            link_up: false,
            has_been_in_step: false,
            link_changed_us: now_us,
            last_status: None,
        }
    }

    pub(crate) fn can_work(&self, now_us: u64) -> bool {
        now_us >= self.hung_until_us && now_us >= self.busy_until_us
    }

    /// A message of the machine arrives; it waits while the executor does something else.
    pub(crate) fn receive(&mut self, now_us: u64, message: MachineMessage, replies: &mut Vec<NodeMessage>) {
        self.inbox.push_back(message);
        if self.can_work(now_us) {
            self.drain(now_us, replies);
        }
    }

    /// Takes all waiting messages of the machine, as an executor does before it runs commands.
    pub(crate) fn drain(&mut self, now_us: u64, replies: &mut Vec<NodeMessage>) {
        while let Some(message) = self.inbox.pop_front() {
            match message {
                MachineMessage::View { view, orders } => {
                    self.empty_what_came_back(&view);
                    let is_promoted = orders.contains(&NodeOrder::BecomePrimary);
                    for order in orders {
                        self.obey(now_us, order);
                    }
                    replies.push(NodeMessage::Applied { version: view.version });
                    if is_promoted {
                        self.drop_keys_of_others(&view);
                    }
                    self.view = Some(view);
                }
                MachineMessage::PauseWrites { ticket, for_ms } => {
                    self.paused_until_us = now_us + for_ms * 1000;
                    replies.push(NodeMessage::Paused { ticket, offset: self.offset });
                }
                MachineMessage::Unpause => self.paused_until_us = 0,
                MachineMessage::EpochAgreed { ticket, epoch } => self.migrations.agreed.push((ticket, epoch)),
                MachineMessage::Reclaimed { slots } => self.migrations.reclaimed(&slots),
                MachineMessage::ReportOffset { reach } => self.report_at = Some(reach),
                MachineMessage::DeliverPublish { .. } => {}
            }
        }
    }

    /// The keys of slots that come back before they were deleted are old.
    fn empty_what_came_back(&mut self, view: &ClusterView) {
        let own: SlotSet = self.hidden.iter().filter(|&slot| view.owns(slot)).collect();
        self.keys.drop_slots(&own.ranges());
        self.hidden = self.hidden.minus(&own);
    }

    /// As a node does that is promoted.
    fn drop_keys_of_others(&mut self, view: &ClusterView) {
        let is_anothers = |slot: &u16| view.owners.get(*slot).is_some_and(|owner| owner != view.myself);
        let slots = self.keys.slots();
        let slots = slots.iter().filter(is_anothers).filter(|slot| !self.migrations.is_importing(*slot));
        let slots: SlotRanges = slots.collect();
        self.keys.drop_slots(&slots);
    }

    fn obey(&mut self, now_us: u64, order: NodeOrder) {
        match order {
            NodeOrder::Follow { primary, .. } => {
                self.has_been_in_step &= self.following == Some(primary);
                self.following = Some(primary);
                self.hidden = SlotSet::empty();
                self.set_link(now_us, false);
            }
            NodeOrder::BecomePrimary => self.following = None,
            NodeOrder::HideSlots { slots } => self.hidden = self.hidden.union(&slots.to_set()),
            NodeOrder::DropSlots { slots } => {
                // What is arriving anew has been emptied before.
                let slots: SlotRanges =
                    slots.iter().filter(|&slot| !self.migrations.is_importing(slot)).collect();
                self.hidden = self.hidden.minus(&slots.to_set());
                self.keys.drop_slots(&slots);
            }
            NodeOrder::DropAllKeys => {
                self.offset = 0;
                self.keys.clear();
            }
        }
    }

    /// Replicates: `primary` is the offset of the primary, and its keys, if it can be reached.
    pub(crate) fn replicate(&mut self, now_us: u64, primary: Option<(u64, Keys)>) {
        if self.following.is_none() {
            return;
        }
        self.set_link(now_us, primary.is_some());
        if let Some((offset, keys)) = primary {
            self.has_been_in_step = true;
            self.offset = offset;
            self.keys = keys;
            let marks = self.keys.marks.iter().map(|(&name, slots)| (name, slots.clone()));
            self.migrations.follow(Monotonic(now_us), marks);
        }
    }

    fn set_link(&mut self, now_us: u64, up: bool) {
        if self.link_up != up {
            self.link_up = up;
            self.link_changed_us = now_us;
        }
    }

    /// The status, if it is due.
    pub(crate) fn status(&mut self, now_us: u64) -> Option<NodeMessage> {
        let status = NodeStatus {
            replication_offset: self.offset,
            primary_link: if self.link_up {
                PrimaryLink::Up { last_interaction_ms: 0 }
            } else {
                PrimaryLink::Down { since_ms: (now_us - self.link_changed_us) / 1000 }
            },
            has_been_in_step: self.has_been_in_step,
        };
        let is_reached = self.report_at.is_some_and(|reach| self.offset >= reach);
        let is_due = self.last_status.is_none_or(|(last, at_us)| {
            last.replication_offset != status.replication_offset || now_us - at_us >= STATUS_INTERVAL_US
        });
        if !is_due && !is_reached {
            return None;
        }
        if is_reached {
            self.report_at = None;
        }
        self.last_status = Some((status, now_us));
        Some(NodeMessage::Status(status))
    }

    /// Whether a write to `slot` would be acknowledged now.
    pub(crate) fn accepts_write(&self, now_us: u64, slot: u16) -> bool {
        let Some(view) = &self.view else { return false };
        self.can_work(now_us)
            && self.inbox.is_empty()
            && self.following.is_none()
            && view.role == ViewRole::Primary
            && view.owns(slot)
            && view.is_ok
            && now_us >= self.paused_until_us
            && !self.migrations.holds(slot)
            && !view.is_stale(Monotonic(now_us))
    }

    /// The keys, to be changed: the stream goes on.
    pub(crate) fn change_keys(&mut self) -> &mut Keys {
        self.offset += 1;
        &mut self.keys
    }

    pub(crate) fn acknowledge(&mut self) {
        self.offset += 1;
        self.acknowledged += 1;
    }
}
