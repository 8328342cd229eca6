//! Views for the executor, and the orders that come with them.

use super::manual_failover::ManualFailover;
use super::{ClusterMachine, Timer};
use crate::interface::{LinkId, MachineMessage, Output};
use crate::node_table::Node;
use crate::view::{ClusterView, LinkFacts, NodeFacts, NodeKey, ViewRole};
use crate::{NodeId, NodeOrder, SlotSet};
use shoal_machine::Monotonic;
use std::sync::Arc;

/// A view is published at least this often, and at least four times per node-timeout.
const MAX_VIEW_INTERVAL_MS: u64 = 1000;
/// Views that are not urgent keep a distance of one millisecond for so many nodes.
const NODES_PER_MS: u64 = 20;

/// What the executor was last told.
#[derive(Debug, Default)]
pub(super) struct Views {
    /// The version of the last view.
    version: u64,
    /// The version the executor has confirmed.
    pub applied: u64,
    /// The version of the last view that changed this node's role or slots. What it says must not be announced
    /// before the executor has confirmed it.
    pub fence: u64,
    /// The next view differs from the last.
    pub is_dirty: bool,
    published_at: Option<Monotonic>,
    /// Whether the last view said that the cluster serves.
    was_ok: bool,
    /// The role and the slots in the last view.
    standing: Option<Standing>,
    /// The primary the executor was told to follow; `None` while it is a primary.
    followed: Option<Followed>,
}

type Followed = (NodeId, Arc<str>, u16);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    role: ViewRole,
    slots: Arc<SlotSet>,
}

impl ClusterMachine {
    /// Publishes a view if something changed, or if the last one is getting old.
    pub(super) fn publish_view_if_needed(&mut self) {
        let interval_ms = (self.config.stuck_after_ms() / 2).min(MAX_VIEW_INTERVAL_MS);
        // The next chance comes with the next cron; that would be too late if it is after the interval.
        let is_old = self
            .views
            .published_at
            .is_none_or(|at| self.ms_since(Some(at)) + super::CRON_INTERVAL_MS > interval_ms);
        if !self.views.is_dirty && self.orders.is_empty() && !is_old {
            return;
        }
        let standing = Standing { role: self.view_role(), slots: self.me().slots.clone() };
        if !is_old && self.may_view_wait(&standing) {
            return;
        }
        self.views.version += 1;
        self.views.is_dirty = false;
        self.views.published_at = Some(self.monotonic());
        self.views.was_ok = self.health.is_ok;
        if self.views.standing.as_ref() != Some(&standing) {
            self.views.fence = self.views.version;
            self.views.standing = Some(standing);
        }
        let mut orders: Vec<NodeOrder> = self.role_order().into_iter().collect();
        orders.append(&mut self.orders);
        let view = Arc::new(self.view());
        self.outputs.push(Output::ToNode(MachineMessage::View { view, orders }));
    }

    /// Whether the next view says nothing urgent, and the last one is so fresh that further news may join it. In a large cluster
    /// news of many nodes come at once, and a view of all nodes for each of them would be most of the work.
    fn may_view_wait(&mut self, standing: &Standing) -> bool {
        let interval_ms = self.table.len() as u64 / NODES_PER_MS;
        let is_urgent = !self.orders.is_empty()
            || self.views.was_ok != self.health.is_ok
            || self.views.standing.as_ref() != Some(standing)
            || self.announcements.has_fresh();
        let Some(at) = self.views.published_at.filter(|_| !is_urgent) else { return false };
        let next = at.plus_ms(interval_ms);
        let may_wait = self.monotonic() < next;
        if may_wait {
            self.timers.set(Timer::View, next);
        }
        may_wait
    }

    /// The executor has put a view into force.
    pub(super) fn on_applied(&mut self, version: u64) {
        self.views.applied = self.views.applied.max(version.min(self.views.version));
    }

    fn view_role(&self) -> ViewRole {
        if self.me().is_primary() { ViewRole::Primary } else { ViewRole::Replica(self.me().primary) }
    }

    /// What the executor must change to stand where the tables say: it follows from the difference to what it was
    /// told last, so no change of role or address can be missed.
    fn role_order(&mut self) -> Option<NodeOrder> {
        let me = self.me();
        if me.is_primary() {
            return self.views.followed.take().map(|_| NodeOrder::BecomePrimary);
        }
        let primary = me.primary.and_then(|key| self.table.get(key)).filter(|node| !node.host.is_empty())?;
        let wanted = (primary.id, primary.host.clone(), primary.port);
        if self.views.followed.as_ref() == Some(&wanted) {
            return None;
        }
        let (primary, host, port) = wanted.clone();
        self.views.followed = Some(wanted);
        Some(NodeOrder::Follow { primary, host, port })
    }

    fn view(&self) -> ClusterView {
        ClusterView {
            version: self.views.version,
            published_at: self.monotonic(),
            myself: self.myself,
            role: self.view_role(),
            is_ok: self.health.is_ok,
            nodes: self.table.iter().map(|(key, node)| self.node_facts(key, node)).collect(),
            owners: self.table.owners().clone(),
            migrating: self.migrating.clone(),
            importing: self.importing.clone(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
            size: self.health.size,
            messages_sent: self.messages_sent,
            messages_received: self.messages_received,
            links_over_limit: self.links_over_limit,
            manual_failover: self.manual_failover != ManualFailover::None,
            config: self.config.clone(),
        }
    }

    fn node_facts(&self, key: NodeKey, node: &Node) -> NodeFacts {
        let is_me = key == self.myself;
        let link = |id: Option<LinkId>| {
            let id = id?;
            let link = self.links.get(&id).filter(|link| link.is_open)?;
            Some(LinkFacts { link: id, created_ms: link.created_ms })
        };
        NodeFacts {
            key,
            id: node.id,
            shard_id: node.shard_id,
            host: node.host.clone(),
            hostname: node.hostname.clone(),
            human_name: node.human_name.clone(),
            client: node.client.clone(),
            port: node.port,
            other_port: node.other_port,
            bus_port: node.bus_port,
            flags: node.flags,
            primary: node.primary,
            ping_sent_ms: self.unix_ms(node.ping_sent),
            pong_received_ms: self.unix_ms(node.pong_received),
            config_epoch: node.config_epoch,
            slots: node.slots.clone(),
            replication_offset: if is_me { self.status.replication_offset } else { node.replication_offset },
            failure_reports: node.failure_reports.len(),
            takes_slots: node.takes_slots || is_me,
            link_to: link(node.link),
            link_from: link(node.accepted_link),
        }
    }
}
