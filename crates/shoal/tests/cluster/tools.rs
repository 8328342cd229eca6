//! The tools of old: `create-cluster` and `redis-trib.rb`.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::driver::{run, text};
use crate::support::{Cluster, ClusterSlot, Connection, Kind, LATER, Port, SHOAL, eventually};

/// The script that install-links writes, with a config.sh beside the data; stops the nodes when it goes.
struct Script {
    work: TempDir,
    path: String,
    ports: Vec<Port>,
    _turn: ClusterSlot,
}

impl Script {
    fn new(settings: &str) -> Self {
        let turn = ClusterSlot::take();
        let work = TempDir::with_prefix("shoal-test-").unwrap();
        let bin = work.path().join("bin");
        let installed = run(work.path(), &[SHOAL, "install-links", bin.to_str().unwrap()], "");
        assert!(installed.status.success(), "{}", text(&installed));
        let ports = Port::take_row(6);
        let base = ports[0].number() - 1;
        fs::write(work.path().join("config.sh"), format!("PORT={base}\n{settings}\n")).unwrap();
        Self { path: bin.join("create-cluster").to_str().unwrap().to_owned(), work, ports, _turn: turn }
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let mut line = vec![self.path.as_str()];
        line.extend(words);
        run(self.work.path(), &line, input)
    }

    /// Runs it, and it has to end well.
    fn good(&self, words: &[&str], input: &str) -> String {
        let output = self.run(words, input);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        text(&output)
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.work.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != "bin" && name != "config.sh")
            .collect();
        names.sort();
        names
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.run(&["stop"], "");
    }
}

/// The launcher of Redis's source tree, with settings from config.sh: every verb, and true exit codes.
#[test]
fn create_cluster_tool() {
    let script = Script::new("ADDITIONAL_OPTIONS=\"--requirepass secret --masterauth secret\"");
    let first = script.ports[0].number();
    let expected: String = script.ports.iter().map(|port| format!("Starting {}\n", port.number())).collect();
    assert_eq!(script.good(&["start"], ""), expected);
    let again = script.run(&["start"], "");
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains(&format!("something listens on port {first} already")), "{}", text(&again));

    let refused = script.run(&["create"], "no\n");
    assert!(text(&refused).contains("Can I set the above configuration?"), "{}", text(&refused));
    let created = script.good(&["create", "-f"], "");
    assert!(created.contains("[OK] All 16384 slots covered."), "{created}");
    let infos = script.good(&["call", "cluster", "info"], "");
    assert_eq!(infos.matches("cluster_state:ok").count(), 6, "{infos}");
    let wrong = script.run(&["call", "nonsense"], "");
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong));

    let clean = script.run(&["clean"], "");
    assert_eq!(clean.status.code(), Some(1));
    assert!(text(&clean).contains("stop` first"), "{}", text(&clean));
    for port in &script.ports {
        let port = port.number();
        for name in [format!("{port}.log"), format!("nodes-{port}.conf"), format!("appendonlydir-{port}")] {
            assert!(script.files().contains(&name), "{name} of {:?}", script.files());
        }
    }
    let mut tail = Command::new(&script.path)
        .args(["tail", "1"])
        .current_dir(script.work.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(tail.stdout.take().unwrap()), &mut line)
        .unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(line.ends_with('\n'), "the log is shown: {line:?}");
    assert_eq!(script.run(&["tail", "7"], "").status.code(), Some(1));

    let expected: String = script.ports.iter().map(|port| format!("Stopping {}\n", port.number())).collect();
    assert_eq!(script.good(&["stop"], ""), expected);
    script.good(&["clean-logs"], "");
    assert!(script.files().iter().all(|name| !name.ends_with(".log")), "{:?}", script.files());
    script.good(&["clean"], "");
    assert_eq!(script.files(), Vec::<String>::new());
    assert_eq!(script.run(&["nonsense"], "").status.code(), Some(2));

    // Settings that were edited survive a second installation.
    fs::write(&script.path, fs::read_to_string(&script.path).unwrap().replace("NODES=6", "NODES=3")).unwrap();
    let bin = script.work.path().join("bin");
    run(script.work.path(), &[SHOAL, "install-links", bin.to_str().unwrap()], "");
    assert!(fs::read_to_string(&script.path).unwrap().contains("NODES=3"));
}

