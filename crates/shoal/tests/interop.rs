//! Clusters of both kinds of nodes, and clients from outside on a cluster of ours.

mod support;

#[path = "interop/clients.rs"]
mod clients;
#[path = "interop/exchange.rs"]
mod exchange;
#[path = "interop/files.rs"]
mod files;
#[path = "interop/migrate.rs"]
mod migrate;
#[path = "interop/mixed.rs"]
mod mixed;
#[path = "interop/rolling.rs"]
mod rolling;
