//! `check-rdb`: looks at every byte of a snapshot, as loading it would, and says where it is damaged.
//!
//! The text is that of `redis-check-rdb`; `--json` gives the same to programs. The exit code is 0 for a sound file.

use serde_json::{Value, json};
use shoal_formats::rdb::{RdbEvent, RdbReader, ValueLayout, module_name};
use shoal_protocol::quoting::quote;
use shoal_store::snapshot::{BuildOptions, Builder, check_whole};
use shoal_store::{Hasher, StoreOptions};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// How much of the file is read at once.
const READ_BYTES: usize = 256 * 1024;
/// The first version with a checksum at its end.
const CHECKSUM_SINCE: u16 = 5;
/// Quoted keys and remarks are cut here when they are shown.
const SHOWN_MAX_CHARS: usize = 1024;

const HELP: &str = "\
Usage: check-rdb [--json] FILE

Looks at every byte of a snapshot, as loading it would. Prints what it finds on the way, where the file is damaged, and
how many keys could be read.

  --json         one JSON object instead of text
  -h, --help     this help
  -v, --version  the version

The exit code is 0 if the file is sound, 1 otherwise.
";

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The format's version, 0 if not even that could be read.
    pub version: u16,
    /// Remarks of the file and its databases on the way, each with its offset.
    pub remarks: Vec<(u64, String)>,
    /// Keys that were read.
    pub keys: u64,
    /// Those of them that expire.
    pub expires: u64,
    /// Those of them that have expired.
    pub already_expired: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, if anything is.
    pub damage: Option<Damage>,
}

/// Where a file is damaged.
#[derive(Clone, Debug)]
pub struct Damage {
    /// Bytes before the record that cannot be read.
    pub offset: u64,
    /// What is wrong with it.
    pub problem: String,
    /// What was being read.
    pub doing: &'static str,
    /// The key whose value was being read.
    pub key: Option<String>,
    /// The type of that value: its byte in the file, and its name.
    pub layout: Option<(u8, &'static str)>,
}

/// The program. Gives its exit code.
pub fn check_rdb_main(invoked: &str, arguments: &[OsString]) -> i32 {
    let mut wants_json = false;
    let mut file = None;
    for argument in arguments {
        match argument.to_str() {
            Some("-h" | "--help") => return say(HELP, 0),
            Some("-v" | "--version") => {
                return say(&format!("redis-check-rdb 7.2.4 (shoal {})\n", env!("CARGO_PKG_VERSION")), 0);
            }
            Some("--json") => wants_json = true,
            _ if file.is_none() => file = Some(argument),
            _ => return usage(invoked),
        }
    }
    let Some(file) = file else { return usage(invoked) };
    let name = file.to_string_lossy();
    let report = match File::open(file).and_then(check) {
        Ok(report) => report,
        Err(error) => {
            let _ = writeln!(io::stderr(), "Cannot read '{name}': {error}");
            return 1;
        }
    };
    let code = i32::from(report.damage.is_some());
    if wants_json {
        say(&format!("{:#}\n", to_json(&report, &name)), code)
    } else {
        say(&to_text(&report, &name), code)
    }
}

fn usage(invoked: &str) -> i32 {
    let _ = writeln!(io::stderr(), "Usage: {invoked} [--json] <rdb-file-name>");
    1
}

fn say(text: &str, code: i32) -> i32 {
    // Whoever closes the pipe has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    code
}

/// Reads a snapshot to its end, or to the first damage.
///
/// # Errors
/// The file cannot be read; damage is no error, but what is looked for.
pub fn check(mut file: impl Read) -> io::Result<Report> {
    let mut checker = Checker::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(checker.end());
        }
        checker.reader.feed(&buffer[..count]);
        if !checker.advance() || checker.reader.is_done() {
            return Ok(checker.end());
        }
    }
}

