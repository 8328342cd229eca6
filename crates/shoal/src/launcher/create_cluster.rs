//! `create-cluster`: the launcher of Redis's source tree, with its settings, its verbs and its file names.
//!
//! `shoal install-links` writes a short script of that name. It holds the settings that people edit, reads `config.sh`
//! from the working directory, and hands over to this program by environment variables. Unlike the original it waits until
//! nodes answer, or have ended, and its exit code says whether all went well.

use super::client::{Client, ClientError};
use super::{Failure, run, say};
use std::env::VarError;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long nodes may take to answer after their start, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often they are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Between two looks of `watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Lines of CLUSTER NODES that `watch` shows.
const WATCH_LINES: usize = 30;

/// The script, before the path of the binary's directory is put in.
const SCRIPT: &str = r#"#!/bin/bash
# Starts a Redis Cluster on this machine, one process per port from PORT+1 on, with its files in the working directory.

# Settings
BIN_PATH="@BIN_PATH@"
CLUSTER_HOST=127.0.0.1
PORT=30000
TIMEOUT=2000
NODES=6
REPLICAS=1
PROTECTED_MODE=yes
ADDITIONAL_OPTIONS=""
# Another server than that of BIN_PATH, as /usr/bin/redis-server
SERVER=""

# A file config.sh in the working directory may set any of them anew.
if [ -f config.sh ]
then
    source "./config.sh"
fi

export CLUSTER_HOST PORT TIMEOUT NODES REPLICAS PROTECTED_MODE ADDITIONAL_OPTIONS SERVER
exec "$BIN_PATH/shoal" create-cluster "$@"
"#;

const USAGE: &str = "\
Usage: create-cluster VERB

  start        start the nodes, and wait until they answer
  create [-f]  make a cluster of them; -f asks no question
  stop         stop them, and wait until they have ended
  watch        show CLUSTER NODES of the first node every second
  tail ID      follow the log of a node: 1 is the first
  tailall      follow the logs of all nodes
  call CMD     send a command to every node
  clean        delete data, logs and configuration of stopped nodes
  clean-logs   delete the logs only

The settings stand at the top of the script; a file config.sh in the working directory may change them.
";

/// The script for a binary in this directory.
pub fn script(directory: &Path) -> String {
    SCRIPT.replace("@BIN_PATH@", &directory.display().to_string())
}

/// `create-cluster VERB…`; gives the exit code.
pub fn create_cluster_main(arguments: Vec<OsString>) -> i32 {
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let settings = Settings::read(&|name| std::env::var(name));
    run("create-cluster", Ok((settings, words)), |(settings, words)| {
        let settings = settings.as_ref().map_err(|text| Failure::new(text.clone()))?;
        carry_out(settings, words)
    })
}

/// What stands at the top of the script.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    cluster_host: String,
    /// The first node's port is one more.
    port: u16,
    timeout_ms: u64,
    nodes: u16,
    replicas: u16,
    protected_mode: String,
    additional_options: Vec<String>,
    /// The program that is started instead of this one; empty if there is none.
    server: String,
}

impl Settings {
    fn read(variable: &dyn Fn(&str) -> Result<String, VarError>) -> Result<Self, String> {
        let text = |name: &str, default: &str| variable(name).unwrap_or_else(|_| default.to_owned());
        let number = |name: &str, default: &str, most: u64| {
            let text = text(name, default);
            let number = text.trim().parse::<u64>().ok().filter(|number| *number <= most);
            number.ok_or_else(|| {
                format!("the setting {name} is '{text}': it has to be a number of at most {most}.")
            })
        };
        let options = text("ADDITIONAL_OPTIONS", "");
        let settings = Self {
            cluster_host: text("CLUSTER_HOST", "127.0.0.1"),
            port: number("PORT", "30000", u64::from(u16::MAX))? as u16,
            timeout_ms: number("TIMEOUT", "2000", i64::MAX as u64)?,
            nodes: number("NODES", "6", 1000)? as u16,
            replicas: number("REPLICAS", "1", 1000)? as u16,
            protected_mode: text("PROTECTED_MODE", "yes"),
            additional_options: options.split_whitespace().map(str::to_owned).collect(),
            server: text("SERVER", "").trim().to_owned(),
        };
        match settings.port.checked_add(settings.nodes) {
            Some(_) => Ok(settings),
            None => Err("PORT and NODES are too large together: the last port is 65535.".to_owned()),
        }
    }

    fn ports(&self) -> std::ops::RangeInclusive<u16> {
        self.port + 1..=self.port + self.nodes
    }

    /// The password that the additional options give to the nodes.
    fn password(&self) -> Option<&str> {
        let at = self.additional_options.iter().position(|word| word == "--requirepass")?;
        self.additional_options.get(at + 1).map(String::as_str)
    }

    /// The program of a node, without its options.
    fn server_command(&self) -> Result<Command, Failure> {
        if !self.server.is_empty() {
            return Ok(Command::new(&self.server));
        }
        let binary = std::env::current_exe().map_err(|error| Failure::new(error.to_string()))?;
        let mut command = Command::new(binary);
        command.arg("server");
        Ok(command)
    }

    fn connect(&self, port: u16) -> Result<Client, ClientError> {
        let mut client = Client::connect(port)?;
        if let Some(password) = self.password() {
            client.call(&["AUTH", password])?;
        }
        Ok(client)
    }

    fn text(&self, port: u16, words: &[&str]) -> Result<String, ClientError> {
        self.connect(port)?.text(words)
    }

    /// The options of the client that log in.
    fn login(&self) -> Vec<OsString> {
        let password = self.password().map(|password| vec!["--no-auth-warning", "-a", password]);
        password.unwrap_or_default().into_iter().map(Into::into).collect()
    }
}

fn carry_out(settings: &Settings, words: &[String]) -> Result<i32, Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["start"] => start(settings),
        ["create"] => create(settings, false),
        ["create", "-f"] => create(settings, true),
        ["stop"] => stop(settings),
        ["watch"] => watch(settings),
        ["tail", id] => tail(settings, id),
        ["tailall"] => Err(follow(settings.ports())),
        ["call", ref command @ ..] if !command.is_empty() => Ok(call(settings, command)),
        ["clean"] => clean(settings, &["", "appendonlydir-", "dump-", "nodes-"]),
        ["clean-logs"] => clean(settings, &[""]),
        _ => {
            say(USAGE);
            Ok(i32::from(!matches!(words[..], ["help" | "--help" | "-h"])) * 2)
        }
    }
}

fn start(settings: &Settings) -> Result<i32, Failure> {
    for port in settings.ports() {
        say(&format!("Starting {port}\n"));
        if Client::connect(port).is_ok() {
            return Err(Failure::new(format!(
                "something listens on port {port} already. `create-cluster stop` ends nodes that were started before."
            )));
        }
        let mut command = settings.server_command()?;
        command.args(["--port", &port.to_string(), "--protected-mode", &settings.protected_mode]);
        command.args(["--cluster-enabled", "yes", "--cluster-config-file", &format!("nodes-{port}.conf")]);
        command.args(["--cluster-node-timeout", &settings.timeout_ms.to_string(), "--appendonly", "yes"]);
        command.args(["--appendfilename", &format!("appendonly-{port}.aof")]);
        command.args(["--appenddirname", &format!("appendonlydir-{port}")]);
        command.args(["--dbfilename", &format!("dump-{port}.rdb"), "--logfile", &format!("{port}.log")]);
        command.args(["--daemonize", "yes"]).args(&settings.additional_options).stdin(Stdio::null());
        let status = command.status().map_err(|error| {
            Failure::new(format!("{} cannot be started: {error}", command.get_program().display()))
        })?;
        if !status.success() {
            return Err(Failure::new(format!("node {port} did not start: look at {port}.log.")));
        }
    }
    wait(settings, "do not answer: look at their logs", |port| settings.text(port, &["PING"]).is_ok())
}

/// Waits until something holds for every port.
fn wait(settings: &Settings, complaint: &str, holds: impl Fn(u16) -> bool) -> Result<i32, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut rest: Vec<u16> = settings.ports().collect();
    loop {
        rest.retain(|&port| !holds(port));
        if rest.is_empty() {
            return Ok(0);
        }
        if Instant::now() > deadline {
            let ports: Vec<String> = rest.iter().map(u16::to_string).collect();
            return Err(Failure::new(format!("nodes {} {complaint}.", ports.join(", "))));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn create(settings: &Settings, is_forced: bool) -> Result<i32, Failure> {
    let mut words = settings.login();
    words.extend(["--cluster".into(), "create".into()]);
    words.extend(settings.ports().map(|port| OsString::from(format!("{}:{port}", settings.cluster_host))));
    words.extend(["--cluster-replicas".into(), settings.replicas.to_string().into()]);
    if is_forced {
        words.push("--cluster-yes".into());
    }
    let code = shoal_cli::cli_main(words);
    let is_alone =
        |port| settings.text(port, &["CLUSTER", "INFO"]).is_ok_and(|text| text.contains("known_nodes:1\r"));
    if code != 0 || settings.ports().all(is_alone) {
        // An error, or a question that was answered with no: nothing to wait for.
        return Ok(code);
    }
    let serves =
        |port| settings.text(port, &["CLUSTER", "INFO"]).is_ok_and(|text| text.contains("cluster_state:ok"));
    wait(settings, "are not ready: `create-cluster call cluster info` shows more", serves)
}

fn stop(settings: &Settings) -> Result<i32, Failure> {
    for port in settings.ports() {
        say(&format!("Stopping {port}\n"));
        // A node that does not answer has ended, and the connection of one that obeys ends with it.
        let stopped = settings.connect(port).and_then(|mut client| client.call(&["SHUTDOWN", "NOSAVE"]));
        if let Err(ClientError::Refused(error)) = stopped {
            return Err(Failure::new(format!("node {port} does not stop: {error}")));
        }
    }
    wait(settings, "have not ended", |port| Client::connect(port).is_err())
}

fn watch(settings: &Settings) -> Result<i32, Failure> {
    let first = settings.port + 1;
    loop {
        let nodes = settings.text(first, &["CLUSTER", "NODES"]);
        let nodes = nodes.map_err(|error| Failure::new(format!("node {first}: {error}")))?;
        let lines: Vec<&str> = nodes.lines().take(WATCH_LINES).collect();
        say(&format!("\x1b[H\x1b[2J{}\n", lines.join("\n")));
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn tail(settings: &Settings, id: &str) -> Result<i32, Failure> {
    match id.parse::<u16>().ok().filter(|id| (1..=settings.nodes).contains(id)) {
        Some(id) => Err(follow(settings.port + id..=settings.port + id)),
        None => Err(Failure::new(format!(
            "there is no node {id}: they are numbered from 1 to {}.",
            settings.nodes
        ))),
    }
}

/// Becomes `tail -f`; comes back only if that is impossible.
fn follow(ports: std::ops::RangeInclusive<u16>) -> Failure {
    let error = Command::new("tail").arg("-f").args(ports.map(|port| format!("{port}.log"))).exec();
    Failure::new(format!("tail: {error}"))
}

/// The worst exit code of all.
fn call(settings: &Settings, command: &[&str]) -> i32 {
    let call_one = |port: u16| {
        let mut words = settings.login();
        // With -e an error reply shows in the exit code.
        words.extend(["-e".into(), "-p".into(), port.to_string().into()]);
        words.extend(command.iter().map(OsString::from));
        shoal_cli::cli_main(words)
    };
    settings.ports().map(call_one).max().unwrap_or(0)
}

/// Deletes the files with these beginnings; the empty one means logs.
fn clean(settings: &Settings, beginnings: &[&str]) -> Result<i32, Failure> {
    for port in settings.ports() {
        let takes_data = beginnings.len() > 1;
        if takes_data && Client::connect(port).is_ok() {
            return Err(Failure::new(format!(
                "node {port} is running: `create-cluster stop` first. Nothing was deleted of it."
            )));
        }
        for beginning in beginnings {
            let end = match *beginning {
                "" => ".log",
                "dump-" => ".rdb",
                "nodes-" => ".conf",
                _ => "",
            };
            let name = format!("{beginning}{port}{end}");
            let path = Path::new(&name);
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Failure::new(format!("cannot delete {name}: {error}")));
                }
                _ => {}
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(&|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        })
    }

    #[test]
    fn settings_come_from_the_script() {
        let plain = settings(&[]).unwrap();
        assert_eq!(plain.ports(), 30001..=30006);
        assert_eq!((plain.timeout_ms, plain.replicas, plain.password()), (2000, 1, None));
        let edited = settings(&[
            ("PORT", "7000"),
            ("NODES", "3"),
            ("REPLICAS", "0"),
            ("ADDITIONAL_OPTIONS", " --requirepass secret  --masterauth secret "),
        ]);
        let edited = edited.unwrap();
        assert_eq!((edited.ports(), edited.password()), (7001..=7003, Some("secret")));
        assert_eq!(edited.additional_options.len(), 4);
        for (name, value) in [("PORT", "x"), ("NODES", "-1"), ("TIMEOUT", ""), ("PORT", "65534")] {
            assert!(settings(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn the_script_has_the_settings_that_people_edit() {
        let script = script(Path::new("/opt/shoal"));
        for line in
            ["BIN_PATH=\"/opt/shoal\"", "CLUSTER_HOST=127.0.0.1", "PORT=30000", "TIMEOUT=2000", "NODES=6"]
        {
            assert!(script.lines().any(|other| other == line), "{line}");
        }
        assert!(script.starts_with("#!/bin/bash\n") && !script.contains('@'.to_string().repeat(2).as_str()));
    }
}
