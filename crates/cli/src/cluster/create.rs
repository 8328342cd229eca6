//! `--cluster create`: gather, plan, ask, execute, check.

use super::check;
use super::client::{Cluster, Member};
use super::joining::{meet_words, wait_for_join};
use super::log::{Level, log};
use super::node::{Node, format_slots, parse_address};
use super::plan::{Affinity, CreatePlan, PRIMARIES_MIN, PlannedPrimary, plan_create};
use super::planned::{Cost, PlannedStep, Risk};
use super::report;
use crate::console::out;
use crate::exit::{Exit, Step, fail};
use crate::options::{ManagerStyle, Options};
use serde_json::json;

/// What the nodes for a new cluster are already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// They are empty and know nobody.
    Fresh,
    /// An earlier run was stopped: some know each other, some have slots, and none has keys.
    Begun,
    /// They are one whole cluster, and nobody else belongs to it.
    Whole,
}

/// Creates a cluster of the nodes at these addresses.
pub(super) fn run(addresses: &[Vec<u8>], options: &Options) -> Step<i32> {
    if options.cluster.style == ManagerStyle::Trib {
        log(Level::Information, ">>> Creating cluster\n");
    }
    let (mut members, standing) = gather(addresses, options)?;
    report::note("nodes", json!(members.iter().map(|member| &member.node.id).collect::<Vec<_>>()));
    let plan = plan(&members, standing, options)?;
    if standing == Standing::Whole {
        log(Level::Success, "[OK] These nodes are a cluster already.\n");
        return Ok(0);
    }
    if standing == Standing::Begun {
        log(Level::Warning, "*** These nodes have begun to become a cluster: going on where that stopped.\n");
    }
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
    wait_for_join(&mut members, options)?;
    for (replica, primary) in followers(&members, &plan) {
        let primary_id = members[primary].node.id.clone();
        members[replica].call_or_complain(&["CLUSTER", "REPLICATE", &primary_id])?;
    }
    let Some(first) = members.first() else { return Ok(0) };
    let (host, port) = (first.node.host.clone(), first.node.port);
    drop(members);
    check::check(&mut Cluster::load(&host, port, options)?, false)?;
    Ok(0)
}

