//! The command line of `redis-server`: `[redis.conf] [--name value …] [-]`.
//!
//! Options are turned into lines that are read after the file and the standard input, by the rules of Redis 7: an
//! option takes all arguments up to the next one that begins with `--`, except that the first argument is always its
//! own (so a value may begin with `--`); `--name value` may be a single argument; `--save` and `--sentinel` may stand
//! without a value.

use shoal_protocol::quoting::{quote, split_arguments};

use crate::load::Mode;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// `-v`, `--version`.
    Version,
    /// `-h`, `--help`.
    Help,
    /// `--check-system`.
    CheckSystem,
    /// `--test-memory`, with the number of megabytes if it was given.
    TestMemory(Option<Vec<u8>>),
    /// To run.
    Run(RunOptions),
}

/// How to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// The configuration file as it was named.
    pub config_path: Option<Vec<u8>>,
    /// Whether the standard input holds configuration lines too.
    pub reads_stdin: bool,
    /// The options as configuration lines.
    pub options: Vec<u8>,
    /// As what to run.
    pub mode: Mode,
    /// Whether there was any argument; without one the log says that the defaults are used.
    pub has_arguments: bool,
}

impl RunOptions {
    /// Joins the text of the configuration file, of the standard input and of the options in the order in which they
    /// count, as one text for [`Config::load`](crate::Config::load).
    pub fn join(&self, file: &[u8], stdin: &[u8]) -> Vec<u8> {
        [file, stdin, b"\n", &self.options].concat()
    }
}

impl Invocation {
    /// Reads a command line: the name of the program and what follows it.
    pub fn parse(program: &[u8], arguments: &[Vec<u8>]) -> Self {
        let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let is_sentinel = name.windows(14).any(|part| part == b"redis-sentinel")
            || arguments.iter().any(|argument| argument == b"--sentinel");
        let mode = if is_sentinel { Mode::Sentinel } else { Mode::Server };
        let Some(first) = arguments.first() else {
            return Self::Run(RunOptions {
                config_path: None,
                reads_stdin: false,
                options: Vec::new(),
                mode,
                has_arguments: false,
            });
        };
        match first.as_slice() {
            b"-v" | b"--version" => return Self::Version,
            b"-h" | b"--help" => return Self::Help,
            b"--check-system" => return Self::CheckSystem,
            b"--test-memory" => return Self::TestMemory(arguments.get(1).cloned()),
            _ => {}
        }
        let config_path = (!first.starts_with(b"-")).then(|| first.clone());
        let rest = arguments.get(usize::from(config_path.is_some())..).unwrap_or_default();
        let (options, reads_stdin) = options_of(rest, config_path.is_none());
        Self::Run(RunOptions { config_path, reads_stdin, options, mode, has_arguments: true })
    }
}

/// Turns options into configuration lines; also says whether `-` stands first (where it may) or last.
fn options_of(arguments: &[Vec<u8>], may_begin_with_dash: bool) -> (Vec<u8>, bool) {
    let mut lines = Vec::new();
    let mut reads_stdin = false;
    // Whether the option before has a value, so that `--` begins another.
    let mut is_complete = true;
    for (index, argument) in arguments.iter().enumerate() {
        let next = arguments.get(index + 1);
        if argument == b"-" && ((index == 0 && may_begin_with_dash) || next.is_none()) {
            reads_stdin = true;
            continue;
        }
        let Some(option) = argument.strip_prefix(b"--").filter(|_| is_complete) else {
            lines.extend_from_slice(quote(argument).as_bytes());
            lines.push(b' ');
            is_complete = true;
            continue;
        };
        if !lines.is_empty() {
            lines.push(b'\n');
        }
        lines.extend_from_slice(option);
        lines.push(b' ');
        is_complete = split_arguments(argument).map_or(true, |parts| parts.len() != 1);
        let stands_alone = next.is_none_or(|next| next.starts_with(b"--"));
        if !is_complete && stands_alone {
            if argument.eq_ignore_ascii_case(b"--save") {
                lines.extend_from_slice(b"\"\"");
                is_complete = true;
            } else if argument.eq_ignore_ascii_case(b"--sentinel") {
                is_complete = true;
            }
        }
    }
    (lines, reads_stdin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Invocation {
        let mut arguments = split_arguments(line.as_bytes()).unwrap();
        let program = arguments.remove(0);
        Invocation::parse(&program, &arguments)
    }

    #[test]
    fn options_become_lines() {
        let cases: &[(&str, Option<&str>, bool, &str)] = &[
            ("redis-server", None, false, ""),
            ("redis-server a.conf", Some("a.conf"), false, ""),
            ("redis-server -", None, true, ""),
            ("redis-server a.conf -", Some("a.conf"), true, ""),
            ("redis-server a.conf - --port 1", Some("a.conf"), false, "\"-\" \nport \"1\" "),
            ("redis-server - --port 1", None, true, "port \"1\" "),
            ("redis-server --port 1 -", None, true, "port \"1\" "),
            (
                "redis-server --port 1 --replicaof 10.0.0.1 2",
                None,
                false,
                "port \"1\" \nreplicaof \"10.0.0.1\" \"2\" ",
            ),
            ("redis-server '--port 1' --timeout 2", None, false, "port 1 \ntimeout \"2\" "),
            (
                "redis-server --requirepass --secret --port 1",
                None,
                false,
                "requirepass \"--secret\" \nport \"1\" ",
            ),
            ("redis-server --save --port 1", None, false, "save \"\"\nport \"1\" "),
            ("redis-server --port 1 --save", None, false, "port \"1\" \nsave \"\""),
            ("redis-server --save ''", None, false, "save \"\" "),
            ("redis-server --save 1 2 --save 3 4", None, false, "save \"1\" \"2\" \nsave \"3\" \"4\" "),
            ("redis-server --sentinel --port 1", None, false, "sentinel \nport \"1\" "),
            ("redis-server a.conf --sentinel", Some("a.conf"), false, "sentinel "),
            ("redis-server --list-max-listpack-size -1", None, false, "list-max-listpack-size \"-1\" "),
        ];
        for (line, config_path, reads_stdin, options) in cases {
            let Invocation::Run(run) = parse(line) else { panic!("{line}") };
            assert_eq!(run.config_path, config_path.map(|path| path.as_bytes().to_vec()), "{line}");
            assert_eq!(run.reads_stdin, *reads_stdin, "{line}");
            assert_eq!(String::from_utf8(run.options).unwrap(), *options, "{line}");
            let is_sentinel = line.contains("sentinel");
            assert_eq!(run.mode, if is_sentinel { Mode::Sentinel } else { Mode::Server }, "{line}");
        }
    }

    #[test]
    fn questions_are_answered() {
        assert_eq!(parse("redis-server -v"), Invocation::Version);
        assert_eq!(parse("redis-server --help"), Invocation::Help);
        assert_eq!(parse("redis-server --check-system"), Invocation::CheckSystem);
        assert_eq!(parse("redis-server --test-memory 5"), Invocation::TestMemory(Some(b"5".to_vec())));
        let Invocation::Run(run) = parse("/usr/bin/redis-sentinel s.conf") else { panic!() };
        assert_eq!(run.mode, Mode::Sentinel);
    }

    #[test]
    fn sources_are_joined_in_their_order() {
        let Invocation::Run(run) = parse("redis-server a.conf --port 3 -") else { panic!() };
        assert_eq!(run.join(b"port 1\n", b"port 2\n"), b"port 1\nport 2\n\nport \"3\" ");
    }
}
