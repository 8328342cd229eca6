//! `cargo xtask test`: the one command that tests everything, the same on a desk and in continuous integration.
//!
//! ```text
//!   tools -> format -> clippy -> tidy -> build -> unit -> simulator -> differential -> corpora -> end-to-end -> doc
//! ```
//!
//! All tests are built once, in one profile, and their programs are then run directly: choosing packages step by step
//! would build the dependencies again with other features. A step that fails says how to repeat it alone; the steps
//! after it still run, so that one run shows all that is wrong.

mod programs;
pub mod tools;

use crate::arguments::Arguments;
use crate::{Outcome, conformance, diff, process, tidy, workspace};
use programs::{Kind, Programs};
use std::time::{Duration, Instant};

/// Random commands that are compared; `cargo xtask diff` runs more.
const DIFFERENTIAL_OPERATIONS: usize = 200_000;
/// And in cluster mode, through a client of clusters.
const CLUSTER_OPERATIONS: usize = 20_000;

/// A step by name, what it does, and how it is repeated by hand.
struct Step {
    name: &'static str,
    help: &'static str,
    repeat: &'static str,
    run: fn(&mut Context) -> Outcome<String>,
}

const STEPS: &[Step] = &[
    Step {
        name: "tools",
        help: "install what the tests need and is missing",
        repeat: "cargo xtask test --only tools",
        run: |_| tools::install(),
    },
    Step {
        name: "format",
        help: "cargo fmt",
        repeat: "cargo fmt --all",
        run: |_| process::run(workspace::cargo().args(["fmt", "--all", "--check"])).map(|()| String::new()),
    },
    Step {
        name: "clippy",
        help: "warnings are errors",
        repeat: "cargo clippy --workspace --all-targets -- -D warnings",
        run: |_| {
            let words = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
            process::run(workspace::cargo().args(words)).map(|()| String::new())
        },
    },
    Step {
        name: "tidy",
        help: "the laws of the source tree",
        repeat: "cargo xtask tidy",
        run: |_| tidy::run(Arguments::new(Vec::new())?).map(|()| String::new()),
    },
    Step {
        name: "build",
        help: "all tests and the program",
        repeat: "cargo test --workspace --no-run",
        run: |context| context.programs().map(|programs| format!("{} test programs", programs.count())),
    },
    Step {
        name: "unit",
        help: "every crate by itself: commands, machines, formats",
        repeat: "cargo test --workspace --lib --bins",
        run: |context| context.run(Kind::Unit),
    },
    Step {
        name: "simulator",
        help: "the cluster machine under faults chosen by seeds",
        repeat: "cargo test -p shoal-simulator",
        run: |context| context.run(Kind::Simulator),
    },
    Step {
        name: "differential",
        help: "against what an installed redis-server answers",
        repeat: "cargo test -p shoal-store -p shoal-config --test '*'; cargo xtask diff --ops 200000; \
                 cargo xtask diff --cluster --ops 20000",
        run: |context| {
            let tests = context.run(Kind::Differential)?;
            let shoal = context.programs()?.shoal.clone();
            let single = diff::Choice::default();
            let cluster = diff::Choice { is_cluster: true, ..diff::Choice::default() };
            let commands = diff::differential(1, DIFFERENTIAL_OPERATIONS, &shoal, &single, false)?;
            let routed = diff::differential(1, CLUSTER_OPERATIONS, &shoal, &cluster, false)?;
            Ok(format!("{tests}, {commands}; in cluster mode: {routed}"))
        },
    },
    Step {
        name: "conformance",
        help: "fast files of Redis's own test suite",
        repeat: "cargo xtask conformance --list-failures --file FILE",
        run: |context| conformance::guard(&context.programs()?.shoal),
    },
    Step {
        name: "corpora",
        help: "inputs of the fuzz targets, as they are and changed",
        repeat: "cargo test -p shoal-fuzz",
        run: |context| context.run(Kind::Corpora),
    },
    Step {
        name: "end-to-end",
        help: "real processes, real clients, mixed with real servers",
        repeat: "cargo test -p shoal -p shoal-cli --test '*'",
        run: |context| context.run(Kind::EndToEnd),
    },
    Step {
        name: "doc",
        help: "examples in comments",
        repeat: "cargo test --workspace --doc",
        run: |_| {
            let words = ["test", "--quiet", "--workspace", "--doc"];
            let limit = Duration::from_secs(600);
            let finished = process::caught(workspace::cargo().args(words), limit)?;
            match finished.success {
                true => Ok(String::new()),
                false => Err(finished.output),
            }
        },
    },
];

/// What the steps share.
#[derive(Default)]
struct Context {
    programs: Option<Programs>,
}

impl Context {
    /// The programs of all tests, built if they are not yet.
    fn programs(&mut self) -> Outcome<&Programs> {
        let built = match self.programs.take() {
            Some(programs) => programs,
            None => Programs::build()?,
        };
        Ok(self.programs.insert(built))
    }

    fn run(&mut self, kind: Kind) -> Outcome<String> {
        self.programs()?.run(kind)
    }
}

/// Runs the steps that are asked for.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let list = arguments.flag("--list");
    let (only, skip) = (arguments.list("--only")?, arguments.list("--skip")?);
    arguments.end()?;
    if let Some(name) = only.iter().chain(&skip).find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Err(format!("no such step: {name} (--list names them)"));
    }
    if list {
        for step in STEPS {
            println!("{:<14}{}", step.name, step.help);
        }
        return Ok(());
    }
    let chosen = |step: &&Step| {
        let name = step.name.to_owned();
        (only.is_empty() || only.contains(&name)) && !skip.contains(&name)
    };
    let steps: Vec<&Step> = STEPS.iter().filter(chosen).collect();
    run_steps(&steps)
}

fn run_steps(steps: &[&Step]) -> Outcome<()> {
    let began = Instant::now();
    let mut context = Context::default();
    let mut failed = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!("\n=== {} of {}: {} ({})", index + 1, steps.len(), step.name, step.help);
        let step_began = Instant::now();
        let outcome = (step.run)(&mut context);
        let seconds = step_began.elapsed().as_secs_f64();
        match outcome {
            Ok(text) if text.is_empty() => println!("ok in {seconds:.1} s"),
            Ok(text) => println!("ok in {seconds:.1} s: {text}"),
            Err(text) => {
                println!("{text}\nFAILED after {seconds:.1} s. To repeat: {}", step.repeat);
                failed.push(step.name);
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if failed.is_empty() {
        println!("\nAll {} steps passed in {seconds:.0} s.", steps.len());
        return Ok(());
    }
    println!("\n{} of {} steps failed in {seconds:.0} s.", failed.len(), steps.len());
    Err(format!("failed: {}", failed.join(", ")))
}
