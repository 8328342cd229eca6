//! Slots on the move, by the real cluster manager.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shoal_protocol::value::Value;

use crate::support::cluster::NODE_TIMEOUT_MS;
use crate::support::{Cluster, Kind, SOON, always, eventually_some};

/// Keys that are there before anything moves.
const KEYS: usize = 2000;

/// Runs `redis-cli --cluster VERB ADDRESS OPTIONS…`; fails the test when that fails.
fn manage(cluster: &Cluster, verb: &str, options: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["120", "redis-cli", "--cluster", verb, &cluster.nodes[0].address()]).args(options);
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{verb} {options:?}: {text}\n{}", String::from_utf8_lossy(&stderr));
    text
}

/// Fills the nodes: `key:N` has the value N, every tenth one expires in an hour.
fn fill(cluster: &Cluster) {
    let mut connections: Vec<_> = cluster.nodes.iter().map(|node| node.connect()).collect();
    for number in 0..KEYS {
        let (key, value) = (format!("key:{number}"), number.to_string());
        let mut words = vec!["SET", &key, &value];
        if number % 10 == 0 {
            words.extend(["EX", "3600"]);
        }
        let is_set = connections.iter_mut().any(|connection| connection.text(&words) == "OK");
        assert!(is_set, "{key} is set somewhere");
    }
}

/// All keys of all nodes with their values, and whether they expire.
fn contents(cluster: &Cluster) -> BTreeMap<String, (String, bool)> {
    let mut found = BTreeMap::new();
    for node in &cluster.nodes {
        let mut connection = node.connect();
        let keys = connection.call(&["KEYS", "*"]);
        for key in keys.as_elements().unwrap().iter().filter_map(Value::as_text) {
            let value = connection.text(&["GET", &key]);
            let expires = connection.text(&["TTL", &key]) != "-1";
            let earlier = found.insert(key.to_string(), (value, expires));
            assert!(earlier.is_none(), "{key} is at two nodes");
        }
    }
    found
}

fn expected() -> BTreeMap<String, (String, bool)> {
    (0..KEYS).map(|number| (format!("key:{number}"), (number.to_string(), number % 10 == 0))).collect()
}

/// How many slots each node says are its own.
fn slot_counts(cluster: &Cluster) -> Vec<usize> {
    let count = |range: &String| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
    };
    let of = |index| {
        let line = cluster.line(index, index).unwrap();
        assert!(
            line.slots.iter().all(|slots| !slots.starts_with('[')),
            "no slot is left open: {:?}",
            line.slots
        );
        line.slots.iter().map(count).sum()
    };
    (0..cluster.nodes.len()).map(of).collect()
}

