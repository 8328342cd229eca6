//! Faults that are put exactly at a step of the protocol by which slots move.

use crate::faults::Fault;
use crate::world::{Event, World};
use shoal_cluster::slot_migration::{JobName, LinkMessage};
use shoal_cluster::{FailoverKind, NodeId};

/// A step of a migration: what one side has just sent, or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The source announces the migration.
    Establish,
    /// The source has been answered, and is ready to send the keys.
    Ack,
    /// The child of the source begins to write the keys.
    Snapshot,
    /// The source has sent the keys.
    SnapshotEof,
    /// The target asks for the pause: a majority knows its epoch.
    RequestPause,
    /// The source has stopped writes.
    Paused,
    /// The target asks for the slots.
    RequestFailover,
    /// The source grants them.
    Granted,
    /// The target has claimed them, and nothing of that is saved.
    Claim,
    /// The claim is saved, and told.
    Claimed,
}

impl Step {
    /// All steps in their order.
    pub const ALL: [Self; 10] = [
        Self::Establish,
        Self::Ack,
        Self::Snapshot,
        Self::SnapshotEof,
        Self::RequestPause,
        Self::Paused,
        Self::RequestFailover,
        Self::Granted,
        Self::Claim,
        Self::Claimed,
    ];

    pub(crate) fn of_message(message: LinkMessage) -> Option<Self> {
        match message {
            LinkMessage::Ack => Some(Self::Ack),
            LinkMessage::SnapshotEof => Some(Self::SnapshotEof),
            LinkMessage::RequestPause => Some(Self::RequestPause),
            LinkMessage::Paused => Some(Self::Paused),
            LinkMessage::RequestFailover => Some(Self::RequestFailover),
            LinkMessage::FailoverGranted { .. } => Some(Self::Granted),
            LinkMessage::GaveUp => None,
        }
    }
}

/// Whom a fault befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The source.
    Source,
    /// The target.
    Target,
    /// A replica of the source.
    SourceReplica,
    /// A replica of the target.
    TargetReplica,
}

impl Victim {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Source, Self::Target, Self::SourceReplica, Self::TargetReplica];
}

/// What befalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepFaultKind {
    /// It dies, and comes back when all is over.
    Crash,
    /// It dies, and is back before anybody takes it for failed.
    Restart,
    /// It is cut off from everybody for longer than node-timeout.
    CutOff,
    /// It and its replica, or its primary, are cut off from everybody else for so long.
    CutOffTogether,
    /// A forced failover: its replica takes its place, or it takes that of its primary.
    Failover,
}

impl StepFaultKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Crash, Self::Restart, Self::CutOff, Self::CutOffTogether, Self::Failover];
}

/// A fault at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepFault {
    /// When.
    pub step: Step,
    /// Whom.
    pub victim: Victim,
    /// What.
    pub kind: StepFaultKind,
}

/// How long a node is cut off, in units of node-timeout.
const CUT_OFF_TIMEOUTS: u64 = 3;

impl World {
    /// The job of this name has come to a step: the fault that waits for it happens, once.
    pub(crate) fn come_to_step(&mut self, name: JobName, step: Step, ends: (Option<NodeId>, Option<NodeId>)) {
        let Some(fault) = self.step_fault.filter(|fault| fault.step == step) else { return };
        let index = |id: Option<NodeId>| id.and_then(|id| self.ids.get(&id).copied());
        let (Some(source), Some(target)) = (index(ends.0), index(ends.1)) else { return };
        let replica_of = |node: usize| self.followers_of(node).first().copied();
        let (victim, other) = match fault.victim {
            Victim::Source => (Some(source), replica_of(source)),
            Victim::Target => (Some(target), replica_of(target)),
            Victim::SourceReplica => (replica_of(source), Some(source)),
            Victim::TargetReplica => (replica_of(target), Some(target)),
        };
        let (Some(victim), Some(other)) = (victim, other) else { return };
        self.step_fault = None;
        let for_ms = self.scenario.config.node_timeout_ms * CUT_OFF_TIMEOUTS;
        let cut_off = |group| Fault::Partition { group, others: None, one_way: false, for_ms };
        let replica = if matches!(fault.victim, Victim::Source | Victim::Target) { other } else { victim };
        let fault = match fault.kind {
            StepFaultKind::Crash => Fault::Crash { node: victim, down_ms: None, noticed: true },
            StepFaultKind::Restart => Fault::Crash { node: victim, down_ms: Some(50), noticed: true },
            StepFaultKind::CutOff => cut_off([victim].into()),
            StepFaultKind::CutOffTogether => cut_off([victim, other].into()),
            StepFaultKind::Failover => Fault::ManualFailover { node: replica, kind: FailoverKind::Force },
        };
        self.note(|| format!("job {name:?} has come to {step:?}"));
        self.queue.schedule(self.now_us, Event::Fault(fault));
    }
}
