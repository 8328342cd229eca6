//! `repl-diskless-load`: what clients of a replica notice of a snapshot, and what is left when it breaks off.

use super::net::Net;
use super::synchronisation::{assert_equal, fill};

const LOADING: &str = "-LOADING Redis is loading the dataset in memory";

fn loading(net: &mut Net, index: usize) -> (bool, bool) {
    let text = net.node(index).text("INFO persistence");
    (text.contains("\r\nloading:1\r\n"), text.contains("\r\nasync_loading:1\r\n"))
}

/// Two nodes with data of their own, of which the second one is receiving the first one's.
fn receiving(mode: &str, has_data: bool) -> Net {
    let directives = [("repl-diskless-sync-delay", "0"), ("repl-diskless-load", mode)];
    let mut net = Net::new(2, &directives, 7);
    fill(&mut net, 0);
    net.largest_piece = 500;
    if has_data {
        net.node(1).run("SET mine 1");
    }
    net.check_at_once(1, "REPLICAOF 127.0.0.1 7000", "+OK");
    net.carry_until(1, "master_sync_in_progress", "1");
    for _ in 0..20 {
        net.carry_once();
    }
    net
}

#[test]
fn what_clients_notice() {
    for (mode, has_data, expected) in [
        ("disabled", false, (false, false)),
        ("disabled", true, (false, false)),
        ("on-empty-db", false, (true, false)),
        ("on-empty-db", true, (false, false)),
        ("swapdb", false, (true, false)),
        ("swapdb", true, (true, false)),
    ] {
        let mut net = receiving(mode, has_data);
        assert_eq!(loading(&mut net, 1), expected, "{mode} {has_data}");
        let answer = if expected.0 { LOADING } else { ["nil", "\"1\""][usize::from(has_data)] };
        net.check_at_once(1, "GET mine", answer);
        let by_file = net.node(1).host.sync_file.writing.is_some();
        assert_eq!(by_file, has_data && mode != "swapdb", "{mode} {has_data}");
        let place = if by_file { "disk" } else { "parser" };
        assert!(net.node(1).host.has_logged(&format!("with EOF to {place}")), "{mode} {has_data}");
        net.largest_piece = 30_000;
        net.pass_s(3);
        assert_equal(&mut net, 0, 1);
        assert_eq!(loading(&mut net, 1), (false, false));
    }
}

#[test]
fn a_broken_transfer_brings_the_old_data_back() {
    for (mode, has_data) in [("disabled", true), ("on-empty-db", true), ("swapdb", true)] {
        let mut net = receiving(mode, has_data);
        net.set_reachable(0, false);
        net.cut(1);
        assert_eq!(loading(&mut net, 1), (false, false), "{mode}");
        net.check_at_once(1, "GET mine", "\"1\"");
        assert!(net.node(1).host.sync_file.writing.is_none(), "{mode}");
        net.set_reachable(0, true);
        net.largest_piece = 30_000;
        net.pass_s(4);
        assert_equal(&mut net, 0, 1);
    }
}

#[test]
fn data_of_the_same_history_are_served_meanwhile() {
    let directives =
        [("repl-diskless-sync-delay", "0"), ("repl-diskless-load", "swapdb"), ("repl-backlog-size", "16kb")];
    let mut net = Net::new(2, &directives, 9);
    fill(&mut net, 0);
    net.follow(1, 0);
    // More is missed than the backlog holds.
    net.cut(1);
    net.node(0).run("SET new 1");
    for number in 0..100 {
        net.node(0).run(&format!("SET missed:{number} {}", "y".repeat(1000)));
    }
    net.largest_piece = 500;
    net.carry_until(1, "master_sync_in_progress", "1");
    net.carry_once();
    assert_eq!(loading(&mut net, 1), (false, true));
    net.check_at_once(1, "GET key:0", "\"value:0\"");
    net.check_at_once(1, "GET new", "nil");
    net.check_at_once(1, "REPLICAOF no one", LOADING);
    net.check_at_once(1, "CONFIG SET appendonly no", LOADING);
    net.largest_piece = 30_000;
    net.pass_s(3);
    assert_equal(&mut net, 0, 1);
    assert!(net.node(1).host.has_logged("Swapping active DB with loaded DB"));
}

#[test]
fn a_file_that_cannot_be_written_changes_nothing() {
    let mut net = Net::new(2, &[("repl-diskless-sync-delay", "0")], 7);
    fill(&mut net, 0);
    net.node(1).run("SET mine 1");
    net.node(1).host.sync_file.error = Some("No space left on device".to_owned());
    net.run(1, "REPLICAOF 127.0.0.1 7000");
    net.pass_s(3);
    net.check(1, "GET mine", "\"1\"");
    assert_eq!(net.info(1, "master_link_status"), "down");
    assert!(net.node(1).host.has_logged("No space left on device"));
    net.node(1).host.sync_file.error = None;
    net.pass_s(4);
    assert_equal(&mut net, 0, 1);
    // The file is what a restart would find.
    let image = net.node(1).host.sync_file.complete.clone();
    net.cut(1);
    net.restart(1, &[("replicaof", "127.0.0.1 7000")], &image);
    net.run(0, "SET while away");
    net.pass_s(3);
    assert_equal(&mut net, 0, 1);
    assert_eq!(net.node(0).node.stats().partial_syncs, 1);
}

#[test]
fn keys_that_expired_before_a_restart_expire_at_replicas() {
    let directives = [("repl-diskless-sync-delay", "0")];
    let mut net = Net::new(2, &directives, 6);
    fill(&mut net, 0);
    net.follow(1, 0);
    net.run(0, "SELECT 1");
    net.run(0, "DEBUG SET-ACTIVE-EXPIRE 0");
    net.run(0, "SET short lived PX 3000");
    net.pass_s(1);
    net.run(0, "BGSAVE");
    let image = net.file(0);
    net.cut(1);
    net.set_reachable(0, false);
    net.pass_s(5);
    net.restart(0, &directives, &image);
    assert_eq!(net.node(0).text("INFO persistence").matches("rdb_last_load_keys_expired:1\r").count(), 1);
    net.set_reachable(0, true);
    net.pass_s(3);
    assert_equal(&mut net, 0, 1);
    let stats = net.node(0).node.stats();
    assert_eq!((stats.full_syncs, stats.partial_syncs), (0, 1));
}

#[test]
fn a_history_whose_data_were_dropped_is_not_returned_to() {
    let mut net = Net::new(3, &[("repl-diskless-sync-delay", "0"), ("repl-diskless-load", "on-empty-db")], 8);
    net.run(0, "SET a 1");
    net.run(0, "DEL a");
    net.follow(1, 0);
    fill(&mut net, 2);
    net.largest_piece = 500;
    net.check_at_once(1, "REPLICAOF 127.0.0.1 7002", "+OK");
    net.carry_until(1, "master_sync_in_progress", "1");
    net.carry_once();
    net.set_reachable(2, false);
    net.cut(1);
    net.check(1, "REPLICAOF NO ONE", "+OK");
    // Nobody records what is written now: it has no place in any history.
    net.check(1, "SET mine 1", "+OK");
    net.run(0, "SET b 1");
    net.largest_piece = 30_000;
    net.follow(1, 0);
    assert_equal(&mut net, 0, 1);
    net.check(1, "GET mine", "nil");
}