#[test]
fn reshard_with_redis_cli() {
    let cluster = Cluster::start((0..3).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.join(3);
    fill(&cluster);
    assert_eq!(contents(&cluster), expected());
    let before = slot_counts(&cluster);

    let (from, to) = (cluster.id(0), cluster.id(1));
    let text = manage(
        &cluster,
        "reshard",
        &["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", "600", "--cluster-yes"],
    );
    assert!(text.contains("Moving slot 0 from"), "{text}");
    cluster.wait_until_settled();
    assert_eq!(slot_counts(&cluster), [before[0] - 600, before[1] + 600, before[2]]);
    assert_eq!(contents(&cluster), expected());
    manage(&cluster, "check", &[]);

    let text = manage(&cluster, "rebalance", &["--cluster-threshold", "1"]);
    assert!(text.contains("Rebalancing across 3 nodes"), "{text}");
    cluster.wait_until_settled();
    let after = slot_counts(&cluster);
    assert!(after.iter().all(|count| (5400..=5520).contains(count)), "{after:?}");
    assert_eq!(contents(&cluster), expected());
    let text = manage(&cluster, "check", &[]);
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
}

/// Writes `live:N` for the next hundred numbers with `redis-cli -c`; how many were answered with OK.
fn write_hundred(cluster: &Cluster, first: usize) -> usize {
    let port = cluster.nodes[2].port().to_string();
    let mut command = Command::new("timeout");
    command.args(["60", "redis-cli", "-c", "-p", &port]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines: String = (first..first + 100).map(|number| format!("SET live:{number} {number}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| *line == "OK").count()
}

/// Clients that follow redirections write all the time while slots move: nothing fails, and nothing is lost.
#[test]
fn reshard_under_writes() {
    let cluster = Cluster::start((0..3).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.join(3);
    let (from, to) = (cluster.id(0), cluster.id(1));
    let is_done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while !is_done.load(Ordering::Relaxed) {
                assert_eq!(write_hundred(&cluster, written), 100, "from live:{written} on");
                written += 100;
            }
            written
        });
        let slots =
            ["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", "2000", "--cluster-yes"];
        manage(&cluster, "reshard", &slots);
        is_done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    cluster.wait_until_settled();
    let expected: BTreeMap<_, _> =
        (0..written).map(|number| (format!("live:{number}"), (number.to_string(), false))).collect();
    assert_eq!(contents(&cluster), expected);
}

/// The redirections of a slot on its way, with real nodes at both ends.
#[test]
fn slot_on_its_way() {
    let cluster = Cluster::start((0..2).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.join(2);
    let slot = "3300"; // That of {b}, which the first node has.
    let (source, target) = (&cluster.nodes[0], &cluster.nodes[1]);
    assert_eq!(source.call(&["CLUSTER", "KEYSLOT", "{b}"]), slot);
    assert_eq!(source.call(&["MSET", "{b}a", "1", "{b}b", "2"]), "OK");
    let (source_id, target_id) = (cluster.id(0), cluster.id(1));
    assert_eq!(target.call(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &source_id]), "OK");
    assert_eq!(source.call(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &target_id]), "OK");
    let port = target.port().to_string();
    let migrate = ["MIGRATE", target.host(), &port, "{b}a", "0", "5000"];
    assert_eq!(source.call(&migrate), "OK");
    assert_eq!(source.call(&migrate), "NOKEY");
    let ask = format!("ASK {slot} {}", target.address());
    assert_eq!(source.call(&["GET", "{b}a"]), ask);
    assert_eq!(source.call(&["GET", "{b}b"]), "2");
    let later = "TRYAGAIN Multiple keys request during rehashing of slot";
    assert_eq!(source.call(&["MGET", "{b}a", "{b}b"]), later);
    assert_eq!(target.call(&["GET", "{b}a"]), format!("MOVED {slot} {}", source.address()));
    let mut asking = target.connect();
    assert_eq!(asking.text(&["ASKING"]), "OK");
    assert_eq!(asking.text(&["GET", "{b}a"]), "1");
    assert_eq!(source.cli(&["-c", "get", "{b}a"]), "1");
    assert_eq!(source.cli(&["-c", "set", "{b}c", "3"]), "OK");
    assert_eq!(source.call(&["MIGRATE", target.host(), &port, "", "0", "5000", "KEYS", "{b}b"]), "OK");
    for node in [target, source] {
        assert_eq!(node.call(&["CLUSTER", "SETSLOT", slot, "NODE", &target_id]), "OK");
    }
    assert_eq!(source.call(&["GET", "{b}b"]), format!("MOVED {slot} {}", target.address()));
    assert_eq!(target.connect().text(&["EXISTS", "{b}a", "{b}b", "{b}c"]), "3");
    assert_eq!(source.call(&["DBSIZE"]), "0");
}

/// While a node waits for MIGRATE's target, for longer than the node timeout, nobody takes it for dead.
#[test]
fn migrate_does_not_silence_the_bus() {
    let cluster = Cluster::start((0..3).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.join(3);
    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let timeout = Duration::from_millis(u64::from(NODE_TIMEOUT_MS) * 2 + 500);
    let mut connection = cluster.nodes[0].connect();
    assert_eq!(connection.text(&["SET", "{b}", "1"]), "OK");
    connection.send(&["MIGRATE", "127.0.0.1", &port, "{b}", "0", &timeout.as_millis().to_string()]);
    connection.send(&["GET", "{b}"]);
    always(timeout - Duration::from_millis(500), "the node is not suspected", || {
        [1, 2].iter().all(|&observer| {
            let line = cluster.line(observer, 0);
            line.is_some_and(|line| !line.has("fail?") && !line.has("fail"))
        })
    });
    let reply = connection.read();
    assert_eq!(reply.as_text().unwrap(), "IOERR error or timeout reading to target instance");
    assert_eq!(connection.read().as_text().unwrap(), "1");
    let links = cluster.nodes[0].connect().call(&["CLUSTER", "LINKS"]);
    let links = links.as_elements().unwrap();
    assert_eq!(links.len(), 4, "to and from each of the others");
    assert!(links.iter().all(|link| link.field("send-buffer-used").is_some()));
}

/// A primary and a replica start with so much data that loading takes longer than the node timeout: nobody takes them for
/// dead, clients are told, and both do their work afterwards.
#[test]
fn loading_nodes_are_alive() {
    let slow = "key-load-delay 2000\nloading-process-events-interval-bytes 1024\nsave 3600 1";
    let setups = (0..4).map(|_| Cluster::setup(Kind::Shoal).conf(slow)).collect();
    let mut cluster = Cluster::start(setups);
    cluster.join(3);
    fill(&cluster);
    cluster.wait_until_settled();
    // A third of the keys, two milliseconds each, and as much again.
    let of_first: usize = cluster.nodes[0].call(&["DBSIZE"]).parse().unwrap();
    assert!(of_first > KEYS / 4);
    cluster.nodes[3].wait_for_info("replication", "master_link_status", "up");
    for index in [0, 3] {
        assert!(cluster.nodes[index].stop().success());
        cluster.nodes[index].spawn();
        let mut connection = eventually_some(SOON, "a connection", || cluster.nodes[index].try_connect());
        assert!(connection.text(&["PING"]).starts_with("LOADING"));
        cluster.nodes[index].wait_for_info("persistence", "loading", "0");
        assert!(cluster.line(1, index).is_some_and(|line| !line.has("fail?") && !line.has("fail")));
    }
    assert_eq!(cluster.role(0).as_deref(), Some("master"));
    cluster.wait_until_settled();
    cluster.nodes[3].wait_for_info("replication", "master_link_status", "up");
    cluster.nodes.truncate(3);
    assert_eq!(contents(&cluster), expected());
}
