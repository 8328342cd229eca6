//! The node's side of the cluster: routing by the view that the machine last gave.

use crate::host::{ClusterAnswer, Host};
use crate::node::Node;
use crate::pause::{PauseKind, PauseReason};
use shoal_cluster::interface::STATUS_INTERVAL_MS;
use shoal_cluster::view::NodeFacts;
use shoal_cluster::{
    ClusterCommand, ClusterConfig, ClusterView, CommandResult, EndpointKind, MachineMessage, NodeMessage,
    NodeOrder, NodeStatus, SlotRanges, SlotSet,
};
use shoal_config::EndpointType;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::command::Flags;
use shoal_protocol::slot::{SLOT_COUNT, key_slot};
use shoal_protocol::{Command, CommandId, ErrorReply, Request, errors, keys};
use shoal_session::Session;
use shoal_store::table::Item;
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
    /// `DEBUG DROP-CLUSTER-PACKET-FILTER`.
    pub drop_packet_filter: i32,
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
            side.view = Some(view);
        }
        for order in orders {
            match order {
                NodeOrder::Follow { host: address, port, .. } => self.follow(now, host, &address, port),
                NodeOrder::BecomePrimary => self.become_primary(now, host),
                NodeOrder::DropSlots { slots } => self.drop_slots(&slots),
                NodeOrder::DropAllKeys => {
                    self.changes_since_save += self.keyspace.len() as u64;
                    self.keyspace.clear_all();
                }
            }
        }
        self.end_lost_subscriptions();
        self.free_garbage(host);
        host.tell_cluster(NodeMessage::Applied { version });
        self.report_to_cluster(now, host);
    }

    /// Deletes the keys of slots that belong to others now; replicas hear of it key by key.
    fn drop_slots(&mut self, slots: &SlotRanges) {
        for slot in slots.iter() {
            let mut keys = Vec::new();
            let database = self.keyspace.database_mut(0);
            database.slot_entries(slot, usize::MAX, |entry| keys.push(entry.key().to_vec()));
            let garbage = database.clear_slot(slot);
            self.keyspace.discard(garbage);
            self.changes_since_save += keys.len() as u64;
            for key in keys {
                self.propagate_own(0, [b"DEL".as_slice(), &key]);
            }
        }
    }

    /// Tells the machine how replication stands, if that is new or due.
    pub(crate) fn report_to_cluster(&mut self, now: Now, host: &mut dyn Host) {
        if self.cluster.is_none() {
            return;
        }
        let status = self.replication_status(now);
        let interval_ms = STATUS_INTERVAL_MS.min(self.config.cluster_node_timeout_ms / 4);
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
            require_full_coverage: config.cluster_require_full_coverage,
            replica_no_failover: config.cluster_replica_no_failover,
            allow_reads_when_down: config.cluster_allow_reads_when_down,
            allow_shard_publish_when_down: config.cluster_allow_pubsubshard_when_down,
            nodes_conf_without_auxiliary: config.rdb_version_compat < 11,
            drop_packet_filter: self.cluster.as_ref().map_or(-1, |side| side.drop_packet_filter),
        }
    }

    /// Tells the machine that its part of the configuration has changed.
    pub(crate) fn cluster_configuration_changed(&mut self, host: &mut dyn Host) {
        if self.cluster.is_some() {
            host.tell_cluster(NodeMessage::ConfigChanged(Arc::new(self.cluster_config())));
        }
    }

    /// The data set is loaded: the machine checks that it fits the slots.
    pub fn cluster_data_loaded(&mut self, host: &mut dyn Host) {
        if self.cluster.is_none() {
            return;
        }
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
        Self { view: None, reported: None, report_at_offset: None, drop_packet_filter: NO_PACKET_FILTER }
    }
}

/// How a request's keys lie.
enum Keys {
    None,
    /// All in one slot.
    Slot(u16),
    Several,
}

impl Node {
    /// Whether this node may serve the keys of a request; the redirection to send if not.
    pub(crate) fn check_slot(
        &mut self,
        now: Now,
        session: &Session,
        command: &'static Command,
        request: &Request<'_>,
    ) -> Result<(), ErrorReply> {
        let Some(view) = self.cluster.as_ref().and_then(|side| side.view.clone()) else {
            return if command.key_specs.is_empty() { Ok(()) } else { Err(errors::CLUSTER_DOWN) };
        };
        let (found, writes, key_count) = if command.id == CommandId::Exec {
            slot_of_transaction(session)
        } else {
            let (found, count) = slot_of(command, request);
            (found, command.flags.contains(Flags::WRITE), count)
        };
        let slot = match found {
            Keys::None => return Ok(()),
            Keys::Several => return Err(errors::CROSS_SLOT),
            Keys::Slot(slot) => slot,
        };
        let route = view.route(slot);
        let Some(owner) = route.owner else { return Err(errors::CLUSTER_DOWN_UNBOUND) };
        self.check_view(&view, now, command)?;
        if route.is_mine && route.migrating_to.is_none() {
            return Ok(());
        }
        if is_migrate(session, command) && (route.migrating_to.is_some() || route.importing_from.is_some()) {
            return Ok(());
        }
        if let (true, Some(target)) = (route.is_mine, route.migrating_to) {
            let missing = self.missing_keys(session, command, request);
            return if missing == 0 {
                Ok(())
            } else if missing == key_count || key_count == 1 {
                Err(redirection("ASK", slot, target, &view))
            } else {
                Err(errors::TRY_AGAIN)
            };
        }
        if route.importing_from.is_some() && (session.is_asking || command.flags.contains(Flags::ASKING)) {
            if key_count > 1 && self.missing_keys(session, command, request) > 0 {
                return Err(errors::TRY_AGAIN);
            }
            return Ok(());
        }
        if session.is_readonly && route.is_my_primarys && !writes {
            return Ok(());
        }
        Err(redirection("MOVED", slot, owner, &view))
    }

