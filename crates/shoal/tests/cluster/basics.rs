//! Forming a cluster, redirects, and slots nobody serves.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use crate::support::{Cluster, Kind, Server};

/// A node in cluster mode to which no slot was assigned refuses every key.
#[test]
fn clusterdown_before_slots() {
    let node = Server::shoal("cluster-enabled yes");
    let refused = "CLUSTERDOWN Hash slot not served";
    assert_eq!(node.call(&["SET", "hello", "world"]), refused);
    assert_eq!(node.call(&["GET", "hello"]), refused);
    assert_eq!(node.cli(&["-c", "set", "hello", "world"]), refused);
    assert_eq!(node.call(&["PING"]), "PONG");
}

#[test]
fn cluster_native_setup() {
    let cluster = Cluster::start((0..6).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.join(3);
}
