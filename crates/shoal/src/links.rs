//! One binary, many programs: which one is meant, by its name or by its first argument.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::check::aof::check_aof_main;
use crate::check::rdb::check_rdb_main;
use crate::launcher;
use crate::server::startup::server_main;

/// A program of the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Server,
    Sentinel,
    Cli,
    Benchmark,
    CheckRdb,
    CheckAof,
    Trib,
    CreateCluster,
    Nutcracker,
    Predixy,
    Proxy,
    Up,
    Down,
    Status,
    InstallLinks,
}

/// Under which names the programs go: links to the binary, and its first argument.
struct Name {
    program: Program,
    link: Option<&'static str>,
    subcommand: Option<&'static str>,
    description: &'static str,
}

const fn name(
    program: Program,
    link: Option<&'static str>,
    subcommand: Option<&'static str>,
    description: &'static str,
) -> Name {
    Name { program, link, subcommand, description }
}

const NAMES: &[Name] = &[
    name(Program::Server, Some("redis-server"), Some("server"), "the server"),
    name(
        Program::Sentinel,
        Some("redis-sentinel"),
        Some("sentinel"),
        "monitoring and failover of replicated servers",
    ),
    name(Program::Cli, Some("redis-cli"), Some("cli"), "the client, and the cluster manager"),
    name(Program::Benchmark, Some("redis-benchmark"), Some("benchmark"), "the load generator"),
    name(Program::Proxy, None, Some("proxy"), "the sharding proxy"),
    name(Program::CheckRdb, Some("redis-check-rdb"), Some("check-rdb"), "checks a snapshot"),
    name(
        Program::CheckAof,
        Some("redis-check-aof"),
        Some("check-aof"),
        "checks and repairs an append-only file",
    ),
    name(Program::Trib, Some("redis-trib.rb"), Some("trib"), "the cluster manager of Redis 3 and 4"),
    name(
        Program::CreateCluster,
        None,
        Some("create-cluster"),
        "the launcher of Redis's source tree; install-links writes its script",
    ),
    name(Program::Nutcracker, Some("nutcracker"), None, "the proxy as twemproxy"),
    name(Program::Predixy, Some("predixy"), None, "the proxy as predixy"),
    name(Program::Up, None, Some("up"), "starts a cluster on this machine"),
    name(Program::Down, None, Some("down"), "stops it"),
    name(Program::Status, None, Some("status"), "shows it"),
    name(
        Program::InstallLinks,
        None,
        Some("install-links"),
        "makes links under the old names in a directory",
    ),
];

/// Runs the program that the command line means, and gives its exit code. `arguments` begin with the program's name.
pub fn run(arguments: Vec<OsString>) -> i32 {
    let mut arguments = arguments.into_iter();
    let invoked = arguments.next().unwrap_or_else(|| "shoal".into());
    let mut rest: Vec<OsString> = arguments.collect();
    let invoked_name = invoked.to_string_lossy().into_owned();
    if let Some(program) = by_link(&invoked) {
        return start(program, &invoked_name, rest);
    }
    let Some(first) = (!rest.is_empty()).then(|| rest.remove(0)) else {
        let _ = io::stderr().write_all(help().as_bytes());
        return 2;
    };
    match first.to_str() {
        Some("-h" | "--help" | "help") => say(&help()),
        Some("-v" | "-V" | "--version") => say(&format!("shoal {}\n", env!("CARGO_PKG_VERSION"))),
        Some(word) => match NAMES.iter().find(|name| name.subcommand == Some(word)) {
            Some(name) => start(name.program, &format!("{invoked_name} {word}"), rest),
            None => unknown(word),
        },
        None => unknown(&first.to_string_lossy()),
    }
}

fn start(program: Program, invoked: &str, arguments: Vec<OsString>) -> i32 {
    match program {
        Program::Server => server_main(invoked, arguments),
        Program::Up => launcher::up_main(arguments),
        Program::Down => launcher::down_main(arguments),
        Program::Status => launcher::status_main(arguments),
        Program::CreateCluster => launcher::create_cluster_main(arguments),
        Program::InstallLinks => install_links(&arguments),
        Program::Cli => shoal_cli::cli_main(arguments),
        Program::Trib => shoal_cli::trib_main(arguments),
        Program::Benchmark => shoal_cli::benchmark_main(arguments),
        Program::CheckRdb => check_rdb_main(invoked, &arguments),
        Program::CheckAof => check_aof_main(invoked, &arguments),
        Program::Sentinel | Program::Nutcracker | Program::Predixy | Program::Proxy => complain(&format!(
            "{invoked}: this program is not part of Shoal {} yet.\n",
            env!("CARGO_PKG_VERSION")
        )),
    }
}

