//! RESP2 and RESP3, the command table, key specifications, hash slots and error texts.
//!
//! Everything here is pure and shared by all programs: server, proxy, client, manager.

pub mod arguments;
pub mod command;
pub mod errors;
pub mod glob;
pub mod keys;
pub mod number;
pub mod quoting;
pub mod reply;
pub mod request;
pub mod slot;
pub mod value;

pub use arguments::Arguments;
pub use command::{Command, CommandId};
pub use reply::{ErrorReply, OutputBuffer, Reply};
pub use request::{OwnedRequest, Request, RequestReader, SharedBytes};
