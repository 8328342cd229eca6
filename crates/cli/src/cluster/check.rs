//! Is the cluster whole? The findings are values; text and JSON are made from them.

use super::client::{Cluster, Member};
use super::log::{Level, log};
use super::node::{Node, OpenSlots, ranges, signature};
use crate::console::out;
use crate::exit::Step;
use serde_json::{Value as Json, json};
use shoal_protocol::slot::SLOT_COUNT;
use std::collections::BTreeSet;

/// COUNTKEYSINSLOT commands in flight.
const PIPELINE_LENGTH: usize = 1024;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// All nodes have the same idea of who owns which slot.
    pub consistent: bool,
    /// Nodes with slots that are leaving, and the slots.
    pub migrating: Vec<(String, Vec<u16>)>,
    /// Nodes with slots that are arriving, and the slots.
    pub importing: Vec<(String, Vec<u16>)>,
    /// Slots nobody owns.
    pub uncovered: Vec<u16>,
    /// Slots with several owners, and the owners; `None` if nobody looked.
    pub multiple_owners: Option<Vec<(u16, Vec<String>)>>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.consistent
            && self.migrating.is_empty()
            && self.importing.is_empty()
            && self.uncovered.is_empty()
            && self.multiple_owners.as_ref().is_none_or(Vec::is_empty)
    }

    /// How many things are wrong, as `redis-cli` counts them.
    pub(super) fn error_count(&self) -> usize {
        usize::from(!self.consistent)
            + self.migrating.len()
            + self.importing.len()
            + usize::from(!self.uncovered.is_empty())
    }

    /// The findings for scripts.
    pub(super) fn to_json(&self, nodes: &[Node]) -> Json {
        let open = |slots: &[(String, Vec<u16>)]| {
            slots.iter().map(|(node, slots)| json!({"node": node, "slots": slots})).collect::<Vec<_>>()
        };
        let owners = self.multiple_owners.as_ref().map(|owners| {
            owners.iter().map(|(slot, nodes)| json!({"slot": slot, "nodes": nodes})).collect::<Vec<_>>()
        });
        json!({
            "ok": self.is_clean(),
            "nodes": nodes.iter().map(node_json).collect::<Vec<_>>(),
            "consistent": self.consistent,
            "migrating": open(&self.migrating),
            "importing": open(&self.importing),
            "uncovered_slots": ranges(&self.uncovered),
            "multiple_owners": owners,
        })
    }
}

/// A node for scripts.
pub(super) fn node_json(node: &Node) -> Json {
    json!({
        "id": node.id,
        "host": node.host,
        "port": node.port,
        "role": if node.is_replica() { "replica" } else { "primary" },
        "primary": node.primary_id,
        "flags": node.flags,
        "slots": ranges(&node.slots),
        "slot_count": node.slots.len(),
        "replica_count": node.replica_count,
    })
}

/// Looks at nodes; `views` is what each of them knows of all nodes, `None` for one that did not say.
pub(super) fn diagnose(nodes: &[Node], views: &[Option<Vec<Node>>]) -> Findings {
    let open = |slots_of: fn(&Node) -> &OpenSlots| {
        nodes
            .iter()
            .filter(|node| !slots_of(node).is_empty())
            .map(|node| (node.address(), slots_of(node).keys().copied().collect()))
            .collect()
    };
    let covered: BTreeSet<u16> = nodes.iter().flat_map(|node| node.slots.iter().copied()).collect();
    Findings {
        consistent: agree(views),
        migrating: open(|node| &node.migrating),
        importing: open(|node| &node.importing),
        uncovered: (0..SLOT_COUNT).filter(|slot| !covered.contains(slot)).collect(),
        multiple_owners: None,
    }
}

/// Whether all views give the slots to the same nodes. One view alone agrees with itself.
pub(super) fn agree(views: &[Option<Vec<Node>>]) -> bool {
    let signatures: Option<Vec<_>> = views.iter().map(|view| view.as_deref().and_then(signature)).collect();
    views.len() <= 1
        || signatures.is_some_and(|signatures| signatures.windows(2).all(|pair| pair[0] == pair[1]))
}

/// What each member knows of all nodes.
pub(super) fn views(members: &mut [Member]) -> Vec<Option<Vec<Node>>> {
    members.iter_mut().map(|member| member.known_nodes().ok()).collect()
}

/// Checks a cluster and prints how it goes. Returns the findings.
pub(super) fn check(cluster: &mut Cluster, search_multiple_owners: bool) -> Step<Findings> {
    print_headline(cluster);
    cluster.members.iter().for_each(|member| out!("{}\n", member.node.describe(cluster.style)));
    check_configuration(cluster, search_multiple_owners)
}

/// As [`check`], without the list of nodes.
pub(super) fn check_without_nodes(cluster: &mut Cluster) -> Step<Findings> {
    print_headline(cluster);
    check_configuration(cluster, false)
}

/// The first line of a check.
pub(super) fn print_headline(cluster: &Cluster) {
    if let Some(first) = cluster.members.first() {
        let address = first.node.address();
        log(Level::Information, &format!(">>> Performing Cluster Check (using node {address})\n"));
    }
}

fn check_configuration(cluster: &mut Cluster, search_multiple_owners: bool) -> Step<Findings> {
    let nodes = cluster.nodes();
    let views = views(&mut cluster.members);
    let mut findings = diagnose(&nodes, &views);
    print_agreement(&findings);
    print_open_slots(&findings);
    print_coverage(&findings);
    if search_multiple_owners {
        log(Level::Information, ">>> Check for multiple slot owners...\n");
        findings.multiple_owners = Some(find_multiple_owners(cluster)?);
        print_multiple_owners(&findings);
    }
    Ok(findings)
}

