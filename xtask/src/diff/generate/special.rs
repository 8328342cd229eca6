//! Commands whose words belong together in ways the syntax does not tell, or must be chosen so that replies can be
//! compared at all; and the values of families with arguments of their own.

use super::{Generator, decimal, values};

/// What keys begin with whose members all have one score.
pub const LEXICAL_KEY: &str = "names:";

/// Whether a command is about databases other than the first, which a cluster does not have.
pub fn is_for_one_database(name: &str) -> bool {
    matches!(name, "select" | "swapdb" | "move" | "spublish")
}

impl Generator {
    /// Writes the arguments of a command that the syntax alone does not suit; false for all others.
    pub(super) fn special(&mut self, name: &str, words: &mut Vec<Vec<u8>>) -> bool {
        match name {
            "config|set" | "config|get" => self.setting(name == "config|set", words),
            "client|kill" => words.extend([b"ID".to_vec(), b"99999999".to_vec()]),
            "wait" => words.extend([b"0".to_vec(), b"0".to_vec()]),
            "pfdebug" => words.extend([b"ENCODING".to_vec(), self.key()]),
            "scan" => self.scan(words, false),
            "sscan" | "hscan" | "zscan" => self.scan(words, true),
            "hello" => {
                let version: &[&str] = &["2", "3", "3", "2", "4", "x", ""];
                words.push(self.pick(version));
            }
            "sort" | "sort_ro" => self.sort(name, words),
            "xread" | "xreadgroup" => self.xread(name, words),
            "zrange" | "zrangestore" => self.zrange(name, words),
            "zlexcount" | "zrangebylex" | "zrevrangebylex" | "zremrangebylex" => self.by_name(name, words),
            // Fills what those look at.
            "zadd" if self.rng.chance(1, 6) => {
                words.push(self.lexical_key());
                for _ in 0..=self.rng.below(12) {
                    words.extend([b"0".to_vec(), self.element()]);
                }
            }
            _ => return false,
        }
        true
    }

    /// A command that waits for as long as it takes, in the first database.
    pub(super) fn waiting(&mut self) -> Option<Vec<Vec<u8>>> {
        let names =
            ["blpop", "brpop", "blmove", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "xread", "xreadgroup"];
        let drawn = self
            .families
            .iter()
            .flat_map(|family| family.commands.iter().map(move |command| (family.name, command.1)));
        let known: Vec<(&'static str, &'static str)> =
            drawn.filter(|(_, name)| names.contains(name)).collect();
        let &(family, name) = self.rng.choose(&known)?;
        self.family = family;
        let mut words = vec![name.as_bytes().to_vec()];
        if name.starts_with('x') {
            if name == "xreadgroup" {
                words.extend([b"GROUP".to_vec(), self.pick(values::GROUPS), self.pick(values::CONSUMERS)]);
            }
            let last: &[&str] = if name == "xread" { &["$", "$", "0", "5"] } else { &[">"] };
            words.extend(["BLOCK", "0", "STREAMS"].map(|word| word.as_bytes().to_vec()));
            words.extend([self.key(), self.pick(last)]);
            return Some(words);
        }
        // One key: 7.2 looks at all keys anew when one is ready, 7.0 at this one only.
        let (key, end) = (self.key(), self.pick(&["LEFT", "RIGHT"]));
        match name {
            "blmove" => words.extend([key, self.key(), end, self.pick(&["LEFT", "RIGHT"])]),
            "blmpop" => return Some([words, vec![b"0".to_vec(), b"1".to_vec(), key, end]].concat()),
            "bzmpop" => {
                let end = self.pick(&["MIN", "MAX"]);
                return Some([words, vec![b"0".to_vec(), b"1".to_vec(), key, end]].concat());
            }
            _ => words.push(key),
        }
        words.push(b"0".to_vec());
        Some(words)
    }

    /// Only whole scans: a page of one server has nothing in common with a page of the other, and each deletes the
    /// expired keys it meets.
    fn scan(&mut self, words: &mut Vec<Vec<u8>>, is_of_a_key: bool) {
        if is_of_a_key {
            words.push(self.key());
        }
        words.push(self.pick(&["0", "0", "0", "0", "0", "0", "x", "", "-"]));
        if self.rng.chance(1, 3) {
            words.extend([b"MATCH".to_vec(), self.pick(values::PATTERNS)]);
        }
        words.extend([
            b"COUNT".to_vec(),
            self.pick(&["100000", "100000", "100000", "500000", "0", "-1", "x"]),
        ]);
        if self.rng.chance(1, 3) && !is_of_a_key {
            words.extend([b"type".to_vec(), self.pick(&["string", "STRING", "list", "zset", "nonsense"])]);
        }
        if self.rng.chance(1, 10) {
            words.push(self.pick(values::JUNK));
        }
    }