/// What creating a cluster of these nodes would do.
pub(super) fn planned(addresses: &[Vec<u8>], options: &Options) -> Step<Vec<PlannedStep>> {
    let (members, standing) = gather(addresses, options)?;
    let plan = plan(&members, standing, options)?;
    if standing == Standing::Whole {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for primary in &plan.primaries {
        let node = &members[primary.node].node;
        let slots = missing_slots(node, primary);
        let (first, last) = (primary.first_slot, primary.last_slot);
        let text = format!("give slots {first} to {last} to {}", node.address());
        let why = "nobody owns them, and nobody has keys";
        let cost = Cost { slots: slots.len(), ..Cost::default() };
        let step = PlannedStep::new("assign-slots", text, Risk::Low, why);
        steps.push(PlannedStep { to: Some(node.id.clone()), slots, cost, ..step });
    }
    steps.retain(|step| !step.slots.is_empty());
    for member in members.iter().skip(1) {
        let text = format!("introduce {} to {}", member.node.address(), members[0].node.address());
        let step = PlannedStep::new("meet", text, Risk::Low, "it is empty");
        steps.push(PlannedStep { to: Some(member.node.id.clone()), ..step });
    }
    for (replica, primary) in followers(&members, &plan) {
        let (replica, primary) = (&members[replica].node, &members[primary].node);
        let text = format!("let {} follow {}", replica.address(), primary.address());
        let (risk, why) = if replica.host == primary.host {
            (Risk::Medium, "both are on one host, and are lost with it")
        } else {
            (Risk::Low, "there is nothing to copy")
        };
        let step = PlannedStep::new("replicate", text, risk, why);
        steps.push(PlannedStep { from: Some(primary.id.clone()), to: Some(replica.id.clone()), ..step });
    }
    Ok(steps)
}

/// Who gets which slots and who follows whom; what is so already stays.
fn plan(members: &[Member], standing: Standing, options: &Options) -> Step<CreatePlan> {
    let replicas = usize::try_from(options.cluster.replicas).unwrap_or(0);
    let hosts: Vec<_> = members.iter().map(|member| member.node.host.as_str()).collect();
    let mut plan = match plan_create(&hosts, replicas, &mut fastrand::Rng::new()) {
        Ok(plan) => plan,
        Err(needed) => {
            log(Level::Error, &too_few_nodes(hosts.len(), replicas, needed));
            return Err(Exit(1));
        }
    };
    let nodes: Vec<&Node> = members.iter().map(|member| &member.node).collect();
    match standing {
        Standing::Fresh => {}
        Standing::Begun => keep_what_is_done(&mut plan, &nodes)?,
        Standing::Whole => {
            let primaries = nodes.iter().filter(|node| !node.slots.is_empty()).count();
            if primaries != plan.primaries.len() {
                fail!(
                    "[ERR] These nodes are a cluster already, of {primaries} masters; {} were asked for. `reshard`, `drain` and \
                     CLUSTER REPLICATE change it; FLUSHALL and CLUSTER RESET at each node undo it.",
                    plan.primaries.len()
                );
            }
        }
    }
    Ok(plan)
}

/// Fits a plan to what an earlier run has done. That run made the same plan, but for the places of replicas.
fn keep_what_is_done(plan: &mut CreatePlan, nodes: &[&Node]) -> Step {
    let refused = |node: &Node, what: &str| {
        let text = format!(
            "[ERR] Node {} {what}, which does not fit the rest of what was asked for. CLUSTER RESET at each node undoes what \
             was begun.\n",
            node.address()
        );
        log(Level::Error, &text);
        Exit(1)
    };
    for (index, node) in nodes.iter().enumerate() {
        let planned = plan.primaries.iter().find(|primary| primary.node == index);
        let is_in_range =
            |slot: &u16| planned.is_some_and(|own| (own.first_slot..=own.last_slot).contains(slot));
        if !node.slots.iter().all(is_in_range) {
            return Err(refused(node, "has other slots than it would get"));
        }
        if let Some(id) = &node.primary_id {
            let primary = nodes.iter().position(|other| other.id == *id);
            let is_planned = |primary: &usize| plan.primaries.iter().any(|own| own.node == *primary);
            match primary.filter(is_planned) {
                Some(primary) if planned.is_none() => plan.primary_of[index] = Some(primary),
                _ => return Err(refused(node, "is a replica already")),
            }
        }
    }
    Ok(())
}

/// Slots that a node is to have and has not.
fn missing_slots(node: &Node, planned: &PlannedPrimary) -> Vec<u16> {
    let has = |slot: &u16| node.slots.binary_search(slot).is_ok();
    (planned.first_slot..=planned.last_slot).filter(|slot| !has(slot)).collect()
}

/// Replicas that do not follow yet, each with its primary.
fn followers(members: &[Member], plan: &CreatePlan) -> Vec<(usize, usize)> {
    let pairs = plan.primary_of.iter().enumerate();
    let pairs = pairs.filter_map(|(replica, primary)| Some((replica, (*primary)?)));
    pairs.filter(|(replica, _)| members[*replica].node.primary_id.is_none()).collect()
}

fn too_few_nodes(nodes: usize, replicas: usize, needed: usize) -> String {
    format!(
        "*** ERROR: Invalid configuration for cluster creation.\n\
         *** Redis Cluster requires at least {PRIMARIES_MIN} master nodes.\n\
         *** This is not possible with {nodes} nodes and {replicas} replicas per node.\n\
         *** At least {needed} nodes are required.\n"
    )
}

/// Connects to every node and makes sure that it is fit for a new cluster, or for what `--cluster-if-needed` allows.
fn gather(addresses: &[Vec<u8>], options: &Options) -> Step<(Vec<Member>, Standing)> {
    let mut members: Vec<Member> = Vec::with_capacity(addresses.len());
    let mut known = Vec::new();
    let mut taken = None;
    for address in addresses {
        let text = String::from_utf8_lossy(address);
        let Some((host, port, _)) = parse_address(&text) else {
            fail!("Invalid address format: {text}. Say host:port.");
        };
        let mut member = Member::connect(Node::at(&host, port), options)?;
        member.require_cluster_mode()?;
        known.extend(member.load()?);
        if let Some(twin) = members.iter().find(|other| other.node.id == member.node.id) {
            fail!("{text} and {} are the same node. Name each node once.", twin.node.address());
        }
        if options.cluster.if_needed {
            taken = taken.or((!member.is_empty()?).then_some(members.len()));
        } else {
            member
                .require_empty("With --cluster-if-needed, create goes on where it stopped, or is content.")?;
        }
        members.push(member);
    }
    let Some(taken) = taken else { return Ok((members, Standing::Fresh)) };
    let standing = standing(&mut members, &known)?;
    if standing.is_none() {
        // It has keys, or belongs to others.
        members[taken]
            .require_empty("Other nodes than these belong to its cluster, or it has keys and no cluster.")?;
    }
    Ok((members, standing.unwrap_or(Standing::Fresh)))
}

/// What nodes that are not fresh are; nothing if they cannot be what is asked for.
fn standing(members: &mut [Member], known: &[Node]) -> Step<Option<Standing>> {
    let nodes: Vec<Node> = members.iter().map(|member| member.node.clone()).collect();
    // A node that is being introduced has a provisional id; its address is the right one.
    let is_given = |node: &Node| {
        nodes.iter().any(|given| given.id == node.id || (given.host == node.host && given.port == node.port))
    };
    if !known.iter().all(is_given) {
        return Ok(None);
    }
    let views = check::views(members);
    let knows_all = |view: &Option<Vec<Node>>| view.as_ref().is_some_and(|view| view.len() == nodes.len());
    if views.iter().all(knows_all) && check::diagnose(&nodes, &views).is_clean() {
        return Ok(Some(Standing::Whole));
    }
    for member in members.iter_mut() {
        if member.has_keys()? {
            return Ok(None);
        }
    }
    Ok(Some(Standing::Begun))
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
        let member = &mut members[primary.node];
        let slots = missing_slots(&member.node, primary);
        if slots.is_empty() {
            continue;
        }
        let mut words = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
        words.extend(slots.iter().map(u16::to_string));
        member.call_or_complain(&words)?;
    }
    Ok(())
}

