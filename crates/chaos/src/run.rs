//! One run: a cluster, clients, faults, and the comparison at the end.

use crate::Outcome;
use crate::client::Client;
use crate::cluster::{Cluster, View};
use crate::faults::Fault;
use crate::load::{self, Common, History, TakeOver};
use crate::network::Network;
use shoal_machine::Rng;
use shoal_probe::eventually;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Requests that are carried out between the end of one fault and the next.
const SERVED_BETWEEN: u64 = 200;
/// How long that may take.
const SERVED_LIMIT: Duration = Duration::from_secs(20);

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary under test.
    pub program: PathBuf,
    /// The seed of faults and load.
    pub seed: u64,
    /// How long faults go on.
    pub duration: Duration,
    /// Nodes, half of them replicas.
    pub nodes: usize,
    /// Clients.
    pub clients: usize,
}

/// Runs inside the hub's namespace of a network whose names begin with `prefix`; `say` gets a line for each step.
///
/// # Errors
/// What was lost, doubled or not whole again.
pub fn run(settings: &Settings, prefix: &str, directory: &Path, mut say: impl FnMut(&str)) -> Outcome<()> {
    let network = Network::existing(prefix, settings.nodes);
    let mut rng = Rng::new(settings.seed);
    let mut cluster = Cluster::start(&settings.program, directory, prefix, settings.nodes)?;
    let common =
        Arc::new(Common { began: Instant::now(), stop: AtomicBool::new(false), served: AtomicU64::new(0) });
    let clients: Vec<_> = (0..settings.clients)
        .map(|number| {
            let (rng, common, nodes) = (rng.fork(), Arc::clone(&common), settings.nodes);
            std::thread::spawn(move || load::run(number, nodes, rng, &common))
        })
        .collect();
    let result = break_things(settings, &mut cluster, &network, &mut rng, &common, &mut say);
    common.stop.store(true, Ordering::Relaxed);
    let histories: Option<Vec<History>> = clients.into_iter().map(|client| client.join().ok()).collect();
    let take_overs = result?;
    let histories = histories.ok_or("a client has failed")?;
    cluster.wait_until_whole()?;
    compare(settings, &histories, &take_overs, &mut rng, &mut say)
}

/// Faults until the time is over. Gives the times in which a primary was replaced without being asked.
fn break_things(
    settings: &Settings,
    cluster: &mut Cluster,
    network: &Network,
    rng: &mut Rng,
    common: &Common,
    say: &mut impl FnMut(&str),
) -> Outcome<Vec<TakeOver>> {
    let began = common.began;
    let mut take_overs = Vec::new();
    let now = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut before = cluster.wait_until_whole()?;
    while began.elapsed() < settings.duration {
        let target = common.served.load(Ordering::Relaxed) + SERVED_BETWEEN;
        eventually("clients are served", SERVED_LIMIT, || {
            (common.served.load(Ordering::Relaxed) >= target).then_some(())
        })?;
        let fault = Fault::draw(rng, &before, settings.nodes);
        let from = now();
        let at = began.elapsed().as_secs_f64();
        let context = |problem| format!("{at:.1} s: {fault}: {problem}");
        fault.carry_out(cluster, network).map_err(context)?;
        let ended = Instant::now();
        let after = cluster.wait_until_whole().map_err(context)?;
        let changed = changed_slots(&before, &after);
        let healing_s = ended.elapsed().as_secs_f64();
        say(&format!(
            "{at:7.1} s  {fault}; whole after {healing_s:.1} s, {} slots have another owner",
            changed.len()
        ));
        if fault.is_brief() && !changed.is_empty() {
            return Err(context("a primary was replaced for it".to_owned()));
        }
        if fault.may_lose_writes() && !changed.is_empty() {
            take_overs.push(TakeOver { from, to: now(), slots: changed.into_iter().collect() });
        }
        before = after;
    }
    Ok(take_overs)
}

fn changed_slots(before: &View, after: &View) -> Vec<u16> {
    (0..16384).filter(|&slot| before.owner(slot) != after.owner(slot)).collect()
}

fn compare(
    settings: &Settings,
    histories: &[History],
    take_overs: &[TakeOver],
    rng: &mut Rng,
    say: &mut impl FnMut(&str),
) -> Outcome<()> {
    let mut client = Client::new(settings.nodes, rng.fork());
    for history in histories {
        history.compare_own(&mut client)?;
    }
    let (parts, operations) = load::check_registers(histories, take_overs)?;
    let sum = |index: usize| histories.iter().map(|history| history.counts[index]).sum::<u64>();
    let confirmed: usize = histories.iter().map(History::confirmed_len).sum();
    let mut refusals: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in histories.iter().flat_map(|history| &history.refusals) {
        *refusals.entry(code).or_default() += count;
    }
    say(&format!("requests: {} carried out, {} refused {refusals:?}, {} unknown", sum(0), sum(1), sum(2)));
    say(&format!("{confirmed} writes confirmed by every replica, none missing, none there twice"));
    say(&format!(
        "{operations} operations on shared keys, in {parts} parts around {} unasked take-overs: linearizable",
        take_overs.len()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_changed_hands() {
        let view = |border: u16| View {
            ranges: vec![(0, border, 0), (border + 1, 16383, 1)],
            replicas: BTreeMap::new(),
        };
        assert_eq!(changed_slots(&view(100), &view(100)), [0u16; 0]);
        assert_eq!(changed_slots(&view(100), &view(102)), [101, 102]);
    }
}
