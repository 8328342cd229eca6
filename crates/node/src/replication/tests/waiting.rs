//! WAIT, enough replicas, old data, timeouts, limits.

use super::net::Net;

fn pair(seed: u64, directives: &[(&str, &str)]) -> Net {
    let mut all = vec![("repl-diskless-sync-delay", "0")];
    all.extend_from_slice(directives);
    let mut net = Net::new(2, &all, seed);
    net.node(0).run("SET a 1");
    net.follow(1, 0);
    net
}

#[test]
fn wait_for_replicas() {
    let mut net = pair(1, &[]);
    net.run(0, "SET b 2");
    let client = net.node(0).first();
    net.node(0).send_as(client, &["WAIT", "1", "0"]);
    assert!(net.node(0).received(client).is_empty());
    net.settle();
    assert_eq!(net.node(0).received(client), [":1"]);
    net.check(0, "WAIT 1 0", ":1");
    // More than there are: time ends it.
    net.node(0).send_as(client, &["WAIT", "2", "1500"]);
    net.settle();
    net.node(0).advance_ms(1400);
    assert!(net.node(0).received(client).is_empty());
    assert!(net.node(0).node.next_deadline().is_some());
    net.node(0).advance_ms(100);
    assert_eq!(net.node(0).received(client), [":1"]);
    for (line, expected) in [
        ("WAIT x 0", "-ERR value is not an integer or out of range"),
        ("WAIT 1 x", "-ERR timeout is not an integer or out of range"),
        ("WAIT 1 -1", "-ERR timeout is negative"),
        ("WAIT 0 0", ":1"),
    ] {
        net.check(0, line, expected);
    }
    assert!(net.run(1, "WAIT 0 0").starts_with("-ERR WAIT cannot be used with replica instances."));
    net.run(0, "MULTI");
    net.run(0, "SET b 3");
    net.run(0, "WAIT 5 0");
    assert!(net.run(0, "EXEC").starts_with("[+OK, :"));
}

#[test]
fn a_change_of_role_ends_waiting() {
    let mut net = pair(2, &[]);
    let client = net.node(0).first();
    let other = net.node(0).connect();
    net.node(0).send_as(client, &["WAIT", "5", "0"]);
    net.node(0).send_as(other, &["REPLICAOF", "127.0.0.1", "7001"]);
    let text =
        "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    assert_eq!(net.node(0).received(client), [text]);
    let gone = net.node(0).connect();
    net.node(0).send_as(other, &["REPLICAOF", "NO", "ONE"]);
    net.node(0).send_as(gone, &["WAIT", "5", "100"]);
    net.node(0).disconnect(gone);
    assert_eq!(net.node(0).node.next_deadline(), None);
}

#[test]
fn a_pause_holds_the_stream_of_the_primary() {
    let mut net = pair(2, &[]);
    for kind in ["WRITE", "ALL"] {
        let pausing = net.node(1).connect();
        net.node(1).check_as(pausing, &format!("CLIENT PAUSE 1000 {kind}"), "+OK");
        net.check(0, "INCR n", if kind == "WRITE" { ":1" } else { ":2" });
        net.check(0, "MULTI", "+OK");
        net.check(0, "SET k v", "+QUEUED");
        net.check(0, "SET l v", "+QUEUED");
        net.check(0, "EXEC", "[+OK, +OK]");
        net.settle();
        let before = if kind == "WRITE" { None } else { Some("1") };
        assert_eq!(net.node(1).node.keyspace().database(0).find(b"n").is_some(), before.is_some());
        let client = net.node(0).first();
        net.node(0).send_as(client, &["WAIT", "1", "0"]);
        net.settle();
        assert!(net.node(0).received(client).is_empty(), "{kind}");
        net.pass_s(2);
        net.settle();
        assert_eq!(net.node(0).received(client), [":1"], "{kind}");
        net.check(1, "GET n", if kind == "WRITE" { "\"1\"" } else { "\"2\"" });
        net.check(1, "GET l", "\"v\"");
    }
}