    fn setting(&mut self, is_set: bool, words: &mut Vec<Vec<u8>>) {
        for _ in 0..=self.rng.below(2) {
            let all = values::SETTINGS;
            let about_encodings = all.get(..values::ENCODING_SETTINGS).unwrap_or(all);
            let settings = if self.rng.chance(2, 3) { about_encodings } else { all };
            let Some((name, values)) = self.rng.choose(settings) else { return };
            words.push(name.as_bytes().to_vec());
            if is_set {
                words.push(self.pick(values));
            }
        }
    }

    /// Without an order nothing is stored and nothing is cut: what a hash table gives first is its own affair. In a cluster
    /// patterns are refused, so they come seldom.
    fn sort(&mut self, name: &str, words: &mut Vec<Vec<u8>>) {
        words.push(self.key());
        let patterns = if self.choice.is_cluster { 20 } else { 2 };
        let (by_text, mut is_ordered) = (self.rng.chance(1, 2), true);
        if self.rng.chance(1, patterns) {
            let pattern = self.pick(values::SORT_PATTERNS);
            // Numbers that are equal are ordered by their elements, texts that are equal are not.
            is_ordered = pattern.contains(&b'*') && !by_text;
            words.extend([b"BY".to_vec(), pattern]);
        }
        if is_ordered && self.rng.chance(1, 3) {
            words.extend([b"LIMIT".to_vec(), self.integer(), self.integer()]);
        }
        for _ in 0..self.rng.below(3) {
            if self.rng.chance(1, patterns) {
                words.extend([b"GET".to_vec(), self.pick(values::SORT_PATTERNS)]);
            }
        }
        if self.rng.chance(1, 3) {
            words.push(self.pick(&["ASC", "DESC", "desc"]));
        }
        if by_text {
            words.push(b"ALPHA".to_vec());
        }
        if is_ordered && name == "sort" && self.rng.chance(1, 4) {
            words.extend([b"STORE".to_vec(), self.key()]);
        }
    }

    /// As many identifiers as keys, or one less.
    fn xread(&mut self, name: &str, words: &mut Vec<Vec<u8>>) {
        if name == "xreadgroup" {
            words.extend([b"GROUP".to_vec(), self.pick(values::GROUPS), self.pick(values::CONSUMERS)]);
        }
        if self.rng.chance(1, 3) {
            words.extend([b"COUNT".to_vec(), self.integer()]);
        }
        if self.rng.chance(1, 20) {
            words.extend([b"BLOCK".to_vec(), self.pick(&["1", "2", "-1", "x"])]);
        }
        if name == "xreadgroup" && self.rng.chance(1, 5) {
            words.push(b"NOACK".to_vec());
        }
        words.push(b"STREAMS".to_vec());
        let keys = 1 + self.rng.below(2);
        for _ in 0..keys {
            words.push(self.key());
        }
        let identifiers = if self.rng.chance(1, 25) { keys - 1 } else { keys };
        for _ in 0..identifiers {
            let is_new = name == "xreadgroup" && self.rng.chance(1, 2);
            words.push(if is_new { b">".to_vec() } else { self.stream_id() });
        }
    }

    /// Ranges of names mean something only where all scores are equal: in keys that nothing else changes.
    fn lexical_key(&mut self) -> Vec<u8> {
        let number = self.rng.below(values::OWN_KEYS);
        self.tagged(&format!("{LEXICAL_KEY}{number}"))
    }

    /// A command about a range of names.
    fn by_name(&mut self, name: &str, words: &mut Vec<Vec<u8>>) {
        words.extend([self.lexical_key(), self.pick(values::LEX_BOUNDS), self.pick(values::LEX_BOUNDS)]);
        if name.contains("range") && !name.contains("rem") && self.rng.chance(1, 3) {
            words.extend([b"LIMIT".to_vec(), self.integer(), self.integer()]);
        }
    }

