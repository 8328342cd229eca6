//! Runs one file of the suite in a private copy, with links to the programs under test.
//!
//! The suite starts servers as `src/redis-server` of the directory it runs in and keeps their files in `tests/tmp`; a
//! copy of `tests` and links in `src` are all it needs. Copies lie in the directory for temporary files: the path of a
//! Unix socket in it must stay below 108 bytes.

use super::outcome::Results;
use super::skiplist::Skiplist;
use crate::{Outcome, process, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The programs the suite starts.
const PROGRAMS: &[&str] =
    &["redis-server", "redis-sentinel", "redis-cli", "redis-benchmark", "redis-check-rdb", "redis-check-aof"];
/// Where Debian has the real ones.
const INSTALLED: &str = "/usr/bin";
/// Directives that our server gets in addition.
const DIRECTIVES: &str = "conformance/directives.conf";
/// Files in which the suite does not look at encodings when it runs against ours. 7.0 knows one encoding of lists, and
/// 7.2 keeps small ones as a listpack, which no directive can turn off.
const WITHOUT_ENCODINGS: &[&str] = &["unit/type/list", "unit/type/list-2", "unit/type/list-3", "unit/sort"];
/// Files that load functions outside of tests, which ends the whole file where there are none. Until Shoal has them, the
/// commands that load are left out; tests that call functions are excepted one by one.
const LOADING_FUNCTIONS: &[&str] = &["integration/replication", "integration/replication-4"];
/// Where the files of the suite for clusters stand among the others.
const CLUSTER: &str = "cluster/";
/// In that suite one third of some writes is done by a script. Until Shoal has Lua they are done by the command in it.
const WRITE_BY_SCRIPT: &str = "eval {redis.call(\"rpush\",KEYS[1],ARGV[1])} 1 $key";
const WRITE_BY_COMMAND: &str = "rpush $key";
/// Without any progress for so long the suite gives up by itself.
const PROGRESS_LIMIT_S: u64 = 120;
/// Ports of one run, and the ranges that runs share out by process. Buses listen 10000 above, still below the ports that
/// systems give to clients.
const PORTS: u32 = 200;
const PORT_RANGES: u32 = 50;
const PORT_FIRST: u32 = 11_000;

/// Which server is tested.
pub enum Server {
    /// The program at this path.
    Ours(PathBuf),
    /// The installed real one.
    Installed,
}

/// The unpacked suite.
pub struct Suite {
    source: PathBuf,
    files: Vec<String>,
    version: String,
}

impl Suite {
    /// Asks the suite which files it has.
    pub fn new(source: &Path) -> Outcome<Self> {
        let list = process::output(
            Command::new("tclsh").current_dir(source).args(["tests/test_helper.tcl", "--list-tests"]),
        )?;
        let mut files: Vec<String> = list.lines().map(str::to_owned).collect();
        files.extend(cluster_files(source));
        let header = std::fs::read_to_string(source.join("src/version.h")).unwrap_or_default();
        let version = header.split('"').nth(1).unwrap_or("of an unknown version").to_owned();
        Ok(Self { source: source.to_path_buf(), files, version })
    }

    /// The names of all files, as `--single` takes them.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The version of the server the suite is from.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs a file. Jobs that run at the same time have different numbers.
    pub fn run(
        &self,
        file: &str,
        job: usize,
        server: &Server,
        skiplist: &Skiplist,
        limit: Duration,
    ) -> Outcome<Results> {
        let tree = self.prepare(job, server)?;
        if let Some(name) = file.strip_prefix(CLUSTER) {
            return run_cluster(&tree, file, name, job, server, skiplist, limit);
        }
        if matches!(server, Server::Ours(_)) && LOADING_FUNCTIONS.contains(&file) {
            let path = tree.path.join("tests").join(format!("{file}.tcl"));
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            std::fs::write(&path, without_functions(&text)).map_err(|error| error.to_string())?;
        }
        let skips = tree.path.join("skips");
        std::fs::write(&skips, skiplist.patterns(file)).map_err(|error| error.to_string())?;
        let range = (std::process::id() + job as u32) % PORT_RANGES;
        // The suite itself listens on one of the 32 ports below the first.
        let first_port = PORT_FIRST + range * PORTS + 32;
        let mut command = Command::new("tclsh");
        command.current_dir(&tree.path).env_remove("TERM").arg("tests/test_helper.tcl");
        command.args(["--single", file, "--clients", "1", "--durable", "--skipfile"]).arg(&skips);
        command.args(["--timeout", &PROGRESS_LIMIT_S.to_string(), "--baseport", &first_port.to_string()]);
        command.args(["--portcount", &(PORTS - 32).to_string()]);
        if matches!(server, Server::Ours(_)) && WITHOUT_ENCODINGS.contains(&file) {
            command.arg("--ignore-encoding");
        }
        let began = Instant::now();
        let finished = process::caught(&mut command, limit)?;
        Ok(Results::parse(file, &finished.output, began.elapsed()))
    }

    /// A copy of the suite with links to the programs.
    fn prepare(&self, job: usize, server: &Server) -> Outcome<Tree> {
        let path = std::env::temp_dir().join(format!("shoal-suite-{}-{job}", std::process::id()));
        let tree = Tree { path };
        let programs = tree.path.join("src");
        std::fs::create_dir_all(&programs).map_err(|error| format!("{}: {error}", programs.display()))?;
        process::run(Command::new("cp").arg("-r").arg(self.source.join("tests")).arg(&tree.path))?;
        for name in PROGRAMS {
            let target = match server {
                Server::Ours(binary) => binary.clone(),
                Server::Installed => Path::new(INSTALLED).join(name),
            };
            std::os::unix::fs::symlink(&target, programs.join(name)).map_err(|error| error.to_string())?;
        }
        if matches!(server, Server::Ours(_)) {
            let path = tree.path.join("tests/assets/default.conf");
            let own = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let ours = workspace::text(DIRECTIVES)?.unwrap_or_default();
            std::fs::write(path, format!("{own}\n{ours}")).map_err(|error| error.to_string())?;
        }
        Ok(tree)
    }
}

/// The files of the suite for clusters, which has a runner of its own.
fn cluster_files(source: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(source.join("tests/cluster/tests")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut files: Vec<String> =
        names.filter_map(|name| Some(format!("{CLUSTER}{}", name.strip_suffix(".tcl")?))).collect();
    files.sort();
    files
}

/// Runs a file of the suite for clusters: twenty nodes, of which the file makes what it needs.
fn run_cluster(
    tree: &Tree,
    file: &str,
    name: &str,
    job: usize,
    server: &Server,
    skiplist: &Skiplist,
    limit: Duration,
) -> Outcome<Results> {
    let change = |path: PathBuf, changed: &dyn Fn(String) -> String| {
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        std::fs::write(&path, changed(text)).map_err(|error| error.to_string())
    };
    let range = (std::process::id() + job as u32) % PORT_RANGES;
    let first_port = PORT_FIRST + range * PORTS;
    change(tree.path.join("tests/instances.tcl"), &|text| {
        let text = text.replace("redis_base_port 30000", &format!("redis_base_port {first_port}"));
        text.replace("redis_port_count 1024", &format!("redis_port_count {PORTS}"))
    })?;
    if matches!(server, Server::Ours(_)) {
        change(tree.path.join(format!("tests/cluster/tests/{name}.tcl")), &|text| {
            without_tests(&text.replace(WRITE_BY_SCRIPT, WRITE_BY_COMMAND), |test| skiplist.holds(file, test))
        })?;
    }
    let mut command = Command::new("tclsh");
    command.current_dir(&tree.path).env_remove("TERM").args(["tests/cluster/run.tcl", "--single", name]);
    if matches!(server, Server::Ours(_)) {
        // Nodes that are stopped hand over to their replicas; the suite expects them back as what they were.
        command.args(["--config", "cluster-handover-on-shutdown", "no"]);
    }
    let began = Instant::now();
    let finished = process::caught(&mut command, limit)?;
    Ok(Results::parse_cluster(file, &finished.output, began.elapsed()))
}

/// The text of a file without some of its tests: `test "NAME" {`, up to the brace in the first column.
fn without_tests(text: &str, is_left_out: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    let mut is_left = false;
    for line in text.lines() {
        let name = line.strip_prefix("test \"").and_then(|rest| rest.strip_suffix("\" {"));
        is_left |= name.is_some_and(&is_left_out);
        if !is_left {
            kept.push_str(line);
            kept.push('\n');
        }
        is_left &= line != "}";
    }
    kept
}

/// The text of a file without the commands that load functions: `$client function load … {`, up to the brace that closes
/// it in the same column.
fn without_functions(text: &str) -> String {
    let mut kept = String::new();
    let mut end: Option<String> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        let column = line.len() - line.trim_start().len();
        let loads = matches!(words.as_slice(), [client, function, load]
            if (client.starts_with('$') || *client == "r")
                && function.eq_ignore_ascii_case("function")
                && load.eq_ignore_ascii_case("load"));
        match &end {
            Some(closing) => {
                if line.trim_end() == *closing {
                    end = None;
                }
            }
            None if loads => end = Some(format!("{}}}", &line[..column])),
            None => {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    kept
}

/// A private copy; gone with what still runs in it.
struct Tree {
    path: PathBuf,
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Servers that put themselves into the background are no longer in the group of the suite, but still work in a
        // directory below the copy.
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let works_here =
                std::fs::read_link(entry.path().join("cwd")).is_ok_and(|path| path.starts_with(&self.path));
            if let Some(process) = entry.file_name().to_str().filter(|_| works_here) {
                process::succeeds("kill", &["-KILL", process]);
            }
        }
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::{without_functions, without_tests};

    #[test]
    fn tests_are_left_out_by_name() {
        let text = "a\ntest \"one: two\" {\n    if {1} {\n    }\n}\ntest \"three\" {\n}\n";
        assert_eq!(without_tests(text, |name| name == "one: two"), "a\ntest \"three\" {\n}\n");
    }

    #[test]
    fn commands_that_load_functions_are_left_out() {
        let text = "a\n    $master FUNCTION load replace {#!lua name=x\n      f {\n      }\n    }\n    $master get b\n";
        assert_eq!(without_functions(text), "a\n    $master get b\n");
        assert_eq!(without_functions("$r set function load\n"), "$r set function load\n");
    }
}