#[test]
fn enough_replicas() {
    let mut net = pair(3, &[("min-replicas-to-write", "1"), ("min-replicas-max-lag", "3")]);
    net.check(0, "SET b 2", "+OK");
    assert_eq!(net.info(0, "min_slaves_good_slaves"), "1");
    net.set_reachable(0, false);
    net.cut(1);
    net.pass_s(2);
    net.check(0, "SET b 3", "-NOREPLICAS Not enough good replicas to write.");
    net.check(0, "GET b", "\"2\"");
    net.node(0).configure(&["min-replicas-to-write", "0"]);
    net.check(0, "SET b 3", "+OK");
}

#[test]
fn old_data_is_served_or_not() {
    let mut net = pair(4, &[]);
    net.set_reachable(0, false);
    net.cut(1);
    net.pass_s(1);
    net.check(1, "GET a", "\"1\"");
    net.node(1).configure(&["replica-serve-stale-data", "no"]);
    let down = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    for (line, expected) in [("GET a", down), ("PING", down), ("ROLE", "")] {
        let answer = net.run(1, line);
        assert!(
            if expected.is_empty() { answer.starts_with('[') } else { answer == expected },
            "{line}: {answer}"
        );
    }
    net.set_reachable(0, true);
    net.pass_s(3);
    net.check(1, "GET a", "\"1\"");
}

#[test]
fn expired_keys_stay_until_the_primary_says_so() {
    let mut net = pair(5, &[]);
    net.run(0, "SET short lived PX 700");
    net.check(1, "GET short", "\"lived\"");
    net.node(1).advance_ms(1000);
    net.check(1, "GET short", "nil");
    net.check(1, "DBSIZE", ":2");
    net.node(0).advance_ms(1000);
    net.run(0, "GET short");
    net.check(1, "DBSIZE", ":1");
}

#[test]
fn roles() {
    let mut net = pair(6, &[]);
    net.pass_s(2);
    let offset = net.info(0, "master_repl_offset");
    net.check(0, "ROLE", &format!("[\"master\", :{offset}, [[\"127.0.0.1\", \"7001\", \"{offset}\"]]]"));
    net.check(1, "ROLE", &format!("[\"slave\", \"127.0.0.1\", :7000, \"connected\", :{offset}]"));
    net.check(1, "REPLICAOF 127.0.0.1 7000", "+OK Already connected to specified master");
    net.check(1, "REPLICAOF 127.0.0.1 70000", "-ERR Invalid master port");
    net.set_reachable(0, false);
    net.cut(1);
    net.settle();
    net.check(1, "ROLE", "[\"slave\", \"127.0.0.1\", :7000, \"connect\", :-1]");
    assert_eq!(net.info(1, "role"), "slave");
    assert_eq!(net.info(1, "master_link_down_since_seconds"), "0");
    let mut cluster = crate::testing::Fixture::with_configuration(&[("cluster-enabled", "yes")]);
    cluster.check("REPLICAOF 127.0.0.1 1", "-ERR REPLICAOF not allowed in cluster mode.");
}

#[test]
fn replconf_is_checked() {
    let mut net = pair(7, &[]);
    for (line, expected) in [
        ("REPLCONF", "+OK"),
        ("REPLCONF listening-port", "-ERR syntax error"),
        ("REPLCONF listening-port x", "-ERR value is not an integer or out of range"),
        ("REPLCONF listening-port 1 capa eof capa what", "+OK"),
        ("REPLCONF what 1", "-ERR Unrecognized REPLCONF option: what"),
        ("REPLCONF ack 1", ""),
        ("REPLCONF getack *", ""),
        ("REPLCONF rdb-only 2", "-ERR value is out of range"),
        ("PSYNC ? x", "-ERR value is not an integer or out of range"),
    ] {
        net.check(0, line, expected);
    }
    net.set_reachable(0, false);
    net.cut(1);
    net.check(1, "PSYNC ? -1", "-NOMASTERLINK Can't SYNC while not connected with my master");
}

#[test]
fn silence_ends_a_link_on_both_sides() {
    let mut net = pair(8, &[("repl-timeout", "5"), ("repl-ping-replica-period", "1")]);
    net.pass_s(20);
    assert_eq!(net.node(0).node.stats().partial_syncs, 0, "pings keep the link alive");
    net.are_wires_dead = true;
    net.pass_s(8);
    assert!(net.node(1).host.has_logged("MASTER timeout: no data nor PING received..."));
    assert!(net.node(0).host.has_logged("Disconnecting timedout replica (streaming sync): 127.0.0.1:7001"));
    net.are_wires_dead = false;
    net.pass_s(8);
    net.check(0, "SET b 2", "+OK");
    net.check(1, "GET b", "\"2\"");
    assert_eq!(net.node(0).node.stats().full_syncs, 1);
}

