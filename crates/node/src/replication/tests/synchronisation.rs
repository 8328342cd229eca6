//! Full and partial synchronisation, chains, promotion.

use super::net::{Net, answer_attempt, attempt};
use crate::testing::Fixture;
use shoal_session::Identity;

/// Fills a node with keys of several databases, some of them expiring.
pub fn fill(net: &mut Net, index: usize) {
    for number in 0..50 {
        net.node(index).run(&format!("SELECT {}", number % 3));
        net.node(index).run(&format!("SET key:{number} value:{number}"));
        if number % 5 == 0 {
            net.node(index).run(&format!("PEXPIRE key:{number} 100000000"));
        }
    }
    net.node(index).run(&format!("SET large {}", "x".repeat(100_000)));
    net.run(index, "SELECT 0");
}

#[track_caller]
pub fn assert_equal(net: &mut Net, first: usize, second: usize) {
    let digest = net.node(first).run("DEBUG DIGEST");
    assert_eq!(digest, net.node(second).run("DEBUG DIGEST"));
    assert_ne!(digest, "+0000000000000000000000000000000000000000", "there is data");
    assert_eq!(net.info(first, "master_repl_offset"), net.info(second, "master_repl_offset"));
    assert_eq!(net.info(first, "master_replid"), net.info(second, "master_replid"));
}

#[test]
fn a_full_synchronisation_and_the_stream_after_it() {
    for (seed, diskless) in (0..8).map(|seed| (seed, seed % 2 == 0)) {
        let words = if diskless { "yes" } else { "no" };
        let directives = [("repl-diskless-sync", words), ("repl-diskless-sync-delay", "1")];
        let mut net = Net::new(2, &directives, seed);
        fill(&mut net, 0);
        net.node(1).run("SET old data");
        net.follow(1, 0);
        assert_equal(&mut net, 0, 1);
        net.run(0, "SELECT 2");
        net.run(0, "SET after sync");
        net.node(0).send_as(crate::Handle(0), &["MULTI"]);
        net.node(0).send_as(crate::Handle(0), &["INCR", "counter"]);
        net.node(0).send_as(crate::Handle(0), &["APPEND", "after", "wards"]);
        net.node(0).run("EXEC");
        net.settle();
        net.check(1, "GET old", "nil");
        net.run(1, "SELECT 2");
        net.check(1, "GET after", "\"syncwards\"");
        net.check(1, "SET x 1", "-READONLY You can't write against a read only replica.");
        assert_equal(&mut net, 0, 1);
        assert_eq!(net.info(1, "master_link_status"), "up");
        assert_eq!(net.info(0, "connected_slaves"), "1");
        assert!(net.info(0, "slave0").starts_with("ip=127.0.0.1,port=7001,state=online,offset="));
        for line in [
            "Connecting to MASTER 127.0.0.1:7000",
            "MASTER <-> REPLICA sync started",
            "Non blocking connect for SYNC fired the event.",
            "Master replied to PING, replication can continue...",
            "Full resync from master: ",
            "MASTER <-> REPLICA sync: Flushing old data",
            "MASTER <-> REPLICA sync: Loading DB in memory",
            "MASTER <-> REPLICA sync: Finished with success",
        ] {
            assert!(net.node(1).host.has_logged(line), "{line}");
        }
        assert!(net.node(0).host.has_logged("Synchronization with replica 127.0.0.1:7001 succeeded"));
    }
}

#[test]
fn writes_during_the_snapshot_are_not_lost() {
    for seed in 0..6 {
        let words = if seed % 2 == 0 { "yes" } else { "no" };
        let directives = [("repl-diskless-sync", words), ("repl-diskless-sync-delay", "0")];
        let mut net = Net::new(3, &directives, seed);
        fill(&mut net, 0);
        net.are_snapshots_held = true;
        net.run(1, "REPLICAOF 127.0.0.1 7000");
        for number in 0..200 {
            net.node(0).run(&format!("SET during:{number} {}", "y".repeat(1000)));
        }
        // A second replica joins the snapshot by file, or waits for the next one.
        net.run(2, "REPLICAOF localhost 7000");
        net.run(0, "SET during:5 changed");
        assert_eq!(net.info(0, "connected_slaves"), "2");
        net.are_snapshots_held = false;
        net.pass_s(3);
        assert_equal(&mut net, 0, 1);
        assert_equal(&mut net, 0, 2);
        let full_syncs = net.node(0).node.stats().full_syncs;
        let forks = net.node(0).node.stats().forks;
        assert_eq!((full_syncs, forks), (2, if seed % 2 == 0 { 2 } else { 1 }));
    }
}

