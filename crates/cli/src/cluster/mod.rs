//! The cluster manager: check -> plan -> execute.
//!
//! A command first loads the cluster (`client`) and looks at it (`check`), then makes a plan without touching anything
//! (`plan`, pure), shows it, asks, and carries it out. Commands differ in the plan, not in this order.

mod atomic_moves;
mod backup;
mod call;
mod check;
mod client;
mod cost_plan;
mod costs;
mod create;
mod drain;
mod fix;
mod fix_guess;
mod import;
mod info;
mod joining;
mod log;
mod membership;
mod moving;
pub(crate) mod node;
mod patience;
mod plan;
mod planned;
mod planned_fix;
mod progress;
mod rebalance;
mod report;
mod reshard;
mod restore;
mod restore_functions;
mod saved_keys;
mod slot_plan;
pub(crate) mod trib;

use crate::console::{self, err, out};
use crate::exit::{Exit, Step, fail};
use crate::format::OutputFormat;
use crate::options::{ManagerStyle, Options, insert_standard_input};
use crate::text::{leading_integer, lossy};
use client::Cluster;
use info::KeyCounts;

/// How many arguments a command takes.
#[derive(Clone, Copy)]
enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

/// One command of the manager.
struct Row {
    name: &'static str,
    arity: Arity,
    arguments: &'static str,
    /// Its options, without `--cluster-`.
    options: &'static [&'static str],
    body: Body,
}

/// What a command does: its arguments and the options in, the exit code out.
type Body = fn(&[Vec<u8>], &Options) -> Step<i32>;

const ANY_NODE: &str = "<host:port> or <host> <port> - separated by either colon or space";

/// All commands, in the order of the help.
const COMMANDS: &[Row] = &[
    Row {
        name: "create",
        arity: Arity::AtLeast(2),
        arguments: "host1:port1 ... hostN:portN",
        options: &["replicas <arg>"],
        body: create::run,
    },
    Row {
        name: "check",
        arity: Arity::AtLeast(1),
        arguments: ANY_NODE,
        options: &["search-multiple-owners"],
        body: run_check,
    },
    Row { name: "info", arity: Arity::AtLeast(1), arguments: ANY_NODE, options: &[], body: run_info },
    Row {
        name: "fix",
        arity: Arity::AtLeast(1),
        arguments: ANY_NODE,
        options: &[
            "search-multiple-owners",
            "fix-with-unreachable-masters",
            "fix-owner most-keys|highest-epoch|<node id>",
        ],
        body: fix::run,
    },
    Row {
        name: "reshard",
        arity: Arity::AtLeast(1),
        arguments: ANY_NODE,
        options: &[
            "from <arg>",
            "to <arg>",
            "slots <arg>",
            "yes",
            "timeout <arg>",
            "pipeline <arg>",
            "replace",
        ],
        body: reshard::run,
    },
    Row {
        name: "rebalance",
        arity: Arity::AtLeast(1),
        arguments: ANY_NODE,
        options: &[
            "weight <node1=w1...nodeN=wN>",
            "use-empty-masters",
            "timeout <arg>",
            "simulate",
            "pipeline <arg>",
            "threshold <arg>",
            "replace",
            "by slots|keys|bytes|load",
        ],
        body: rebalance::run,
    },
    Row {
        name: "add-node",
        arity: Arity::Exactly(2),
        arguments: "new_host:new_port existing_host:existing_port",
        options: &["slave", "master-id <arg>"],
        body: membership::add_node,
    },
    Row {
        name: "del-node",
        arity: Arity::Exactly(2),
        arguments: "host:port node_id",
        options: &[],
        body: membership::del_node,
    },
    Row {
        name: "replicate",
        arity: Arity::Exactly(3),
        arguments: "host:port node_id master_id",
        options: &[],
        body: membership::replicate,
    },
    Row {
        name: "drain",
        arity: Arity::Exactly(2),
        arguments: "host:port node_id",
        options: &["delete", "simulate", "yes", "timeout <arg>", "pipeline <arg>"],
        body: drain::run,
    },
    Row {
        name: "plan",
        arity: Arity::AtLeast(2),
        arguments: "create|reshard|rebalance|drain|add-node|del-node|replicate|fix|restore|import and its arguments",
        options: &[],
        body: planned::run,
    },
    Row {
        name: "call",
        arity: Arity::AtLeast(2),
        arguments: "host:port command arg arg .. arg",
        options: &["only-masters", "only-replicas"],
        body: run_call,
    },
    Row {
        name: "set-timeout",
        arity: Arity::Exactly(2),
        arguments: "host:port milliseconds",
        options: &[],
        body: membership::set_timeout,
    },
    Row {
        name: "import",
        arity: Arity::Exactly(1),
        arguments: "host:port",
        options: &["from <arg>", "from-user <arg>", "from-pass <arg>", "from-askpass", "copy", "replace"],
        body: import::run,
    },
    Row {
        name: "backup",
        arity: Arity::Exactly(2),
        arguments: "host:port backup_directory",
        options: &[],
        body: backup::run,
    },
    Row {
        name: "restore",
        arity: Arity::Exactly(2),
        arguments: "host:port backup_directory",
        options: &["replace"],
        body: restore::run,
    },
    Row { name: "help", arity: Arity::AtLeast(0), arguments: "", options: &[], body: run_help },
];

