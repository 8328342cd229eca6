//! `cargo xtask conformance`: Redis's own test suite against our program in place of `redis-server`.
//!
//! ```text
//!   source (Debian's package) -> suite (a private copy, one file at a time) -> outcome (names of tests)
//!                                                                                 |
//!   reference.json (what the real server passes)  +  skiplist.txt  ----------> report (terminal, JSON, document)
//! ```
//!
//! Nothing of that suite is kept in this repository but the names of its tests. With `--real` the installed
//! `redis-server` runs instead, and what passes becomes the reference.

mod outcome;
mod reference;
mod report;
mod skiplist;
mod source;
mod suite;

use crate::arguments::Arguments;
use crate::test::tools;
use crate::{Outcome, workspace};
use outcome::Results;
use reference::Reference;
use report::{CLUSTER_PLACE, PLACE, Report, Score};
use skiplist::Skiplist;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use suite::{Server, Suite};

/// How long one file may run when nothing else is said.
const FILE_LIMIT: Duration = Duration::from_secs(900);
/// Files of the suite that `cargo xtask test` runs: fast, and passed in full.
const GUARDED: &[&str] = &[
    "unit/quit",
    "unit/protocol",
    "unit/type/incr",
    "unit/type/set",
    "unit/type/hash",
    "unit/type/zset",
    "unit/type/stream-cgroups",
    "unit/bitops",
    "unit/bitfield",
    "unit/pubsub",
    "unit/pubsubshard",
    "unit/sort",
    "integration/redis-benchmark",
    "integration/aof",
    "integration/aof-multi-part",
];

/// A part of the suite by the name of issues and documents, and the files it holds. A `*` at the end stands for the rest.
pub struct Group {
    /// What the part is called.
    pub name: &'static str,
    /// Its files, as the suite names them.
    pub files: &'static [&'static str],
}

/// What is measured when no file is named.
const GROUPS: &[Group] = &[
    Group { name: "data types", files: &["unit/type/*"] },
    Group {
        name: "commands and server",
        files: &[
            "unit/keyspace",
            "unit/expire",
            "unit/scan",
            "unit/sort",
            "unit/bitops",
            "unit/bitfield",
            "unit/geo",
            "unit/hyperloglog",
            "unit/multi",
            "unit/pubsub",
            "unit/pubsubshard",
            "unit/dump",
            "unit/limits",
            "unit/other",
            "unit/protocol",
            "unit/querybuf",
            "unit/info",
            "unit/slowlog",
            "unit/latency-monitor",
            "unit/maxmemory",
            "unit/lazyfree",
            "unit/client-eviction",
            "unit/obuf-limits",
            "unit/introspection",
            "unit/introspection-2",
        ],
    },
    Group {
        name: "snapshots",
        files: &[
            "integration/rdb",
            "integration/corrupt-dump",
            "integration/corrupt-dump-fuzzer",
            "integration/dismiss-mem",
            "integration/convert-ziplist-hash-on-load",
            "integration/convert-ziplist-zset-on-load",
            "integration/convert-zipmap-hash-on-load",
            "integration/shutdown",
            "integration/logging",
        ],
    },
    Group {
        name: "append-only file",
        files: &["integration/aof", "integration/aof-multi-part", "unit/aofrw"],
    },
    Group {
        name: "replication",
        files: &[
            "integration/replication*",
            "integration/psync2*",
            "integration/block-repl",
            "integration/failover",
        ],
    },
    Group { name: "client programs", files: &["integration/redis-cli", "integration/redis-benchmark"] },
];

/// What `--cluster` measures.
const CLUSTER_GROUPS: &[Group] = &[Group { name: "clusters", files: &["cluster/*", "unit/cluster*"] }];

impl Group {
    fn holds(&self, file: &str) -> bool {
        self.files.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => file.starts_with(beginning),
            None => file == *pattern,
        })
    }
}

/// What the user asked for.
struct Options {
    files: Vec<String>,
    all: bool,
    /// The suite for clusters instead of the others.
    cluster: bool,
    real: bool,
    write: bool,
    json: bool,
    list_failures: bool,
    jobs: usize,
    limit: Duration,
    binary: Option<PathBuf>,
}

impl Options {
    fn groups(&self) -> &'static [Group] {
        if self.cluster { CLUSTER_GROUPS } else { GROUPS }
    }
}