#[test]
fn a_cut_link_goes_on_where_it_ended() {
    for seed in 0..6 {
        let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], seed);
        fill(&mut net, 0);
        net.follow(1, 0);
        net.run(0, "SELECT 1");
        net.node(0).run("SET sent yes");
        if seed % 2 == 0 {
            net.settle();
        }
        net.set_reachable(0, false);
        net.cut(1);
        net.run(0, "SET missed yes");
        net.pass_s(3);
        assert_eq!(net.info(1, "master_link_status"), "down");
        assert!(net.node(1).host.has_logged("Error condition on socket for SYNC: Connection refused"));
        net.set_reachable(0, true);
        net.pass_s(3);
        net.run(0, "SET later yes");
        assert_equal(&mut net, 0, 1);
        let stats = net.node(0).node.stats();
        assert_eq!((stats.full_syncs, stats.partial_syncs), (1, 1));
        assert!(net.node(1).host.has_logged("Connection with master lost."));
        assert!(net.node(1).host.has_logged("Caching the disconnected master state."));
    }
}

#[test]
fn too_much_was_missed() {
    let directives = [("repl-diskless-sync-delay", "0"), ("repl-backlog-size", "16kb")];
    let mut net = Net::new(2, &directives, 3);
    net.node(0).run("SET a 1");
    net.follow(1, 0);
    net.set_reachable(0, false);
    net.cut(1);
    for number in 0..40 {
        net.node(0).run(&format!("SET missed:{number} {}", "z".repeat(1000)));
    }
    net.set_reachable(0, true);
    net.pass_s(4);
    assert_equal(&mut net, 0, 1);
    let stats = net.node(0).node.stats();
    // At first, too, it asked for the continuation of what it had written itself.
    assert_eq!((stats.full_syncs, stats.partial_syncs, stats.refused_partial_syncs), (2, 0, 2));
}

#[test]
fn an_unfinished_transaction_is_not_applied_twice() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 5);
    net.node(0).run("SET counter 0");
    net.follow(1, 0);
    for _ in 0..20 {
        for words in [&["MULTI"][..], &["INCR", "counter"], &["INCR", "counter"], &["EXEC"]] {
            net.node(0).send_as(crate::Handle(0), words);
        }
        net.node(0).received(crate::Handle(0));
        // The link breaks somewhere in the middle.
        net.carry_once();
        net.cut(1);
        net.pass_s(2);
    }
    net.check(1, "GET counter", "\"40\"");
    assert_equal(&mut net, 0, 1);
    assert_eq!(net.node(0).node.stats().full_syncs, 1);
}

#[test]
fn a_promoted_replica_serves_its_sibling_and_its_former_primary() {
    for seed in 0..4 {
        let mut net = Net::new(3, &[("repl-diskless-sync-delay", "0")], seed);
        fill(&mut net, 0);
        net.follow(1, 0);
        net.follow(2, 0);
        net.run(0, "SELECT 2");
        net.run(0, "SET before failover");
        net.cut(1);
        net.cut(2);
        net.set_reachable(0, false);
        let old_id = net.info(1, "master_replid");
        net.check(1, "REPLICAOF NO ONE", "+OK");
        assert!(net.node(1).host.has_logged("MASTER MODE enabled (user request from 'id="));
        assert_eq!(net.info(1, "master_replid2"), old_id);
        assert_ne!(net.info(1, "master_replid"), old_id);
        net.run(1, "SET after failover");
        net.follow(2, 1);
        net.follow(0, 1);
        assert_equal(&mut net, 1, 2);
        assert_equal(&mut net, 1, 0);
        let stats = net.node(1).node.stats();
        assert_eq!((stats.full_syncs, stats.partial_syncs), (0, 2), "seed {seed}");
    }
}

