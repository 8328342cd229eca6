//! Routing: whether this node may serve the keys of a request, by the view that the cluster machine last gave.
//!
//! ```text
//!  keys ── none ─────────────────────────────────────────────▶ serve
//!    └── slot ── nobody's ───────────────────────────────────▶ CLUSTERDOWN Hash slot not served
//!          └── keys of other slots, too ─────────────────────▶ CROSSSLOT
//!                └── cluster down, or its machine silent ────▶ CLUSTERDOWN
//!                      ├── mine, stable ─────────────────────▶ serve
//!                      ├── mine, on the way to another node ─▶ all here: serve; none: ASK; some: TRYAGAIN
//!                      ├── on the way to me, client asks ────▶ serve; TRYAGAIN if some of several keys are missing
//!                      ├── my primary's, client only reads ──▶ serve
//!                      └── anything else ────────────────────▶ MOVED
//! ```
//!
//! The rules are those of Redis 7.2 (`getNodeByQuery`), with two differences, both to the safe side: a machine that has
//! been silent for too long counts as a cluster that is down, and a transaction that writes counts as a write when a
//! cluster that is down serves reads.

use crate::cluster::{endpoint, onlooker};
use crate::dispatch::is_paused;
use crate::node::Node;
use crate::pause::PauseKind;
use crate::slot_migration::Hold;
use crate::slot_stats::{SlotCost, request_bytes};
use shoal_cluster::ClusterView;
use shoal_cluster::view::NodeFacts;
use shoal_machine::Now;
use shoal_protocol::command::Flags;
use shoal_protocol::slot::key_slot;
use shoal_protocol::{Command, CommandId, ErrorReply, Request, errors, keys};
use shoal_session::{ClientKind, Session};

const CLUSTER_DOWN_READ_ONLY: ErrorReply =
    ErrorReply::new("CLUSTERDOWN The cluster is down and only accepts read commands");

/// What the keys of a request have in common.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    /// The slot of the first key; none without keys.
    slot: Option<u16>,
    /// There is a key of another slot.
    crosses_slots: bool,
    /// There are keys that differ from each other.
    has_several: bool,
}

/// A command that is counted by its slot while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedSlot {
    slot: u16,
    /// Bytes that waited to be sent before it.
    waiting_bytes: u64,
    received_bytes: u64,
}

impl Node {
    /// Whether this node may serve the keys of a request; the redirection to send if not.
    pub(crate) fn check_slot(
        &self,
        now: Now,
        session: &Session,
        command: &'static Command,
        request: &Request<'_>,
    ) -> Result<(), ErrorReply> {
        let Some(view) = self.cluster.as_ref().and_then(|side| side.view.as_deref()) else {
            return if command.key_specs.is_empty() { Ok(()) } else { Err(errors::CLUSTER_DOWN) };
        };
        let summary = summarize(session, command, request);
        let Some(slot) = summary.slot else { return Ok(()) };
        let is_settled = view.migrating.is_empty() && view.importing.is_empty();
        if is_settled && !summary.crosses_slots && view.owns(slot) {
            return self.check_view(view, now, session, command);
        }
        let route = view.route(slot);
        let Some(owner) = route.owner else { return Err(errors::CLUSTER_DOWN_UNBOUND) };
        if summary.crosses_slots {
            return Err(errors::CROSS_SLOT);
        }
        self.check_view(view, now, session, command)?;
        let target = route.migrating_to.filter(|_| route.is_mine);
        let is_importing = target.is_none() && route.importing_from.is_some();
        let is_open = target.is_some() || is_importing;
        // MIGRATE moves keys freely between the two ends of an open slot.
        if is_open && command.id == CommandId::Migrate {
            return Ok(());
        }
        let (here, missing) = if is_open { self.count_keys(now, session, command, request) } else { (0, 0) };
        if let Some(target) = target
            && missing > 0
        {
            return Err(if here > 0 {
                errors::TRY_AGAIN
            } else {
                redirection("ASK", slot, target, view, session)
            });
        }
        if is_importing && (session.is_asking || command.flags.contains(Flags::ASKING)) {
            return if summary.has_several && missing > 0 { Err(errors::TRY_AGAIN) } else { Ok(()) };
        }
        let may_read_here = session.is_readonly || has_shard_channels(command);
        if route.is_mine || route.is_my_primarys && may_read_here && !writes(session, command) {
            return Ok(());
        }
        Err(redirection("MOVED", slot, owner, view, session))
    }

