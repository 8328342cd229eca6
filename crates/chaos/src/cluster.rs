//! The nodes' processes, and what they say of their cluster.

use crate::Outcome;
use crate::client::{PORT, ask};
use crate::network::{Network, address};
use shoal_probe::eventually;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long nodes wait for each other, in milliseconds.
pub const NODE_TIMEOUT_MS: u64 = 2000;
/// How long the cluster may take to be whole after a fault has ended.
const HEALING_LIMIT: Duration = Duration::from_secs(60);
/// How long forming the cluster or moving slots may take.
const MANAGER_LIMIT: Duration = Duration::from_secs(90);

/// The processes of a cluster: primaries and as many replicas.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    directory: PathBuf,
    prefix: String,
    nodes: Vec<Option<Child>>,
}

/// Who serves what: the owner of each range of slots, and the primary that each replica follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Begin and end of a range, and the index of the node that owns it.
    pub ranges: Vec<(u16, u16, usize)>,
    /// Replicas by index, and their primaries.
    pub replicas: BTreeMap<usize, usize>,
}

impl View {
    /// The nodes that own slots.
    pub fn primaries(&self) -> Vec<usize> {
        let mut owners: Vec<usize> = self.ranges.iter().map(|&(_, _, owner)| owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Who owns a slot.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        self.ranges
            .iter()
            .find(|&&(first, last, _)| (first..=last).contains(&slot))
            .map(|&(_, _, owner)| owner)
    }

    /// Owned slots, and whether none is owned twice.
    fn covers_everything_once(&self) -> bool {
        let mut owners = vec![0u8; 16384];
        for &(first, last, _) in &self.ranges {
            (first..=last).for_each(|slot| owners[usize::from(slot)] += 1);
        }
        owners.iter().all(|&count| count == 1)
    }
}

impl Cluster {
    /// Starts so many nodes of `program` and joins them, half of them as replicas.
    ///
    /// # Errors
    /// What went wrong.
    pub fn start(program: &Path, directory: &Path, prefix: &str, nodes: usize) -> Outcome<Self> {
        let mut cluster = Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            prefix: prefix.to_owned(),
            nodes: (0..nodes).map(|_| None).collect(),
        };
        for index in 0..nodes {
            cluster.start_node(index)?;
        }
        for index in 0..nodes {
            eventually("a node answers", HEALING_LIMIT, || {
                ask(index, &["PING"]).filter(|text| text == "PONG")
            })?;
        }
        let addresses: Vec<String> = (0..nodes).map(|index| format!("{}:{PORT}", address(index))).collect();
        let mut words = vec!["create"];
        words.extend(addresses.iter().map(String::as_str));
        words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        cluster.manage(&words)?;
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Starts a node that does not run, on the files it has left.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_node(&mut self, index: usize) -> Outcome<()> {
        let directory = self.directory.join(format!("node{index}"));
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let address = address(index).to_string();
        let log = directory.join("log");
        let namespace = Network::existing(&self.prefix, self.nodes.len()).node(index);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace]).arg(&self.program).arg("server");
        command.args([
            "--port",
            &PORT.to_string(),
            "--bind",
            &address,
            "--protected-mode",
            "no",
            "--save",
            "",
        ]);
        command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", &NODE_TIMEOUT_MS.to_string()]);
        // A killed process leaves what it has written to the system; a replica stays with its primary.
        command.args(["--appendonly", "yes", "--appendfsync", "everysec"]);
        command.args(["--cluster-allow-replica-migration", "no", "--cluster-announce-ip", &address]);
        command.arg("--logfile").arg(log).arg("--dir").arg(&directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("starting node {index}: {error}"))?;
        self.nodes[index] = Some(child);
        Ok(())
    }

    /// Ends a node without a warning.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.nodes[index].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal, `STOP` or `CONT`, to a node.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal(&self, index: usize, name: &str) -> Outcome<()> {
        let Some(child) = &self.nodes[index] else { return Ok(()) };
        let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("kill -{name}: {other:?}")),
        }
    }

    /// Runs the cluster manager with these words.
    ///
    /// # Errors
    /// What it prints when it fails or takes too long.
    pub fn manage(&self, words: &[&str]) -> Outcome<String> {
        let mut command = Command::new(&self.program);
        command.args(["cli", "--cluster"]).args(words).stdin(Stdio::null());
        let output = self.directory.join("manager.out");
        let file = std::fs::File::create(&output).map_err(|error| error.to_string())?;
        let copy = file.try_clone().map_err(|error| error.to_string())?;
        let mut child =
            command.stdout(file).stderr(copy).spawn().map_err(|error| format!("the manager: {error}"))?;
        let status = eventually("the manager ends", MANAGER_LIMIT, || child.try_wait().ok().flatten());
        if status.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        match status {
            Ok(status) if status.success() => Ok(text),
            Ok(status) => Err(format!("--cluster {}: {status}\n{text}", words.join(" "))),
            Err(error) => Err(format!("--cluster {}: {error}\n{text}", words.join(" "))),
        }
    }

    /// Waits until every node runs and says that every slot is served, all say the same of who owns what, and every replica has
    /// caught up with its primary.
    ///
    /// # Errors
    /// What is still missing when the time is over.
    pub fn wait_until_whole(&self) -> Outcome<View> {
        let mut last = String::new();
        let whole = eventually("the cluster is whole", HEALING_LIMIT, || match self.look() {
            Ok(view) => Some(view),
            Err(problem) => {
                last = problem;
                None
            }
        });
        whole.map_err(|error| format!("{error}: {last}"))
    }

    fn look(&self) -> Outcome<View> {
        let mut common: Option<View> = None;
        for index in 0..self.nodes.len() {
            let info = ask(index, &["CLUSTER", "INFO"]).ok_or(format!("node {index} does not answer"))?;
            if !info.contains("cluster_state:ok") {
                return Err(format!("node {index} says that the cluster is not well"));
            }
            let text = ask(index, &["CLUSTER", "NODES"]).ok_or(format!("node {index} does not answer"))?;
            let view = parse(&text, self.nodes.len()).map_err(|error| format!("node {index}: {error}"))?;
            if !view.covers_everything_once() {
                return Err(format!("node {index} does not know one owner for each slot:\n{text}"));
            }
            if common.as_ref().is_some_and(|common| *common != view) {
                return Err(format!("node {index} has another view:\n{text}\nthan\n{common:?}"));
            }
            common = Some(view);
        }
        let view = common.ok_or("there are no nodes")?;
        for &replica in view.replicas.keys() {
            let info = ask(replica, &["INFO", "replication"]).unwrap_or_default();
            if !info.contains("master_link_status:up") {
                return Err(format!("replica {replica} has no link to its primary"));
            }
        }
        if view.replicas.len() * 2 != self.nodes.len() || view.primaries().len() * 2 != self.nodes.len() {
            return Err(format!("not every primary has its replica: {view:?}"));
        }
        Ok(view)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.nodes.len() {
            self.kill(index);
        }
    }
}

