//! What nodes say to each other: gossip, votes, and what a broken link does to them.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use shoal_protocol::value::Value;

use crate::support::{Cluster, Kind, LATER, SOON, always, eventually, field};

/// Bytes of a message without data: types and offsets as in Redis 7.
const HEADER_BYTES: usize = 2256;
const TYPE_PING: u8 = 0;
const TYPE_PONG: u8 = 1;
const TYPE_MEET: u8 = 2;

/// Nodes met one by one in a chain all know each other; PING, PONG, MEET and FAIL pass on the port 10000 above.
#[test]
fn gossip_messages() {
    let mut cluster = Cluster::start((0..4).map(|_| Cluster::setup(Kind::Shoal)).collect());
    for index in 0..3 {
        let next = &cluster.nodes[index + 1];
        let port = next.port().to_string();
        assert_eq!(cluster.nodes[index].call(&["CLUSTER", "MEET", next.host(), &port]), "OK");
    }
    eventually(LATER, "a node met by one is known to all", || {
        (0..4).all(|index| {
            let table = cluster.table(index);
            table.len() == 4
                && table
                    .iter()
                    .all(|line| !line.has("handshake") && (line.has("myself") || line.link == "connected"))
        })
    });
    let sent = |index: usize, name: &str| count(&cluster, index, &format!("cluster_stats_messages_{name}"));
    eventually(LATER, "every kind of message was counted", || {
        (0..4).all(|index| {
            ["ping_sent", "ping_received", "pong_sent", "pong_received"]
                .iter()
                .all(|name| sent(index, name) > 0)
        })
    });
    assert!((0..3).all(|index| sent(index, "meet_sent") > 0), "who met");
    assert!((1..4).all(|index| sent(index, "meet_received") > 0), "who was met");
    assert_eq!(sent(0, "meet_received"), 0);

    answer_to_a_stranger(&cluster);

    for index in 0..3 {
        let (first, last) = crate::support::cluster::share(index, 3);
        assert_eq!(cluster.nodes[index].call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]), "OK");
    }
    cluster.wait_until_ok();
    cluster.nodes[2].kill();
    for observer in [0, 1, 3] {
        cluster.wait_for_flag(observer, 2, "fail");
    }
    let sent = |index: usize, name: &str| count(&cluster, index, &format!("cluster_stats_messages_{name}"));
    assert!(sent(0, "fail_sent") + sent(1, "fail_sent") > 0, "whoever found the failure told it");
    // The fourth has no vote: it heard of the failure.
    assert!(sent(3, "fail_received") > 0 || cluster.nodes[3].log().contains("FAIL message received"));
}

/// One election: an epoch of its own, one vote of each primary, a delay as agreed.
#[test]
fn election_rules() {
    let setups = || (0..7).map(|_| Cluster::setup(Kind::Shoal)).collect();
    let mut cluster = Cluster::start(setups());
    cluster.join(3); // The seventh node is a second replica of the first.
    let before: u64 = cluster.cluster_info(1, "cluster_current_epoch").unwrap().parse().unwrap();
    cluster.nodes[0].kill();
    eventually(LATER, "one of its replicas takes over", || {
        [3, 6].iter().any(|index| cluster.role(*index).as_deref() == Some("master"))
    });
    let winner = if cluster.role(3).as_deref() == Some("master") { 3 } else { 6 };
    let loser = 9 - winner;
    cluster.wait_for_promotion(winner);
    cluster.wait_until_settled();
    let after: u64 = cluster.cluster_info(1, "cluster_current_epoch").unwrap().parse().unwrap();
    assert!(after > before, "an election takes a new epoch");
    let line = cluster.line(1, winner).unwrap();
    assert!(line.epoch > before && line.epoch <= after, "{line:?}");
    let winner_id = cluster.id(winner);
    eventually(LATER, "the other replica follows the winner", || {
        cluster.line(loser, loser).is_some_and(|line| line.has("slave") && line.primary == winner_id)
    });

    let mut votes = 0;
    for index in [1, 2] {
        let log = cluster.nodes[index].log();
        let granted = epochs(&log, "Failover auth granted to ");
        let mut distinct = granted.clone();
        distinct.dedup();
        assert_eq!(granted, distinct, "one vote per epoch: {log}");
        votes += usize::from(granted.contains(&line.epoch));
    }
    assert_eq!(votes, 2, "two of three primaries are the majority");
    for index in [4, 5] {
        assert!(!cluster.nodes[index].log().contains("Failover auth granted"), "replicas have no vote");
    }
    for index in [winner, loser] {
        for (delay_ms, rank) in delays(&cluster.nodes[index].log()) {
            assert!(delay_ms <= 1000 + rank * 1000, "{delay_ms} ms at rank {rank}");
        }
    }
    assert!(!delays(&cluster.nodes[winner].log()).is_empty());
    two_primaries_cannot_elect(cluster);
}

