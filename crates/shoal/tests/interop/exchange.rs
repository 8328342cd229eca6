//! What passes between nodes of both kinds besides failures: slots, roles on demand, publications, nodes.conf.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shoal_protocol::slot::key_slot;
use shoal_protocol::value::Value;

use crate::support::cluster::{NodeLine, key_of};
use crate::support::{Cluster, Kind, LATER, Setup, always, eventually, field};

/// One slot moves from each kind to the other, by hand: ASK, ASKING, TRYAGAIN, MIGRATE.
#[test]
fn slots_move_between_both_kinds() {
    let kinds = [Kind::Shoal, Kind::Redis, Kind::Shoal];
    let cluster = Cluster::start(kinds.into_iter().map(setup).collect());
    cluster.join(3);
    for (source, target) in [(0, 1), (1, 0), (0, 2)] {
        move_slot(&cluster, source, target);
    }
    // And as a manager does it.
    let (from, to) = (cluster.id(0), cluster.id(1));
    let output = Command::new("timeout")
        .args(["100", "redis-cli", "--cluster", "reshard", &cluster.nodes[2].address()])
        .args(["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", "50", "--cluster-yes"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    cluster.wait_until_settled();
    let check = cluster.nodes[0].cli(&["--cluster", "check", &cluster.nodes[1].address()]);
    assert!(check.contains("[OK] All 16384 slots covered.") && !check.contains("[WARNING]"), "{check}");
}

/// CLUSTER FAILOVER while a client counts: nothing that was acknowledged is lost, whichever kind hands over.
#[test]
fn manual_failover_between_both_kinds() {
    let kinds = [Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Shoal];
    let cluster = Cluster::start(kinds.into_iter().map(setup).collect());
    cluster.join(3);
    for share in 0..3 {
        for (old, new) in [(share, share + 3), (share + 3, share)] {
            hand_over(&cluster, share, old, new);
        }
    }
    // Without the primary's consent. FORCE is not for node 3: a Redis 7.0 that is elected twice within a few seconds counts
    // the votes of the first time. And nobody votes about the same primary twice within two node timeouts, so it is tried
    // again.
    for (replica, option) in [(4, "FORCE"), (3, "TAKEOVER")] {
        eventually(LATER, &format!("{option} at node {replica}"), || {
            assert_eq!(cluster.nodes[replica].call(&["CLUSTER", "FAILOVER", option]), "OK");
            let is_promoted = || cluster.role(replica).as_deref() == Some("master");
            within(Duration::from_secs(2), is_promoted)
        });
        cluster.wait_for_promotion(replica);
        cluster.wait_until_settled();
    }
}

/// A publication reaches subscribers at every node; a sharded one those of its shard.
#[test]
fn publications_reach_both_kinds() {
    let kinds = [Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Redis];
    let cluster = Cluster::start(kinds.into_iter().map(setup).collect());
    cluster.join(3);
    let mut subscribers: Vec<_> = cluster.nodes.iter().map(|node| node.connect()).collect();
    for subscriber in &mut subscribers {
        subscriber.call(&["SUBSCRIBE", "news"]);
    }
    for publisher in [0, 1, 3, 4] {
        let text = format!("from {publisher}");
        cluster.nodes[publisher].call(&["PUBLISH", "news", &text]);
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.read(), publication("message", "news", &text));
        }
    }
    for primary in 0..3 {
        let channel = key_of(primary, 3, 0);
        let mut at_primary = cluster.nodes[primary].connect();
        let mut at_replica = cluster.nodes[primary + 3].connect();
        at_primary.call(&["SSUBSCRIBE", &channel]);
        let subscribed = at_replica.call(&["SSUBSCRIBE", &channel]);
        assert!(!subscribed.is_error(), "{subscribed:?} at {:?}", cluster.nodes[primary + 3].kind());
        for publisher in [primary, primary + 3] {
            cluster.nodes[publisher].call(&["SPUBLISH", &channel, "hello"]);
            assert_eq!(at_primary.read(), publication("smessage", &channel, "hello"));
            assert_eq!(at_replica.read(), publication("smessage", &channel, "hello"));
        }
    }
}