/// The launcher starts nodes of another server, if config.sh names one, and makes a cluster of them.
#[test]
fn create_cluster_tool_on_real_nodes() {
    let script = Script::new("SERVER=redis-server");
    script.good(&["start"], "");
    let created = script.good(&["create", "-f"], "");
    assert!(created.contains("[OK] All 16384 slots covered."), "{created}");
    eventually(LATER, "all nodes are up", || {
        script.good(&["call", "cluster", "info"], "").matches("cluster_state:ok").count() == 6
    });
    let infos = script.good(&["call", "info", "server"], "");
    assert!(infos.matches("redis_version:7.0").count() == 6 && !infos.contains("shoal_version"), "{infos}");
    script.good(&["stop"], "");
    script.good(&["clean"], "");
    assert_eq!(script.files(), Vec::<String>::new());

    let nowhere = Script::new("SERVER=/nonexistent/redis-server");
    let failed = nowhere.run(&["start"], "");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).contains("/nonexistent/redis-server cannot be started"), "{}", text(&failed));
}

/// The document's other way: the launcher starts the nodes, `redis-cli` makes them a cluster.
#[test]
fn create_cluster_tool_with_redis_cli() {
    let script = Script::new("");
    script.good(&["start"], "");
    let addresses: Vec<String> =
        script.ports.iter().map(|port| format!("127.0.0.1:{}", port.number())).collect();
    let mut line = vec!["redis-cli", "--cluster", "create"];
    line.extend(addresses.iter().map(String::as_str));
    line.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let created = text(&run(Path::new("."), &line, ""));
    assert!(created.contains("[OK] All 16384 slots covered."), "{created}");
    eventually(LATER, "all nodes are up", || {
        script.good(&["call", "cluster", "info"], "").matches("cluster_state:ok").count() == 6
    });
}

/// The manager of Redis 3 and 4, on our nodes and on real ones: every command, in its own words.
#[test]
fn trib_commands() {
    for kind in [Kind::Shoal, Kind::Redis] {
        let cluster = Cluster::start((0..6).map(|_| Cluster::setup(kind)).collect());
        let extra = Cluster::setup(kind).conf("cluster-enabled yes").start();
        let address = |index: usize| cluster.nodes[index].address();
        let trib = |words: &[&str], input: &str| {
            let mut line = vec![SHOAL, "trib"];
            line.extend(words);
            let output = run(Path::new("."), &line, input);
            (text(&output), output.status.code())
        };
        let nodes: Vec<String> = (0..6).map(address).collect();
        let mut line = vec!["create", "--replicas", "1"];
        line.extend(nodes.iter().map(String::as_str));
        let (created, code) = trib(&line, "yes\n");
        assert_eq!(code, Some(0), "{created}");
        let using = format!("Using 3 masters:\n{}\n{}\n{}\n", address(0), address(1), address(2));
        for expected in [">>> Creating cluster\n>>> Performing hash slots allocation on 6 nodes...\n", &using]
        {
            assert!(created.contains(expected), "{expected} in {created}");
        }
        assert!(created.contains("   slots:0-5460 (5461 slots) master\n"), "{created}");
        cluster.wait_until_settled();

        let (checked, code) = trib(&["check", &address(0)], "");
        assert_eq!(code, Some(0), "{checked}");
        assert!(checked.starts_with(">>> Performing Cluster Check (using node "), "{checked}");
        assert_eq!(checked.matches("   slots: (0 slots) slave\n").count(), 3, "{checked}");
        let (shown, _) = trib(&["info", &address(0)], "");
        assert!(shown.contains("[OK] 0 keys in 3 masters.\n0.00 keys per slot on average.\n"), "{shown}");
        let (called, code) = trib(&["call", &address(0), "ping"], "");
        assert_eq!((called.matches(": PONG\n").count(), code), (6, Some(0)), "{called}");
        let (set, code) = trib(&["set-timeout", &address(0), "3000"], "");
        assert!(set.contains(">>> New node timeout set. 6 OK, 0 ERR.") && code == Some(0), "{set}");

        let (source, target) = (cluster.id(0), cluster.id(1));
        let line = ["reshard", "--from", &source, "--to", &target, "--slots", "200", "--yes", &address(0)];
        let (moved, code) = trib(&line, "");
        assert_eq!((moved.matches("Moving slot").count(), code), (400, Some(0)), "{moved}");
        cluster.wait_until_settled();
        let (balanced, code) = trib(&["rebalance", "--threshold", "1", &address(0)], "");
        assert!(balanced.contains(">>> Rebalancing across 3 nodes. Total weight = 3\n"), "{balanced}");
        assert_eq!(code, Some(0), "{balanced}");
        cluster.wait_until_settled();
        let (fixed, code) = trib(&["fix", &address(0)], "");
        assert!(fixed.contains("[OK] All 16384 slots covered.") && code == Some(0), "{fixed}");

        let (added, code) = trib(&["add-node", &extra.address(), &address(0)], "");
        assert!(added.ends_with("[OK] New node added correctly.\n") && code == Some(0), "{added}");
        eventually(LATER, "all know it", || (0..6).all(|index| cluster.table(index).len() == 7));
        let removed_id = extra.call(&["CLUSTER", "MYID"]);
        let (removed, code) = trib(&["del-node", &address(0), &removed_id], "");
        assert!(removed.ends_with(">>> SHUTDOWN the node.\n") && code == Some(0), "{removed}");
        let port = extra.port();
        eventually(LATER, "it has ended", || Connection::open("127.0.0.1", port).is_none());
        assert_eq!(
            trib(&["nonsense"], ""),
            ("Unknown redis-trib subcommand 'nonsense'\n".to_owned(), Some(1))
        );
        let (help, code) = trib(&["help"], "");
        assert!(
            help.starts_with("Usage: redis-trib <command> <options> <arguments ...>\n") && code == Some(0)
        );
    }
}