/// Introduces every node to the first one.
fn meet(members: &mut [Member]) -> Step {
    let Some((first, others)) = members.split_first_mut() else { return Ok(()) };
    let words = meet_words(&first.node)?;
    others.iter_mut().try_for_each(|member| member.call_or_complain(&words).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::parse_nodes;
    use crate::console;

    fn nodes(slots: [&str; 3], follows: char) -> Vec<Node> {
        let line = |id: char, flags: &str, primary: &str, slots: &str| {
            format!("{} h:1@2 {flags} {primary} 0 0 1 connected {slots}\n", id.to_string().repeat(40))
        };
        let lines: String =
            "abc".chars().zip(slots).map(|(id, slots)| line(id, "master", "-", slots)).collect();
        parse_nodes(&(lines + &line('d', "slave", &follows.to_string().repeat(40), ""))).unwrap()
    }

    #[test]
    fn what_was_begun_is_kept_if_it_fits() {
        let hosts = ["h"; 4];
        let plan = plan_create(&hosts, 0, &mut fastrand::Rng::with_seed(1)).unwrap();
        assert_eq!(plan.primaries.len(), 4, "without replicas every node is a primary");
        let three = |nodes: &[Node]| {
            // Three primaries, and one left over for the first of them.
            let mut plan = plan_create(&hosts[..3], 0, &mut fastrand::Rng::with_seed(1)).unwrap();
            plan.primary_of.push(Some(0));
            let outcome = keep_what_is_done(&mut plan, &nodes.iter().collect::<Vec<_>>());
            (plan, outcome)
        };
        console::capture();
        let (plan, outcome) = three(&nodes(["0-5460", "5461-6000", ""], 'b'));
        assert_eq!((outcome, plan.primary_of[3]), (Ok(()), Some(1)), "it follows whom it follows");
        let own = nodes(["0-5460", "5461-6000", ""], 'b');
        let missing: Vec<usize> =
            plan.primaries.iter().map(|primary| missing_slots(&own[primary.node], primary).len()).collect();
        assert_eq!(missing, [0, 10_922 - 6000, 5461]);
        for wrong in [nodes(["0-5461", "", ""], 'a'), nodes(["", "", ""], 'e')] {
            assert_eq!(three(&wrong).1, Err(Exit(1)));
        }
        assert!(console::end_capture().contains("CLUSTER RESET"));
    }
}
