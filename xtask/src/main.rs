//! The project's own tools, called as `cargo xtask VERB`.
//!
//! ```text
//!   test    installs what is missing, then runs every test           (what continuous integration runs)
//!   tidy    checks the laws of the source tree
//!   sim     the cluster machine under faults, many seeds or one
//!   fuzz    damaged input for every decoder
//!   bench   speed, memory and latency against an installed redis-server
//!   chaos   a cluster of real processes in network namespaces, under faults and a recorded load
//!   crash   servers that are killed under load, on the real disk and on one that forgets
//!   diff    random commands, compared with an installed redis-server
//!   conformance   Redis's own test suite against our program
//! ```
//!
//! Every verb is a module of this name; [`workspace`] finds files and crates, [`process`] runs programs.

// A tool for the terminal: what it has to say goes to standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod bench;
mod chaos;
mod conformance;
mod crash;
mod diff;
mod fuzz;
mod process;
mod sim;
mod test;
mod tidy;
mod workspace;

use arguments::Arguments;
use std::process::ExitCode;

/// What a tool can fail with: a text for the user.
type Outcome<T> = Result<T, String>;

/// A verb: its name, a line of help, and what it does.
struct Verb {
    name: &'static str,
    usage: &'static str,
    help: &'static str,
    run: fn(Arguments) -> Outcome<()>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "test",
        usage: "test [--only STEP,STEP] [--skip STEP,STEP] [--list]",
        help: "install what is missing, then run every test",
        run: test::run,
    },
    Verb {
        name: "tidy",
        usage: "tidy [--lower]",
        help: "check the laws of the source tree; --lower tightens the exceptions to what is still needed",
        run: tidy::run,
    },
    Verb {
        name: "crash",
        usage: "crash [--runs N] [--seed S] [--disk real|simulated|both] [--keep] [--debug]",
        help: "kill servers under load, also with a disk that loses what was not synced, and compare their data",
        run: crash::run,
    },
    Verb {
        name: "chaos",
        usage: "chaos [--seconds N] [--seed S] [--keep] [--binary PATH]",
        help: "a cluster in network namespaces under faults and load, and what it has afterwards; takes root's rights",
        run: chaos::run,
    },
    Verb {
        name: "fuzz",
        usage: "fuzz [--seconds N] [--seed S] [--coverage] [target…]",
        help: "damaged and random input for every decoder, 60 seconds each; --coverage uses libFuzzer (nightly)",
        run: fuzz::run,
    },
    Verb {
        name: "bench",
        usage: "bench [--quick] [--json] [--only speed,types,elements,memory,latency,persistence,scale,idle,cluster] [--binary PATH]",
        help: "measure against an installed redis-server; the full run writes docs/benchmarks.md",
        run: bench::run,
    },
    Verb {
        name: "sim",
        usage: "sim [--replication | --moving | --scale [--rules shoal|redis]] [--seeds A..B | --seed S [--log]] [--nodes N]",
        help: "simulate clusters (with --moving, slots move all the time), or replication between whole nodes, under faults that each seed chooses",
        run: sim::run,
    },
    Verb {
        name: "diff",
        usage: "diff [--seed S] [--ops N] [--group G,G] [--without C,C] [--cluster] [--keep-going] [--binary PATH]",
        help: "random commands must get the replies of an installed redis-server; a failure is shrunk",
        run: diff::run,
    },
    Verb {
        name: "conformance",
        usage: "conformance [--file F,F] [--all|--cluster] [--list-failures] [--json] [--jobs N] [--seconds N] [--binary PATH] [--write] [--real]",
        help: "Redis's own test suite against Shoal; --write renews docs/conformance.md, --real measures the real server",
        run: conformance::run,
    },
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        return help(&name);
    };
    let outcome = Arguments::new(words.collect()).and_then(verb.run);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("cargo xtask {name}: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the verbs; an unknown one is an error.
fn help(name: &str) -> ExitCode {
    println!("Usage: cargo xtask VERB [option…]\n");
    for verb in VERBS {
        println!("  {}\n      {}", verb.usage, verb.help);
    }
    if ["", "help", "-h", "--help"].contains(&name) {
        return ExitCode::SUCCESS;
    }
    eprintln!("\ncargo xtask: no such verb: {name}");
    ExitCode::FAILURE
}
