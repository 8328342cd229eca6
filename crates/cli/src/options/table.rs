//! One row per option.

use super::{Mode, Options, OutputFormat, ProtocolChoice};
use super::{
    seconds, set_json, set_last_argument, set_memory_samples, set_quoted_pattern, set_rdb, set_show_pushes,
    set_tag,
};
use crate::exit::Step;
use crate::text::{leading_integer, lossy};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What an option does.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// It stands alone.
    Flag(fn(&mut Options)),
    /// It takes the next argument.
    Value(fn(&mut Options, &[u8]) -> Step),
    Help,
    Version,
    /// `--cluster`: a command and its arguments up to the next option.
    ClusterCommand,
    /// All following arguments of the form `node=weight`.
    Weights,
}

/// One option.
pub(crate) struct Row {
    /// The option as `--help` shows it: its name, then its value in angle brackets.
    pub usage: &'static str,
    /// What `--help` says about it, one or more lines; `None` hides it.
    pub explanation: Option<&'static str>,
    pub action: Action,
}

impl Row {
    /// The option itself.
    pub(crate) fn name(&self) -> &'static str {
        self.usage.split(' ').next().unwrap_or(self.usage)
    }

    /// Looks an argument up.
    pub(crate) fn find(argument: &[u8]) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name().as_bytes() == argument)
    }
}

/// What `--help` says before the options.
pub(crate) const HELP_HEAD: &str = "Usage: redis-cli [OPTIONS] [cmd [arg [arg ...]]]\n";

/// What `--help` says after the options.
pub(crate) const HELP_TAIL: &str = "
`--cluster help` lists the commands of the cluster manager.

Examples:
  redis-cli -x set motd < /etc/motd
  redis-cli -D \"\" --raw dump key > key.dump && redis-cli -X @dump restore copy 0 @dump replace < key.dump
  redis-cli -r 60 -i 1 info memory | grep used_memory_human
  redis-cli --quoted-input set '\"\\x00 binary\"' value
  redis-cli --eval script.lua key1 key2 , arg1 arg2     (the comma ends the keys)
  redis-cli --scan --pattern 'user:*'

Without a command the prompt opens; \"help\" explains it.

";

const fn row(usage: &'static str, explanation: &'static str, action: Action) -> Row {
    Row { usage, explanation: Some(explanation), action }
}

const fn hidden(usage: &'static str, action: Action) -> Row {
    Row { usage, explanation: None, action }
}

/// An option of TLS, which there is not yet: read, so that its value is not taken for something else.
const fn ignored(usage: &'static str) -> Row {
    hidden(usage, Action::Value(|_, _| Ok(())))
}

/// A file name.
pub(crate) fn path(value: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(value.to_vec()))
}

use Action::{Flag, Value};

