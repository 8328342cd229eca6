//! `--cluster create`: gather, plan, ask, execute, check.

use super::check;
use super::client::{Cluster, Member};
use super::log::{Level, log};
use super::node::{Node, format_slots, parse_address};
use super::plan::{Affinity, CreatePlan, PRIMARIES_MIN, plan_create};
use super::report;
use crate::console::{self, err, out};
use crate::exit::{Exit, Step, fail};
use crate::options::{ManagerStyle, Options};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How often the nodes are asked whether they have joined.
const JOIN_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two dots.
const DOT_INTERVAL: Duration = Duration::from_secs(1);
/// Seconds until nodes that may be out of reach are named, and again.
const JOIN_COMPLAINT_S: u64 = 20;
/// More seconds for each node.
const JOIN_COMPLAINT_PER_NODE_S: f64 = 0.15;
/// The bus listens this much above the port, unless a node says otherwise.
const BUS_PORT_OFFSET: i64 = 10_000;

/// Creates a cluster of the nodes at these addresses.
pub(super) fn run(addresses: &[Vec<u8>], options: &Options) -> Step<i32> {
    if options.cluster.style == ManagerStyle::Trib {
        log(Level::Information, ">>> Creating cluster\n");
    }
    if options.cluster.if_needed && are_cluster_already(addresses, options) {
        log(Level::Success, "[OK] These nodes are a cluster already.\n");
        return Ok(0);
    }
    let mut members = gather(addresses, options)?;
    report::note("nodes", json!(members.iter().map(|member| &member.node.id).collect::<Vec<_>>()));
    let replicas = usize::try_from(options.cluster.replicas).unwrap_or(0);
    let hosts: Vec<_> = members.iter().map(|member| member.node.host.as_str()).collect();
    let plan = match plan_create(&hosts, replicas, &mut fastrand::Rng::new()) {
        Ok(plan) => plan,
        Err(needed) => {
            log(Level::Error, &too_few_nodes(hosts.len(), replicas, needed));
            return Ok(1);
        }
    };
    print_plan(&members, &plan, options.cluster.style);
    if !super::confirm("Can I set the above configuration?", options) {
        // A person has decided so; a script has forgotten to say yes.
        return Ok(i32::from(super::wants_json(options)));
    }
    assign_slots(&mut members, &plan)?;
    log(Level::Information, ">>> Nodes configuration updated\n");
    log(Level::Information, ">>> Assign a different config epoch to each node\n");
    for (index, member) in members.iter_mut().enumerate() {
        // A node that has an epoch already refuses; the nodes then sort it out among themselves.
        let _ = member.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
    }
    log(Level::Information, ">>> Sending CLUSTER MEET messages to join the cluster\n");
    meet(&mut members)?;
    wait_for_join(&mut members, options.cluster.style);
    for (replica, primary) in plan.primary_of.iter().enumerate() {
        let Some(primary) = primary else { continue };
        let primary_id = members[*primary].node.id.clone();
        members[replica].call_or_complain(&["CLUSTER", "REPLICATE", &primary_id])?;
    }
    let Some(first) = members.first() else { return Ok(0) };
    let (host, port) = (first.node.host.clone(), first.node.port);
    drop(members);
    check::check(&mut Cluster::load(&host, port, options)?, false)?;
    Ok(0)
}

