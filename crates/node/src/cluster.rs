//! The node's side of the cluster: what the machine says, and what it is told.

use crate::cluster_events::ClusterEvents;
use crate::host::{ClusterAnswer, Host};
use crate::node::Node;
use crate::pause::{PauseKind, PauseReason};
use crate::slot_stats::SlotStats;
use shoal_cluster::interface::STATUS_INTERVAL_MS;
use shoal_cluster::view::NodeFacts;
use shoal_cluster::{
    ClientAddress, ClusterCommand, ClusterConfig, ClusterView, CommandResult, EndpointKind, MachineMessage,
    NodeMessage, NodeOrder, NodeStatus, Onlooker, SlotSet,
};
use shoal_config::EndpointType;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::slot::SLOT_COUNT;
use shoal_session::Session;
use std::sync::Arc;

/// The shortest time between two reports to the machine.
const REPORT_MIN_INTERVAL_MS: u64 = 100;

/// No messages are dropped.
const NO_PACKET_FILTER: i32 = -1;

/// What the node keeps of the cluster.
#[derive(Debug)]
pub struct ClusterSide {
    /// The newest view; none before the machine has started.
    pub view: Option<Arc<ClusterView>>,
    /// The report that the machine got last, and when.
    reported: Option<(NodeStatus, Monotonic)>,
    /// The machine wants a report when the replication offset has come this far.
    report_at_offset: Option<u64>,
    /// Orders that came while the data were being loaded.
    orders_after_load: Vec<NodeOrder>,
    /// `DEBUG DROP-CLUSTER-PACKET-FILTER`.
    pub drop_packet_filter: i32,
    /// What changed.
    pub(crate) events: ClusterEvents,
    /// What commands cost by slot; none while nobody counts.
    pub(crate) slot_stats: Option<SlotStats>,
}

impl ClusterSide {
    /// A new view is in force. What differs is noted, and slots that are not this node's any more have cost nothing.
    fn take_view(&mut self, now: Now, view: Arc<ClusterView>, counts_slots: bool) {
        self.count_slots(counts_slots);
        if let Some(old) = &self.view {
            self.events.note(now, old, &view);
            if let Some(stats) = &mut self.slot_stats
                && !Arc::ptr_eq(&old.owners, &view.owners)
            {
                stats.reset(|slot| !view.owns(slot));
            }
        }
        self.view = Some(view);
    }

    /// Counts what commands cost by slot from now on, or does not.
    fn count_slots(&mut self, counts: bool) {
        if counts != self.slot_stats.is_some() {
            self.slot_stats = counts.then(SlotStats::default);
        }
    }
}

impl Node {
    /// The machine has something to say.
    pub fn cluster_message(&mut self, now: Now, host: &mut dyn Host, message: MachineMessage) {
        match message {
            MachineMessage::View { view, orders } => self.apply_view(now, host, view, orders),
            MachineMessage::PauseWrites { ticket, for_ms } => {
                let until = now.monotonic.plus_ms(for_ms);
                self.pauses.begin(PauseReason::Failover, PauseKind::Writes, until);
                host.tell_cluster(NodeMessage::Paused { ticket, offset: self.replication_offset() });
            }
            MachineMessage::Unpause => self.end_pause(PauseReason::Failover),
            MachineMessage::EpochAgreed { ticket, epoch } => self.epoch_agreed(now, host, ticket, epoch),
            MachineMessage::Reclaimed { slots } => self.slots_reclaimed(&slots),
            MachineMessage::DeliverPublish { publication, sharded } => {
                self.deliver(&publication.channel, &publication.message, sharded, None);
            }
            MachineMessage::ReportOffset { reach } => {
                if let Some(side) = &mut self.cluster {
                    side.report_at_offset = Some(reach);
                }
                self.report_to_cluster(now, host);
            }
        }
    }

