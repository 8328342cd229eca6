//! Seeds that must pass, scenarios that must show something, and a bug that must be caught.

use crate::world::World;
use crate::*;
use shoal_cluster::{ClusterCommand, FailoverKind};

fn script(scenario: &mut Scenario, faults: impl IntoIterator<Item = (u64, Fault)>) {
    scenario.script.extend(faults.into_iter().map(|(at_ms, fault)| TimedFault { at_ms, fault }));
}

fn passes(seed: u64, scenario: &Scenario) -> Report {
    run(seed, scenario).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn two_hundred_seeds() {
    let report = simulate_range(0..200, Options::default());
    for failure in &report.failures {
        println!("{failure}");
    }
    println!("{:?}", report.total);
    assert!(report.failures.is_empty());
    assert_eq!(report.passed, 200);
    let total = &report.total;
    assert!(total.promotions > 100 && total.votes > 300 && total.crashes > 300, "the faults are too mild");
}

/// Slots move all the time, under all faults, of twelve nodes; and seeds that showed flaws.
#[test]
fn slots_move_under_faults() {
    let options = Options { nodes: Some(12), is_moving: true, ..Options::default() };
    for seeds in [0..20, 89..90, 200..201, 227..228, 285..286, 803..804] {
        let (runs, report) = (seeds.end - seeds.start, simulate_range(seeds, options));
        assert!(report.failures.is_empty(), "{}", report.failures[0]);
        let total = &report.total;
        assert!(total.migrations.1 >= 3 * runs && total.safe_writes > 50 * runs, "{total:?}");
    }
    // Of sizes that the seeds choose.
    for seed in [0, 24, 28, 36, 86, 113, 115, 120, 179, 1255, 1356, 1671] {
        let scenario = Scenario::moving(seed, None);
        passes(seed, &scenario);
    }
}

/// Every step of a migration, with every fault for each of the four nodes that it concerns.
#[test]
fn faults_at_every_step_of_a_migration() {
    let mut failures = Vec::new();
    for step in Step::ALL {
        for victim in Victim::ALL {
            for kind in StepFaultKind::ALL {
                let scenario = Scenario::fault_at_step(StepFault { step, victim, kind });
                match run(step as u64, &scenario) {
                    Ok(report) => {
                        assert_eq!(report.migrations.0, 1, "{step:?} {victim:?} {kind:?}");
                        assert!(report.safe_writes > 20, "{step:?} {victim:?} {kind:?}: {report:?}");
                    }
                    Err(failure) => failures.push(format!("{step:?} {victim:?} {kind:?}: {failure}")),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let options = Options { log: true, ..Options::default() };
    let scenario = Scenario::random(7, None);
    let [first, second] = [(); 2].map(|()| run_with_options(7, &scenario, options).unwrap().log.unwrap());
    assert!(first.len() > 10_000);
    assert!(first == second);
    let other = run_with_options(8, &scenario, options).unwrap().log.unwrap();
    assert!(first != other);
}

/// The deliberate bug is found by the checker of votes, and without the bug the same runs are clean.
#[test]
fn a_double_vote_is_caught() {
    let sabotaged = Scenario::two_elections_in_one_epoch(Some(Sabotage::DoubleVote));
    let honest = Scenario::two_elections_in_one_epoch(None);
    let mut caught = 0;
    for seed in 0..160 {
        if let Err(failure) = run(seed, &sabotaged) {
            assert!(failure.text.starts_with("one vote per epoch"), "{failure}");
            caught += 1;
        }
        if seed < 40 {
            passes(seed, &honest);
        }
    }
    assert!(caught > 0);
    println!("caught in {caught} of 160 runs");
}

#[test]
fn a_killed_primary_is_replaced_within_four_seconds() {
    for seed in 0..20 {
        let mut scenario = Scenario::calm(3, 1);
        scenario.config.require_full_coverage = false;
        scenario.faults_ms = 8000;
        // A dead machine, unlike a dead process, does not break its connections: that costs up to half of node-timeout.
        let noticed = seed % 2 == 0;
        let kill = Fault::Crash { node: seed as usize % 3, down_ms: None, noticed };
        script(&mut scenario, [(1000, kill)]);
        let report = passes(seed, &scenario);
        assert_eq!(report.promotions, 1, "seed {seed}");
        let allowed_ms = if noticed { 4000 } else { 5000 };
        assert!(report.longest_outage_ms < allowed_ms, "seed {seed}: {} ms", report.longest_outage_ms);
    }
}

#[test]
fn a_hung_executor_is_failed_over() {
    for seed in 0..10 {
        let mut scenario = Scenario::calm(3, 1);
        scenario.config.node_timeout_ms = 5000;
        scenario.faults_ms = 32_000;
        script(&mut scenario, [(1000, Fault::Hang { node: 0, for_ms: 30_000 })]);
        let report = passes(seed, &scenario);
        assert_eq!(report.promotions, 1, "seed {seed}");
    }
}

#[test]
fn a_long_command_raises_no_suspicion() {
    for seed in 0..10 {
        let mut scenario = Scenario::calm(3, 1);
        scenario.config.node_timeout_ms = 5000;
        scenario.faults_ms = 10_000;
        script(&mut scenario, (0..6).map(|node| (1000, Fault::LongCommand { node, for_ms: 6000 })));
        let report = passes(seed, &scenario);
        assert_eq!((report.suspicions, report.failures, report.promotions), (0, 0, 0), "seed {seed}");
    }
}

#[test]
fn a_short_cut_causes_no_failover() {
    for seed in 0..10 {
        let mut scenario = Scenario::calm(3, 1);
        scenario.faults_ms = 10_000;
        let cut = Fault::Partition { group: [0].into(), others: None, one_way: false, for_ms: 900 };
        script(&mut scenario, [(1000, cut)]);
        let report = passes(seed, &scenario);
        assert_eq!((report.failures, report.promotions), (0, 0), "seed {seed}");
    }
}

#[test]
fn the_smaller_side_of_a_partition_elects_nobody() {
    for seed in 0..10 {
        let mut scenario = Scenario::calm(3, 1);
        scenario.faults_ms = 20_000;
        // Two primaries of three are gone: the third and all replicas cannot elect.
        script(
            &mut scenario,
            (0..2).map(|node| (1000, Fault::Crash { node, down_ms: Some(15_000), noticed: true })),
        );
        assert_eq!(passes(seed, &scenario).promotions, 0, "seed {seed}");
    }
}

#[test]
fn a_manual_failover_takes_no_time_and_no_failure() {
    for kind in [FailoverKind::Coordinated, FailoverKind::Force] {
        for seed in 0..10 {
            let mut scenario = Scenario::calm(3, 1);
            scenario.faults_ms = 5000;
            script(&mut scenario, [(1000, Fault::ManualFailover { node: 3, kind })]);
            let report = passes(seed, &scenario);
            assert_eq!((report.promotions, report.suspicions), (1, 0), "{kind:?}, seed {seed}");
            assert!(report.longest_outage_ms < 1000, "{kind:?}, seed {seed}: {}", report.longest_outage_ms);
        }
    }
}

#[test]
fn a_replica_migrates_to_an_orphaned_primary() {
    let mut scenario = Scenario::calm(3, 2);
    scenario.faults_ms = 30_000;
    let crash = |node| Fault::Crash { node, down_ms: None, noticed: true };
    script(&mut scenario, [(1000, crash(3)), (1500, crash(6))]);
    let log =
        run_with_options(1, &scenario, Options { log: true, ..Options::default() }).unwrap().log.unwrap();
    assert_eq!(log.matches("Migrating to orphaned master").count(), 1);
}

#[test]
fn a_hundred_nodes() {
    let mut scenario = Scenario::calm(50, 1);
    scenario.formation = Formation::Commands;
    // Of five elections at once one may take another's epoch: it is held again after a pause.
    scenario.faults_ms = 25_000;
    script(
        &mut scenario,
        (0..5).map(|node| (1000, Fault::Crash { node, down_ms: None, noticed: node % 2 == 0 })),
    );
    let report = passes(1, &scenario);
    println!("{report:?}");
    assert_eq!(report.promotions, 5);
}

/// One node is told to forget another: all do, and none takes it up again, although it lives and knows them.
#[test]
fn a_node_that_one_forgets_is_forgotten_by_all() {
    for seed in 0..5 {
        let scenario = Scenario::calm(3, 2);
        let (gone, others) = (8, 0..8);
        let mut world = World::new(seed, &scenario, false);
        (0..scenario.nodes()).for_each(|node| world.start(node).unwrap());
        world.run_until_healed(20_000).unwrap();
        let id = world.id(gone).unwrap();
        let node = id.as_bytes()[..].into();
        world.command(3, ClusterCommand::Forget { node }).unwrap();
        let knows = |world: &World, node| {
            let view = world.model(node).and_then(|model| model.view.clone()).unwrap();
            view.nodes.iter().any(|node| node.id == id)
        };
        assert!(others.clone().any(|node| knows(&world, node)), "others know it still");
        world.run_until(world.now_us + 1_000_000).unwrap();
        for _ in 0..90 {
            let who = others.clone().find(|&node| knows(&world, node));
            assert_eq!(who, None, "seed {seed}, {} s", world.now_us / 1_000_000);
            world.run_until(world.now_us + 1_000_000).unwrap();
        }
    }
}
