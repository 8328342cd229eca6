//! The keyspace: tables, values, expiry and the bodies of data commands.

pub mod access;
pub mod call;
pub mod commands;
pub mod database;
pub mod digest;
pub mod entry;
pub mod eviction;
pub mod geohash;
pub mod hasher;
pub mod keyspace;
mod long_double;
pub mod populate;
pub mod prefetch;
pub mod sample;
pub mod snapshot;
pub mod table;
pub mod testing;
mod timed_hashes;
pub mod types;

pub use call::{Access, Block, Call, Effects, EncodingLimits, Outcome, StoreOptions, TimeoutReply};
pub use database::{Database, Found, Garbage, Layout};
pub use entry::{Entry, NewValue, Text, Value, ValueMut};
pub use hasher::Hasher;
pub use keyspace::Keyspace;
pub use types::{Collection, Object, Settings, Type};