struct Checker {
    reader: RdbReader,
    options: BuildOptions,
    now_ms: u64,
    report: Report,
    doing: &'static str,
    /// The key whose parts are being read.
    open: Option<(String, ValueLayout, Builder)>,
}

impl Checker {
    fn new() -> Self {
        let store = StoreOptions { sanitize_payload: true, ..StoreOptions::default() };
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self {
            reader: RdbReader::new(true).skipping_modules(),
            options: BuildOptions::new(&store, Hasher::new(now_ms, 1)),
            now_ms,
            report: Report::default(),
            doing: "start",
            open: None,
        }
    }

    /// Takes what is complete. False at damage.
    fn advance(&mut self) -> bool {
        loop {
            let offset = self.reader.offset();
            let event = match self.reader.next() {
                Ok(Some(event)) => event,
                Ok(None) => return true,
                Err(error) => {
                    let (key, layout) = match self.open.take() {
                        Some((key, layout, _)) => (Some(key), Some(layout)),
                        None => (None, None),
                    };
                    self.report.damage =
                        Some(damage(error.offset, error.problem.to_string(), self.doing, key, layout));
                    return false;
                }
            };
            let Self { report, options, open, doing, now_ms, .. } = self;
            let refused = take(event, report, options, open, *now_ms);
            *doing = if open.is_some() { "read-object-value" } else { "read-type" };
            if let Some((problem, key, layout)) = refused {
                let doing = "read-object-value";
                self.report.damage = Some(damage(offset, problem, doing, Some(key), Some(layout)));
                return false;
            }
            // Remarks are shown with the place behind them.
            let after = self.reader.offset();
            if let Some((at, _)) = self.report.remarks.last_mut().filter(|(at, _)| *at == u64::MAX) {
                *at = after;
            }
        }
    }

    fn end(mut self) -> Report {
        self.report.bytes = self.reader.offset();
        if self.report.damage.is_none() && !self.reader.is_done() {
            let open = self.open.take();
            let (key, layout) = open.map_or((None, None), |(key, layout, _)| (Some(key), Some(layout)));
            let problem = "Unexpected EOF reading RDB file".to_owned();
            self.report.damage = Some(damage(self.report.bytes, problem, self.doing, key, layout));
        }
        self.report
    }
}

/// Takes one piece of the file. What is refused comes back with the reason, its key and its type.
fn take(
    event: RdbEvent<'_>,
    report: &mut Report,
    options: &BuildOptions,
    open: &mut Option<(String, ValueLayout, Builder)>,
    now_ms: u64,
) -> Option<(String, String, ValueLayout)> {
    let mut remark = |text: String| report.remarks.push((u64::MAX, text));
    match event {
        RdbEvent::Begin { version } => report.version = version,
        RdbEvent::Aux { name, value } => remark(format!("AUX FIELD {} = '{}'", plain(name), plain(value))),
        RdbEvent::SelectDatabase(index) => remark(format!("Selecting DB ID {index}")),
        RdbEvent::ModuleAux { module_id } => {
            remark(format!("MODULE AUX for: {}", module_name(module_id)));
        }
        RdbEvent::ModuleEntry { notes, .. } => count_key(report, notes.expiry_ms, now_ms),
        RdbEvent::Entry(entry) => {
            count_key(report, entry.notes.expiry_ms, now_ms);
            if let Err(error) = check_whole(entry.value, options) {
                return Some((error.to_string(), shown(entry.key), entry.value.layout()));
            }
        }
        RdbEvent::Open(head) => {
            count_key(report, head.notes.expiry_ms, now_ms);
            *open = Some((shown(head.key), head.layout, Builder::new(head.layout, options)));
        }
        RdbEvent::Element(element) => {
            if let Some((key, layout, builder)) = open
                && let Err(error) = builder.element(&element)
            {
                return Some((error.to_string(), key.clone(), *layout));
            }
        }
        RdbEvent::Close => {
            if let Some((key, layout, builder)) = open.take()
                && let Err(error) = builder.finish()
            {
                return Some((error.to_string(), key, layout));
            }
        }
        RdbEvent::End { has_checksum: true } => remark("Checksum OK".to_owned()),
        RdbEvent::End { .. } if report.version >= CHECKSUM_SINCE => {
            remark("RDB file was saved with checksum disabled: no check performed.".to_owned());
        }
        RdbEvent::Resize { .. }
        | RdbEvent::SlotInfo { .. }
        | RdbEvent::Function(_)
        | RdbEvent::End { .. } => {}
    }
    None
}