    /// The slot of a request, and what was sent before, if commands are counted by slot.
    #[inline]
    pub(crate) fn slot_to_count(
        &self,
        session: &Session,
        command: &'static Command,
        request: &Request<'_>,
    ) -> Option<CountedSlot> {
        self.cluster.as_ref()?.slot_stats.as_ref()?;
        if session.kind == ClientKind::Primary || command.key_specs.is_empty() {
            return None;
        }
        let slot = summarize(session, command, request).slot?;
        let waiting_bytes = session.output.len() as u64;
        Some(CountedSlot { slot, waiting_bytes, received_bytes: request_bytes(request) })
    }

    /// A command that is counted by its slot is done.
    #[inline]
    pub(crate) fn count_slot(&mut self, session: &Session, counted: Option<CountedSlot>, cpu_us: u64) {
        let Some(counted) = counted else { return };
        let sent_bytes = (session.output.len() as u64).saturating_sub(counted.waiting_bytes);
        if let Some(stats) = self.cluster.as_mut().and_then(|side| side.slot_stats.as_mut()) {
            let received_bytes = counted.received_bytes;
            stats.count(counted.slot, SlotCost { cpu_us, received_bytes, sent_bytes });
        }
    }

    /// The error for a client that waits for a key of a slot which this node does not serve any more. It comes, too, when
    /// the cluster is down but serves reads: the write that the client waits for could not come.
    pub(crate) fn refusal_to_wait(
        &self,
        now: Now,
        session: &Session,
        command: &Command,
        key: &[u8],
    ) -> Option<ErrorReply> {
        let view = self.cluster.as_ref()?.view.as_deref()?;
        if !view.is_ok || view.is_stale(now.monotonic) {
            return Some(errors::CLUSTER_DOWN);
        }
        let slot = key_slot(key);
        let route = view.route(slot);
        let may_read_here = session.is_readonly && command.flags.contains(Flags::READONLY);
        if route.is_mine || route.is_my_primarys && may_read_here || route.importing_from.is_some() {
            return None;
        }
        Some(match route.owner {
            Some(owner) => redirection("MOVED", slot, owner, view, session),
            None => errors::CLUSTER_DOWN_UNBOUND,
        })
    }

    /// Whether a command has to wait because the slot of its keys is about to go to another node.
    pub(crate) fn is_held(&self, session: &Session, command: &Command, request: &Request<'_>) -> bool {
        if session.kind != ClientKind::Normal {
            return false;
        }
        // What deletes all keys would reach slots whose last change has been sent.
        if matches!(command.id, CommandId::Flushall | CommandId::Flushdb) {
            return true;
        }
        // What is queued is looked at when it is to run.
        if session.transaction.is_some() && command.id != CommandId::Exec {
            return false;
        }
        let Some(slot) = summarize(session, command, request).slot else { return false };
        match self.migrations.hold_of(slot) {
            Some(Hold::All) => true,
            Some(Hold::Writes) => is_paused(PauseKind::Writes, session, command),
            None => false,
        }
    }

    /// Whether the cluster as a whole serves this command.
    fn check_view(
        &self,
        view: &ClusterView,
        now: Now,
        session: &Session,
        command: &Command,
    ) -> Result<(), ErrorReply> {
        if view.is_stale(now.monotonic) {
            return Err(errors::CLUSTER_DOWN);
        }
        if view.is_ok {
            return Ok(());
        }
        if has_shard_channels(command) {
            let is_allowed = self.config.cluster_allow_pubsubshard_when_down;
            return if is_allowed { Ok(()) } else { Err(errors::CLUSTER_DOWN) };
        }
        if !self.config.cluster_allow_reads_when_down {
            return Err(errors::CLUSTER_DOWN);
        }
        if writes(session, command) { Err(CLUSTER_DOWN_READ_ONLY) } else { Ok(()) }
    }

