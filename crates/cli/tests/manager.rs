//! The cluster manager beside that of the real client, on clusters of real servers.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::time::{Duration, Instant};
use support::{Server, our_client, real_client, run};

fn start_nodes(count: usize) -> Vec<Server> {
    (0..count)
        .map(|_| Server::start(&["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]))
        .collect()
}

fn addresses(servers: &[Server]) -> Vec<String> {
    servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect()
}

/// Text with ids and ports replaced by the number of the server, and without the dots of waiting.
fn normalize(text: &str, servers: &[Server]) -> String {
    let mut text = text.to_owned();
    for (index, server) in servers.iter().enumerate() {
        text = text.replace(server.real(&["CLUSTER", "MYID"]).trim(), &format!("ID{index}"));
        text = text.replace(&format!(":{}", server.port), &format!(":PORT{index}"));
    }
    text.lines().filter(|line| line.bytes().any(|byte| byte != b'.')).collect::<Vec<_>>().join("\n")
}

/// All nodes know the roles and the slots of all nodes.
fn wait_until_settled(servers: &[Server]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let settled = |server: &Server| {
        let nodes = server.real(&["CLUSTER", "NODES"]);
        nodes.lines().count() == servers.len()
            && server.real(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
            && nodes.lines().filter(|line| line.contains("slave")).count() == servers.len() / 2
    };
    while !servers.iter().all(settled) {
        assert!(Instant::now() < deadline, "the cluster does not settle");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run_both(line: &[&str], input: &[u8]) -> [(String, String, Option<i32>); 2] {
    [real_client(), our_client()].map(|client| {
        let output = run(client, line, input, &[]);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        (out, support::error_without_hints(&output), output.status.code())
    })
}

#[test]
fn create_holds_the_same_dialogue() {
    let mut outputs = Vec::new();
    for client in [real_client(), our_client()] {
        let servers = start_nodes(3);
        let addresses = addresses(&servers);
        let mut line = vec!["--cluster", "create"];
        line.extend(addresses.iter().map(String::as_str));
        let output = run(client, &line, b"yes\n", &[]);
        assert_eq!(output.status.code(), Some(0));
        let text = normalize(&String::from_utf8_lossy(&output.stdout), &servers);
        // After joining, a server lists the others in random order.
        let (before, after) = text.split_once(">>> Performing Cluster Check").unwrap();
        let mut lines: Vec<_> = after.lines().collect();
        lines.sort_unstable();
        outputs.push((before.to_owned(), lines.join("\n")));
    }
    assert_eq!(outputs[0], outputs[1]);
    assert!(outputs[1].0.contains("M: ID1 127.0.0.1:PORT1\n   slots:[5461-10922] (5462 slots) master"));
}

#[test]
fn a_cluster_with_replicas_is_created_checked_and_used() {
    let servers = start_nodes(6);
    let addresses = addresses(&servers);
    let mut line = vec!["--cluster", "create"];
    line.extend(addresses.iter().map(String::as_str));
    line.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let output = run(our_client(), &line, b"", &[]);
    let text = normalize(&String::from_utf8_lossy(&output.stdout), &servers);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        ">>> Performing hash slots allocation on 6 nodes...\nMaster[0] -> Slots 0 - 5460\nMaster[1] -> Slots 5461 - 10922\n",
        "Adding replica 127.0.0.1:PORT4 to 127.0.0.1:PORT0\nAdding replica 127.0.0.1:PORT5 to 127.0.0.1:PORT1\n",
        "[WARNING] Some slaves are in the same host as their master\nM: ID0 127.0.0.1:PORT0\n",
        "[OK] All nodes agree about slots configuration.\n>>> Check for open slots...\n",
        "[OK] All 16384 slots covered.",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    wait_until_settled(&servers);
    the_manager_agrees(&addresses);
    redirections_are_followed(&servers);
    the_second_creation_is_refused(&addresses);
    open_slots_are_reported(&servers, &addresses);
}

fn the_manager_agrees(addresses: &[String]) {
    let (host, port) = addresses[0].split_once(':').unwrap();
    for line in [
        vec!["--cluster", "check", &addresses[0]],
        vec!["--cluster", "check", host, port, "--cluster-search-multiple-owners"],
        vec!["--cluster", "info", &addresses[4]],
        vec!["--cluster", "call", &addresses[1], "ping"],
        vec!["--cluster", "call", &addresses[1], "config", "get", "maxmemory", "--cluster-only-replicas"],
        vec!["--cluster", "call", &addresses[1], "get", "--cluster-only-masters"],
        vec!["--cluster", "check", "nonsense"],
        vec!["--cluster", "check", "127.0.0.1:1"],
        vec!["--cluster", "nosuch"],
        vec!["--cluster", "create", &addresses[0]],
        vec!["--cluster", "check"],
    ] {
        let [real, ours] = run_both(&line, b"");
        assert_eq!(real, ours, "{line:?}");
    }
    let output = run(our_client(), &["--cluster", "check", &addresses[0], "--json"], b"", &[]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["nodes"].as_array().map(Vec::len), Some(6));
    let output = run(our_client(), &["--cluster", "info", &addresses[0], "--json"], b"", &[]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["primaries"].as_array().map(Vec::len), Some(3));
    let output = run(our_client(), &["--json", "--cluster", "call", &addresses[0], "nosuch"], b"", &[]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report[&addresses[0]]["error"].as_str().unwrap().starts_with("ERR unknown command"));
}

fn redirections_are_followed(servers: &[Server]) {
    let port = servers[0].port.to_string();
    for (line, input) in [
        (vec!["-p", &port, "-c", "SET", "foo", "bar"], &b""[..]),
        (vec!["-p", &port, "-c", "-r", "2", "GET", "foo"], b""),
        (vec!["-p", &port, "GET", "foo"], b""),
        (vec!["-p", &port, "-c", "--no-raw"], b"SET foo 1\nSET bar 2\nMULTI\nSET bar 3\nSET foo 4\nEXEC\n"),
        (vec!["-p", &port, "-c", "-3", "--json"], b"GET foo\nGET bar\nCLUSTER KEYSLOT foo\n"),
    ] {
        let [real, ours] = run_both(&line, input);
        assert_eq!(real, ours, "{line:?}");
    }
}

fn the_second_creation_is_refused(addresses: &[String]) {
    let mut line = vec!["--cluster", "create"];
    line.extend(addresses.iter().map(String::as_str));
    let [real, ours] = run_both(&line, b"");
    assert_eq!(real, ours);
}

fn open_slots_are_reported(servers: &[Server], addresses: &[String]) {
    let id = servers[1].real(&["CLUSTER", "MYID"]);
    assert_eq!(servers[0].real(&["CLUSTER", "SETSLOT", "7", "MIGRATING", id.trim()]), "OK\n");
    let [real, ours] = run_both(&["--cluster", "check", &addresses[0]], b"");
    assert_eq!(real, ours);
    assert_eq!(ours.2, Some(1));
    assert_eq!(servers[0].real(&["CLUSTER", "SETSLOT", "7", "STABLE"]), "OK\n");
    assert_eq!(servers[0].real(&["CLUSTER", "DELSLOTS", "9"]), "OK\n");
    let [real, ours] = run_both(&["--cluster", "check", &addresses[0]], b"");
    assert_eq!(real, ours);
}

#[test]
fn fewer_than_three_primaries_and_plain_servers_are_refused() {
    let servers = start_nodes(2);
    let addresses = addresses(&servers);
    let [real, ours] = run_both(&["--cluster", "create", &addresses[0], &addresses[1]], b"");
    assert_eq!(real, ours);
    let plain = Server::start(&[]);
    let address = format!("127.0.0.1:{}", plain.port);
    let [real, ours] = run_both(&["--cluster", "check", &address], b"");
    assert_eq!(real, ours);
    let [real, ours] = run_both(&["--cluster", "create", &addresses[0], "127.0.0.1:1"], b"");
    assert_eq!(real, ours);
    let later = run(our_client(), &["--cluster", "reshard", &addresses[0]], b"", &[]);
    assert_eq!(later.status.code(), Some(1));
}

#[test]
fn the_password_goes_to_every_node() {
    let password = ["--cluster-enabled", "yes", "--requirepass", "secret", "--masterauth", "secret"];
    let servers: Vec<_> = (0..3).map(|_| Server::start(&password)).collect();
    let addresses = addresses(&servers);
    let mut line = vec!["--cluster", "create"];
    line.extend(addresses.iter().map(String::as_str));
    let [real, ours] = run_both(&line, b"");
    assert_eq!(real, ours);
    assert_eq!(ours.2, Some(1));
    line.extend(["-a", "secret", "--cluster-yes"]);
    let output = run(our_client(), &line, b"", &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Warning: Using a password with '-a'"));
    for line in [
        vec!["--cluster", "check", &addresses[1], "-a", "secret", "--no-auth-warning"],
        vec![
            "-a",
            "secret",
            "--no-auth-warning",
            "--cluster",
            "call",
            &addresses[1],
            "cluster",
            "countkeysinslot",
            "1",
        ],
        vec!["--cluster", "info", &addresses[1], "-a", "wrong", "--no-auth-warning"],
    ] {
        let [real, ours] = run_both(&line, b"");
        assert_eq!(real, ours, "{line:?}");
    }
}