    /// Whether the cluster as a whole serves this command.
    fn check_view(&self, view: &ClusterView, now: Now, command: &Command) -> Result<(), ErrorReply> {
        if view.is_stale(now.monotonic) {
            return Err(errors::CLUSTER_DOWN);
        }
        if view.is_ok {
            return Ok(());
        }
        let is_shard_publish = matches!(command.id, CommandId::Spublish | CommandId::Ssubscribe);
        if is_shard_publish && self.config.cluster_allow_pubsubshard_when_down {
            return Ok(());
        }
        if !self.config.cluster_allow_reads_when_down {
            return Err(errors::CLUSTER_DOWN);
        }
        if command.flags.contains(Flags::WRITE) || command.id == CommandId::Eval {
            return Err(ErrorReply::new("CLUSTERDOWN The cluster is down and only accepts read commands"));
        }
        Ok(())
    }

    fn missing_keys(&self, session: &Session, command: &Command, request: &Request<'_>) -> usize {
        let database = self.keyspace.database(session.database.min(self.keyspace.database_count() - 1));
        let mut missing = 0;
        let mut count = |key: &[u8]| missing += usize::from(database.find(key).is_none());
        match (&session.transaction, command.id) {
            (Some(transaction), CommandId::Exec) => {
                for (command, request) in &transaction.queue {
                    keys::for_each(command, &request.as_request(), &mut count);
                }
            }
            _ => keys::for_each(command, request, &mut count),
        }
        missing
    }
}

fn slot_of(command: &Command, request: &Request<'_>) -> (Keys, usize) {
    let mut found = Keys::None;
    let mut count = 0;
    let mut add = |slot: u16| {
        count += 1;
        found = match found {
            Keys::None => Keys::Slot(slot),
            Keys::Slot(other) if other == slot => Keys::Slot(slot),
            _ => Keys::Several,
        };
    };
    if matches!(command.id, CommandId::Spublish | CommandId::Ssubscribe | CommandId::Sunsubscribe) {
        let last = if command.id == CommandId::Spublish { 2 } else { request.len() };
        (1..last).for_each(|index| add(key_slot(request.argument(index))));
    } else if !command.key_specs.is_empty() {
        keys::for_each(command, request, |key| add(key_slot(key)));
    }
    (found, count)
}

/// The slot of all queued commands, whether one of them writes, and the number of keys.
fn slot_of_transaction(session: &Session) -> (Keys, bool, usize) {
    let (mut found, mut writes, mut count) = (Keys::None, false, 0);
    for (command, request) in session.transaction.iter().flat_map(|transaction| &transaction.queue) {
        let (keys, key_count) = slot_of(command, &request.as_request());
        writes |= command.flags.contains(Flags::WRITE);
        count += key_count;
        found = match (found, keys) {
            (found, Keys::None) => found,
            (Keys::None, keys) => keys,
            (Keys::Slot(first), Keys::Slot(second)) if first == second => Keys::Slot(first),
            _ => Keys::Several,
        };
    }
    (found, writes, count)
}

fn is_migrate(session: &Session, command: &Command) -> bool {
    command.id == CommandId::Migrate
        || command.id == CommandId::Exec
            && session
                .transaction
                .iter()
                .flat_map(|transaction| &transaction.queue)
                .any(|(command, _)| command.id == CommandId::Migrate)
}

/// The error that sends a client to another node.
fn redirection(word: &str, slot: u16, node: &NodeFacts, view: &ClusterView) -> ErrorReply {
    ErrorReply::from(format!("{word} {slot} {}:{}", endpoint(node, view), node.client_port(false)))
}

/// The name by which clients are told to reach a node; empty for "where you are".
pub(crate) fn endpoint<'a>(node: &'a NodeFacts, view: &ClusterView) -> &'a str {
    match view.config.preferred_endpoint {
        EndpointKind::Ip => &node.host,
        EndpointKind::Hostname => node.hostname.as_deref().unwrap_or("?"),
        EndpointKind::Unknown => "",
    }
}
