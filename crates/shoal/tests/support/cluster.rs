//! Several servers that form one cluster.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use shoal_protocol::slot::key_slot;

use super::{ClusterSlot, Kind, LATER, Server, Setup, eventually, eventually_some, field};

/// cluster-node-timeout of a test that does not care, in milliseconds.
pub const NODE_TIMEOUT_MS: u32 = 2000;
/// Number of hash slots.
pub const SLOTS: u16 = 16_384;

/// One line of CLUSTER NODES.
#[derive(Clone, Debug)]
pub struct NodeLine {
    /// 40 hex characters.
    pub id: String,
    /// `host:port@bus`, as printed.
    pub address: String,
    /// `myself`, `master`, `slave`, `fail?` …
    pub flags: Vec<String>,
    /// The primary's id, or `-`.
    pub primary: String,
    /// The config epoch.
    pub epoch: u64,
    /// `connected` or `disconnected`.
    pub link: String,
    /// Slots and ranges, and open slots in brackets.
    pub slots: Vec<String>,
}

impl NodeLine {
    /// Whether this flag is set.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }
}

/// Nodes, primaries first, and the right to run them.
pub struct Cluster {
    /// All nodes, in the order in which they were started.
    pub nodes: Vec<Server>,
    _turn: ClusterSlot,
}

impl Cluster {
    /// Starts one node for each setup, in cluster mode, that do not know each other.
    pub fn start(setups: Vec<Setup>) -> Self {
        let turn = ClusterSlot::take();
        let mut nodes: Vec<Server> = setups
            .into_iter()
            .map(|setup| setup.conf("cluster-enabled yes\nrepl-diskless-sync-delay 0").prepare())
            .collect();
        for node in &mut nodes {
            node.start();
        }
        Self { nodes, _turn: turn }
    }

    /// The setup of a node of this kind with the node timeout of most tests.
    pub fn setup(kind: Kind) -> Setup {
        Setup::new(kind).conf(&format!("cluster-node-timeout {NODE_TIMEOUT_MS}"))
    }

    /// Three primaries and three replicas of ours, node 3 follows node 0 and so on, with further configuration.
    pub fn of_six(lines: &str) -> Self {
        let setups = (0..6).map(|_| Self::setup(Kind::Shoal).conf(lines)).collect();
        let cluster = Self::start(setups);
        cluster.join(3);
        cluster
    }

    /// Joins the nodes by hand: the first `primaries` share the slots, each of the others follows one of them in turn.
    /// Returns when all nodes agree and all replicas are in step.
    pub fn join(&self, primaries: usize) {
        self.meet();
        for index in 0..primaries {
            let (first, last) = share(index, primaries);
            let reply = self.nodes[index].call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            assert_eq!(reply, "OK");
            let epoch = (index + 1).to_string();
            // As `--cluster create` does; refused, and not needed, once the node has met another.
            self.nodes[index].call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        }
        for index in primaries..self.nodes.len() {
            let primary = self.id(index % primaries);
            eventually(LATER, "the replica knows its primary", || {
                self.nodes[index].call(&["CLUSTER", "REPLICATE", &primary]) == "OK"
            });
        }
        self.wait_until_settled();
    }

    /// Makes every node known to every other, by CLUSTER MEET from the first.
    pub fn meet(&self) {
        for node in &self.nodes[1..] {
            let port = node.port().to_string();
            assert_eq!(self.nodes[0].call(&["CLUSTER", "MEET", node.host(), &port]), "OK");
        }
        let count = self.nodes.len();
        eventually(LATER, "every node knows every other", || {
            (0..count).all(|index| {
                let lines = self.table(index);
                lines.len() == count && lines.iter().all(|line| !line.has("handshake"))
            })
        });
    }

    /// Waits until all running nodes report `cluster_state:ok`, see the same owner for every slot and the same role for
    /// every running node, and all their replicas are in step.
    pub fn wait_until_settled(&self) {
        self.wait_until_ok();
        eventually(LATER, "all replicas in step", || {
            self.running().all(|index| {
                let node = &self.nodes[index];
                node.info("replication", "role").as_deref() == Some("master")
                    || node.info("replication", "master_link_status").as_deref() == Some("up")
            })
        });
        // Roles as well as slots: a voter that has not heard of a new role yet refuses its vote, and nobody asks again soon.
        let ids: Vec<String> = self.running().map(|index| self.id(index)).collect();
        eventually(LATER, "all nodes agree on slots and roles", || {
            let mut views = self.running().map(|index| (self.owners(index), self.primaries(index, &ids)));
            let first = views.next();
            views.all(|view| Some(&view) == first.as_ref())
        });
    }

    /// Waits until all running nodes report `cluster_state:ok`.
    pub fn wait_until_ok(&self) {
        for index in self.running() {
            self.wait_for_state(index, "ok");
        }
    }

    /// Waits until a node reports `cluster_state:` as this.
    pub fn wait_for_state(&self, index: usize, state: &str) {
        eventually(LATER, &format!("cluster_state:{state} at node {index}"), || {
            self.cluster_info(index, "cluster_state").as_deref() == Some(state)
        });
    }

