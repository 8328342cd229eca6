//! Values of more than one part.

use crate::choices::not_listed;
use crate::kind::Kind;
use crate::number::{format_memory, parse_integer, parse_loose, parse_memory};
use crate::value::{RewrittenLine, Source, Value, single};
use shoal_protocol::quoting::quote;

/// The most addresses that `bind` takes.
const BIND_ADDRESSES_MAX: usize = 16;

/// Save the data set when that many changes happened within that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// The time in seconds, at least 1.
    pub seconds: u64,
    /// The number of changes.
    pub changes: u64,
}

/// The directive `save`: when snapshots are made by themselves; empty for never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

impl Value for SavePoints {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], source: Source) -> Result<(), String> {
        let is_reset = matches!(arguments, [only] if only.is_empty());
        let arguments = if is_reset { &[] } else { arguments };
        let invalid = || "Invalid save parameters".to_string();
        let (pairs, rest) = arguments.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(invalid());
        }
        let mut points = Vec::with_capacity(pairs.len());
        for [seconds, changes] in pairs {
            let number = |text: &[u8]| parse_loose(text).and_then(|number| u64::try_from(number).ok());
            match (number(seconds), number(changes)) {
                (Some(seconds @ 1..), Some(changes)) => points.push(SavePoint { seconds, changes }),
                _ => return Err(invalid()),
            }
        }
        // Several lines of a file add up; the loader clears the defaults before the first one.
        if source == Source::Command || is_reset {
            self.0.clear();
        }
        self.0.append(&mut points);
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        let points: Vec<_> =
            self.0.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect();
        points.join(" ").into_bytes()
    }

    fn rewrite(&self, name: &str, _default: &Self, _kind: &Kind) -> Vec<RewrittenLine> {
        let line = |text| RewrittenLine { text, is_forced: true };
        if self.0.is_empty() {
            // Without this line the defaults would come back.
            return vec![line(format!("{name} \"\""))];
        }
        self.0.iter().map(|point| line(format!("{name} {} {}", point.seconds, point.changes))).collect()
    }
}

/// A class of clients with output limits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    /// Plain clients, also in MONITOR.
    Normal,
    /// Replicas.
    Replica,
    /// Clients with at least one subscription.
    Pubsub,
}

/// How much output may wait for one client before it is disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// Beyond this the client goes at once; 0 for no limit.
    pub hard_bytes: u64,
    /// Beyond this it goes after [`Self::soft_seconds`]; 0 for no limit.
    pub soft_bytes: u64,
    /// How long the soft limit may be exceeded.
    pub soft_seconds: u64,
}

/// The directive `client-output-buffer-limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBufferLimits {
    /// The limits of plain clients.
    pub normal: OutputBufferLimit,
    /// The limits of replicas.
    pub replica: OutputBufferLimit,
    /// The limits of subscribers.
    pub pubsub: OutputBufferLimit,
}

impl OutputBufferLimits {
    /// The limits of one class.
    pub const fn of(&self, class: ClientClass) -> OutputBufferLimit {
        match class {
            ClientClass::Normal => self.normal,
            ClientClass::Replica => self.replica,
            ClientClass::Pubsub => self.pubsub,
        }
    }

    fn parts(&self) -> [(&'static str, &'static str, OutputBufferLimit); 3] {
        [
            ("normal", "normal", self.normal),
            // CONFIG GET says `slave` still, CONFIG REWRITE writes `replica`.
            ("slave", "replica", self.replica),
            ("pubsub", "pubsub", self.pubsub),
        ]
    }
}