fn count_key(report: &mut Report, expiry_ms: Option<u64>, now_ms: u64) {
    report.keys += 1;
    report.expires += u64::from(expiry_ms.is_some());
    report.already_expired += u64::from(expiry_ms.is_some_and(|at| at < now_ms));
}

fn damage(
    offset: u64,
    problem: String,
    doing: &'static str,
    key: Option<String>,
    layout: Option<ValueLayout>,
) -> Damage {
    let layout = layout.map(|layout| (layout.byte(), layout_name(layout)));
    Damage { offset, problem, doing, key, layout }
}

/// The name under which check tools know a layout.
const fn layout_name(layout: ValueLayout) -> &'static str {
    match layout {
        ValueLayout::String => "string",
        ValueLayout::List => "list-linked",
        ValueLayout::Set => "set-hashtable",
        ValueLayout::SortedSetText => "zset-v1",
        ValueLayout::Hash => "hash-hashtable",
        ValueLayout::SortedSet => "zset-v2",
        ValueLayout::HashZipmap => "hash-zipmap",
        ValueLayout::ListZiplist => "list-ziplist",
        ValueLayout::SetIntset => "set-intset",
        ValueLayout::SortedSetZiplist => "zset-ziplist",
        ValueLayout::HashZiplist => "hash-ziplist",
        ValueLayout::Quicklist => "quicklist",
        ValueLayout::Stream => "stream",
        ValueLayout::HashListpack => "hash-listpack",
        ValueLayout::SortedSetListpack => "zset-listpack",
        ValueLayout::Quicklist2 => "quicklist-v2",
        ValueLayout::Stream2 => "stream-v2",
        ValueLayout::SetListpack => "set-listpack",
        ValueLayout::Stream3 => "stream-v3",
        ValueLayout::TimedHashPreview => "hash-hashtable-md-pre-release",
        ValueLayout::TimedHashListpackPreview => "hash-listpack-md-pre-release",
        ValueLayout::TimedHash => "hash-hashtable-md",
        ValueLayout::TimedHashListpack => "hash-listpack-md",
    }
}

fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN_MAX_CHARS).collect()
}

fn shown(key: &[u8]) -> String {
    let quoted = quote(key);
    quoted.trim_matches('"').chars().take(SHOWN_MAX_CHARS).collect()
}

/// What the program prints.
pub fn to_text(report: &Report, name: &str) -> String {
    let mut text = format!("[offset 0] Checking RDB file {name}\n");
    for (offset, remark) in &report.remarks {
        text += &format!("[offset {offset}] {remark}\n");
    }
    match &report.damage {
        None => text += &format!("[offset {}] \\o/ RDB looks OK! \\o/\n", report.bytes),
        Some(damage) => {
            text += &format!("--- RDB ERROR DETECTED ---\n[offset {}] {}\n", damage.offset, damage.problem);
            text += &format!("[additional info] While doing: {}\n", damage.doing);
            if let Some(key) = &damage.key {
                text += &format!("[additional info] Reading key '{key}'\n");
            }
            if let Some((byte, layout)) = damage.layout {
                text += &format!("[additional info] Reading type {byte} ({layout})\n");
            }
        }
    }
    let Report { keys, expires, already_expired, .. } = report;
    text + &format!(
        "[info] {keys} keys read\n[info] {expires} expires\n[info] {already_expired} already expired\n"
    )
}

