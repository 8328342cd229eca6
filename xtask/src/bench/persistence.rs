//! Snapshots of millions of keys of every type: writing one in the background, serving requests meanwhile, loading it at
//! the start, and giving it to a replica.

use super::loader::{Client, load};
use super::report::Row;
use super::server::{Core, Kind, Server};
use super::{Size, median};
use crate::Outcome;
use std::time::{Duration, Instant};

/// Measurements of each kind; they alternate between the servers.
const ROUNDS: usize = 3;
/// Snapshots in each round during which requests are timed: one gives some ten thousand requests, of which a handful are
/// the slowest thousandth.
const PROBED_SAVES: usize = 4;
/// Between two looks at a server that is busy.
const LOOK_INTERVAL: Duration = Duration::from_millis(3);
/// Between two requests of the probe.
const PROBE_INTERVAL: Duration = Duration::from_micros(200);
/// The longest that anything measured here may take.
const LIMIT: Duration = Duration::from_secs(300);
/// What a snapshot, loading it and a full synchronisation may take of the other's time.
const RATIO: f64 = 0.8;
/// Elements of a large collection, and how many of each type there are.
const LARGE_ELEMENTS: u64 = 5000;
const LARGE_KEYS: u64 = 20;
/// Elements that one request adds to a large collection.
const LARGE_STEP: u64 = 100;

/// The figures of one server.
#[derive(Default)]
struct Figures {
    save_s: Vec<f64>,
    fork_us: Vec<f64>,
    waits: Vec<Duration>,
    load_s: Vec<f64>,
    sync_s: Vec<f64>,
    file_bytes: f64,
}

/// All of them, in one run.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let mut servers = Vec::new();
    for kind in [Kind::Shoal, Kind::Redis] {
        let server = Server::start(kind, binary)?;
        fill(server.port, size.persisted).map_err(|error| format!("filling {kind:?}: {error}"))?;
        servers.push(server);
    }
    let mut figures = [Figures::default(), Figures::default()];
    for _ in 0..ROUNDS {
        for (server, figures) in servers.iter_mut().zip(&mut figures) {
            let mut client = Client::connect(server.port).map_err(|error| error.to_string())?;
            figures.save_s.push(seconds(|| background_save(&mut client))?);
            figures.fork_us.push(client.info("latest_fork_usec")?);
            for _ in 0..PROBED_SAVES {
                probe_while_saving(server.port, &mut client, &mut figures.waits)?;
            }
            figures.sync_s.push(full_sync(server, binary)?);
        }
        for (server, figures) in servers.iter_mut().zip(&mut figures) {
            Client::connect(server.port).map_err(|error| error.to_string())?.expect("+OK", &["SAVE"])?;
            figures.file_bytes = server.file_bytes("dump.rdb");
            figures.load_s.push(seconds(|| server.restart(binary))?);
        }
    }
    let [ours, theirs] = figures;
    Ok(rows(size, ours, theirs))
}

fn rows(size: Size, ours: Figures, theirs: Figures) -> Vec<Row> {
    let what = format!("{:.1} M keys of all types", size.persisted as f64 / 1e6);
    let against = |name: &str, unit, ours, theirs, ratio| {
        Row::against(format!("{name}, {what}"), unit, median(ours), median(theirs), ratio)
    };
    let slowest = format!("p99.9 of SET during BGSAVE, {what}");
    let (our_slowest, their_slowest) =
        (slowest_thousandth_us(ours.waits), slowest_thousandth_us(theirs.waits));
    vec![
        against("BGSAVE", "s", ours.save_s, theirs.save_s, RATIO),
        against("loading a snapshot", "s", ours.load_s, theirs.load_s, RATIO),
        against("full synchronisation", "s", ours.sync_s, theirs.sync_s, RATIO),
        Row::against(slowest, "µs", our_slowest, their_slowest, 1.0),
        Row::shown("the fork".to_owned(), "µs", median(ours.fork_us), median(theirs.fork_us)),
        Row::shown("the file".to_owned(), "MB", ours.file_bytes / 1e6, theirs.file_bytes / 1e6),
    ]
}