/// Packets dropped for less than the node timeout cause no failover; dropped for longer, they do.
#[test]
fn jitter_no_failover() {
    let network = Network::new();
    let mut setups: Vec<_> = (0..6).map(|_| Cluster::setup(Kind::Shoal)).collect();
    if let Some(network) = &network {
        setups = setups.into_iter().map(|setup| setup.host(&network.outside)).collect();
        let through = ["ip", "netns", "exec", &network.name];
        setups[0] = Cluster::setup(Kind::Shoal).host(&network.inside).through(&through);
    }
    let options = "cluster-node-timeout 5000\nprotected-mode no";
    let cluster = Cluster::start(setups.into_iter().map(|setup| setup.conf(options)).collect());
    cluster.join(3);
    // Who may not make networks stops the process instead: its peers see the same.
    let cut = || match &network {
        Some(network) => network.cut(),
        None => cluster.nodes[0].signal("STOP"),
    };
    let heal = || match &network {
        Some(network) => network.heal(),
        None => cluster.nodes[0].signal("CONT"),
    };

    cut();
    always(Duration::from_millis(2500), "nobody is failed", || {
        !cluster.table(1).iter().any(|line| line.has("fail"))
    });
    heal();
    eventually(SOON, "all links work again", || {
        (0..6).all(|index| {
            let table = cluster.table(index);
            table.iter().all(|line| line.has("myself") || (line.link == "connected" && !line.has("fail?")))
        })
    });
    cluster.wait_until_settled();
    for (index, node) in cluster.nodes.iter().enumerate() {
        let log = node.log();
        assert!(!log.contains("Start of election") && !log.contains("as failing"), "{log}");
        assert_eq!(cluster.role(index).as_deref(), Some(if index < 3 { "master" } else { "slave" }));
    }

    // The same cut for good: this is how the test would have seen a failover.
    cut();
    eventually(LATER, "its replica takes over", || cluster.role(3).as_deref() == Some("master"));
    heal();
    eventually(LATER, "it follows when it is back", || cluster.role(0).as_deref() == Some("slave"));
}

/// DEBUG CLUSTERLINK KILL closes links of one direction or both; what was to go over one is lost, and links come back.
#[test]
fn links_can_be_killed() {
    let cluster = Cluster::of_six("");
    let made = |direction: &str| {
        let other = cluster.id(1);
        let reply = cluster.nodes[0].connect().call(&["CLUSTER", "LINKS"]);
        let links = reply.as_elements().unwrap().to_vec();
        let word = |link: &Value, name: &str| link.field(name).unwrap().as_text().unwrap().into_owned();
        let is_it = |link: &&Value| word(link, "node") == other && word(link, "direction") == direction;
        links.iter().find(is_it).map(|link| link.field("create-time").unwrap().as_integer().unwrap())
    };
    let kill = |words: &[&str]| cluster.nodes[0].call(&[&["DEBUG", "CLUSTERLINK", "KILL"], words].concat());
    let other = cluster.id(1);
    for (direction, dies) in [("to", [true, false]), ("FROM", [false, true]), ("all", [true, true])] {
        let before = ["to", "from"].map(|direction| made(direction).unwrap());
        assert_eq!(kill(&[direction, &other]), "OK");
        eventually(SOON, "links are made anew", || {
            let now = ["to", "from"].map(made);
            now.iter().zip(before).zip(dies).all(|((now, before), dies)| {
                now.is_some_and(|now| if dies { now > before } else { now == before })
            })
        });
    }
    assert_eq!(kill(&["to", "0123"]), "ERR Unknown node 0123");
    assert_eq!(kill(&["at", &other]), "ERR Unknown direction at");
    cluster.wait_until_settled();
}

/// With two primaries of which one dies there is no majority, and no replica is promoted.
fn two_primaries_cannot_elect(former: Cluster) {
    drop(former);
    let mut cluster = Cluster::start((0..3).map(|_| Cluster::setup(Kind::Shoal)).collect());
    cluster.join(2);
    cluster.nodes[0].kill();
    for observer in [1, 2] {
        cluster.wait_for_flag(observer, 0, "fail?");
    }
    always(Duration::from_secs(4), "nobody is elected", || {
        cluster.role(2).as_deref() == Some("slave") && !cluster.line(2, 0).unwrap().has("fail")
    });
    assert!(!cluster.nodes[1].log().contains("Failover auth granted"));
}

