//! A primary that dies, hangs, works, or is lost for good.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::time::{Duration, Instant};

use shoal_protocol::value::Value;

use crate::support::cluster::key_of;
use crate::support::{Cluster, Connection, FAILOVER, Kind, LATER, SOON, always, eventually};

/// Runs of the measurement; more of them on demand.
const RUNS_VARIABLE: &str = "SHOAL_FAILOVER_RUNS";
/// How long writes may fail after a primary was killed, at the node timeout of these tests (2000 ms).
const OUTAGE_MAX: Duration = Duration::from_millis(4000);
/// And how long if the death of its process is noticed by itself.
const FAST_OUTAGE_MAX: Duration = Duration::from_millis(1500);
/// How long one command works, at a node timeout of 5000 ms: at least, and what is aimed at.
const BUSY_MIN: Duration = Duration::from_millis(5800);
const BUSY_WANTED: Duration = Duration::from_millis(6800);

/// `kill -9` of a primary: its replica takes over; the old primary, started again, follows it.
#[test]
fn kill_master_failover_rejoin() {
    let mut cluster = Cluster::of_six("");
    let key = key_of(0, 3, 0);
    let mut primary = cluster.nodes[0].connect();
    assert_eq!(primary.text(&["SET", &key, "before"]), "OK");
    assert_eq!(primary.text(&["WAIT", "1", "10000"]), "1");
    let old = cluster.line(1, 0).unwrap();

    cluster.nodes[0].kill();
    cluster.wait_for_promotion(3);
    let new = cluster.line(1, 3).unwrap();
    assert_eq!(new.slots, ["0-5460"]);
    assert!(new.epoch > old.epoch, "{new:?} came after {old:?}");
    let dead = cluster.line(1, 0).unwrap();
    assert!(dead.has("master") && dead.has("fail") && dead.slots.is_empty(), "{dead:?}");
    assert_eq!(dead.link, "disconnected");
    cluster.wait_until_ok();
    assert_eq!(cluster.nodes[1].cli(&["-c", "get", &key]).lines().last(), Some("before"));
    assert!(cluster.nodes[1].cli(&["-c", "set", &key, "meanwhile"]).ends_with("OK"));

    cluster.nodes[0].start();
    let promoted = cluster.id(3);
    eventually(LATER, "the old primary follows the new one", || {
        (0..6).all(|observer| {
            let line = cluster.line(observer, 0);
            line.is_some_and(|line| line.has("slave") && !line.has("fail") && line.primary == promoted)
        })
    });
    cluster.wait_until_settled();
    let mut replica = cluster.nodes[0].connect();
    assert_eq!(replica.text(&["READONLY"]), "OK");
    eventually(LATER, "the write that it missed", || replica.text(&["GET", &key]) == "meanwhile");

    // And back: what came back takes over in its turn.
    cluster.nodes[3].kill();
    cluster.wait_for_promotion(0);
    cluster.wait_until_ok();
    assert_eq!(cluster.nodes[1].cli(&["-c", "get", &key]).lines().last(), Some("meanwhile"));
}

/// Writes to the slots of a killed primary succeed again within four seconds, when only its silence tells of its death.
#[test]
fn kill_master_outage() {
    let mut cluster = Cluster::of_six("cluster-fast-failure-detection no");
    assert_outages_below(OUTAGE_MAX, &mut cluster);
}

/// And within one and a half, whatever the node timeout, when the refused connections tell of it.
#[test]
fn kill_master_fast_failover() {
    let mut cluster = with_long_timeout();
    assert_outages_below(FAST_OUTAGE_MAX, &mut cluster);
}

/// A primary that is stopped for less than the node timeout keeps its place.
#[test]
fn stopped_master_no_failover() {
    let cluster = with_long_timeout();
    for _ in 0..runs(1) {
        let epoch = cluster.line(1, 0).unwrap().epoch;
        cluster.nodes[0].signal("STOP");
        always(Duration::from_secs(4), "it keeps its place", || {
            let line = cluster.line(1, 0).unwrap();
            line.has("master") && !line.has("fail")
        });
        cluster.nodes[0].signal("CONT");
        always(Duration::from_secs(2), "and afterwards", || {
            (0..6).all(|observer| cluster.line(observer, 0).is_some_and(|line| line.has("master")))
        });
        assert_eq!(cluster.line(1, 0).unwrap().epoch, epoch);
    }
}

