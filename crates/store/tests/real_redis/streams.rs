//! Streams: random commands get the replies that Redis gives, leave the same data and the same bytes, and the data
//! travels in files and payloads. Where 7.2 differs from the 7.0 that is asked, nothing is compared: consumers are made
//! beforehand, and times are left out.

use crate::pair::Pair;
use crate::server::Server;
use shoal_machine::Rng;
use shoal_protocol::value::Value;
use shoal_store::snapshot::{BuildOptions, LoadOptions, Loader, Snapshot, SnapshotOptions};
use shoal_store::testing::{Fixture, show};

const COMMANDS: usize = 12_000;
const COMPARE_EVERY: usize = 50;
const KEYS: &[&str] = &["s", "t", "u", "v"];
const CONSUMERS: &[&str] = &["c", "d", "12"];

/// Ids for new entries, mostly ascending; with leaps, so that the keys of nodes share few bytes and many.
struct Ids {
    ms: u64,
    rng: Rng,
}

impl Ids {
    fn new_id(&mut self) -> String {
        let Self { ms, rng } = self;
        match rng.below(40) {
            0 if *ms < 1 << 60 => *ms += 1 << rng.below(56),
            1..=8 => {}
            _ => *ms += rng.below(3),
        }
        match rng.below(12) {
            0 => format!("{ms}"),
            1..=7 => format!("{ms}-*"),
            8 => format!("{ms}-{}", rng.next_u64() >> rng.below(64)),
            _ => format!("{ms}-{}", rng.below(300)),
        }
    }

    /// An id that may be there.
    fn old_id(&mut self) -> String {
        let ms = self.ms.saturating_sub(self.rng.below(20));
        if self.rng.chance(1, 3) { ms.to_string() } else { format!("{ms}-{}", self.rng.below(4)) }
    }

    fn fill(&mut self, word: &str) -> String {
        const VALUES: &[&str] =
            &["1", "-7", "v", "", "100000", "9223372036854775807", "a longer value", "007"];
        let choices = match word {
            "KEY" => &["s", "s", "t", "u", "v", "string"][..],
            "STREAM" => KEYS,
            "GROUP" => &["g", "h", "g", "h", "i"],
            "CONSUMER" => CONSUMERS,
            "FIELD" => &["f", "f", "f", "g", "12"],
            "VALUE" if self.rng.chance(1, 30) => return "x".repeat(self.rng.index(5000)),
            "VALUE" => VALUES,
            "COUNT" => &["1", "2", "3", "10", "0", "-1", "x"],
            "MANY" => &["0", "3", "10", "20", "40", "x", "-1"],
            "EXACTLY" => &["~", "=", "="],
            "NEW" => return self.new_id(),
            "ID" => return self.old_id(),
            "START" if self.rng.chance(1, 2) => return format!("({}", self.old_id()),
            "START" => &["-", "0", "1-1", "+", "(0", "x"],
            "END" if self.rng.chance(1, 2) => return self.old_id(),
            "END" => &["+", "+", "-", "18446744073709551615", "(5-0", "x"],
            "IDLE" => &["0", "0", "0", "99999999", "-1", "x"],
            literal => return literal.to_owned(),
        };
        (*self.rng.choose(choices).unwrap()).to_owned()
    }
}

