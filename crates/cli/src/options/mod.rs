//! The command line of the client: what it can say, and how it is read.
//!
//! [`table::ROWS`] holds one row per option; parsing and `--help` derive from it.

pub(crate) mod table;

use crate::connection::Address;
use crate::console::{self, err, out};
use crate::exit::{Exit, Step, fail};
use crate::format::{Delimiters, OutputFormat};
use crate::text::{leading_integer, lossy, read_standard_input};
use crate::{uri, version};
use shoal_protocol::quoting::split_arguments;
use std::path::PathBuf;
use std::time::Duration;
use table::{Action, Row};

/// The column in which the explanations of `--help` begin.
const HELP_COLUMN: usize = 21;
/// The server's port if none is given.
const PORT_DEFAULT: i64 = 6379;
/// Seconds without a reply after which `--pipe` gives up.
const PIPE_TIMEOUT_S_DEFAULT: i64 = 30;

/// The protocol asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtocolChoice {
    /// Whatever the server begins with: RESP2.
    Default,
    /// `-3`: RESP3 or an error.
    Resp3,
    /// RESP3 if the server knows it, because the output is JSON.
    PreferResp3,
}

/// What the client does instead of running commands; the first one in this order wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Latency,
    LatencyDistribution,
    Replica,
    Rdb,
    Pipe,
    BigKeys,
    MemoryKeys,
    HotKeys,
    Statistics,
    Scan,
    LruTest,
    IntrinsicLatency,
}

/// Where an argument comes from standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StandardInput {
    /// It is not used.
    Unused,
    /// `-x`: the last argument.
    LastArgument,
    /// `-X`: the argument equal to this tag.
    Tag(Vec<u8>),
}

/// Whose words the manager speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ManagerStyle {
    /// Those of `redis-cli --cluster`.
    #[default]
    Cli,
    /// Those of `redis-trib.rb`.
    Trib,
}

/// The options of `--cluster`.
#[derive(Clone, Debug)]
pub(crate) struct ClusterOptions {
    /// The manager's command; `None` if this is not about the manager.
    pub command: Option<Vec<u8>>,
    pub style: ManagerStyle,
    pub arguments: Vec<Vec<u8>>,
    /// Replicas per primary.
    pub replicas: i64,
    /// Answer every question with yes.
    pub yes: bool,
    pub only_primaries: bool,
    pub only_replicas: bool,
    pub search_multiple_owners: bool,
    /// Repair slots although primaries are out of reach.
    pub fix_with_unreachable_primaries: bool,
    /// `reshard`: ids of the nodes that give slots, or `all`. `import`: the address of the server that is read.
    pub from: Option<String>,
    pub from_user: Option<Vec<u8>>,
    pub from_password: Option<Vec<u8>>,
    pub from_ask_password: bool,
    /// `reshard`: the id of the node that takes slots.
    pub to: Option<String>,
    /// `reshard`: how many slots.
    pub slots: i64,
    /// `rebalance`: node and weight.
    pub weights: Vec<String>,
    /// `rebalance`: percent that a node may be off.
    pub threshold: f32,
    pub use_empty_primaries: bool,
    pub simulate: bool,
    /// Milliseconds for one MIGRATE.
    pub timeout_ms: i64,
    /// Milliseconds for a connection to a node.
    pub connect_timeout_ms: i64,
    /// Milliseconds for a node's answer to a command.
    pub reply_timeout_ms: i64,
    /// Milliseconds for what nodes do among themselves: to join, to hear of each other, to agree.
    pub wait_timeout_ms: i64,
    /// `fix`: who is to own a slot that several nodes have keys of and none, or several, own.
    pub fix_owner: Option<String>,
    /// Keys per MIGRATE.
    pub pipeline: i64,
    /// `drain`: the node leaves the cluster.
    pub delete: bool,
    /// `create`, `add-node`, `del-node`: what is so already is no error.
    pub if_needed: bool,
    /// `rebalance`: what is spread evenly: `slots`, `keys`, `bytes` or `load`.
    pub by: Option<String>,
    /// Where keys are saved before they are replaced.
    pub save_directory: Option<std::path::PathBuf>,
    /// Keys that are there already are replaced.
    pub replace: bool,
    /// `import`: keys stay at the source.
    pub copy: bool,
    /// `add-node`: the node becomes a replica.
    pub as_replica: bool,
    /// `add-node`: of this primary.
    pub primary_id: Option<String>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            command: None,
            style: ManagerStyle::default(),
            arguments: Vec::new(),
            replicas: 0,
            yes: false,
            only_primaries: false,
            only_replicas: false,
            search_multiple_owners: false,
            fix_with_unreachable_primaries: false,
            from: None,
            from_user: None,
            from_password: None,
            from_ask_password: false,
            to: None,
            slots: 0,
            weights: Vec::new(),
            threshold: 2.0,
            use_empty_primaries: false,
            simulate: false,
            if_needed: false,
            by: None,
            save_directory: None,
            delete: false,
            timeout_ms: 60_000,
            connect_timeout_ms: 5_000,
            reply_timeout_ms: 30_000,
            wait_timeout_ms: 120_000,
            fix_owner: None,
            pipeline: 10,
            replace: false,
            copy: false,
            as_replica: false,
            primary_id: None,
        }
    }
}

