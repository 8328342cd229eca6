//! `shoal-crash`: the server on another disk, and the runs that crash it.
//!
//! ```text
//! shoal-crash server ARGUMENTS…      the server; SHOAL_CRASH_DISK is record:JOURNAL, faults:FILE or both:FILE:JOURNAL
//! shoal-crash run --runs N [--seed S] [--disk real|simulated|both] [--program PATH] [--keep]
//! ```

// A tool for the terminal: what it has to say goes to standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use shoal_crash::run::{DiskKind, Settings};
use shoal_crash::{faults, faulty, recording, run};
use shoal_transport::{SharedDisk, SystemDisk};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: shoal_server::allocator::Jemalloc = shoal_server::allocator::Jemalloc;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let verb = if arguments.is_empty() { None } else { Some(arguments.remove(0)) };
    let outcome = match verb.as_ref().and_then(|verb| verb.to_str()) {
        Some("server") => {
            let code = disk().map(|disk| {
                shoal_server::server::startup::server_main_on("shoal-crash server", arguments, &disk)
            });
            match code {
                Ok(code) => std::process::exit(code),
                Err(error) => Err(error),
            }
        }
        Some("run") => runs(arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect()),
        _ => Err("Usage: shoal-crash server ARGUMENTS… | shoal-crash run --runs N [--seed S] \
                  [--disk real|simulated|both] [--program PATH] [--keep]"
            .to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The disk that the environment asks for.
fn disk() -> Result<SharedDisk, String> {
    let Ok(wanted) = std::env::var(shoal_crash::server::DISK_VARIABLE) else {
        return Ok(Arc::new(SystemDisk));
    };
    match wanted.split_once(':') {
        Some(("record", path)) => {
            let disk = recording::RecordingDisk::begin(path.as_ref(), Arc::new(SystemDisk), false);
            Ok(Arc::new(disk.map_err(|error| format!("{path}: {error}"))?))
        }
        Some(("both", paths)) => {
            let (control, journal) = paths.split_once(':').ok_or("both:FILE:JOURNAL")?;
            let faulty = Arc::new(faulty::FaultyDisk::new(control.into()));
            let disk = recording::RecordingDisk::begin(journal.as_ref(), faulty, true);
            Ok(Arc::new(disk.map_err(|error| format!("{journal}: {error}"))?))
        }
        Some(("faults", path)) => Ok(Arc::new(faulty::FaultyDisk::new(path.into()))),
        _ => Err(format!("{}={wanted} is no disk", shoal_crash::server::DISK_VARIABLE)),
    }
}

fn runs(words: Vec<String>) -> Result<(), String> {
    let mut settings = Settings::new(std::env::current_exe().map_err(|error| error.to_string())?);
    let (mut count, mut first_seed, mut disks) = (1, 1, vec![DiskKind::Real, DiskKind::Simulated]);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--runs" => count = number(value()?)?,
            "--seed" => first_seed = number(value()?)?,
            "--program" => settings.program = Some(PathBuf::from(value()?)),
            "--keep" => settings.keeps_files = true,
            "--disk" => {
                disks = match value()?.as_str() {
                    "real" => vec![DiskKind::Real],
                    "simulated" => vec![DiskKind::Simulated],
                    "both" => disks,
                    other => return Err(format!("--disk is real, simulated or both, not {other}")),
                };
            }
            _ => return Err(format!("no such option: {word}")),
        }
    }
    let mut failed = Vec::new();
    for disk in disks {
        for seed in first_seed..first_seed + count {
            match run::run(seed, disk, &settings) {
                Ok(summary) => println!("{disk} disk, seed {seed}: {summary}"),
                Err(error) => {
                    println!("{disk} disk, seed {seed}: FAILED\n{error}");
                    failed.push(format!("--disk {disk} --seed {seed} --runs 1"));
                }
            }
        }
    }
    for (name, scenario) in faults::SCENARIOS {
        match scenario(&settings) {
            Ok(()) => println!("{name}: as documented"),
            Err(error) => {
                println!("{name}: FAILED\n{error}");
                failed.push(name.to_string());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("failed: {}", failed.join("; "))),
    }
}
