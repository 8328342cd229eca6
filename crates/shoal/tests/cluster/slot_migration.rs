//! Slots that move at once, with all their keys: under load, and with everything that can go wrong meanwhile.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shoal_protocol::slot::key_slot;
use shoal_protocol::value::Value;

use crate::support::cluster::share;
use crate::support::{Cluster, Connection, Kind, LATER, eventually};

/// Keys that are there before anything moves.
const KEYS: usize = 3000;
/// The slots that move, of those of the first node.
const LAST_SLOT: u16 = 2999;
/// A rate at which they take seconds, in bytes per second.
const SLOW: &str = "30000";
/// Keys that are written in the middle of a migration, at the source and at the target.
const CONFIRMED_KEYS: usize = 200;
/// Writes per second of the load.
const WRITES_PER_SECOND: u32 = 2000;
/// No write takes longer, on a machine that does much else. `cargo xtask bench` measures it on a quiet one.
const LATENCY_MAX: Duration = Duration::from_millis(1000);

fn migrate(cluster: &Cluster, from: usize, to: usize, (first, last): (u16, u16)) -> String {
    let (first, last, target) = (first.to_string(), last.to_string(), cluster.id(to));
    let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &first, &last, "NODE", &target];
    cluster.nodes[from].call(&words)
}

/// A field of the newest migration of a node.
fn newest(cluster: &Cluster, index: usize, field: &str) -> String {
    let reply = cluster.nodes[index].connect().call(&["CLUSTER", "GETSLOTMIGRATIONS"]);
    let newest = reply.as_elements().and_then(<[Value]>::first);
    let value = newest.and_then(|job| job.field(field));
    let number = value.and_then(Value::as_integer).map(|number| number.to_string());
    number.or_else(|| value?.as_text().map(std::borrow::Cow::into_owned)).unwrap_or_default()
}

fn wait_for_state(cluster: &Cluster, index: usize, state: &str) {
    eventually(LATER, &format!("migration at node {index}: {state}"), || {
        newest(cluster, index, "state") == state
    });
}

/// Keys of all types, in a slot that moves and in one that stays, and many strings.
fn fill(cluster: &Cluster) {
    let mut nodes: Vec<Connection> = cluster.nodes.iter().map(|node| node.connect()).collect();
    let mut run = |words: &[&str]| {
        let mut replies = nodes.iter_mut().map(|node| node.text(words));
        assert!(replies.any(|reply| !reply.starts_with("MOVED") && !reply.starts_with("ERR")), "{words:?}");
    };
    for number in 0..KEYS {
        let (key, value) = (format!("key:{number}"), number.to_string().repeat(20));
        let expiry: &[&str] = if number % 10 == 0 { &["EX", "3600"] } else { &[] };
        run(&[&["SET", &key, &value], expiry].concat());
    }
    for tag in [moving_tag(), "stays".to_owned()] {
        let key = |name: &str| format!("{{{tag}}}{name}");
        run(&["RPUSH", &key("list"), "a", "b", "c"]);
        run(&["SADD", &key("set"), "a", "b", "c"]);
        run(&["HSET", &key("hash"), "f", "v", "g", "w"]);
        run(&["ZADD", &key("sorted"), "1.5", "a", "2", "b"]);
        run(&["XADD", &key("stream"), "1-1", "f", "v"]);
        run(&["XGROUP", "CREATE", &key("stream"), "group", "0"]);
        run(&["PFADD", &key("sketch"), "a", "b"]);
        let members: Vec<String> = (0..20_000).map(|number| format!("member:{number}")).collect();
        for part in members.chunks(1000) {
            let part = part.iter().map(String::as_str);
            run(&["SADD".to_owned().as_str(), &key("big")].into_iter().chain(part).collect::<Vec<_>>());
        }
    }
}

/// A hash tag whose slot moves.
fn moving_tag() -> String {
    (0..).map(|number| format!("t{number}")).find(|tag| key_slot(tag.as_bytes()) <= LAST_SLOT).unwrap()
}

