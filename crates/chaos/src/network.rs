//! Network namespaces around a bridge.

use crate::Outcome;
use std::net::Ipv4Addr;
use std::process::Command;

/// The address of the hub's end.
const HUB_ADDRESS: &str = "10.77.0.254/24";

/// A bridge in a namespace of its own, and a namespace for each node. Everything goes when this is dropped.
#[derive(Debug)]
pub struct Network {
    /// Names this run among others.
    prefix: String,
    nodes: usize,
}

impl Network {
    /// Makes the namespaces for so many nodes.
    ///
    /// # Errors
    /// What `ip` says: it takes root's rights.
    pub fn create(prefix: &str, nodes: usize) -> Outcome<Self> {
        let network = Self { prefix: prefix.to_owned(), nodes };
        let hub = network.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "set", "lo", "up"])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "addr", "add", HUB_ADDRESS, "dev", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for index in 0..nodes {
            let (node, link) = (network.node(index), format!("node{index}"));
            ip(&["netns", "add", &node])?;
            ip(&["-n", &hub, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &node])?;
            ip(&["-n", &hub, "link", "set", &link, "master", "bridge", "up"])?;
            ip(&["-n", &node, "addr", "add", &format!("{}/24", address(index)), "dev", "eth0"])?;
            ip(&["-n", &node, "link", "set", "eth0", "up"])?;
            ip(&["-n", &node, "link", "set", "lo", "up"])?;
        }
        Ok(network)
    }

    /// The network that another process has made, which also takes it down.
    pub fn existing(prefix: &str, nodes: usize) -> std::mem::ManuallyDrop<Self> {
        std::mem::ManuallyDrop::new(Self { prefix: prefix.to_owned(), nodes })
    }

    /// The namespace that reaches all nodes.
    pub fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    /// The namespace of a node.
    pub fn node(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix)
    }

    /// Nothing that `from` sends reaches `to` any more.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn block(&self, from: usize, to: usize) -> Outcome<()> {
        ip(&["-n", &self.node(from), "route", "replace", "blackhole", &address(to).to_string()])
    }

    /// Nobody reaches the node, nor it anybody.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn unplug(&self, index: usize) -> Outcome<()> {
        ip(&["-n", &self.hub(), "link", "set", &format!("node{index}"), "down"])
    }

    /// Undoes everything that was done to the network.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn heal(&self) -> Outcome<()> {
        for index in 0..self.nodes {
            ip(&["-n", &self.hub(), "link", "set", &format!("node{index}"), "up"])?;
            ip(&["-n", &self.node(index), "route", "flush", "type", "blackhole"])?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in (0..self.nodes).map(|index| self.node(index)).chain([self.hub()]) {
            // Those that were not made yet, when making them failed, are not there.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// A node's address.
pub fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(index + 1).unwrap_or(u8::MAX - 2))
}

fn ip(words: &[&str]) -> Outcome<()> {
    let output = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", words.join(" "), text.trim()))
}
