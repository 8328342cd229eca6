//! Clients that wait for keys: who is served when, with what, and what others see of it.

use crate::testing::{Fixture, cluster_view};
use shoal_cluster::MachineMessage;
use shoal_cluster::view::{NodeKey, SlotOwners};
use shoal_protocol::slot::{SLOT_COUNT, key_slot};
use std::sync::Arc;

/// A node with so many further clients, each of which waits with its line.
fn waiting(lines: &[&str]) -> (Fixture, Vec<crate::Handle>) {
    let mut fixture = Fixture::new();
    let clients = lines.iter().map(|line| {
        let client = fixture.connect();
        fixture.check_as(client, line, "");
        client
    });
    let clients = clients.collect();
    (fixture, clients)
}

#[test]
fn clients_are_served_in_the_order_they_came() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0", "BLPOP other k 0", "BLPOP k 0"]);
    fixture.check("RPUSH k a b", ":2");
    assert_eq!(fixture.received(clients[0]), ["[\"k\", \"a\"]"]);
    assert_eq!(fixture.received(clients[1]), ["[\"k\", \"b\"]"]);
    assert!(fixture.received(clients[2]).is_empty());
    // The second one waits at its other key no more.
    fixture.check_all(&[("RPUSH other c", ":1"), ("EXISTS other k", ":1"), ("RPUSH k d", ":1")]);
    assert_eq!(fixture.received(clients[2]), ["[\"k\", \"d\"]"]);
    // They can go on.
    fixture.check_as(clients[0], "PING", "+PONG");
    assert!(fixture.node.blocking.is_empty());
}

#[test]
fn keys_are_looked_at_in_the_order_they_were_touched() {
    let (mut fixture, clients) = waiting(&["BLPOP a b 0", "BLPOP b a 0"]);
    fixture.check_all(&[
        ("MULTI", "+OK"),
        ("RPUSH b 1", "+QUEUED"),
        ("RPUSH a 2", "+QUEUED"),
        ("RPUSH b 3", "+QUEUED"),
        ("EXEC", "[:1, :1, :2]"),
    ]);
    // Key b comes first; both wait there, and the first client finds key a when it looks again.
    assert_eq!(fixture.received(clients[0]), ["[\"a\", \"2\"]"]);
    assert_eq!(fixture.received(clients[1]), ["[\"b\", \"1\"]"]);
    fixture.check("LRANGE b 0 -1", "[\"3\"]");
}

#[test]
fn what_a_transaction_leaves_behind_counts() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0"]);
    for (lines, expected) in [
        (&["RPUSH k a", "DEL k"][..], None),
        (&["RPUSH k a", "DEL k", "SET k v"], None),
        (&["SET k v", "DEL k", "RPUSH k b"], Some("[\"k\", \"b\"]")),
    ] {
        fixture.run("DEL k");
        fixture.run("MULTI");
        for line in lines {
            fixture.run(line);
        }
        fixture.run("EXEC");
        assert_eq!(fixture.received(clients[0]).first().map(String::as_str), expected, "{lines:?}");
    }
}

#[test]
fn nobody_waits_in_a_transaction() {
    let mut fixture = Fixture::new();
    fixture.check_all(&[
        ("MULTI", "+OK"),
        ("BLPOP k 0", "+QUEUED"),
        ("BLMOVE k l LEFT RIGHT 0", "+QUEUED"),
        ("EXEC", "[nil, nil]"),
        ("PING", "+PONG"),
    ]);
}

#[test]
fn served_clients_serve_others() {
    let (mut fixture, clients) = waiting(&[
        "BLMOVE c d LEFT RIGHT 0",
        "BLMOVE b c LEFT RIGHT 0",
        "BLMOVE a b LEFT RIGHT 0",
        "BLPOP d 0",
    ]);
    fixture.check("RPUSH a x", ":1");
    for &client in &clients[..3] {
        assert_eq!(fixture.received(client), ["\"x\""]);
    }
    assert_eq!(fixture.received(clients[3]), ["[\"d\", \"x\"]"]);
    fixture.check("DBSIZE", ":0");
    // Two that feed each other: each is served once.
    let (mut fixture, clients) = waiting(&["BLMOVE a b LEFT RIGHT 0", "BLMOVE b a LEFT RIGHT 0"]);
    fixture.check("RPUSH a x", ":1");
    assert_eq!(fixture.received(clients[0]), ["\"x\""]);
    assert_eq!(fixture.received(clients[1]), ["\"x\""]);
    fixture.check("LRANGE a 0 -1", "[\"x\"]");
}

