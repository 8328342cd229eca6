//! Replication between nodes without sockets.

mod dual;
mod failover;
mod garbage;
mod loading;
mod net;
mod synchronisation;
mod waiting;