/// Everything the command line and the environment say.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub host: String,
    pub port: i64,
    pub socket: Option<PathBuf>,
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub ask_password: bool,
    pub no_auth_warning: bool,
    pub database: i64,
    /// How often a command runs; below zero: for ever.
    pub repeat: i64,
    pub interval: Duration,
    pub protocol: ProtocolChoice,
    pub resp2: bool,
    pub standard_input: StandardInput,
    pub quoted_input: bool,
    pub format: OutputFormat,
    pub delimiters: Delimiters,
    pub show_pushes: bool,
    /// `-e`: errors end the program with code 1.
    pub error_code: bool,
    pub cluster_mode: bool,
    pub verbose: bool,
    pub tls: bool,
    modes: Vec<Mode>,
    pub latency_history: bool,
    pub monochrome: bool,
    pub pattern: Option<Vec<u8>>,
    /// `SAMPLES` of MEMORY USAGE; 0 leaves it to the server.
    pub memory_samples: i64,
    pub rdb_file: Option<PathBuf>,
    pub functions_only: bool,
    pub pipe_timeout_s: i64,
    pub lru_keys: i64,
    pub intrinsic_latency_s: i64,
    pub eval: Option<PathBuf>,
    pub cluster: ClusterOptions,
}

impl Options {
    fn new() -> Self {
        let terminal = console::is_output_terminal();
        Self {
            host: "127.0.0.1".to_owned(),
            port: PORT_DEFAULT,
            socket: None,
            user: None,
            password: None,
            ask_password: false,
            no_auth_warning: false,
            database: 0,
            repeat: 1,
            interval: Duration::ZERO,
            protocol: ProtocolChoice::Default,
            resp2: false,
            standard_input: StandardInput::Unused,
            quoted_input: false,
            format: if terminal { OutputFormat::Tty } else { OutputFormat::Raw },
            delimiters: Delimiters::default(),
            show_pushes: terminal,
            error_code: false,
            cluster_mode: false,
            verbose: false,
            tls: false,
            modes: Vec::new(),
            latency_history: false,
            monochrome: false,
            pattern: None,
            memory_samples: 0,
            rdb_file: None,
            functions_only: false,
            pipe_timeout_s: PIPE_TIMEOUT_S_DEFAULT,
            lru_keys: 0,
            intrinsic_latency_s: 0,
            eval: None,
            cluster: ClusterOptions::default(),
        }
    }