/// What a primary holds: the digest of each key's value, and whether it expires.
fn contents(cluster: &Cluster) -> BTreeMap<String, (String, bool)> {
    let mut found = BTreeMap::new();
    let primaries = cluster.running().filter(|&index| cluster.role(index).as_deref() == Some("master"));
    for index in primaries {
        let mut node = cluster.nodes[index].connect();
        let keys = node.call(&["KEYS", "*"]);
        assert_eq!(node.text(&["DBSIZE"]), keys.as_elements().unwrap().len().to_string());
        for key in keys.as_elements().unwrap().iter().filter_map(Value::as_text) {
            let digest = node.text(&["DEBUG", "DIGEST-VALUE", &key]);
            let expires = node.text(&["TTL", &key]) != "-1";
            let earlier = found.insert(key.to_string(), (digest, expires));
            assert!(earlier.is_none(), "{key} is at two nodes");
        }
    }
    found
}

/// All keys are there once, whatever is still being deleted.
fn check_contents(cluster: &Cluster, expected: &BTreeMap<String, (String, bool)>) {
    let found = contents(cluster);
    let missing: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).take(5).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    assert_eq!(found.len(), expected.len());
    assert_eq!(&found, expected);
}

fn setup(lines: &str) -> crate::support::Setup {
    Cluster::setup(Kind::Shoal).conf("enable-debug-command yes").conf(lines)
}

#[test]
fn slots_move_at_once_with_keys_of_all_types() {
    let cluster = Cluster::start((0..3).map(|_| setup("")).collect());
    cluster.join(3);
    fill(&cluster);
    let expected = contents(&cluster);
    assert_eq!(migrate(&cluster, 0, 1, (0, LAST_SLOT)), "OK");
    wait_for_state(&cluster, 0, "success");
    wait_for_state(&cluster, 1, "success");
    cluster.wait_until_settled();
    check_contents(&cluster, &expected);
    let line = cluster.line(2, 1).unwrap();
    assert_eq!(line.slots, [format!("0-{LAST_SLOT}"), "5461-10922".to_owned()]);
    // Several at once, to and fro.
    let (first, third) = (cluster.id(0), cluster.id(2));
    let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "999", "2000", "2999", "NODE", &first];
    let words = [&words[..], &["SLOTSRANGE", "1000", "1999", "NODE", &third]].concat();
    assert_eq!(cluster.nodes[1].call(&words), "OK");
    assert_eq!(migrate(&cluster, 2, 0, (16_000, 16_383)), "OK");
    for index in [0, 2] {
        eventually(LATER, "all migrations are over", || {
            let reply = cluster.nodes[index].connect().call(&["CLUSTER", "GETSLOTMIGRATIONS"]);
            let states =
                reply.as_elements().unwrap().iter().map(|job| job.field("state").and_then(Value::as_text));
            states.flatten().all(|state| state == "success")
        });
    }
    eventually(LATER, "the owners", || {
        let slots = |index| cluster.line(2, index).map(|line| line.slots.join(" "));
        slots(0).as_deref() == Some("0-999 2000-5460 16000-16383")
            && slots(2).as_deref() == Some("1000-1999 10923-15999")
    });
    cluster.wait_until_settled();
    check_contents(&cluster, &expected);
}

/// A client that follows redirections writes; what it was answered, and how long each answer took at most.
fn write_all_the_time(cluster: &Cluster, is_done: &AtomicBool) -> (Vec<String>, Duration, Vec<String>) {
    let mut nodes: Vec<Connection> = cluster.nodes.iter().map(|node| node.connect()).collect();
    let (mut owner, mut written, mut slowest, mut errors) = (0, Vec::new(), Duration::ZERO, Vec::new());
    let began = Instant::now();
    let mut keys = (0..).map(|number| format!("live:{number}"));
    while !is_done.load(Ordering::Relaxed) {
        let key = keys.by_ref().find(|key| key_slot(key.as_bytes()) <= LAST_SLOT).unwrap();
        let sent = Instant::now();
        loop {
            let reply = nodes[owner].text(&["SET", &key, "x"]);
            if reply == "OK" {
                break;
            }
            match reply.strip_prefix("MOVED ") {
                Some(place) => {
                    let address = place.rsplit(' ').next().unwrap();
                    owner = cluster.nodes.iter().position(|node| node.address() == address).unwrap();
                }
                None => errors.push(reply),
            }
        }
        slowest = slowest.max(sent.elapsed());
        written.push(key);
        let due = Duration::from_secs(1) * written.len() as u32 / WRITES_PER_SECOND;
        if let Some(rest) = due.checked_sub(began.elapsed()) {
            std::thread::sleep(rest);
        }
    }
    (written, slowest, errors)
}

