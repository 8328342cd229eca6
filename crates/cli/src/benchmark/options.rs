//! The command line of the benchmark: one row per option, from which parsing and `--help` derive.

use crate::connection::Address;
use crate::console::{err, out};
use crate::exit::{Exit, Step, fail};
use crate::text::{leading_integer, lossy};
use crate::{uri, version};
use std::path::PathBuf;

/// Most threads.
const THREADS_MAX: i64 = 500;
/// Most bytes of a payload.
const DATA_LENGTH_MAX: i64 = 1024 * 1024 * 1024;
/// Most significant digits of a latency.
const PRECISION_MAX: i64 = 4;
const PRECISION_DEFAULT: i64 = 3;
/// The column in which the explanations of `--help` begin.
const HELP_COLUMN: usize = 20;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Full,
    Quiet,
    Csv,
    /// One object per line.
    Json,
}

/// Everything the command line says.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub host: String,
    pub port: i64,
    pub socket: Option<PathBuf>,
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub database: i64,
    pub clients: u64,
    pub requests: u64,
    pub data_length: usize,
    pub keep_alive: bool,
    /// `None`: all requests use the same key.
    pub key_count: Option<u64>,
    pub pipeline: u32,
    pub output: Output,
    pub repeat: bool,
    pub tests: Option<Vec<String>>,
    pub idle: bool,
    pub standard_input: bool,
    pub precision: u32,
    /// 0: one thread, or in cluster mode one per primary.
    pub threads: usize,
    pub cluster: bool,
    pub tracking: bool,
    pub resp3: bool,
    pub tls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            socket: None,
            user: None,
            password: None,
            database: 0,
            clients: 50,
            requests: 100_000,
            data_length: 3,
            keep_alive: true,
            key_count: None,
            pipeline: 1,
            output: Output::Full,
            repeat: false,
            tests: None,
            idle: false,
            standard_input: false,
            precision: PRECISION_DEFAULT as u32,
            threads: 0,
            cluster: false,
            tracking: false,
            resp3: false,
            tls: false,
        }
    }
}

impl Options {
    /// Where the server is.
    pub(super) fn address(&self) -> Address {
        match &self.socket {
            Some(path) => Address::Unix(path.clone()),
            None => Address::Tcp { host: self.host.clone(), port: self.port },
        }
    }
}

enum Action {
    Flag(fn(&mut Options)),
    Value(fn(&mut Options, &[u8]) -> Step),
    Help,
    Version,
}

struct Row {
    usage: &'static str,
    explanation: &'static str,
    action: Action,
}

const fn row(usage: &'static str, explanation: &'static str, action: Action) -> Row {
    Row { usage, explanation, action }
}

use Action::{Flag, Value};

/// An option that takes a number.
macro_rules! number {
    ($options:ident, $number:ident => $body:expr) => {
        Value(|$options, value| {
            let $number = leading_integer(value);
            $body;
            Ok(())
        })
    };
}

const ROWS: &[Row] = &[
    row(
        "-h <hostname>",
        "Host of the server (default: 127.0.0.1)",
        Value(|options, value| {
            options.host = lossy(value).into_owned();
            Ok(())
        }),
    ),
    row("-p <port>", "Port of the server (default: 6379)", number!(options, port => options.port = port)),
    row(
        "-s <socket>",
        "Unix socket of the server, instead of host and port",
        Value(|options, value| {
            options.socket = Some(PathBuf::from(lossy(value).into_owned()));
            Ok(())
        }),
    ),
    row(
        "-a <password>",
        "Password",
        Value(|options, value| {
            options.password = Some(value.to_vec());
            Ok(())
        }),
    ),
    row(
        "--user <username>",
        "User for AUTH; needs -a",
        Value(|options, value| {
            options.user = Some(value.to_vec());
            Ok(())
        }),
    ),
    row("-u <uri>", "redis://[[user:]password@][host[:port]][/database]", Value(set_uri)),
    row(
        "-c <clients>",
        "Parallel connections (default: 50)",
        number!(options, count => {
            options.clients = count.max(1).unsigned_abs();
        }),
    ),
    row(
        "-n <requests>",
        "Requests in all (default: 100000)",
        number!(options, count => {
            options.requests = count.max(0).unsigned_abs();
        }),
    ),
    row(
        "-d <size>",
        "Bytes of a value of SET and the like (default: 3)",
        number!(options, length => {
            options.data_length = length.clamp(1, DATA_LENGTH_MAX) as usize;
        }),
    ),
    row(
        "--dbnum <db>",
        "Number of the database (default: 0)",
        number!(options, number => options.database = number),
    ),
    row("-3", "Speak RESP3", Flag(|options| options.resp3 = true)),
    row(
        "--threads <num>",
        "Threads (default: 1; with --cluster one per primary)",
        number!(options, count => {
            if count > THREADS_MAX {
                err!("WARNING: Too many threads, limiting threads to {THREADS_MAX}.");
            }
            options.threads = count.clamp(0, THREADS_MAX) as usize;
        }),
    ),
    row(
        "--cluster",
        "Spread over the primaries of a cluster. A command of your own\nneeds a key with {tag} to reach the right one",
        Flag(|options| options.cluster = true),
    ),
    row("--enable-tracking", "Send CLIENT TRACKING on first", Flag(|options| options.tracking = true)),
    row(
        "-k <boolean>",
        "1: keep connections, 0: a new one for each request (default: 1)",
        number!(options, keep => {
            options.keep_alive = keep != 0;
        }),
    ),
    row(
        "-r <keyspacelen>",
        "Random keys: __rand_int__ in an argument becomes a number of\n12 digits from 0 to keyspacelen-1, another one each time.\nWithout -r all requests use the same key",
        Value(set_key_count),
    ),
    row(
        "-P <numreq>",
        "Requests sent at once (default: 1)",
        number!(options, count => {
            options.pipeline = u32::try_from(count.max(1)).unwrap_or(1);
        }),
    ),
    row("-q", "Only the requests per second", Flag(|options| options.output = Output::Quiet)),
    row(
        "--precision",
        "Significant digits of latencies, 1 to 4 (default: 3)",
        number!(options, digits => {
            let digits = if digits < 0 { PRECISION_DEFAULT } else { digits };
            options.precision = digits.clamp(1, PRECISION_MAX) as u32;
        }),
    ),
    row("--csv", "Results as comma-separated values", Flag(|options| options.output = Output::Csv)),
    row("--json", "Results as JSON, one object per line", Flag(|options| options.output = Output::Json)),
    row("-l", "Run the tests again and again", Flag(|options| options.repeat = true)),
    row(
        "-t <tests>",
        "Only these tests, separated by commas: ping_inline, ping_mbulk,\nset, get, incr, lpush, … (without effect if a command is given)",
        Value(|options, value| {
            options.tests = Some(lossy(value).to_lowercase().split(',').map(str::to_owned).collect());
            Ok(())
        }),
    ),
    row("-I", "Open the connections and do nothing with them", Flag(|options| options.idle = true)),
    row("-x", "Take the last argument from standard input", Flag(|options| options.standard_input = true)),
    row(
        "-e",
        "Without effect: an error always ends the run",
        Flag(|_| {
            err!(
                "WARNING: -e option has no effect. We now immediately exit on error to avoid false results."
            );
        }),
    ),
    row("--tls", "Connect by TLS (not supported yet)", Flag(|options| options.tls = true)),
    row("--help", "This text", Action::Help),
    row("--version", "The version", Action::Version),
    row("-v", "The same", Action::Version),
];

