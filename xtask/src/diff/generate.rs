//! Random commands from the command table: its syntax gives valid forms, a change of a word or two gives invalid ones.

use shoal_machine::Rng;
use shoal_protocol::command::{Argument, ArgumentKind, Command};
use std::collections::VecDeque;

/// One command on one of the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which connection.
    pub client: usize,
    /// Name and arguments.
    pub words: Vec<Vec<u8>>,
}

/// Commands with their weights; `container|subcommand` for subcommands.
const COMMANDS: &[(u64, &[&str])] = &[
    (12, &["set", "get"]),
    (
        4,
        &[
            "append",
            "decr",
            "decrby",
            "getdel",
            "getex",
            "getrange",
            "getset",
            "incr",
            "incrby",
            "incrbyfloat",
            "lcs",
            "mget",
            "mset",
            "msetnx",
            "psetex",
            "setex",
            "setnx",
            "setrange",
            "strlen",
            "substr",
        ],
    ),
    (
        4,
        &[
            "copy",
            "del",
            "dump",
            "exists",
            "expire",
            "expireat",
            "expiretime",
            "keys",
            "move",
            "persist",
            "pexpire",
            "pexpireat",
            "pexpiretime",
            "pttl",
            "rename",
            "renamenx",
            "restore",
            "scan",
            "touch",
            "ttl",
            "type",
            "unlink",
        ],
    ),
    (2, &["dbsize", "select", "object|encoding", "randomkey", "swapdb", "multi", "exec", "watch"]),
    (
        1,
        &[
            "object|freq",
            "object|idletime",
            "object|refcount",
            "object|help",
            "memory|usage",
            "flushdb",
            "flushall",
            "discard",
            "unwatch",
            "exec",
            "ping",
            "echo",
            "hello",
            "auth",
            "reset",
            "quit",
            "time",
            "role",
            "wait",
            "client|id",
            "client|getname",
            "client|setname",
            "client|info",
            "client|list",
            "client|no-evict",
            "client|unpause",
            "client|kill",
            "config|get",
            "config|set",
            "config|resetstat",
            "command|getkeys",
            "command|count",
            "info",
            "lastsave",
        ],
    ),
];

/// Keys; few, so that commands meet. The last ones are rare shapes.
const KEYS: &[&str] =
    &["a", "b", "c", "d", "e", "f", "key:1", "key:2", "{tag}x", "{tag}y", "", "with blank\r\n", "\u{e4}\0z"];
/// Keys that are drawn seldom, `fresh:` and a number.
const FRESH_KEYS: u64 = 50;
const VALUES: &[&str] = &[
    "",
    "x",
    "0",
    "7",
    "-12",
    "10000",
    "10001",
    "007",
    "+1",
    " 1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "3.25",
    "1e3",
    "inf",
    "nan",
    "abcabc",
    "cbacba",
    "\0\u{1}",
    "a text of exactly forty-four bytes, no more.",
    "a text of forty-five bytes, thus kept apart..",
];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "2",
    "5",
    "-1",
    "-3",
    "10",
    "100",
    "-100",
    "x",
    "",
    "1.5",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "2147483648",
    " 3",
];
const DOUBLES: &[&str] = &[
    "0", "0.1", "-2.5", "1e10", "3", "1e-20", "nan", "inf", "-inf", "x", "", "0x10", "1e400", " 1", "5.0e3",
];
const PATTERNS: &[&str] =
    &["*", "?", "[a-c]", "a", "[^a]", "\\a", "none*", "key:*", "{tag}[xy]", "", "[", "*[a"];
/// Times that lie in the past, far away, or nowhere: what ends between two replies cannot be compared.
const SECONDS: &[&str] =
    &["100", "5000", "0", "-1", "x", "", "9223372036854775807", "9223372036854776", "99999999999"];
/// One millisecond is waited for; see `Pair::run`.
const MILLISECONDS: &[&str] = &[
    "1",
    "100000",
    "5000000",
    "0",
    "-1",
    "x",
    "9223372036854775807",
    "9223370000000000000",
    "99999999999999",
];
const UNIX_SECONDS: &[&str] =
    &["9000000000", "8000000000", "1", "0", "-5", "x", "9223372036854775807", "9223372036854775", ""];