/// Reads CLUSTER NODES; any node that is not well is an error.
fn parse(text: &str, nodes: usize) -> Outcome<View> {
    let mut view = View::default();
    let mut index_of = BTreeMap::new();
    let mut follows = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, place, flags, primary, _, _, _, link, slots @ ..] = words.as_slice() else {
            return Err(format!("not understood: {line}"));
        };
        if flags.contains("fail") || flags.contains("handshake") || flags.contains("noaddr") {
            return Err(format!("a node is not well: {line}"));
        }
        if *link != "connected" {
            return Err(format!("a link is missing: {line}"));
        }
        let host = place.split(':').next().unwrap_or_default();
        let index = (0..nodes).find(|&index| address(index).to_string() == host);
        let index = index.ok_or_else(|| format!("a stranger: {line}"))?;
        index_of.insert((*name).to_owned(), index);
        if *primary != "-" {
            follows.push((index, (*primary).to_owned()));
        }
        for range in slots {
            if range.starts_with('[') {
                return Err(format!("a slot is on its way: {line}"));
            }
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u16>().map_err(|_| format!("not understood: {line}"));
            view.ranges.push((number(first)?, number(last)?, index));
        }
    }
    view.ranges.sort_unstable();
    for (replica, primary) in follows {
        let primary = index_of.get(&primary).ok_or("a replica of a stranger")?;
        view.replicas.insert(replica, *primary);
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
aa 10.77.0.1:7000@17000 myself,master - 0 0 1 connected 0-8191\n\
bb 10.77.0.2:7000@17000 master - 0 5 2 connected 8192-16383\n\
cc 10.77.0.3:7000@17000 slave aa 0 5 1 connected\n\
dd 10.77.0.4:7000@17000 slave bb 0 5 2 connected\n";

    #[test]
    fn views_are_read() {
        let view = parse(NODES, 4).unwrap();
        assert!(view.covers_everything_once());
        assert_eq!(view.primaries(), [0, 1]);
        assert_eq!(view.replicas, BTreeMap::from([(2, 0), (3, 1)]));
        assert_eq!((view.owner(8191), view.owner(8192)), (Some(0), Some(1)));
        for (from, to) in [
            ("slave bb", "slave,fail? bb"),
            ("10.77.0.4", "10.77.0.9"),
            ("0-8191", "0-8191 [5->-bb]"),
            ("2 connected 8", "2 disconnected 8"),
            ("0-8191", "x"),
        ] {
            assert!(parse(&NODES.replacen(from, to, 1), 4).is_err(), "{to}");
        }
        assert!(!parse(&NODES.replace("0-8191", "0-8190"), 4).unwrap().covers_everything_once());
        assert!(!parse(&NODES.replace("0-8191", "0-8192"), 4).unwrap().covers_everything_once());
    }
}
