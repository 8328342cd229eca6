//! The keyspace: tables, values, expiry and the bodies of data commands.

pub mod hasher;
pub mod table;