const UNIX_MILLISECONDS: &[&str] =
    &["9000000000000", "8000000000000", "1", "0", "-5", "x", "9223372036854775807", "-9223372036854775808"];
const DATABASES: &[&str] = &["0", "1", "2", "15", "16", "-1", "x", "9999999999"];
const JUNK: &[&str] = &[
    "NX",
    "xx",
    "GT",
    "lt",
    "GET",
    "KEEPTTL",
    "PERSIST",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "COUNT",
    "MATCH",
    "TYPE",
    "REPLACE",
    "IDLETIME",
    "FREQ",
    "ASYNC",
    "SYNC",
    "ABSTTL",
    "DB",
    "LEN",
    "IDX",
    "0",
    "-1",
    "string",
    "nonsense",
    "9999999999",
    "\r\n",
    "",
];
/// Directives that can be set without harm, with good and bad values.
const SETTINGS: &[(&str, &[&str])] = &[
    ("maxmemory-policy", &["allkeys-lfu", "noeviction", "volatile-lru", "ALLKEYS-LRU", "none"]),
    ("notify-keyspace-events", &["KEA", "", "gxE$", "Q"]),
    ("slowlog-max-len", &["128", "0", "-1", "x", "1k"]),
    ("hz", &["10", "50", "x", "-3"]),
    ("lazyfree-lazy-user-del", &["yes", "no", "maybe"]),
    ("lfu-log-factor", &["10", "0", "-1"]),
    ("tcp-keepalive", &["300", "0", "ten"]),
    ("maxmemory-samples", &["5", "0", "64", "65"]),
    ("proto-max-bulk-len", &["512mb", "1mb", "1kb"]),
    ("lua-time-limit", &["5000", "0"]),
    ("no-such-directive", &["1"]),
    ("port-does-not-exist", &["1"]),
    ("daemonize", &["yes"]),
];

/// How many replies of DUMP are kept for RESTORE.
const PAYLOADS_MAX: usize = 16;
/// Repetitions of an argument that may be repeated.
const REPEAT_MAX: u64 = 4;

/// All keys commands are made with on purpose; a changed word can make others.
pub fn all_keys() -> impl Iterator<Item = Vec<u8>> {
    let fresh = (0..FRESH_KEYS).map(|number| format!("fresh:{number}").into_bytes());
    KEYS.iter().map(|key| key.as_bytes().to_vec()).chain(fresh)
}

/// Draws commands; the same seed and the same replies give the same commands.
pub struct Generator {
    rng: Rng,
    payloads: VecDeque<Vec<u8>>,
    weights: u64,
}

impl Generator {
    /// A generator with a seed.
    pub fn new(seed: u64) -> Self {
        let weights = COMMANDS.iter().map(|(weight, names)| weight * names.len() as u64).sum();
        Self { rng: Rng::new(seed), payloads: VecDeque::new(), weights }
    }

    /// Keeps a reply of DUMP as an argument for RESTORE.
    pub fn remember_payload(&mut self, payload: &[u8]) {
        self.payloads.push_back(payload.to_vec());
        if self.payloads.len() > PAYLOADS_MAX {
            self.payloads.pop_front();
        }
    }

    /// The next command.
    pub fn next(&mut self) -> Operation {
        let client = usize::from(self.rng.chance(1, 5));
        let name = self.name();
        let mut words: Vec<Vec<u8>> = name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        match name {
            "config|set" | "config|get" => self.setting(name == "config|set", &mut words),
            "client|kill" => words.extend([b"ID".to_vec(), b"99999999".to_vec()]),
            "wait" => words.extend([b"0".to_vec(), b"0".to_vec()]),
            "command|getkeys" => {
                let inner = self.name();
                words.extend(inner.split('|').map(|word| word.as_bytes().to_vec()));
                self.syntax(inner, &mut words);
                if words.len() < 4 {
                    // 7.0 wants at least one argument after the name.
                    words.push(b"a".to_vec());
                }
            }
            "scan" => self.scan(&mut words),
            "hello" => {
                let version: &[&str] = &["2", "3", "3", "2", "4", "x", ""];
                words.push(self.pick(version));
            }
            _ => self.syntax(name, &mut words),
        }
        if self.rng.chance(1, 12)
            && !matches!(name, "wait" | "client|kill" | "config|set" | "command|getkeys" | "scan")
        {
            self.spoil(&mut words);
        }
        Operation { client, words }
    }