/// Speaks to a bus port as a node that nobody knows: its MEET is answered with a PONG of the agreed bytes.
fn answer_to_a_stranger(cluster: &Cluster) {
    let node = &cluster.nodes[3];
    let known = cluster.table(3).len();
    let mut stream = TcpStream::connect((node.host(), node.bus_port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // Without a bus port behind it, the stranger will be forgotten when its handshake times out.
    stream.write_all(&message(TYPE_MEET)).unwrap();
    let mut header = vec![0; HEADER_BYTES];
    loop {
        stream.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes(header[4..8].try_into().unwrap()) as usize;
        assert!(header.starts_with(b"RCmb") && length >= HEADER_BYTES, "{length}");
        let mut rest = vec![0; length - HEADER_BYTES];
        stream.read_exact(&mut rest).unwrap();
        if header[13] == TYPE_PONG {
            break;
        }
        assert_eq!(header[13], TYPE_PING);
    }
    assert_eq!(u16::from_be_bytes([header[8], header[9]]), 1, "version");
    assert_eq!(u16::from_be_bytes([header[10], header[11]]), node.port());
    assert_eq!(u16::from_be_bytes([header[2248], header[2249]]), node.bus_port());
    assert_eq!(&header[40..80], cluster.id(3).as_bytes());
    eventually(LATER, "the stranger is forgotten", || cluster.table(3).len() == known);
}

/// A message of a node called `aaa…`, with nothing in it but what makes it valid.
fn message(kind: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..4].copy_from_slice(b"RCmb");
    bytes[4..8].copy_from_slice(&(HEADER_BYTES as u32).to_be_bytes());
    bytes[8..10].copy_from_slice(&1_u16.to_be_bytes());
    bytes[10..12].copy_from_slice(&1_u16.to_be_bytes());
    bytes[12..14].copy_from_slice(&u16::from(kind).to_be_bytes());
    bytes[40..80].fill(b'a');
    bytes[2248..2250].copy_from_slice(&1_u16.to_be_bytes());
    bytes[2250..2252].copy_from_slice(&1_u16.to_be_bytes());
    bytes
}

fn count(cluster: &Cluster, index: usize, name: &str) -> u64 {
    let info = cluster.nodes[index].call(&["CLUSTER", "INFO"]);
    field(&info, name).map_or(0, |value| value.parse().unwrap())
}

/// The epochs at the ends of the lines that hold this text.
fn epochs(log: &str, text: &str) -> Vec<u64> {
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

/// Delay in milliseconds and rank of every election that was planned.
fn delays(log: &str) -> Vec<(u64, u64)> {
    let planned = log.lines().filter_map(|line| line.split_once("Start of election delayed for "));
    planned
        .map(|(_, rest)| {
            let delay_ms = rest.split(' ').next().unwrap().parse().unwrap();
            let (_, rank) = rest.split_once("(rank #").unwrap();
            (delay_ms, rank.split(',').next().unwrap().parse().unwrap())
        })
        .collect()
}

/// A namespace with one link to the outside that can be cut: while it is, packets are dropped both ways and nobody is
/// told.
struct Network {
    name: String,
    outside_device: String,
    outside: String,
    inside: String,
}

impl Network {
    /// `None` without the rights that it takes.
    fn new() -> Option<Self> {
        let tag = std::process::id() % 60_000;
        let (high, low) = (tag / 250, tag % 250);
        let network = Self {
            name: format!("shoal-test-{tag}"),
            outside_device: format!("shoal{tag}"),
            outside: format!("10.{}.{low}.1", 10 + high),
            inside: format!("10.{}.{low}.2", 10 + high),
        };
        let Self { name, outside_device, outside, inside } = &network;
        let added = Command::new("ip").args(["netns", "add", name]).stderr(Stdio::null()).status();
        if !added.is_ok_and(|status| status.success()) {
            return None;
        }
        run(&format!("ip link add {outside_device} type veth peer name inner netns {name}"));
        run(&format!("ip addr add {outside}/30 dev {outside_device}"));
        run(&format!("ip -n {name} addr add {inside}/30 dev inner"));
        run(&format!("ip link set {outside_device} up"));
        run(&format!("ip -n {name} link set inner up"));
        run(&format!("ip -n {name} link set lo up"));
        Some(network)
    }

    /// Sends both sides' packets to a hardware address that nobody has.
    fn cut(&self) {
        let nobody = "lladdr 02:00:00:00:00:99 nud permanent";
        run(&format!("ip neigh replace {} {nobody} dev {}", self.inside, self.outside_device));
        run(&format!("ip -n {} neigh replace {} {nobody} dev inner", self.name, self.outside));
    }

    fn heal(&self) {
        run(&format!("ip neigh del {} dev {}", self.inside, self.outside_device));
        run(&format!("ip -n {} neigh del {} dev inner", self.name, self.outside));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.outside_device]).stderr(Stdio::null()).status();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

fn run(words: &str) {
    let mut words_of = words.split(' ');
    let output = Command::new(words_of.next().unwrap()).args(words_of).output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
}
