//! The server: everything around a node that makes it a process.

pub mod run;
pub mod startup;