/// SIGTERM: a replica takes over before the primary ends, with every write, and clients wait for it no longer than for
/// an election.
#[test]
fn terminated_master_hands_over() {
    let mut cluster = with_long_timeout();
    let key = key_of(0, 3, 0);
    let mut writer = cluster.nodes[0].connect();
    let mut last = 0;
    for _ in 0..1000 {
        last += 1;
        assert_eq!(writer.text(&["SET", &key, &last.to_string()]), "OK");
    }
    cluster.nodes[0].signal("TERM");
    // What is still acknowledged counts; the others hear where to go, or that the connection has ended.
    while writer
        .try_call(&["SET", &key, &(last + 1).to_string()])
        .is_some_and(|reply| reply.as_error().is_none())
    {
        last += 1;
    }
    let start = Instant::now();
    cluster.nodes[0].wait_for_end();
    assert!(cluster.nodes[0].log().contains("A replica has taken over before the shutdown."));
    assert_eq!(cluster.nodes[3].call(&["GET", &key]), last.to_string());
    let outage = time_until_write(&cluster, &key);
    assert!(start.elapsed() < FAST_OUTAGE_MAX, "{:?}, of it {outage:?} after the end", start.elapsed());
    cluster.nodes[0].start();
    cluster.wait_until_settled();
}

fn with_long_timeout() -> Cluster {
    let setup = || Cluster::setup(Kind::Shoal).conf("cluster-node-timeout 5000");
    let cluster = Cluster::start((0..6).map(|_| setup()).collect());
    cluster.join(3);
    cluster
}

fn runs(usual: usize) -> usize {
    std::env::var(RUNS_VARIABLE).map_or(usual, |count| count.parse().unwrap())
}

/// Kills the owner of a key, again and again, and measures how long writes of it fail.
#[allow(clippy::print_stderr)] // The figures of a test that runs long.
fn assert_outages_below(limit: Duration, cluster: &mut Cluster) {
    let key = key_of(1, 3, 0);
    let mut outages = Vec::new();
    for _ in 0..runs(2) {
        let owner = cluster.owner(&key);
        cluster.nodes[owner].kill();
        let outage = time_until_write(cluster, &key);
        eprintln!("writes failed for {outage:?}");
        outages.push(outage);
        cluster.nodes[owner].start();
        eventually(LATER, "it came back as replica", || cluster.role(owner).as_deref() == Some("slave"));
        cluster.wait_until_settled();
    }
    assert!(outages.iter().all(|outage| *outage < limit), "{outages:?}");
}

/// A hung process is failed over, as the document shows with DEBUG SLEEP, and follows once it wakes.
#[test]
fn debug_sleep_failover() {
    let cluster = with_long_timeout();
    let key = key_of(0, 3, 0);
    assert_eq!(cluster.nodes[0].call(&["SET", &key, "value"]), "OK");
    assert_eq!(cluster.nodes[0].call(&["WAIT", "1", "10000"]), "1");

    let mut sleeper = cluster.nodes[0].connect();
    let start = Instant::now();
    sleeper.send(&["DEBUG", "SLEEP", "30"]);
    let is_new_primary = |observer| {
        cluster.line(observer, 3).is_some_and(|line| line.has("master") && line.slots == ["0-5460"])
    };
    eventually(Duration::from_secs(28), "its replica takes over while it sleeps", || {
        (1..6).all(is_new_primary)
    });
    assert_eq!(cluster.nodes[3].call(&["SET", &key, "newer"]), "OK");
    assert_eq!(sleeper.read().as_text().unwrap(), "OK");
    assert!(start.elapsed() >= Duration::from_secs(30));

    cluster.wait_until_settled();
    let line = cluster.line(0, 0).unwrap();
    assert!(line.has("slave") && line.primary == cluster.id(3), "{line:?}");
    assert_eq!(
        cluster.nodes[0].call(&["SET", &key, "lost"]),
        format!("MOVED {} {}", slot(&key), cluster.nodes[3].address())
    );
}