/// A node of the other kind goes on with the nodes.conf it finds, and both kinds describe the cluster alike.
#[test]
fn nodes_conf_changes_hands() {
    let mut cluster = Cluster::start((0..4).map(|_| setup(Kind::Shoal)).collect());
    cluster.join(3);
    let before: Vec<String> = (0..4).map(|index| cluster.id(index)).collect();
    // Half of them at first, so that both kinds can be compared, then all, then back.
    for kinds in [
        [Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal],
        [Kind::Redis; 4],
        [Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Redis],
        [Kind::Shoal; 4],
    ] {
        for (node, kind) in cluster.nodes.iter_mut().zip(kinds) {
            node.stop();
            node.change_kind(kind);
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.wait_until_settled();
        let ids: Vec<String> = (0..4).map(|index| cluster.id(index)).collect();
        assert_eq!(ids, before, "{kinds:?}");
        eventually(LATER, "the same description from all", || {
            let first = description(&cluster, 0);
            first.len() == 4 && (1..4).all(|index| description(&cluster, index) == first)
        });
        let slots = |index: usize| -> Vec<String> {
            let ranges = sorted(cluster.nodes[index].connect().call(&["CLUSTER", "SLOTS"]));
            // Redis ends each node with what else it announces, even if that is nothing.
            ranges.iter().map(|range| range.replace(", Array([])", "")).collect()
        };
        assert_eq!(slots(0), slots(1), "{kinds:?}");
        assert_eq!(slots(2), slots(3), "{kinds:?}");
    }
}

/// A primary that lost its last replica gets one from a primary that has two.
#[test]
fn replicas_migrate() {
    let kinds = [Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Redis, Kind::Shoal, Kind::Shoal, Kind::Shoal];
    let mut cluster = Cluster::start(kinds.into_iter().map(setup).collect());
    cluster.join(3); // Node 0 has nodes 3 and 6, node 1 has node 4.
    cluster.nodes[4].kill();
    let orphan = cluster.id(1);
    eventually(LATER, "a replica of node 0 goes over to node 1", || {
        [3, 6].iter().any(|index| cluster.line(*index, *index).is_some_and(|line| line.primary == orphan))
    });
    cluster.wait_until_settled();
    let followers = |primary: usize| {
        let id = cluster.id(primary);
        cluster.table(2).iter().filter(|line| line.primary == id && !line.has("fail")).count()
    };
    eventually(LATER, "each primary has one", || (0..3).all(|primary| followers(primary) == 1));
    always(Duration::from_secs(3), "it stays so", || (0..3).all(|primary| followers(primary) == 1));
}

fn setup(kind: Kind) -> Setup {
    match kind {
        Kind::Redis => Cluster::setup(kind),
        Kind::Shoal => Cluster::setup(kind).conf("rdb-version-compat 10"),
    }
}

/// Moves a slot of node 0's first share by hand, with keys in it.
fn move_slot(cluster: &Cluster, source: usize, target: usize) {
    let tag = key_of(0, 3, 0);
    let slot = key_slot(tag.as_bytes()).to_string();
    let key = |number: usize| format!("{{{tag}}}{number}");
    let (from, to) = (&cluster.nodes[source], &cluster.nodes[target]);
    let (from_id, to_id) = (cluster.id(source), cluster.id(target));
    for number in 0..20 {
        assert_eq!(from.call(&["SET", &key(number), &format!("value {number}")]), "OK");
    }
    assert_eq!(from.call(&["EXPIRE", &key(3), "1000"]), "1");
    assert_eq!(to.call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]), "OK");
    assert_eq!(from.call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]), "OK");

    assert_eq!(from.call(&["GET", &key(0)]), "value 0");
    let ask = format!("ASK {slot} {}", to.address());
    assert_eq!(from.call(&["GET", &key(99)]), ask);
    assert_eq!(to.call(&["GET", &key(99)]), format!("MOVED {slot} {}", from.address()));
    let mut asking = to.connect();
    assert_eq!(asking.text(&["ASKING"]), "OK");
    assert_eq!(asking.text(&["SET", &key(99), "new"]), "OK");
    assert_eq!(asking.text(&["GET", &key(99)]), format!("MOVED {slot} {}", from.address()), "once only");
    assert_eq!(from.cli(&["-c", "get", &key(99)]).lines().last(), Some("new"));

    let port = to.port().to_string();
    assert_eq!(from.call(&["MIGRATE", to.host(), &port, &key(0), "0", "5000"]), "OK");
    let again = "TRYAGAIN Multiple keys request during rehashing of slot";
    assert_eq!(from.call(&["MGET", &key(0), &key(1)]), again);
    let rest = from.connect().call(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    let rest: Vec<String> =
        rest.as_elements().unwrap().iter().map(|key| key.as_text().unwrap().into_owned()).collect();
    assert_eq!(rest.len(), 19);
    let mut words = vec!["MIGRATE", to.host(), &port, "", "0", "5000", "KEYS"];
    words.extend(rest.iter().map(String::as_str));
    assert_eq!(from.call(&words), "OK");
    assert_eq!(from.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), "0");
    assert_eq!(to.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), "21");
    for node in [to, from] {
        assert_eq!(node.call(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]), "OK");
    }
    for number in 0..20 {
        assert_eq!(to.call(&["GET", &key(number)]), format!("value {number}"));
    }
    assert!(to.connect().call(&["TTL", &key(3)]).as_integer().unwrap() > 900);
    assert_eq!(to.call(&["DEL", &key(99)]), "1");
    eventually(LATER, "everybody knows the new owner", || {
        cluster.running().filter(|index| *index != target).all(|index| {
            cluster.nodes[index].call(&["GET", &key(0)]) == format!("MOVED {slot} {}", to.address())
        })
    });
}

