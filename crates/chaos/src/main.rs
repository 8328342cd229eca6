//! `shoal-chaos`: makes the network, and runs itself again inside.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use shoal_chaos::network::Network;
use shoal_chaos::run::{Settings, run};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

const USAGE: &str = "Usage: shoal-chaos --program PATH [--seed S] [--seconds N] [--nodes N] [--clients N] [--keep]

Runs a cluster of PATH, each node in a network namespace, under faults and load, and compares in the end. Takes root's
rights for the namespaces. --keep leaves the nodes' files and logs, and says where.";

struct Arguments {
    settings: Settings,
    keep: bool,
    /// The prefix of the namespaces and the directory, inside.
    inside: Option<(String, PathBuf)>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let result = parse(&words).and_then(|arguments| match &arguments.inside {
        Some((prefix, directory)) => run(&arguments.settings, prefix, directory, |line| println!("{line}")),
        None => outside(&words, &arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("shoal-chaos: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        settings: Settings {
            program: PathBuf::new(),
            seed: 1,
            duration: Duration::from_secs(60),
            nodes: 6,
            clients: 4,
        },
        keep: false,
        inside: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let settings = &mut arguments.settings;
        match word.as_str() {
            "--program" => settings.program = value()?.into(),
            "--seed" => settings.seed = number(value()?)?,
            "--seconds" => settings.duration = Duration::from_secs(number(value()?)?),
            "--nodes" => settings.nodes = number(value()?)? as usize,
            "--clients" => settings.clients = number(value()?)? as usize,
            "--keep" => arguments.keep = true,
            "--inside" => arguments.inside = Some((value()?.clone(), value()?.into())),
            _ => return Err(format!("unknown word: {word}\n{USAGE}")),
        }
    }
    let settings = &arguments.settings;
    if settings.program.as_os_str().is_empty() {
        return Err(format!("--program is missing\n{USAGE}"));
    }
    if !(6..=64).contains(&settings.nodes) || !settings.nodes.is_multiple_of(2) {
        return Err("--nodes is an even number from 6 to 64".to_owned());
    }
    if !(1..=32).contains(&settings.clients) {
        return Err("--clients is a number from 1 to 32".to_owned());
    }
    Ok(arguments)
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("not a number: {word}"))
}

/// Makes the namespaces and a directory, and runs this program again in the namespace of the hub.
fn outside(words: &[String], arguments: &Arguments) -> Result<(), String> {
    let prefix = format!("shoal-chaos-{}", std::process::id());
    let directory =
        tempfile::Builder::new().prefix("shoal-chaos-").tempdir().map_err(|error| error.to_string())?;
    let network = Network::create(&prefix, arguments.settings.nodes)?;
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &network.hub()]).arg(itself).args(words);
    let status = command.arg("--inside").arg(&prefix).arg(directory.path()).status();
    if arguments.keep {
        println!("the nodes' files: {}", directory.keep().display());
    }
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("seed {} fails", arguments.settings.seed)),
        Err(error) => Err(format!("ip netns exec: {error}")),
    }
}
