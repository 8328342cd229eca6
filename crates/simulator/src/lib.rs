//! The shipped cluster machine of many nodes in virtual time, under faults that a seed decides; and replication between
//! whole nodes, in `replication/`.
//!
//! ```text
//!   Scenario + seed --> World: event queue in virtual time
//!                         |-- SimulatedNode: ClusterMachine, NodeModel (its executor), Disk
//!                         |-- Network: delay, loss, duplication, refused connections, partitions
//!                         '-- Checkers: one file per invariant
//! ```
//!
//! A run has three parts: the cluster stands, faults come for a while, faults end and the cluster must heal. Safety is
//! checked all the time, healing at the end. The same seed gives the same run, event by event; [`Options::log`] keeps
//! the events as text.

mod checkers;
mod disk;
mod faults;
mod keys;
mod migrations;
mod network;
mod node_model;
mod peers;
mod promises;
mod queue;
mod replication;
mod runner;
mod scale;
mod scenario;
mod steps;
#[cfg(test)]
mod tests;
mod world;

pub use faults::{Fault, TimedFault};
pub use replication::{ReplicationReport, fuzz_link, run_replication};
pub use runner::{Failure, Options, RangeReport, Report, run, run_with_options, simulate_range};
pub use scale::{KillReport, ScaleOptions, ScaleReport, run_scale};
pub use scenario::{FaultRates, Formation, Sabotage, Scenario};
pub use steps::{Step, StepFault, StepFaultKind, Victim};