#[test]
fn a_former_primary_with_writes_of_its_own_starts_afresh() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 8);
    net.node(0).run("SET a 1");
    net.follow(1, 0);
    net.cut(1);
    net.run(1, "REPLICAOF NO ONE");
    net.run(0, "SET lost yes");
    net.run(1, "SET kept yes");
    net.follow(0, 1);
    assert_equal(&mut net, 1, 0);
    net.check(0, "EXISTS lost kept", ":1");
    assert_eq!(net.node(1).node.stats().full_syncs, 1);
    assert!(
        net.node(1)
            .host
            .has_logged("Partial resynchronization not accepted: Requested offset for second ID was")
    );
}

#[test]
fn a_chain_passes_the_stream_on() {
    for seed in 0..4 {
        let mut net = Net::new(4, &[("repl-diskless-sync-delay", "0")], seed);
        fill(&mut net, 0);
        net.follow(1, 0);
        net.run(0, "SELECT 1");
        net.run(0, "SET key in-one");
        // The sub-replica begins in the middle of the stream, in the database that it has selected.
        net.follow(2, 1);
        net.run(0, "SET other in-one");
        assert_equal(&mut net, 0, 2);
        net.check(2, "REPLICAOF NO ONE", "+OK");
        net.follow(2, 1);
        // A full synchronisation of the middle sends its replicas to resynchronise.
        net.run(3, "SET completely different");
        net.follow(1, 3);
        net.pass_s(4);
        net.run(3, "SET and more");
        assert_equal(&mut net, 3, 1);
        assert_equal(&mut net, 3, 2);
        assert_eq!(net.info(1, "connected_slaves"), "1");
    }
}

#[test]
fn a_new_name_of_the_history_reaches_sub_replicas() {
    let mut net = Net::new(4, &[("repl-diskless-sync-delay", "0")], 9);
    fill(&mut net, 0);
    net.follow(1, 0);
    net.follow(2, 0);
    net.follow(3, 2);
    net.cut(1);
    net.run(1, "REPLICAOF NO ONE");
    net.run(1, "SET x 1");
    net.follow(2, 1);
    net.pass_s(3);
    assert_equal(&mut net, 1, 2);
    assert_equal(&mut net, 1, 3);
    assert_eq!(net.node(1).node.stats().full_syncs, 0);
    assert_eq!(net.node(2).node.stats().full_syncs, 1, "the sub-replica went on");
}

#[test]
fn passwords() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0"), ("requirepass", "secret")], 1);
    net.check(0, "AUTH secret", "+OK");
    net.check(1, "AUTH secret", "+OK");
    net.run(0, "SET a 1");
    net.follow(1, 0);
    assert_eq!(net.info(1, "master_link_status"), "down");
    net.node(1).configure(&["masterauth", "secret"]);
    net.pass_s(3);
    assert_equal(&mut net, 0, 1);
}

#[test]
fn a_broken_transfer_leaves_the_old_data() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 4);
    fill(&mut net, 0);
    net.run(1, "SET mine old");
    net.largest_piece = 8;
    net.node(1).run("REPLICAOF 127.0.0.1 7000");
    for _ in 0..5 {
        net.carry_until(1, "master_sync_in_progress", "1");
        net.carry_once();
        net.check_at_once(1, "GET mine", "\"old\"");
        net.cut(1);
        net.pass_one_tick();
    }
    net.pass_s(3);
    assert_equal(&mut net, 0, 1);
}

#[test]
fn sync_of_old_replicas() {
    let mut net = Net::new(1, &[("repl-diskless-sync", "yes")], 2);
    net.node(0).run("SET a 1");
    let old = net.node(0).connect();
    net.node(0).send_as(old, &["SYNC"]);
    net.settle();
    net.node(0).run("SET b 2");
    let bytes = net.drain(0, old);
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with('$') && text.contains("REDIS0011"), "{text}");
    assert!(text.ends_with("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n"));
}

/// The image of a node's data as a snapshot.
fn image_of(net: &mut Net, index: usize) -> Vec<u8> {
    net.run(index, "BGSAVE");
    net.file(index)
}