/// Whether the nodes at these addresses form one whole cluster, and nobody else belongs to it.
fn are_cluster_already(addresses: &[Vec<u8>], options: &Options) -> bool {
    let Some(first) = addresses.first() else { return false };
    let Ok(mut cluster) = super::load(std::slice::from_ref(first), options) else { return false };
    let is_clean = check::check_quietly(&mut cluster, false).is_ok_and(|findings| findings.is_clean());
    let mut ids = Vec::new();
    for address in addresses {
        let Some((host, port, _)) = parse_address(&String::from_utf8_lossy(address)) else { return false };
        let Ok(mut member) = Member::connect(Node::at(&host, port), options) else { return false };
        if member.load().is_err() {
            return false;
        }
        ids.push(member.node.id);
    }
    let mut known: Vec<String> = cluster.members.iter().map(|member| member.node.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    known.sort_unstable();
    is_clean && ids == known
}

fn too_few_nodes(nodes: usize, replicas: usize, needed: usize) -> String {
    format!(
        "*** ERROR: Invalid configuration for cluster creation.\n\
         *** Redis Cluster requires at least {PRIMARIES_MIN} master nodes.\n\
         *** This is not possible with {nodes} nodes and {replicas} replicas per node.\n\
         *** At least {needed} nodes are required.\n"
    )
}

/// Connects to every node and makes sure that it is fit for a new cluster.
fn gather(addresses: &[Vec<u8>], options: &Options) -> Step<Vec<Member>> {
    let mut members: Vec<Member> = Vec::with_capacity(addresses.len());
    for address in addresses {
        let text = String::from_utf8_lossy(address);
        let Some((host, port, _)) = parse_address(&text) else {
            fail!("Invalid address format: {text}");
        };
        let mut member = Member::connect(Node::at(&host, port), options)?;
        member.require_cluster_mode()?;
        member.load()?;
        member.require_empty()?;
        if let Some(twin) = members.iter().find(|other| other.node.id == member.node.id) {
            fail!("{text} and {} are the same node.", twin.node.address());
        }
        members.push(member);
    }
    Ok(members)
}

fn print_plan(members: &[Member], plan: &CreatePlan, style: ManagerStyle) {
    log(Level::Information, &format!(">>> Performing hash slots allocation on {} nodes...\n", members.len()));
    if style == ManagerStyle::Trib {
        out!("Using {} masters:\n", plan.primaries.len());
    }
    for (index, primary) in plan.primaries.iter().enumerate() {
        match style {
            ManagerStyle::Cli => {
                out!("Master[{index}] -> Slots {} - {}\n", primary.first_slot, primary.last_slot);
            }
            ManagerStyle::Trib => out!("{}\n", members[primary.node].node.address()),
        }
    }
    for (index, (replica, primary)) in plan.assigned.iter().enumerate() {
        if index == plan.regular_count {
            out!("Adding extra replicas...\n");
        }
        out!("Adding replica {} to {}\n", members[*replica].node.address(), members[*primary].node.address());
    }
    if plan.affinity != Affinity::Unchanged {
        log(Level::Information, ">>> Trying to optimize slaves allocation for anti-affinity\n");
    }
    match plan.affinity {
        Affinity::Unchanged => {}
        Affinity::Perfect => log(Level::Success, "[OK] Perfect anti-affinity obtained!\n"),
        Affinity::WithPrimary => {
            log(Level::Warning, "[WARNING] Some slaves are in the same host as their master\n");
        }
        Affinity::WithSibling => {
            log(Level::Warning, "[WARNING] Some slaves of the same master are in the same host\n");
        }
    }
    for (index, member) in members.iter().enumerate() {
        let (id, address) = (&member.node.id, member.node.address());
        if let Some(primary) = plan.primary_of[index] {
            out!("S: {id} {address}\n   replicates {}\n", members[primary].node.id);
        } else if let Some(primary) = plan.primaries.iter().find(|primary| primary.node == index) {
            let slots: Vec<_> = (primary.first_slot..=primary.last_slot).collect();
            let ranges = format_slots(&slots, style);
            out!("M: {id} {address}\n   slots:{ranges} ({} slots) master\n", slots.len());
        }
    }
}

fn assign_slots(members: &mut [Member], plan: &CreatePlan) -> Step {
    for primary in &plan.primaries {
        let mut words = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
        words.extend((primary.first_slot..=primary.last_slot).map(|slot| slot.to_string()));
        members[primary.node].call_or_complain(&words)?;
    }
    Ok(())
}

/// Introduces every node to the first one.
fn meet(members: &mut [Member]) -> Step {
    let Some((first, others)) = members.split_first_mut() else { return Ok(()) };
    let words = meet_words(&first.node)?;
    others.iter_mut().try_for_each(|member| member.call_or_complain(&words).map(drop))
}

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
pub(super) fn wait_for_join(members: &mut [Member], style: ManagerStyle) {
    out!("Waiting for the cluster to join{}", if style == ManagerStyle::Trib { "" } else { "\n" });
    console::flush();
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
        if last_complaint.elapsed() > patience {
            let addresses: Vec<_> = members.iter().map(|member| member.node.address()).collect();
            complain_of_links(&addresses, &views);
            last_complaint = Instant::now();
        }
        std::thread::sleep(JOIN_CHECK_INTERVAL);
    }
    out!("\n");
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
        assert!(!have_joined(&[Some(whole), None]));
    }
}
