//! `shoal up`, `down` and `status`, with our own nodes and with those of an installed `redis-server`.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod support;

use support::{ClusterSlot, SHOAL};

/// Options for nodes of an installed server instead of our own.
const REAL: &str = "--server-binary redis-server";
const DEADLINE: Duration = Duration::from_secs(60);

/// A directory and ports of one test; the nodes in it are stopped with it.
struct Place {
    path: PathBuf,
    port: u16,
    options: &'static str,
    _turn: ClusterSlot,
}

impl Place {
    fn new(name: &str, first_try: u16, options: &'static str) -> Self {
        let turn = ClusterSlot::take();
        let path = std::env::temp_dir().join(format!("shoal-launcher-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        // Neither these ports nor their bus ports are used by other tests, or given to outgoing connections.
        let port = (first_try..first_try + 500)
            .step_by(10)
            .find(|base| (*base..base + 6).all(|port| is_free(port) && is_free(port + 10000)));
        Self { path, port: port.unwrap(), options, _turn: turn }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(SHOAL);
        command.args(words.split_whitespace()).current_dir(&self.path).stdin(Stdio::null());
        command
    }

    fn up(&self, words: &str) -> Command {
        let port = format!("--port {}", self.port);
        self.command(&format!("up {} {port} {words}", self.options))
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().unwrap()
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.run("status --json").stdout).unwrap()
    }

    fn pid(&self, index: u16) -> String {
        let path = self.path.join(format!("shoal-data/{}/redis.pid", self.port + index));
        fs::read_to_string(path).unwrap().trim().to_string()
    }

    fn redis_cli(&self, index: u16, words: &str) -> String {
        let port = (self.port + index).to_string();
        let output =
            Command::new("redis-cli").args(["-c", "-p", &port]).args(words.split(' ')).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run("down");
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn kill(signal: &str, process: &str) {
    assert!(Command::new("kill").args(["-s", signal, process]).status().unwrap().success());
}

fn wait_for(what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(start.elapsed() < DEADLINE, "no {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Reads the lines of a launcher that stays, up to one that contains `wanted`.
fn read_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, wanted: &str) -> String {
    let mut seen = String::new();
    for line in lines {
        let line = line.unwrap();
        seen.push_str(&line);
        seen.push('\n');
        if line.contains(wanted) {
            return seen;
        }
    }
    panic!("no {wanted:?} in {seen}");
}

fn end(mut child: Child) -> Option<i32> {
    let mut status = None;
    wait_for("end of the launcher", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code()
}

#[test]
fn a_cluster_comes_up_goes_down_and_keeps_its_data() {
    live(&Place::new("own", 20_000, ""));
}

#[test]
fn a_cluster_of_real_nodes_comes_up_goes_down_and_keeps_its_data() {
    live(&Place::new("real", 20_500, REAL));
}

/// Up in the foreground, a node lost, interrupted, up again with the same data, down.
fn live(place: &Place) {
    let mut child = place.up("").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let table = read_until(&mut lines, "The data stays in");
    assert_eq!(table.matches(" primary ").count(), 3, "{table}");
    assert_eq!(table.matches(" replica ").count(), 3, "{table}");
    assert!(table.contains("10923-16383"), "{table}");
    assert!(table.contains(&format!("shoal cli -c -p {}", place.port)), "{table}");
    assert!(table.contains(&place.pid(5)), "{table}");
    assert_eq!(place.redis_cli(0, "set foo bar"), "OK");

    // A node that is lost is named; its replica takes over while the launcher stays.
    let lost = place.redis_cli(0, "cluster keyslot foo");
    assert_eq!(lost, "12182", "the third primary owns it");
    // Redis counts a replica as online a moment before it sends it changes.
    wait_for("replication", || place.redis_cli(5, "dbsize") == "1");
    kill("KILL", &place.pid(2));
    let said = read_until(&mut lines, "killed by signal 9");
    assert!(said.contains(&format!("Node 127.0.0.1:{} was", place.port + 2)), "{said}");
    wait_for("failover", || place.redis_cli(0, "get foo") == "bar");
    assert_eq!(place.status()["state"], "degraded");

    kill("INT", &child.id().to_string());
    read_until(&mut lines, "All nodes have stopped");
    assert_eq!(end(child), Some(0));
    assert_eq!(place.status()["state"], "stopped");

    let again = place.up("--detach").output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert_eq!(place.redis_cli(0, "get foo"), "bar");
    let status = place.status();
    assert_eq!(status["state"], "ok");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 6);
    assert_eq!(status["nodes"][2]["role"], "replica", "it came back as replica");

    let down = place.run("down");
    assert_eq!(down.status.code(), Some(0));
    assert!(text(&down.stdout).contains("All nodes have stopped"));
    assert!(text(&place.run("down").stdout).contains("No node"));
}

#[test]
fn sizes_and_a_fresh_start() {
    let place = Place::new("sizes", 21_000, "");
    let up = |words: &str| {
        let output = place.up(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words}: {}", text(&output.stderr));
    };
    up("--nodes 3 --replicas 0 --detach");
    let status = place.status();
    assert_eq!((&status["state"], status["nodes"].as_array().map(Vec::len)), (&Value::from("ok"), Some(3)));
    assert!(status["nodes"].as_array().unwrap().iter().all(|node| node["role"] == "primary"), "{status}");
    assert_eq!(place.redis_cli(1, "set foo bar"), "OK");

    // A node that died is reported, and comes back with its data when the cluster is started again.
    kill("KILL", &place.pid(0));
    wait_for("a dead node in the status", || place.status()["state"] != "ok");
    let output = place.run("status");
    assert!(text(&output.stdout).contains(&place.port.to_string()), "{}", text(&output.stdout));
    assert!(text(&place.run("down").stdout).contains("All nodes have stopped"));
    up("--detach");
    assert_eq!(place.status()["state"], "ok");
    assert_eq!(place.redis_cli(1, "get foo"), "bar");
    assert!(text(&place.run("down").stdout).contains("All nodes have stopped"));

    up("--fresh --nodes 4 --replicas 0 --detach");
    let status = place.status();
    assert_eq!((&status["state"], status["nodes"].as_array().map(Vec::len)), (&Value::from("ok"), Some(4)));
    assert_eq!(place.redis_cli(1, "get foo"), "", "nothing of the old data is left");
}

#[test]
fn mistakes_get_an_answer_that_helps() {
    let place = Place::new("mistakes", 21_500, REAL);
    let fails = |command: &mut Command, wanted: &str| {
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(wanted), "{wanted:?} is not in {said}");
    };
    fails(&mut place.command("status"), "there is no cluster in ./shoal-data. `shoal up` makes one.");
    fails(&mut place.command("down"), "there is no cluster");
    fails(&mut place.up("--nodes 4"), "Use --nodes 6 or more");

    let listener = TcpListener::bind(("127.0.0.1", place.port + 10003)).unwrap();
    fails(&mut place.up(""), &format!("in use by other programs: {}", place.port + 10003));
    drop(listener);
    assert!(!place.path.join("shoal-data/shoal.json").exists(), "nothing was begun");

    // A node that cannot start shows why, and leaves something half made that says so.
    let port = place.port.to_string();
    let mut broken = place.command("up --server-binary false");
    fails(broken.args(["--port", &port]), "has ended with exit code 1. The end of its log");
    fails(&mut place.up(""), "is half made");
    fails(&mut place.command("status"), "is half made");

    let fresh = place.up("--fresh --detach").output().unwrap();
    assert_eq!(fresh.status.code(), Some(0), "{}", text(&fresh.stderr));
    fails(&mut place.up(""), "is running already");
    fails(&mut place.up("--fresh"), "Stop it with `shoal down`");
    fails(&mut place.up("--nodes 9"), "holds a cluster of 6 nodes");
    place.run("down");
    fs::remove_file(place.path.join(format!("shoal-data/{port}/nodes.conf"))).unwrap();
    fails(&mut place.up(""), &format!("{port}/nodes.conf is missing"));

    fs::create_dir_all(place.path.join("mine")).unwrap();
    fs::write(place.path.join("mine/notes"), "").unwrap();
    fails(&mut place.up("--dir mine"), "holds files that are not shoal's (notes)");
}
