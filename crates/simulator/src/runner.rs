//! Runs scenarios.

use crate::faults::random_faults;
use crate::network::Quality;
use crate::scenario::{Formation, Scenario, share_of_slots};
use crate::world::{PORT, World, address};
use shoal_cluster::ClusterCommand;
use shoal_machine::Rng;
use std::ops::Range;

/// The cluster must stand within this.
const FORMATION_MS: u64 = 120_000;

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Virtual time, in milliseconds.
    pub time_ms: u64,
    /// Events in the queue.
    pub events: u64,
    /// Messages on the bus.
    pub messages: u64,
    /// Votes given.
    pub votes: u64,
    /// Elections won.
    pub promotions: u64,
    /// Times a node suspected another.
    pub suspicions: u64,
    /// Nodes agreed to have failed, by each that found the agreement.
    pub failures: u64,
    /// Crashes.
    pub crashes: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// The longest time in which no write to some primary's share of the slots was acknowledged, in milliseconds.
    pub longest_outage_ms: u64,
    /// Migrations of slots that were begun, and that took place.
    pub migrations: (u64, u64),
    /// Writes that had to be there in the end.
    pub safe_writes: u64,
    /// How long healing took after the last fault, in milliseconds.
    pub heal_ms: u64,
    /// Every event as text, if asked for.
    pub log: Option<String>,
}

/// An invariant was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that breaks it again.
    pub seed: u64,
    /// The virtual time, in microseconds.
    pub time_us: u64,
    /// What was broken.
    pub text: String,
    /// Every event as text, if asked for.
    pub log: Option<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.time_us as f64 / 1e6;
        write!(formatter, "seed {}: after {seconds:.6} s: {}", self.seed, self.text)
    }
}

impl std::error::Error for Failure {}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The number of nodes; by default the seed chooses 6 to 15.
    pub nodes: Option<usize>,
    /// Keep every event as text.
    pub log: bool,
    /// Slots are on the move all the time: [`Scenario::moving`].
    pub is_moving: bool,
}

/// What a range of seeds showed.
#[derive(Debug, Default)]
pub struct RangeReport {
    /// Runs that went well.
    pub passed: u64,
    /// Runs that did not.
    pub failures: Vec<Failure>,
    /// Sums over all good runs.
    pub total: Report,
}

/// Runs the random scenario of each seed in the range. Every failure is kept; give its seed to [`run`] or to this
/// function with [`Options::log`] to see the events.
pub fn simulate_range(seeds: Range<u64>, options: Options) -> RangeReport {
    let mut range = RangeReport::default();
    for seed in seeds {
        let scenario = match options.is_moving {
            true => Scenario::moving(seed, options.nodes),
            false => Scenario::random(seed, options.nodes),
        };
        match run_with_options(seed, &scenario, options) {
            Ok(report) => {
                range.passed += 1;
                range.total.add(&report);
            }
            Err(failure) => range.failures.push(failure),
        }
    }
    range
}

/// Runs one scenario without a log.
pub fn run(seed: u64, scenario: &Scenario) -> Result<Report, Failure> {
    run_with_options(seed, scenario, Options::default())
}

/// Runs one scenario; [`Options::nodes`] is without effect, the scenario says it.
pub fn run_with_options(seed: u64, scenario: &Scenario, options: Options) -> Result<Report, Failure> {
    let mut world = World::new(seed, scenario, options.log);
    let result = play(&mut world, seed, scenario);
    let log = world.log.take();
    match result {
        Err(text) => Err(Failure { seed, time_us: world.now_us, text, log }),
        Ok(heal_ms) => Ok(Report {
            seed,
            time_ms: world.now_us / 1000,
            events: world.counts.events,
            messages: world.counts.messages,
            votes: world.counts.votes,
            promotions: world.counts.promotions,
            suspicions: world.counts.suspicions,
            failures: world.counts.failures,
            crashes: world.counts.crashes,
            acknowledged: world.counts.acknowledged,
            longest_outage_ms: world.counts.longest_outage_us / 1000,
            migrations: (world.counts.migrations_begun, world.counts.migrations_done),
            safe_writes: world.safe_writes.len() as u64,
            heal_ms,
            log,
        }),
    }
}