    /// The mode that was asked for, if any.
    pub(crate) fn mode(&self) -> Option<Mode> {
        self.modes.iter().min().copied()
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> Address {
        match &self.socket {
            Some(path) => Address::Unix(path.clone()),
            None => Address::Tcp { host: self.host.clone(), port: self.port },
        }
    }

    fn apply_uri(&mut self, text: &[u8]) -> Step {
        let server = match uri::parse(text) {
            Ok(server) => server,
            Err(error) => fail!("{error}"),
        };
        self.tls |= server.tls;
        self.user = server.user.or(self.user.take());
        self.password = server.password.or(self.password.take());
        self.port = server.port.unwrap_or(self.port);
        self.database = server.database.unwrap_or(self.database);
        if let Some(host) = server.host {
            self.host = host;
        }
        Ok(())
    }

    fn check(&self) -> Step {
        if self.socket.is_some() && self.cluster_mode {
            fail!("Options -c and -s are mutually exclusive.");
        }
        if self.resp2 && self.protocol == ProtocolChoice::Resp3 {
            fail!("Options -2 and -3 are mutually exclusive.");
        }
        if !self.no_auth_warning && self.password.is_some() {
            err!(
                "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe."
            );
        }
        if self.tls {
            fail!("TLS is not supported yet: use a connection without --tls and rediss://.");
        }
        Ok(())
    }

    fn apply_environment(&mut self) {
        use std::os::unix::ffi::OsStringExt;
        if self.password.is_none() {
            self.password = std::env::var_os("REDISCLI_AUTH").map(OsStringExt::into_vec);
        }
        self.cluster.yes |= std::env::var_os("REDISCLI_CLUSTER_YES").is_some_and(|value| value == "1");
    }
}

/// Reads the command line, without the program's name. Returns the options and the command that follows them.
///
/// # Errors
/// Help or the version was asked for and printed (code 0), or the command line is wrong (code 1).
pub(crate) fn parse(arguments: &[Vec<u8>]) -> Step<(Options, Vec<Vec<u8>>)> {
    let mut options = Options::new();
    let mut index = 0;
    while let Some(argument) = arguments.get(index) {
        let rest = &arguments[index + 1..];
        let Some(row) = Row::find(argument) else {
            if argument.starts_with(b"-") {
                return Err(unrecognized(argument));
            }
            if options.cluster.command.is_none() {
                break;
            }
            // The manager's arguments may also follow its options.
            let count = arguments[index..].iter().take_while(|word| !word.starts_with(b"-")).count();
            if options.cluster.arguments.is_empty() {
                options.cluster.arguments = arguments[index..index + count].to_vec();
                index += count;
            } else {
                index += 1;
            }
            continue;
        };
        index += 1 + apply(row, rest, &mut options)?;
    }
    options.check()?;
    options.apply_environment();
    let command = arguments[index.min(arguments.len())..].to_vec();
    Ok((options, command))
}

/// Carries one option out. Returns how many of the following arguments it took.
fn apply(row: &Row, rest: &[Vec<u8>], options: &mut Options) -> Step<usize> {
    match row.action {
        Action::Flag(apply) => {
            apply(options);
            Ok(0)
        }
        Action::Value(apply) => match rest.first() {
            Some(value) => apply(options, value).map(|()| 1),
            // Without a host, `-h` asks for help.
            None if row.name() == "-h" => Err(show_help()),
            None => Err(unrecognized(row.name().as_bytes())),
        },
        Action::Help => Err(show_help()),
        Action::Version => {
            out!("redis-cli {}\n", version());
            Err(Exit(0))
        }
        Action::ClusterCommand => {
            let Some(command) = rest.first() else { fail!("{}", help_text()) };
            if options.cluster.command.is_some() {
                fail!("{}", help_text());
            }
            let count = rest[1..].iter().take_while(|word| !word.starts_with(b"-")).count();
            options.cluster.command = Some(command.clone());
            options.cluster.arguments = rest[1..1 + count].to_vec();
            Ok(1 + count)
        }
        Action::Weights => {
            let weights = rest.iter().take_while(|word| !word.starts_with(b"--") && word.contains(&b'='));
            options.cluster.weights = weights.map(|word| lossy(word).into_owned()).collect();
            Ok(options.cluster.weights.len())
        }
    }
}

fn unrecognized(argument: &[u8]) -> Exit {
    err!("Unrecognized option or bad number of args for: '{}'", lossy(argument));
    Exit(1)
}

fn show_help() -> Exit {
    out!("{}", help_text());
    Exit(0)
}

/// The text of `--help`, made from the table.
fn help_text() -> String {
    let mut text = format!("redis-cli {}\n\n{}", version(), table::HELP_HEAD);
    for row in table::ROWS {
        let Some(explanation) = row.explanation else { continue };
        let mut line = format!("  {}", row.usage);
        for part in explanation.split('\n') {
            if line.len() >= HELP_COLUMN {
                text.push_str(&format!("{line} {part}\n"));
            } else {
                text.push_str(&format!("{line:HELP_COLUMN$}{part}\n"));
            }
            line.clear();
        }
    }
    text.push_str(table::HELP_TAIL);
    text
}

/// Puts standard input where `-x` or `-X` wants it among the words of a command.
pub(crate) fn insert_standard_input(source: &StandardInput, words: &mut Vec<Vec<u8>>) -> Step {
    match source {
        StandardInput::Unused => Ok(()),
        StandardInput::LastArgument => {
            words.push(read_standard_input()?);
            Ok(())
        }
        StandardInput::Tag(tag) => {
            let Some(place) = words.iter_mut().find(|word| *word == tag) else {
                fail!("Using -X option but stdin tag not match.");
            };
            *place = read_standard_input()?;
            Ok(())
        }
    }
}

/// Reads one argument that is quoted as in the interactive prompt.
pub(crate) fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    match <[Vec<u8>; 1]>::try_from(split_arguments(text).ok()?) {
        Ok([word]) => Some(word),
        Err(_) => None,
    }
}