/// The column in which the help shows arguments.
const HELP_COLUMN: usize = 17;

/// Carries out the command of the options. Returns the exit code.
pub(crate) fn run(options: &Options) -> Step<i32> {
    let name = options.cluster.command.clone().unwrap_or_default();
    let mut arguments = options.cluster.arguments.clone();
    insert_standard_input(&options.standard_input, &mut arguments)?;
    let Some(row) = COMMANDS.iter().find(|row| row.name.as_bytes() == name) else {
        fail!("Unknown --cluster subcommand");
    };
    let fits = match row.arity {
        Arity::Exactly(count) => arguments.len() == count,
        Arity::AtLeast(count) => arguments.len() >= count,
    };
    if !fits {
        fail!("[ERR] Wrong number of arguments for specified --cluster sub command");
    }
    let body = || (row.body)(&arguments, options);
    let result = if wants_json(options) { report::as_json(row.name, body) } else { body() };
    console::flush();
    result
}

/// Asks a question that needs a yes; `--cluster-yes` gives it.
fn confirm(question: &str, options: &Options) -> bool {
    options.cluster.yes || confirm_in_any_case(question, options)
}

/// Asks a question that needs a yes from a person. Scripts that read JSON are asked nothing: `--cluster-yes` is their yes.
fn confirm_in_any_case(question: &str, options: &Options) -> bool {
    if wants_json(options) {
        if !options.cluster.yes {
            err!("{question} --json asks no questions: say --cluster-yes, too.");
        }
        return options.cluster.yes;
    }
    out!("{question} (type 'yes' to accept): ");
    console::flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("yes")
}

/// Loads the cluster of the node named by `host:port`, or by host and port in two words.
fn load(arguments: &[Vec<u8>], options: &Options) -> Step<Cluster> {
    let address = match arguments {
        [address] => node::parse_address(&lossy(address)).map(|(host, port, _)| (host, port)),
        [host, port, ..] => Some((lossy(host).into_owned(), leading_integer(port))),
        [] => None,
    };
    match address {
        Some((host, port)) if !host.is_empty() && port != 0 => Cluster::load(&host, port, options),
        _ => {
            err!(
                "[ERR] Invalid arguments: you need to pass either a valid address (ie. 120.0.0.1:7000) or space \
                 separated IP and port (ie. 120.0.0.1 7000)"
            );
            Err(Exit(1))
        }
    }
}

fn wants_json(options: &Options) -> bool {
    matches!(options.format, OutputFormat::Json | OutputFormat::QuotedJson)
}

fn run_check(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let mut cluster = load(arguments, options)?;
    let keys = KeyCounts::collect(&mut cluster)?;
    let multiple_owners = options.cluster.search_multiple_owners;
    let findings = if wants_json(options) {
        let findings = check::check_quietly(&mut cluster, multiple_owners)?;
        let mut report = findings.to_json(&cluster.nodes());
        report["keys"] = keys.to_json(&cluster)["keys"].clone();
        out!("{report}\n");
        findings
    } else {
        if options.cluster.style == ManagerStyle::Cli {
            keys.print(&cluster);
        }
        check::check(&mut cluster, multiple_owners)?
    };
    Ok(i32::from(!findings.is_clean()))
}

fn run_info(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let mut cluster = load(arguments, options)?;
    let keys = KeyCounts::collect(&mut cluster)?;
    if wants_json(options) {
        out!("{}\n", keys.to_json(&cluster));
    } else {
        keys.print(&cluster);
    }
    Ok(0)
}

fn run_call(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let mut cluster = load(&arguments[..1], options)?;
    call::run(&mut cluster, &arguments[1..], options)
}

fn run_help(_arguments: &[Vec<u8>], _options: &Options) -> Step<i32> {
    out!("{}", help_text());
    Ok(0)
}

fn help_text() -> String {
    let mut text = "Cluster Manager Commands:\n".to_owned();
    for row in COMMANDS {
        text.push_str(&format!("{:HELP_COLUMN$}{}\n", format!("  {}", row.name), row.arguments));
        for option in row.options {
            text.push_str(&format!("{:HELP_COLUMN$}--cluster-{option}\n", ""));
        }
    }
    text.push_str(
        "\nThe host and port of any working node name the cluster.\n\
         Every command prints one JSON object with --json, and asks nothing then.\n\
         --cluster-if-needed: create, add-node and del-node go on where they stopped, and succeed if it is so already.\n\
         --cluster-connect-timeout <ms>: for a connection to a node (default 5000).\n\
         --cluster-reply-timeout <ms>: for a node's answer to a command (default 30000).\n\
         --cluster-wait-timeout <ms>: for what nodes do among themselves, as joining (default 120000).\n\
         --cluster-save-dir <directory>: where keys are saved before they are replaced (default: here).\n\
         \nCluster Manager Options:\n  --cluster-yes  Answer every question with yes\n\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_command() {
        let help = help_text();
        for row in COMMANDS {
            assert!(help.contains(&format!("\n  {} ", row.name)) || row.name == "help", "{}", row.name);
        }
        assert!(help.contains(
            "\n  create         host1:port1 ... hostN:portN\n                 --cluster-replicas <arg>\n"
        ));
    }
}