/// Reads the command line, without the program's name. Returns the options and the command that follows them.
pub(super) fn parse(arguments: &[Vec<u8>]) -> Step<(Options, Vec<Vec<u8>>)> {
    let mut options = Options::default();
    let mut index = 0;
    while let Some(argument) = arguments.get(index).filter(|argument| argument.starts_with(b"-")) {
        let row = ROWS
            .iter()
            .find(|row| row.usage.split(' ').next().is_some_and(|name| name.as_bytes() == argument));
        match (row.map(|row| &row.action), arguments.get(index + 1)) {
            (Some(Action::Help), _) => {
                out!("{}", help_text());
                return Err(Exit(0));
            }
            (Some(Action::Version), _) => {
                out!("redis-benchmark {}\n", version());
                return Err(Exit(0));
            }
            (Some(Flag(apply)), _) => apply(&mut options),
            (Some(Value(apply)), Some(value)) => {
                if apply(&mut options, value).is_err() {
                    return Err(invalid(argument));
                }
                index += 1;
            }
            _ => return Err(invalid(argument)),
        }
        index += 1;
    }
    if options.tls {
        fail!("TLS is not supported yet: use a connection without --tls and rediss://.");
    }
    Ok((options, arguments[index.min(arguments.len())..].to_vec()))
}

fn invalid(argument: &[u8]) -> Exit {
    out!("Invalid option \"{}\" or option argument missing\n\n{}", lossy(argument), help_text());
    Exit(1)
}

fn help_text() -> String {
    let mut text = "Usage: redis-benchmark [OPTIONS] [COMMAND ARGS...]\n\nOptions:\n".to_owned();
    for row in ROWS {
        let mut line = format!(" {}", row.usage);
        for part in row.explanation.split('\n') {
            text.push_str(&format!("{line:HELP_COLUMN$}{part}\n"));
            line.clear();
        }
    }
    text.push_str(
        "\nExamples:\n\n\
         \x20  redis-benchmark -t set,get -P 16 -q\n\
         \x20  redis-benchmark -t set -n 1000000 -r 100000000\n\
         \x20  redis-benchmark -r 10000 -n 10000 lpush mylist __rand_int__\n\n",
    );
    text
}

fn set_uri(options: &mut Options, text: &[u8]) -> Step {
    let server = match uri::parse(text) {
        Ok(server) => server,
        Err(error) => fail!("{error}"),
    };
    options.tls |= server.tls;
    options.user = server.user.or(options.user.take());
    options.password = server.password.or(options.password.take());
    options.port = server.port.unwrap_or(options.port);
    options.database = server.database.unwrap_or(options.database);
    if let Some(host) = server.host {
        options.host = host;
    }
    Ok(())
}

fn set_key_count(options: &mut Options, value: &[u8]) -> Step {
    // A word after the minus is an option, and the number was forgotten.
    if value.strip_prefix(b"-").is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_digit)) {
        return Err(Exit(1));
    }
    options.key_count = Some(leading_integer(value).max(0).unsigned_abs());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Step<(Options, Vec<Vec<u8>>)> {
        parse(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let (options, command) =
            parsed("-c 10 -n 500 -P 16 -r 100 -k 0 -t SET,get -d 0 --precision 9 lpush l -q").unwrap();
        assert_eq!((options.clients, options.requests, options.pipeline), (10, 500, 16));
        assert_eq!((options.key_count, options.keep_alive, options.data_length), (Some(100), false, 1));
        assert_eq!(options.tests, Some(vec!["set".to_owned(), "get".to_owned()]));
        assert_eq!((options.precision, options.output), (4, Output::Full));
        assert_eq!(command.len(), 3);
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for line in ["--nosuch", "-c", "-r -q", "-u http://h"] {
            assert_eq!(parsed(line).unwrap_err(), Exit(1), "{line}");
        }
    }
}