#[test]
fn a_command_that_fails_when_it_is_run_again() {
    let (mut fixture, clients) = waiting(&["BLMOVE a b LEFT RIGHT 0", "BLPOP a 0"]);
    fixture.check_all(&[("SET b text", "+OK"), ("RPUSH a x", ":1")]);
    assert_eq!(
        fixture.received(clients[0]),
        ["-WRONGTYPE Operation against a key holding the wrong kind of value"]
    );
    assert_eq!(fixture.received(clients[1]), ["[\"a\", \"x\"]"]);
    assert!(fixture.text("INFO commandstats").contains("cmdstat_blmove:calls=1,"));
    assert!(fixture.text("INFO commandstats").contains("rejected_calls=0,failed_calls=1"));
}

#[test]
fn keys_that_come_in_other_ways() {
    for lines in [
        &["RPUSH other x", "RENAME other k"][..],
        &["RPUSH other x", "COPY other k"],
        &["SELECT 1", "RPUSH k x", "MOVE k 0"],
        &["SELECT 1", "RPUSH k x", "SWAPDB 0 1"],
    ] {
        let (mut fixture, clients) = waiting(&["BLPOP k 0"]);
        for line in lines {
            fixture.run(line);
        }
        assert_eq!(fixture.received(clients[0]), ["[\"k\", \"x\"]"], "{lines:?}");
    }
}

#[test]
fn time_ends() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0.2", "BLMOVE k l LEFT LEFT 0.1", "BLPOP k 0"]);
    assert!(fixture.text("INFO clients").contains("clients_in_timeout_table:2\r\n"));
    assert!(fixture.text("INFO clients").contains("blocked_clients:3\r\n"));
    fixture.advance_ms(100);
    assert_eq!(fixture.received(clients[1]), ["nil"]);
    assert!(fixture.received(clients[0]).is_empty());
    fixture.check_as(clients[1], "BLPOP k 0.3", "");
    assert_eq!(fixture.node.next_deadline(), Some(fixture.host.clock.monotonic.plus_ms(100)));
    fixture.advance_ms(1000);
    assert_eq!(
        (fixture.received(clients[0]), fixture.received(clients[1])),
        (vec!["nil".into()], vec!["nil".into()])
    );
    assert!(fixture.received(clients[2]).is_empty());
    assert_eq!(fixture.node.next_deadline(), None);
    // A blocked command counts when it is done, and once.
    assert!(fixture.text("INFO commandstats").contains("cmdstat_blpop:calls=2,"));
    fixture.check("RPUSH k x", ":1");
    assert!(fixture.text("INFO commandstats").contains("cmdstat_blpop:calls=3,"));
}

#[test]
fn clients_that_go_wait_no_more() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0", "BLPOP k 0", "BLPOP k 9"]);
    fixture.disconnect(clients[0]);
    fixture.check("CLIENT KILL ID 3", ":1");
    assert!(!fixture.is_connected(clients[1]));
    fixture.check("RPUSH k x", ":1");
    assert_eq!(fixture.received(clients[2]), ["[\"k\", \"x\"]"]);
    assert!(fixture.node.blocking.is_empty() && fixture.node.next_deadline().is_none());
}

#[test]
fn waiting_is_ended_by_others() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0", "BLPOP k 0", "BLMOVE k l LEFT LEFT 5"]);
    assert!(fixture.text("CLIENT LIST ID 2").contains(" flags=b "));
    assert!(fixture.text("CLIENT LIST ID 2").contains(" cmd=blpop "));
    fixture.check_all(&[
        ("CLIENT UNBLOCK 2", ":1"),
        ("CLIENT UNBLOCK 3 ERROR", ":1"),
        ("CLIENT UNBLOCK 4 TIMEOUT", ":1"),
        ("CLIENT UNBLOCK 4", ":0"),
    ]);
    assert_eq!(fixture.received(clients[0]), ["nil"]);
    assert_eq!(fixture.received(clients[1]), ["-UNBLOCKED client unblocked via CLIENT UNBLOCK"]);
    assert_eq!(fixture.received(clients[2]), ["nil"]);
    let text = fixture.text("INFO commandstats");
    assert!(
        text.contains("cmdstat_blpop:calls=2,") && text.contains("rejected_calls=0,failed_calls=1"),
        "{text}"
    );
}

