//! Full synchronisation on two connections.

use super::net::{Net, answer_attempt};
use super::synchronisation::{assert_equal, fill};
use crate::testing::Fixture;

const DIRECTIVES: [(&str, &str); 3] = [
    ("dual-channel-replication-enabled", "yes"),
    ("repl-diskless-sync-delay", "0"),
    ("repl-backlog-size", "16kb"),
];

/// A replica whose snapshot is being written and whose stream has begun.
fn begin(seed: u64, directives: &[(&str, &str)]) -> Net {
    let mut net = Net::new(2, directives, seed);
    fill(&mut net, 0);
    net.node(1).run("SET old data");
    net.are_snapshots_held = true;
    net.run(1, "REPLICAOF 127.0.0.1 7000");
    net.pass_s(2);
    net
}

#[test]
fn the_stream_waits_at_the_replica() {
    for seed in 0..8 {
        let mut net = begin(seed, &DIRECTIVES);
        let lines = [net.info(0, "slave0"), net.info(0, "slave1")];
        assert!(
            lines.iter().any(|line| line.contains("state=wait_bgsave") && line.ends_with("type=rdb-channel"))
        );
        assert!(
            lines
                .iter()
                .any(|line| line.contains("state=bg_transfer") && line.ends_with("type=main-channel"))
        );
        net.run(0, "SELECT 2");
        for number in 0..200 {
            net.run(0, &format!("SET during:{number} {}", "y".repeat(1000)));
        }
        // All of it is here, and none of it has been applied; the primary keeps its backlog only.
        let kept: u64 = net.info(1, "replicas_repl_buffer_size").parse().unwrap();
        assert!(kept > 200_000, "{kept}");
        let held: u64 = net.info(0, "repl_backlog_histlen").parse().unwrap();
        assert!(held < 100_000, "{held}");
        net.check(1, "GET old", "\"data\"");
        assert_eq!(net.info(1, "master_sync_in_progress"), "1");
        assert_eq!(net.info(1, "master_link_status"), "down");
        // Nobody is served who only keeps the stream.
        net.check_at_once(0, "WAIT 1 1", "");
        net.pass_s(1);
        net.are_snapshots_held = false;
        net.pass_s(2);
        net.run(0, "SET after it");
        assert_equal(&mut net, 0, 1);
        assert_eq!(net.info(1, "master_link_status"), "up");
        assert_eq!(net.info(0, "connected_slaves"), "1");
        assert!(net.info(0, "slave0").contains("state=online"));
        assert_eq!(net.node(0).node.stats().full_syncs, 1);
        // A cut link goes on as any other.
        net.cut(1);
        net.run(0, "SET missed 1");
        net.pass_s(3);
        assert_equal(&mut net, 0, 1);
        assert_eq!(net.node(0).node.stats().full_syncs, 1);
    }
}

#[test]
fn either_connection_may_break() {
    for (seed, is_channel) in (0..8).map(|seed| (seed, seed % 2 == 0)) {
        let mut net = begin(seed, &DIRECTIVES);
        net.run(0, "SET during 1");
        net.set_reachable(0, false);
        net.cut_one(1, is_channel);
        net.pass_s(3);
        net.check(1, "GET old", "\"data\"");
        assert_eq!(net.info(1, "master_link_status"), "down");
        assert_eq!(net.info(0, "connected_slaves"), "0");
        let which = if is_channel { "snapshot's" } else { "main" };
        let text = format!("Dual channel sync failed: the {which} connection is lost");
        assert!(net.node(1).host.has_logged(&text));
        net.are_snapshots_held = false;
        net.set_reachable(0, true);
        net.pass_s(5);
        net.run(0, "SET after it");
        assert_equal(&mut net, 0, 1);
        // The second attempt took two connections again.
        let offers = net.node(0).host.log.iter().filter(|(_, line)| line.contains("dedicated RDB channel"));
        assert_eq!(offers.count(), 2);
    }
}

