//! What the manager does to a cluster, beside the real client doing it to another one: the same words, the same outcome.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};
use support::{Server, converse, our_client, real_client, run};

/// Three primaries that share the slots, and `extra` nodes that belong to nothing.
struct Nodes {
    servers: Vec<Server>,
}

impl Nodes {
    fn new(extra: usize) -> Self {
        let start = || Server::start(&["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]);
        let nodes = Self { servers: (0..3 + extra).map(|_| start()).collect() };
        let addresses: Vec<String> = (0..3).map(|index| nodes.address(index)).collect();
        let mut line = vec!["--cluster", "create"];
        line.extend(addresses.iter().map(String::as_str));
        line.push("--cluster-yes");
        assert_eq!(run(our_client(), &line, b"", &[]).status.code(), Some(0));
        nodes.wait(3);
        nodes
    }

    fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.servers[index].port)
    }

    fn id(&self, index: usize) -> String {
        self.servers[index].real(&["CLUSTER", "MYID"]).trim().to_owned()
    }

    /// Takes a slot from everybody. A message on its way may bring it back to a node that has dropped it.
    fn unassign(&self, slot: &str) {
        let deadline = Instant::now() + Duration::from_secs(40);
        let drop =
            |server: &Server| server.real(&["CLUSTER", "DELSLOTS", slot]).contains("already unassigned");
        while self.servers.iter().filter(|server| !drop(server)).count() > 0 {
            assert!(Instant::now() < deadline, "slot {slot} is somebody's");
        }
    }

