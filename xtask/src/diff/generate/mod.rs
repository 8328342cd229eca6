//! Random commands from the command table: its syntax gives valid forms, a change of a word or two gives invalid ones.
//!
//! ```text
//!   families (which command) -> syntax (which arguments) -> values (which words) -> special (what belongs together)
//! ```

mod families;
mod special;
mod values;

use families::{BLOCKING, Family};
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

/// The connection on which commands may wait without a limit.
pub const WAITER: usize = 2;
/// How many replies of DUMP are kept for RESTORE.
const PAYLOADS_MAX: usize = 24;
/// Repetitions of an argument that may be repeated, usually and when a key is filled.
const REPEAT_MAX: u64 = 4;
const FILL_MAX: u64 = 150;

/// All keys commands are made with on purpose; a changed word can make others.
pub fn all_keys(tag: &str) -> Vec<Vec<u8>> {
    let families = families::families(&[]);
    let own =
        families.iter().flat_map(|family| (0..values::OWN_KEYS).map(|number| own_key(family.name, number)));
    let lexical = (0..values::OWN_KEYS).map(|number| format!("{}{number}", special::LEXICAL_KEY));
    let fresh = (0..values::FRESH_KEYS).map(|number| format!("fresh:{number}"));
    let fixed = values::COMMON_KEYS.iter().chain(values::ODD_KEYS).map(|&key| key.to_owned());
    fixed.chain(own).chain(lexical).chain(fresh).map(|key| (tag.to_owned() + &key).into_bytes()).collect()
}

/// A key of one family.
fn own_key(family: &str, number: u64) -> String {
    format!("{family}:{number}")
}

/// What is drawn.
#[derive(Clone, Default)]
pub struct Choice {
    /// The families by name; none means all.
    pub groups: Vec<String>,
    /// Commands that are not drawn.
    pub without: Vec<String>,
    /// For a cluster: keys share a hash tag, and there is one database.
    pub is_cluster: bool,
}

impl Choice {
    /// What all keys begin with.
    pub fn tag(&self) -> &'static str {
        if self.is_cluster { "{t}" } else { "" }
    }
}

/// Draws commands; the same seed and the same replies give the same commands.
pub struct Generator {
    rng: Rng,
    choice: Choice,
    families: Vec<Family>,
    payloads: VecDeque<Vec<u8>>,
    /// The family of the command that is being drawn.
    family: &'static str,
    /// Whether a number of keys must be right.
    is_exact: bool,
    /// How many keys the command has said it has, for as many weights and identifiers.
    key_count: u64,
    /// The greatest first part of an identifier that was added to a stream.
    stream_time: u64,
}

impl Generator {
    /// A generator with a seed.
    pub fn new(seed: u64, choice: Choice) -> Self {
        let mut families = families::families(&choice.groups);
        for family in &mut families {
            family.commands.retain(|(_, name)| choice.without.iter().all(|other| other != name));
        }
        Self {
            rng: Rng::new(seed),
            families,
            is_exact: choice.is_cluster,
            choice,
            payloads: VecDeque::new(),
            family: "string",
            key_count: 1,
            stream_time: 1,
        }
    }

    /// Whether a group of this name exists.
    pub fn knows_group(name: &str) -> bool {
        families::families(&[]).iter().any(|family| family.name == name)
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
        if self.rng.chance(1, 300)
            && let Some(words) = self.waiting()
        {
            return Operation { client: WAITER, words };
        }
        let client = usize::from(self.rng.chance(1, 5));
        let name = self.name();
        let words = self.words(name);
        Operation { client, words }
    }