impl Value for OutputBufferLimits {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let (groups, rest) = arguments.as_chunks::<4>();
        if !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut limits = *self;
        for [class, hard, soft, seconds] in groups {
            let slot = match class.to_ascii_lowercase().as_slice() {
                b"normal" => &mut limits.normal,
                b"slave" | b"replica" => &mut limits.replica,
                b"pubsub" => &mut limits.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
            };
            let seconds = parse_loose(seconds).and_then(|number| u64::try_from(number).ok());
            *slot = match (parse_memory(hard), parse_memory(soft), seconds) {
                (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) => {
                    OutputBufferLimit { hard_bytes, soft_bytes, soft_seconds }
                }
                _ => {
                    return Err(
                        "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()
                    );
                }
            };
        }
        *self = limits;
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        let parts = self.parts().map(|(class, _, limit)| {
            format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        });
        parts.join(" ").into_bytes()
    }

    fn rewrite(&self, name: &str, default: &Self, _kind: &Kind) -> Vec<RewrittenLine> {
        let pairs = self.parts().into_iter().zip(default.parts());
        pairs
            .map(|((_, class, limit), (_, _, standard))| RewrittenLine {
                text: format!(
                    "{name} {class} {} {} {}",
                    format_memory(limit.hard_bytes),
                    format_memory(limit.soft_bytes),
                    limit.soft_seconds
                ),
                is_forced: limit != standard,
            })
            .collect()
    }
}

/// The directive `bind`: the addresses to listen on. One with a leading `-` may be missing on the machine; `*` and
/// `::*` are all addresses of their family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAddresses(pub Vec<String>);

impl Value for BindAddresses {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        if arguments.len() > BIND_ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        let arguments = if matches!(arguments, [only] if only.is_empty()) { &[] } else { arguments };
        let addresses: Result<Vec<_>, _> =
            arguments.iter().map(|argument| String::from_utf8(argument.clone())).collect();
        self.0 = addresses.map_err(|_| "argument must be valid UTF-8 text")?;
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        self.0.join(" ").into_bytes()
    }

    fn rewrite(&self, name: &str, default: &Self, _kind: &Kind) -> Vec<RewrittenLine> {
        if self == default {
            return Vec::new();
        }
        let addresses = if self.0.is_empty() { "\"\"".into() } else { self.0.join(" ") };
        vec![RewrittenLine { text: format!("{name} {addresses}"), is_forced: true }]
    }
}

/// The directive `dir`: where data files are, and the process's working directory. CONFIG REWRITE always writes it,
/// as an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(pub String);