    fn apply_view(&mut self, now: Now, host: &mut dyn Host, view: Arc<ClusterView>, orders: Vec<NodeOrder>) {
        let version = view.version;
        if let Some(side) = &mut self.cluster {
            side.take_view(now, view, self.config.cluster_slot_stats_enabled);
        }
        self.finish_drops_of_own_slots(now, host);
        self.redirect_blocked(now, host);
        match &mut self.cluster {
            Some(side) if self.is_loading => side.orders_after_load.extend(orders),
            _ => self.carry_out_orders(now, host, orders),
        }
        self.view_changed_for_migrations(now, host);
        self.end_lost_subscriptions();
        self.serve_blocked(host);
        self.free_garbage(host);
        host.tell_cluster(NodeMessage::Applied { version });
        self.report_to_cluster(now, host);
    }

    fn carry_out_orders(&mut self, now: Now, host: &mut dyn Host, orders: Vec<NodeOrder>) {
        for order in orders {
            match order {
                NodeOrder::Follow { host: address, port, .. } => {
                    self.follow(now, host, &address, port);
                    self.forget_drops();
                }
                NodeOrder::BecomePrimary => {
                    self.become_primary(now, host);
                    self.drop_keys_of_others();
                }
                NodeOrder::HideSlots { slots } => self.keep_hidden(&slots),
                NodeOrder::DropSlots { slots } => self.drop_slots_of_others(&slots),
                NodeOrder::DropAllKeys => {
                    self.blocking.note_all();
                    self.changes_since_save += self.keyspace.len() as u64;
                    self.keyspace.clear_all();
                }
            }
        }
    }

    /// Tells the machine how replication stands, if that is new or due.
    pub(crate) fn report_to_cluster(&mut self, now: Now, host: &mut dyn Host) {
        if self.cluster.is_none() {
            return;
        }
        let status = self.replication_status(now);
        let interval_ms = STATUS_INTERVAL_MS.min(self.config.cluster_node_timeout_ms / 8);
        let Some(side) = &mut self.cluster else { return };
        let has_reached = side.report_at_offset.is_some_and(|offset| status.replication_offset >= offset);
        let is_wanted = match side.reported {
            None => true,
            Some((last, at)) => {
                let age_ms = now.monotonic.ms_since(at);
                has_reached || age_ms >= interval_ms || last != status && age_ms >= REPORT_MIN_INTERVAL_MS
            }
        };
        if is_wanted {
            side.reported = Some((status, now.monotonic));
            if has_reached {
                side.report_at_offset = None;
            }
            host.tell_cluster(NodeMessage::Status(status));
        }
    }

    /// Tells the machine how replication stands, however new its last report is: a snapshot begins to arrive, and while it is
    /// loaded there is no time for reports.
    pub(crate) fn report_at_once(&mut self, now: Now, host: &mut dyn Host) {
        if let Some(side) = &mut self.cluster {
            side.reported = None;
        }
        self.report_to_cluster(now, host);
    }

    /// Carries out a CLUSTER command that changes state, and what the machine says meanwhile.
    pub(crate) fn run_cluster_command(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        command: ClusterCommand,
    ) -> CommandResult {
        let ticket = host.begin_cluster_command(command);
        loop {
            match host.wait_for_cluster(ticket) {
                ClusterAnswer::First(message) => self.cluster_message(now, host, *message),
                ClusterAnswer::Done(result) => return result,
            }
        }
    }

