//! The options of the launcher's commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::Failure;
use super::plan::Plan;

const DEFAULT_NODES: u16 = 6;
const DEFAULT_REPLICAS: u16 = 1;
const DEFAULT_PORT: u16 = 30001;
/// Where the data is unless the user says otherwise.
pub(super) const DEFAULT_DIRECTORY: &str = "./shoal-data";

/// The options of `shoal up`.
#[derive(Debug)]
pub(super) struct UpOptions {
    nodes: Option<u16>,
    replicas: Option<u16>,
    port: Option<u16>,
    /// Where the data is.
    pub directory: PathBuf,
    /// Whether the command ends when the cluster runs.
    pub detach: bool,
    /// Whether the data of an earlier cluster is erased first.
    pub fresh: bool,
    /// Another program to run as the nodes.
    pub server_binary: Option<PathBuf>,
}

/// The options of `shoal down` and `shoal status`.
#[derive(Debug)]
pub(super) struct DirectoryOptions {
    /// Where the data is.
    pub directory: PathBuf,
    /// Whether the answer is JSON.
    pub json: bool,
}

impl UpOptions {
    /// The cluster that the options ask for.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        Plan::new(
            self.port.unwrap_or(DEFAULT_PORT),
            self.nodes.unwrap_or(DEFAULT_NODES),
            self.replicas.unwrap_or(DEFAULT_REPLICAS),
        )
        .map_err(Failure::new)
    }

    /// Whether what was asked for by name is what `plan` has.
    pub(super) fn fits(&self, plan: &Plan) -> bool {
        let same = |wanted: Option<u16>, has: u16| wanted.is_none_or(|wanted| wanted == has);
        same(self.nodes, plan.nodes) && same(self.replicas, plan.replicas) && same(self.port, plan.port)
    }
}

/// Reads the options of `shoal up`; an error is the exit code, and everything has been said.
pub(super) fn up(arguments: Vec<OsString>) -> Result<UpOptions, i32> {
    let number = |name: &'static str| Arg::new(name).long(name).value_parser(value_parser!(u16));
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let command = Command::new("shoal up")
        .about("Starts a cluster on this machine, or goes on with the one in the directory, and stays until Ctrl-C")
        .arg(number("nodes").value_name("N").help("How many nodes, primaries and replicas together [default: 6]"))
        .arg(number("replicas").value_name("R").help("How many replicas per primary [default: 1]"))
        .arg(
            number("port")
                .value_name("P")
                .help("The port of the first node; the others follow, and each uses its port + 10000 too [default: 30001]"),
        )
        .arg(directory_option())
        .arg(flag("detach").help("Ends when the cluster runs, and leaves it running"))
        .arg(flag("fresh").help("Erases the cluster in the directory first"))
        .arg(
            Arg::new("server-binary")
                .long("server-binary")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("Runs this program (a redis-server) as the nodes instead of shoal"),
        );
    let matches = parse(command, arguments)?;
    Ok(UpOptions {
        nodes: matches.get_one("nodes").copied(),
        replicas: matches.get_one("replicas").copied(),
        port: matches.get_one("port").copied(),
        directory: directory_of(&matches),
        detach: matches.get_flag("detach"),
        fresh: matches.get_flag("fresh"),
        server_binary: matches.get_one("server-binary").cloned(),
    })
}

/// Reads the options of `shoal down`.
pub(super) fn down(arguments: Vec<OsString>) -> Result<DirectoryOptions, i32> {
    let command = Command::new("shoal down")
        .about("Stops the cluster in the directory; its data stays")
        .arg(directory_option());
    let matches = parse(command, arguments)?;
    Ok(DirectoryOptions { directory: directory_of(&matches), json: false })
}

/// Reads the options of `shoal status`.
pub(super) fn status(arguments: Vec<OsString>) -> Result<DirectoryOptions, i32> {
    let command = Command::new("shoal status")
        .about("Shows the cluster in the directory; exits with 1 unless everything is well")
        .arg(directory_option())
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Answers in JSON"));
    let matches = parse(command, arguments)?;
    Ok(DirectoryOptions { directory: directory_of(&matches), json: matches.get_flag("json") })
}

fn directory_option() -> Arg {
    Arg::new("dir")
        .long("dir")
        .value_name("D")
        .value_parser(value_parser!(PathBuf))
        .default_value(DEFAULT_DIRECTORY)
        .help("The directory of the cluster's data")
}

fn directory_of(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("dir").cloned().unwrap_or_else(|| DEFAULT_DIRECTORY.into())
}

fn parse(command: Command, arguments: Vec<OsString>) -> Result<ArgMatches, i32> {
    command.no_binary_name(true).try_get_matches_from(arguments).map_err(|error| {
        let _ = error.print();
        error.exit_code()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_with(line: &str) -> Result<UpOptions, i32> {
        up(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn options_make_a_plan() {
        let options = up_with("").unwrap();
        assert_eq!(options.plan().unwrap(), Plan { port: 30001, nodes: 6, replicas: 1 });
        assert!(!options.detach && !options.fresh);
        let options = up_with("--nodes 9 --replicas 2 --port 40001 --dir d --detach --fresh").unwrap();
        assert_eq!(options.plan().unwrap(), Plan { port: 40001, nodes: 9, replicas: 2 });
        assert!(options.detach && options.fresh);
        assert_eq!(options.directory, PathBuf::from("d"));
        assert!(options.fits(&Plan { port: 40001, nodes: 9, replicas: 2 }));
        assert!(!options.fits(&Plan { port: 40001, nodes: 6, replicas: 1 }));
        assert!(up_with("").unwrap().fits(&Plan { port: 40001, nodes: 9, replicas: 2 }));
        assert_eq!(up_with("--nodes x").unwrap_err(), 2);
        assert_eq!(up_with("--help").unwrap_err(), 0);
    }
}
