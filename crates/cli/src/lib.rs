//! The client, the benchmark and the cluster manager.
//!
//! | module | concern |
//! |---|---|
//! | `options` | the command line: one table, from which parsing and `--help` derive |
//! | `connection` | one blocking connection |
//! | `session` | connect, AUTH, SELECT, HELLO, redirections, printing |
//! | `format` | replies as text |
//! | `repl` | the prompt: history, completion, hints, help |
//! | `modes` | what the client does instead of running commands, one file per mode |
//! | `cluster` | the manager: check -> plan -> execute, of which the plan is pure |
//! | `benchmark` | the load generator |
//!
//! The options and the output are those of `redis-cli` and `redis-benchmark` 7.0, which scripts parse.

mod benchmark;
mod cluster;
mod connection;
mod console;
mod exit;
mod format;
mod modes;
mod options;
mod repl;
mod session;
mod text;
mod uri;

use crate::console::out;
use crate::exit::{Exit, Step, fail};
use crate::options::Options;
use crate::session::{Complaints, Session};
use std::ffi::OsString;

/// The version of Redis whose behaviour this crate has.
const REDIS_VERSION: &str = "7.2.4";

/// The client, as `redis-cli` and `shoal cli`. `args` are the arguments after the program's name; the result is the exit
/// code. The first interrupt signal may end the process directly, as it ends `redis-cli`.
pub fn cli_main(args: Vec<OsString>) -> i32 {
    match run(&text::argument_bytes(args)) {
        Ok(code) | Err(Exit(code)) => code,
    }
}

/// The cluster manager of Redis 3 and 4, as `redis-trib.rb` and `shoal trib`. `args` are the arguments after the program's
/// name; the result is the exit code.
pub fn trib_main(args: Vec<OsString>) -> i32 {
    match cluster::trib::run(&text::argument_bytes(args)) {
        Ok(code) | Err(Exit(code)) => {
            console::flush();
            code
        }
    }
}

/// The load generator, as `redis-benchmark` and `shoal benchmark`. `args` are the arguments after the program's name; the
/// result is the exit code.
pub fn benchmark_main(args: Vec<OsString>) -> i32 {
    match benchmark::run(&text::argument_bytes(args)) {
        Ok(()) => 0,
        Err(Exit(code)) => code,
    }
}

/// What `--version` says.
fn version() -> String {
    format!("{REDIS_VERSION} (shoal {})", env!("CARGO_PKG_VERSION"))
}

fn run(arguments: &[Vec<u8>]) -> Step<i32> {
    let (mut options, command) = options::parse(arguments)?;
    if options.ask_password {
        options.password = Some(repl::ask_password("Please input password: ")?);
    }
    if options.cluster.command.is_some() {
        return cluster::run(&options);
    }
    if let Some(mode) = options.mode() {
        return modes::run(mode, options).map(|()| 0);
    }
    if options.eval.is_some() {
        return evaluate(options, command);
    }
    if command.is_empty() {
        return repl::run(Session::new(options));
    }
    run_command(options, command)
}

/// One command from the command line.
fn run_command(options: Options, command: Vec<Vec<u8>>) -> Step<i32> {
    let mut words = command;
    if options.quoted_input {
        let unquoted: Option<Vec<_>> = words.iter().map(|word| options::unquote(word)).collect();
        let Some(unquoted) = unquoted else {
            out!("Invalid quoted string\n");
            return Ok(1);
        };
        words = unquoted;
    }
    options::insert_standard_input(&options.standard_input, &mut words)?;
    let repeat = options.repeat;
    let mut session = Session::new(options);
    // A failure shows when the command is sent; until then a command like `help` needs no server.
    let _ = session.connect(Complaints::Keep);
    Ok(i32::from(session.issue(&words, repeat)?.is_err()))
}

/// `--eval`: a script from a file; a comma ends its keys.
fn evaluate(options: Options, arguments: Vec<Vec<u8>>) -> Step<i32> {
    let Some(path) = options.eval.clone() else { return Ok(1) };
    let repeat = options.repeat;
    let mut session = Session::new(options);
    if session.connect(Complaints::Print).is_err() {
        return Ok(1);
    }
    let script = match std::fs::read(&path) {
        Ok(script) => script,
        Err(error) => fail!("Can't open file '{}': {}", path.display(), console::error_text(&error)),
    };
    let comma = arguments.iter().position(|argument| argument == b",");
    let keys = comma.unwrap_or(arguments.len());
    let mut words = vec![b"EVAL".to_vec(), script, keys.to_string().into_bytes()];
    words.extend(
        arguments.into_iter().enumerate().filter(|(index, _)| Some(*index) != comma).map(|(_, word)| word),
    );
    Ok(i32::from(session.issue(&words, repeat)?.is_err()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_version_need_no_server() {
        assert_eq!(cli_main(vec!["--version".into()]), 0);
        assert_eq!(cli_main(vec!["--help".into()]), 0);
        assert_eq!(cli_main(vec!["--nosuch".into()]), 1);
    }
}
