//! RESP2 and RESP3, the command table, key specifications, hash slots and error texts.
//!
//! Everything here is pure and shared by all programs: server, proxy, client, manager.

pub mod command;
pub mod glob;
pub mod quoting;
pub mod slot;
pub mod value;

pub use command::{Command, CommandId};
