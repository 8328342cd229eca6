//! The client, the benchmark and the cluster manager.