/// Hands a share over from one node to its replica while a client counts.
fn hand_over(cluster: &Cluster, share: usize, old: usize, new: usize) {
    let key = format!("{{{}}}count", key_of(share, 3, 0));
    let (acknowledged, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A primary listens to nobody whom it does not know as its replica.
    let old_id = cluster.id(old);
    eventually(LATER, "the primary knows its replica", || {
        cluster.line(old, new).is_some_and(|line| line.has("slave") && line.primary == old_id)
    });
    let before: usize = cluster.nodes[old].call(&["INCR", &key]).parse().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connections = [cluster.nodes[old].connect(), cluster.nodes[new].connect()];
            while !is_over.load(Ordering::Relaxed) {
                for connection in &mut connections {
                    if matches!(connection.call(&["INCR", &key]), Value::Integer(_)) {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        eventually(LATER, "some counting", || acknowledged.load(Ordering::Relaxed) > 100);
        let asked = cluster.nodes[new].call(&["CLUSTER", "FAILOVER"]);
        let taken = asked == "OK" && has_settled(cluster, old, new);
        let counted = acknowledged.load(Ordering::Relaxed);
        let goes_on = taken && reaches(&acknowledged, counted + 100);
        is_over.store(true, Ordering::Relaxed);
        assert!(goes_on, "{asked}; from {old} to {new}");
    });
    cluster.wait_until_settled();
    let count: usize = cluster.nodes[new].call(&["GET", &key]).parse().unwrap();
    assert_eq!(count, before + acknowledged.load(Ordering::Relaxed), "from {old} to {new}");
}

fn has_settled(cluster: &Cluster, old: usize, new: usize) -> bool {
    within(LATER, || {
        cluster.role(new).as_deref() == Some("master")
            && cluster.role(old).as_deref() == Some("slave")
            && cluster.nodes[old].info("replication", "master_link_status").as_deref() == Some("up")
    })
}

fn reaches(counter: &AtomicUsize, count: usize) -> bool {
    within(LATER, || counter.load(Ordering::Relaxed) > count)
}

/// Polls as `eventually` does, but says how it went: for use where a panic would leave a thread running.
fn within(deadline: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if probe() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn publication(kind: &str, channel: &str, text: &str) -> Value {
    Value::Array([kind, channel, text].map(|word| Value::Bulk(word.into())).into())
}

/// What a node says of all: id, address, role, primary, epoch and slots.
fn description(cluster: &Cluster, index: usize) -> Vec<(String, String, bool, String, u64, Vec<String>)> {
    let describe = |line: NodeLine| {
        let is_primary = line.has("master");
        (line.id, line.address, is_primary, line.primary, line.epoch, line.slots)
    };
    let mut lines: Vec<_> = cluster.table(index).into_iter().map(describe).collect();
    lines.sort();
    let info = cluster.nodes[index].call(&["CLUSTER", "INFO"]);
    assert!(field(&info, "cluster_slots_assigned").is_some());
    lines
}

/// The elements of a list in an order that does not depend on the node asked.
fn sorted(reply: Value) -> Vec<String> {
    let mut lines: Vec<String> =
        reply.as_elements().unwrap().iter().map(|part| format!("{part:?}")).collect();
    lines.sort();
    lines
}
