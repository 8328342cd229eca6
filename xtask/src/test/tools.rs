//! Installs what the tests need: parts of the Rust toolchain, and Debian's Redis as the peer to compare with.
//!
//! Nothing is installed that is there already. Servers are installed without being started: a `policy-rc.d` forbids
//! it for the time of the installation.

use crate::Outcome;
use crate::process::{run, succeeds};
use std::path::Path;
use std::process::Command;

/// A program or library, how to see that it is there, and the Debian package it comes with.
struct Tool {
    probe: &'static [&'static str],
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { probe: &["cc", "--version"], package: "gcc" },
    Tool { probe: &["make", "--version"], package: "make" },
    Tool { probe: &["git", "--version"], package: "git" },
    Tool { probe: &["redis-server", "--version"], package: "redis-server" },
    Tool { probe: &["redis-cli", "--version"], package: "redis-tools" },
    Tool { probe: &["redis-benchmark", "--version"], package: "redis-tools" },
    Tool { probe: &["/usr/bin/python3", "-c", "import redis.cluster"], package: "python3-redis" },
    Tool { probe: &["/usr/bin/python3", "-m", "pip", "--version"], package: "python3-pip" },
    Tool { probe: &["go", "version"], package: "golang-go" },
    Tool { probe: &["envsubst", "--version"], package: "gettext-base" },
    Tool { probe: &["ip", "-V"], package: "iproute2" },
    Tool { probe: &["pgrep", "--version"], package: "procps" },
    Tool { probe: &["sh", "-c", "echo exit | tclsh"], package: "tcl" },
    Tool { probe: &["dpkg-source", "--version"], package: "dpkg-dev" },
];

/// Parts of the toolchain: the probe and the component of rustup.
const COMPONENTS: &[(&str, &str)] = &[("fmt", "rustfmt"), ("clippy", "clippy")];

/// What asks before a service is started during an installation.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing; the text says what that was.
pub fn install() -> Outcome<String> {
    let mut installed = Vec::new();
    for (verb, component) in COMPONENTS {
        if !succeeds("cargo", &[verb, "--version"]) {
            run(Command::new("rustup").args(["component", "add", component])).map_err(|error| {
                format!("cargo {verb} is missing and rustup cannot add it; install {component} ({error})")
            })?;
            installed.push(*component);
        }
    }
    let all: Vec<&str> = TOOLS.iter().map(|tool| tool.package).collect();
    installed.extend(install_only(&all)?);
    Ok(match installed.is_empty() {
        true => "everything is there".to_owned(),
        false => format!("installed {}", installed.join(", ")),
    })
}

/// Installs those of some packages that are missing, and gives their names.
pub fn install_only(wanted: &[&str]) -> Outcome<Vec<&'static str>> {
    let tools = || TOOLS.iter().filter(|tool| wanted.contains(&tool.package) && !is_there(tool));
    let mut packages: Vec<&str> = tools().map(|tool| tool.package).collect();
    packages.dedup();
    if !packages.is_empty() {
        install_packages(&packages)?;
        if let Some(tool) = tools().next() {
            return Err(format!("{} is installed, but `{}` fails", tool.package, tool.probe.join(" ")));
        }
    }
    Ok(packages)
}

fn is_there(tool: &Tool) -> bool {
    tool.probe.split_first().is_some_and(|(program, arguments)| succeeds(program, arguments))
}

fn install_packages(packages: &[&str]) -> Outcome<()> {
    let list = packages.join(" ");
    if !succeeds("apt-get", &["--version"]) {
        return Err(format!("this machine has no apt-get; install what these Debian packages hold: {list}"));
    }
    let by_hand =
        |error| format!("{error}\ninstall by hand: sudo apt-get install --no-install-recommends {list}");
    let forbids_start = !Path::new(POLICY).exists() && forbid_start().is_ok();
    // The lists of packages may be new enough: only without success they are fetched.
    let installed = install_now(packages).or_else(|_| {
        run(&mut as_root("apt-get", &["update"]))?;
        install_now(packages)
    });
    if forbids_start {
        run(&mut as_root("rm", &["-f", POLICY]))?;
    }
    installed.map_err(by_hand)?;
    if packages.contains(&"redis-server") && Path::new("/run/systemd/system").exists() {
        // It was installed for the tests: it shall not start with the machine either.
        run(&mut as_root("systemctl", &["disable", "redis-server"]))?;
    }
    Ok(())
}

fn install_now(packages: &[&str]) -> Outcome<()> {
    let mut words = vec!["install", "-y", "--no-install-recommends"];
    words.extend(packages);
    run(as_root("apt-get", &words).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Lets the installation start no services; exit code 101 is the policy's "no".
fn forbid_start() -> Outcome<()> {
    let script = format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}");
    run(&mut as_root("sh", &["-c", &script]))
}

/// A command as root: directly if we are, with sudo otherwise.
fn as_root(program: &str, arguments: &[&str]) -> Command {
    let is_root = std::env::var("USER").is_ok_and(|user| user == "root")
        || crate::process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut command = Command::new(if is_root { program } else { "sudo" });
    if !is_root {
        command.arg(program);
    }
    command.args(arguments);
    command
}
