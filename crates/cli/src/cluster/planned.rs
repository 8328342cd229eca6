//! `--cluster plan KIND …`: what another command would do, step by step, with cost and risk. Nothing is changed.

use super::check;
use super::client::{Cluster, Member};
use super::costs::{Measure, measure};
use super::log::{Level, log};
use super::membership::Place;
use super::node::{Node, parse_address, ranges};
use super::slot_plan::Transfer;
use super::{create, drain, import, membership, planned_fix, rebalance, reshard, restore};
use crate::console::{self, out};
use crate::exit::{Step, fail};
use crate::options::{ClusterOptions, Options};
use crate::text::lossy;
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// More bytes than this in one step take long.
const LARGE_BYTES: u64 = 1 << 30;

/// What the steps of `plan restore` and `plan import` are called.
pub(super) const RESTORE_KEYS: &str = "restore-keys";
pub(super) const IMPORT_KEYS: &str = "import-keys";

/// How dangerous a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Risk {
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
pub(super) struct Cost {
    pub slots: usize,
    pub keys: u64,
    pub bytes: u64,
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
pub(super) struct PlannedStep {
    pub action: &'static str,
    /// For people.
    pub text: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub slots: Vec<u16>,
    pub cost: Cost,
    /// Keys of the step that the target has already, where that is of interest.
    pub present: Option<u64>,
    pub risk: Risk,
    pub why: &'static str,
    /// What is known of the slot, for `fix`.
    pub evidence: Json,
}

impl PlannedStep {
    /// A step that concerns no slots and costs nothing.
    pub(super) fn new(action: &'static str, text: String, risk: Risk, why: &'static str) -> Self {
        Self {
            action,
            text,
            from: None,
            to: None,
            slots: Vec::new(),
            cost: Cost::default(),
            present: None,
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
            "present": self.present,
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
    if kind == "create" {
        show(&kind, &create::planned(rest, options)?, options);
        return Ok(0);
    }
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
            match cluster.members.iter().position(|member| member.node.id.eq_ignore_ascii_case(&id)) {
                Some(removed) if !cluster.members[removed].node.slots.is_empty() => {
                    fail!("[ERR] The node has slots: plan drain shows how they would go.");
                }
                Some(removed) => removal(&cluster, removed),
                None if options.cluster.if_needed => Vec::new(),
                None => fail!("[ERR] No such node ID {id}. CLUSTER NODES shows the ids."),
            }
        }
        "replicate" => {
            let (Some(replica), Some(primary)) = (argument(1), argument(2)) else {
                fail!("[ERR] Wrong number of arguments for plan replicate");
            };
            let (replica, primary) = membership::pair(&cluster, &replica, &primary)?;
            replication(&mut cluster, replica, primary)?
        }
        "restore" => {
            let Some(directory) = rest.get(1) else {
                fail!("[ERR] Wrong number of arguments for plan restore")
            };
            restore::planned(&mut cluster, directory, options)?
        }
        "import" => import::planned(&mut cluster, options)?,
        "fix" => planned_fix::repairs(&mut cluster, &findings.uncovered)?,
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
        if let Some(present) = step.present.filter(|present| *present > 0) {
            let _ = write!(line, "; {present} of the keys are there already");
        }
        out!("{line}\n     risk: {} ({})\n", step.risk.name(), step.why);
    }
    let bytes = shown_bytes(cost.bytes);
    out!("In all: {} slots, {} keys, about {bytes}; risk: {}.\n", cost.slots, cost.keys, risk.name());
    console::flush();
}

/// Bytes for people.
pub(super) fn shown_bytes(bytes: u64) -> String {
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

/// Keys that come from outside go to one primary.
pub(super) fn arrival(
    action: &'static str,
    text: String,
    to: &Node,
    (keys, bytes, present): (u64, u64, u64),
    options: &ClusterOptions,
) -> PlannedStep {
    let (risk, why) = if present > 0 && options.replace {
        (Risk::High, "keys that are there already lose the values they have now")
    } else if present > 0 && !(options.if_needed && action == RESTORE_KEYS) {
        (Risk::Medium, "a key that is there already ends it: say what is to become of it by an option")
    } else if action == IMPORT_KEYS && !options.copy {
        (Risk::Medium, "keys leave the server they come from as they go: --cluster-copy lets them stay there")
    } else if bytes > LARGE_BYTES {
        (Risk::Medium, "it takes long, and the target needs the memory")
    } else {
        (Risk::Low, "keys are added, and nothing else changes")
    };
    PlannedStep {
        to: Some(to.id.clone()),
        cost: Cost { slots: 0, keys, bytes },
        present: Some(present),
        ..PlannedStep::new(action, text, risk, why)
    }
}

/// A new node joins.
fn addition(cluster: &mut Cluster, new: &str, options: &Options) -> Step<Vec<PlannedStep>> {
    let Some((host, port, _)) = parse_address(new) else { fail!("Invalid address format: {new}") };
    let mut member = Member::connect(Node::at(&host, port), options)?;
    member.require_cluster_mode()?;
    let known = member.load()?;
    let primary =
        if options.cluster.as_replica { Some(membership::primary_for(cluster, options)?) } else { None };
    let place = membership::place_of(cluster, &mut member, &known, primary, options)?;
    let mut steps = Vec::new();
    if matches!(place, Place::Outside) {
        let text = format!("introduce {new} to the cluster");
        steps.push(PlannedStep {
            to: Some(member.node.id.clone()),
            ..PlannedStep::new("meet", text, Risk::Low, "it is empty and has no slots")
        });
    }
    if let Some(primary) = primary.filter(|_| !matches!(place, Place::Done)) {
        steps.push(following(cluster, &member.node, primary)?);
    }
    Ok(steps)
}

/// A member becomes a replica of another one.
fn replication(cluster: &mut Cluster, replica: usize, primary: usize) -> Step<Vec<PlannedStep>> {
    let node = cluster.members[replica].node.clone();
    if node.primary_id.as_ref() == Some(&cluster.members[primary].node.id) {
        return Ok(Vec::new());
    }
    Ok(vec![following(cluster, &node, primary)?])
}

/// A node follows a primary.
fn following(cluster: &mut Cluster, replica: &Node, primary: usize) -> Step<PlannedStep> {
    let node = cluster.members[primary].node.clone();
    let cost = Cost {
        slots: 0,
        keys: measure(cluster, primary, &node.slots, Measure::Keys)?.iter().sum(),
        bytes: measure(cluster, primary, &node.slots, Measure::Bytes)?.iter().sum(),
    };
    let (risk, why) = if replica.is_replica() {
        (Risk::Medium, "its primary has a replica less, and the new one sends a snapshot of its data")
    } else {
        (Risk::Low, "the primary sends a snapshot of its data")
    };
    let text = format!("let {} follow {}", replica.address(), node.address());
    let step = PlannedStep::new("replicate", text, risk, why);
    Ok(PlannedStep { from: Some(node.id.clone()), to: Some(replica.id.clone()), cost, ..step })
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