/// A primary with a replica gives everything to the others and leaves; nothing is lost, and the plan can be seen before.
#[test]
fn drain_node() {
    let cluster = Cluster::start((0..4).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.meet();
    for (index, (first, last)) in
        [("0", "8000"), ("8001", "16283"), ("16284", "16383")].into_iter().enumerate()
    {
        assert_eq!(cluster.nodes[index].call(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "OK");
    }
    let third = cluster.id(2);
    eventually(LATER, "the replica knows its primary", || {
        cluster.nodes[3].call(&["CLUSTER", "REPLICATE", &third]) == "OK"
    });
    cluster.wait_until_settled();
    let keys = 3000;
    for key in 0..keys {
        let owner = cluster.owner(&format!("key:{key}"));
        assert_eq!(cluster.nodes[owner].call(&["SET", &format!("key:{key}"), "value"]), "OK");
    }
    let id = cluster.id(2);
    let drain = |options: &[&str], input: &str| {
        let address = cluster.nodes[0].address();
        let mut line = vec![SHOAL, "cli", "--cluster", "drain", &address, &id];
        line.extend(options);
        let output = run(Path::new("."), &line, input);
        (text(&output), output.status.code())
    };
    let (planned, code) = drain(&["--json", "--cluster-simulate"], "");
    assert_eq!(code, Some(0), "{planned}");
    let plan: serde_json::Value = serde_json::from_str(&planned).unwrap();
    let steps = plan["transfers"].as_array().unwrap();
    let slots: u64 = steps.iter().map(|step| step["slot_count"].as_u64().unwrap()).sum();
    assert_eq!((steps.len(), slots), (1, 100), "{planned}");
    let (refused, code) = drain(&[], "no\n");
    assert!(refused.contains("Do you want to move these slots?") && code == Some(1), "{refused}");
    assert_eq!(cluster.line(0, 2).unwrap().slots, ["16284-16383"], "nothing has moved");

    let (drained, code) = drain(&["--json", "--cluster-yes", "--cluster-delete"], "");
    assert_eq!(code, Some(0), "{drained}");
    let report: serde_json::Value = serde_json::from_str(&drained).unwrap();
    assert_eq!((&report["ok"], &report["deleted"]), (&true.into(), &true.into()), "{drained}");
    eventually(LATER, "the others know each other only", || {
        [0, 1, 3].iter().all(|&index| cluster.table(index).len() == 3)
    });
    let counts: Vec<String> = [0, 1].iter().map(|&index| cluster.nodes[index].call(&["DBSIZE"])).collect();
    let total: usize = counts.iter().map(|count| count.parse::<usize>().unwrap()).sum();
    assert_eq!(total, keys, "{counts:?}");
    let address = cluster.nodes[0].address();
    let checked = text(&run(Path::new("."), &[SHOAL, "cli", "--cluster", "check", &address], ""));
    assert!(checked.contains("[OK] All 16384 slots covered."), "{checked}");
}
