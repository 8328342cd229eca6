//! Slots nobody serves, a cluster made by hand, redirects, and commands with several keys.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::io::Write;
use std::process::{Command, Stdio};

use shoal_protocol::slot::key_slot;
use shoal_protocol::value::Value;

use crate::support::cluster::key_of;
use crate::support::{Cluster, Kind, LATER, SHOAL, Server, eventually};

/// What the document types at the prompt of `redis-cli -c`.
const SESSION: &str = "\
set k1 adfsadfs
get k1
set k2 hah
set k3 sdfsf
set hello 2343
get hello
watch k3
multi
get k3
exec
multi
set k1 sdfsfsf
set k3 sdfsdf
exec
multi
set {haha}k1 12
set {haha}k3 13
exec
";

/// A node in cluster mode to which no slot was assigned refuses every key.
#[test]
fn clusterdown_before_slots() {
    let node = Server::shoal("cluster-enabled yes");
    let refused = "CLUSTERDOWN Hash slot not served";
    assert_eq!(node.call(&["SET", "hello", "world"]), refused);
    assert_eq!(node.call(&["GET", "hello"]), refused);
    assert_eq!(node.cli(&["-c", "set", "hello", "world"]), refused);
    assert_eq!(node.cli(&["--no-raw", "set", "hello", "world"]), format!("(error) {refused}"));
    assert_eq!(node.call(&["PING"]), "PONG");
    assert!(node.call(&["CLUSTER", "INFO"]).contains("cluster_slots_assigned:0"));
}

