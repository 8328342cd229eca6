//! What the keys of one client must hold, worked out from its commands, and what a server says they hold.

use shoal_machine::Rng;
use shoal_probe::Client;
use shoal_protocol::value::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

/// Keys of each kind that a client has.
const KEYS_PER_KIND: u64 = 3;
/// The kinds: texts, numbers, lists, sets, hashes, sorted sets, streams.
const KINDS: [char; 7] = ['t', 'n', 'l', 's', 'h', 'z', 'x'];
/// Shorter than a sector, so that a lost sector never lies inside one value, where nothing would tell.
const VALUE_MAX_BYTES: u64 = 300;
/// Expiries lie so far in the future, in milliseconds since 1970, that none is reached.
const EXPIRIES_FROM_MS: u64 = 4_000_000_000_000;
/// The group of each stream, and its consumers.
const GROUP: &str = "group";

/// A command, word by word.
pub type Words = Vec<String>;

/// What takes effect together: a command, or a transaction.
#[derive(Clone, Debug)]
pub struct Step(pub Vec<Words>);

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Text(String),
    List(VecDeque<String>),
    Set(BTreeSet<String>),
    Hash(BTreeMap<String, String>),
    Sorted(BTreeMap<String, i64>),
    Stream(Stream),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Stream {
    entries: BTreeMap<u64, String>,
    has_group: bool,
    last_delivered: u64,
    pending: BTreeMap<u64, String>,
}

/// The keys of a client.
#[derive(Clone, Debug, Default)]
pub struct Model {
    client: usize,
    items: BTreeMap<String, Item>,
    expiries: BTreeMap<String, u64>,
    next_id: u64,
}

impl Model {
    /// No keys.
    pub fn new(client: usize) -> Self {
        Self { client, ..Self::default() }
    }

    /// The same client without keys; new values differ from all before.
    pub fn clone_empty(&self) -> Self {
        Self { client: self.client, next_id: self.next_id, ..Self::default() }
    }

    /// The names of all keys that there may be.
    fn names(&self) -> impl Iterator<Item = String> + use<> {
        let client = self.client;
        KINDS
            .iter()
            .flat_map(move |kind| (0..KEYS_PER_KIND).map(move |number| format!("c{client}:{kind}{number}")))
    }

    /// What the client does next.
    pub fn next_step(&mut self, rng: &mut Rng) -> Step {
        if rng.chance(1, 8) {
            // Each command of a transaction is chosen for the state that those before it leave.
            let mut ahead = self.clone();
            let count = 2 + rng.below(3);
            let commands = (0..count).map(|_| {
                let words = ahead.next_command(rng);
                ahead.apply_command(&words);
                words
            });
            let step = Step(commands.collect());
            self.next_id = ahead.next_id;
            return step;
        }
        Step(vec![self.next_command(rng)])
    }

    fn next_command(&mut self, rng: &mut Rng) -> Words {
        let kind = KINDS[rng.index(KINDS.len())];
        let key = format!("c{}:{kind}{}", self.client, rng.below(KEYS_PER_KIND));
        self.next_id += 1;
        let filler = "x".repeat(rng.below(VALUE_MAX_BYTES) as usize);
        let value = format!("{}{filler}", self.next_id);
        let some = format!("m{}", rng.below(40));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match rng.below(40) {
            0 => return words(&["DEL", &key]),
            1 => {
                let at_ms = (EXPIRIES_FROM_MS + self.next_id).to_string();
                return words(&["PEXPIREAT", &key, &at_ms]);
            }
            2 => return words(&["PERSIST", &key]),
            _ => {}
        }
        let is_other = rng.chance(1, 3);
        let id = format!("{}-0", self.next_id);
        match kind {
            't' if is_other => words(&["APPEND", &key, &some]),
            't' => words(&["SET", &key, &value]),
            'n' => words(&["INCRBY", &key, &rng.below(100).to_string()]),
            'l' if is_other => words(&[if rng.chance(1, 2) { "LPOP" } else { "RPOP" }, &key]),
            'l' => words(&[if rng.chance(1, 2) { "LPUSH" } else { "RPUSH" }, &key, &value]),
            's' if is_other => words(&["SREM", &key, &some]),
            's' => words(&["SADD", &key, &some, &format!("m{}", rng.below(40))]),
            'h' if is_other => words(&["HDEL", &key, &some]),
            'h' => words(&["HSET", &key, &some, &value]),
            'z' if is_other => words(&["ZREM", &key, &some]),
            'z' => words(&["ZINCRBY", &key, &rng.below(50).to_string(), &some]),
            _ => match rng.below(6) {
                0 => words(&["XGROUP", "CREATE", &key, GROUP, "0", "MKSTREAM"]),
                1 => {
                    let consumer = format!("consumer{}", rng.below(3));
                    words(&["XREADGROUP", "GROUP", GROUP, &consumer, "COUNT", "1", "STREAMS", &key, ">"])
                }
                2 => words(&["XACK", &key, GROUP, &self.some_pending(&key)]),
                3 => words(&["XDEL", &key, &self.some_entry(&key)]),
                _ => words(&["XADD", &key, &id, "f", &value]),
            },
        }
    }

