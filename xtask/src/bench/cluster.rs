//! Slots on the move: three primaries with 300,000 keys of 64 bytes, of whose slots 2000 go from one to another by the manager
//! of the same kind as the servers: ours, or `redis-cli`. Once alone, and once while a client writes to these slots all the
//! time.

use super::Size;
use super::loader::{Client, load};
use super::median;
use super::report::Row;
use super::server::{Core, Kind, Server};
use crate::{Outcome, process};
use shoal_probe::eventually;
use shoal_protocol::slot::{SLOT_COUNT, key_slot};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Keys of all three.
const KEYS: u64 = 300_000;
/// Bytes of each value.
const VALUE_BYTES: usize = 64;
/// The last slot of each node, as managers deal them out.
const LAST_SLOTS: [u16; 3] = [5460, 10922, SLOT_COUNT - 1];
/// Slots that move.
const SLOTS: u16 = 2000;
/// How long that may take, in seconds.
const MOVE_LIMIT_S: f64 = 0.6;
/// Writes a second while they move.
const WRITES_PER_SECOND: u32 = 2000;
/// Writes that still count when the slots have moved.
const WRITES_AFTER: u64 = 400;
/// How long one of them may take, in milliseconds.
const WRITE_LIMIT_MS: f64 = 50.0;
/// How long the nodes may take to find each other.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// What a writer has met with.
struct Written {
    count: u64,
    slowest_ms: f64,
    /// Answers other than OK and MOVED.
    others: u64,
}

struct Nodes {
    servers: Vec<Server>,
    ids: Vec<String>,
    manager: Vec<String>,
}

/// The time without load and the rows with load.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let mut figures = Vec::new();
    for kind in [Kind::Shoal, Kind::Redis] {
        let nodes = Nodes::start(kind, binary)?;
        nodes.fill()?;
        // There and back again, so that every round moves the same.
        let mut seconds = Vec::new();
        for _ in 0..size.rounds.min(3) {
            seconds.push(nodes.move_slots(0)?);
            seconds.push(nodes.move_slots(1)?);
        }
        let (loaded_s, written) = nodes.move_under_load()?;
        figures.push((median(seconds), loaded_s, written));
    }
    let [(our_s, our_loaded_s, ours), (their_s, their_loaded_s, theirs)] = figures.as_slice() else {
        return Err("a kind of server is missing".to_owned());
    };
    let keys = KEYS / 1000 * u64::from(SLOTS) / u64::from(SLOT_COUNT);
    let name = |what: &str| format!("moving {SLOTS} slots with {keys},000 keys{what}");
    let rate = format!(", {WRITES_PER_SECOND} writes/s to them");
    Ok(vec![
        Row::below(name(""), "s", *our_s, *their_s, MOVE_LIMIT_S),
        Row::shown(name(&rate), "s", *our_loaded_s, *their_loaded_s),
        Row::below(
            "the slowest of the writes".to_owned(),
            "ms",
            ours.slowest_ms,
            theirs.slowest_ms,
            WRITE_LIMIT_MS,
        ),
        Row::below(
            "answers to them but OK and MOVED".to_owned(),
            "",
            ours.others as f64,
            theirs.others as f64,
            0.0,
        ),
        Row::shown("the writes".to_owned(), "", ours.count as f64, theirs.count as f64),
    ])
}

impl Nodes {
    fn start(kind: Kind, binary: &str) -> Outcome<Self> {
        let nodes = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
        let start = |_| Server::start_with(kind, binary, Core::Any, &nodes);
        let servers = (0..3).map(start).collect::<Outcome<Vec<_>>>()?;
        let manager = match kind {
            Kind::Shoal => vec![binary.to_owned(), "cli".to_owned()],
            Kind::Redis => vec!["redis-cli".to_owned()],
        };
        let mut cluster = Self { servers, ids: Vec::new(), manager };
        let addresses: Vec<String> = cluster.servers.iter().map(address).collect();
        let mut words = vec!["create"];
        words.extend(addresses.iter().map(String::as_str));
        cluster.manage(&[words, vec!["--cluster-yes"]].concat())?;
        for server in &cluster.servers {
            let mut client = connect(server.port)?;
            eventually("the nodes form a cluster", READY_LIMIT, || {
                let info = text(&mut client, &["CLUSTER", "INFO"]).ok()?;
                info.contains("cluster_state:ok").then_some(())
            })?;
            cluster.ids.push(text(&mut client, &["CLUSTER", "MYID"])?);
        }
        Ok(cluster)
    }

    fn manage(&self, words: &[&str]) -> Outcome<()> {
        let mut command = Command::new(&self.manager[0]);
        command.args(&self.manager[1..]).arg("--cluster").args(words);
        process::output(&mut command).map(|_| ())
    }