/// Writes to slots that move to and fro: nothing fails but for MOVED, nobody waits for long, and nothing is lost.
#[test]
fn slots_move_under_writes() {
    let cluster = Cluster::start((0..2).map(|_| setup("")).collect());
    cluster.join(2);
    fill(&cluster);
    let mut expected = contents(&cluster);
    let is_done = AtomicBool::new(false);
    let (written, slowest, errors) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_all_the_time(&cluster, &is_done));
        for round in 0..6 {
            let (from, to) = (round % 2, (round + 1) % 2);
            let count = || newest(&cluster, from, "name");
            let before = count();
            assert_eq!(migrate(&cluster, from, to, (0, LAST_SLOT)), "OK");
            eventually(LATER, "a new migration", || count() != before);
            wait_for_state(&cluster, from, "success");
        }
        is_done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert_eq!(errors, Vec::<String>::new());
    assert!(slowest < LATENCY_MAX, "{slowest:?}");
    assert!(written.len() > 100, "{}", written.len());
    let digest = {
        let mut node = cluster.nodes[0].connect();
        node.text(&["DEBUG", "DIGEST-VALUE", &written[0]])
    };
    expected.extend(written.into_iter().map(|key| (key, (digest.clone(), false))));
    check_contents(&cluster, &expected);
}

/// What happens in the middle of a migration.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Cancel,
    KillSource,
    KillTarget,
    RestartSource,
    RestartTarget,
    FailOverSource,
    FailOverTarget,
}

impl Fault {
    fn happen(self, cluster: &mut Cluster) {
        match self {
            Self::Cancel => {
                assert_eq!(cluster.nodes[0].call(&["CLUSTER", "CANCELSLOTMIGRATIONS"]), "OK");
                wait_for_state(cluster, 0, "cancelled");
            }
            Self::KillSource | Self::KillTarget => {
                let index = usize::from(self == Self::KillTarget);
                cluster.nodes[index].kill();
                cluster.wait_for_promotion(index + 3);
                cluster.nodes[index].start();
            }
            Self::RestartSource | Self::RestartTarget => {
                let index = usize::from(self == Self::RestartTarget);
                cluster.nodes[index].kill();
                cluster.nodes[index].start();
            }
            Self::FailOverSource | Self::FailOverTarget => {
                let index = usize::from(self == Self::FailOverTarget);
                assert_eq!(cluster.nodes[index + 3].call(&["CLUSTER", "FAILOVER"]), "OK");
                cluster.wait_for_promotion(index + 3);
            }
        }
    }
}

/// Writes keys to the first nodes, the source and the target, and has their replicas confirm them by WAIT.
fn write_confirmed(cluster: &Cluster, prefix: &str) -> Vec<String> {
    let mut written = Vec::new();
    for index in 0..2 {
        let mut node = cluster.nodes[index].connect();
        let keys = (0..).map(|number| format!("{prefix}:{index}:{number}"));
        let (first, last) = share(index, 3);
        let slots = first.parse().unwrap()..=last.parse().unwrap();
        for key in keys.filter(|key| slots.contains(&key_slot(key.as_bytes()))).take(CONFIRMED_KEYS) {
            // On a busy machine a node may find the cluster down for a moment.
            eventually(LATER, &format!("SET {key} at node {index}"), || {
                node.text(&["SET", &key, "x"]) == "OK"
            });
            written.push(key);
        }
        eventually(LATER, &format!("node {index}: the replica confirms"), || {
            node.text(&["WAIT", "1", "1000"]) == "1"
        });
    }
    written
}

