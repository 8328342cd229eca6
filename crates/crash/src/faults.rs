//! Faults of the disk: what clients are told meanwhile, and that nothing acknowledged is missing afterwards.

use crate::Outcome;
use crate::journal;
use crate::power::PowerCut;
use crate::run::Settings;
use crate::server::{SOON, Server};
use shoal_machine::Rng;
use shoal_probe::{Client, eventually};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A scenario.
pub type Scenario = fn(&Settings) -> Outcome<()>;

/// All scenarios by name.
pub const SCENARIOS: &[(&str, Scenario)] = &[
    ("full disk, everysec", full_disk),
    ("full disk, always", full_disk_always),
    ("short writes", short_writes),
    ("failed sync, everysec", failed_sync),
    ("failed sync, always", failed_sync_always),
    ("failed rename while rewriting", failed_rename),
    ("full disk while saving", full_while_saving),
    ("slow syncs", slow_syncs),
];

const INCREMENT: &str = "incr.aof";

/// A server on a disk that fails on demand.
struct Bench<'a> {
    settings: &'a Settings,
    directory: tempfile::TempDir,
    server: Server,
    client: Client,
    words: Vec<String>,
    /// Keys that were acknowledged.
    written: u64,
}

impl<'a> Bench<'a> {
    fn start(settings: &'a Settings, words: &[&str], disk: &str) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("shoal-crash-").tempdir();
        let directory = directory.map_err(|error| error.to_string())?;
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (control, journal) = (directory.path().join("faults"), directory.path().join("journal"));
        let disk = match disk {
            "faults" => format!("faults:{}", control.display()),
            _ => format!("both:{}:{}", control.display(), journal.display()),
        };
        let work = directory.path().join("work");
        fs::create_dir(&work).map_err(|error| error.to_string())?;
        let server = Server::start(&settings.itself, &work, Some(&disk), &words)?;
        let client = server.client()?;
        Ok(Self { settings, directory, server, client, words, written: 0 })
    }

    fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    fn set_faults(&self, text: &str) -> Outcome<()> {
        // In one step: the server looks at any time.
        let (new, control) = (self.directory.path().join("new"), self.directory.path().join("faults"));
        fs::write(&new, text).and_then(|()| fs::rename(&new, control)).map_err(|error| error.to_string())
    }

    /// Writes a key; the reply.
    fn write(&mut self) -> String {
        let key = format!("key:{}", self.written);
        let reply = self.client.text(&["SET", &key, &format!("value:{}", self.written)]);
        self.written += u64::from(reply == "OK");
        reply
    }

    fn write_many(&mut self, count: u64) -> Outcome<()> {
        for _ in 0..count {
            expect("SET", &self.write(), "OK")?;
        }
        Ok(())
    }

    /// Writes until that is refused, which must be in these words.
    fn write_until_refused(&mut self, text: &str) -> Outcome<()> {
        let reply =
            eventually("a write that is refused", SOON, || Some(self.write()).filter(|reply| reply != "OK"))?;
        expect("SET", &reply, text)
    }

    fn write_until_accepted(&mut self) -> Outcome<()> {
        eventually("a write that is accepted", SOON, || (self.write() == "OK").then_some(()))
    }

    /// Kills the server and starts it again on a sound disk: everything that was acknowledged is there.
    fn crash_and_compare(mut self) -> Outcome<()> {
        self.server.kill(true);
        let work = self.work();
        self.compare(&work)
    }

    fn compare(&self, directory: &std::path::Path) -> Outcome<()> {
        let server = Server::start(&self.settings.itself, directory, None, &self.words)?;
        let mut client = server.client()?;
        for number in 0..self.written {
            let value = client.text(&["GET", &format!("key:{number}")]);
            if value != format!("value:{number}") {
                return Err(format!(
                    "key:{number} of {} acknowledged ones is missing\n{}",
                    self.written,
                    server.log_end()
                ));
            }
        }
        Ok(())
    }
}

fn expect(what: &str, found: &str, wanted: &str) -> Outcome<()> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {found:?} instead of {wanted:?}")),
    }
}

const EVERYSEC: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];
const ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--save", ""];

fn full_disk(settings: &Settings) -> Outcome<()> {
    let mut bench = Bench::start(settings, EVERYSEC, "faults")?;
    bench.write_many(100)?;
    bench.set_faults(&format!("full {INCREMENT} 8000"))?;
    bench.write_until_refused("MISCONF Errors writing to the AOF file: No space left on device")?;
    expect("aof_last_write_status", &bench.client.info("aof_last_write_status"), "err")?;
    expect("GET", &bench.client.text(&["GET", "key:0"]), "value:0")?;
    bench.set_faults("")?;
    bench.write_until_accepted()?;
    expect("aof_last_write_status", &bench.client.info("aof_last_write_status"), "ok")?;
    bench.write_many(100)?;
    bench.crash_and_compare()
}

fn full_disk_always(settings: &Settings) -> Outcome<()> {
    let mut bench = Bench::start(settings, ALWAYS, "faults")?;
    bench.write_many(50)?;
    bench.set_faults(&format!("full {INCREMENT} 6000"))?;
    eventually("a write without a reply", SOON, || (bench.write() != "OK").then_some(()))?;
    let status = bench.server.wait()?;
    expect("exit code", &format!("{:?}", status.code()), "Some(1)")?;
    bench.crash_and_compare()
}