    fn name(&mut self) -> &'static str {
        let mut draw = self.rng.below(self.weights);
        for (weight, names) in COMMANDS {
            let share = weight * names.len() as u64;
            if draw < share {
                return names.get((draw / weight) as usize).copied().unwrap_or("ping");
            }
            draw -= share;
        }
        "ping"
    }

    /// Arguments by the syntax of the table.
    fn syntax(&mut self, name: &str, words: &mut Vec<Vec<u8>>) {
        let (container, own) = name.split_once('|').unwrap_or((name, ""));
        let command = Command::lookup(container.as_bytes());
        let row = if own.is_empty() {
            command
        } else {
            command.and_then(|command| command.subcommand(own.as_bytes()))
        };
        for argument in row.map_or(&[][..], |row| row.arguments) {
            self.argument(name, argument, words);
        }
    }

    fn argument(&mut self, command: &str, argument: &Argument, words: &mut Vec<Vec<u8>>) {
        if argument.optional && self.rng.chance(3, 5) {
            return;
        }
        let repeats = if argument.multiple { 1 + self.rng.below(REPEAT_MAX) } else { 1 };
        for repeat in 0..repeats {
            if let Some(token) = argument.token.filter(|_| repeat == 0 || argument.multiple_token) {
                let lower = self.rng.chance(1, 4);
                words.push(if lower { token.to_lowercase().into_bytes() } else { token.as_bytes().to_vec() });
            }
            match argument.kind {
                ArgumentKind::PureToken => {}
                ArgumentKind::Oneof => {
                    if let Some(choice) = self.rng.choose(argument.arguments) {
                        self.argument(command, choice, words);
                    }
                }
                ArgumentKind::Block => {
                    for part in argument.arguments {
                        self.argument(command, part, words);
                    }
                }
                _ => words.push(self.value(command, argument)),
            }
        }
    }

    /// A value for an argument by its kind and its name.
    fn value(&mut self, command: &str, argument: &Argument) -> Vec<u8> {
        let name = argument.name;
        match argument.kind {
            ArgumentKind::Key => self.key(),
            ArgumentKind::Pattern => self.pick(PATTERNS),
            ArgumentKind::Double => self.pick(DOUBLES),
            ArgumentKind::UnixTime if name.contains("milli") => self.pick(UNIX_MILLISECONDS),
            ArgumentKind::UnixTime => self.pick(UNIX_SECONDS),
            _ if name == "serialized-value" => self.payload(),
            _ if name == "seconds" && command != "restore" => self.pick(SECONDS),
            // Redis adds such a time to now without a check; what comes out is nobody's promise.
            _ if name == "ttl" => self.pick(&["0", "0", "1", "100000", "5000000", "-1", "x"]),
            _ if name.contains("milliseconds") => self.pick(MILLISECONDS),
            _ if name.contains("db") || name == "index" && command == "select" => self.database(),
            _ if command == "incrbyfloat" => self.pick(DOUBLES),
            // Lengths are drawn small: a gigabyte of zeros is a valid answer, and slow.
            _ if command == "setrange" && name == "offset" => {
                self.pick(&["0", "1", "5", "100", "-1", "x", "600000000"])
            }
            ArgumentKind::Integer => self.pick(INTEGERS),
            _ if self.rng.chance(1, 25) => vec![b'a' + self.rng.below(3) as u8; self.rng.index(3000)],
            _ => self.pick(VALUES),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        if self.rng.chance(1, 200) {
            return format!("fresh:{}", self.rng.below(FRESH_KEYS)).into_bytes();
        }
        let common = KEYS.get(..6).unwrap_or(KEYS);
        if self.rng.chance(3, 4) { self.pick(common) } else { self.pick(KEYS) }
    }

    fn database(&mut self) -> Vec<u8> {
        let usual = DATABASES.get(..3).unwrap_or(DATABASES);
        if self.rng.chance(3, 4) { self.pick(usual) } else { self.pick(DATABASES) }
    }

    /// Bytes that DUMP gave, sometimes with one of them changed.
    fn payload(&mut self) -> Vec<u8> {
        let index = self.rng.index(self.payloads.len());
        let mut payload = self.payloads.get(index).cloned().unwrap_or_else(|| b"junk".to_vec());
        if self.rng.chance(1, 6) {
            let at = self.rng.index(payload.len());
            let bit = self.rng.below(8);
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        payload
    }

    /// Only whole scans: a page of one server has nothing in common with a page of the other, and each deletes the expired
    /// keys it meets.
    fn scan(&mut self, words: &mut Vec<Vec<u8>>) {
        words.push(self.pick(&["0", "0", "0", "x", "", "-"]));
        if self.rng.chance(1, 3) {
            words.extend([b"MATCH".to_vec(), self.pick(PATTERNS)]);
        }
        words.extend([b"COUNT".to_vec(), self.pick(&["1000", "1000", "1000", "5000", "0", "-1", "x"])]);
        if self.rng.chance(1, 3) {
            words.extend([b"type".to_vec(), self.pick(&["string", "STRING", "list", "nonsense"])]);
        }
        if self.rng.chance(1, 10) {
            words.push(self.pick(JUNK));
        }
    }

    fn setting(&mut self, is_set: bool, words: &mut Vec<Vec<u8>>) {
        for _ in 0..=self.rng.below(2) {
            let Some((name, values)) = self.rng.choose(SETTINGS) else { return };
            words.push(name.as_bytes().to_vec());
            if is_set {
                words.push(self.pick(values));
            }
        }
    }

    /// Changes a word or two: left out, doubled, replaced, added, or the command's name itself.
    fn spoil(&mut self, words: &mut Vec<Vec<u8>>) {
        for _ in 0..=self.rng.below(2) {
            let at = self.rng.index(words.len());
            match self.rng.below(6) {
                0 if words.len() > 1 => {
                    words.remove(at.max(1));
                }
                1 => {
                    let word = words.get(at).cloned().unwrap_or_default();
                    words.push(word);
                }
                2 | 3 if at > 0 => {
                    let junk = self.pick(JUNK);
                    if let Some(word) = words.get_mut(at) {
                        *word = junk;
                    }
                }
                4 if self.rng.chance(1, 10) => {
                    if let Some(word) = words.first_mut() {
                        *word = b"NoSuchCommand".to_vec();
                    }
                }
                _ => {
                    let junk = self.pick(JUNK);
                    words.push(junk);
                }
            }
        }
    }

    fn pick(&mut self, choices: &[&str]) -> Vec<u8> {
        self.rng.choose(choices).map_or(Vec::new(), |choice| choice.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, Generator};
    use shoal_protocol::command::Command;

    #[test]
    fn every_name_is_in_the_table() {
        for name in COMMANDS.iter().flat_map(|(_, names)| *names) {
            let (container, own) = name.split_once('|').unwrap_or((name, ""));
            let row = Command::lookup(container.as_bytes());
            assert!(
                row.is_some_and(|row| own.is_empty() || row.subcommand(own.as_bytes()).is_some()),
                "{name}"
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_commands_and_most_fit_their_arity() {
        let (mut one, mut other) = (Generator::new(7), Generator::new(7));
        let mut fitting = 0;
        for _ in 0..1000 {
            let operation = one.next();
            assert_eq!(operation, other.next());
            let row = operation.words.first().and_then(|name| Command::lookup(name));
            fitting += u64::from(row.is_some_and(|row| row.arity_fits(operation.words.len())));
        }
        assert!(fitting > 900, "{fitting}");
    }
}