impl Value for Directory {
    fn assign(&mut self, kind: &Kind, arguments: &[Vec<u8>], source: Source) -> Result<(), String> {
        let mut path = String::new();
        path.assign(kind, arguments, source)?;
        // A file's directory becomes absolute when the loader enters it.
        self.0 = if source == Source::Command { join(&self.0, &path) } else { path };
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn rewrite(&self, name: &str, _default: &Self, _kind: &Kind) -> Vec<RewrittenLine> {
        if self.0.is_empty() {
            return Vec::new();
        }
        vec![RewrittenLine { text: format!("{name} {}", quote(self.0.as_bytes())), is_forced: true }]
    }
}

/// Where `path` leads from the absolute directory `base`, without `.` and `..` as far as they can be told without the
/// file system.
fn join(base: &str, path: &str) -> String {
    let base = if path.starts_with('/') { "" } else { base };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The directive `notify-keyspace-events`: a set of event classes, one bit per letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyspaceEvents(pub u16);

impl KeyspaceEvents {
    /// `K`: published on `__keyspace@N__:key`.
    pub const KEYSPACE: u16 = 1;
    /// `E`: published on `__keyevent@N__:event`.
    pub const KEYEVENT: u16 = 1 << 1;
    /// `g`: commands of all types, such as DEL and EXPIRE.
    pub const GENERIC: u16 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u16 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u16 = 1 << 4;
    /// `s`: sets.
    pub const SET: u16 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u16 = 1 << 6;
    /// `z`: sorted sets.
    pub const SORTED_SET: u16 = 1 << 7;
    /// `x`: a key expired.
    pub const EXPIRED: u16 = 1 << 8;
    /// `e`: a key was evicted.
    pub const EVICTED: u16 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u16 = 1 << 10;
    /// `m`: a key was asked for and missing.
    pub const KEY_MISS: u16 = 1 << 11;
    /// `d`: modules.
    pub const MODULE: u16 = 1 << 12;
    /// `n`: a key was created.
    pub const NEW: u16 = 1 << 13;
    /// `A`: all classes but `m` and `n`.
    pub const ALL: u16 = Self::GENERIC
        | Self::STRING
        | Self::LIST
        | Self::SET
        | Self::HASH
        | Self::SORTED_SET
        | Self::EXPIRED
        | Self::EVICTED
        | Self::STREAM
        | Self::MODULE;

    /// The letters in the order in which CONFIG GET prints them, with those of [`Self::ALL`] first.
    const LETTERS: [(u8, u16); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::SORTED_SET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
        (b'n', Self::NEW),
    ];

    /// Whether events of the class are wanted.
    pub const fn contains(self, class: u16) -> bool {
        self.0 & class != 0
    }
}

impl Value for KeyspaceEvents {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let mut classes = 0;
        for letter in single(arguments)? {
            let known = Self::LETTERS.iter().find(|(known, _)| known == letter).map(|(_, class)| *class);
            classes |= match letter {
                b'A' => Self::ALL,
                _ => known.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?,
            };
        }
        self.0 = classes;
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        let has_all = self.0 & Self::ALL == Self::ALL;
        let single_letters = Self::LETTERS
            .iter()
            .filter(|(_, class)| self.contains(*class) && !(has_all && class & Self::ALL != 0))
            .map(|(letter, _)| *letter);
        has_all.then_some(b'A').into_iter().chain(single_letters).collect()
    }

    fn rewrite(&self, name: &str, default: &Self, kind: &Kind) -> Vec<RewrittenLine> {
        vec![RewrittenLine {
            text: format!("{name} {}", quote(&self.show(kind))),
            is_forced: self != default,
        }]
    }
}

/// An amount of memory, as such or as a share of maxmemory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Bytes; 0 for no limit.
    Bytes(u64),
    /// Percent of maxmemory, 1 to 100.
    Percent(u8),
}

impl MemoryLimit {
    /// The limit in bytes; 0 for none.
    pub const fn bytes(self, maxmemory_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let product = maxmemory_bytes as u128 * percent as u128 / 100;
                product as u64
            }
        }
    }
}

impl Value for MemoryLimit {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let argument = single(arguments)?;
        if let Some(bytes) = parse_memory(argument) {
            *self = Self::Bytes(bytes);
            return Ok(());
        }
        let percent = argument.strip_suffix(b"%").and_then(parse_integer).filter(|percent| *percent >= 0);
        *self = match percent.map(u8::try_from) {
            None => return Err("argument must be a memory or percent value".into()),
            Some(Ok(0)) => Self::Bytes(0),
            Some(Ok(percent @ 1..=100)) => Self::Percent(percent),
            Some(_) => return Err("percentage argument must be less or equal to 100".into()),
        };
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Percent(percent) => format!("{percent}%"),
        }
        .into_bytes()
    }

    fn rewrite(&self, name: &str, default: &Self, _kind: &Kind) -> Vec<RewrittenLine> {
        let shown = match self {
            Self::Bytes(bytes) => format_memory(*bytes),
            Self::Percent(percent) => format!("{percent}%"),
        };
        vec![RewrittenLine { text: format!("{name} {shown}"), is_forced: self != default }]
    }
}

/// The directive `oom-score-adj-values`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomScoreValues {
    /// The adjustment of a primary, −2000 to 2000.
    pub primary: i16,
    /// The adjustment of a replica.
    pub replica: i16,
    /// The adjustment of a child that writes a file.
    pub child: i16,
}

impl Value for OomScoreValues {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let [primary, replica, child] = arguments else {
            return Err("wrong number of arguments".into());
        };
        let value = |text: &[u8]| {
            parse_loose(text)
                .filter(|value| (-2000..=2000).contains(value))
                .and_then(|value| i16::try_from(value).ok())
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
        };
        *self = Self { primary: value(primary)?, replica: value(replica)?, child: value(child)? };
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        format!("{} {} {}", self.primary, self.replica, self.child).into_bytes()
    }
}

