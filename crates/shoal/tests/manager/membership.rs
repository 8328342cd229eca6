//! Nodes come and go; what all of them are asked; what is mended.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use crate::support::driver::Driver;
use crate::support::{Cluster, LATER, Server, Setup, eventually};

crate::scenarios! {
    /// A node joins as primary, another as its replica.
    add_node_master_and_replica,
    /// CLUSTER REPLICATE, then del-node of the replica; a primary emptied by resharding, then deleted.
    replicate_and_del_node,
    /// help, call, check and info.
    manager_help_call_check,
    /// Every call with `-a`, on nodes with requirepass, masterauth and an append-only file.
    cluster_with_password,
    /// A primary with slots is stopped and forgotten; fix covers its slots.
    forget_then_fix,
}

fn add_node_master_and_replica(driver: &Driver) {
    let mut cluster = driver.six();
    let first = cluster.nodes[0].address();
    let new = driver.single();
    let added = driver.manage("add-node", &[&new.address(), &first]);
    for line in [
        format!(">>> Adding node {} to cluster {first}\n", new.address()),
        format!(">>> Performing Cluster Check (using node {first})\n"),
        "[OK] All 16384 slots covered.\n".to_owned(),
        format!(">>> Send CLUSTER MEET to node {} to make it join the cluster.\n", new.address()),
        "[OK] New node added correctly.\n".to_owned(),
    ] {
        assert!(added.contains(&line), "{line:?} in {added}");
    }
    cluster.nodes.push(new);
    cluster.wait_until_settled();
    let line = cluster.line(0, 6).unwrap();
    assert!(line.has("master") && line.slots.is_empty(), "{line:?}");

    let (replica, primary) = (driver.single(), cluster.id(6));
    let words = [&*replica.address(), &first, "--cluster-slave", "--cluster-master-id", &primary];
    let added = driver.manage("add-node", &words);
    let line = format!(">>> Configure node as replica of {}.\n", cluster.nodes[6].address());
    assert!(added.contains(&line) && added.ends_with("[OK] New node added correctly.\n"), "{added}");
    cluster.nodes.push(replica);
    cluster.wait_until_settled();
    eventually(LATER, "all see the replica", || {
        (0..8).all(|index| {
            cluster.line(index, 7).is_some_and(|line| line.has("slave") && line.primary == primary)
        })
    });
}

fn replicate_and_del_node(driver: &Driver) {
    let mut cluster = driver.six();
    let first = cluster.nodes[0].address();
    for _ in 0..2 {
        let new = driver.single();
        driver.manage("add-node", &[&new.address(), &first]);
        cluster.nodes.push(new);
        cluster.wait_until_settled();
    }
    let (primary, replica, receiver) = (cluster.id(6), cluster.id(7), cluster.id(0));
    let move_slots = |cluster: &Cluster, count: &str, from: &str, to: &str| {
        let options = ["--cluster-from", from, "--cluster-to", to, "--cluster-slots", count, "--cluster-yes"];
        let mut words = vec![&*first];
        words.extend(options);
        driver.manage("reshard", &words);
        cluster.wait_until_settled();
    };
    move_slots(&cluster, "600", "all", &primary);
    assert_eq!(cluster.nodes[7].call(&["CLUSTER", "REPLICATE", &primary]), "OK");
    eventually(LATER, "the replica is seen", || {
        cluster.line(0, 7).is_some_and(|line| line.has("slave") && line.primary == primary)
    });

    let (refused, code) = driver.run(&["--cluster", "del-node", &first, &primary], "");
    let text =
        format!("[ERR] Node {} is not empty! Reshard data away and try again.\n", cluster.nodes[6].address());
    assert!(refused.contains(&text) && code == 1, "{refused}");
    let (unknown, code) = driver.run(&["--cluster", "del-node", &first, "0123"], "");
    assert!(unknown.contains("[ERR] No such node ID 0123\n") && code == 1, "{unknown}");

    let removed = driver.manage("del-node", &[&first, &replica]);
    assert!(removed.contains(">>> Sending CLUSTER FORGET messages to the cluster...\n"), "{removed}");
    assert!(removed.ends_with(">>> Sending CLUSTER RESET SOFT to the deleted node.\n"), "{removed}");
    eventually(LATER, "the others forgot it", || (0..7).all(|index| cluster.table(index).len() == 7));
    assert_eq!(cluster.table(7).len(), 1, "and it forgot them");
    let _alone = cluster.nodes.pop();

    move_slots(&cluster, "600", &primary, &receiver);
    driver.manage("del-node", &[&first, &primary]);
    cluster.nodes.truncate(6);
    eventually(LATER, "the others forgot it", || (0..6).all(|index| cluster.table(index).len() == 6));
    let checked = driver.manage("check", &[&first]);
    assert!(checked.contains("[OK] All 16384 slots covered."), "{checked}");
}

