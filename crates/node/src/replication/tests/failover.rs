//! FAILOVER between nodes without sockets.

use super::net::Net;

/// A primary, node 0, with two replicas that have everything.
fn three() -> Net {
    let mut net = Net::new(3, &[("repl-diskless-sync-delay", "0")], 5);
    net.run(0, "SET a 1");
    net.follow(1, 0);
    net.follow(2, 0);
    net
}

#[track_caller]
fn assert_primary(net: &mut Net, primary: usize) {
    for index in 0..3 {
        let role = if index == primary { "master" } else { "slave" };
        assert_eq!(net.info(index, "role"), role, "node {index}");
        assert_eq!(net.info(index, "master_failover_state"), "no-failover", "node {index}");
    }
}

#[test]
fn requests_are_checked() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 5);
    net.check(0, "FAILOVER TO 127.0.0.1 7001", "-ERR FAILOVER requires connected replicas.");
    net.follow(1, 0);
    for (line, expected) in [
        ("FAILOVER ABORT", "-ERR No failover in progress."),
        ("FAILOVER TO invalidhost 7001", "-ERR FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER TO 127.0.0.1 7002", "-ERR FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER TO 127.0.0.1 x", "-ERR value is not an integer or out of range"),
        ("FAILOVER TO 127.0.0.1", "-ERR syntax error"),
        ("FAILOVER ABORT FORCE", "-ERR syntax error"),
        ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0"),
        ("FAILOVER TIMEOUT 1 TIMEOUT 2", "-ERR syntax error"),
        (
            "FAILOVER FORCE TIMEOUT 100",
            "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ),
        (
            "FAILOVER TO 127.0.0.1 7001 FORCE",
            "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ),
    ] {
        net.check(0, line, expected);
    }
    net.check(1, "FAILOVER TO 127.0.0.1 7001", "-ERR FAILOVER is not valid when server is a replica.");
    net.check(1, "PSYNC ? -1 FAILOVER", "-ERR PSYNC FAILOVER replid must match my replid.");
    net.check(0, "PSYNC ? -1 FAILOVER", "-ERR PSYNC FAILOVER can't be sent to a master.");
}

#[test]
fn a_replica_takes_over_and_nobody_copies_everything_again() {
    for line in ["FAILOVER TO 127.0.0.1 7001", "FAILOVER"] {
        let mut net = three();
        net.run(0, "SET b 2");
        let full_before: Vec<String> = (0..3).map(|index| net.statistic(index, "sync_full")).collect();
        net.check(0, line, "+OK");
        net.pass_s(3);
        let primary = if net.info(1, "role") == "master" { 1 } else { 2 };
        let sibling = 3 - primary;
        net.check(sibling, &format!("REPLICAOF 127.0.0.1 {}", 7000 + primary), "+OK");
        net.pass_s(3);
        assert_primary(&mut net, primary);
        net.check(primary, "SET c 3", "+OK");
        net.pass_s(2);
        net.check(0, "GET c", "\"3\"");
        net.check(0, "SET c 4", "-READONLY You can't write against a read only replica.");
        net.check(sibling, "MGET a b c", "[\"1\", \"2\", \"3\"]");
        let full_after: Vec<String> = (0..3).map(|index| net.statistic(index, "sync_full")).collect();
        assert_eq!(full_before, full_after);
        assert_eq!(net.statistic(primary, "sync_partial_ok"), "2");
    }
}

#[test]
fn without_a_replica_that_catches_up_all_stays_as_it_was() {
    let mut net = three();
    net.are_wires_dead = true;
    net.run(0, "SET b 2");
    net.check(0, "FAILOVER TO 127.0.0.1 7001 TIMEOUT 60000", "+OK");
    assert_eq!(net.info(0, "master_failover_state"), "waiting-for-sync");
    net.check(0, "FAILOVER", "-ERR FAILOVER already in progress.");
    net.check(0, "REPLICAOF NO ONE", "-ERR REPLICAOF not allowed while failing over.");
    net.check(0, "GET b", "\"2\"");
    net.check(0, "FAILOVER ABORT", "+OK");
    assert_eq!(net.info(0, "master_failover_state"), "no-failover");
    net.check(0, "SET b 3", "+OK");
    net.check(0, "FAILOVER TIMEOUT 500", "+OK");
    net.pass_s(2);
    assert_eq!(net.info(0, "master_failover_state"), "no-failover");
    net.are_wires_dead = false;
    net.pass_s(3);
    assert_primary(&mut net, 0);
    net.check(1, "GET b", "\"3\"");
}

#[test]
fn a_target_that_refuses_leaves_a_primary() {
    let mut net = three();
    net.check(0, "FAILOVER TO 127.0.0.1 7001", "+OK");
    // The target follows somebody else by now, and has no reason to obey.
    net.node(1).run("REPLICAOF NO ONE");
    net.pass_s(5);
    assert_eq!(net.info(0, "role"), "master");
    assert_eq!(net.info(0, "master_failover_state"), "no-failover");
    net.check(0, "SET b 2", "+OK");
}

#[test]
fn force_does_not_wait_for_ever() {
    let mut net = three();
    net.are_wires_dead = true;
    net.run(0, "SET b 2");
    net.check(0, "FAILOVER TO 127.0.0.1 7001 TIMEOUT 100 FORCE", "+OK");
    net.pass_one_tick();
    assert_eq!(net.info(0, "master_failover_state"), "failover-in-progress");
    assert_eq!(net.info(0, "role"), "slave");
    net.are_wires_dead = false;
    net.pass_s(5);
    assert_eq!(net.info(1, "role"), "master");
    assert_eq!(net.info(0, "master_failover_state"), "no-failover");
}