/// Checks a cluster without a word.
pub(super) fn check_quietly(cluster: &mut Cluster, search_multiple_owners: bool) -> Step<Findings> {
    let views = views(&mut cluster.members);
    let mut findings = diagnose(&cluster.nodes(), &views);
    if search_multiple_owners {
        findings.multiple_owners = Some(find_multiple_owners(cluster)?);
    }
    Ok(findings)
}

/// Whether all nodes see the same.
pub(super) fn print_agreement(findings: &Findings) {
    if findings.consistent {
        log(Level::Success, "[OK] All nodes agree about slots configuration.\n");
    } else {
        log(Level::Error, "[ERR] Nodes don't agree about configuration!\n");
    }
}

/// Slots that are on the move.
pub(super) fn print_open_slots(findings: &Findings) {
    log(Level::Information, ">>> Check for open slots...\n");
    let list = |slots: &[u16]| slots.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let mut open = BTreeSet::new();
    for (state, nodes) in [("migrating", &findings.migrating), ("importing", &findings.importing)] {
        for (address, slots) in nodes {
            open.extend(slots.iter().copied());
            let message = format!("[WARNING] Node {address} has slots in {state} state {}.\n", list(slots));
            log(Level::Error, &message);
        }
    }
    if !open.is_empty() {
        let open: Vec<_> = open.into_iter().collect();
        log(Level::Error, &format!("[WARNING] The following slots are open: {}.\n", list(&open)));
    }
}

/// Whether every slot has an owner.
pub(super) fn print_coverage(findings: &Findings) {
    log(Level::Information, ">>> Check slots coverage...\n");
    if findings.uncovered.is_empty() {
        log(Level::Success, &format!("[OK] All {SLOT_COUNT} slots covered.\n"));
    } else {
        log(Level::Error, &format!("[ERR] Not all {SLOT_COUNT} slots are covered by nodes.\n\n"));
    }
}

fn print_multiple_owners(findings: &Findings) {
    let owners = findings.multiple_owners.as_deref().unwrap_or_default();
    for (slot, nodes) in owners {
        log(Level::Error, &format!("[WARNING] Slot {slot} has {} owners:\n", nodes.len()));
        nodes.iter().for_each(|node| log(Level::Error, &format!("    {node}\n")));
    }
    if owners.is_empty() {
        log(Level::Success, "[OK] No multiple owners found.\n");
    }
}

/// Slots that several primaries own or hold keys of.
pub(super) fn find_multiple_owners(cluster: &mut Cluster) -> Step<Vec<(u16, Vec<String>)>> {
    let mut owners: Vec<Vec<String>> = vec![Vec::new(); usize::from(SLOT_COUNT)];
    for member in cluster.members.iter_mut().filter(|member| !member.node.is_replica()) {
        let address = member.node.address();
        let owned: BTreeSet<u16> = member.node.slots.iter().copied().collect();
        owned.iter().for_each(|slot| owners[usize::from(*slot)].push(address.clone()));
        let others: Vec<u16> = (0..SLOT_COUNT).filter(|slot| !owned.contains(slot)).collect();
        for slots in others.chunks(PIPELINE_LENGTH) {
            for slot in slots {
                member.connection.queue(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
            }
            for slot in slots {
                match member.receive() {
                    Ok(reply) if reply.as_integer().unwrap_or(0) > 0 => {
                        owners[usize::from(*slot)].push(address.clone());
                    }
                    Ok(_) => {}
                    Err(error) => crate::exit::fail!("Node {address}: {error}"),
                }
            }
        }
    }
    let several = (0..SLOT_COUNT).zip(owners).filter(|(_, nodes)| nodes.len() > 1);
    Ok(several.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::parse_nodes;

    fn nodes(first: &str, second: &str) -> Vec<Node> {
        let line = |id: char, port: u16, slots: &str| {
            let id = id.to_string().repeat(40);
            format!("{id} 127.0.0.1:{port}@1{port} master - 0 0 1 connected {slots}\n")
        };
        parse_nodes(&(line('a', 7000, first) + &line('b', 7001, second))).unwrap()
    }

    #[test]
    fn a_whole_cluster_is_clean() {
        let nodes = nodes("0-8000", "8001-16383");
        let findings = diagnose(&nodes, &[Some(nodes.clone()), Some(nodes.clone())]);
        assert!(findings.is_clean(), "{findings:?}");
        assert_eq!(findings.to_json(&nodes)["ok"], true);
        assert_eq!(findings.to_json(&nodes)["nodes"][1]["slots"], json!([[8001, 16383]]));
    }

    #[test]
    fn every_fault_is_found() {
        let whole = nodes("0-8000", "8001-16383");
        let holes = nodes("0-8000", "8001-16380 16382");
        assert_eq!(diagnose(&holes, &[Some(holes.clone())]).uncovered, [16381, 16383]);
        assert!(!diagnose(&whole, &[Some(whole.clone()), Some(holes)]).is_clean());
        assert!(!diagnose(&whole, &[Some(whole.clone()), None]).consistent);
        let open = nodes("0-8000 [5->-b]", "8001-16383 [5-<-a]");
        let findings = diagnose(&open, &[Some(open.clone()), Some(open.clone())]);
        assert_eq!(findings.migrating, [("127.0.0.1:7000".to_owned(), vec![5])]);
        assert_eq!(findings.importing, [("127.0.0.1:7001".to_owned(), vec![5])]);
        assert!(findings.consistent && !findings.is_clean());
    }
}
