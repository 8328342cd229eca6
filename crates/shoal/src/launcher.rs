//! `shoal up`, `shoal down` and `shoal status`: a cluster on this machine.
//!
//! ```text
//! shoal-data/shoal.json      which nodes there are, and whether the cluster was formed
//! shoal-data/PORT/           one node: redis.conf, nodes.conf, log, redis.pid and its data
//! ```
//! `up` starts the nodes as processes of their own, forms the cluster the first time, waits until it is healthy,
//! prints it, and stays until Ctrl-C stops all nodes. Every command finds the nodes through their process ids, so one
//! terminal can stop or show what another one started.
//!
//! What the options mean and how slots and replicas are laid out is decided in [`plan`], without side effects.

mod client;
mod create_cluster;
mod directory;
mod form;
mod nodes;
mod options;
mod plan;
mod progress;
mod report;
mod survey;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

pub use create_cluster::{create_cluster_main, script as create_cluster_script};
use directory::{DataDirectory, State};
use nodes::{Nodes, stop_all};
use options::{DirectoryOptions, UpOptions};
use plan::Plan;
use progress::{Interrupt, Progress};

/// How often the launcher looks after its nodes while it stays.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Why a command failed, and what to do about it: the text for the user.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// `shoal up`; gives the exit code.
pub fn up_main(arguments: Vec<OsString>) -> i32 {
    run("up", options::up(arguments), up)
}

/// `shoal down`; gives the exit code.
pub fn down_main(arguments: Vec<OsString>) -> i32 {
    run("down", options::down(arguments), down)
}

/// `shoal status`; gives the exit code, which is 1 unless everything is well.
pub fn status_main(arguments: Vec<OsString>) -> i32 {
    run("status", options::status(arguments), status)
}

fn run<T>(command: &str, options: Result<T, i32>, body: fn(&T) -> Result<i32, Failure>) -> i32 {
    let options = match options {
        Ok(options) => options,
        Err(code) => return code,
    };
    body(&options).unwrap_or_else(|failure| {
        let _ = writeln!(io::stderr(), "shoal {command}: {failure}");
        1
    })
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn up(options: &UpOptions) -> Result<i32, Failure> {
    let directory = DataDirectory::new(&options.directory)?;
    let lock = directory.lock()?;
    if options.fresh {
        refuse_to_erase_a_running_cluster(&directory)?;
        directory.erase()?;
    }
    let (plan, is_formed) = match directory.load()? {
        Some(state) => (continue_with(&directory, &state, options)?, true),
        None => {
            directory.must_be_unused()?;
            (options.plan()?, false)
        }
    };
    let mut progress = Progress::new();
    let mut interrupt = Interrupt::install()?;
    let mut nodes = Nodes::find(&directory, &plan, options);
    if nodes.missing().is_empty() {
        return already_running(&directory, &plan, options);
    }
    nodes.check_ports()?;
    if !is_formed {
        directory.prepare(&plan)?;
    }
    let started = bring_up(&directory, &plan, &mut nodes, is_formed, &mut progress, &mut interrupt);
    let reports = match started {
        Ok(reports) => reports,
        Err(failure) => {
            progress.end();
            nodes.stop_started();
            return Err(failure);
        }
    };
    drop(lock);
    say(&report::table(&reports));
    say(&report::how_to_connect(&directory, &plan, options.detach));
    if options.detach { Ok(0) } else { Ok(stay(&directory, &plan, &mut nodes, &mut interrupt)) }
}

/// Starts what is missing, forms the cluster if that was not done, and waits until all is well.
fn bring_up(
    directory: &DataDirectory,
    plan: &Plan,
    nodes: &mut Nodes,
    is_formed: bool,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
) -> Result<Vec<survey::NodeReport>, Failure> {
    nodes.start_missing(progress)?;
    nodes.wait_for_answers(progress, interrupt)?;
    if !is_formed {
        form::form(plan, progress, interrupt)?;
        directory.save(&State::new(plan, true))?;
    }
    let reports = survey::wait_until_healthy(directory, plan, nodes, progress, interrupt)?;
    progress.end();
    Ok(reports)
}

/// The plan of a cluster that is there already; the options must not ask for another one.
fn continue_with(directory: &DataDirectory, state: &State, options: &UpOptions) -> Result<Plan, Failure> {
    if !state.is_formed {
        return Err(half_made(directory));
    }
    let plan = state.plan()?;
    if !options.fits(&plan) {
        return Err(Failure::new(format!(
            "{} holds a cluster of {} nodes with {} replicas per primary from port {}. Run `shoal up{}` without \
             --nodes, --replicas and --port to go on with it, `shoal up --fresh …` to erase it, or choose another \
             directory with --dir.",
            directory.shown(),
            plan.nodes,
            plan.replicas,
            plan.port,
            directory.option()
        )));
    }
    directory.check_nodes(&plan)?;
    Ok(plan)
}

fn half_made(directory: &DataDirectory) -> Failure {
    Failure::new(format!(
        "{} is half made: an earlier `shoal up` did not get as far as a cluster. There is nothing to lose: run \
         `shoal up --fresh{}` to begin again.",
        directory.shown(),
        directory.option()
    ))
}

fn refuse_to_erase_a_running_cluster(directory: &DataDirectory) -> Result<(), Failure> {
    let Ok(Some(state)) = directory.load() else { return Ok(()) };
    let running = nodes::running(directory, &state.plan()?);
    if running.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the cluster in {} is running. Stop it with `shoal down{}` before you erase it with --fresh.",
        directory.shown(),
        directory.option()
    )))
}