    /// The part of the configuration that the machine needs.
    pub fn cluster_config(&self) -> ClusterConfig {
        let config = &self.config;
        let text = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        ClusterConfig {
            port: config.port,
            tls_port: config.tls_port,
            tls_cluster: config.tls_cluster,
            bus_port: config.cluster_port,
            announce_host: text(&config.cluster_announce_ip),
            announce_port: config.cluster_announce_port,
            announce_tls_port: config.cluster_announce_tls_port,
            announce_bus_port: config.cluster_announce_bus_port,
            announce_hostname: text(&config.cluster_announce_hostname),
            announce_human_name: text(&config.cluster_announce_human_nodename),
            announce_client: ClientAddress {
                ipv4: text(&config.cluster_announce_client_ipv4),
                ipv6: text(&config.cluster_announce_client_ipv6),
                port: config.cluster_announce_client_port,
                tls_port: config.cluster_announce_client_tls_port,
            }
            .if_any(),
            preferred_endpoint: match config.cluster_preferred_endpoint_type {
                EndpointType::Ip => EndpointKind::Ip,
                EndpointType::Hostname => EndpointKind::Hostname,
                EndpointType::UnknownEndpoint => EndpointKind::Unknown,
            },
            node_timeout_ms: config.cluster_node_timeout_ms,
            ping_interval_ms: u64::from(config.cluster_ping_interval_ms),
            replica_validity_factor: u64::from(config.cluster_replica_validity_factor),
            replication_ping_period_s: u64::from(config.repl_ping_replica_period_seconds),
            migration_barrier: config.cluster_migration_barrier as usize,
            allow_replica_migration: config.cluster_allow_replica_migration,
            fast_failure_detection: config.cluster_fast_failure_detection,
            require_full_coverage: config.cluster_require_full_coverage,
            replica_no_failover: config.cluster_replica_no_failover,
            allow_reads_when_down: config.cluster_allow_reads_when_down,
            allow_shard_publish_when_down: config.cluster_allow_pubsubshard_when_down,
            nodes_conf_without_auxiliary: config.rdb_version_compat < 11,
            replica_priority: config.replica_priority,
            announces_shoal: true,
            drop_packet_filter: self.cluster.as_ref().map_or(-1, |side| side.drop_packet_filter),
        }
    }

    /// Tells the machine that its part of the configuration has changed.
    pub(crate) fn cluster_configuration_changed(&mut self, host: &mut dyn Host) {
        let is_counting = self.config.cluster_slot_stats_enabled;
        if let Some(side) = &mut self.cluster {
            side.count_slots(is_counting);
            host.tell_cluster(NodeMessage::ConfigChanged(Arc::new(self.cluster_config())));
        }
    }

    /// The data set is loaded: what the machine has ordered meanwhile is carried out, and the machine checks that the
    /// keys fit the slots.
    pub fn cluster_data_loaded(&mut self, now: Now, host: &mut dyn Host) {
        let Some(side) = &mut self.cluster else { return };
        let orders = std::mem::take(&mut side.orders_after_load);
        self.carry_out_orders(now, host, orders);
        self.imports_after_loading(now, host);
        self.free_garbage(host);
        let mut slots = SlotSet::default();
        let database = self.keyspace.database(0);
        for slot in (0..SLOT_COUNT).filter(|&slot| database.slot_len(slot) > 0) {
            slots.insert(slot);
        }
        host.tell_cluster(NodeMessage::Loaded { slots_with_keys: Box::new(slots) });
    }
}

impl Default for ClusterSide {
    fn default() -> Self {
        Self {
            view: None,
            reported: None,
            report_at_offset: None,
            events: ClusterEvents::default(),
            slot_stats: None,
            orders_after_load: Vec::new(),
            drop_packet_filter: NO_PACKET_FILTER,
        }
    }
}

/// How a client is connected, as far as that decides which addresses of nodes it is told.
pub(crate) fn onlooker(session: &Session) -> Onlooker {
    // `[address]:port` or `address:port`: an IPv6 address has colons of its own.
    let host = session.identity.address.rsplit_once(':').map_or("", |(host, _)| host);
    Onlooker { is_ipv6: host.contains(':'), is_tls: false }
}

/// The name by which clients are told to reach a node; empty for "where you are".
pub(crate) fn endpoint<'a>(node: &'a NodeFacts, view: &ClusterView, onlooker: Onlooker) -> &'a str {
    match view.config.preferred_endpoint {
        EndpointKind::Ip => node.host_for(onlooker),
        EndpointKind::Hostname => node.hostname.as_deref().unwrap_or("?"),
        EndpointKind::Unknown => "",
    }
}