#[test]
fn what_is_kept_has_a_bound() {
    let directives = [DIRECTIVES[0], DIRECTIVES[1], ("client-output-buffer-limit", "replica 100kb 0 0")];
    let mut net = begin(5, &directives);
    // The primary's own limit is another matter.
    net.check(0, "CONFIG SET client-output-buffer-limit \"replica 0 0 0\"", "+OK");
    for number in 0..500 {
        net.run(0, &format!("SET during:{number} {}", "y".repeat(1000)));
    }
    let kept: u64 = net.info(1, "replicas_repl_buffer_size").parse().unwrap();
    assert!((100 * 1024..140 * 1024).contains(&kept), "{kept}");
    assert!(net.node(1).host.has_logged("Replication buffer limit reached, stopping buffering."));
    let held: u64 = net.info(0, "repl_backlog_histlen").parse().unwrap();
    assert!(held > 300_000, "the rest waits at the primary: {held}");
    // A connection that is not read is not silent.
    net.pass_s(20);
    net.are_snapshots_held = false;
    net.pass_s(3);
    assert_equal(&mut net, 0, 1);
}

#[test]
fn one_connection_if_either_side_wants_no_more() {
    for (primary, replica) in [("no", "yes"), ("yes", "no")] {
        let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 3);
        fill(&mut net, 0);
        net.check(0, &format!("CONFIG SET dual-channel-replication-enabled {primary}"), "+OK");
        net.check(1, &format!("CONFIG SET dual-channel-replication-enabled {replica}"), "+OK");
        net.follow(1, 0);
        assert_equal(&mut net, 0, 1);
        assert!(!net.node(1).host.has_logged("dual channel"));
    }
    // A primary that writes files has no second connection to offer.
    let mut net = Net::new(2, &[DIRECTIVES[0], ("repl-diskless-sync", "no")], 3);
    fill(&mut net, 0);
    net.follow(1, 0);
    assert_equal(&mut net, 0, 1);
    assert!(!net.node(1).host.has_logged("dual channel"));
}

#[test]
fn a_second_connection_that_is_refused_is_not_asked_for_again() {
    let directives = [DIRECTIVES[0], ("replicaof", "127.0.0.1 7000")];
    let mut fixture = Fixture::with_configuration(&directives);
    fixture.advance_ms(1100);
    let greeting = |fixture: &mut Fixture| {
        let main = answer_attempt(fixture);
        let Fixture { node, host, .. } = fixture;
        node.primary_input(host.clock, host, main, b"+PONG\r\n+OK\r\n+OK\r\n");
        let slices = node.output_slices(main, 10);
        (main, slices.iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect::<String>())
    };
    let (main, said) = greeting(&mut fixture);
    assert!(said.contains("dual-channel"), "{said}");
    let Fixture { node, host, .. } = &mut fixture;
    node.primary_input(host.clock, host, main, b"+DUALCHANNELSYNC\r\n");
    let channel = answer_attempt(&mut fixture);
    let Fixture { node, host, .. } = &mut fixture;
    node.primary_input(host.clock, host, channel, b"-ERR Unrecognized REPLCONF option: rdb-channel\r\n");
    fixture.advance_ms(1100);
    let (_, said) = greeting(&mut fixture);
    assert!(said.contains("psync2") && !said.contains("dual-channel"), "{said}");
}

#[test]
fn what_replicas_say_of_connections_is_checked() {
    let mut net = Net::new(1, &DIRECTIVES, 3);
    net.check(0, "REPLCONF rdb-channel 2", "-ERR value is out of range");
    net.check(0, "REPLCONF set-rdb-client-id 77", "-ERR Unrecognized RDB client id 77");
    net.check(0, "REPLCONF set-rdb-client-id x", "-ERR Unrecognized RDB client id x");
    net.check(0, "REPLCONF capa eof rdb-only 1 rdb-channel 1 listening-port 7005", "+OK");
}

#[test]
fn a_promotion_ends_both_connections() {
    let mut net = begin(6, &DIRECTIVES);
    net.check(1, "REPLICAOF no one", "+OK");
    net.pass_s(1);
    assert_eq!(net.info(0, "connected_slaves"), "0");
    net.check(1, "GET old", "\"data\"");
    net.check(1, "SET mine 1", "+OK");
    net.are_snapshots_held = false;
    net.follow(1, 0);
    assert_equal(&mut net, 0, 1);
}