    /// Bounds of the kind that the rest of the command says.
    fn zrange(&mut self, name: &str, words: &mut Vec<Vec<u8>>) {
        if name == "zrangestore" {
            words.push(self.key());
        }
        let kind = self.rng.below(4);
        words.push(if kind == 1 { self.lexical_key() } else { self.key() });
        for _ in 0..2 {
            words.push(match kind {
                0 => self.pick(values::SCORE_BOUNDS),
                1 => self.pick(values::LEX_BOUNDS),
                _ => self.integer(),
            });
        }
        match kind {
            0 => words.push(b"BYSCORE".to_vec()),
            1 => words.push(b"BYLEX".to_vec()),
            _ => {}
        }
        if self.rng.chance(1, 3) {
            words.push(b"REV".to_vec());
            if self.rng.chance(3, 4) {
                let bounds = words.len();
                let first = if name == "zrangestore" { 3 } else { 2 };
                if bounds > first + 1 {
                    words.swap(first, first + 1);
                }
            }
        }
        if self.rng.chance(1, 4) {
            words.extend([b"LIMIT".to_vec(), self.integer(), self.integer()]);
        }
        if name == "zrange" && self.rng.chance(1, 3) {
            words.push(b"WITHSCORES".to_vec());
        }
    }

    pub(super) fn stream_value(&mut self, command: &str, name: &str) -> Vec<u8> {
        match name {
            "group" => self.pick(values::GROUPS),
            "consumer" => self.pick(values::CONSUMERS),
            "min-idle-time" | "ms" => self.pick(values::IDLE_TIMES),
            "unix-time-milliseconds" => self.pick(&["1", "1000", "-1", "x"]),
            "field" | "value" => self.element(),
            "id" if command == "xadd" => self.new_stream_id(),
            "threshold" if self.rng.chance(1, 2) => self.integer(),
            "threshold" | "id" | "start" | "end" | "lastid" | "last-id" | "max-deleted-id" => {
                self.stream_id()
            }
            _ => self.integer(),
        }
    }

    /// An identifier that is greater than the others, mostly; never one that the clock gives.
    fn new_stream_id(&mut self) -> Vec<u8> {
        if self.rng.chance(1, 8) {
            return self.stream_id();
        }
        self.stream_time += self.rng.below(2);
        let time = self.stream_time % 1000;
        match self.rng.below(3) {
            0 => format!("{time}-*").into_bytes(),
            1 => format!("{time}-{}", self.rng.below(5)).into_bytes(),
            _ => format!("{}-{}", time + self.rng.below(3), self.rng.below(3)).into_bytes(),
        }
    }

    fn stream_id(&mut self) -> Vec<u8> {
        match self.rng.below(4) {
            0 => self.pick(values::STREAM_IDS),
            1 => b"0".to_vec(),
            _ => {
                let time = (self.stream_time % 1000).saturating_sub(self.rng.below(12));
                format!("{time}-{}", self.rng.below(4)).into_bytes()
            }
        }
    }

    pub(super) fn geo_value(&mut self, name: &str) -> Vec<u8> {
        match name {
            // Few meet: what lies at the same distance comes in no order that could be compared.
            "longitude" | "latitude" if self.rng.chance(9, 10) => {
                let range = if name == "longitude" { 180 } else { 85 };
                let degrees = self.rng.below(range * 20_000) as f64 / 10_000.0 - range as f64;
                format!("{degrees:.4}").into_bytes()
            }
            "longitude" => self.pick(values::LONGITUDES),
            "latitude" => self.pick(values::LATITUDES),
            "radius" | "width" | "height" => self.pick(values::RADIUSES),
            "count" => self.integer(),
            _ => self.element(),
        }
    }

    pub(super) fn bitmap_value(&mut self, command: &str, name: &str) -> Vec<u8> {
        match name {
            "encoding" => self.pick(values::FIELD_TYPES),
            "offset" if command.starts_with("bitfield") => self.pick(values::FIELD_OFFSETS),
            "offset" => self.pick(values::BIT_OFFSETS),
            "bit" => self.pick(&["0", "1", "1", "0", "2", "x"]),
            "value" if command == "setbit" => self.pick(&["0", "1", "1", "2", "x"]),
            "start" | "end" => decimal(self.rng.below(40) as i64 - 20),
            _ => self.integer(),
        }
    }
}