/// Runs the files that are named, or those of all groups; `--all` takes every file of the suite.
pub fn run(mut arguments: Arguments) -> Outcome<()> {
    let options = Options {
        files: arguments.list("--file")?,
        all: arguments.flag("--all"),
        cluster: arguments.flag("--cluster"),
        real: arguments.flag("--real"),
        write: arguments.flag("--write"),
        json: arguments.flag("--json"),
        list_failures: arguments.flag("--list-failures"),
        jobs: arguments.parsed("--jobs")?.unwrap_or(1).max(1),
        limit: arguments.parsed("--seconds")?.map_or(FILE_LIMIT, Duration::from_secs),
        binary: arguments.value("--binary")?.map(PathBuf::from),
    };
    arguments.end()?;
    if options.write && !options.files.is_empty() && !options.real {
        return Err("--write needs a run of all files".to_owned());
    }
    tools::install_only(&["tcl", "dpkg-dev", "procps", "redis-server", "redis-tools"])?;
    let suite = Suite::new(&source::obtain()?)?;
    let files = chosen(&options, &suite)?;
    if options.real {
        return measure_real(&suite, &files, &options);
    }
    let reference = Reference::load()?;
    let skiplist = Skiplist::load()?;
    let binary = match &options.binary {
        Some(path) => std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => workspace::program(true)?,
    };
    let results = run_files(&suite, &files, &Server::Ours(binary), &skiplist, &options)?;
    let scores = results.iter().map(|(file, results)| {
        let passes = reference.passes(file);
        if passes.is_none() {
            eprintln!("{file}: not measured with the real server yet (--real --file {file})");
        }
        Score::new(file, passes.unwrap_or_default(), &skiplist, results)
    });
    let report = Report::new(scores.collect(), options.groups(), &reference.version);
    match options.json {
        true => println!("{}", report.json()),
        false => print!("{}", report.text(options.list_failures)),
    }
    if options.write { report.write(if options.cluster { CLUSTER_PLACE } else { PLACE }) } else { Ok(()) }
}

/// Runs the guarded files; a test that the real server passes, ours does not, and nobody has excepted, is an error.
pub fn guard(binary: &Path) -> Outcome<String> {
    let suite = Suite::new(&source::obtain()?)?;
    let (reference, skiplist) = (Reference::load()?, Skiplist::load()?);
    let server = Server::Ours(binary.to_path_buf());
    let mut passed = 0;
    let mut failures = String::new();
    for (index, file) in GUARDED.iter().enumerate() {
        let results = suite.run(file, index, &server, &skiplist, FILE_LIMIT)?;
        let passes = reference.passes(file).ok_or_else(|| format!("{file} is not in the reference"))?;
        let score = Score::new(file, passes, &skiplist, &results);
        passed += score.passed;
        failures.push_str(&score.failures_text());
    }
    match failures.is_empty() {
        true => Ok(format!("{passed} tests of the suite in {} files", GUARDED.len())),
        false => Err(failures),
    }
}

/// The files to run, in the order of the suite.
fn chosen(options: &Options, suite: &Suite) -> Outcome<Vec<String>> {
    let named = |file: &String| match options.files.is_empty() {
        true => options.all || options.groups().iter().any(|group| group.holds(file)),
        false => options.files.iter().any(|name| file == name || file.starts_with(&format!("{name}/"))),
    };
    let unknown = options.files.iter().find(|name| {
        !suite.files().iter().any(|file| file == *name || file.starts_with(&format!("{name}/")))
    });
    match unknown {
        Some(name) => Err(format!("the suite has no file {name}")),
        None => Ok(suite.files().iter().filter(|file| named(file)).cloned().collect()),
    }
}

/// Runs the files with the installed server and keeps the names of the tests that pass.
fn measure_real(suite: &Suite, files: &[String], options: &Options) -> Outcome<()> {
    let mut reference = Reference::load().unwrap_or_default();
    let results = run_files(suite, files, &Server::Installed, &Skiplist::default(), options)?;
    reference.version = suite.version().to_owned();
    for (file, results) in &results {
        let (passed, failed) = (results.passed().count(), results.failed().count());
        println!("{file}: {passed} passed, {failed} failed{}", results.ending());
        reference.set(file, results);
    }
    if options.write { reference.save() } else { Ok(()) }
}

/// Runs files, `jobs` at a time, and gives the results in the order of the files.
fn run_files(
    suite: &Suite,
    files: &[String],
    server: &Server,
    skiplist: &Skiplist,
    options: &Options,
) -> Outcome<Vec<(String, Results)>> {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..files.len()).collect());
    let finished: Mutex<Vec<(usize, Outcome<Results>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for job in 0..options.jobs {
            let (waiting, finished) = (&waiting, &finished);
            scope.spawn(move || {
                loop {
                    let next = waiting.lock().ok().and_then(|mut queue| queue.pop_front());
                    let Some((index, file)) = next.and_then(|index| Some((index, files.get(index)?))) else {
                        return;
                    };
                    let results = suite.run(file, job, server, skiplist, options.limit);
                    if let Ok(results) = &results {
                        eprintln!("{file}: {}", results.summary());
                    }
                    if let Ok(mut finished) = finished.lock() {
                        finished.push((index, results));
                    }
                }
            });
        }
    });
    let mut finished = finished.into_inner().map_err(|_| "a run of the suite broke off".to_owned())?;
    finished.sort_by_key(|(index, _)| *index);
    let named = finished
        .into_iter()
        .map(|(index, results)| Ok((files.get(index).cloned().unwrap_or_default(), results?)));
    named.collect()
}
