//! Replication between nodes without sockets.

mod garbage;
mod net;
mod synchronisation;
mod waiting;
