//! The programs of the `shoal` binary: the server, the launcher, and the names under which they go.

pub mod allocator;
pub mod check;
pub mod launcher;
pub mod links;
pub mod logging;
pub mod process;
pub mod server;