fn already_running(directory: &DataDirectory, plan: &Plan, options: &UpOptions) -> Result<i32, Failure> {
    if options.detach {
        say(&report::table(&survey::survey(directory, plan)));
        say(&format!("The cluster in {} was running already.\n", directory.shown()));
        return Ok(0);
    }
    Err(Failure::new(format!(
        "the cluster in {} is running already. `shoal status{option}` shows it, `shoal down{option}` stops it.",
        directory.shown(),
        option = directory.option()
    )))
}

/// Waits for Ctrl-C and then stops all nodes; tells of nodes that end before.
fn stay(directory: &DataDirectory, plan: &Plan, nodes: &mut Nodes, interrupt: &mut Interrupt) -> i32 {
    while !interrupt.wait(WATCH_INTERVAL) {
        let ended = nodes.reap();
        let running = nodes::running(directory, plan);
        if running.is_empty() {
            say("All nodes have stopped.\n");
            return 0;
        }
        for (port, how) in ended {
            say(&format!(
                "Node 127.0.0.1:{port} {how}. The other nodes go on; its log is {}. \
                 `shoal up --detach{}` in another terminal starts it again.\n",
                directory.log_path(port).display(),
                directory.option()
            ));
        }
    }
    finish(directory, plan, Some(nodes))
}

fn down(options: &DirectoryOptions) -> Result<i32, Failure> {
    let directory = DataDirectory::new(&options.directory)?;
    let plan = directory.existing()?.plan()?;
    if nodes::running(&directory, &plan).is_empty() {
        say(&format!("No node of the cluster in {} is running.\n", directory.shown()));
        return Ok(0);
    }
    Ok(finish(&directory, &plan, None))
}

/// Stops all nodes and says so; gives the exit code.
fn finish(directory: &DataDirectory, plan: &Plan, nodes: Option<&mut Nodes>) -> i32 {
    let running = nodes::running(directory, plan);
    say(&format!("\nStopping {} nodes…\n", running.len()));
    let left = stop_all(directory, plan, nodes);
    if left.is_empty() {
        say(&format!(
            "All nodes have stopped. The data stays in {}; `shoal up{}` goes on with it.\n",
            directory.shown(),
            directory.option()
        ));
        return 0;
    }
    for (port, process) in left {
        let _ = writeln!(
            io::stderr(),
            "Node 127.0.0.1:{port} (pid {process}) does not stop; see {}. `kill -9 {process}` ends it without saving.",
            directory.log_path(port).display()
        );
    }
    1
}

fn status(options: &DirectoryOptions) -> Result<i32, Failure> {
    let directory = DataDirectory::new(&options.directory)?;
    let state = directory.existing()?;
    let plan = state.plan()?;
    let reports = survey::survey(&directory, &plan);
    if !state.is_formed && reports.iter().all(|report| report.process.is_none()) {
        return Err(half_made(&directory));
    }
    let health = survey::health(&reports);
    if options.json {
        say(&report::json(&directory, &reports, &health));
    } else {
        say(&report::table(&reports));
        say(&report::summary(&directory, &reports, &health));
    }
    Ok(i32::from(health.is_err()))
}