#[test]
fn a_pause_holds_waiting_clients() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0", "BLPOP k 0"]);
    // A transaction that pauses goes on to its end.
    for line in ["MULTI", "CLIENT PAUSE 100 WRITE", "RPUSH k x y", "EXEC"] {
        fixture.run(line);
    }
    assert!(fixture.received(clients[0]).is_empty());
    fixture.check("LRANGE k 0 -1", "[\"x\", \"y\"]");
    fixture.advance_ms(100);
    assert_eq!(fixture.received(clients[0]), ["[\"k\", \"x\"]"]);
    assert_eq!(fixture.received(clients[1]), ["[\"k\", \"y\"]"]);
}

#[test]
fn another_role_ends_waiting_and_connections() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0", "WAIT 1 0"]);
    fixture.check("REPLICAOF 127.0.0.1 1", "+OK");
    for client in clients {
        assert!(!fixture.is_connected(client));
    }
    assert!(fixture.node.blocking.is_empty() && fixture.node.replication.waits.is_empty());
    let text = fixture.text("INFO errorstats");
    assert!(text.contains("errorstat_UNBLOCKED:count=2"), "{text}");
}

#[test]
fn slots_that_go_take_their_clients_along() {
    let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
    let tell = |fixture: &mut Fixture, view| {
        let message = MachineMessage::View { view: Arc::new(view), orders: Vec::new() };
        fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
        fixture.settle();
    };
    let mut owners = SlotOwners::none();
    (0..SLOT_COUNT).for_each(|slot| owners.set(slot, Some(NodeKey(0))));
    tell(&mut fixture, cluster_view(2, owners.clone()));
    let keys = ["a", "b", "c"];
    let clients = keys.map(|key| {
        let client = fixture.connect();
        fixture.check_as(client, &format!("BLPOP {key} 0"), "");
        client
    });
    owners.set(key_slot(b"a"), Some(NodeKey(1)));
    owners.set(key_slot(b"b"), None);
    tell(&mut fixture, cluster_view(2, owners.clone()));
    assert_eq!(fixture.received(clients[0]), [format!("-MOVED {} 127.0.0.1:7001", key_slot(b"a"))]);
    assert_eq!(fixture.received(clients[1]), ["-CLUSTERDOWN Hash slot not served"]);
    assert!(fixture.received(clients[2]).is_empty());
    let mut view = cluster_view(2, owners);
    view.is_ok = false;
    tell(&mut fixture, view);
    assert_eq!(fixture.received(clients[2]), ["-CLUSTERDOWN The cluster is down"]);
}

#[test]
fn others_see_the_effect_and_not_the_wait() {
    let (mut fixture, clients) = waiting(&["BLPOP k 0"]);
    let monitor = fixture.connect();
    fixture.check_as(monitor, "MONITOR", "+OK");
    fixture.run("CONFIG SET slowlog-log-slower-than 0 latency-tracking yes");
    fixture.run("SLOWLOG RESET");
    fixture.advance_ms(5000);
    fixture.run("RPUSH k x");
    assert_eq!(fixture.received(clients[0]), ["[\"k\", \"x\"]"]);
    let seen = fixture.received(monitor);
    assert!(
        seen.iter().all(|line| !line.contains("blpop")) && seen.iter().any(|line| line.contains("RPUSH")),
        "{seen:?}"
    );
    let log = fixture.run("SLOWLOG GET");
    assert!(log.starts_with("[[:3, "), "{log}");
    assert!(log.contains(":0, [\"BLPOP\", \"k\", \"0\"]"), "{log}");
}

#[test]
fn replies_that_nobody_wants() {
    let (mut fixture, _) = waiting(&[]);
    let client = fixture.connect();
    fixture.check_as(client, "CLIENT REPLY OFF", "");
    fixture.check_as(client, "BLPOP k 0", "");
    fixture.run("RPUSH k x");
    fixture.check_as(client, "CLIENT REPLY ON", "+OK");
    fixture.check("EXISTS k", ":0");
}