    fn stream(&self, key: &str) -> Option<&Stream> {
        match self.items.get(key) {
            Some(Item::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    fn some_pending(&self, key: &str) -> String {
        let id = self.stream(key).and_then(|stream| stream.pending.keys().next().copied());
        format!("{}-0", id.unwrap_or(1))
    }

    /// One that is not pending: what becomes of pending entries that are deleted is told in another way by a base of
    /// commands.
    fn some_entry(&self, key: &str) -> String {
        let id = self
            .stream(key)
            .and_then(|stream| stream.entries.keys().find(|id| !stream.pending.contains_key(id)).copied());
        format!("{}-0", id.unwrap_or(1))
    }

    /// Carries out what takes effect together.
    pub fn apply(&mut self, step: &Step) {
        step.0.iter().for_each(|words| self.apply_command(words));
    }

    fn apply_command(&mut self, words: &[String]) {
        let word = |index: usize| words.get(index).cloned().unwrap_or_default();
        let number = |index: usize| word(index).trim_end_matches("-0").parse::<u64>().unwrap_or(0);
        let key = match word(0).as_str() {
            "XGROUP" => word(2),
            "XREADGROUP" => word(7),
            _ => word(1),
        };
        let items = &mut self.items;
        match word(0).as_str() {
            "DEL" => drop(items.remove(&key)),
            "PEXPIREAT" if items.contains_key(&key) => drop(self.expiries.insert(key.clone(), number(2))),
            "PERSIST" => drop(self.expiries.remove(&key)),
            "SET" => {
                items.insert(key.clone(), Item::Text(word(2)));
                self.expiries.remove(&key);
            }
            "APPEND" => {
                if let Item::Text(text) = items.entry(key.clone()).or_insert(Item::Text(String::new())) {
                    text.push_str(&word(2));
                }
            }
            "INCRBY" => {
                if let Item::Text(text) = items.entry(key.clone()).or_insert(Item::Text("0".to_owned())) {
                    *text = (text.parse::<u64>().unwrap_or(0) + number(2)).to_string();
                }
            }
            "LPUSH" | "RPUSH" => {
                if let Item::List(list) = items.entry(key.clone()).or_insert(Item::List(VecDeque::new())) {
                    if word(0) == "LPUSH" { list.push_front(word(2)) } else { list.push_back(word(2)) }
                }
            }
            "LPOP" | "RPOP" => {
                if let Some(Item::List(list)) = items.get_mut(&key) {
                    if word(0) == "LPOP" {
                        list.pop_front()
                    } else {
                        list.pop_back()
                    };
                }
            }
            "SADD" | "SREM" | "HSET" | "HDEL" | "ZINCRBY" | "ZREM" => self.apply_to_table(words, &key),
            _ => self.apply_to_stream(words, &key),
        }
        self.drop_empty(&key);
    }

    fn apply_to_table(&mut self, words: &[String], key: &str) {
        let word = |index: usize| words.get(index).cloned().unwrap_or_default();
        let number = word(2).parse::<u64>().unwrap_or(0);
        let items = &mut self.items;
        match word(0).as_str() {
            "SADD" => {
                if let Item::Set(set) = items.entry(key.to_owned()).or_insert(Item::Set(BTreeSet::new())) {
                    set.extend([word(2), word(3)]);
                }
            }
            "SREM" => {
                if let Some(Item::Set(set)) = items.get_mut(key) {
                    set.remove(&word(2));
                }
            }
            "HSET" => {
                if let Item::Hash(hash) = items.entry(key.to_owned()).or_insert(Item::Hash(BTreeMap::new())) {
                    hash.insert(word(2), word(3));
                }
            }
            "HDEL" => {
                if let Some(Item::Hash(hash)) = items.get_mut(key) {
                    hash.remove(&word(2));
                }
            }
            "ZINCRBY" => {
                if let Item::Sorted(set) =
                    items.entry(key.to_owned()).or_insert(Item::Sorted(BTreeMap::new()))
                {
                    *set.entry(word(3)).or_default() += number as i64;
                }
            }
            "ZREM" => {
                if let Some(Item::Sorted(set)) = items.get_mut(key) {
                    set.remove(&word(2));
                }
            }
            _ => {}
        }
    }

    fn apply_to_stream(&mut self, words: &[String], key: &str) {
        let id = |word: Option<&String>| {
            word.and_then(|word| word.trim_end_matches("-0").parse::<u64>().ok()).unwrap_or(0)
        };
        let verb = words.first().map_or("", String::as_str);
        if matches!(verb, "XADD" | "XGROUP") {
            self.items.entry(key.to_owned()).or_insert(Item::Stream(Stream::default()));
        }
        let Some(Item::Stream(stream)) = self.items.get_mut(key) else { return };
        match verb {
            "XADD" => {
                drop(stream.entries.insert(id(words.get(2)), words.get(4).cloned().unwrap_or_default()));
            }
            "XGROUP" => stream.has_group = true,
            "XREADGROUP" if stream.has_group => {
                let next = stream.entries.range(stream.last_delivered + 1..).next().map(|(id, _)| *id);
                if let Some(next) = next {
                    stream.last_delivered = next;
                    stream.pending.insert(next, words.get(3).cloned().unwrap_or_default());
                }
            }
            "XACK" => drop(stream.pending.remove(&id(words.get(3)))),
            "XDEL" => drop(stream.entries.remove(&id(words.get(2)))),
            _ => {}
        }
    }

    /// Only streams may be empty.
    fn drop_empty(&mut self, key: &str) {
        let is_empty = match self.items.get(key) {
            None => true,
            Some(Item::Text(_) | Item::Stream(_)) => false,
            Some(Item::List(list)) => list.is_empty(),
            Some(Item::Set(set)) => set.is_empty(),
            Some(Item::Hash(hash)) => hash.is_empty(),
            Some(Item::Sorted(set)) => set.is_empty(),
        };
        if is_empty {
            self.items.remove(key);
            self.expiries.remove(key);
        }
    }

    /// The state as a text, a line for each key.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for key in self.names() {
            let Some(item) = self.items.get(&key) else { continue };
            let parts: Vec<String> = match item {
                Item::Text(text) => vec![text.clone()],
                Item::List(list) => list.iter().cloned().collect(),
                Item::Set(set) => set.iter().cloned().collect(),
                Item::Hash(hash) => sorted(hash.iter().map(|(name, value)| format!("{name}={value}"))),
                Item::Sorted(set) => sorted(set.iter().map(|(member, score)| format!("{member}={score}"))),
                Item::Stream(stream) => {
                    let entries = stream.entries.iter().map(|(id, value)| format!("{id}-0={value}"));
                    let group = stream.has_group.then(|| format!("group {}", stream.last_delivered));
                    let pending =
                        stream.pending.iter().map(|(id, consumer)| format!("pending {id}-0 {consumer}"));
                    entries.chain(group).chain(pending).collect()
                }
            };
            let at_ms = self.expiries.get(&key).map_or(-1, |at_ms| *at_ms as i64);
            let _ = writeln!(text, "{key} {at_ms} {}", parts.join(" "));
        }
        text
    }

    /// The same as a server has it; `None` if it does not answer.
    pub fn ask(&self, client: &mut Client) -> Option<String> {
        let mut text = String::new();
        for key in self.names() {
            if client.call(&["EXISTS", &key])?.as_integer() == Some(0) {
                continue;
            }
            let at_ms = client.call(&["PEXPIRETIME", &key])?.as_integer()?;
            let kind = key.chars().nth(key.find(':')? + 1)?;
            let list = |value: Value| -> Vec<String> {
                let elements = value.as_elements().unwrap_or_default().iter();
                elements.map(|value| value.as_text().unwrap_or_default().into_owned()).collect()
            };
            let pairs = |words: Vec<String>| sorted(words.chunks(2).map(|pair| pair.join("=")));
            let parts = match kind {
                'l' => list(client.call(&["LRANGE", &key, "0", "-1"])?),
                's' => {
                    let mut members = list(client.call(&["SMEMBERS", &key])?);
                    members.sort();
                    members
                }
                'h' => pairs(list(client.call(&["HGETALL", &key])?)),
                'z' => pairs(list(client.call(&["ZRANGE", &key, "0", "-1", "WITHSCORES"])?)),
                'x' => ask_stream(client, &key)?,
                _ => vec![client.call(&["GET", &key])?.as_text()?.into_owned()],
            };
            let _ = writeln!(text, "{key} {at_ms} {}", parts.join(" "));
        }
        Some(text)
    }
}

fn sorted(parts: impl Iterator<Item = String>) -> Vec<String> {
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    parts
}

fn ask_stream(client: &mut Client, key: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let text = |value: &Value| value.as_text().unwrap_or_default().into_owned();
    for entry in client.call(&["XRANGE", key, "-", "+"])?.as_elements()? {
        let entry = entry.as_elements()?;
        parts.push(format!("{}={}", text(entry.first()?), text(entry.get(1)?.as_elements()?.get(1)?)));
    }
    let groups = client.call(&["XINFO", "GROUPS", key])?;
    for group in groups.as_elements()? {
        let fields = group.as_elements()?;
        let at = fields.iter().position(|field| text(field) == "last-delivered-id")?;
        parts.push(format!("group {}", text(fields.get(at + 1)?).trim_end_matches("-0")));
        for pending in client.call(&["XPENDING", key, GROUP, "-", "+", "100000"])?.as_elements()? {
            let pending = pending.as_elements()?;
            parts.push(format!("pending {} {}", text(pending.first()?), text(pending.get(1)?)));
        }
    }
    Some(parts)
}