fn short_writes(settings: &Settings) -> Outcome<()> {
    let mut bench = Bench::start(settings, ALWAYS, "faults")?;
    bench.set_faults("short aof\nshort rdb\nshort manifest")?;
    bench.write_many(100)?;
    bench.client.text(&["BGREWRITEAOF"]);
    eventually("the end of the rewrite", SOON, || {
        (bench.client.info("aof_rewrite_in_progress") == "0").then_some(())
    })?;
    expect("aof_last_bgrewrite_status", &bench.client.info("aof_last_bgrewrite_status"), "ok")?;
    bench.write_many(100)?;
    bench.crash_and_compare()
}

/// Nothing is called good after a failed sync: the pages may be gone, whatever the next one says. The power is cut after the
/// server says that all is well again, and takes all that was only covered by syncs after the one that failed.
fn failed_sync(settings: &Settings) -> Outcome<()> {
    let mut bench = Bench::start(settings, EVERYSEC, "both")?;
    bench.write_many(100)?;
    bench.set_faults(&format!("sync-error {INCREMENT}"))?;
    bench.write_until_refused("MISCONF Errors writing to the AOF file: Input/output error")?;
    bench.set_faults("")?;
    bench.write_until_accepted()?;
    let acknowledged = bench.written;
    bench.write_many(50)?;
    // What was acknowledged before this sync is safe.
    expect("WAITAOF", &format!("{:?}", wait_for_disk(&mut bench.client)), "Some(1)")?;
    bench.server.kill(true);
    let records = fs::read(bench.directory.path().join("journal")).map_err(|error| error.to_string())?;
    let before = bench.directory.path().join("before");
    fs::create_dir(&before).map_err(|error| error.to_string())?;
    let cut = PowerCut::new(&bench.work(), &before, &journal::read(&records))?;
    if acknowledged == 0 {
        return Err("nothing was acknowledged".to_owned());
    }
    for seed in 0..10 {
        let left = bench.directory.path().join(format!("left-{seed}"));
        cut.leave(&mut Rng::new(seed), &bench.work(), &left)?;
        bench.compare(&left).map_err(|error| format!("power cut {seed}: {error}"))?;
    }
    Ok(())
}

fn wait_for_disk(client: &mut Client) -> Option<i64> {
    client.call(&["WAITAOF", "1", "0", "10000"])?.as_elements()?.first()?.as_integer()
}

fn failed_sync_always(settings: &Settings) -> Outcome<()> {
    let mut bench = Bench::start(settings, ALWAYS, "faults")?;
    bench.write_many(50)?;
    bench.set_faults(&format!("sync-error {INCREMENT}"))?;
    expect("SET", &bench.write(), "")?;
    let status = bench.server.wait()?;
    expect("exit code", &format!("{:?}", status.code()), "Some(1)")?;
    bench.crash_and_compare()
}

fn failed_rename(settings: &Settings) -> Outcome<()> {
    let mut bench = Bench::start(settings, ALWAYS, "faults")?;
    bench.write_many(50)?;
    for name in ["manifest", "base.rdb", "rewriteaof"] {
        bench.set_faults(&format!("rename-error {name}"))?;
        bench.client.text(&["BGREWRITEAOF"]);
        eventually("a rewrite that fails", SOON, || {
            let is_over = bench.client.info("aof_rewrite_in_progress") == "0";
            (is_over && bench.client.info("aof_last_bgrewrite_status") == "err").then_some(())
        })?;
        bench.write_many(50)?;
        bench.set_faults("")?;
        bench.client.text(&["BGREWRITEAOF"]);
        eventually("a rewrite that goes well", SOON, || {
            let is_over = bench.client.info("aof_rewrite_in_progress") == "0";
            (is_over && bench.client.info("aof_last_bgrewrite_status") == "ok").then_some(())
        })?;
    }
    bench.crash_and_compare()
}

fn full_while_saving(settings: &Settings) -> Outcome<()> {
    let words = ["--appendonly", "no", "--save", "3600 1"];
    let mut bench = Bench::start(settings, &words, "faults")?;
    bench.write_many(100)?;
    bench.set_faults("full temp- 500")?;
    bench.client.text(&["BGSAVE"]);
    eventually("a save that fails", SOON, || {
        (bench.client.info("rdb_last_bgsave_status") == "err").then_some(())
    })?;
    let refused = bench.write();
    let wanted =
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.";
    if !refused.starts_with(wanted) {
        return Err(format!("{refused:?} instead of {wanted:?}"));
    }
    bench.set_faults("")?;
    expect("SAVE", &bench.client.text(&["SAVE"]), "OK")?;
    bench.write_many(10)?;
    expect("SAVE", &bench.client.text(&["SAVE"]), "OK")?;
    bench.crash_and_compare()
}

/// Readers and writers go on while a sync takes long, until `everysec` would not be kept.
fn slow_syncs(settings: &Settings) -> Outcome<()> {
    let mut bench = Bench::start(settings, EVERYSEC, "faults")?;
    bench.set_faults(&format!("slow-sync {INCREMENT} 4000"))?;
    bench.write_many(10)?;
    eventually("a sync that goes on", SOON, || {
        (bench.client.info("aof_pending_bio_fsync") == "1").then_some(())
    })?;
    bench.write_many(10)?;
    expect("aof_pending_bio_fsync", &bench.client.info("aof_pending_bio_fsync"), "1")?;
    eventually("a write that waits", Duration::from_secs(60), || {
        (bench.write() == "OK" && bench.client.info("aof_delayed_fsync") != "0").then_some(())
    })?;
    bench.set_faults("")?;
    bench.crash_and_compare()
}
