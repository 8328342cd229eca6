//! What a real `redis-server` says and writes, compared with what the store says and writes.

// These tests start processes and talk over sockets; the laws of the pure crate are for its own code.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod bits;
mod commands;
mod files;
mod lists;
mod members;
mod numbers;
mod pair;
mod places;
mod server;
mod sorted_sets;
mod streams;