/// In the middle of the keys something happens: there is one owner afterwards, and every key is there once, at replicas, too,
/// those included that were written meanwhile and confirmed. Then the slots can be moved after all.
fn survives(faults: &[Fault], lines: &str) {
    let setups =
        (0..6).map(|_| setup(lines).conf(&format!("cluster-slot-migration-max-rate {SLOW}"))).collect();
    let mut cluster = Cluster::start(setups);
    cluster.join(3);
    fill(&cluster);
    let mut expected = contents(&cluster);
    for (number, &fault) in faults.iter().enumerate() {
        let find = |cluster: &Cluster, shard: usize| {
            [shard, shard + 3]
                .into_iter()
                .find(|&index| cluster.role(index).as_deref() == Some("master"))
                .unwrap()
        };
        if find(&cluster, 0) != 0 || find(&cluster, 1) != 1 {
            // What was failed over goes back, so that the first nodes are primaries.
            for index in [0, 1].into_iter().filter(|&index| find(&cluster, index) != index) {
                eventually(LATER, "the way back", || {
                    cluster.nodes[index].call(&["CLUSTER", "FAILOVER"]) == "OK"
                });
                cluster.wait_for_promotion(index);
            }
            cluster.wait_until_settled();
        }
        eventually(LATER, "the migration begins", || migrate(&cluster, 0, 1, (0, LAST_SLOT)) == "OK");
        wait_for_state(&cluster, 1, "receiving-snapshot");
        eventually(LATER, "keys arrive", || {
            newest(&cluster, 1, "bytes").parse::<u64>().is_ok_and(|bytes| bytes > 0)
        });
        let written = write_confirmed(&cluster, &format!("confirmed:{number}"));
        let digest = cluster.nodes[0].connect().text(&["DEBUG", "DIGEST-VALUE", &written[0]]);
        expected.extend(written.into_iter().map(|key| (key, (digest.clone(), false))));
        assert_eq!(newest(&cluster, 1, "state"), "receiving-snapshot", "{fault:?}: in the middle");
        fault.happen(&mut cluster);
        cluster.wait_until_settled();
        let source = find(&cluster, 0);
        eventually(LATER, &format!("{fault:?}: no migration goes on"), || {
            let over = ["", "failed", "cancelled", "success"];
            cluster.running().all(|index| over.contains(&newest(&cluster, index, "state").as_str()))
        });
        assert!(cluster.line(2, source).unwrap().slots[0].starts_with("0-"), "{fault:?}: the slots stay");
        check_contents(&cluster, &expected);
        eventually(LATER, &format!("{fault:?}: replicas hold what their primaries hold"), || {
            let size = |index: usize| cluster.nodes[index].call(&["DBSIZE"]);
            (0..3).all(|index| size(index) == size(index + 3))
        });
    }
    for node in &cluster.nodes {
        assert_eq!(node.call(&["CONFIG", "SET", "cluster-slot-migration-max-rate", "0"]), "OK");
    }
    let primary = |shard: usize| {
        [shard, shard + 3]
            .into_iter()
            .find(|&index| cluster.role(index).as_deref() == Some("master"))
            .unwrap()
    };
    let (source, target) = (primary(0), primary(1));
    eventually(LATER, "the last migration begins", || {
        migrate(&cluster, source, target, (0, LAST_SLOT)) == "OK"
    });
    wait_for_state(&cluster, source, "success");
    cluster.wait_until_settled();
    check_contents(&cluster, &expected);
}

#[test]
fn a_cancelled_migration_leaves_nothing_behind() {
    survives(&[Fault::Cancel, Fault::FailOverTarget, Fault::FailOverSource], "");
}

#[test]
fn killed_nodes_in_the_middle_of_a_migration() {
    survives(&[Fault::KillTarget, Fault::KillSource], "appendonly yes");
}

#[test]
fn restarted_nodes_in_the_middle_of_a_migration() {
    survives(
        &[Fault::RestartTarget, Fault::RestartSource],
        "appendonly yes\ncluster-replica-no-failover yes",
    );
}