/// CLUSTER MEET, ADDSLOTS and REPLICATE by hand build what the manager would.
#[test]
fn cluster_native_setup() {
    let cluster = Cluster::start((0..6).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.meet();
    // One slot after another in one call, as old scripts do.
    for (index, (first, last)) in [(0, 5460), (5461, 10922), (10923, 16383)].into_iter().enumerate() {
        let slots: Vec<String> = (first..=last).map(|slot: u16| slot.to_string()).collect();
        let mut words = vec!["CLUSTER", "ADDSLOTS"];
        words.extend(slots.iter().map(String::as_str));
        assert_eq!(cluster.nodes[index].call(&words), "OK");
        let busy = format!("ERR Slot {first} is already busy");
        assert_eq!(cluster.nodes[index].call(&["CLUSTER", "ADDSLOTS", &first.to_string()]), busy);
    }
    for index in 3..6 {
        let primary = cluster.id(index - 3);
        assert_eq!(cluster.nodes[index].call(&["CLUSTER", "REPLICATE", &primary]), "OK");
    }
    cluster.wait_until_settled();
    for observer in 0..6 {
        let expect = |name: &str, value: &str| {
            assert_eq!(cluster.cluster_info(observer, name).as_deref(), Some(value), "{name}");
        };
        expect("cluster_slots_assigned", "16384");
        expect("cluster_slots_ok", "16384");
        expect("cluster_known_nodes", "6");
        expect("cluster_size", "3");
        eventually(LATER, "the roles are known", || {
            (0..6).all(|subject| {
                let line = cluster.line(observer, subject).unwrap();
                let primary = if subject < 3 { "-".to_string() } else { cluster.id(subject - 3) };
                line.has(if subject < 3 { "master" } else { "slave" }) && line.primary == primary
            })
        });
        // Twelve ports: those of the clients and those of the bus.
        let node = &cluster.nodes[observer];
        assert!(std::net::TcpStream::connect((node.host(), node.bus_port())).is_ok());
    }
    let check = cluster.nodes[4].cli(&["--cluster", "check", &cluster.nodes[4].address()]);
    assert!(check.contains("[OK] All 16384 slots covered."), "{check}");
    assert!(check.contains("[OK] All nodes agree about slots configuration."), "{check}");
}

/// MOVED without `-c`, followed with `-c`; a transaction ends where a redirect leads away; a hash tag keeps it together.
#[test]
fn cluster_redirects() {
    let cluster = Cluster::of_six("");
    let [first, _, third, ..] = cluster.nodes.as_slice() else { panic!("six nodes") };
    assert_eq!(first.cli(&["set", "k1", "fadfasf"]), format!("MOVED 12706 {}", third.address()));

    let expected = [
        format!("-> Redirected to slot [12706] located at {}", third.address()),
        "OK".into(),
        "adfsadfs".into(),
        format!("-> Redirected to slot [449] located at {}", first.address()),
        "OK".into(),
        "OK".into(),
        "OK".into(),
        "2343".into(),
        "OK".into(),
        "OK".into(),
        "QUEUED".into(),
        "sdfsf".into(),
        "OK".into(),
        format!("-> Redirected to slot [12706] located at {}", third.address()),
        "OK".into(),
        format!("-> Redirected to slot [4576] located at {}", first.address()),
        "OK".into(),
        "ERR EXEC without MULTI".into(),
        String::new(),
        "OK".into(),
        "QUEUED".into(),
        "QUEUED".into(),
        "OK".into(),
        "OK".into(),
    ];
    for program in [&["redis-cli"][..], &[SHOAL, "cli"]] {
        assert_eq!(session(program, first), expected, "{program:?}");
    }

    // On one connection the server says it too: the command that leads away spoils the transaction.
    let mut connection = first.connect();
    assert_eq!(connection.text(&["MULTI"]), "OK");
    assert_eq!(connection.text(&["SET", "k1", "v"]), format!("MOVED 12706 {}", third.address()));
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(connection.text(&["EXEC"]), aborted);

    // A replica leads to its primary, unless it may read.
    let mut replica = cluster.nodes[3].connect();
    assert_eq!(replica.text(&["GET", "k2"]), format!("MOVED 449 {}", first.address()));
    assert_eq!(replica.text(&["READONLY"]), "OK");
    eventually(LATER, "the replica has the key", || replica.text(&["GET", "k2"]) == "hah");
    assert_eq!(replica.text(&["SET", "k2", "v"]), format!("MOVED 449 {}", first.address()));
    assert_eq!(replica.text(&["READWRITE"]), "OK");
    assert_eq!(replica.text(&["GET", "k2"]), format!("MOVED 449 {}", first.address()));
    assert_eq!(first.call(&["SELECT", "1"]), "ERR SELECT is not allowed in cluster mode");
}

/// Several keys work when a hash tag puts them into one slot, and not otherwise.
#[test]
fn multi_key_same_slot() {
    let cluster = Cluster::of_six("");
    let owner = &cluster.nodes[cluster.owner("{user1}:name")];
    let mut connection = owner.connect();
    assert_eq!(connection.text(&["MSET", "{user1}:name", "tyrival", "{user1}:age", "18"]), "OK");
    let both = [Value::Bulk(b"tyrival".to_vec()), Value::Bulk(b"18".to_vec())];
    assert_eq!(connection.call(&["MGET", "{user1}:name", "{user1}:age"]), Value::Array(both.into()));
    assert_eq!(connection.text(&["DEL", "{user1}:name", "{user1}:age"]), "2");

    let crossing = "CROSSSLOT Keys in request don't hash to the same slot";
    assert_ne!(key_slot(b"user1:name"), key_slot(b"user1:age"));
    for words in [
        &["MSET", "user1:name", "tyrival", "user1:age", "18"][..],
        &["MGET", "user1:name", "user1:age"],
        &["DEL", "user1:name", "user1:age"],
        &["RENAME", "user1:name", "user1:age"],
    ] {
        assert_eq!(connection.text(words), crossing, "{words:?}");
    }
    let through_cli = cluster.nodes[0].cli(&["-c", "mset", "{user1}:name", "tyrival", "{user1}:age", "18"]);
    assert!(through_cli.ends_with("OK"), "{through_cli}");
    assert_eq!(cluster.nodes[0].cli(&["-c", "mset", "a", "1", "b", "2"]), crossing);
}

/// The lines a client with `-c` prints for [`SESSION`].
fn session(program: &[&str], node: &Server) -> Vec<String> {
    let mut client = Command::new("timeout")
        .arg("60")
        .args(program)
        .args(["-c", "-h", node.host(), "-p", &node.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(SESSION.as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(ToString::to_string).collect()
}

/// What a node announces for clients (NAT, containers) is told by all, outlives a restart, and does not concern the nodes
/// among themselves.
#[test]
fn addresses_announced_for_clients() {
    let mut cluster = Cluster::of_six("");
    for (name, value, answer) in [
        ("cluster-announce-client-ipv4", "192.0.2.7", "OK"),
        ("cluster-announce-client-port", "6407", "OK"),
        ("cluster-announce-client-ipv6", "2001:db8::7", "OK"),
        (
            "cluster-announce-client-ipv4",
            "host.example",
            "ERR CONFIG SET failed (possibly related to argument 'cluster-announce-client-ipv4') - Invalid IPv4 address",
        ),
    ] {
        assert_eq!(cluster.nodes[1].call(&["CONFIG", "SET", name, value]), answer);
    }
    let key = key_of(1, 3, 0);
    let told = |cluster: &Cluster, index: usize| cluster.nodes[index].call(&["GET", &key]);
    let is_told = |cluster: &Cluster, index: usize| {
        let table = cluster.nodes[index].call(&["CLUSTER", "NODES"]);
        told(cluster, index).ends_with(" 192.0.2.7:6407") && table.contains(" 192.0.2.7:6407@")
    };
    eventually(LATER, "all tell it", || [0, 2, 3, 4, 5].into_iter().all(|index| is_told(&cluster, index)));
    // The next message of the node to one that starts anew leaves it out; its file has it.
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.wait_until_settled();
    assert!(is_told(&cluster, 0), "{}", told(&cluster, 0));
    let line = |index: usize| cluster.nodes[index].info("replication", "master_host");
    assert_eq!((0..6).filter(|index| line(*index).as_deref() == Some("192.0.2.7")).count(), 0);

    for name in ["ipv4", "ipv6"] {
        let name = format!("cluster-announce-client-{name}");
        assert_eq!(cluster.nodes[1].call(&["CONFIG", "SET", &name, ""]), "OK");
    }
    assert_eq!(cluster.nodes[1].call(&["CONFIG", "SET", "cluster-announce-client-port", "0"]), "OK");
    let own = format!(" {}", cluster.nodes[1].address());
    eventually(LATER, "it is as it was", || {
        [0, 2].into_iter().all(|index| told(&cluster, index).ends_with(&own))
    });
}