fn manager_help_call_check(driver: &Driver) {
    let (help, _) = driver.run(&["--cluster", "help"], "");
    for line in [
        "  create         host1:port1 ... hostN:portN\n                 --cluster-replicas <arg>\n",
        "  reshard        <host:port> or <host> <port> - separated by either colon or space\n                 --cluster-from <arg>\n",
        "  set-timeout    host:port milliseconds\n",
    ] {
        assert!(help.contains(line), "{line:?} in {help}");
    }
    let cluster = driver.six();
    let (first, port) = (cluster.nodes[0].address(), cluster.nodes[0].port().to_string());
    let called = driver.manage("call", &[&first, "set", "hello", "ahri"]);
    assert!(called.starts_with(">>> Calling set hello ahri\n"), "{called}");
    assert_eq!(called.matches(": OK\n").count(), 1, "{called}");
    assert_eq!(called.matches(": MOVED 866 ").count(), 5, "{called}");
    let called = driver.manage("call", &[&first, "ping", "--cluster-only-masters"]);
    assert_eq!(called.matches(": PONG\n").count(), 3, "{called}");
    let called = driver.manage("call", &[&first, "ping", "--cluster-only-replicas"]);
    assert_eq!(called.matches(": PONG\n").count(), 3, "{called}");

    let id = cluster.id(0);
    for words in [&[&*first][..], &["127.0.0.1", &port]] {
        let checked = driver.manage("check", words);
        let line = format!("{first} ({}...) -> 1 keys | 5461 slots | 1 slaves.\n", &id[..8]);
        assert!(checked.contains(&line), "{line:?} in {checked}");
        assert!(checked.contains("[OK] 1 keys in 3 masters.\n0.00 keys per slot on average.\n"), "{checked}");
        let described =
            format!("M: {id} {first}\n   slots:[0-5460] (5461 slots) master\n   1 additional replica(s)\n");
        assert!(checked.contains(&described), "{checked}");
        assert!(checked.ends_with("[OK] All 16384 slots covered.\n"), "{checked}");
        let shown = driver.manage("info", words);
        assert!(shown.contains(&line) && !shown.contains(">>>"), "{shown}");
    }
    let owners = driver.manage("check", &[&first, "--cluster-search-multiple-owners"]);
    assert!(owners.ends_with("[OK] No multiple owners found.\n"), "{owners}");
    let (wrong, code) = driver.run(&["--cluster", "nonsense", &first], "");
    assert!(wrong.contains("Unknown --cluster subcommand") && code == 1, "{wrong}");
    let (wrong, code) = driver.run(&["--cluster", "check"], "");
    assert!(
        wrong.contains("[ERR] Wrong number of arguments for specified --cluster sub command") && code == 1
    );

    // An open slot is reported, with an exit code.
    let second = cluster.id(1);
    assert_eq!(cluster.nodes[0].call(&["CLUSTER", "SETSLOT", "7", "MIGRATING", &second]), "OK");
    let (open, code) = driver.run(&["--cluster", "check", &first], "");
    assert!(open.contains(&format!("[WARNING] Node {first} has slots in migrating state 7.\n")), "{open}");
    assert!(open.contains("[WARNING] The following slots are open: 7.\n") && code == 1, "{open}");
    let (fixed, code) = driver.run(&["--cluster", "fix", &first], "");
    assert!(fixed.contains(">>> Fixing open slot 7\n") && code == 0, "{fixed}");
    assert_eq!(driver.run(&["--cluster", "check", &first], "").1, 0);
}