#[test]
fn restarted_nodes_go_on_where_their_files_end() {
    let directives = [("repl-diskless-sync-delay", "0")];
    let mut net = Net::new(3, &directives, 6);
    fill(&mut net, 0);
    net.follow(1, 0);
    net.run(0, "SELECT 2");
    net.run(0, "SET before restart");
    net.pass_s(1);
    // A replica that comes back.
    let image = image_of(&mut net, 1);
    net.cut(1);
    net.restart(1, &[directives[0], ("replicaof", "127.0.0.1 7000")], &image);
    net.run(0, "SET while away");
    net.pass_s(3);
    net.run(0, "SET after it");
    assert_equal(&mut net, 0, 1);
    assert_eq!(net.node(0).node.stats().full_syncs, 1);
    // A primary that comes back; its replica has everything.
    let image = image_of(&mut net, 0);
    net.cut(1);
    net.restart(0, &directives, &image);
    net.run(0, "SELECT 2");
    net.run(0, "SET new life");
    net.pass_s(3);
    assert_equal(&mut net, 0, 1);
    assert_eq!(net.node(0).node.stats().full_syncs, 0);
    // A primary whose file is older than what its replica has.
    let image = image_of(&mut net, 0);
    net.run(0, "SET lost with-the-crash");
    net.cut(1);
    net.restart(0, &directives, &image);
    net.pass_s(4);
    assert_equal(&mut net, 0, 1);
    assert_eq!(net.node(0).node.stats().full_syncs, 1);
}

#[test]
fn a_replica_that_was_promoted_for_a_moment_goes_on_in_the_database_of_the_stream() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 6);
    net.run(0, "SELECT 2");
    net.run(0, "SET a 1");
    net.follow(1, 0);
    net.run(0, "SET b 1");
    let full_before = net.statistic(0, "sync_full");
    net.check(1, "REPLICAOF NO ONE", "+OK");
    net.run(0, "SET c 1");
    net.follow(1, 0);
    assert_equal(&mut net, 0, 1);
    net.run(1, "SELECT 2");
    net.check(1, "GET c", "\"1\"");
    assert_eq!(net.statistic(0, "sync_full"), full_before);
}

#[test]
fn the_outcome_of_an_attempt_that_was_replaced_is_not_taken_for_that_of_the_next() {
    let mut fixture = Fixture::with_configuration(&[("replicaof", "127.0.0.1 7000")]);
    fixture.advance_ms(1100);
    let first = attempt(&mut fixture);
    // Its outcome is on its way when another primary is named.
    fixture.check("REPLICAOF 127.0.0.1 7001", "+OK");
    let second = attempt(&mut fixture);
    let Fixture { node, host, .. } = &mut fixture;
    assert_eq!(node.primary_connected(host.clock, host, first, Identity::default()), None);
    node.primary_unreachable(host.clock, host, first, "Connection refused");
    assert!(!fixture.host.has_logged("Connection refused"));
    fixture.check("ROLE", "[\"slave\", \"127.0.0.1\", :7001, \"connecting\", :-1]");
    let Fixture { node, host, .. } = &mut fixture;
    let handle = node.primary_connected(host.clock, host, second, Identity::default());
    assert!(handle.is_some());
    // It has been made, so it cannot fail any more.
    node.primary_unreachable(host.clock, host, second, "Connection refused");
    assert!(!fixture.host.has_logged("Connection refused"));
}

#[test]
fn a_connection_for_a_snapshot_that_was_given_up_is_not_taken_for_the_next() {
    let directives = [("dual-channel-replication-enabled", "yes"), ("replicaof", "127.0.0.1 7000")];
    let mut fixture = Fixture::with_configuration(&directives);
    fixture.advance_ms(1100);
    let mut channels = Vec::new();
    for _ in 0..2 {
        let main = answer_attempt(&mut fixture);
        let Fixture { node, host, .. } = &mut fixture;
        node.primary_input(host.clock, host, main, b"+PONG\r\n+OK\r\n+OK\r\n+DUALCHANNELSYNC\r\n");
        channels.push(attempt(&mut fixture));
        if channels.len() == 1 {
            let Fixture { node, host, .. } = &mut fixture;
            node.disconnected(host.clock, host, main);
            fixture.advance_ms(1100);
        }
    }
    let Fixture { node, host, .. } = &mut fixture;
    assert_eq!(node.snapshot_channel_connected(host.clock, host, channels[0], Identity::default()), None);
    node.snapshot_channel_unreachable(host.clock, host, channels[0], "Connection refused");
    assert!(!fixture.host.has_logged("Connection refused"));
    let Fixture { node, host, .. } = &mut fixture;
    assert!(node.snapshot_channel_connected(host.clock, host, channels[1], Identity::default()).is_some());
}
