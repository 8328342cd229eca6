//! Reading redis.conf.
//!
//! A line is a directive and its arguments, quoted as [`shoal_protocol::quoting`] says; `#` at the front makes it a
//! remark (one after a directive is an error, as in Redis). Later lines win, `save` lines add up. The text of the
//! configuration file, of the standard input and of the command line are joined to one.

use std::fmt;

use shoal_protocol::command::Command;
use shoal_protocol::quoting::split_arguments;

use crate::REDIS_VERSION;
use crate::directives::{Config, Directive};
use crate::kind::Flags;
use crate::value::Source;

/// How deep `include` may nest; a file that includes itself would never end.
const INCLUDE_DEPTH_MAX: usize = 32;

/// Directives of old versions that are accepted and dropped. The first three are those that Redis 7.2 drops; the
/// others stand in files of 2.x to 6.x.
pub(crate) const DROPPED: &[&str] = &[
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "glueoutputbuf",
    "gopher-enabled",
    "hash-max-zipmap-entries",
    "hash-max-zipmap-value",
    "really-use-vm",
    "shareobjects",
    "shareobjectspoolsize",
    "vm-enabled",
    "vm-max-memory",
    "vm-max-threads",
    "vm-page-size",
    "vm-pages",
    "vm-swap-file",
];

/// What stands in configuration files only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileDirectives {
    /// The absolute path of the configuration file, if there is one; the shell sets it.
    pub path: Option<String>,
    /// `rename-command` lines in their order.
    pub renamed_commands: Vec<RenamedCommand>,
    /// The arguments of `user` lines in their order, without the word `user`; the access control list reads them.
    pub users: Vec<Vec<Vec<u8>>>,
    /// `sentinel` lines in their order, in Sentinel mode.
    pub sentinel_lines: Vec<SentinelLine>,
}

/// A `rename-command` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenamedCommand {
    /// The command's name.
    pub name: Vec<u8>,
    /// The name it gets; empty if it is to be gone.
    pub new_name: Vec<u8>,
}

/// A `sentinel` line, kept for Sentinel to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelLine {
    /// The arguments without the word `sentinel`.
    pub arguments: Vec<Vec<u8>>,
    /// Its number in the file, from 1.
    pub number: usize,
    /// The line as it stands in the file.
    pub text: Vec<u8>,
}

/// As what the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A server.
    Server,
    /// A Sentinel.
    Sentinel,
}

/// What a line of a configuration file may ask of the world.
pub trait Surroundings {
    /// Reads the files that an `include` names, in their order, with their paths. A pattern may name none.
    ///
    /// # Errors
    /// What to tell the operator when a file cannot be read.
    fn include(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String>;

    /// Makes `path` the working directory, and gives its absolute path.
    ///
    /// # Errors
    /// The operating system's reason.
    fn enter_directory(&mut self, path: &str) -> Result<String, String>;
}

/// Why a configuration is refused. Its text is what Redis prints to the standard error before it exits with 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The number of the line, from 1, and the line; none if no single line is to blame.
    pub line: Option<(usize, Vec<u8>)>,
    /// What is wrong.
    pub message: String,
}

impl LoadError {
    /// An error that no single line is to blame for.
    pub fn without_line(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***")?;
        if let Some((number, line)) = &self.line {
            writeln!(formatter, "Reading the configuration file, at line {number}")?;
            writeln!(formatter, ">>> '{}'", String::from_utf8_lossy(line))?;
        }
        writeln!(formatter, "{}", self.message)
    }
}

impl std::error::Error for LoadError {}

impl Config {
    /// Reads `text` into this configuration.
    ///
    /// # Errors
    /// The first line that is refused. The configuration is half read then and must not be used.
    pub fn load(
        &mut self,
        text: &[u8],
        mode: Mode,
        surroundings: &mut dyn Surroundings,
    ) -> Result<(), LoadError> {
        let mut loader = Loader { config: self, mode, surroundings, has_seen_save: false, depth: 0 };
        loader.read(text)?;
        if self.cluster_enabled && self.replica_of.0.is_some() {
            return Err(LoadError::without_line("replicaof directive not allowed in cluster mode"));
        }
        self.keep_in_range();
        Ok(())
    }
}

struct Loader<'a> {
    config: &'a mut Config,
    mode: Mode,
    surroundings: &'a mut dyn Surroundings,
    /// The first `save` line replaces the default save points.
    has_seen_save: bool,
    depth: usize,
}