fn seconds(action: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let began = Instant::now();
    action()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Waits until a field of INFO is what it is to be.
pub fn wait_for(client: &mut Client, section: &str, field: &str, value: &str) -> Outcome<()> {
    let began = Instant::now();
    loop {
        if client.info_text(section, field)? == value {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            return Err(format!("{field} does not become {value}"));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn background_save(client: &mut Client) -> Outcome<()> {
    client.expect("+Background saving started", &["BGSAVE"])?;
    wait_for(client, "persistence", "rdb_bgsave_in_progress", "0")
}

/// The 99.9th percentile, in microseconds.
fn slowest_thousandth_us(mut waits: Vec<Duration>) -> f64 {
    waits.sort();
    let at = waits.len() * 999 / 1000;
    waits.get(at).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e6)
}

/// What each SET waits while a snapshot is written.
fn probe_while_saving(port: u16, client: &mut Client, waits: &mut Vec<Duration>) -> Outcome<()> {
    let mut prober = Client::connect(port).map_err(|error| error.to_string())?;
    client.expect("+Background saving started", &["BGSAVE"])?;
    for number in 0u64.. {
        // The keys are spread over all the memory.
        let key = format!("string:{:09}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 15_000 * 20 + 3);
        let began = Instant::now();
        prober.expect("+OK", &["SET", &key, "value:0123456789"])?;
        waits.push(began.elapsed());
        std::thread::sleep(PROBE_INTERVAL);
        let is_time_to_look = number % 64 == 63;
        if is_time_to_look && client.info_text("persistence", "rdb_bgsave_in_progress")? == "0" {
            break;
        }
    }
    Ok(())
}

/// How long a new replica of the same kind takes until it has everything, in seconds.
fn full_sync(primary: &Server, binary: &str) -> Outcome<f64> {
    // The replica has the other core to itself: nothing else is asked of it.
    let replica = Server::start_on(primary.kind, binary, Core::Load)?;
    let mut client = Client::connect(replica.port).map_err(|error| error.to_string())?;
    seconds(|| {
        client.expect("+OK", &["REPLICAOF", "127.0.0.1", &primary.port.to_string()])?;
        wait_for(&mut client, "replication", "master_link_status", "up")
    })
}

/// So many keys: half of them strings, the rest small collections of all types; and a few large ones.
pub fn fill(port: u16, keys: u64) -> std::io::Result<()> {
    load(port, 0..keys, small)?;
    let steps = LARGE_ELEMENTS / LARGE_STEP;
    load(port, 0..5 * LARGE_KEYS * steps, |number| large(number / steps, number % steps))
}

fn small(number: u64) -> Vec<String> {
    let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let mut words = Vec::with_capacity(16);
    let mut start =
        |command: &str, name: &str| words.extend([command.to_owned(), format!("{name}:{number:09}")]);
    match number % 20 {
        0..2 => {
            start("SET", "number");
            words.push(noise.to_string());
        }
        kind @ 2..10 => {
            start("SET", "string");
            words.push(format!("{noise:x}-").repeat(7));
            if kind == 2 {
                words.extend(["EX".to_owned(), "1000000".to_owned()]);
            }
        }
        10..13 => {
            start("HSET", "hash");
            for field in 0..5 {
                words.extend([format!("field{field}"), format!("value:{}", noise + field)]);
            }
        }
        13..15 => {
            start("RPUSH", "list");
            words.extend((0..8).map(|element| format!("element:{:08}", noise % 1000 + element)));
        }
        15..17 => {
            start("SADD", "set");
            let members = (0..6).map(|member| noise % 10_000 + member * 7);
            words.extend(members.map(|member| match number % 2 {
                0 => member.to_string(),
                _ => format!("member:{member}"),
            }));
        }
        17..19 => {
            start("ZADD", "scores");
            for member in 0..6 {
                words.extend([(noise % 1000 + member).to_string(), format!("member:{member}")]);
            }
        }
        _ => {
            start("XADD", "stream");
            words.extend(["*", "field", "value", "number"].map(str::to_owned));
            words.push(noise.to_string());
        }
    }
    words
}

fn large(key: u64, step: u64) -> Vec<String> {
    let elements = step * LARGE_STEP..(step + 1) * LARGE_STEP;
    let (command, name) = match key % 5 {
        0 => ("HSET", "hash"),
        1 => ("RPUSH", "list"),
        2 => ("SADD", "set"),
        3 => ("ZADD", "scores"),
        _ => {
            return ["XADD", &format!("large:stream:{key}"), "*", "field", &step.to_string()]
                .map(str::to_owned)
                .into();
        }
    };
    let mut words = vec![command.to_owned(), format!("large:{name}:{key}")];
    for element in elements {
        match key % 5 {
            0 => words.extend([format!("field:{element}"), format!("value:{element:012}")]),
            3 => words.extend([(element * 7919 % 100_000).to_string(), format!("member:{element}")]),
            _ => words.push(format!("element:{element:012}")),
        }
    }
    words
}