#[test]
fn a_slow_replica_is_disconnected_and_the_stream_freed() {
    let mut net =
        pair(9, &[("client-output-buffer-limit", "replica 300kb 0 0"), ("repl-backlog-size", "100kb")]);
    net.are_wires_dead = true;
    for number in 0..1000 {
        net.node(0).run(&format!("SET k{number} {}", "x".repeat(1000)));
    }
    net.settle();
    assert!(
        net.node(0).host.has_logged("127.0.0.1:7001 is disconnected for overcoming of output buffer limits.")
    );
    assert_eq!(net.info(0, "connected_slaves"), "0");
    assert!(net.node(0).node.replication.stream.size_bytes() < 400 << 10);
    net.are_wires_dead = false;
    net.pass_s(5);
    net.check(1, "DBSIZE", ":1001");
}

#[test]
fn the_backlog_goes_when_nobody_needs_it() {
    let mut net = pair(10, &[("repl-backlog-ttl", "3")]);
    net.run(1, "REPLICAOF NO ONE");
    let id = net.info(0, "master_replid");
    assert_eq!(net.info(0, "repl_backlog_active"), "1");
    net.pass_s(6);
    assert_eq!(net.info(0, "repl_backlog_active"), "0");
    assert_ne!(net.info(0, "master_replid"), id);
    net.follow(1, 0);
    assert_eq!(net.node(0).node.stats().full_syncs, 2);
}

#[test]
fn replicas_do_not_touch_keys_and_writes_wake_them() {
    let mut net = pair(11, &[]);
    let replica = *net.node(0).node.replication.peers.online().first().expect("a replica is online");
    net.drain(0, replica);
    let mut pending = Vec::new();
    net.node(0).node.take_pending(&mut pending);
    let fixture = net.node(0);
    let first = fixture.first();
    let request = shoal_protocol::OwnedRequest::new(["SET", "b", "2"]);
    fixture.node.execute(fixture.host.clock, &mut fixture.host, first, request.as_request());
    fixture.node.take_pending(&mut pending);
    assert!(pending.contains(&replica));
    net.drain(0, replica);
    net.node(0).send_as(replica, &["GET", "a"]);
    assert!(net.drain(0, replica).is_empty(), "the reply would get into the stream");
    assert_eq!(net.node(0).node.close_of(replica), shoal_session::Close::Now);
}

#[test]
fn a_snapshot_that_fails_sends_replicas_away() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 12);
    net.run(0, "SET a 1");
    net.node(0).host.save_error = Some("no memory".to_owned());
    net.follow(1, 0);
    assert!(net.node(0).host.has_logged("BGSAVE for replication failed: no memory"));
    net.node(0).host.save_error = None;
    net.pass_s(4);
    net.check(1, "GET a", "\"1\"");
}

#[test]
fn errors_on_links_are_told() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 3);
    net.node(0).run("SET a 1");
    net.follow(1, 0);
    net.check(0, "DEBUG REPLICATE fake-command 1", "+OK");
    let text = "== CRITICAL == This replica is sending an error to its master: 'ERR unknown command 'fake-command', with \
                args beginning with: '1' ' after processing the command '<unknown>'";
    assert!(net.node(1).host.has_logged(text));
    assert_eq!(net.statistic(1, "unexpected_error_replies"), "1");
    // The stream goes on.
    net.run(0, "SET a 2");
    net.check(1, "GET a", "\"2\"");
    // What a replica says is not answered.
    let replica = net.node(0).connect();
    net.node(0).send_as(replica, &["SYNC"]);
    net.node(0).send_as(replica, &["GET", "a"]);
    assert!(!net.node(0).is_connected(replica));
    assert!(net.node(0).host.has_logged("Replica generated a reply to command 'get', disconnecting it: id="));
    assert!(
        net.node(0)
            .host
            .has_logged("== CRITICAL == This master is sending an error to its replica: 'ERR Replica")
    );
}
