//! A cluster of real processes, each in a network namespace of its own, under faults and a recorded load.
//!
//! ```text
//!            hub: bridge, this program, its clients
//!      ┌────────┬────────┼────────┬────────┐
//!    node 0   node 1   node 2   node 3   node 4 …     a namespace each: 10.77.0.1, 10.77.0.2, …
//! ```
//!
//! Faults come one after the other: a node is killed and started again, stopped for a while, cut off from the other nodes
//! or from everybody; the cluster is split; slots move; a replica is told to take over. After each the cluster has a bounded time
//! to be whole again. Clients write all the while and note what they were told. In the end
//!
//! - every slot has one owner, and all nodes say the same one; nobody was replaced for something brief;
//! - no write is missing that WAIT has confirmed on every replica of its shard, and none is there twice;
//! - the history of a key is linearizable between the moments at which its primary was replaced without being asked.

pub mod client;
pub mod cluster;
pub mod faults;
pub mod linearizability;
pub mod load;
pub mod network;
pub mod run;

/// A result whose error is a text to show.
pub type Outcome<T> = Result<T, String>;