/// The third element of what XPENDING says of an entry is how long ago something was.
fn without_idle_times(reply: &Value) -> String {
    let Value::Array(entries) = reply else { return show(reply) };
    let shown = entries.iter().map(|entry| match entry {
        Value::Array(facts) if facts.len() == 4 => {
            format!("{} {} {}", show(&facts[0]), show(&facts[1]), show(&facts[3]))
        }
        other => show(other),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn code_of_errors(reply: &Value) -> String {
    match reply {
        Value::Error(text) => String::from_utf8_lossy(text).split(' ').next().unwrap_or("").to_owned(),
        other => show(other),
    }
}

/// The form of a command, and what of its reply is compared.
type Form = (&'static str, fn(&Value) -> String);

const FORMS: &[Form] = &[
    ("XADD KEY NEW FIELD VALUE", show),
    ("XADD KEY NEW f VALUE g VALUE", show),
    ("XADD KEY NEW f VALUE g VALUE", show),
    ("XADD s NEW FIELD VALUE", show),
    ("XADD t NEW FIELD VALUE FIELD VALUE FIELD VALUE", show),
    ("XADD KEY NOMKSTREAM NEW f VALUE", show),
    ("XADD KEY MAXLEN EXACTLY MANY NEW f VALUE", show),
    ("XADD KEY MAXLEN ~ MANY LIMIT MANY NEW f VALUE", show),
    ("XADD KEY MINID EXACTLY ID NEW f VALUE", show),
    ("XADD KEY ID f VALUE", show),
    ("XTRIM KEY MAXLEN EXACTLY MANY", show),
    ("XTRIM KEY MINID EXACTLY ID", show),
    ("XTRIM KEY MINID ~ ID LIMIT MANY", show),
    ("XDEL KEY ID ID", show),
    ("XDEL KEY ID ID ID ID", show),
    ("XLEN KEY", show),
    ("XRANGE KEY START END", show),
    ("XRANGE KEY START END COUNT COUNT", show),
    ("XREVRANGE KEY END START", show),
    ("XREVRANGE KEY END START COUNT COUNT", show),
    ("XREAD STREAMS s t ID ID", show),
    ("XREAD COUNT COUNT STREAMS KEY KEY ID $", show),
    ("XREADGROUP GROUP GROUP CONSUMER STREAMS KEY >", show),
    ("XREADGROUP GROUP GROUP CONSUMER COUNT COUNT STREAMS KEY >", show),
    ("XREADGROUP GROUP GROUP CONSUMER COUNT COUNT NOACK STREAMS STREAM >", show),
    ("XREADGROUP GROUP GROUP CONSUMER COUNT COUNT STREAMS STREAM ID", show),
    ("XREADGROUP GROUP g CONSUMER STREAMS s t > >", show),
    ("XACK KEY GROUP ID ID ID", show),
    ("XPENDING KEY GROUP", show),
    ("XPENDING KEY GROUP START END COUNT", without_idle_times),
    ("XPENDING KEY GROUP IDLE IDLE START END COUNT CONSUMER", without_idle_times),
    ("XCLAIM KEY GROUP CONSUMER IDLE ID ID", show),
    ("XCLAIM KEY GROUP CONSUMER 0 ID ID ID JUSTID", show),
    ("XCLAIM KEY GROUP CONSUMER 0 ID ID FORCE RETRYCOUNT COUNT", show),
    ("XCLAIM KEY GROUP CONSUMER 0 ID LASTID ID IDLE MANY", show),
    ("XAUTOCLAIM KEY GROUP CONSUMER IDLE START", show),
    ("XAUTOCLAIM KEY GROUP CONSUMER 0 0 COUNT COUNT", show),
    ("XAUTOCLAIM KEY GROUP CONSUMER 0 START COUNT COUNT JUSTID", show),
    ("XGROUP CREATE KEY GROUP ID", show),
    ("XGROUP CREATE STREAM GROUP $ MKSTREAM ENTRIESREAD COUNT", show),
    ("XGROUP SETID KEY GROUP ID", show),
    ("XGROUP SETID KEY GROUP $ ENTRIESREAD MANY", show),
    ("XGROUP DELCONSUMER KEY GROUP CONSUMER", show),
    ("XINFO STREAM KEY", show),
    ("XINFO GROUPS KEY", show),
    ("XINFO NONE KEY", code_of_errors),
    ("COPY STREAM u REPLACE", show),
    ("RENAME t u", show),
];

/// What is done now and then.
const RARE_FORMS: &[Form] = &[
    ("DEL STREAM", show),
    ("XGROUP DESTROY KEY GROUP", show),
    ("XSETID KEY NEW", code_of_errors),
    ("XSETID STREAM NEW ENTRIESADDED MANY MAXDELETEDID ID", code_of_errors),
];

/// Makes all consumers on both sides: 7.0 makes them later than 7.2 does.
fn make_consumers(pair: &mut Pair) {
    for key in KEYS {
        for group in ["g", "h", "i"] {
            for consumer in CONSUMERS {
                pair.check_as(&["XGROUP", "CREATECONSUMER", key, group, consumer], code_of_errors);
            }
        }
    }
}

fn compare(pair: &mut Pair) {
    pair.check_digests();
    for key in KEYS {
        pair.check(&["XINFO", "STREAM", key]);
        pair.check(&["XINFO", "GROUPS", key]);
        if pair.fixture.run(&format!("XINFO GROUPS {key}")) == "[]" {
            // Without groups there are no times in it.
            pair.check(&["DUMP", key]);
        }
        for group in ["g", "h", "i"] {
            pair.check_as(&["XPENDING", key, group, "-", "+", "1000"], without_idle_times);
        }
    }
}

#[test]
fn random_commands() {
    for (seed, entries, bytes) in [(1, "4", "4096"), (2, "100", "200"), (3, "1", "0")] {
        let mut pair = Pair::new();
        pair.server.call(&["CONFIG", "SET", "stream-node-max-entries", entries]);
        pair.server.call(&["CONFIG", "SET", "stream-node-max-bytes", bytes]);
        pair.server.call(&["CONFIG", "SET", "rdbcompression", "no"]);
        pair.fixture.options.compress = false;
        pair.fixture.options.limits.stream_node_max_entries = entries.parse().unwrap();
        pair.fixture.options.limits.stream_node_max_bytes = bytes.parse().unwrap();
        pair.fixture.options.rdb_version = 10;
        pair.check(&["SET", "string", "value"]);
        let mut ids = Ids { ms: 1, rng: Rng::new(seed) };
        for round in 1..=COMMANDS {
            let forms = if ids.rng.chance(1, 60) { RARE_FORMS } else { FORMS };
            let (form, comparable) = *ids.rng.choose(forms).unwrap();
            let words: Vec<String> = form.split(' ').map(|word| ids.fill(word)).collect();
            if words[0] == "XSETID" && pair.fixture.run_words(&words).starts_with(b"-ERR") {
                // 7.0 lets ids fall below deleted ones.
                continue;
            }
            pair.check_as(&words, comparable);
            if words[0] == "XGROUP" {
                make_consumers(&mut pair);
            }
            if round % COMPARE_EVERY == 0 {
                compare(&mut pair);
            }
        }
    }
}

/// Streams with everything that files say of them.
fn fill_with_groups(run: &mut dyn FnMut(&str)) {
    for number in 1..=250 {
        run(&format!("XADD log {number}-{} name n{number} age {number}", number * 7));
        run(&format!("XADD mixed {number} f{} v", number % 3));
    }
    for line in [
        "XDEL log 3-21 77-539 250-1750",
        "XTRIM mixed MINID 120",
        "XGROUP CREATE log first 0",
        "XGROUP CREATE log second 40 ENTRIESREAD 39",
        "XGROUP CREATE log third $",
        "XGROUP CREATECONSUMER log first idle",
        "XREADGROUP GROUP first a COUNT 60 STREAMS log >",
        "XREADGROUP GROUP first b COUNT 30 STREAMS log >",
        "XREADGROUP GROUP first a STREAMS log 0",
        "XACK log first 5-35 6-42",
        "XREADGROUP GROUP second a NOACK COUNT 5 STREAMS log >",
        "XGROUP CREATE empty g $ MKSTREAM",
        "XADD gone 5 f v",
        "XDEL gone 5",
    ] {
        run(line);
    }
}

fn loaded(bytes: &[u8], fixture: &Fixture) -> Fixture {
    let mut loaded = Fixture::default();
    let build = BuildOptions::new(&fixture.options, loaded.keyspace.hasher());
    let mut loader = Loader::new(LoadOptions::new(fixture.now(), build));
    assert_eq!(loader.feed(&mut loaded.keyspace, bytes), Ok(true));
    loaded
}

/// What both versions say of the streams, times left out.
fn facts(run: &mut dyn FnMut(&str) -> Value) -> Vec<String> {
    let mut facts = Vec::new();
    for key in ["log", "mixed", "empty", "gone"] {
        for question in ["XRANGE KEY - +", "XINFO STREAM KEY", "XINFO GROUPS KEY"] {
            facts.push(show(&run(&question.replace("KEY", key))));
        }
    }
    for group in ["first", "second", "third"] {
        facts.push(without_idle_times(&run(&format!("XPENDING log {group} - + 1000"))));
        facts.push(show(&run(&format!("XPENDING log {group}"))));
    }
    facts
}

fn our_facts(fixture: &mut Fixture) -> Vec<String> {
    facts(&mut |line| {
        let mut decoder = shoal_protocol::value::Decoder::new();
        decoder.feed(&fixture.run_words(&line.split(' ').collect::<Vec<_>>()));
        decoder.next_value().unwrap().unwrap()
    })
}

fn their_facts(server: &mut Server) -> Vec<String> {
    facts(&mut |line| server.call(&line.split(' ').collect::<Vec<_>>()))
}

#[test]
fn files_travel_both_ways() {
    let mut fixture = Fixture::default();
    fill_with_groups(&mut |line| drop(fixture.run(line)));
    let expected = our_facts(&mut fixture);
    for rdb_version in [10, 11] {
        let mut options = SnapshotOptions::new(fixture.now(), fixture.options);
        options.store.rdb_version = rdb_version;
        let bytes = Snapshot::new(&fixture.keyspace, &options).to_vec();
        let mut back = loaded(&bytes, &fixture);
        assert_eq!(our_facts(&mut back), expected);
        let consumers = fixture.run("XINFO CONSUMERS log first");
        if rdb_version == 11 {
            assert_eq!(back.run("XINFO CONSUMERS log first"), consumers);
            continue;
        }
        let mut server = Server::start(&["--dbfilename", "ours.rdb"], |directory| {
            std::fs::write(directory.join("ours.rdb"), &bytes).unwrap();
        });
        assert_eq!(their_facts(&mut server), expected);
    }
    let mut server = Server::start(&["--dbfilename", "theirs.rdb"], |_| {});
    fill_with_groups(&mut |line| drop(server.call(&line.split(' ').collect::<Vec<_>>())));
    assert_eq!(show(&server.call(&["SAVE"])), "+OK");
    let bytes = std::fs::read(server.directory().join("theirs.rdb")).unwrap();
    let mut theirs = loaded(&bytes, &fixture);
    assert_eq!(our_facts(&mut theirs), their_facts(&mut server));
    assert_eq!(our_facts(&mut theirs), expected);
}

#[test]
fn payloads_travel_both_ways() {
    let mut pair = Pair::new();
    pair.fixture.options.rdb_version = 10;
    fill_with_groups(&mut |line| drop(pair.check_as(&line.split(' ').collect::<Vec<_>>(), show)));
    let expected = our_facts(&mut pair.fixture);
    for key in ["log", "mixed", "empty", "gone"] {
        let theirs = pair.server.call(&["DUMP", key]);
        let ours = pair.fixture.run(&format!("DUMP {key}"));
        let ours = shoal_protocol::quoting::split_arguments(ours.as_bytes()).unwrap();
        let theirs = theirs.as_bytes().unwrap();
        let reply = pair.fixture.run_words(&[b"RESTORE", key.as_bytes(), b"0", theirs, b"REPLACE"]);
        assert_eq!(reply, b"+OK\r\n");
        let reply = pair.server.call(&[b"RESTORE", key.as_bytes(), b"0", &ours[0], b"REPLACE"]);
        assert_eq!(show(&reply), "+OK");
    }
    assert_eq!(our_facts(&mut pair.fixture), expected);
    assert_eq!(their_facts(&mut pair.server), expected);
}