fn to_json(report: &Report, name: &str) -> Value {
    let damage = report.damage.as_ref().map(|damage| {
        json!({
            "offset": damage.offset,
            "problem": damage.problem,
            "doing": damage.doing,
            "key": damage.key,
            "type": damage.layout.map(|(_, layout)| layout),
        })
    });
    json!({
        "file": name,
        "ok": report.damage.is_none(),
        "version": report.version,
        "bytes": report.bytes,
        "keys": report.keys,
        "expires": report.expires,
        "already_expired": report.already_expired,
        "damage": damage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_formats::rdb::{Element, EntryNotes, RdbString, RdbValue, RdbWriter};

    /// A string, one that has expired, and a list.
    fn sample() -> Vec<u8> {
        let mut writer = RdbWriter::new(11, false, true);
        writer.aux("redis-ver", RdbString::Bytes(b"7.2.4"));
        writer.select_database(0);
        let none = EntryNotes::default();
        writer.entry(b"text", none, RdbValue::String(RdbString::Bytes(b"hello")));
        let expired = EntryNotes { expiry_ms: Some(1), ..none };
        writer.entry(b"old", expired, RdbValue::String(RdbString::Integer(7)));
        writer.open(b"list", none, ValueLayout::List, 2);
        writer.element(&Element::Member(b"one"));
        writer.element(&Element::Member(b"two"));
        writer.end();
        let mut bytes = Vec::new();
        assert!(writer.drain(&mut |chunk| {
            bytes.extend_from_slice(chunk);
            true
        }));
        bytes
    }

    #[test]
    fn a_sound_file() {
        let bytes = sample();
        let report = check(&bytes[..]).unwrap();
        assert!(report.damage.is_none(), "{:?}", report.damage);
        assert_eq!((report.version, report.keys, report.expires, report.already_expired), (11, 3, 1, 1));
        assert_eq!(report.bytes, bytes.len() as u64);
        let text = to_text(&report, "dump.rdb");
        let offsets = text.lines().filter_map(|line| line.strip_prefix("[offset ")?.split_once(']'));
        let offsets: Vec<u64> = offsets.map(|(offset, _)| offset.parse().unwrap()).collect();
        assert!(offsets.is_sorted() && offsets.last() == Some(&(bytes.len() as u64)), "{text}");
        assert!(
            text.contains("AUX FIELD redis-ver = '7.2.4'") && text.contains("[info] 3 keys read"),
            "{text}"
        );
    }

    #[test]
    fn every_damage_is_found_and_placed() {
        let bytes = sample();
        for length in 0..bytes.len() {
            let report = check(&bytes[..length]).unwrap();
            let damage = report.damage.expect("the end is missing");
            assert!(damage.offset <= length as u64, "{length}: {damage:?}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(check(&damaged[..]).unwrap().damage.is_some(), "byte {at}");
        }
    }

    #[test]
    fn the_key_with_the_damage_is_named() {
        let mut writer = RdbWriter::new(11, false, false);
        writer.select_database(0);
        let broken = RdbValue::Packed { layout: ValueLayout::HashListpack, bytes: b"no listpack" };
        writer.entry(b"broken \n", EntryNotes::default(), broken);
        writer.end();
        let mut bytes = Vec::new();
        writer.drain(&mut |chunk| {
            bytes.extend_from_slice(chunk);
            true
        });
        let report = check(&bytes[..]).unwrap();
        let text = to_text(&report, "x");
        for line in
            ["While doing: read-object-value", "Reading key 'broken \\n'", "Reading type 16 (hash-listpack)"]
        {
            assert!(text.contains(line), "{line} in {text}");
        }
        let json = to_json(&report, "x");
        assert_eq!((&json["ok"], &json["damage"]["type"]), (&json!(false), &json!("hash-listpack")));
    }
}
