//! A run: a server under load is killed, started again in what is left, and asked what it has; twice over.

use crate::Outcome;
use crate::journal;
use crate::load::History;
use crate::power::PowerCut;
use crate::server::Server;
use shoal_machine::Rng;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Clients that write at the same time.
const CLIENTS: usize = 3;
/// Crashes in a run, one after the other.
const CYCLES: usize = 2;
/// States that are looked at after a power cut.
const STATES: usize = 3;
/// What may be missing with `everysec`.
const EVERYSEC_GRACE: Duration = Duration::from_secs(2);

/// Which disk the server works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// The real one: a killed process leaves the page cache whole.
    Real,
    /// One that loses in a power cut what was not synced.
    Simulated,
}

impl fmt::Display for DiskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if *self == Self::Real { "real" } else { "simulated" })
    }
}

/// How runs are carried out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This program, which is a server on any disk.
    pub itself: PathBuf,
    /// The server on the real disk, if it is another program.
    pub program: Option<PathBuf>,
    /// The files of a run that failed are kept.
    pub keeps_files: bool,
}

impl Settings {
    /// Runs with `itself` as the server.
    pub fn new(itself: PathBuf) -> Self {
        Self { itself, program: None, keeps_files: false }
    }

    fn program(&self) -> &Path {
        self.program.as_deref().unwrap_or(&self.itself)
    }
}

/// What a seed decides before anything runs.
struct Plan {
    words: Vec<String>,
    is_always: bool,
    /// Without an append-only file: SAVE says what is safe.
    has_snapshots_only: bool,
    has_replica: bool,
}

impl Plan {
    fn draw(rng: &mut Rng) -> Self {
        let has_snapshots_only = rng.chance(1, 6);
        let is_always = rng.chance(1, 2);
        let mut yes_or_no = || if rng.chance(1, 2) { "yes" } else { "no" };
        let pairs = [
            ("--appendonly", if has_snapshots_only { "no" } else { "yes" }),
            ("--appendfsync", if is_always { "always" } else { "everysec" }),
            ("--aof-use-rdb-preamble", yes_or_no()),
            ("--aof-timestamp-enabled", yes_or_no()),
            ("--no-appendfsync-on-rewrite", "no"),
            ("--auto-aof-rewrite-percentage", "100"),
            ("--auto-aof-rewrite-min-size", "64kb"),
            ("--rdb-key-save-delay", if yes_or_no() == "yes" { "2000" } else { "0" }),
            ("--save", ""),
            ("--enable-debug-command", "yes"),
        ];
        let words =
            pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect();
        Self { words, is_always, has_snapshots_only, has_replica: rng.chance(1, 3) }
    }
}

/// Runs a seed; a line that says what happened.
///
/// # Errors
/// What is missing, or why the server did not start again.
pub fn run(seed: u64, disk: DiskKind, settings: &Settings) -> Outcome<String> {
    let mut rng = Rng::new(seed);
    let plan = Plan::draw(&mut rng);
    let directory = tempfile::Builder::new().prefix("shoal-crash-").tempdir();
    let directory = directory.map_err(|error| error.to_string())?;
    let mut run = Run {
        rng,
        plan,
        disk,
        settings,
        root: directory.path().to_path_buf(),
        histories: Vec::new(),
        lost: 0,
    };
    run.histories = (0..CLIENTS).map(|client| History::new(client, run.rng.fork())).collect();
    for cycle in 0..CYCLES {
        if let Err(error) = run.cycle(cycle) {
            let words = run.plan.words.join(" ");
            let kept = settings.keeps_files.then(|| format!("\n  files: {}", directory.keep().display()));
            return Err(format!(
                "  crash {}, with {words}:\n  {error}{}",
                cycle + 1,
                kept.unwrap_or_default()
            ));
        }
    }
    let kind = match (run.plan.has_snapshots_only, run.plan.is_always) {
        (true, _) => "snapshots",
        (false, true) => "always",
        (false, false) => "everysec",
    };
    let steps: usize = run.histories.iter().map(History::len).sum();
    Ok(format!("{kind}: {steps} steps are there, {} acknowledged ones that need not be are not", run.lost))
}

struct Run<'a> {
    rng: Rng,
    plan: Plan,
    disk: DiskKind,
    settings: &'a Settings,
    root: PathBuf,
    histories: Vec<History>,
    /// Acknowledged steps that were allowed to get lost, and did.
    lost: usize,
}

/// A server and its files.
struct Place {
    server: Server,
    directory: PathBuf,
    /// The files as they were when it started, and the journal since.
    before: Option<(PathBuf, PathBuf)>,
}

