//! Real nodes and ours in one cluster: whoever dies, the other kind takes over with every key it had acknowledged.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::cluster::key_of;
use crate::support::driver::text;
use crate::support::{Cluster, Connection, Kind, LATER, SHOAL, Setup, eventually, eventually_some};

/// Keys that the replica must have acknowledged before its primary is killed.
const ACKNOWLEDGED_MIN: usize = 300;

/// Keys that are there before the replicas attach, so that they travel in a snapshot.
const EARLY_KEYS: usize = 200;

/// What a node logs when another sends it something that it does not understand.
const COMPLAINTS: &[&str] =
    &["nrecognized", "nknown", "gnoring", "orrupt", "Bad message", "Protocol error", "Can't handle"];

#[test]
fn real_primaries_with_our_replicas() {
    let mut cluster = mixed([Kind::Redis, Kind::Redis, Kind::Redis, Kind::Shoal, Kind::Shoal, Kind::Shoal]);
    lose_primary(&mut cluster, 0, 3);
}

#[test]
fn our_primaries_with_real_replicas() {
    let mut cluster = mixed([Kind::Shoal, Kind::Shoal, Kind::Shoal, Kind::Redis, Kind::Redis, Kind::Redis]);
    lose_primary(&mut cluster, 0, 3);
}

#[test]
fn half_of_each_kind() {
    let mut cluster = mixed([Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal]);
    lose_primary(&mut cluster, 0, 3);
    lose_primary(&mut cluster, 1, 4);
    // The first pair once more, the other way round: what came back as replica is promoted again.
    lose_primary(&mut cluster, 3, 0);
}

/// Both managers make one cluster of both kinds; every replica has what its primary has.
#[test]
fn both_managers_create_one_cluster() {
    for program in [&["redis-cli"][..], &[SHOAL, "cli"]] {
        let kinds = [Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal];
        let cluster = Cluster::start(kinds.into_iter().map(setup).collect());
        let created = cluster.manage_all(program, "create", &["--cluster-replicas", "1", "--cluster-yes"]);
        let shown = text(&created);
        assert!(created.status.success() && shown.contains("[OK] All 16384 slots covered."), "{shown}");
        cluster.wait_until_settled();
        for index in 0..3 {
            let mut primary = cluster.nodes[index].connect();
            for number in 0..50 {
                let words = ["SET", &key_of(index, 3, number), &early_value(number)];
                assert_eq!(primary.text(&words), "OK", "{program:?}");
            }
            let (id, digest) = (cluster.id(index), primary.text(&["DEBUG", "DIGEST"]));
            let follows = |replica: &usize| cluster.line(0, *replica).is_some_and(|line| line.primary == id);
            let replica = (3..6).find(follows).unwrap();
            eventually(LATER, "its replica has the same", || {
                cluster.nodes[replica].call(&["DEBUG", "DIGEST"]) == digest
            });
        }
    }
}

#[test]
fn our_replica_moves_to_a_real_primary() {
    replica_moves(Kind::Redis, Kind::Shoal);
}

#[test]
fn a_real_replica_moves_to_our_primary() {
    replica_moves(Kind::Shoal, Kind::Redis);
}

/// A primary of one kind loses its only replica; one of the two that follow a primary of the other kind comes, and takes its
/// place when it dies.
fn replica_moves(orphan: Kind, donor: Kind) {
    let kinds = [donor, orphan, Kind::Redis, donor, Kind::Shoal, Kind::Shoal, donor];
    let mut cluster = Cluster::start(kinds.into_iter().map(setup).collect());
    cluster.join(3);
    let key = key_of(1, 3, 0);
    assert_eq!(cluster.nodes[1].call(&["SET", &key, "value"]), "OK");
    cluster.nodes[4].kill();
    let id = cluster.id(1);
    let follows = |cluster: &Cluster, replica: usize| {
        let line = cluster.line(replica, replica);
        line.is_some_and(|line| line.has("slave") && line.primary == id)
    };
    let moved = eventually_some(LATER, "a replica moves", || {
        [3, 6].into_iter().find(|&index| follows(&cluster, index))
    });
    cluster.wait_until_settled();
    eventually(LATER, "it has the data", || {
        let digest = cluster.nodes[moved].call(&["DEBUG", "DIGEST"]);
        digest == cluster.nodes[1].call(&["DEBUG", "DIGEST"])
    });
    cluster.nodes[1].kill();
    cluster.wait_for_promotion(moved);
    cluster.wait_until_ok();
    assert_eq!(cluster.nodes[moved].call(&["GET", &key]), "value");
}