    /// A command with its arguments, right or spoilt.
    fn words(&mut self, name: &'static str) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        let keeps_its_form = match name {
            "command|getkeys" => {
                // Without a source 7.0 cannot name the keys of PFMERGE.
                let inner = Some(self.name()).filter(|name| *name != "pfmerge").unwrap_or("get");
                words.extend(inner.split('|').map(|word| word.as_bytes().to_vec()));
                self.is_exact = true;
                self.syntax(inner, &mut words);
                self.is_exact = self.choice.is_cluster;
                if words.len() < 4 {
                    // 7.0 wants at least one argument after the name.
                    words.push(b"a".to_vec());
                }
                true
            }
            _ if self.special(name, &mut words) => true,
            _ => {
                self.syntax(name, &mut words);
                // A fourth word would be an option that 7.0 does not know.
                BLOCKING.contains(&name) || matches!(name, "zrank" | "zrevrank")
            }
        };
        if self.rng.chance(1, 12) && !keeps_its_form {
            self.spoil(&mut words);
        }
        words
    }

    fn name(&mut self) -> &'static str {
        let weights = self.families.iter().map(|family| family.weight).sum();
        let mut draw = self.rng.below(weights);
        for family in &self.families {
            if draw >= family.weight {
                draw -= family.weight;
                continue;
            }
            self.family = family.name;
            let weights = family.commands.iter().map(|(weight, _)| weight).sum();
            let mut draw = self.rng.below(weights);
            for &(weight, name) in &family.commands {
                if draw < weight {
                    return if self.choice.is_cluster && special::is_for_one_database(name) {
                        "ping"
                    } else {
                        name
                    };
                }
                draw -= weight;
            }
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
        self.key_count = 1;
        for argument in row.map_or(&[][..], |row| row.arguments) {
            self.argument(name, argument, words);
        }
    }

    fn argument(&mut self, command: &str, argument: &Argument, words: &mut Vec<Vec<u8>>) {
        // The peer is a 7.0, which does not know what came with 7.2.
        if argument.optional && self.rng.chance(3, 5) || argument.token == Some("WITHSCORE") {
            return;
        }
        // A node of ours has one database, and finds any other out of range.
        if self.choice.is_cluster && argument.token == Some("DB") {
            return;
        }
        for repeat in 0..self.repeats(command, argument) {
            if let Some(token) = argument.token.filter(|_| repeat == 0 || argument.multiple_token) {
                let lower = self.rng.chance(1, 4);
                words.push(if lower { token.to_lowercase().into_bytes() } else { token.as_bytes().to_vec() });
            }
            match argument.kind {
                ArgumentKind::PureToken => {}
                ArgumentKind::Oneof => {
                    // An identifier made of the present time would differ.
                    let choices = argument.arguments.iter().filter(|choice| choice.token != Some("*"));
                    let choices: Vec<&Argument> = choices.collect();
                    if let Some(choice) = self.rng.choose(&choices) {
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

    /// How often an argument comes. Keys that were counted come as often as was said, and so do their weights.
    fn repeats(&mut self, command: &str, argument: &Argument) -> u64 {
        if !argument.multiple {
            return 1;
        }
        let is_counted =
            self.key_count > 1 && (argument.kind == ArgumentKind::Key || argument.name == "weight");
        match command {
            _ if is_counted => self.key_count,
            "rpush" | "lpush" | "sadd" | "hset" | "hmset" | "zadd" | "pfadd" | "geoadd" | "mset"
                if self.rng.chance(1, 10) =>
            {
                1 + self.rng.below(FILL_MAX)
            }
            _ => 1 + self.rng.below(REPEAT_MAX),
        }
    }

    /// A value for an argument by its kind and its name.
    fn value(&mut self, command: &str, argument: &Argument) -> Vec<u8> {
        let name = argument.name;
        match argument.kind {
            ArgumentKind::Key => self.key(),
            ArgumentKind::Pattern if command.starts_with("sort") => self.pick(values::SORT_PATTERNS),
            ArgumentKind::Pattern => self.pick(values::PATTERNS),
            _ if name == "numkeys" => {
                self.key_count = 1 + self.rng.below(3);
                // Whoever only looks for the keys takes any number in any form.
                if !self.is_exact && self.rng.chance(1, 20) {
                    self.pick(values::INTEGERS)
                } else {
                    decimal(self.key_count as i64)
                }
            }
            _ => match self.family {
                "stream" => self.stream_value(command, name),
                "geo" => self.geo_value(name),
                "bitmap" => self.bitmap_value(command, name),
                _ => self.usual_value(command, argument),
            },
        }
    }

    fn usual_value(&mut self, command: &str, argument: &Argument) -> Vec<u8> {
        let name = argument.name;
        match argument.kind {
            _ if name == "timeout" => self.pick(values::TIMEOUTS),
            _ if matches!(name, "min" | "max") && command.contains("lex") => self.pick(values::LEX_BOUNDS),
            _ if matches!(name, "min" | "max") => self.pick(values::SCORE_BOUNDS),
            _ if name == "score" || name == "increment" && self.family == "sorted-set" => self.score(),
            _ if name == "weight" => self.score(),
            ArgumentKind::Double => self.pick(values::DOUBLES),
            ArgumentKind::UnixTime if name.contains("milli") => self.pick(values::UNIX_MILLISECONDS),
            ArgumentKind::UnixTime => self.pick(values::UNIX_SECONDS),
            _ if name == "serialized-value" => self.payload(),
            _ if name == "seconds" && command != "restore" => self.pick(values::SECONDS),
            // Redis adds such a time to now without a check; what comes out is nobody's promise.
            _ if name == "ttl" => self.pick(&["0", "0", "1", "50000000", "5000000", "-1", "x"]),
            _ if name.contains("milliseconds") => self.milliseconds(),
            _ if name.contains("db") || name == "index" && command == "select" => self.database(),
            _ if command == "incrbyfloat" => self.pick(values::DOUBLES),
            // Lengths are drawn small: a gigabyte of zeros is a valid answer, and slow.
            _ if command == "setrange" && name == "offset" => {
                self.pick(&["0", "1", "5", "100", "-1", "x", "600000000"])
            }
            _ if matches!(name, "channel" | "shardchannel") => self.pick(values::CHANNELS),
            ArgumentKind::Integer => self.integer(),
            _ if matches!(name, "element" | "member" | "field" | "pivot") => self.element(),
            _ => self.text(),
        }
    }

    /// A member, field or element.
    fn element(&mut self) -> Vec<u8> {
        match self.rng.below(30) {
            0..=11 => self.pick(values::ELEMENTS),
            12..=23 => decimal(self.rng.below(60) as i64 - 5),
            24..=26 => format!("m{}", self.rng.below(300)).into_bytes(),
            27 => decimal(self.rng.next_u64() as i64 >> self.rng.below(64)),
            _ => self.text(),
        }
    }

    /// Any value.
    fn text(&mut self) -> Vec<u8> {
        match self.rng.chance(1, 25) {
            true => vec![b'a' + self.rng.below(3) as u8; self.rng.index(3000)],
            false => self.pick(values::VALUES),
        }
    }

    fn integer(&mut self) -> Vec<u8> {
        match self.rng.chance(2, 3) {
            true => decimal(self.rng.below(20) as i64 - 6),
            false => self.pick(values::INTEGERS),
        }
    }

    fn score(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.pick(values::DOUBLES),
            1..=8 => decimal(self.rng.below(12) as i64 - 2),
            _ => self.pick(values::SCORES),
        }
    }

    /// A time to live; the shortest costs a pause and is drawn seldom.
    fn milliseconds(&mut self) -> Vec<u8> {
        if self.rng.chance(1, 15) { b"1".to_vec() } else { self.pick(values::MILLISECONDS) }
    }

    fn key(&mut self) -> Vec<u8> {
        let key = match self.rng.below(200) {
            0 => format!("fresh:{}", self.rng.below(values::FRESH_KEYS)).into_bytes(),
            1..=20 => self.pick(values::ODD_KEYS),
            21..=60 => self.pick(values::COMMON_KEYS),
            61..=75 => {
                let index = self.rng.index(self.families.len());
                let family = self.families.get(index).map_or("string", |family| family.name);
                own_key(family, self.rng.below(values::OWN_KEYS)).into_bytes()
            }
            _ => {
                // Commands for all types have no keys of their own: they look at those of the others.
                let has_keys =
                    !matches!(self.family, "generic" | "transactions" | "server" | "connection" | "pubsub");
                let index = self.rng.index(self.families.len());
                let other = self.families.get(index).map_or("string", |family| family.name);
                own_key(if has_keys { self.family } else { other }, self.rng.below(values::OWN_KEYS))
                    .into_bytes()
            }
        };
        [self.choice.tag().as_bytes(), &key].concat()
    }

    fn tagged(&self, key: &str) -> Vec<u8> {
        (self.choice.tag().to_owned() + key).into_bytes()
    }

    fn database(&mut self) -> Vec<u8> {
        let usual = values::DATABASES.get(..3).unwrap_or(values::DATABASES);
        if self.rng.chance(3, 4) { self.pick(usual) } else { self.pick(values::DATABASES) }
    }

    /// Bytes that DUMP gave, sometimes with one of them changed.
    fn payload(&mut self) -> Vec<u8> {
        let index = self.rng.index(self.payloads.len());
        let mut payload = self.payloads.get(index).cloned().unwrap_or_else(|| b"junk".to_vec());
        if self.rng.chance(1, 10) {
            let at = self.rng.index(payload.len());
            let bit = self.rng.below(8);
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        payload
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
                    let junk = self.pick(values::JUNK);
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
                    let junk = self.pick(values::JUNK);
                    words.push(junk);
                }
            }
        }
    }

    fn pick(&mut self, choices: &[&str]) -> Vec<u8> {
        self.rng.choose(choices).map_or(Vec::new(), |choice| choice.as_bytes().to_vec())
    }
}

fn decimal(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Choice, Generator, Operation, WAITER};
    use shoal_protocol::command::Command;

    #[test]
    fn the_same_seed_gives_the_same_commands_and_most_fit_their_arity() {
        let (mut one, mut other) =
            (Generator::new(7, Choice::default()), Generator::new(7, Choice::default()));
        let mut fitting = 0;
        for _ in 0..1000 {
            let operation = one.next();
            assert_eq!(operation, other.next());
            let row = operation.words.first().and_then(|name| Command::lookup(name));
            fitting += u64::from(row.is_some_and(|row| row.arity_fits(operation.words.len())));
        }
        assert!(fitting > 900, "{fitting}");
    }

    #[test]
    fn keys_of_a_cluster_share_a_tag_and_only_one_connection_waits() {
        let choice = Choice { groups: vec!["list".to_owned()], is_cluster: true, ..Choice::default() };
        let mut generator = Generator::new(3, choice);
        let (mut waiting, mut keys, mut tagged) = (0, 0, 0);
        for _ in 0..3000 {
            let Operation { client, words } = generator.next();
            let (name, last) = (words.first().cloned().unwrap_or_default(), words.last().cloned());
            assert!(
                client == WAITER || name != b"blpop" || last.is_none_or(|last| last != b"0"),
                "{words:?}"
            );
            waiting += u64::from(client == WAITER);
            if let (b"llen", [_, key]) = (name.as_slice(), words.as_slice()) {
                keys += 1;
                tagged += u64::from(key.starts_with(b"{t}"));
            }
        }
        // A spoilt command has some other word in the place of its key.
        assert!(waiting > 0 && keys > 20 && tagged * 10 > keys * 9, "{waiting} {keys} {tagged}");
    }
}
