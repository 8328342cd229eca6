//! The node's side of the cluster: routing by the view that the machine last gave.

use crate::node::Node;
use shoal_cluster::view::{NodeFacts, ViewRole};
use shoal_cluster::{ClusterView, EndpointKind};
use shoal_machine::Now;
use shoal_protocol::command::Flags;
use shoal_protocol::slot::key_slot;
use shoal_protocol::{Command, CommandId, ErrorReply, Request, errors, keys};
use shoal_session::Session;
use std::sync::Arc;

/// What the node keeps of the cluster.
#[derive(Debug, Default)]
pub struct ClusterSide {
    /// The newest view; none before the machine has started.
    pub view: Option<Arc<ClusterView>>,
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
        self.check_view(&view, now, command)?;
        let route = view.route(slot);
        let Some(owner) = route.owner else { return Err(errors::CLUSTER_DOWN_UNBOUND) };
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

/// Whether the view says that this node is a replica.
#[allow(dead_code)]
pub(crate) fn is_replica(view: &ClusterView) -> bool {
    matches!(view.role, ViewRole::Replica(_))
}
