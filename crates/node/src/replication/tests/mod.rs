//! Replication between nodes without sockets.

mod net;
mod synchronisation;
mod waiting;
