//! Eviction as clients, replicas and INFO see it.

use super::time_limit_us;
use crate::testing::Fixture;

const OUT_OF_MEMORY: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
const BASE_BYTES: u64 = 1_000_000;

/// A node that uses 1 MB beside its keys, and may use 100 KB for them.
fn fixture(policy: &str) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.base_memory_bytes = Some(BASE_BYTES);
    fixture.configure(&["maxmemory", "1100000", "maxmemory-policy", policy]);
    fixture
}

fn used_bytes(fixture: &mut Fixture) -> u64 {
    fixture.measure_memory();
    fixture.host.facts.used_memory_bytes
}

fn stream_text(fixture: &Fixture) -> String {
    let stream = &fixture.node.replication.stream;
    let slices = stream.slices(stream.kept_from(), usize::MAX);
    slices.iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect()
}

fn info(fixture: &mut Fixture, name: &str) -> u64 {
    let text = fixture.text("INFO stats");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|number| number.parse().ok()).unwrap()
}

#[test]
fn every_policy_keeps_to_the_limit() {
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        let mut fixture = fixture(policy);
        let value = "x".repeat(1000);
        for number in 0..300 {
            fixture.check(&format!("SET key:{number} {value} EX 1000"), "+OK");
            assert!(used_bytes(&mut fixture) < 1_102_000, "{policy}");
        }
        let evicted = info(&mut fixture, "evicted_keys");
        let keys = fixture.node.keyspace().len() as u64;
        assert!((80..100).contains(&keys), "{policy}: {keys} keys are left");
        assert_eq!(evicted, 300 - keys);
    }
}

#[test]
fn writes_are_refused_when_nothing_may_go() {
    for policy in ["noeviction", "volatile-lru", "volatile-ttl", "volatile-random"] {
        let mut fixture = fixture(policy);
        fixture.check("SET big x", "+OK");
        fixture.run("MULTI");
        fixture.check("SET k v", "+QUEUED");
        fixture.base_memory_bytes = Some(2 * BASE_BYTES);
        fixture.check(
            "EXEC",
            "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
        );
        fixture.check_all(&[
            ("SET k v", OUT_OF_MEMORY),
            ("GET big", "\"x\""),
            ("MULTI", "+OK"),
            ("GET big", OUT_OF_MEMORY),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("MULTI", "+OK"),
            ("DISCARD", "+OK"),
            ("APPEND big y", OUT_OF_MEMORY),
            ("DEL big", ":1"),
        ]);
        fixture.advance_ms(250);
        assert_eq!(info(&mut fixture, "current_eviction_exceeded_time"), 250);
        fixture.base_memory_bytes = Some(BASE_BYTES);
        fixture.check("SET k v", "+OK");
        assert_eq!(info(&mut fixture, "current_eviction_exceeded_time"), 0);
        assert_eq!(info(&mut fixture, "total_eviction_exceeded_time"), 250);
        assert_eq!(info(&mut fixture, "evicted_keys"), 0);
    }
}

#[test]
fn only_keys_with_an_expiry_go_under_volatile_policies() {
    let mut fixture = fixture("volatile-lru");
    let value = "x".repeat(1000);
    for number in 0..40 {
        fixture.check(&format!("SET kept:{number} {value}"), "+OK");
    }
    for number in 0..200 {
        fixture.check(&format!("SET {number} {value} EX 100"), "+OK");
    }
    for number in 0..40 {
        fixture.check(&format!("EXISTS kept:{number}"), ":1");
    }
}

#[test]
fn a_lower_limit_takes_effect_at_once() {
    let mut fixture = fixture("allkeys-random");
    let value = "x".repeat(1000);
    (0..80).for_each(|number| drop(fixture.run(&format!("SET {number} {value}"))));
    fixture.check("CONFIG SET maxmemory 1050000", "+OK");
    let keys = fixture.node.keyspace().len();
    assert!((40..50).contains(&keys), "{keys}");
    assert!(!fixture.node.is_evicting());
}

#[test]
fn replicas_watchers_and_listeners_hear_of_it() {
    for (is_lazy, name) in [("no", "DEL"), ("yes", "UNLINK")] {
        let mut fixture = fixture("allkeys-lru");
        fixture.configure(&["lazyfree-lazy-eviction", is_lazy, "notify-keyspace-events", "Ke"]);
        let (listener, watcher, replica) = (fixture.connect(), fixture.connect(), fixture.connect());
        fixture.check("SET gone x", "+OK");
        fixture.run_as(listener, "PSUBSCRIBE *");
        fixture.run_as(watcher, "WATCH gone");
        fixture.run_as(watcher, "MULTI");
        fixture.run("WATCH gone");
        fixture.run("MULTI");
        fixture.run_as(replica, "REPLCONF listening-port 7000");
        fixture.run_as(replica, "PSYNC ? -1");
        let before = stream_text(&fixture);
        fixture.base_memory_bytes = Some(2 * BASE_BYTES);
        fixture.check("DISCARD", "+OK");
        assert_eq!(fixture.node.keyspace().len(), 0);
        fixture.base_memory_bytes = Some(BASE_BYTES);
        fixture.check_as(watcher, "EXEC", "nil");
        let message = r#"["pmessage", "*", "__keyspace@0__:gone", "evicted"]"#;
        assert_eq!(fixture.received(listener), [message]);
        let after = stream_text(&fixture);
        assert!(after[before.len()..].contains(&format!("{name}\r\n$4\r\ngone\r\n")), "{after}");
    }
}

#[test]
fn replicas_leave_it_to_their_primary() {
    let mut fixture = fixture("allkeys-lru");
    fixture.configure(&["replica-read-only", "no"]);
    fixture.check("SET k x", "+OK");
    fixture.check("REPLICAOF 127.0.0.1 1", "+OK");
    fixture.base_memory_bytes = Some(2 * BASE_BYTES);
    fixture.check_all(&[("SET k y", "+OK"), ("DBSIZE", ":1")]);
    fixture.configure(&["replica-ignore-maxmemory", "no"]);
    fixture.check("DBSIZE", ":0");
}

#[test]
fn nothing_goes_while_clients_are_paused() {
    let mut fixture = fixture("allkeys-lru");
    fixture.check_all(&[("SET k x", "+OK"), ("CLIENT PAUSE 1000 WRITE", "+OK")]);
    fixture.base_memory_bytes = Some(2 * BASE_BYTES);
    fixture.check_all(&[("GET k", "\"x\""), ("CLIENT UNPAUSE", "+OK"), ("GET k", "nil")]);
}

#[test]
fn tenacity_is_a_time() {
    let limits: Vec<_> = [0, 1, 10, 11, 50, 99, 100].map(time_limit_us).to_vec();
    assert_eq!(limits[..4], [0, 50, 500, 575]);
    assert_eq!(limits[4] / 1000, 133);
    assert_eq!(limits[5] / 1_000_000, 126);
    assert_eq!(limits[6], u64::MAX);
}