    /// How many of the keys are here, and how many are not; what has expired is not. Channels are served by the owner of
    /// the slot until it is moved as a whole, so they count as neither.
    fn count_keys(
        &self,
        now: Now,
        session: &Session,
        command: &Command,
        request: &Request<'_>,
    ) -> (usize, usize) {
        let database = self.keyspace.database(0);
        let (mut here, mut missing) = (0, 0);
        let mut count = |key: &[u8]| {
            let expiry_ms = database.find(key).map(|found| database.entry(found).expiry_ms());
            match expiry_ms {
                Some(expiry_ms) if expiry_ms.is_none_or(|at| at > now.unix_ms()) => here += 1,
                _ => missing += 1,
            }
        };
        if command.id == CommandId::Exec {
            for (command, request) in session.transaction.iter().flat_map(|transaction| &transaction.queue) {
                for_each_key(command, &request.as_request(), &mut count);
            }
        } else if !has_shard_channels(command) {
            for_each_key(command, request, &mut count);
        }
        (here, missing)
    }
}

/// Looks at all keys of a request; at those of all queued commands if it is EXEC.
fn summarize(session: &Session, command: &Command, request: &Request<'_>) -> Summary {
    let mut summary = Summary::default();
    if command.id != CommandId::Exec {
        let mut first = None;
        for_each_key(command, request, |key| add_key(&mut summary, &mut first, key));
        return summary;
    }
    let Some(transaction) = &session.transaction else { return summary };
    let requests: Vec<_> =
        transaction.queue.iter().map(|(command, request)| (command, request.as_request())).collect();
    let mut first = None;
    for (command, request) in &requests {
        for_each_key(command, request, |key| add_key(&mut summary, &mut first, key));
    }
    summary
}

fn add_key<'a>(summary: &mut Summary, first: &mut Option<&'a [u8]>, key: &'a [u8]) {
    match (summary.slot, *first) {
        (Some(_), Some(known)) if known == key => {}
        (Some(slot), _) => {
            summary.has_several = true;
            summary.crosses_slots |= key_slot(key) != slot;
        }
        (None, _) => {
            summary.slot = Some(key_slot(key));
            *first = Some(key);
        }
    }
}

/// The keys of a request, or its shard channels, which have slots as keys do.
fn for_each_key<'a>(command: &Command, request: &Request<'a>, mut visit: impl FnMut(&'a [u8])) {
    if has_shard_channels(command) {
        let end = if command.id == CommandId::Spublish { 2 } else { request.len() };
        (1..end).for_each(|index| visit(request.argument(index)));
    } else if !command.key_specs.is_empty() {
        keys::for_each(command, request, visit);
    }
}

fn has_shard_channels(command: &Command) -> bool {
    matches!(command.id, CommandId::Spublish | CommandId::Ssubscribe | CommandId::Sunsubscribe)
}

/// Whether a command writes, or one that EXEC would run.
fn writes(session: &Session, command: &Command) -> bool {
    let mut queue = session.transaction.iter().flat_map(|transaction| &transaction.queue);
    command.flags.contains(Flags::WRITE)
        || command.id == CommandId::Exec && queue.any(|(queued, _)| queued.flags.contains(Flags::WRITE))
}

/// The error that sends a client to another node.
fn redirection(word: &str, slot: u16, node: &NodeFacts, view: &ClusterView, session: &Session) -> ErrorReply {
    let onlooker = onlooker(session);
    let port = node.port_for(onlooker, view.config.tls_cluster);
    ErrorReply::from(format!("{word} {slot} {}:{port}", endpoint(node, view, onlooker)))
}

/// Whether an error says where a request's keys are, or that they are nowhere: such a one ends a transaction without
/// further words.
pub(crate) fn is_redirection(error: &ErrorReply) -> bool {
    matches!(error.code(), "MOVED" | "ASK" | "TRYAGAIN" | "CROSSSLOT" | "CLUSTERDOWN")
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