/// The directive `latency-tracking-info-percentiles`, each 0 to 100.
#[derive(Debug, Clone, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Value for Percentiles {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let arguments = if matches!(arguments, [only] if only.is_empty()) { &[] } else { arguments };
        let mut percentiles = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let number = std::str::from_utf8(argument).ok().and_then(|text| text.parse::<f64>().ok());
            let number = number.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&number) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into()
                );
            }
            percentiles.push(number);
        }
        self.0 = percentiles;
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        let shown: Vec<_> = self
            .0
            .iter()
            .map(|number| {
                let fixed = format!("{number:.6}");
                fixed.trim_end_matches('0').trim_end_matches('.').to_string()
            })
            .collect();
        shown.join(" ").into_bytes()
    }

    fn rewrite(&self, name: &str, _default: &Self, kind: &Kind) -> Vec<RewrittenLine> {
        let shown = self.show(kind);
        let shown = if shown.is_empty() { "\"\"".into() } else { String::from_utf8_lossy(&shown) };
        vec![RewrittenLine { text: format!("{name} {shown}"), is_forced: true }]
    }
}

/// The directive `replicaof`: the primary to follow, if any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaOf(pub Option<(String, u16)>);

impl Value for ReplicaOf {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let [host, port] = arguments else {
            return Err("wrong number of arguments".into());
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            self.0 = None;
            return Ok(());
        }
        let port =
            parse_loose(port).and_then(|port| u16::try_from(port).ok()).ok_or("Invalid master port")?;
        let host = String::from_utf8(host.clone()).map_err(|_| "argument must be valid UTF-8 text")?;
        self.0 = Some((host, port));
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        self.0.as_ref().map_or_else(Vec::new, |(host, port)| format!("{host} {port}").into_bytes())
    }

    fn rewrite(&self, name: &str, _default: &Self, _kind: &Kind) -> Vec<RewrittenLine> {
        let line = |(host, port): &(String, u16)| RewrittenLine {
            text: format!("{name} {host} {port}"),
            is_forced: true,
        };
        self.0.iter().map(line).collect()
    }
}

/// What a stopping signal does: the directives `shutdown-on-sigint` and `shutdown-on-sigterm`. Without any of the
/// options the data set is saved if save points are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownOptions {
    /// Save even without save points.
    pub save: bool,
    /// Do not save.
    pub nosave: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Stop even if saving fails.
    pub force: bool,
}

impl ShutdownOptions {
    /// The words of the directive.
    pub const WORDS: &'static [&'static str] = &["default", "save", "nosave", "now", "force"];
}

impl Value for ShutdownOptions {
    fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"save" => options.save = true,
                b"nosave" => options.nosave = true,
                b"now" => options.now = true,
                b"force" => options.force = true,
                _ => return Err(not_listed(Self::WORDS)),
            }
        }
        if arguments.is_empty() {
            return Err(not_listed(Self::WORDS));
        }
        if options.save && options.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        *self = options;
        Ok(())
    }

    fn show(&self, _kind: &Kind) -> Vec<u8> {
        let words = [(self.save, "save"), (self.nosave, "nosave"), (self.now, "now"), (self.force, "force")];
        let set: Vec<_> = words.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect();
        if set.is_empty() { b"default".to_vec() } else { set.join(" ").into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_joined() {
        let cases = [
            ("/data", "/tmp/x/", "/tmp/x"),
            ("/data/a", "b", "/data/a/b"),
            ("/data/a", "../b/./c", "/data/b/c"),
            ("/data", "../../..", "/"),
            ("/data", ".", "/data"),
        ];
        for (base, path, expected) in cases {
            assert_eq!(join(base, path), expected, "{base} {path}");
        }
    }
}
