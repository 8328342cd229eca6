//! `--cluster plan KIND …`: what another command would do, step by step, with cost and risk. Nothing is changed.

use super::check;
use super::client::{Cluster, Member};
use super::costs::{Measure, measure};
use super::log::{Level, log};
use super::node::{Node, OpenSlots, parse_address, ranges};
use super::slot_plan::Transfer;
use super::{drain, rebalance, reshard};
use crate::console::{self, out};
use crate::exit::{Step, fail};
use crate::options::Options;
use crate::text::lossy;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// More bytes than this in one step take long.
const LARGE_BYTES: u64 = 1 << 30;

/// How dangerous a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Risk {
    /// Clients are redirected, nothing else.
    Low,
    /// It takes long, or a node has less to fall back on meanwhile.
    Medium,
    /// It rests on a guess about data, or data may be lost.
    High,
}

impl Risk {
    fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What a step moves.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    slots: usize,
    keys: u64,
    bytes: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.slots += other.slots;
        self.keys += other.keys;
        self.bytes += other.bytes;
    }

    fn to_json(self) -> Json {
        json!({"slots": self.slots, "keys": self.keys, "bytes": self.bytes})
    }
}

/// One step.
#[derive(Debug)]
struct PlannedStep {
    action: &'static str,
    /// For people.
    text: String,
    from: Option<String>,
    to: Option<String>,
    slots: Vec<u16>,
    cost: Cost,
    risk: Risk,
    why: &'static str,
    /// What is known of the slot, for `fix`.
    evidence: Json,
}

impl PlannedStep {
    fn new(action: &'static str, text: String, risk: Risk, why: &'static str) -> Self {
        Self {
            action,
            text,
            from: None,
            to: None,
            slots: Vec::new(),
            cost: Cost::default(),
            risk,
            why,
            evidence: Json::Null,
        }
    }

    fn to_json(&self) -> Json {
        json!({
            "action": self.action,
            "text": self.text,
            "from": self.from,
            "to": self.to,
            "slots": ranges(&self.slots),
            "cost": self.cost.to_json(),
            "risk": self.risk.name(),
            "why": self.why,
            "evidence": self.evidence,
        })
    }
}

/// Makes the plan that the first argument names, and shows it.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let Some((kind, rest)) = arguments.split_first() else { fail!("[ERR] What is to be planned?") };
    let kind = lossy(kind).into_owned();
    let at = usize::from(kind == "add-node");
    let Some(address) = rest.get(at) else {
        fail!("[ERR] Wrong number of arguments for plan {kind}");
    };
    let mut cluster = super::load(std::slice::from_ref(address), options)?;
    let findings = check::check_quietly(&mut cluster, false)?;
    if kind != "fix" && !findings.is_clean() {
        fail!("*** Please fix your cluster problems first: `plan fix` shows what there is to do.");
    }
    let argument = |index: usize| rest.get(index).map(|word| lossy(word).into_owned());
    let steps = match kind.as_str() {
        "reshard" => {
            let transfers = reshard::transfers_of_options(&cluster, options)?;
            moves(&mut cluster, &transfers)?
        }
        "rebalance" => {
            let transfers = rebalance::transfers(&mut cluster, options)?;
            moves(&mut cluster, &transfers)?
        }
        "drain" => {
            let Some(id) = argument(1) else { fail!("[ERR] Wrong number of arguments for plan drain") };
            let (source, transfers) = drain::transfers(&cluster, &id)?;
            let mut steps = moves(&mut cluster, &transfers)?;
            if options.cluster.delete {
                steps.extend(removal(&cluster, source));
            }
            steps
        }
        "add-node" => addition(&mut cluster, &argument(0).unwrap_or_default(), options)?,
        "del-node" => {
            let Some(id) = argument(1) else { fail!("[ERR] Wrong number of arguments for plan del-node") };
            let found = cluster.members.iter().position(|member| member.node.id.eq_ignore_ascii_case(&id));
            let Some(removed) = found else { fail!("[ERR] No such node ID {id}") };
            if !cluster.members[removed].node.slots.is_empty() {
                fail!("[ERR] The node has slots: plan drain shows how they would go.");
            }
            removal(&cluster, removed)
        }
        "fix" => repairs(&mut cluster, &findings.uncovered)?,
        _ => fail!("[ERR] There is no plan for '{kind}'."),
    };
    show(&kind, &steps, options);
    Ok(0)
}

fn show(kind: &str, steps: &[PlannedStep], options: &Options) {
    let mut cost = Cost::default();
    steps.iter().for_each(|step| cost.add(step.cost));
    let risk = steps.iter().map(|step| step.risk).max().unwrap_or(Risk::Low);
    if super::wants_json(options) {
        let steps: Vec<Json> = steps.iter().map(PlannedStep::to_json).collect();
        out!(
            "{}\n",
            json!({"command": "plan", "ok": true, "plan": kind, "steps": steps, "cost": cost.to_json(), "risk": risk.name()})
        );
        return;
    }
    log(Level::Information, &format!(">>> Plan of {kind}: {} steps. Nothing is changed.\n", steps.len()));
    for (index, step) in steps.iter().enumerate() {
        let mut line = format!("{:>3}. {}", index + 1, step.text);
        if step.cost.slots > 0 || step.cost.keys > 0 {
            let Cost { slots, keys, bytes } = step.cost;
            let _ = write!(line, ": {slots} slots, {keys} keys, about {}", shown_bytes(bytes));
        }
        out!("{line}\n     risk: {} ({})\n", step.risk.name(), step.why);
    }
    let bytes = shown_bytes(cost.bytes);
    out!("In all: {} slots, {} keys, about {bytes}; risk: {}.\n", cost.slots, cost.keys, risk.name());
    console::flush();
}

