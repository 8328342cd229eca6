//! What `--cluster fix` would do, slot by slot, with what is known of each.

use super::client::Cluster;
use super::costs::{Measure, measure};
use super::node::{Node, OpenSlots};
use super::planned::{Cost, PlannedStep, Risk};
use crate::exit::Step;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is known of a slot: for every primary that has to do with it, whether it owns it, its epoch and its keys.
pub(super) struct SlotState {
    pub owners: Vec<usize>,
    pub holders: Vec<(usize, u64)>,
    pub migrating: Vec<usize>,
    pub importing: Vec<usize>,
    pub evidence: Json,
}

/// What `fix` would do: open slots one by one, uncovered ones by who holds keys of them.
pub(super) fn repairs(cluster: &mut Cluster, uncovered: &[u16]) -> Step<Vec<PlannedStep>> {
    let open_of = |node: &Node| -> Vec<u16> {
        let keys = |slots: &OpenSlots| slots.keys().copied().collect::<Vec<_>>();
        [keys(&node.migrating), keys(&node.importing)].concat()
    };
    let mut open: Vec<u16> = cluster.members.iter().flat_map(|member| open_of(&member.node)).collect();
    open.sort_unstable();
    open.dedup();
    let mut steps = Vec::new();
    let states = look_at(cluster, &open)?;
    for (slot, state) in open.iter().zip(states) {
        steps.push(repair_of_open_slot(cluster, *slot, state));
    }
    let closed: Vec<u16> =
        uncovered.iter().copied().filter(|slot| open.binary_search(slot).is_err()).collect();
    let mut empty = Vec::new();
    for (slot, state) in closed.iter().zip(look_at(cluster, &closed)?) {
        if state.holders.is_empty() {
            empty.push(*slot);
        } else {
            steps.push(repair_of_uncovered_slot(cluster, *slot, state));
        }
    }
    if !empty.is_empty() {
        let text = format!(
            "give {} slots that nobody owns, and of which nobody has keys, to any primary",
            empty.len()
        );
        let cost = Cost { slots: empty.len(), ..Cost::default() };
        let why = "no reachable node has keys of them; nodes that cannot be reached may";
        let risk = if cluster.unreachable_primaries > 0 { Risk::High } else { Risk::Low };
        steps.push(PlannedStep { slots: empty, cost, ..PlannedStep::new("cover", text, risk, why) });
    }
    Ok(steps)
}

/// Asks all primaries about slots.
pub(super) fn look_at(cluster: &mut Cluster, slots: &[u16]) -> Step<Vec<SlotState>> {
    let primaries: Vec<usize> =
        (0..cluster.members.len()).filter(|&index| !cluster.members[index].node.is_replica()).collect();
    let mut keys: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for &index in &primaries {
        keys.insert(index, measure(cluster, index, slots, Measure::Keys)?);
    }
    let state = |(place, &slot): (usize, &u16)| {
        let node = |index: usize| &cluster.members[index].node;
        let count = |index: usize| keys.get(&index).and_then(|keys| keys.get(place)).copied().unwrap_or(0);
        let with = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            primaries.iter().copied().filter(|&index| wanted(index)).collect()
        };
        let owners = with(&|index| node(index).slots.binary_search(&slot).is_ok());
        let migrating = with(&|index| node(index).migrating.contains_key(&slot));
        let importing = with(&|index| node(index).importing.contains_key(&slot));
        let involved = with(&|index| {
            count(index) > 0 || [&owners, &migrating, &importing].iter().any(|list| list.contains(&index))
        });
        let nodes: Vec<Json> = involved
            .iter()
            .map(|&index| {
                json!({
                    "node": node(index).id, "address": node(index).address(), "owner": owners.contains(&index),
                    "epoch": node(index).epoch, "keys": count(index),
                    "migrating_to": node(index).migrating.get(&slot), "importing_from": node(index).importing.get(&slot),
                })
            })
            .collect();
        let holders =
            primaries.iter().map(|&index| (index, count(index))).filter(|(_, keys)| *keys > 0).collect();
        SlotState { owners, holders, migrating, importing, evidence: json!({"slot": slot, "nodes": nodes}) }
    };
    Ok(slots.iter().enumerate().map(state).collect())
}

