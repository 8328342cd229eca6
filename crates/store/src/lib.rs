//! The keyspace: tables, values, expiry and the bodies of data commands.

pub mod access;
pub mod call;
pub mod commands;
pub mod database;
pub mod digest;
pub mod entry;
pub mod hasher;
pub mod keyspace;
mod long_double;
pub mod populate;
pub mod snapshot;
pub mod table;
pub mod testing;

pub use call::{Access, Call, Effects, Outcome, StoreOptions};
pub use database::{Database, Found, Garbage, Layout};
pub use entry::{Entry, NewValue, Value};
pub use hasher::Hasher;
pub use keyspace::Keyspace;