/// The three parts of a run; returns how long healing took.
fn play(world: &mut World, seed: u64, scenario: &Scenario) -> Result<u64, String> {
    for node in 0..scenario.nodes() {
        world.start(node)?;
    }
    if scenario.formation == Formation::Commands {
        form(world, scenario)?;
    }
    world.run_until_healed(FORMATION_MS).map_err(|text| format!("while forming: {text}"))?;
    world.note(|| "the cluster stands".to_owned());

    world.watch_writes();
    world.set_quality(Quality::of(&scenario.rates));
    let mut rng = Rng::new(seed ^ 0x6661_756c_7473);
    let mut faults = random_faults(scenario, &mut rng);
    faults.extend(scenario.script.iter().cloned());
    let last_ms = faults.iter().map(|fault| fault.at_ms).max().unwrap_or(0);
    world.schedule_faults(&faults);
    let until_us = world.now_us + last_ms.max(scenario.faults_ms) * 1000;
    world.run_until(until_us)?;

    if let Some(fault) = world.step_fault {
        return Err(format!("no migration came to the step of {fault:?}"));
    }
    world.end_faults()?;
    let began_us = world.now_us;
    world.run_until_healed(scenario.heal_ms)?;
    let healed_us = world.now_us;
    world.finish_migrations(scenario.heal_ms)?;
    Ok((healed_us - began_us) / 1000)
}

/// Forms a cluster as an operator's tool does.
fn form(world: &mut World, scenario: &Scenario) -> Result<(), String> {
    for node in 0..scenario.nodes() {
        let epoch = node as i64 + 1;
        expect(world, node, ClusterCommand::SetConfigEpoch { epoch })?;
        if node < scenario.primaries {
            let slots = share_of_slots(scenario.primaries, node).collect();
            expect(world, node, ClusterCommand::AddSlots { slots })?;
        }
    }
    for node in 1..scenario.nodes() {
        let meet = ClusterCommand::Meet { host: address(0), port: i64::from(PORT), bus_port: None };
        expect(world, node, meet)?;
    }
    let deadline_us = world.now_us + FORMATION_MS * 1000;
    let all_known = |world: &World| {
        (0..scenario.nodes()).all(|node| {
            let view = world.model(node).and_then(|model| model.view.as_ref());
            view.is_some_and(|view| {
                view.nodes.len() == scenario.nodes()
                    && view.nodes.iter().all(|node| !node.flags.has(shoal_cluster::NodeFlags::HANDSHAKE))
            })
        })
    };
    while !all_known(world) {
        if world.now_us > deadline_us {
            return Err("the nodes do not get to know each other".to_owned());
        }
        world.run_until(world.now_us + 100_000)?;
    }
    for node in scenario.primaries..scenario.nodes() {
        let Some(primary) = world.id(node % scenario.primaries) else { continue };
        let node_name = primary.as_bytes()[..].into();
        expect(world, node, ClusterCommand::Replicate { node: node_name, database_is_empty: true })?;
    }
    Ok(())
}

/// Sends a command and waits until it is answered with OK.
fn expect(world: &mut World, node: usize, command: ClusterCommand) -> Result<(), String> {
    let text = format!("{command:?}");
    let ticket = world.command(node, command)?;
    for _ in 0..100 {
        match world.reply(node, ticket) {
            Some(true) => return Ok(()),
            Some(false) => return Err(format!("n{node} refuses {text}")),
            None => world.run_until(world.now_us + 10_000)?,
        }
    }
    Err(format!("n{node} does not answer {text}"))
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.time_ms += other.time_ms;
        self.events += other.events;
        self.messages += other.messages;
        self.votes += other.votes;
        self.promotions += other.promotions;
        self.suspicions += other.suspicions;
        self.failures += other.failures;
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.migrations.0 += other.migrations.0;
        self.migrations.1 += other.migrations.1;
        self.safe_writes += other.safe_writes;
        self.longest_outage_ms = self.longest_outage_ms.max(other.longest_outage_ms);
        self.heal_ms = self.heal_ms.max(other.heal_ms);
    }
}