/// All options, in the order of `--help`.
pub(crate) const ROWS: &[Row] = &[
    row(
        "-h <hostname>",
        "Host of the server (default: 127.0.0.1).",
        Value(|options, value| {
            options.host = String::from_utf8_lossy(value).into_owned();
            Ok(())
        }),
    ),
    row(
        "-p <port>",
        "Port of the server (default: 6379).",
        Value(|options, value| {
            options.port = leading_integer(value);
            Ok(())
        }),
    ),
    row(
        "-s <socket>",
        "Unix socket of the server, instead of host and port.",
        Value(|options, value| {
            options.socket = Some(path(value));
            Ok(())
        }),
    ),
    row(
        "-a <password>",
        "Password. The environment variable REDISCLI_AUTH keeps it\nout of the process list; -a wins over it.",
        Value(set_password),
    ),
    row(
        "--user <username>",
        "User for AUTH; needs -a.",
        Value(|options, value| {
            options.user = Some(value.to_vec());
            Ok(())
        }),
    ),
    row("--pass <password>", "The same as -a.", Value(set_password)),
    row(
        "--askpass",
        "Ask for the password and show none of it.\nWins over -a and REDISCLI_AUTH.",
        Flag(|options| {
            options.ask_password = true;
        }),
    ),
    row("-u <uri>", "redis://[[user:]password@][host[:port]][/database]", Value(Options::apply_uri)),
    row(
        "-r <repeat>",
        "Run the command this many times; below 0: for ever.",
        Value(|options, value| {
            options.repeat = leading_integer(value);
            Ok(())
        }),
    ),
    row(
        "-i <interval>",
        "Seconds to wait between runs of -r, e.g. 0.1; also per cycle\nof --scan and --stat, and per 100 cycles of --bigkeys,\n--memkeys and --hotkeys.",
        Value(|options, value| {
            options.interval = seconds(value);
            Ok(())
        }),
    ),
    row(
        "-n <db>",
        "Number of the database.",
        Value(|options, value| {
            options.database = leading_integer(value);
            Ok(())
        }),
    ),
    row("-2", "Speak RESP2.", Flag(|options| options.resp2 = true)),
    row("-3", "Speak RESP3.", Flag(|options| options.protocol = ProtocolChoice::Resp3)),
    row("-x", "Take the last argument from standard input.", Flag(set_last_argument)),
    row("-X <tag>", "Take the argument <tag> from standard input.", Value(set_tag)),
    row(
        "-d <delimiter>",
        "Between the elements of a raw reply (default: \\n).",
        Value(|options, value| {
            options.delimiters.element = value.to_vec();
            Ok(())
        }),
    ),
    row(
        "-D <delimiter>",
        "After each raw reply (default: \\n).",
        Value(|options, value| {
            options.delimiters.reply = value.to_vec();
            Ok(())
        }),
    ),
    row("-c", "Cluster mode: follow -MOVED and -ASK.", Flag(|options| options.cluster_mode = true)),
    row("-e", "End with code 1 when a command fails.", Flag(|options| options.error_code = true)),
    row(
        "--tls",
        "Connect by TLS (not supported yet, nor are its options\n--sni, --cacert, --cacertdir, --insecure, --cert, --key,\n--tls-ciphers and --tls-ciphersuites).",
        Flag(|options| options.tls = true),
    ),
    ignored("--sni <host>"),
    ignored("--cacert <file>"),
    ignored("--cacertdir <dir>"),
    hidden("--insecure", Flag(|_| ())),
    ignored("--cert <file>"),
    ignored("--key <file>"),
    ignored("--tls-ciphers <list>"),
    ignored("--tls-ciphersuites <list>"),
    row(
        "--raw",
        "Replies as they are (default unless on a terminal).",
        Flag(|options| options.format = OutputFormat::Raw),
    ),
    row(
        "--no-raw",
        "Replies for people, even if not on a terminal.",
        Flag(|options| options.format = OutputFormat::Tty),
    ),
    row("--quoted-input", "Arguments are quoted strings.", Flag(|options| options.quoted_input = true)),
    row("--csv", "Replies as comma-separated values.", Flag(|options| options.format = OutputFormat::Csv)),
    row(
        "--json",
        "Replies as JSON; prefers RESP3, with -2 not.",
        Flag(|options| set_json(options, OutputFormat::Json)),
    ),
    row(
        "--quoted-json",
        "The same in ASCII: other bytes become escapes.",
        Flag(|options| {
            set_json(options, OutputFormat::QuotedJson);
        }),
    ),
    row(
        "--show-pushes <yn>",
        "Print RESP3 pushes (default: yes on a terminal).",
        Value(|options, value| {
            set_show_pushes(options, value);
            Ok(())
        }),
    ),
    row(
        "--stat",
        "Figures of the server, line after line.",
        Flag(|options| options.modes.push(Mode::Statistics)),
    ),
    row(
        "--latency",
        "Measure the time of PING. On a terminal for ever; with --raw,\n--csv, --json or into a pipe for a second (or -i), one result.",
        Flag(|options| options.modes.push(Mode::Latency)),
    ),
    row(
        "--latency-history",
        "The same, a result every 15 seconds (or -i).",
        Flag(|options| {
            options.modes.push(Mode::Latency);
            options.latency_history = true;
        }),
    ),
    row(
        "--latency-dist",
        "The same as a spectrum of 256 colors, every second (or -i);\n--mono draws it in shades of grey.",
        Flag(|options| {
            options.modes.push(Mode::LatencyDistribution);
        }),
    ),
    hidden("--mono", Flag(|options| options.monochrome = true)),
    row(
        "--lru-test <keys>",
        "Play a cache: 20 % of the keys get 80 % of the requests.",
        Value(|options, value| {
            options.modes.push(Mode::LruTest);
            options.lru_keys = leading_integer(value);
            Ok(())
        }),
    ),
    row(
        "--replica",
        "Play a replica: print the commands of the primary.",
        Flag(|options| options.modes.push(Mode::Replica)),
    ),
    hidden("--slave", Flag(|options| options.modes.push(Mode::Replica))),
    row(
        "--rdb <filename>",
        "Fetch an RDB file; \"-\" is standard output.",
        Value(|options, value| set_rdb(options, value, false)),
    ),
    row(
        "--functions-rdb <filename>",
        "The same with the functions only.",
        Value(|options, value| set_rdb(options, value, true)),
    ),
    row(
        "--pipe",
        "Send raw protocol from standard input to the server.",
        Flag(|options| options.modes.push(Mode::Pipe)),
    ),
    row(
        "--pipe-timeout <n>",
        "With --pipe: give up after so many seconds without a reply\n(default: 30; 0: never).",
        Value(|options, value| {
            options.pipe_timeout_s = leading_integer(value);
            Ok(())
        }),
    ),
    row("--bigkeys", "Look for keys with many elements.", Flag(|options| options.modes.push(Mode::BigKeys))),
    row(
        "--memkeys",
        "Look for keys that take much memory.",
        Flag(|options| options.modes.push(Mode::MemoryKeys)),
    ),
    row(
        "--memkeys-samples <n>",
        "The same, sampling so many elements of a key.",
        Value(|options, value| {
            set_memory_samples(options, value);
            Ok(())
        }),
    ),
    row(
        "--hotkeys",
        "Look for keys in frequent use (needs maxmemory-policy *lfu).",
        Flag(|options| {
            options.modes.push(Mode::HotKeys);
        }),
    ),
    row("--scan", "List the keys by SCAN.", Flag(|options| options.modes.push(Mode::Scan))),
    row(
        "--pattern <pat>",
        "Only keys like this, for --scan, --bigkeys, --hotkeys.",
        Value(|options, value| {
            options.pattern = Some(value.to_vec());
            Ok(())
        }),
    ),
    row("--quoted-pattern <pat>", "The same as a quoted string.", Value(set_quoted_pattern)),
    row(
        "--intrinsic-latency <sec>",
        "Measure for so many seconds how long the system\nkeeps a process waiting; needs no server.",
        Value(|options, value| {
            options.modes.push(Mode::IntrinsicLatency);
            options.intrinsic_latency_s = leading_integer(value);
            Ok(())
        }),
    ),
    row(
        "--eval <file>",
        "Run the Lua script in this file by EVAL.",
        Value(|options, value| {
            options.eval = Some(path(value));
            Ok(())
        }),
    ),
    row(
        "--cluster <command> [args...] [opts...]",
        "\nThe cluster manager, see --cluster help.",
        Action::ClusterCommand,
    ),
    hidden(
        "--cluster-replicas <n>",
        Value(|options, value| {
            options.cluster.replicas = leading_integer(value);
            Ok(())
        }),
    ),
    hidden("--cluster-yes", Flag(|options| options.cluster.yes = true)),
    hidden("--cluster-only-masters", Flag(|options| options.cluster.only_primaries = true)),
    hidden("--cluster-only-replicas", Flag(|options| options.cluster.only_replicas = true)),
    hidden("--cluster-search-multiple-owners", Flag(|options| options.cluster.search_multiple_owners = true)),
    hidden(
        "--cluster-master-id <id>",
        Value(|options, value| {
            options.cluster.primary_id = Some(lossy(value).into_owned());
            Ok(())
        }),
    ),
    hidden(
        "--cluster-from <nodes>",
        Value(|options, value| {
            options.cluster.from = Some(lossy(value).into_owned());
            Ok(())
        }),
    ),
    hidden(
        "--cluster-to <node>",
        Value(|options, value| {
            options.cluster.to = Some(lossy(value).into_owned());
            Ok(())
        }),
    ),
    hidden(
        "--cluster-from-user <user>",
        Value(|options, value| {
            options.cluster.from_user = Some(value.to_vec());
            Ok(())
        }),
    ),
    hidden(
        "--cluster-from-pass <password>",
        Value(|options, value| {
            options.cluster.from_password = Some(value.to_vec());
            Ok(())
        }),
    ),
    hidden("--cluster-from-askpass", Flag(|options| options.cluster.from_ask_password = true)),
    hidden("--cluster-weight <node=weight>", Action::Weights),
    hidden(
        "--cluster-slots <n>",
        Value(|options, value| {
            options.cluster.slots = leading_integer(value);
            Ok(())
        }),
    ),
    hidden(
        "--cluster-timeout <ms>",
        Value(|options, value| {
            options.cluster.timeout_ms = leading_integer(value);
            Ok(())
        }),
    ),
    hidden(
        "--cluster-connect-timeout <ms>",
        Value(|options, value| {
            options.cluster.connect_timeout_ms = leading_integer(value).max(1);
            Ok(())
        }),
    ),
    hidden(
        "--cluster-reply-timeout <ms>",
        Value(|options, value| {
            options.cluster.reply_timeout_ms = leading_integer(value).max(1);
            Ok(())
        }),
    ),
    hidden(
        "--cluster-wait-timeout <ms>",
        Value(|options, value| {
            options.cluster.wait_timeout_ms = leading_integer(value).max(1);
            Ok(())
        }),
    ),
    hidden(
        "--cluster-fix-owner <most-keys|highest-epoch|node id>",
        Value(|options, value| {
            options.cluster.fix_owner = Some(lossy(value).into_owned());
            Ok(())
        }),
    ),
    hidden(
        "--cluster-pipeline <n>",
        Value(|options, value| {
            options.cluster.pipeline = leading_integer(value).max(1);
            Ok(())
        }),
    ),
    hidden(
        "--cluster-threshold <percent>",
        Value(|options, value| {
            options.cluster.threshold = lossy(value).trim().parse().unwrap_or(0.0);
            Ok(())
        }),
    ),
    hidden("--cluster-simulate", Flag(|options| options.cluster.simulate = true)),
    hidden("--cluster-if-needed", Flag(|options| options.cluster.if_needed = true)),
    hidden(
        "--cluster-by <slots|keys|bytes|load>",
        Value(|options, value| {
            options.cluster.by = Some(lossy(value).into_owned());
            Ok(())
        }),
    ),
    hidden(
        "--cluster-save-dir <directory>",
        Value(|options, value| {
            options.cluster.save_directory = Some(path(value));
            Ok(())
        }),
    ),
    hidden("--cluster-delete", Flag(|options| options.cluster.delete = true)),
    hidden("--cluster-replace", Flag(|options| options.cluster.replace = true)),
    hidden("--cluster-copy", Flag(|options| options.cluster.copy = true)),
    hidden("--cluster-slave", Flag(|options| options.cluster.as_replica = true)),
    hidden("--cluster-use-empty-masters", Flag(|options| options.cluster.use_empty_primaries = true)),
    hidden(
        "--cluster-fix-with-unreachable-masters",
        Flag(|options| options.cluster.fix_with_unreachable_primaries = true),
    ),
    row("--verbose", "Say more.", Flag(|options| options.verbose = true)),
    row(
        "--no-auth-warning",
        "No warning about a password on the command line.",
        Flag(|options| {
            options.no_auth_warning = true;
        }),
    ),
    row("--help", "This text.", Action::Help),
    row("--version", "The version.", Action::Version),
    hidden("-v", Action::Version),
];

fn set_password(options: &mut Options, value: &[u8]) -> Step {
    options.password = Some(value.to_vec());
    Ok(())
}