/// The program whose link this is. Like Redis, a name with something around it counts too (`redis-server-7`).
fn by_link(invoked: &OsStr) -> Option<Program> {
    let base = Path::new(invoked).file_name()?.to_str()?;
    let links = || NAMES.iter().filter_map(|name| name.link.map(|link| (link, name.program)));
    let exact = links().find(|(link, _)| *link == base);
    exact.or_else(|| links().find(|(link, _)| base.starts_with(link))).map(|(_, program)| program)
}

fn install_links(arguments: &[OsString]) -> i32 {
    let [directory] = arguments else {
        return complain("Usage: shoal install-links DIR\n");
    };
    let target = match std::env::current_exe() {
        Ok(target) => target,
        Err(error) => return complain(&format!("shoal: cannot find this binary: {error}\n")),
    };
    let directory = Path::new(directory);
    if let Err(error) = std::fs::create_dir_all(directory) {
        return complain(&format!("shoal: cannot make {}: {error}\n", directory.display()));
    }
    let mut report = String::new();
    for link in NAMES.iter().filter_map(|name| name.link) {
        let path = directory.join(link);
        // Only a link is replaced: a real program of this name is somebody's.
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => {
                let _ = std::fs::remove_file(&path);
            }
            Ok(_) => {
                return complain(&format!(
                    "shoal: {} exists and is no link: move it away first, or choose another directory.\n",
                    path.display()
                ));
            }
            Err(_) => {}
        }
        if let Err(error) = symlink(&target, &path) {
            return complain(&format!("shoal: cannot make {}: {error}\n", path.display()));
        }
        report.push_str(&format!("{} -> {}\n", path.display(), target.display()));
    }
    match write_script(directory, &target) {
        Ok(line) => report.push_str(&line),
        Err(text) => return complain(&text),
    }
    say(&report)
}

/// Writes the script `create-cluster`. One that is there may have been edited, and stays.
fn write_script(directory: &Path, target: &Path) -> Result<String, String> {
    let path = directory.join("create-cluster");
    let shown = path.display();
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if path.exists() && !is_link {
        return Ok(format!("{shown} is there already and stays as it is\n"));
    }
    if is_link {
        let _ = std::fs::remove_file(&path);
    }
    let text = launcher::create_cluster_script(target.parent().unwrap_or(Path::new(".")));
    let written = std::fs::write(&path, text)
        .and_then(|()| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)));
    written.map(|()| format!("{shown}\n")).map_err(|error| format!("shoal: cannot write {shown}: {error}\n"))
}

fn help() -> String {
    let mut text = String::from(
        "Shoal, a Redis-compatible, clustered, highly available in-memory store.\n\nUsage: shoal PROGRAM [ARGUMENTS]\n\n",
    );
    for name in NAMES {
        if let Some(subcommand) = name.subcommand {
            let link = name.link.map_or_else(String::new, |link| format!(" (also {link})"));
            text.push_str(&format!("  {subcommand:<14} {}{link}\n", name.description));
        }
    }
    text.push_str(
        "\n`shoal PROGRAM --help` says more about one. A link with the name in parentheses behaves as that program.\n",
    );
    text
}

fn unknown(word: &str) -> i32 {
    complain(&format!("shoal: there is no program '{word}'; `shoal --help` lists them.\n"))
}

fn say(text: &str) -> i32 {
    let _ = io::stdout().write_all(text.as_bytes());
    0
}

fn complain(text: &str) -> i32 {
    let _ = io::stderr().write_all(text.as_bytes());
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_programs() {
        let cases: &[(&str, Option<Program>)] = &[
            ("redis-server", Some(Program::Server)),
            ("/usr/local/bin/redis-server", Some(Program::Server)),
            ("./redis-5.0.7/src/redis-server", Some(Program::Server)),
            ("redis-server-7.2", Some(Program::Server)),
            ("redis-sentinel", Some(Program::Sentinel)),
            ("redis-trib.rb", Some(Program::Trib)),
            ("nutcracker", Some(Program::Nutcracker)),
            ("shoal", None),
            ("/opt/redis-server/shoal", None),
        ];
        for (invoked, expected) in cases {
            assert_eq!(by_link(OsStr::new(invoked)), *expected, "{invoked}");
        }
    }

    #[test]
    fn names_are_unique() {
        for (index, name) in NAMES.iter().enumerate() {
            for other in &NAMES[index + 1..] {
                assert!(name.link.is_none() || name.link != other.link);
                assert!(name.subcommand.is_none() || name.subcommand != other.subcommand);
            }
        }
    }
}