    /// Waits until so many nodes see the same slots and roles, and serve.
    fn wait(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(40);
        let view = |server: &Server| {
            let text = server.real(&["CLUSTER", "NODES"]);
            let mut lines: Vec<String> = text
                .lines()
                .map(|line| {
                    let words: Vec<&str> = line.split(' ').collect();
                    let flags = words[2].replace("myself,", "");
                    format!("{} {flags} {} {}", words[0], words[3], words[8..].join(" "))
                })
                .collect();
            lines.sort();
            lines
        };
        loop {
            let views: Vec<_> = self.servers[..count].iter().map(view).collect();
            let serves = |server: &Server| server.real(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
            let settled = views.iter().all(|view| *view == views[0] && view.len() == count)
                && self.servers[..count].iter().all(serves)
                && !views[0].iter().any(|line| line.contains("handshake") || line.contains("fail"));
            if settled {
                return;
            }
            assert!(Instant::now() < deadline, "the cluster does not settle: {views:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs the manager; the outcome with ids and ports as numbers of nodes.
    fn manage(&self, client: fn() -> Command, words: &[&str], input: &[u8]) -> (String, String, Option<i32>) {
        let mut line = vec!["--cluster"];
        line.extend(words);
        let output = run(client(), &line, input, &[]);
        let out = self.normalize(&String::from_utf8_lossy(&output.stdout));
        let err = self.normalize(&support::error_without_hints(&output));
        (out, err, output.status.code())
    }

    fn normalize(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for index in 0..self.servers.len() {
            text = text.replace(&self.id(index), &format!("ID{index}"));
            text = text.replace(&format!(":{}", self.servers[index].port), &format!(":PORT{index}"));
            text = text.replace(&format!("-{}-", self.servers[index].port), &format!("-PORT{index}-"));
        }
        // After joining, a server lists the others in random order.
        text.lines().filter(|line| !line.bytes().all(|byte| byte == b'.')).collect::<Vec<_>>().join("\n")
    }

    /// How many slots each of the nodes owns, as the first one sees it.
    fn slot_counts(&self) -> Vec<usize> {
        let text = self.servers[0].real(&["CLUSTER", "NODES"]);
        let count = |index: usize| {
            let id = self.id(index);
            let Some(line) = text.lines().find(|line| line.starts_with(&id)) else { return 0 };
            let ranges = line.split(' ').skip(8).filter(|word| !word.starts_with('['));
            ranges
                .map(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
                })
                .sum()
        };
        (0..self.servers.len()).map(count).collect()
    }

    fn fill(&self, keys: usize) {
        let mut input = Vec::new();
        for key in 0..keys {
            input.extend_from_slice(format!("SET key:{key} value:{key}\n").as_bytes());
        }
        let port = self.servers[0].port.to_string();
        assert_eq!(run(real_client(), &["-c", "-p", &port], &input, &[]).status.code(), Some(0));
    }

    fn key_count(&self, count: usize) -> usize {
        let sizes = self.servers[..count].iter().map(|server| server.real(&["DBSIZE"]));
        sizes.map(|size| size.trim().parse::<usize>().unwrap()).sum()
    }
}

/// The lines in an order of their own: nodes are listed in no fixed order. The same holds for open slots in one line, and a
/// short id says nothing.
fn sorted(text: &str) -> Vec<String> {
    let plain = |line: &str| {
        if let Some((before, slots)) = line.split_once("slots are open: ") {
            let mut slots: Vec<_> = slots.trim_end_matches('.').split(',').collect();
            slots.sort_unstable();
            return format!("{before}{slots:?}");
        }
        match line.split_once("...) -> ") {
            Some((before, after)) => format!("{} {after}", before.split(' ').next().unwrap_or_default()),
            None => line.to_owned(),
        }
    };
    let mut lines: Vec<String> = text.lines().map(plain).collect();
    lines.sort();
    lines
}

#[test]
fn reshard_holds_the_same_dialogue() {
    let mut outcomes = Vec::new();
    for client in [real_client as fn() -> Command, our_client] {
        let nodes = Nodes::new(0);
        nodes.fill(300);
        let converse = |answers: &[(&str, &str)]| {
            let (out, code) = converse(client(), &["--cluster", "reshard", &nodes.address(0)], answers);
            (sorted(&nodes.normalize(&out)), code)
        };
        let (count, receiver) =
            ("How many slots do you want to move (from 1 to 16384)? ", "What is the receiving node ID? ");
        let proceed = "Do you want to proceed with the proposed reshard plan (yes/no)? ";
        let ids: Vec<String> = (0..3).map(|index| nodes.id(index)).collect();
        let refused = converse(&[(count, "0"), (count, "20"), (receiver, "nonsense")]);
        let asked = converse(&[
            (count, "20"),
            (receiver, &ids[1]),
            ("Source node #1: ", &ids[1]),
            ("Source node #1: ", &ids[0]),
            ("Source node #2: ", "done"),
            (proceed, "yes"),
        ]);
        nodes.wait(3);
        let (from, to) = (nodes.id(2), nodes.id(0));
        let line = [
            "reshard",
            &nodes.address(1),
            "--cluster-from",
            &from,
            "--cluster-to",
            &to,
            "--cluster-slots",
            "7",
            "--cluster-yes",
        ];
        let given = nodes.manage(client, &line, b"");
        nodes.wait(3);
        let declined =
            converse(&[(count, "5"), (receiver, &ids[0]), ("Source node #1: ", "all"), (proceed, "no")]);
        let given = (sorted(&given.0), given.2);
        let texts = [refused, asked, given, declined];
        assert_eq!(nodes.key_count(3), 300);
        outcomes.push((texts, nodes.slot_counts()));
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[1].1, [5461 - 20 + 7, 5462 + 20, 5461 - 7]);
}

#[test]
fn nodes_come_and_go_alike() {
    let mut outcomes = Vec::new();
    for client in [real_client as fn() -> Command, our_client] {
        let nodes = Nodes::new(2);
        let (new, old) = (nodes.address(3), nodes.address(0));
        let added = nodes.manage(client, &["add-node", &new, &old], b"");
        nodes.wait(4);
        let again = nodes.manage(client, &["add-node", &new, &old], b"");
        let unknown =
            ["add-node", &nodes.address(4), &old, "--cluster-slave", "--cluster-master-id", "nobody"];
        let unknown = nodes.manage(client, &unknown, b"");
        let primary = nodes.id(1);
        let replica =
            ["add-node", &nodes.address(4), &old, "--cluster-slave", "--cluster-master-id", &primary];
        let replica = nodes.manage(client, &replica, b"");
        nodes.wait(5);
        let simulated = ["rebalance", &old, "--cluster-use-empty-masters", "--cluster-simulate"];
        let simulated = nodes.manage(client, &simulated, b"");
        let balanced = nodes.manage(client, &["rebalance", &old, "--cluster-use-empty-masters"], b"");
        nodes.wait(5);
        let again_balanced = nodes.manage(client, &["rebalance", &old], b"");
        let counts = nodes.slot_counts();
        let id = nodes.id(3);
        let full = nodes.manage(client, &["del-node", &old, &id], b"");
        let weight = format!("{id}=0");
        let emptied = nodes.manage(client, &["rebalance", &old, "--cluster-weight", &weight], b"");
        nodes.wait(5);
        let removed = nodes.manage(client, &["del-node", &old, &id], b"");
        let gone = nodes.manage(client, &["del-node", &old, &id], b"");
        let timeout = nodes.manage(client, &["set-timeout", &old, "7000"], b"");
        let short = nodes.manage(client, &["set-timeout", &old, "99"], b"");
        let texts = [
            added,
            again,
            unknown,
            replica,
            simulated,
            balanced,
            again_balanced,
            full,
            emptied,
            removed,
            gone,
            short,
        ];
        // Where servers have no configuration file, the real client's exit code is 0 all the same.
        let timeout = (sorted(&timeout.0), timeout.1);
        outcomes.push((texts.map(|(out, err, code)| (sorted(&out), err, code)), timeout, counts));
    }
    let (real, ours) = (&outcomes[0], &outcomes[1]);
    for (index, (real, ours)) in real.0.iter().zip(&ours.0).enumerate() {
        assert_eq!(real, ours, "step {index}");
    }
    assert_eq!((&real.1, &real.2), (&ours.1, &ours.2));
    assert_eq!(ours.2, [4096, 4096, 4096, 4096, 0]);
}

#[test]
fn broken_slots_are_mended_alike() {
    let mut outcomes = Vec::new();
    for client in [real_client as fn() -> Command, our_client] {
        let nodes = Nodes::new(0);
        nodes.fill(200);
        let set = |index: usize, words: &[&str]| {
            let mut line = vec!["CLUSTER", "SETSLOT"];
            line.extend(words);
            assert_eq!(nodes.servers[index].real(&line), "OK\n", "{words:?}");
        };
        let ids: Vec<String> = (0..3).map(|index| nodes.id(index)).collect();
        // Slot 1 is on its way from 0 to 1; slot 2 is only said to leave; slot 6000 only to arrive.
        set(1, &["1", "IMPORTING", &ids[0]]);
        set(0, &["1", "MIGRATING", &ids[1]]);
        set(0, &["2", "MIGRATING", &ids[1]]);
        set(2, &["6000", "IMPORTING", &ids[1]]);
        let opened = nodes.manage(client, &["fix", &nodes.address(0)], b"");
        nodes.wait(3);
        let checked = nodes.manage(client, &["check", &nodes.address(0)], b"");
        // Nobody owns slot 16000, and nobody has keys of it. (So nobody serves, and there is nothing to wait for.)
        nodes.unassign("16000");
        let declined = nodes.manage(client, &["fix", &nodes.address(0)], b"no\n");
        let (covered, _, code) = nodes.manage(client, &["fix", &nodes.address(0)], b"yes\n");
        // By a node at random.
        let covered =
            covered.lines().map(|line| line.split(" with 127").next().unwrap_or_default().to_owned());
        let covered: Vec<String> = covered.collect();
        nodes.wait(3);
        let sound = nodes.manage(client, &["check", &nodes.address(0)], b"").2;
        let texts = [opened, checked, declined].map(|(out, err, code)| (sorted(&out), err, code));
        assert_eq!(nodes.key_count(3), 200);
        outcomes.push((texts, sorted(&covered.join("\n")), code, sound));
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!((outcomes[1].2, outcomes[1].3), (Some(0), Some(0)));
}

#[test]
fn keys_come_in_and_are_backed_up() {
    let directory = std::env::temp_dir().join(format!("shoal-backup-{}", std::process::id()));
    let mut outcomes = Vec::new();
    for client in [real_client as fn() -> Command, our_client] {
        let nodes = Nodes::new(0);
        let plain = Server::start(&[]);
        for key in 0..50 {
            assert_eq!(plain.real(&["SET", &format!("key:{key}"), "value"]), "OK\n");
        }
        let from = format!("127.0.0.1:{}", plain.port);
        let copied = nodes.manage(
            client,
            &["import", &nodes.address(0), "--cluster-from", &from, "--cluster-copy"],
            b"",
        );
        assert_eq!((nodes.key_count(3), plain.real(&["DBSIZE"])), (50, "50\n".to_owned()));
        let moved = nodes.manage(
            client,
            &["import", &nodes.address(0), "--cluster-from", &from, "--cluster-replace"],
            b"",
        );
        assert_eq!((nodes.key_count(3), plain.real(&["DBSIZE"])), (50, "0\n".to_owned()));
        let missing = nodes.manage(client, &["import", &nodes.address(0)], b"");
        let wrong =
            nodes.manage(client, &["import", &nodes.address(0), "--cluster-from", &nodes.address(1)], b"");
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.to_str().unwrap();
        let (out, _, code) = nodes.manage(client, &["backup", &nodes.address(0), path], b"");
        let mut files: Vec<String> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| nodes.normalize(entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        files.sort();
        let described = std::fs::read_to_string(directory.join("nodes.json")).unwrap();
        let described: Vec<serde_json::Value> = serde_json::from_str(&described).unwrap();
        let mut described: Vec<String> =
            described.iter().map(|node| nodes.normalize(&node.to_string())).collect();
        described.sort();
        std::fs::remove_dir_all(&directory).unwrap();
        let from = from.clone();
        let texts = [copied, moved, missing, wrong]
            .map(|(out, err, code)| (sorted(&out.replace(&from, "SOURCE")), err, code));
        outcomes.push((texts, sorted(&out), code, files, described));
    }
    assert_eq!(outcomes[0], outcomes[1]);
}