/// Bytes for people.
fn shown_bytes(bytes: u64) -> String {
    const UNITS: &[&str] = &["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{amount:.1} {name}") }
}

fn moves(cluster: &mut Cluster, transfers: &[Transfer]) -> Step<Vec<PlannedStep>> {
    let mut steps = Vec::new();
    for transfer in transfers {
        let mut slots = transfer.slots.clone();
        slots.sort_unstable();
        let cost = Cost {
            slots: slots.len(),
            keys: measure(cluster, transfer.source, &slots, Measure::Keys)?.iter().sum(),
            bytes: measure(cluster, transfer.source, &slots, Measure::Bytes)?.iter().sum(),
        };
        let (from, to) = (&cluster.members[transfer.source].node, &cluster.members[transfer.target].node);
        let (risk, why) = if cost.bytes > LARGE_BYTES {
            (Risk::Medium, "much data moves: it takes long, and the target needs the memory")
        } else {
            (Risk::Low, "clients are redirected while slots move; it can be stopped between slots")
        };
        let text = format!("move slots from {} to {}", from.address(), to.address());
        steps.push(PlannedStep {
            from: Some(from.id.clone()),
            to: Some(to.id.clone()),
            slots,
            cost,
            ..PlannedStep::new("move-slots", text, risk, why)
        });
    }
    Ok(steps)
}

/// A node without slots leaves.
fn removal(cluster: &Cluster, removed: usize) -> Vec<PlannedStep> {
    let node = &cluster.members[removed].node;
    let mut steps = Vec::new();
    let followers = cluster.members.iter().filter(|member| member.node.primary_id.as_ref() == Some(&node.id));
    for follower in followers {
        let text = format!("let {} follow the primary with the fewest replicas", follower.node.address());
        let why = "it copies that primary's data anew";
        steps.push(PlannedStep {
            from: Some(follower.node.id.clone()),
            ..PlannedStep::new("replicate", text, Risk::Medium, why)
        });
    }
    let why = if node.is_replica() {
        (Risk::Medium, "its primary has a replica less")
    } else {
        (Risk::Low, "it has no slots")
    };
    let text = format!("let all nodes forget {}, and reset it", node.address());
    steps.push(PlannedStep { from: Some(node.id.clone()), ..PlannedStep::new("forget", text, why.0, why.1) });
    steps
}

/// A new node joins.
fn addition(cluster: &mut Cluster, new: &str, options: &Options) -> Step<Vec<PlannedStep>> {
    let Some((host, port, _)) = parse_address(new) else { fail!("Invalid address format: {new}") };
    let mut member = Member::connect(Node::at(&host, port), options)?;
    member.require_cluster_mode()?;
    member.load()?;
    member.require_empty()?;
    let text = format!("introduce {new} to the cluster");
    let mut steps = vec![PlannedStep {
        to: Some(member.node.id.clone()),
        ..PlannedStep::new("meet", text, Risk::Low, "it is empty and has no slots")
    }];
    if options.cluster.as_replica {
        let primary = super::membership::primary_for(cluster, options)?;
        let node = cluster.members[primary].node.clone();
        let cost = Cost {
            slots: 0,
            keys: measure(cluster, primary, &node.slots, Measure::Keys)?.iter().sum(),
            bytes: measure(cluster, primary, &node.slots, Measure::Bytes)?.iter().sum(),
        };
        let text = format!("let it follow {}", node.address());
        steps.push(PlannedStep {
            from: Some(node.id.clone()),
            to: Some(member.node.id.clone()),
            cost,
            ..PlannedStep::new("replicate", text, Risk::Low, "the primary sends a snapshot of its data")
        });
    }
    Ok(steps)
}

/// What is known of a slot: for every primary that has to do with it, whether it owns it, its epoch and its keys.
struct SlotState {
    owners: Vec<usize>,
    holders: Vec<(usize, u64)>,
    migrating: Vec<usize>,
    importing: Vec<usize>,
    evidence: Json,
}

/// What `fix` would do: open slots one by one, uncovered ones by who holds keys of them.
fn repairs(cluster: &mut Cluster, uncovered: &[u16]) -> Step<Vec<PlannedStep>> {
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
fn look_at(cluster: &mut Cluster, slots: &[u16]) -> Step<Vec<SlotState>> {
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
fn in_words(evidence: &Json) -> String {
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

#[cfg(test)]
mod tests {
    use super::shown_bytes;

    #[test]
    fn bytes_for_people() {
        for (bytes, shown) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(shown_bytes(bytes), shown);
        }
    }
}