/// A command that works for longer than the node timeout is no reason for suspicion.
#[test]
fn busy_command_no_failover() {
    let setup = || Cluster::setup(Kind::Shoal).conf("cluster-node-timeout 5000");
    let cluster = Cluster::start((0..6).map(|_| setup()).collect());
    cluster.join(3);
    let key = key_of(0, 3, 0);
    let mut worker = cluster.nodes[0].connect();
    let (first, second) = (format!("{{{key}}}a"), format!("{{{key}}}b"));
    assert_eq!(worker.text(&["SET", &first, &"abcdefgh".repeat(250)]), "OK");
    assert_eq!(worker.text(&["SET", &second, &"hgfedcba".repeat(250)]), "OK");
    // One EXEC that takes longer than the node timeout; how much work that is depends on what else the machine does.
    let mut count = 100;
    let mut took = work(&mut worker, &first, &second, count);
    for _ in 0..3 {
        if took > BUSY_MIN {
            break;
        }
        count = (BUSY_WANTED.as_secs_f64() / took.as_secs_f64() * f64::from(count)).ceil() as u32;
        took = std::thread::scope(|scope| {
            let busy = scope.spawn(|| work(&mut worker, &first, &second, count));
            while !busy.is_finished() {
                // The busy node cannot be asked; the others can.
                for line in (1..6).flat_map(|observer| cluster.table(observer)) {
                    assert!(!line.has("fail?") && !line.has("fail"), "{line:?}");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            busy.join().unwrap()
        });
    }
    assert!(took > BUSY_MIN, "it worked for {took:?} only");
    let suspicions = || {
        (0..6).flat_map(|observer| cluster.table(observer)).any(|line| line.has("fail?") || line.has("fail"))
    };
    assert!(!suspicions());
    for node in &cluster.nodes {
        let log = node.log();
        assert!(!log.contains("Start of election") && !log.contains("as failing"), "{log}");
    }
    assert_eq!(cluster.role(0).as_deref(), Some("master"));
}

/// cluster-require-full-coverage decides whether the rest serves when a shard is lost.
#[test]
fn coverage_option() {
    let setup = || Cluster::setup(Kind::Shoal).conf("cluster-require-full-coverage yes");
    let mut cluster = Cluster::start((0..3).map(|_| setup()).collect());
    cluster.join(3);
    let (kept, lost) = (key_of(0, 3, 0), key_of(2, 3, 0));
    assert_eq!(cluster.nodes[0].call(&["SET", &kept, "here"]), "OK");
    let third = cluster.nodes[2].address();
    cluster.nodes[2].kill();

    let down = "CLUSTERDOWN The cluster is down";
    for index in 0..2 {
        cluster.wait_for_state(index, "fail");
    }
    assert_eq!(cluster.nodes[0].call(&["GET", &kept]), down);
    assert_eq!(cluster.nodes[1].call(&["GET", &lost]), down);
    assert_eq!(cluster.cluster_info(0, "cluster_slots_fail").as_deref(), Some("5461"));

    for index in 0..2 {
        assert_eq!(
            cluster.nodes[index].call(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]),
            "OK"
        );
        cluster.wait_for_state(index, "ok");
    }
    assert_eq!(cluster.nodes[0].call(&["GET", &kept]), "here");
    assert_eq!(cluster.nodes[0].call(&["SET", &kept, "still"]), "OK");
    // The keys of the lost shard stay where they were.
    assert_eq!(cluster.nodes[0].call(&["GET", &lost]), format!("MOVED {} {third}", slot(&lost)));
    always(Duration::from_secs(2), "the rest serves", || cluster.nodes[0].call(&["GET", &kept]) == "still");

    for index in 0..2 {
        assert_eq!(
            cluster.nodes[index].call(&["CONFIG", "SET", "cluster-require-full-coverage", "yes"]),
            "OK"
        );
        cluster.wait_for_state(index, "fail");
    }
    cluster.nodes[2].start();
    cluster.wait_until_settled();
    eventually(SOON, "all shards serve", || cluster.nodes[0].call(&["GET", &kept]) == "still");
    assert_eq!(cluster.nodes[2].call(&["SET", &lost, "back"]), "OK");
}

/// Runs LCS this many times inside one EXEC; how long the EXEC took.
fn work(connection: &mut Connection, first: &str, second: &str, count: u32) -> Duration {
    assert_eq!(connection.text(&["MULTI"]), "OK");
    for _ in 0..count {
        assert_eq!(connection.text(&["LCS", first, second, "LEN"]), "QUEUED");
    }
    let start = Instant::now();
    let Value::Array(replies) = connection.call(&["EXEC"]) else { panic!("no array") };
    assert_eq!(replies.len(), count as usize);
    assert!(replies.iter().all(|reply| matches!(reply, Value::Integer(length) if *length > 0)));
    start.elapsed()
}

/// Tries all running nodes in turn until one takes a write of this key.
fn time_until_write(cluster: &Cluster, key: &str) -> Duration {
    let start = Instant::now();
    let mut connections: Vec<Connection> =
        cluster.running().map(|index| cluster.nodes[index].connect()).collect();
    eventually(FAILOVER, "a write succeeds", || {
        connections.iter_mut().any(|node| node.text(&["SET", key, "value"]) == "OK")
    });
    start.elapsed()
}

fn slot(key: &str) -> u16 {
    shoal_protocol::slot::key_slot(key.as_bytes())
}
