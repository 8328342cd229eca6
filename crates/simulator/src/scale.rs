//! Large clusters: how long they take to stand after a start, what they cost while nothing happens, and how long they take to
//! get over the death of many primaries.
//!
//! One world goes through all of it: all nodes start at once from their nodes.conf, rest, and then lose shares of their
//! primaries at once; those that were killed come back as replicas in between. Processes die without a word: their peers see
//! links break and connections refused.

use crate::scenario::Scenario;
use crate::world::World;
use shoal_cluster::view::ViewRole;
use shoal_cluster::{NodeFlags, NodeId};
use shoal_machine::Rng;
use std::collections::BTreeSet;

/// Steps in which is waited.
const POLL_US: u64 = 100_000;
/// Nodes start so long one after the other.
const START_US: u64 = 2000;
/// For so long the bytes of an idle cluster are counted.
const IDLE_US: u64 = 5_000_000;
/// Everything must be done within this.
const LIMIT_US: u64 = 600_000_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct ScaleOptions {
    /// Primaries; each has one replica.
    pub primaries: usize,
    /// `cluster-node-timeout`, in milliseconds.
    pub node_timeout_ms: u64,
    /// Only what Redis does: no announcement as Shoal, no fast detection.
    pub as_redis: bool,
    /// Percents of the primaries to kill, one after the other.
    pub kills: Vec<usize>,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct ScaleReport {
    /// From the start of all nodes until all slots are covered, replicas follow, and every node sees the same, in
    /// milliseconds.
    pub started_ms: u64,
    /// Messages that a node sends in a second while nothing happens.
    pub idle_messages: f64,
    /// Bytes that a node sends in a second while nothing happens.
    pub idle_bytes: f64,
    /// For each percentage.
    pub kills: Vec<KillReport>,
}

/// How a cluster got over the death of primaries.
#[derive(Clone, Copy, Debug, Default)]
pub struct KillReport {
    /// Percent of the primaries.
    pub percent: usize,
    /// How many died.
    pub killed: usize,
    /// Until the first of them was declared failed by a majority, in milliseconds.
    pub first_failed_ms: u64,
    /// Until the last of them was declared failed, in milliseconds.
    pub all_failed_ms: u64,
    /// Until all have been replaced and every living node knows it, in milliseconds.
    pub replaced_ms: u64,
}

/// Runs a cluster of this size. `progress` gets what has been measured so far, after each part.
///
/// # Errors
/// It does not get so far, with the reason.
pub fn run_scale(
    options: &ScaleOptions,
    progress: &mut dyn FnMut(&ScaleReport),
) -> Result<ScaleReport, String> {
    let mut scenario = Scenario::calm(options.primaries, 1);
    scenario.config.node_timeout_ms = options.node_timeout_ms;
    scenario.config.announces_shoal = !options.as_redis;
    scenario.config.fast_failure_detection = !options.as_redis;
    // All data is at all replicas: nobody is too old to stand.
    scenario.config.replica_validity_factor = 0;
    let mut world = World::new(7, &scenario, false);
    let mut report = ScaleReport::default();
    start(&mut world, &scenario, &mut report)?;
    progress(&report);
    rest(&mut world, &scenario, &mut report)?;
    progress(&report);
    let mut rng = Rng::new(11);
    for &percent in &options.kills {
        if !report.kills.is_empty() {
            restart(&mut world, &scenario)?;
        }
        let kill = kill(&mut world, &scenario, percent, &mut rng)?;
        report.kills.push(kill);
        progress(&report);
    }
    Ok(report)
}

fn start(world: &mut World, scenario: &Scenario, report: &mut ScaleReport) -> Result<(), String> {
    let began_us = world.now_us;
    for node in 0..scenario.nodes() {
        world.start(node)?;
        world.run_until(world.now_us + START_US)?;
    }
    world.run_until_healed(LIMIT_US / 1000)?;
    report.started_ms = (world.now_us - began_us) / 1000;
    Ok(())
}

/// Counts what is sent while nothing happens.
fn rest(world: &mut World, scenario: &Scenario, report: &mut ScaleReport) -> Result<(), String> {
    // What the start has left to say is said.
    world.run_until(world.now_us + scenario.config.node_timeout_ms * 500)?;
    let before = world.counts;
    world.counts_bytes = true;
    world.run_until(world.now_us + IDLE_US)?;
    world.counts_bytes = false;
    let per_node_second = scenario.nodes() as f64 * (IDLE_US / 1_000_000) as f64;
    report.idle_messages = (world.counts.messages - before.messages) as f64 / per_node_second;
    report.idle_bytes = (world.counts.bytes - before.bytes) as f64 / per_node_second;
    Ok(())
}

/// Kills primaries, waits until they are replaced, and lets them come back.
fn kill(world: &mut World, scenario: &Scenario, percent: usize, rng: &mut Rng) -> Result<KillReport, String> {
    let mut primaries: Vec<usize> = (0..scenario.nodes()).filter(|&node| is_primary(world, node)).collect();
    rng.shuffle(&mut primaries);
    // A majority must be left to agree.
    let most = (scenario.primaries - 1) / 2;
    let killed = (scenario.primaries * percent / 100).clamp(1, most);
    let victims = &primaries[..killed];
    let ids: Vec<_> = victims.iter().filter_map(|&node| world.id(node)).collect();
    let before = world.counts;
    let began_us = world.now_us;
    for &node in victims {
        world.crash(node, true);
    }
    let elapsed_ms = |world: &World| (world.now_us - began_us) / 1000;
    let mut report = KillReport { percent, killed, ..KillReport::default() };
    let failed = |world: &World| {
        let seen_by = |node| world.model(node).and_then(|model| model.view.as_ref());
        let view = (0..scenario.nodes()).find_map(seen_by);
        view.map_or(0, |view| {
            let is_gone = |id: &&NodeId| {
                let node = view.nodes.iter().find(|node| node.id == **id);
                node.is_none_or(|node| node.flags.has(NodeFlags::FAILED) || node.slots.is_empty())
            };
            ids.iter().filter(is_gone).count()
        })
    };
    wait(world, "nobody is declared failed", |world| world.counts.failures > before.failures)?;
    report.first_failed_ms = elapsed_ms(world);
    wait(world, "not all are declared failed", |world| failed(world) == killed)?;
    report.all_failed_ms = elapsed_ms(world);
    wait(world, "not all are replaced", |world| is_covered_without(world, victims))?;
    report.replaced_ms = elapsed_ms(world);
    Ok(report)
}

/// Those that were killed come back.
fn restart(world: &mut World, scenario: &Scenario) -> Result<(), String> {
    for node in 0..scenario.nodes() {
        world.start(node)?;
    }
    world.run_until_healed(LIMIT_US / 1000)
}

/// Whether a node is up, and takes itself for a primary with slots.
fn is_primary(world: &World, node: usize) -> bool {
    let view = world.model(node).and_then(|model| model.view.as_ref());
    view.is_some_and(|view| {
        view.role == ViewRole::Primary && view.node(view.myself).is_some_and(|node| !node.slots.is_empty())
    })
}

/// Whether every living node sees all slots with owners that are none of these.
fn is_covered_without(world: &World, gone: &[usize]) -> bool {
    let ids: BTreeSet<NodeId> =
        world.ids.iter().filter(|(_, index)| gone.contains(index)).map(|(&id, _)| id).collect();
    (0..world.node_count()).filter_map(|node| world.model(node)).all(|model| {
        model.view.as_ref().is_some_and(|view| {
            let is_alive = |owner| view.node(owner).is_some_and(|node| !ids.contains(&node.id));
            view.is_ok && view.owners.runs().all(|(_, _, owner)| is_alive(owner))
        })
    })
}

fn wait(world: &mut World, what: &str, is_done: impl Fn(&World) -> bool) -> Result<(), String> {
    let deadline_us = world.now_us + LIMIT_US;
    while !is_done(world) {
        if world.now_us >= deadline_us {
            return Err(what.to_owned());
        }
        world.run_until(world.now_us + POLL_US)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bars: what an idle node may cost, and how soon primaries are replaced.
    #[test]
    fn sixty_nodes_stay_cheap_and_quick() {
        let kills = vec![1, 10, 50];
        let options = ScaleOptions { primaries: 30, node_timeout_ms: 5000, as_redis: false, kills };
        let report = run_scale(&options, &mut |_| {}).unwrap();
        println!("{report:?}");
        assert!(report.idle_messages < 30.0 && report.idle_bytes < 13_000.0, "{report:?}");
        for (kill, allowed_ms) in report.kills.iter().zip([500, 1000, 2000]) {
            assert!(kill.replaced_ms <= allowed_ms, "{kill:?}");
        }
    }

    #[test]
    fn a_small_one() {
        let run = |as_redis| {
            let options =
                ScaleOptions { primaries: 12, node_timeout_ms: 2000, as_redis, kills: vec![10, 50] };
            run_scale(&options, &mut |_| {}).unwrap()
        };
        let (ours, theirs) = (run(false), run(true));
        assert!(ours.idle_bytes * 4.0 < theirs.idle_bytes, "{ours:?} {theirs:?}");
        for (ours, theirs) in ours.kills.iter().zip(&theirs.kills) {
            assert!(ours.replaced_ms < theirs.replaced_ms, "{ours:?} {theirs:?}");
            assert!(ours.replaced_ms < 2000 && theirs.replaced_ms > 2000, "{ours:?} {theirs:?}");
        }
    }
}
