//! Ctrl-C while slots move at once: nothing has moved, and the same command can be given again.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;

use shoal_protocol::value::Value;

use crate::support::cluster::key_of;
use crate::support::driver::{Driver, plain};
use crate::support::{Cluster, LATER, eventually, eventually_some, signal};

/// The rate of a migration, in bytes per second: the keys of each node take several seconds.
const SLOW: &str = "20000";
/// Keys of each node, and the size of each in bytes.
const KEYS: usize = 300;
const VALUE_BYTES: usize = 1000;

/// A field of the newest migration of a node.
fn newest(cluster: &Cluster, index: usize, field: &str) -> Option<Value> {
    let reply = cluster.nodes[index].connect().call(&["CLUSTER", "GETSLOTMIGRATIONS"]);
    reply.as_elements()?.first()?.field(field).cloned()
}

fn state(cluster: &Cluster, index: usize) -> String {
    let state = newest(cluster, index, "state");
    state.as_ref().and_then(Value::as_text).unwrap_or_default().into_owned()
}

/// The node of each key.
fn places(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::new();
    for (index, node) in cluster.nodes.iter().enumerate() {
        let keys = node.connect().call(&["KEYS", "*"]);
        for key in keys.as_elements().unwrap().iter().filter_map(Value::as_text) {
            assert!(places.insert(key.to_string(), index).is_none(), "{key} is at two nodes");
        }
    }
    places
}

fn owned(cluster: &Cluster) -> Vec<Vec<String>> {
    (0..3).map(|index| cluster.line(index, index).unwrap().slots).collect()
}

/// The migrations of both sources are cancelled, the slots and keys stay where they were, and a second run of the same command
/// finishes.
#[test]
fn an_interrupted_reshard_cancels_its_migrations() {
    let driver = Driver::OURS;
    let setup = || driver.setup().conf(&format!("cluster-slot-migration-max-rate {SLOW}"));
    let cluster = Cluster::start((0..3).map(|_| setup()).collect());
    cluster.join(3);
    for (index, node) in cluster.nodes.iter().enumerate() {
        let mut connection = node.connect();
        for number in 0..KEYS {
            let key = key_of(index, 3, number);
            assert_eq!(connection.text(&["SET", &key, &"x".repeat(VALUE_BYTES)]), "OK");
        }
    }
    let (before, slots) = (places(&cluster), owned(&cluster));
    let (address, target) = (cluster.nodes[0].address(), cluster.id(1));
    let sources = format!("{},{}", cluster.id(0), cluster.id(2));
    let from_to = ["--cluster-from", &sources, "--cluster-to", &target, "--cluster-slots", "8000"];
    let words = [&["--cluster", "reshard", &address][..], &from_to, &["--cluster-yes"]].concat();

    let printed = cluster.nodes[0].path("manager.out");
    let mut manager = driver.spawn(&words, &printed);
    for source in [0, 2] {
        eventually(LATER, "keys are being sent", || {
            let sent = newest(&cluster, source, "bytes").and_then(|bytes| bytes.as_integer());
            sent.is_some_and(|sent| sent > 0)
        });
    }
    signal(manager.id(), "INT");
    let status = eventually_some(LATER, "the end of the manager", || manager.try_wait().unwrap());
    let printed = plain(&std::fs::read(&printed).unwrap());
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("*** Interrupted: the migrations under way were cancelled."), "{printed}");
    for source in [0, 2] {
        eventually(LATER, "the source has cancelled", || state(&cluster, source) == "cancelled");
    }
    eventually(LATER, "the target keeps nothing", || places(&cluster) == before);
    assert_eq!(owned(&cluster), slots);

    for node in &cluster.nodes {
        assert_eq!(node.call(&["CONFIG", "SET", "cluster-slot-migration-max-rate", "0"]), "OK");
    }
    driver.good(&words);
    cluster.wait_until_settled();
    let taken: usize = owned(&cluster)[1].iter().map(|range| count(range)).sum();
    assert_eq!(taken, count(&slots[1][0]) + 8000, "{:?}", owned(&cluster));
    let mut keys = places(&cluster);
    assert_eq!(keys.len(), before.len());
    keys.retain(|key, index| before[key] != *index);
    assert!(
        keys.len() > KEYS && keys.values().all(|&index| index == 1),
        "keys have gone to the target alone"
    );
}

/// How many slots a range has.
fn count(range: &str) -> usize {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
}
