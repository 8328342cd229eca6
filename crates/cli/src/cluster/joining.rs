//! How nodes become known to each other: CLUSTER MEET, and waiting for what follows.

use super::check;
use super::client::Member;
use super::log::{Level, log};
use super::node::{Node, signature};
use super::patience::Deadline;
use crate::console::{self, err, out};
use crate::exit::{Exit, Step};
use crate::options::{ManagerStyle, Options};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Time between two dots.
const DOT_INTERVAL: Duration = Duration::from_secs(1);
/// Seconds until nodes that may be out of reach are named, and again.
const JOIN_COMPLAINT_S: u64 = 20;
/// More seconds for each node.
const JOIN_COMPLAINT_PER_NODE_S: f64 = 0.15;
/// The bus listens this much above the port, unless a node says otherwise.
const BUS_PORT_OFFSET: i64 = 10_000;
/// What can be done about nodes that do not join.
const ADVICE: &str = "Let every node reach the bus port (port + 10000, or cluster-port) of every other one, and give the command \
                      again with --cluster-if-needed: it goes on where it stopped. CLUSTER RESET at each node undoes it.";

/// CLUSTER MEET with the address of this node.
pub(super) fn meet_words(node: &Node) -> Step<Vec<String>> {
    let Node { host, port, bus_port, .. } = node;
    // Nodes speak to each other by address, not by name.
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => {
            match (host.as_str(), 0).to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) {
                Some(address) => address.ip(),
                None => {
                    err!("Invalid IP address or hostname specified: {host}");
                    return Err(Exit(1));
                }
            }
        }
    };
    let mut words = vec!["CLUSTER".to_owned(), "MEET".to_owned(), address.to_string(), port.to_string()];
    // The bus port is a newer word; old servers know the command without it.
    if *bus_port != 0 && *bus_port != port + BUS_PORT_OFFSET {
        words.push(bus_port.to_string());
    }
    Ok(words)
}

/// Waits until every node knows every other one, and all agree about the slots.
///
/// # Errors
/// The time for that is over; who is missing has been said.
pub(super) fn wait_for_join(members: &mut [Member], options: &Options) -> Step {
    let is_trib = options.cluster.style == ManagerStyle::Trib;
    out!("Waiting for the cluster to join{}", if is_trib { "" } else { "\n" });
    console::flush();
    let deadline = Deadline::of_wait(options);
    let patience_s = JOIN_COMPLAINT_S + (members.len() as f64 * JOIN_COMPLAINT_PER_NODE_S) as u64;
    let patience = Duration::from_secs(patience_s);
    let (mut last_dot, mut last_complaint) = (Instant::now(), Instant::now());
    loop {
        let views = check::views(members);
        if have_joined(&views) {
            break;
        }
        if last_dot.elapsed() >= DOT_INTERVAL {
            out!(".");
            console::flush();
            last_dot = Instant::now();
        }
        let is_over = !deadline.allows_another_look();
        if is_over || last_complaint.elapsed() > patience {
            let addresses: Vec<_> = members.iter().map(|member| member.node.address()).collect();
            complain_of_links(&addresses, &views);
            last_complaint = Instant::now();
            if is_over {
                out!("\n");
                return Err(deadline.complain(&missing(&addresses, &views), ADVICE));
            }
        }
    }
    out!("\n");
    Ok(())
}

/// Which nodes do not know all others, or see the slots otherwise than the first.
fn missing(addresses: &[String], views: &[Option<Vec<Node>>]) -> String {
    let first = views.iter().flatten().next().and_then(|view| signature(view));
    let state = |view: &Option<Vec<Node>>| {
        let Some(nodes) = view else { return Some("does not answer".to_owned()) };
        let known = nodes.iter().filter(|node| !node.has_flag("handshake")).count();
        if known < views.len() || known < nodes.len() {
            return Some(format!("knows {known} of {} nodes", nodes.len().max(views.len())));
        }
        (signature(nodes) != first).then(|| "does not know all slots yet".to_owned())
    };
    let lines = addresses.iter().zip(views);
    let lines = lines.filter_map(|(address, view)| Some(format!("node {address} {}", state(view)?)));
    format!("the nodes have not joined: {}.", lines.collect::<Vec<_>>().join("; "))
}

fn have_joined(views: &[Option<Vec<Node>>]) -> bool {
    let complete = |view: &Option<Vec<Node>>| {
        view.as_ref().is_some_and(|nodes| {
            nodes.len() >= views.len() && !nodes.iter().any(|node| node.has_flag("handshake"))
        })
    };
    views.iter().all(complete) && check::agree(views)
}

/// Names the nodes that others cannot reach.
fn complain_of_links(addresses: &[String], views: &[Option<Vec<Node>>]) {
    let mut unreachable: BTreeMap<(String, i64, i64), Vec<&str>> = BTreeMap::new();
    for (address, view) in addresses.iter().zip(views) {
        for node in view.iter().flatten().filter(|node| !node.has_flag("myself")) {
            if node.has_flag("disconnected") || node.has_flag("handshake") {
                let key = (node.host.clone(), node.port, node.bus_port);
                unreachable.entry(key).or_default().push(address);
            }
        }
    }
    if unreachable.is_empty() {
        return;
    }
    out!("\n");
    log(Level::Error, &format!("Warning: {} node(s) may be unreachable\n", unreachable.len()));
    for ((host, port, bus_port), from) in unreachable {
        let what = if bus_port != 0 {
            format!("The port {bus_port} of node {host}")
        } else {
            format!("Node {host}:{port}")
        };
        log(Level::Error, &format!(" - {what} may be unreachable from:\n"));
        from.iter().for_each(|address| log(Level::Error, &format!("   {address}\n")));
        log(
            Level::Error,
            "Every node must be able to reach the bus port of every other node;\nit is not the port of the clients.\n",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::parse_nodes;

    #[test]
    fn joined_means_known_to_everybody() {
        let line = |id: char, flags: &str, slots: &str| {
            format!("{} h:1@2 {flags} - 0 0 1 connected{slots}\n", id.to_string().repeat(40))
        };
        let whole = parse_nodes(&(line('a', "master", " 0-9") + &line('b', "master", " 10-16383"))).unwrap();
        let handshake = parse_nodes(&(line('a', "master", " 0-9") + &line('b', "handshake", ""))).unwrap();
        assert!(have_joined(&[Some(whole.clone()), Some(whole.clone())]));
        assert!(!have_joined(&[Some(whole.clone()), Some(handshake)]));
        assert!(!have_joined(&[Some(whole.clone()), Some(whole[..1].to_vec())]));
        assert!(!have_joined(&[Some(whole.clone()), None]));
        let addresses: Vec<String> = ["a:1", "b:2", "c:3"].map(str::to_owned).to_vec();
        let half = parse_nodes(&(line('a', "master", " 0-9") + &line('b', "master", ""))).unwrap();
        assert_eq!(
            missing(&addresses[..2], &[Some(whole.clone()), Some(half)]),
            "the nodes have not joined: node b:2 does not know all slots yet."
        );
        let handshake = parse_nodes(&(line('a', "master", " 0-9") + &line('b', "handshake", ""))).unwrap();
        assert_eq!(
            missing(&addresses, &[Some(handshake), None, Some(whole)]),
            "the nodes have not joined: node a:1 knows 1 of 3 nodes; node b:2 does not answer; node c:3 knows 2 of 3 nodes."
        );
    }
}