/// The evidence in words: who owns the slot, with epochs and keys.
pub(super) fn in_words(evidence: &Json) -> String {
    let nodes = evidence["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = nodes.iter().map(|node| {
        let mut text = format!("{} ", node["address"].as_str().unwrap_or_default());
        text += if node["owner"] == true { "owns it" } else { "does not own it" };
        let _ = write!(text, ", epoch {}, {} keys", node["epoch"], node["keys"]);
        text
    });
    words.collect::<Vec<_>>().join("; ")
}

fn repair_of_open_slot(cluster: &Cluster, slot: u16, state: SlotState) -> PlannedStep {
    let id = |index: usize| cluster.members[index].node.id.clone();
    let address = |index: usize| cluster.members[index].node.address();
    let claims =
        state.owners.len() + state.holders.iter().filter(|(node, _)| !state.owners.contains(node)).count();
    let known = in_words(&state.evidence);
    let keys = state.holders.iter().map(|(_, keys)| keys).sum();
    let mut step = match (&state.owners[..], &state.migrating[..], &state.importing[..]) {
        (&[_], &[source], &[target]) => {
            let text = format!(
                "finish moving slot {slot} from {} to {} ({known})",
                address(source),
                address(target)
            );
            PlannedStep {
                from: Some(id(source)),
                to: Some(id(target)),
                ..PlannedStep::new("finish-move", text, Risk::Low, "both nodes say that it is moving there")
            }
        }
        (&[owner], ..) if claims == 1 => {
            let text = format!("close slot {slot}, which stays at {} ({known})", address(owner));
            PlannedStep {
                to: Some(id(owner)),
                ..PlannedStep::new(
                    "close",
                    text,
                    Risk::Low,
                    "it has one owner, and nobody else has keys of it",
                )
            }
        }
        (&[owner], ..) => {
            let text = format!("move the keys of slot {slot} home to {} ({known})", address(owner));
            let why =
                "keys that are on both sides are compared; they are replaced only if told, and saved before";
            PlannedStep { to: Some(id(owner)), ..PlannedStep::new("move-keys", text, Risk::Medium, why) }
        }
        _ => {
            let text = format!("give slot {slot} to the node with the most keys of it ({known})");
            PlannedStep::new("choose-owner", text, Risk::High, "it has no single owner: this is a guess")
        }
    };
    step.slots = vec![slot];
    step.cost = Cost { slots: 1, keys, bytes: 0 };
    step.evidence = state.evidence;
    step
}

fn repair_of_uncovered_slot(cluster: &Cluster, slot: u16, state: SlotState) -> PlannedStep {
    let known = in_words(&state.evidence);
    let keys = state.holders.iter().map(|(_, keys)| keys).sum();
    let most = state.holders.iter().max_by_key(|(_, keys)| *keys).map(|(node, _)| *node);
    let (to, target) = most.map_or_else(Default::default, |node| {
        (Some(cluster.members[node].node.id.clone()), cluster.members[node].node.address())
    });
    let step = if state.holders.len() == 1 {
        let text = format!("give slot {slot} to {target} ({known})");
        PlannedStep::new("cover", text, Risk::Medium, "nobody owns it, and only this node has keys of it")
    } else {
        let text = format!("give slot {slot} to {target} and move the others' keys there ({known})");
        PlannedStep::new(
            "gather-keys",
            text,
            Risk::High,
            "several nodes have keys of it: which are newer is a guess",
        )
    };
    PlannedStep {
        to,
        slots: vec![slot],
        cost: Cost { slots: 1, keys, bytes: 0 },
        evidence: state.evidence,
        ..step
    }
}