impl Run<'_> {
    fn cycle(&mut self, cycle: usize) -> Outcome<()> {
        let directory = self.root.join("primary");
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let mut primary = self.start("primary", cycle, &[])?;
        let mut replica = None;
        let stop = AtomicBool::new(false);
        let port = primary.server.port;
        let mut histories = std::mem::take(&mut self.histories);
        let (killed, saved) = std::thread::scope(|scope| {
            let threads: Vec<_> =
                histories.iter_mut().map(|history| scope.spawn(|| history.write(port, &stop))).collect();
            let ended = self.disturb(cycle, &mut primary, &mut replica);
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().map_err(|_| "a client panicked".to_owned())??;
            }
            ended
        })?;
        self.histories = histories;
        if let Some(mut replica) = replica {
            replica.server.kill(true);
            let mut histories = self.histories.clone();
            self.look(&mut replica, &mut histories, cycle, None)
                .map_err(|error| format!("the replica: {error}"))?;
        }
        let mut histories = self.histories.clone();
        let safe_at = if self.plan.has_snapshots_only { saved } else { Some(killed) };
        self.lost += self.look(&mut primary, &mut histories, cycle, safe_at)?;
        self.histories = histories;
        Ok(())
    }

    fn start(&mut self, name: &str, cycle: usize, words: &[String]) -> Outcome<Place> {
        let directory = self.root.join(name);
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let words = [self.plan.words.as_slice(), words].concat();
        if self.disk == DiskKind::Real {
            let server = Server::start(self.settings.program(), &directory, None, &words)?;
            return Ok(Place { server, directory, before: None });
        }
        let before = self.root.join(format!("{name}-before-{cycle}"));
        copy(&directory, &before).map_err(|error| error.to_string())?;
        let journal = self.root.join(format!("{name}-{cycle}.journal"));
        let disk = format!("record:{}", journal.display());
        let server = Server::start(&self.settings.itself, &directory, Some(&disk), &words)?;
        Ok(Place { server, directory, before: Some((before, journal)) })
    }

    /// Has the server rewrite and save while it is written to, and kills it. When that was, and when the last snapshot was
    /// begun that was reported as saved.
    fn disturb(
        &mut self,
        cycle: usize,
        primary: &mut Place,
        replica: &mut Option<Place>,
    ) -> Outcome<(Instant, Option<Instant>)> {
        let began = Instant::now();
        let longest_ms = if self.plan.is_always || self.disk == DiskKind::Real { 900 } else { 3500 };
        let duration = Duration::from_millis(100 + self.rng.below(longest_ms));
        let mut client = primary.server.client()?;
        let mut saved = None;
        while began.elapsed() < duration {
            std::thread::sleep(Duration::from_millis(10 + self.rng.below(120)));
            let save_began = Instant::now();
            match self.rng.below(4) {
                0 | 1 if !self.plan.has_snapshots_only => drop(client.text(&["BGREWRITEAOF"])),
                2 => drop(client.text(&["BGSAVE"])),
                _ if self.plan.has_snapshots_only && client.text(&["SAVE"]) == "OK" => {
                    saved = Some(save_began);
                }
                _ => {}
            }
            if self.plan.has_replica && replica.is_none() && self.rng.chance(1, 2) {
                let port = primary.server.port.to_string();
                let words = ["--replicaof".to_owned(), format!("127.0.0.1 {port}")];
                *replica = Some(self.start("replica", cycle, &words)?);
            }
        }
        if self.rng.chance(1, 2) {
            // In the middle of something.
            client.text(&[if self.plan.has_snapshots_only { "BGSAVE" } else { "BGREWRITEAOF" }]);
            std::thread::sleep(Duration::from_millis(self.rng.below(80)));
        }
        let killed = Instant::now();
        // On the real disk a child may go on when the server is killed; a power cut takes it along.
        let with_children = self.disk == DiskKind::Simulated || self.rng.chance(1, 2);
        primary.server.kill(with_children);
        Ok((killed, saved))
    }

    /// Starts servers in what a crash may leave, and compares; the last state is where the next cycle begins. How many
    /// acknowledged steps are not there.
    fn look(
        &mut self,
        place: &mut Place,
        histories: &mut Vec<History>,
        cycle: usize,
        safe_at: Option<Instant>,
    ) -> Outcome<usize> {
        let Some((before, journal)) = &place.before else {
            return self.compare(&place.directory, histories, safe_at);
        };
        let bytes = fs::read(journal).map_err(|error| error.to_string())?;
        let cut = PowerCut::new(&place.directory, before, &journal::read(&bytes))?;
        let (original, mut lost) = (histories.clone(), 0);
        for state in 0..STATES {
            let name = place.directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let left = self.root.join(format!("{name}-left-{cycle}-{state}"));
            cut.leave(&mut self.rng, &place.directory, &left)?;
            histories.clone_from(&original);
            lost =
                self.compare(&left, histories, safe_at).map_err(|error| format!("state {state}: {error}"))?;
            if state + 1 == STATES {
                fs::remove_dir_all(&place.directory)
                    .and_then(|()| fs::rename(&left, &place.directory))
                    .map_err(|error| error.to_string())?;
            }
        }
        Ok(lost)
    }

    fn compare(
        &self,
        directory: &Path,
        histories: &mut [History],
        safe_at: Option<Instant>,
    ) -> Outcome<usize> {
        let mut server = Server::start(self.settings.program(), directory, None, &self.plan.words)?;
        let mut client = server.client()?;
        let is_everysec = !self.plan.is_always && !self.plan.has_snapshots_only;
        let grace = if is_everysec { EVERYSEC_GRACE } else { Duration::ZERO };
        let mut lost = 0;
        for history in histories {
            let compared = match safe_at {
                Some(at) => history.compare(&mut client, at, grace),
                None => history.compare_from(&mut client, 0, 0),
            };
            lost += compared.map_err(|error| format!("{error}\n  log:\n{}", server.log_end()))?;
        }
        server.kill(true);
        Ok(lost)
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
