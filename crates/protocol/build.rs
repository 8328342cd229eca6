//! Turns `commands.json`, the facts of Redis 7.2's command table, and `later-commands.json`, those of Redis 7.4 and of
//! Valkey 9 that Shoal has, into static Rust data. A later subcommand stands there by itself, as `container|name`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs, path::Path};

/// Slots of the name table: a power of two well above the number of commands, so that probing stays short.
const NAME_SLOTS: usize = 1024;
const SHORT_NAME_SLOTS: usize = 512;

fn main() {
    println!("cargo::rerun-if-changed=commands.json");
    println!("cargo::rerun-if-changed=later-commands.json");
    println!("cargo::rerun-if-changed=command-summaries.tsv");
    println!("cargo::rerun-if-changed=build.rs");
    let tables = ["commands.json", "later-commands.json"].map(|file| {
        let text = fs::read_to_string(file).expect("the table is part of the crate");
        serde_json::from_str::<Value>(&text).expect("the table is JSON")
    });
    let summaries = fs::read_to_string("command-summaries.tsv").expect("the summaries are part of the crate");
    let summaries: BTreeMap<&str, &str> =
        summaries.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut rows = Vec::new();
    let is_subcommand = |command: &&Value| text(&command["name"]).contains('|');
    for command in tables.iter().flat_map(list).filter(|command| !is_subcommand(command)) {
        let parent = rows.len();
        rows.push(Row { json: command, parent: None, children: 0 });
        let is_child = |later: &&Value| {
            let container = text(&later["name"]).split_once('|').map(|(container, _)| container);
            container == Some(text(&command["name"]))
        };
        let later = list(&tables[1]).iter().filter(is_child);
        for subcommand in list(&command["subcommands"]).iter().chain(later) {
            rows.push(Row { json: subcommand, parent: Some(parent), children: 0 });
            rows[parent].children += 1;
        }
    }
    let mut out = String::new();
    write_ids(&mut out, &rows);
    write_commands(&mut out, &rows, &summaries);
    write_names(&mut out, &rows);
    write_short_names(&mut out, &rows);
    let directory = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&directory).join("commands.rs"), out).expect("OUT_DIR is writable");
}

struct Row<'a> {
    json: &'a Value,
    parent: Option<usize>,
    children: usize,
}

