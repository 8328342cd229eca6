//! The scenarios of clusters: each test carries the scenario's name.

mod support;

#[path = "cluster/basics.rs"]
mod basics;
#[path = "cluster/bus.rs"]
mod bus;
#[path = "cluster/create.rs"]
mod create;
#[path = "cluster/failover.rs"]
mod failover;
#[path = "cluster/resharding.rs"]
mod resharding;
#[path = "cluster/slot_migration.rs"]
mod slot_migration;
#[path = "cluster/tools.rs"]
mod tools;