/// Why one line is refused.
enum LineError {
    /// The line itself is at fault.
    Here(String),
    /// A line of an included file is.
    Included(LoadError),
}

impl From<String> for LineError {
    fn from(message: String) -> Self {
        Self::Here(message)
    }
}

impl From<&str> for LineError {
    fn from(message: &str) -> Self {
        Self::Here(message.into())
    }
}

impl Loader<'_> {
    fn read(&mut self, text: &[u8]) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let number = index + 1;
            self.read_line(number, line).map_err(|error| match error {
                LineError::Here(message) => LoadError { line: Some((number, line.to_vec())), message },
                LineError::Included(error) => error,
            })?;
        }
        Ok(())
    }

    fn read_line(&mut self, number: usize, line: &[u8]) -> Result<(), LineError> {
        let mut arguments = split_arguments(line).map_err(|_| "Unbalanced quotes in configuration line")?;
        if arguments.is_empty() {
            return Ok(());
        }
        let name = arguments.remove(0).to_ascii_lowercase();
        if let Some(row) = Config::directive(&name) {
            return Ok(self.assign(row, &arguments)?);
        }
        match (name.as_slice(), arguments.as_slice()) {
            (b"include", [pattern]) => self.include(pattern),
            (b"rename-command", [from, to]) => Ok(self.rename_command(from, to)?),
            (b"user", [_, ..]) => {
                self.config.file.users.push(arguments);
                Ok(())
            }
            (b"loadmodule", [_, ..]) => {
                Err("Modules are not supported: remove the loadmodule directive".into())
            }
            // The option --sentinel arrives as a line without arguments.
            (b"sentinel", []) => Ok(()),
            (b"sentinel", _) if self.mode == Mode::Server => {
                Err("sentinel directive while not in sentinel mode".into())
            }
            (b"sentinel", _) => {
                let line = SentinelLine { arguments, number, text: line.to_vec() };
                self.config.file.sentinel_lines.push(line);
                Ok(())
            }
            (_, [_]) if DROPPED.iter().any(|dropped| dropped.as_bytes() == name) => Ok(()),
            _ => Err("Bad directive or wrong number of arguments".into()),
        }
    }

    fn assign(&mut self, row: &Directive, arguments: &[Vec<u8>]) -> Result<(), String> {
        let split;
        let arguments = match (row.flags.contains(Flags::MULTIPLE), arguments) {
            // One argument may hold several, as in `--client-output-buffer-limit "normal 0 0 0"`.
            (true, [only]) if !only.is_empty() => {
                split = split_arguments(only).map_err(|_| "Unbalanced quotes in configuration line")?;
                split.as_slice()
            }
            (true, _) | (false, [_]) => arguments,
            (false, _) => return Err("wrong number of arguments".into()),
        };
        if row.name == "save" && !std::mem::replace(&mut self.has_seen_save, true) {
            self.config.save.0.clear();
        }
        (row.assign)(self.config, &row.kind, arguments, Source::File)?;
        if row.name == "dir" {
            self.config.dir.0 = self.surroundings.enter_directory(&self.config.dir.0)?;
        }
        Ok(())
    }

    fn include(&mut self, pattern: &[u8]) -> Result<(), LineError> {
        if self.depth >= INCLUDE_DEPTH_MAX {
            return Err("Too many levels of include".into());
        }
        let pattern = std::str::from_utf8(pattern).map_err(|_| "argument must be valid UTF-8 text")?;
        let files = self.surroundings.include(pattern)?;
        self.depth += 1;
        for (_path, text) in files {
            self.read(&text).map_err(LineError::Included)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn rename_command(&mut self, from: &[u8], to: &[u8]) -> Result<(), &'static str> {
        if !self.is_command(from) {
            return Err("No such command in rename-command");
        }
        if self.is_command(to) && !to.eq_ignore_ascii_case(from) {
            return Err("Target command name already exists");
        }
        let renamed = RenamedCommand { name: from.to_vec(), new_name: to.to_vec() };
        self.config.file.renamed_commands.push(renamed);
        Ok(())
    }

    /// Whether a command goes by this name after the renames so far.
    fn is_command(&self, name: &[u8]) -> bool {
        let mut exists = Command::lookup(name).is_some();
        for renamed in &self.config.file.renamed_commands {
            if renamed.name.eq_ignore_ascii_case(name) {
                exists = false;
            }
            if renamed.new_name.eq_ignore_ascii_case(name) {
                exists = true;
            }
        }
        exists && !name.is_empty()
    }
}

#[cfg(test)]
mod tests;