impl Row<'_> {
    fn variant(&self) -> String {
        let name = text(&self.json["name"]);
        let mut variant = String::new();
        for word in name.split(['|', '-', '_']) {
            let mut letters = word.chars();
            if let Some(first) = letters.next() {
                variant.extend(first.to_uppercase());
                variant.push_str(letters.as_str());
            }
        }
        variant
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn write_ids(out: &mut String, rows: &[Row]) {
    out.push_str("/// Every command and subcommand of the table, in its order.\n");
    out.push_str("#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(u16)]\n");
    out.push_str("#[allow(missing_docs)]\npub enum CommandId {\n");
    for row in rows {
        let _ = writeln!(out, "    {},", row.variant());
    }
    out.push_str("}\n");
}

fn write_commands(out: &mut String, rows: &[Row], summaries: &BTreeMap<&str, &str>) {
    let _ = writeln!(
        out,
        "/// The table. A container's subcommands follow it directly.\npub static COMMANDS: [Command; {}] = [",
        rows.len()
    );
    for (index, row) in rows.iter().enumerate() {
        let json = row.json;
        let name = text(&json["name"]);
        let parent = row
            .parent
            .map_or("None".to_owned(), |parent| format!("Some(CommandId::{})", rows[parent].variant()));
        let flags = bits(&json["flags"], "Flags::", &[]);
        let categories = bits(&json["acl_categories"], "Categories::", &['@']);
        let _ = writeln!(
            out,
            "Command {{ id: CommandId::{}, name: {name:?}, parent: {parent}, arity: {}, flags: Flags({flags}), \
             categories: Categories({categories}), first_key: {}, last_key: {}, key_step: {}, tips: &{:?}, since: {:?}, \
             group: {:?}, summary: {:?}, complexity: {:?}, doc_flags: &{:?}, deprecated_since: {:?}, replaced_by: {:?}, \
             subcommand_count: {}, key_specs: &[{}], arguments: &{} }}, // {index}",
            row.variant(),
            number(&json["arity"]),
            number(&json["first_key"]),
            number(&json["last_key"]),
            number(&json["step"]),
            strings(&json["tips"]),
            text(&json["since"]),
            text(&json["group"]),
            summaries.get(name).unwrap_or_else(|| panic!("{name} has no summary")),
            text(&json["complexity"]),
            strings(&json["doc_flags"]),
            text(&json["deprecated_since"]),
            text(&json["replaced_by"]),
            row.children,
            list(&json["key_specs"]).iter().map(key_spec).collect::<String>(),
            arguments(&json["arguments"]),
        );
    }
    out.push_str("];\n");
}

fn strings(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

fn bits(value: &Value, prefix: &str, strip: &[char]) -> String {
    let names: Vec<String> = strings(value)
        .iter()
        .map(|name| {
            let name = name.trim_start_matches(strip).to_uppercase();
            let name = if name == "RW" || name == "RO" { name } else { name.replace('-', "_") };
            format!("{prefix}{name}.0")
        })
        .collect();
    if names.is_empty() { "0".to_owned() } else { names.join(" | ") }
}

/// The named parameters of a key specification: `["index", 1, …]` pairs.
fn parameter(value: &Value, name: &str) -> Value {
    let pairs = list(value);
    let spec = pairs.iter().skip_while(|item| text(item) != "spec").nth(1).cloned().unwrap_or(Value::Null);
    list(&spec).chunks(2).find(|pair| text(&pair[0]) == name).map_or(Value::Null, |pair| pair[1].clone())
}

fn key_spec(spec: &Value) -> String {
    let begin = &spec["begin_search"];
    let begin = match text(&list(begin)[1]) {
        "index" => format!("BeginSearch::Index({})", number(&parameter(begin, "index"))),
        "keyword" => format!(
            "BeginSearch::Keyword {{ keyword: {:?}, start_from: {} }}",
            text(&parameter(begin, "keyword")),
            number(&parameter(begin, "startfrom"))
        ),
        _ => "BeginSearch::Unknown".to_owned(),
    };
    let find = &spec["find_keys"];
    let find = match text(&list(find)[1]) {
        "range" => format!(
            "FindKeys::Range {{ last_key: {}, key_step: {}, limit: {} }}",
            number(&parameter(find, "lastkey")),
            number(&parameter(find, "keystep")),
            number(&parameter(find, "limit"))
        ),
        "keynum" => format!(
            "FindKeys::Count {{ count_index: {}, first_key: {}, key_step: {} }}",
            number(&parameter(find, "keynumidx")),
            number(&parameter(find, "firstkey")),
            number(&parameter(find, "keystep"))
        ),
        _ => "FindKeys::Unknown".to_owned(),
    };
    let flags = bits(&spec["flags"], "KeyFlags::", &[]);
    format!(
        "KeySpec {{ flags: KeyFlags({flags}), notes: {:?}, begin: {begin}, find: {find} }}, ",
        text(&spec["notes"])
    )
}

fn arguments(value: &Value) -> String {
    let mut out = String::from("[");
    for argument in list(value) {
        let flags = strings(&argument["flags"]);
        let kind = text(&argument["type"]).split('-').map(capitalised).collect::<String>();
        let token = argument["token"].as_str().map_or("None".to_owned(), |token| format!("Some({token:?})"));
        let spec =
            argument["key_spec_index"].as_i64().map_or("None".to_owned(), |index| format!("Some({index})"));
        let _ = write!(
            out,
            "Argument {{ name: {:?}, kind: ArgumentKind::{kind}, display_text: {:?}, token: {token}, key_spec_index: {spec}, \
             since: {:?}, deprecated_since: {:?}, optional: {}, multiple: {}, multiple_token: {}, arguments: &{} }}, ",
            text(&argument["name"]),
            text(&argument["display_text"]),
            text(&argument["since"]),
            text(&argument["deprecated_since"]),
            flags.contains(&"optional"),
            flags.contains(&"multiple"),
            flags.contains(&"multiple_token"),
            arguments(&argument["arguments"]),
        );
    }
    out.push(']');
    out
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// The same function as `command::name_hash`; a test holds the two together.
fn name_hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x0100_0193))
}

/// The same function as `command::fold_short`, for names of letters.
fn fold_short(name: &str) -> Option<u64> {
    let is_short = (1..=8).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase());
    is_short.then(|| name.bytes().rev().fold(0, |word, byte| word << 8 | u64::from(byte)))
}

/// The same function as `command::short_slot`.
fn short_slot(folded: u64) -> usize {
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SHORT_NAME_SLOTS
}

fn write_short_names(out: &mut String, rows: &[Row]) {
    let mut slots = vec![(0, 0); SHORT_NAME_SLOTS];
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.parent.is_none()) {
        let Some(folded) = fold_short(text(&row.json["name"])) else { continue };
        let mut slot = short_slot(folded);
        while slots[slot].0 != 0 {
            slot = (slot + 1) % SHORT_NAME_SLOTS;
        }
        slots[slot] = (folded, index as u16);
    }
    let _ = writeln!(
        out,
        "/// The names of up to eight letters, folded into words, with their rows. Open addressing by [`short_slot`]; 0 ends \
         a probe.\nstatic SHORT_NAMES: [(u64, u16); {SHORT_NAME_SLOTS}] = {slots:?};"
    );
}

fn write_names(out: &mut String, rows: &[Row]) {
    let mut slots = vec![u16::MAX; NAME_SLOTS];
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.parent.is_none()) {
        let mut slot = name_hash(text(&row.json["name"])) as usize % NAME_SLOTS;
        while slots[slot] != u16::MAX {
            slot = (slot + 1) % NAME_SLOTS;
        }
        slots[slot] = index as u16;
    }
    let _ = writeln!(
        out,
        "/// Open addressing by [`name_hash`]; `u16::MAX` ends a probe.\nstatic NAME_SLOTS: [u16; {NAME_SLOTS}] = {slots:?};"
    );
}
