//! `--cluster drain`: a primary gives all its slots to the others, and may leave the cluster then.

use super::atomic_moves;
use super::check;
use super::client::Cluster;
use super::log::{Level, log};
use super::membership;
use super::moving::MoveOptions;
use super::node::ranges;
use super::slot_plan::{Transfer, level};
use crate::console::{self, out};
use crate::exit::{Step, fail};
use crate::options::Options;
use crate::text::lossy;
use serde_json::json;

/// Loads, checks, plans, asks and carries the plan out.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let [address, id] = arguments else { fail!("[ERR] Wrong number of arguments for drain") };
    let id = lossy(id).into_owned();
    let mut cluster = super::load(std::slice::from_ref(address), options)?;
    let is_json = super::wants_json(options);
    let findings =
        if is_json { check::check_quietly(&mut cluster, false)? } else { check::check(&mut cluster, false)? };
    if !findings.is_clean() {
        console::flush();
        fail!("*** Please fix your cluster problems before draining a node");
    }
    let (source, transfers) = transfers(&cluster, &id)?;
    let slots = cluster.members[source].node.slots.clone();
    if options.cluster.simulate || !is_json {
        show(&mut cluster, &transfers, source, is_json, options)?;
    }
    if options.cluster.simulate {
        return Ok(0);
    }
    if is_json && !options.cluster.yes {
        fail!("--json asks no questions: say --cluster-yes, too.");
    }
    if !slots.is_empty() && !super::confirm("Do you want to move these slots?", options) {
        return Ok(1);
    }
    carry_out(&mut cluster, &transfers, is_json, options)?;
    let is_deleted = options.cluster.delete && {
        // The node, and its replicas, may follow another one since its last slot has gone: they are looked at anew.
        let (id, asked) = (
            cluster.members[source].node.id.clone(),
            &cluster.members[transfers.first().map_or(other_than(source), |transfer| transfer.target)].node,
        );
        let (host, port) = (asked.host.clone(), asked.port);
        let mut cluster = Cluster::load(&host, port, options)?;
        let removed = cluster.members.iter().position(|member| member.node.id == id);
        removed.map_or(Ok(0), |removed| membership::remove(&mut cluster, removed, is_json))? == 0
    };
    if is_json {
        out!(
            "{}\n",
            json!({"ok": true, "simulated": false, "transfers": described(&cluster, &transfers), "deleted": is_deleted})
        );
    } else {
        let address = cluster.members[source].node.address();
        log(Level::Success, &format!("[OK] Node {address} has no slots any more.\n"));
    }
    Ok(i32::from(options.cluster.delete && !is_deleted))
}

/// The primary with this id, and how its slots go to the others.
pub(super) fn transfers(cluster: &Cluster, id: &str) -> Step<(usize, Vec<Transfer>)> {
    let found = cluster.members.iter().position(|member| member.node.id.eq_ignore_ascii_case(id));
    let Some(source) = found.filter(|&index| !cluster.members[index].node.is_replica()) else {
        fail!("*** The specified node ({id}) is not known or not a master. CLUSTER NODES shows the ids.");
    };
    let others: Vec<(usize, usize)> = (0..cluster.members.len())
        .filter(|&index| index != source && !cluster.members[index].node.is_replica())
        .map(|index| (index, cluster.members[index].node.slots.len()))
        .collect();
    if others.is_empty() {
        fail!("*** There is no other master that could take the slots of this one.");
    }
    Ok((source, level(source, &cluster.members[source].node.slots, &others)))
}

/// The steps, with the keys that they move.
fn show(
    cluster: &mut Cluster,
    transfers: &[Transfer],
    source: usize,
    is_json: bool,
    options: &Options,
) -> Step {
    let mut keys = Vec::new();
    for transfer in transfers {
        let counts = transfer.slots.iter().map(|&slot| cluster.count_keys(source, slot));
        keys.push(counts.sum::<Step<i64>>()?);
    }
    if is_json {
        let mut shown = described(cluster, transfers);
        for (step, keys) in shown.iter_mut().zip(&keys) {
            step["keys"] = json!(keys);
        }
        out!(
            "{}\n",
            json!({"ok": true, "simulated": true, "transfers": shown, "delete": options.cluster.delete})
        );
        return Ok(());
    }
    let from = cluster.members[source].node.address();
    log(Level::Information, &format!(">>> Draining node {from}\n"));
    for (transfer, keys) in transfers.iter().zip(&keys) {
        let to = cluster.members[transfer.target].node.address();
        out!("Moving {} slots with {keys} keys from {from} to {to}\n", transfer.slots.len());
    }
    Ok(())
}

/// A member that is not this one.
fn other_than(index: usize) -> usize {
    usize::from(index == 0)
}

fn carry_out(cluster: &mut Cluster, transfers: &[Transfer], is_quiet: bool, options: &Options) -> Step {
    let moving = MoveOptions { verbose: !is_quiet, ..MoveOptions::default() };
    atomic_moves::carry_out(cluster, transfers, moving, options, &mut |cluster, transfer, is_at_once| {
        if is_at_once && !is_quiet {
            atomic_moves::print_moved(cluster, transfer);
        }
    })
}

fn described(cluster: &Cluster, transfers: &[Transfer]) -> Vec<serde_json::Value> {
    let id = |index: usize| cluster.members[index].node.id.clone();
    let step = |transfer: &Transfer| {
        json!({
            "from": id(transfer.source),
            "to": id(transfer.target),
            "slots": ranges(&transfer.slots),
            "slot_count": transfer.slots.len(),
        })
    };
    transfers.iter().map(step).collect()
}
