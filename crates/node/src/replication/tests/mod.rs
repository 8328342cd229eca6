//! Replication between nodes without sockets.

mod failover;
mod garbage;
mod net;
mod synchronisation;
mod waiting;