/// A time given in seconds, perhaps with a fraction.
fn seconds(text: &[u8]) -> Duration {
    Duration::try_from_secs_f64(crate::text::leading_number(text)).unwrap_or_default()
}

/// `yes` and `no`, of which the first letter decides.
fn set_show_pushes(options: &mut Options, value: &[u8]) {
    match value.first().map(u8::to_ascii_lowercase) {
        Some(b'y') => options.show_pushes = true,
        Some(b'n') => options.show_pushes = false,
        _ => err!("Unknown --show-pushes value '{}' (valid: '[y]es', '[n]o')", lossy(value)),
    }
}

fn set_json(options: &mut Options, format: OutputFormat) {
    if options.protocol == ProtocolChoice::Default {
        options.protocol = ProtocolChoice::PreferResp3;
    }
    options.format = format;
}

fn set_quoted_pattern(options: &mut Options, value: &[u8]) -> Step {
    let Some(pattern) = unquote(value) else {
        fail!("Invalid quoted string specified for --quoted-pattern.");
    };
    options.pattern = Some(pattern);
    Ok(())
}

fn set_memory_samples(options: &mut Options, value: &[u8]) {
    options.modes.push(Mode::MemoryKeys);
    options.memory_samples = leading_integer(value);
}

fn set_rdb(options: &mut Options, value: &[u8], functions_only: bool) -> Step {
    if options.rdb_file.is_some() && options.functions_only != functions_only {
        fail!("Option --functions-rdb and --rdb are mutually exclusive.");
    }
    options.modes.push(Mode::Rdb);
    options.rdb_file = Some(table::path(value));
    options.functions_only = functions_only;
    Ok(())
}

fn set_tag(options: &mut Options, value: &[u8]) -> Step {
    if options.standard_input == StandardInput::LastArgument {
        fail!("Options -x and -X are mutually exclusive.");
    }
    options.standard_input = StandardInput::Tag(value.to_vec());
    Ok(())
}

fn set_last_argument(options: &mut Options) {
    options.standard_input = StandardInput::LastArgument;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (Options, Vec<Vec<u8>>) {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        parse(&words).unwrap()
    }

    #[test]
    fn every_option_is_listed_once() {
        for (index, row) in table::ROWS.iter().enumerate() {
            assert!(row.name().starts_with('-'), "{}", row.name());
            assert!(table::ROWS[..index].iter().all(|other| other.name() != row.name()), "{}", row.name());
        }
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let (options, command) = parsed("-h ::1 -p 7000 -n 3 --no-raw -r 5 -i 0.5 get -x");
        assert_eq!((options.host.as_str(), options.port, options.database), ("::1", 7000, 3));
        assert_eq!((options.format, options.repeat), (OutputFormat::Tty, 5));
        assert_eq!(options.interval, Duration::from_millis(500));
        assert_eq!(command, [b"get".to_vec(), b"-x".to_vec()]);
    }

    #[test]
    fn the_managers_arguments_stand_before_or_after_its_options() {
        for line in [
            "--cluster create a:1 b:2 --cluster-replicas 1 --cluster-yes",
            "--cluster create --cluster-replicas 1 a:1 b:2 --cluster-yes",
        ] {
            let (options, command) = parsed(line);
            assert_eq!(options.cluster.command.as_deref(), Some(b"create".as_slice()));
            assert_eq!(options.cluster.arguments, [b"a:1".to_vec(), b"b:2".to_vec()], "{line}");
            assert_eq!((options.cluster.replicas, options.cluster.yes), (1, true));
            assert!(command.is_empty());
        }
    }

    #[test]
    fn contradictions_and_unknown_options_are_refused() {
        for line in
            ["-2 -3", "-c -s /s", "--nosuch", "-p", "-x -X t", "-u http://h", "--rdb a --functions-rdb b"]
        {
            let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(parse(&words).unwrap_err(), Exit(1), "{line}");
        }
    }

    #[test]
    fn the_first_mode_in_order_wins() {
        let (options, _) = parsed("--scan --pipe --bigkeys");
        assert_eq!(options.mode(), Some(Mode::Pipe));
    }

    #[test]
    fn help_lines_up() {
        let help = help_text();
        assert!(help.contains("\n  -p <port>          "));
        assert!(help.lines().all(|line| line.len() <= 110));
    }
}