fn cluster_with_password(driver: &Driver) {
    let setup = || -> Setup { driver.setup().password("tyrival").conf("protected-mode yes\nappendonly yes") };
    let mut cluster = Cluster::start((0..6).map(|_| setup()).collect());
    let addresses: Vec<String> = cluster.nodes.iter().map(Server::address).collect();
    let mut line = vec!["-a", "tyrival", "--cluster", "create", "--cluster-replicas", "1"];
    line.extend(addresses.iter().map(String::as_str));
    let (created, code) = driver.dialogue(&line, &[("(type 'yes' to accept): ", "yes")]);
    assert!(code == 0 && created.ends_with("[OK] All 16384 slots covered.\n"), "{created}");
    cluster.wait_until_settled();
    let (refused, code) = driver.run(&["--cluster", "check", &addresses[0]], "");
    assert!(refused.contains("NOAUTH") && code == 1, "{refused}");

    let with_password = |words: &[&str]| {
        let mut line = vec!["-a", "tyrival", "--no-auth-warning", "--cluster"];
        line.extend(words);
        driver.good(&line)
    };
    let mut written = cluster.nodes[0].connect();
    for number in 0..50 {
        let key = crate::support::cluster::key_of(0, 3, number);
        assert_eq!(written.text(&["SET", &key, "value"]), "OK");
    }
    let new = setup().conf("cluster-enabled yes").start();
    with_password(&["add-node", &new.address(), &addresses[0]]);
    cluster.nodes.push(new);
    cluster.wait_until_settled();
    let target = cluster.id(6);
    // MIGRATE logs in at the target, too.
    let options =
        ["--cluster-from", "all", "--cluster-to", &target, "--cluster-slots", "600", "--cluster-yes"];
    let mut line = vec!["reshard", &*addresses[0]];
    line.extend(options);
    with_password(&line);
    cluster.wait_until_settled();
    let keys: usize =
        [0, 6].iter().map(|&index| cluster.nodes[index].call(&["DBSIZE"]).parse::<usize>().unwrap()).sum();
    assert_eq!(keys, 50);
    let balanced = with_password(&["rebalance", &addresses[0], "--cluster-threshold", "1"]);
    assert!(balanced.contains(">>> Rebalancing across 4 nodes. Total weight = 4.00\n"), "{balanced}");
    cluster.wait_until_settled();
    let called = with_password(&["call", &addresses[0], "ping"]);
    assert_eq!(called.matches(": PONG\n").count(), 7, "{called}");
    let set = with_password(&["set-timeout", &addresses[0], "4000"]);
    assert!(set.contains(">>> New node timeout set. 7 OK, 0 ERR.\n"), "{set}");
    with_password(&["check", &addresses[0]]);
    // The cluster's own client, with the password.
    let shown =
        cluster.nodes[1].client("redis-cli", &["-c", "get", &crate::support::cluster::key_of(0, 3, 1)]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("value"), "{shown:?}");
}

fn forget_then_fix(driver: &Driver) {
    let mut cluster = driver.six();
    let first = cluster.nodes[0].address();
    let new = driver.single();
    driver.manage("add-node", &[&new.address(), &first]);
    cluster.nodes.push(new);
    cluster.wait_until_settled();
    let id = cluster.id(6);
    let options = ["--cluster-from", "all", "--cluster-to", &id, "--cluster-slots", "4096", "--cluster-yes"];
    let mut words = vec![&*first];
    words.extend(options);
    driver.manage("reshard", &words);
    cluster.wait_until_settled();

    cluster.nodes[6].kill();
    // All forget it at once: gossip would bring it back otherwise.
    for node in &cluster.nodes[..6] {
        assert_eq!(node.call(&["CLUSTER", "FORGET", &id]), "OK");
    }
    cluster.nodes.truncate(6);
    for index in 0..6 {
        cluster.wait_for_state(index, "fail");
    }
    let expected =
        [("cluster_slots_assigned", "12288"), ("cluster_slots_ok", "12288"), ("cluster_known_nodes", "6")];
    for (name, value) in expected {
        assert_eq!(cluster.cluster_info(0, name).as_deref(), Some(value), "{name}");
    }
    let (checked, code) = driver.run(&["--cluster", "check", &first], "");
    assert!(checked.contains("[ERR] Not all 16384 slots are covered by nodes.\n") && code == 1, "{checked}");
    let (fixed, code) =
        driver.dialogue(&["--cluster", "fix", &first], &[("(type 'yes' to accept): ", "yes")]);
    assert_eq!(code, 0, "{fixed}");
    let question = "The following uncovered slots have no keys across the cluster:\n[0-1364],[5461-6826],[10923-12287]\n\
                    Fix these slots by covering with a random node? (type 'yes' to accept): ";
    assert!(fixed.contains(question), "{fixed}");
    assert_eq!(fixed.matches(">>> Covering slot ").count(), 4096, "{fixed}");
    cluster.wait_until_settled();
    let checked = driver.manage("check", &[&first]);
    assert!(checked.ends_with("[OK] All 16384 slots covered.\n"), "{checked}");
    let expected =
        [("cluster_slots_assigned", "16384"), ("cluster_slots_ok", "16384"), ("cluster_size", "3")];
    for (name, value) in expected {
        assert_eq!(cluster.cluster_info(0, name).as_deref(), Some(value), "{name}");
    }
}
