//! `--cluster rebalance`: every primary gets its share of the slots.

use super::atomic_moves;
use super::check;
use super::client::Cluster;
use super::cost_plan::{CostShare, balance_costs};
use super::costs::{self, Measure};
use super::log::{Level, log};
use super::moving::MoveOptions;
use super::slot_plan::{Balance, Share, Transfer, balance};
use crate::console::{self, out};
use crate::exit::{Exit, Step, fail};
use crate::options::{ManagerStyle, Options};
use serde_json::json;

/// Loads, checks, plans and carries the plan out.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let mut cluster = super::load(arguments, options)?;
    let is_json = super::wants_json(options);
    let shares = shares(&cluster, options)?;
    let findings = if is_json {
        check::check_quietly(&mut cluster, false)?
    } else {
        check::check_without_nodes(&mut cluster)?
    };
    if !findings.is_clean() {
        log(Level::Error, "*** Please fix your cluster problems before rebalancing\n");
        return Ok(1);
    }
    let (count, total_weight) = (shares.len(), shares.iter().map(|share| share.weight).sum::<f32>());
    let plan = planned(&mut cluster, shares, options)?;
    if is_json {
        return carry_out_quietly(&mut cluster, plan, options);
    }
    let Some(plan) = plan else {
        let threshold = options.cluster.threshold;
        let threshold = shown(threshold, threshold.fract() == 0.0, options);
        let text = format!("*** No rebalancing needed! All nodes are within the {threshold}% threshold.\n");
        log(Level::Warning, &text);
        return Ok(0);
    };
    let total_weight = shown(total_weight, options.cluster.weights.is_empty(), options);
    let text = format!(">>> Rebalancing across {count} nodes. Total weight = {total_weight}\n");
    log(Level::Information, &text);
    if options.verbose {
        for (node, balance) in &plan.balances {
            out!("{} balance is {balance} slots\n", cluster.members[*node].node.address());
        }
    }
    let show = |cluster: &Cluster, transfer: &Transfer| {
        let (from, to) = (
            cluster.members[transfer.source].node.address(),
            cluster.members[transfer.target].node.address(),
        );
        let count = transfer.slots.len();
        out!("Moving {count} slots from {from} to {to}\n{}\n", "#".repeat(count));
        console::flush();
    };
    if options.cluster.simulate {
        plan.transfers.iter().for_each(|transfer| show(&cluster, transfer));
        return Ok(0);
    }
    let moving = MoveOptions::default();
    atomic_moves::carry_out(&mut cluster, &plan.transfers, moving, options, &mut |cluster, transfer, _| {
        show(cluster, transfer);
    })?;
    Ok(0)
}

/// What a rebalancing with these options would move.
pub(super) fn transfers(cluster: &mut Cluster, options: &Options) -> Step<Vec<Transfer>> {
    let shares = shares(cluster, options)?;
    Ok(planned(cluster, shares, options)?.map_or_else(Vec::new, |plan| plan.transfers))
}

/// The primaries that take part.
fn shares(cluster: &Cluster, options: &Options) -> Step<Vec<Share>> {
    let weights = weights(cluster, &options.cluster.weights)?;
    let shares = cluster
        .members
        .iter()
        .enumerate()
        .filter(|(_, member)| !member.node.is_replica())
        .filter(|(_, member)| options.cluster.use_empty_primaries || !member.node.slots.is_empty())
        .map(|(node, member)| Share { node, slots: member.node.slots.clone(), weight: weights[node] });
    Ok(shares.collect())
}

/// The plan by slots, or by what `--cluster-by` says; `None` if all have their share.
fn planned(cluster: &mut Cluster, shares: Vec<Share>, options: &Options) -> Step<Option<Balance>> {
    let by = options.cluster.by.as_deref().unwrap_or("slots");
    if by == "slots" {
        return Ok(balance(shares, options.cluster.threshold));
    }
    let Some(measure) = Measure::parse(by) else {
        fail!("[ERR] --cluster-by knows slots, keys, bytes and load, not '{by}'.");
    };
    let mut cost_shares = Vec::new();
    for Share { node, slots, weight } in shares {
        let costs = costs::measure(cluster, node, &slots, measure)?;
        let slots = slots.into_iter().zip(costs).collect();
        cost_shares.push(CostShare { node, slots, weight: f64::from(weight) });
    }
    let transfers = balance_costs(&cost_shares, f64::from(options.cluster.threshold));
    Ok((!transfers.is_empty()).then(|| Balance { balances: Vec::new(), transfers }))
}

/// A number as the manager prints it; `redis-trib.rb` knew whole ones.
fn shown(number: f32, is_whole: bool, options: &Options) -> String {
    match options.cluster.style {
        ManagerStyle::Cli => format!("{number:.2}"),
        ManagerStyle::Trib if is_whole => format!("{number:.0}"),
        ManagerStyle::Trib => format!("{number:?}"),
    }
}

/// The weight of every node: 1 unless it is given. A node is named by the beginning of its id.
fn weights(cluster: &Cluster, given: &[String]) -> Step<Vec<f32>> {
    let mut weights = vec![1.0; cluster.members.len()];
    for word in given {
        let Some((name, weight)) = word.split_once('=') else {
            log(Level::Error, &format!("*** invalid input {word}\n"));
            return Err(Exit(1));
        };
        let name = name.to_ascii_lowercase();
        let is_named = |id: &str| id.to_ascii_lowercase().starts_with(&name);
        // A weight may be given to a replica, too: it is left aside, and scripts need not know who is which.
        let found = cluster.members.iter().position(|member| is_named(&member.node.id));
        let Some(index) = found else {
            log(Level::Error, &format!("*** No such master node {name}\n"));
            return Err(Exit(1));
        };
        weights[index] = weight.trim().parse().unwrap_or(0.0);
    }
    Ok(weights)
}

fn carry_out_quietly(cluster: &mut Cluster, plan: Option<Balance>, options: &Options) -> Step<i32> {
    let transfers = plan.map_or_else(Vec::new, |plan| plan.transfers);
    if !options.cluster.simulate {
        atomic_moves::carry_out(cluster, &transfers, MoveOptions::default(), options, &mut |_, _, _| ())?;
    }
    let id = |cluster: &Cluster, index: usize| cluster.members[index].node.id.clone();
    let mut shown = Vec::new();
    for transfer in transfers {
        let (from, to) = (id(cluster, transfer.source), id(cluster, transfer.target));
        shown.push(json!({"from": from, "to": to, "slots": transfer.slots}));
    }
    out!("{}\n", json!({"ok": true, "simulated": options.cluster.simulate, "transfers": shown}));
    Ok(0)
}
