//! Shoal and a real server side by side, and what they have been told.

use super::compare::{UNEQUAL_DATA, Verdict, compare, is_named};
use super::generate::{Choice, Operation, WAITER, all_keys};
use super::peer::{Answer, CLIENTS, LIMIT, Peer};
use super::shown::{short, shown};
use super::waiter::Waiter;
use crate::Outcome;
use shoal_protocol::value::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The connection that hears of events.
const LISTENER: usize = 3;
/// The connection of our own questions.
const CONTROL: usize = 4;
/// Databases that commands select besides the first.
const DATABASES: &[&str] = &["1", "2", "15"];
/// Words that make a server a node of a cluster.
const CLUSTER: &[&str] = &["--cluster-enabled", "yes"];

/// Longer than the shortest time to live, one millisecond, on both servers.
const EXPIRY_PAUSE: Duration = Duration::from_millis(4);
/// Directives that commands may have changed, and what they are set to at the start of every sequence.
const SETTINGS: &[(&str, &str)] = &[
    ("list-max-listpack-size", "-2"),
    ("list-compress-depth", "0"),
    ("hash-max-listpack-entries", "128"),
    ("hash-max-listpack-value", "64"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("set-max-intset-entries", "512"),
    ("stream-node-max-entries", "100"),
    ("stream-node-max-bytes", "4096"),
    ("hll-sparse-max-bytes", "3000"),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", "KEA"),
    ("slowlog-max-len", "128"),
    ("hz", "10"),
    ("lazyfree-lazy-user-del", "no"),
    ("lfu-log-factor", "10"),
    ("tcp-keepalive", "300"),
    ("maxmemory-samples", "5"),
    ("proto-max-bulk-len", "512mb"),
    ("lua-time-limit", "5000"),
];

/// Why a sequence does not go on.
pub enum Problem {
    /// The two servers differ.
    Different(String),
    /// Something else went wrong.
    Broken(String),
}

/// The two servers.
pub struct Pair {
    /// Ours and theirs.
    peers: [Peer; 2],
    tag: &'static str,
    /// Commands queued on each connection since MULTI.
    queued: [Option<Vec<Vec<Vec<u8>>>>; CLIENTS],
    /// Connections that watch keys.
    watching: [bool; CLIENTS],
    waiter: Waiter,
    /// Replies that were errors, on both sides.
    pub errors: u64,
    /// Whether events are compared. Then keys that end are deleted at once, on both sides: when they are met otherwise,
    /// and whether as expired, is each server's own affair.
    pub hears_events: bool,
    /// How often each rule was needed.
    accepted: BTreeMap<&'static str, u64>,
    /// Events that were equal.
    events: u64,
}

impl Pair {
    /// Starts both; as clusters of one node, if that is the choice.
    pub fn start(binary: &str, choice: &Choice) -> Outcome<Self> {
        let cluster = if choice.is_cluster { CLUSTER } else { &[] };
        // What leaves the node shall be as the other one writes it, and small sets as 7.0 keeps them.
        let ours = [binary, "server", "--rdb-version-compat", "10", "--set-max-listpack-entries", "0"];
        let ours = Peer::start("shoal", &[&ours[..], cluster].concat())?;
        let theirs = Peer::start("redis", &[&["redis-server"][..], cluster].concat())?;
        let mut pair = Self {
            peers: [ours, theirs],
            tag: choice.tag(),
            queued: Default::default(),
            watching: Default::default(),
            waiter: Waiter::default(),
            errors: 0,
            hears_events: true,
            accepted: BTreeMap::new(),
            events: 0,
        };
        if choice.is_cluster {
            pair.form_clusters()?;
        }
        pair.reset().map_err(|problem| problem.to_string())?;
        Ok(pair)
    }

    /// Empties both and connects anew.
    pub fn reset(&mut self) -> Result<(), Problem> {
        self.connect()?;
        let mut commands = vec![vec!["FLUSHALL"], vec!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]];
        commands.extend(SETTINGS.iter().map(|&(name, value)| vec!["CONFIG", "SET", name, value]));
        for command in commands {
            for peer in &mut self.peers {
                let answer = peer.call(0, &words(&command));
                if answer != Answer::Value(Value::Simple(b"OK".to_vec())) {
                    return Err(Problem::Broken(format!("{}: {answer:?}", command.join(" "))));
                }
            }
        }
        self.hear_events();
        Ok(())
    }

    /// Runs a command on both. Gives the payloads if it was a DUMP.
    pub fn run(&mut self, operation: &Operation) -> Result<Vec<Vec<u8>>, Problem> {
        let Operation { client, words } = operation;
        let creates_consumers =
            ["xreadgroup", "xclaim", "xautoclaim"].iter().any(|name| is_named(words, name));
        if creates_consumers {
            self.create_consumers(*client, words);
        }
        if *client == WAITER {
            self.waiter.begin(&mut self.peers, operation)?;
            return Ok(Vec::new());
        }
        if self.is_left_out(*client, words, creates_consumers) {
            return Ok(Vec::new());
        }
        if is_named(words, "randomkey") && !self.delete_expired(*client) {
            return Ok(Vec::new());
        }
        let sent = self.peers.each_mut().map(|peer| peer.send(*client, words));
        let [ours, theirs] = &mut self.peers;
        let answer = |peer: &mut Peer, sent| if sent { peer.answer(*client, LIMIT) } else { Answer::Closed };
        let (ours, theirs) = (answer(ours, sent[0]), answer(theirs, sent[1]));
        let queued = match self.queued.get_mut(*client) {
            Some(queued) => follow(queued, words, &theirs),
            None => Vec::new(),
        };
        if let Some(watching) = self.watching.get_mut(*client) {
            let ends = ["exec", "discard", "unwatch", "reset"].iter().any(|name| is_named(words, name));
            *watching = is_named(words, "watch") || *watching && !ends;
        }
        match compare(words, &queued, &ours, &theirs) {
            Verdict::Equal => {}
            Verdict::Accepted(rule) => {
                *self.accepted.entry(rule).or_default() += 1;
                if is_named(words, "spop") {
                    self.make_equal(*client, words, &ours, &theirs);
                }
                if UNEQUAL_DATA.contains(&rule) {
                    self.delete_unequal(*client, words, &queued);
                }
            }
            Verdict::Different => {
                let text =
                    format!("{}\n  shoal: {}\n  redis: {}", shown(operation), short(&ours), short(&theirs));
                return Err(Problem::Different(text));
            }
        }
        if theirs == Answer::Closed || is_named(words, "quit") {
            self.compare_events()?;
            self.connect()?;
            self.hear_events();
        }
        self.waiter.after_command(&mut self.peers)?;
        if has_shortest_expiry(words) {
            std::thread::sleep(EXPIRY_PAUSE);
            if self.hears_events {
                self.delete_what_ended();
            }
        }
        self.errors += u64::from(matches!(&theirs, Answer::Value(value) if value.is_error()));
        let payload = |answer| match answer {
            Answer::Value(Value::Bulk(payload)) if is_named(words, "dump") => Some(payload),
            _ => None,
        };
        Ok([payload(ours), payload(theirs)].into_iter().flatten().collect())
    }

    /// Whether the two would differ after a command, in a way that is known and cannot be made up for.
    fn is_left_out(&self, client: usize, words: &[Vec<u8>], creates_consumers: bool) -> bool {
        let is_queued = self.queued.get(client).is_some_and(Option::is_some);
        // Once queued, what it will take away or create cannot be made up for.
        if (is_named(words, "spop") || creates_consumers) && is_queued {
            return true;
        }
        if self.hears_events && grows_in_silence(words) {
            return true;
        }
        // Redis does not tell those who watch the key, Shoal does.
        let is_destroy = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"destroy"));
        is_destroy && (is_queued || self.watching.contains(&true))
    }

    /// Compares all data, the encodings of all keys, and the events since the last time. Sometimes both load their data
    /// anew before.
    pub fn compare_all(&mut self, with_reload: bool) -> Result<(), Problem> {
        self.waiter.call_back(&mut self.peers)?;
        self.compare_events()?;
        if with_reload {
            self.own_command(&["DEBUG", "RELOAD"])?;
        }
        // A key that ended while RESTORE was at work is not there in the one, and not looked at yet in the other.
        self.delete_what_ended();
        if let Err(Problem::Different(text)) = self.own_command(&["DEBUG", "DIGEST"]) {
            let keys = self.different_keys();
            return Err(Problem::Different(format!("the data differs: {text}{keys}")));
        }
        for key in all_keys(self.tag) {
            self.own_words(&[b"OBJECT".to_vec(), b"ENCODING".to_vec(), key])?;
        }
        // Loading makes events of its own kind, and those of the checks are of no interest.
        self.skip_events();
        Ok(())
    }

    /// How often rules were needed, as text.
    pub fn accepted(&self) -> String {
        let counts: Vec<String> =
            self.accepted.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        format!("{} equal events; accepted differences: {}", self.events, counts.join(", "))
    }

    /// What our server logged, if it died.
    pub fn log_of_a_crash(&mut self) -> String {
        let [ours, _] = &mut self.peers;
        if ours.is_dead() { format!("\n\nshoal died:\n{}", ours.log()) } else { String::new() }
    }

    /// RANDOMKEY deletes the expired keys it meets, which are others on each server: here all of them are met first. In a
    /// transaction that cannot be done, and RANDOMKEY is left out.
    fn delete_expired(&mut self, client: usize) -> bool {
        let can = self.queued.get(client).is_some_and(Option::is_none);
        if can {
            let words: Vec<Vec<u8>> = std::iter::once(b"EXISTS".to_vec()).chain(all_keys(self.tag)).collect();
            for peer in &mut self.peers {
                peer.call(client, &words);
            }
        }
        can
    }

    /// Meets all keys, also those in other databases.
    fn delete_what_ended(&mut self) {
        let words: Vec<Vec<u8>> = std::iter::once(b"EXISTS".to_vec()).chain(all_keys(self.tag)).collect();
        let databases = if self.tag.is_empty() { DATABASES } else { &[] };
        for peer in &mut self.peers {
            for database in databases {
                peer.call(CONTROL, &[b"SELECT".to_vec(), database.as_bytes().to_vec()]);
                peer.call(CONTROL, &words);
            }
            peer.call(CONTROL, &[b"SELECT".to_vec(), b"0".to_vec()]);
            peer.call(CONTROL, &words);
        }
    }

    /// After SPOP took different members: ours gets back what only it lost, and loses what only the other lost. Nobody
    /// hears of it.
    fn make_equal(&mut self, client: usize, words: &[Vec<u8>], ours: &Answer, theirs: &Answer) {
        let Some(key) = words.get(1) else { return };
        let (ours, theirs) = (members(ours), members(theirs));
        let only = |one: &[Vec<u8>], other: &[Vec<u8>]| {
            one.iter().filter(|member| !other.contains(member)).cloned().collect::<Vec<_>>()
        };
        let [peer, _] = &mut self.peers;
        let events = match peer.call(CONTROL, &self::words(&["CONFIG", "GET", "notify-keyspace-events"])) {
            Answer::Value(Value::Array(pair)) => {
                pair.last().and_then(Value::as_bytes).unwrap_or_default().to_vec()
            }
            _ => Vec::new(),
        };
        let notify =
            |events: &[u8]| [&b"CONFIG"[..], b"SET", b"notify-keyspace-events", events].map(<[u8]>::to_vec);
        peer.call(CONTROL, &notify(b""));
        for (name, members) in [("SADD", only(&ours, &theirs)), ("SREM", only(&theirs, &ours))] {
            if !members.is_empty() {
                let words: Vec<Vec<u8>> =
                    [name.as_bytes().to_vec(), key.clone()].into_iter().chain(members).collect();
                peer.call(client, &words);
            }
        }
        peer.call(CONTROL, &notify(&events));
    }

    /// 7.2 creates the consumer that a command names in any case, 7.0 only if there is something for it: here it is there
    /// before.
    fn create_consumers(&mut self, client: usize, words: &[Vec<u8>]) {
        if self.queued.get(client).is_some_and(Option::is_some) {
            return;
        }
        // The connection that may wait is in the first database, as ours is.
        let client = if client == WAITER { CONTROL } else { client };
        let (keys, group, consumer) = match words {
            [_, key, group, consumer, ..] if !is_named(words, "xreadgroup") => {
                (std::slice::from_ref(key), group, consumer)
            }
            [_, _, group, consumer, ..] => {
                let streams = words.iter().position(|word| word.eq_ignore_ascii_case(b"streams"));
                let first = streams.map_or(words.len(), |at| at + 1);
                (words.get(first..).unwrap_or_default(), group, consumer)
            }
            _ => return,
        };
        for key in keys {
            let words = [
                b"XGROUP".to_vec(),
                b"CREATECONSUMER".to_vec(),
                key.clone(),
                group.clone(),
                consumer.clone(),
            ];
            for peer in &mut self.peers {
                peer.call(client, &words);
            }
        }
    }

    /// After one server did what the other refused, neither keeps the keys, and what was heard so far is dropped.
    fn delete_unequal(&mut self, client: usize, words: &[Vec<u8>], queued: &[Vec<Vec<u8>>]) {
        for words in queued.iter().map(Vec::as_slice).chain([words]) {
            let is_concerned = words.first().is_some_and(|name| {
                let name = name.to_ascii_lowercase();
                name.starts_with(b"pf") || name == b"xsetid" || name == b"sort"
            });
            // One by one: in a cluster words that are no keys are in slots of their own.
            for word in words.iter().skip(1).filter(|_| is_concerned) {
                for peer in &mut self.peers {
                    peer.call(client, &[b"DEL".to_vec(), word.clone()]);
                }
            }
        }
        self.skip_events();
    }

    /// The same command of our own on both, with equal answers.
    fn own_command(&mut self, command: &[&str]) -> Result<(), Problem> {
        self.own_words(&words(command))
    }

    fn own_words(&mut self, words: &[Vec<u8>]) -> Result<(), Problem> {
        let [ours, theirs] = self.peers.each_mut().map(|peer| peer.call(CONTROL, words));
        match compare(words, &[], &ours, &theirs) {
            Verdict::Different => {
                let operation = Operation { client: CONTROL, words: words.to_vec() };
                let text =
                    format!("{}\n  shoal: {}\n  redis: {}", shown(&operation), short(&ours), short(&theirs));
                Err(Problem::Different(text))
            }
            _ => Ok(()),
        }
    }

    /// The keys of the first database whose values differ.
    fn different_keys(&mut self) -> String {
        let mut text = String::new();
        for key in all_keys(self.tag) {
            let words = [b"DEBUG".to_vec(), b"DIGEST-VALUE".to_vec(), key.clone()];
            let answers = self.peers.each_mut().map(|peer| peer.call(CONTROL, &words));
            let times = [b"PEXPIRETIME".to_vec(), key.clone()];
            let times = self.peers.each_mut().map(|peer| peer.call(CONTROL, &times));
            if answers[0] != answers[1] || times[0] != times[1] {
                let [ours, theirs] = &times;
                let key = key.escape_ascii();
                text.push_str(&format!("\n  key {key}, ends at {} and {}", short(ours), short(theirs)));
            }
        }
        text
    }

    /// Subscribes to everything.
    fn hear_events(&mut self) {
        for peer in &mut self.peers {
            peer.call(LISTENER, &words(&["PSUBSCRIBE", "*"]));
        }
    }

    /// Compares what was published since the last time.
    fn compare_events(&mut self) -> Result<(), Problem> {
        let [ours, theirs] = self.peers.each_mut().map(|peer| with_sorted_expiries(peer.messages(LISTENER)));
        if !self.hears_events {
            return Ok(());
        }
        let equal = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
        self.events += equal as u64;
        if ours.len() == equal && theirs.len() == equal {
            return Ok(());
        }
        let shown = |messages: &[Value]| match messages.get(equal) {
            Some(message) => short(&Answer::Value(message.clone())),
            None => "(none)".to_owned(),
        };
        let text = format!(
            "events differ after {equal} equal ones\n  shoal: {}\n  redis: {}",
            shown(&ours),
            shown(&theirs)
        );
        Err(Problem::Different(text))
    }

    fn skip_events(&mut self) {
        for peer in &mut self.peers {
            peer.messages(LISTENER);
        }
    }

    /// Gives all slots to each node, and waits until it serves them.
    fn form_clusters(&mut self) -> Outcome<()> {
        for peer in &mut self.peers {
            peer.call(CONTROL, &words(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]));
            let began = Instant::now();
            loop {
                let answer = peer.call(CONTROL, &words(&["CLUSTER", "INFO"]));
                if let Answer::Value(Value::Bulk(text)) | Answer::Value(Value::Verbatim { text, .. }) =
                    &answer
                    && String::from_utf8_lossy(text).contains("cluster_state:ok")
                {
                    break;
                }
                if began.elapsed() > LIMIT {
                    return Err(format!("a cluster of one node does not form: {}", short(&answer)));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Problem> {
        self.queued = Default::default();
        self.watching = Default::default();
        self.waiter.forget();
        self.peers.iter_mut().try_for_each(Peer::connect).map_err(Problem::Broken)
    }
}

/// Keys that end at the same time are found in the order of a hash table: events about them stand together, sorted.
fn with_sorted_expiries(mut messages: Vec<Value>) -> Vec<Value> {
    let is_expiry = |message: &Value| {
        let parts = message.as_elements().unwrap_or_default();
        parts.iter().any(|part| part.as_bytes().is_some_and(|text| text.ends_with(b"expired")))
    };
    for run in messages.chunk_by_mut(|one, next| is_expiry(one) && is_expiry(next)) {
        run.sort_by_cached_key(|message| format!("{message:?}"));
    }
    messages
}

/// BITFIELD may make its string longer and then find that nothing it was to write fits: Redis tells nobody, Shoal does.
fn grows_in_silence(words: &[Vec<u8>]) -> bool {
    is_named(words, "bitfield") && words.iter().any(|word| word.eq_ignore_ascii_case(b"fail"))
}

fn words(command: &[&str]) -> Vec<Vec<u8>> {
    command.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// The members in an answer to SPOP.
fn members(answer: &Answer) -> Vec<Vec<u8>> {
    match answer {
        Answer::Value(Value::Array(all) | Value::Set(all)) => {
            all.iter().filter_map(|value| value.as_bytes().map(<[u8]>::to_vec)).collect()
        }
        Answer::Value(Value::Bulk(member)) => vec![member.clone()],
        _ => Vec::new(),
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Different(text) | Self::Broken(text) => formatter.write_str(text),
        }
    }
}

/// Keeps what is queued on a connection; gives the queue that this command has ended.
fn follow(queued: &mut Option<Vec<Vec<Vec<u8>>>>, words: &[Vec<u8>], answer: &Answer) -> Vec<Vec<Vec<u8>>> {
    let is_status = |text: &[u8]| matches!(answer, Answer::Value(Value::Simple(status)) if status == text);
    if is_status(b"QUEUED") {
        queued.get_or_insert_default().push(words.to_vec());
    } else if is_named(words, "multi") && is_status(b"OK") {
        *queued = Some(Vec::new());
    } else if ["exec", "discard", "reset"].iter().any(|name| is_named(words, name)) && words.len() == 1 {
        return queued.take().unwrap_or_default();
    }
    Vec::new()
}

/// Whether a key may end after the shortest time: a millisecond, which must have passed on both sides before the next
/// command.
fn has_shortest_expiry(words: &[Vec<u8>]) -> bool {
    let sets_expiry =
        ["psetex", "pexpire", "set", "getex", "restore", "exec"].iter().any(|name| is_named(words, name));
    sets_expiry && (is_named(words, "exec") || words.iter().any(|word| word == b"1"))
}