    /// One field of CLUSTER INFO.
    pub fn cluster_info(&self, index: usize, name: &str) -> Option<String> {
        let text = self.nodes[index].try_connect()?.try_call(&["CLUSTER", "INFO"])?;
        field(&text.as_text()?, name)
    }

    /// CLUSTER NODES as one node answers it; empty when it does not.
    pub fn table(&self, index: usize) -> Vec<NodeLine> {
        let reply = self.nodes[index].try_connect().and_then(|mut node| node.try_call(&["CLUSTER", "NODES"]));
        let text = reply.and_then(|reply| Some(reply.as_text()?.into_owned())).unwrap_or_default();
        text.lines().map(parse_line).collect()
    }

    /// What one node says about another.
    pub fn line(&self, observer: usize, subject: usize) -> Option<NodeLine> {
        let port = format!(":{}@", self.nodes[subject].port());
        self.table(observer).into_iter().find(|line| line.address.contains(&port))
    }

    /// Waits until one node says of another that it has this flag.
    pub fn wait_for_flag(&self, observer: usize, subject: usize, flag: &str) {
        eventually(LATER, &format!("node {observer} sees {flag} at node {subject}"), || {
            self.line(observer, subject).is_some_and(|line| line.has(flag))
        });
    }

    /// A node's id.
    pub fn id(&self, index: usize) -> String {
        self.nodes[index].call(&["CLUSTER", "MYID"])
    }

    /// The role a node gives itself.
    pub fn role(&self, index: usize) -> Option<String> {
        self.nodes[index].info("replication", "role")
    }

    /// The running node that owns a key and says so itself.
    pub fn owner(&self, key: &str) -> usize {
        let slot = key_slot(key.as_bytes());
        eventually_some(LATER, &format!("an owner of slot {slot}"), || {
            self.running().find(|index| {
                let myself = self.table(*index).into_iter().find(|line| line.has("myself"));
                myself.is_some_and(|line| line.has("master") && holds(&line, slot))
            })
        })
    }

    /// The indexes of the nodes that run.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].is_started())
    }

    /// Waits until a node is a primary with slots, and all running nodes see it.
    pub fn wait_for_promotion(&self, index: usize) {
        eventually(LATER, &format!("promotion of node {index}"), || {
            self.running().all(|observer| {
                let line = self.line(observer, index);
                line.is_some_and(|line| line.has("master") && !line.slots.is_empty())
            })
        });
    }

    /// Runs `redis-cli --cluster WORDS… ADDRESSES… OPTIONS…` with all nodes' addresses.
    pub fn manage_all(&self, program: &[&str], verb: &str, options: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("120").args(program).args(["--cluster", verb]);
        command.args(self.nodes.iter().map(Server::address)).args(options);
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn owners(&self, index: usize) -> Vec<(String, Vec<String>)> {
        let mut lines: Vec<_> = self
            .table(index)
            .into_iter()
            .filter(|line| !line.slots.is_empty())
            .map(|line| (line.id, line.slots))
            .collect();
        lines.sort();
        lines
    }

    /// These nodes with whom they follow (`-` if nobody), as one node sees it.
    fn primaries(&self, index: usize, ids: &[String]) -> Vec<(String, String)> {
        let lines = self.table(index).into_iter().filter(|line| ids.contains(&line.id));
        let mut primaries: Vec<_> = lines.map(|line| (line.id, line.primary)).collect();
        primaries.sort();
        primaries
    }
}

/// A key whose slot lies in the share of a primary, of so many.
pub fn key_of(index: usize, primaries: usize, number: usize) -> String {
    let (first, last) = share(index, primaries);
    let (first, last): (u16, u16) = (first.parse().unwrap(), last.parse().unwrap());
    let mut keys = (0..).map(|count| format!("key:{count}"));
    let is_there = |key: &String| (first..=last).contains(&key_slot(key.as_bytes()));
    keys.by_ref().filter(is_there).nth(number).unwrap()
}

/// How long a failover may take until writes succeed again.
pub const FAILOVER: Duration = LATER;

/// The slots of a primary, of so many, as `--cluster create` shares them.
pub fn share(index: usize, primaries: usize) -> (String, String) {
    let bound = |index: usize| (f64::from(SLOTS) / primaries as f64 * index as f64).round() as usize;
    (bound(index).to_string(), (bound(index + 1) - 1).to_string())
}

fn holds(line: &NodeLine, slot: u16) -> bool {
    line.slots.iter().filter(|range| !range.starts_with('[')).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot)
    })
}

fn parse_line(line: &str) -> NodeLine {
    let words: Vec<&str> = line.split(' ').collect();
    NodeLine {
        id: words[0].into(),
        address: words[1].into(),
        flags: words[2].split(',').map(Into::into).collect(),
        primary: words[3].into(),
        epoch: words[6].parse().unwrap(),
        link: words[7].into(),
        slots: words[8..].iter().map(ToString::to_string).collect(),
    }
}