/// Six nodes of these kinds; the last three follow the first three.
fn mixed(kinds: [Kind; 6]) -> Cluster {
    let cluster = Cluster::start(kinds.into_iter().map(setup).collect());
    // Keys that are older than the replicas.
    assert_eq!(cluster.nodes[0].call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    cluster.nodes[0].call(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    cluster.wait_for_state(0, "ok");
    let mut first = cluster.nodes[0].connect();
    for number in 0..EARLY_KEYS {
        let reply = first.text(&["SET", &key_of_first(number), &early_value(number)]);
        assert_eq!(reply, "OK");
    }
    assert_eq!(cluster.nodes[0].call(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]), "OK");
    cluster.nodes[0].call(&["CONFIG", "SET", "cluster-require-full-coverage", "yes"]);
    cluster.join(3);
    cluster
}

/// A node of this kind whose snapshots a Redis 7.0 can read.
fn setup(kind: Kind) -> Setup {
    match kind {
        Kind::Redis => Cluster::setup(kind),
        Kind::Shoal => Cluster::setup(kind).conf("rdb-version-compat 10"),
    }
}

/// Kills a primary while a client writes; its replica must take over and hold what it had acknowledged. Then the killed
/// node comes back as its replica, with the same data.
fn lose_primary(cluster: &mut Cluster, primary: usize, replica: usize) {
    let kinds = (cluster.nodes[primary].kind(), cluster.nodes[replica].kind());
    assert_ne!(kinds.0, kinds.1, "the other kind takes over");
    let share = primary % 3;
    let count = AtomicUsize::new(0);
    let mut connection = cluster.nodes[primary].connect();
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until_lost(&mut connection, share, primary, &count));
        eventually(LATER, "enough acknowledged keys", || {
            count.load(Ordering::Relaxed) >= ACKNOWLEDGED_MIN || writer.is_finished()
        });
        cluster.nodes[primary].kill();
        acknowledged = writer.join().unwrap();
    });
    assert!(acknowledged.len() >= ACKNOWLEDGED_MIN, "{} keys only", acknowledged.len());

    cluster.wait_for_promotion(replica);
    cluster.wait_until_ok();
    let mut promoted = cluster.nodes[replica].connect();
    let missing = acknowledged.iter().filter(|(key, value)| promoted.text(&["GET", key]) != *value).count();
    assert_eq!(missing, 0, "of {} keys at {kinds:?}", acknowledged.len());
    if share == 0 {
        for number in 0..EARLY_KEYS {
            assert_eq!(promoted.text(&["GET", &key_of_first(number)]), early_value(number));
        }
    }

    cluster.nodes[primary].start();
    let id = cluster.id(replica);
    eventually(LATER, "the killed node follows", || {
        cluster.line(primary, primary).is_some_and(|line| line.has("slave") && line.primary == id)
    });
    cluster.wait_until_settled();
    eventually(LATER, "both have the same data", || {
        let digest = promoted.text(&["DEBUG", "DIGEST"]);
        digest.len() == 40 && digest == cluster.nodes[primary].call(&["DEBUG", "DIGEST"])
    });
    for node in &cluster.nodes {
        for line in node.log().lines() {
            assert!(!COMPLAINTS.iter().any(|text| line.contains(text)), "{:?}: {line}", node.kind());
        }
    }
}

/// Writes keys one by one until the connection ends; those that WAIT says the replica has.
fn write_until_lost(
    connection: &mut Connection,
    share: usize,
    primary: usize,
    count: &AtomicUsize,
) -> Vec<(String, String)> {
    let tag = key_of(share, 3, 0);
    connection.reply_timeout(Duration::from_secs(20));
    let mut acknowledged = Vec::new();
    for number in 0_u32.. {
        let key = format!("{{{tag}}}:{primary}:{number}");
        let value = format!("value of {number} {}", "x".repeat((number % 200) as usize));
        let Some(reply) = connection.try_call(&["SET", &key, &value]) else { break };
        assert_eq!(reply.as_text().unwrap(), "OK");
        let Some(reply) = connection.try_call(&["WAIT", "1", "5000"]) else { break };
        if reply.as_integer() == Some(1) {
            acknowledged.push((key, value));
            count.store(acknowledged.len(), Ordering::Relaxed);
        }
    }
    acknowledged
}

/// Keys of the first primary's share.
fn key_of_first(number: usize) -> String {
    format!("{{{}}}early:{number}", key_of(0, 3, 0))
}

/// Integers, short and long strings, and strings that compress.
fn early_value(number: usize) -> String {
    match number % 4 {
        0 => (number * number).to_string(),
        1 => format!("value {number}"),
        2 => "abc".repeat(number),
        _ => format!("-{number}"),
    }
}