    /// Every node gets the keys of its third of the slots.
    fn fill(&self) -> Outcome<()> {
        for (index, server) in self.servers.iter().enumerate() {
            let keys: Vec<String> = (0..KEYS).map(|number| format!("key:{number:012}")).collect();
            let owner = |key: &str| LAST_SLOTS.partition_point(|&last| last < key_slot(key.as_bytes()));
            let own: Vec<&String> = keys.iter().filter(|key| owner(key) == index).collect();
            let value = "x".repeat(VALUE_BYTES);
            let request = |number: u64| {
                let key = own.get(number as usize).map_or("", |key| key.as_str());
                ["SET".to_owned(), key.to_owned(), value.clone()].to_vec()
            };
            load(server.port, 0..own.len() as u64, request).map_err(|error| format!("filling: {error}"))?;
        }
        Ok(())
    }

    /// Moves the slots from the first node to the second, or back. Returns how many seconds the manager took.
    fn move_slots(&self, from: usize) -> Outcome<f64> {
        let (source, target) = (&self.ids[from], &self.ids[1 - from]);
        let count = SLOTS.to_string();
        let first = address(&self.servers[0]);
        let began = Instant::now();
        self.manage(&[
            "reshard",
            &first,
            "--cluster-from",
            source,
            "--cluster-to",
            target,
            "--cluster-slots",
            &count,
            "--cluster-yes",
        ])?;
        Ok(began.elapsed().as_secs_f64())
    }

    fn move_under_load(&self) -> Outcome<(f64, Written)> {
        let (is_done, count) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| self.write(&is_done, &count));
            let seconds = self.move_slots(0);
            // What happens right after the move belongs to it.
            let target = count.load(Ordering::Relaxed) + WRITES_AFTER;
            let went_on = eventually("writes after the move", READY_LIMIT, || {
                (writer.is_finished() || count.load(Ordering::Relaxed) >= target).then_some(())
            });
            is_done.store(true, Ordering::Relaxed);
            went_on?;
            let written = writer.join().map_err(|_| "the writer failed".to_owned())??;
            Ok((seconds?, written))
        })
    }

    /// Writes to the slots that move, as a client of clusters does: it follows MOVED, and ASK.
    fn write(&self, is_done: &AtomicBool, count: &AtomicU64) -> Outcome<Written> {
        let mut clients =
            self.servers.iter().map(|server| connect(server.port)).collect::<Outcome<Vec<_>>>()?;
        let keys: Vec<String> = (0..KEYS)
            .map(|number| format!("live:{number}"))
            .filter(|key| key_slot(key.as_bytes()) < SLOTS)
            .collect();
        let mut written = Written { count: 0, slowest_ms: 0.0, others: 0 };
        let mut owners = vec![0_usize; usize::from(SLOTS)];
        let began = Instant::now();
        for key in keys.iter().cycle() {
            if is_done.load(Ordering::Relaxed) {
                break;
            }
            let sent = Instant::now();
            let owner = &mut owners[usize::from(key_slot(key.as_bytes()))];
            let mut asked = None;
            loop {
                let at = asked.take().unwrap_or(*owner);
                if at != *owner {
                    clients[at].expect("+OK", &["ASKING"])?;
                }
                let reply = clients[at].ask(&["SET", key, "value"]).map_err(|error| error.to_string())?;
                let Some(error) = reply.as_error() else { break };
                let place = error.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
                let found = self.servers.iter().position(|server| Some(server.port) == place);
                match (error.split(' ').next(), found) {
                    (Some("MOVED"), Some(index)) => *owner = index,
                    (Some("ASK"), Some(index)) => {
                        written.others += 1;
                        asked = Some(index);
                    }
                    _ => written.others += 1,
                }
            }
            written.slowest_ms = written.slowest_ms.max(sent.elapsed().as_secs_f64() * 1000.0);
            written.count += 1;
            count.store(written.count, Ordering::Relaxed);
            let due = Duration::from_secs(1) * written.count as u32 / WRITES_PER_SECOND;
            if let Some(rest) = due.checked_sub(began.elapsed()) {
                std::thread::sleep(rest);
            }
        }
        Ok(written)
    }
}

fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port)
}

fn connect(port: u16) -> Outcome<Client> {
    Client::connect(port).map_err(|error| error.to_string())
}

fn text(client: &mut Client, words: &[&str]) -> Outcome<String> {
    let reply = client.ask(words).map_err(|error| format!("{words:?}: {error}"))?;
    Ok(reply.as_text().unwrap_or_default().into_owned())
}
