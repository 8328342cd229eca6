//! The check tools: whether the files of a server can be loaded, and where they cannot.

pub mod aof;
pub mod rdb;
