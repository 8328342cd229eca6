//! When two replies count as equal: rules by name, each with its reason. `docs/differences.md` lists the same names.

use super::peer::Answer;
use shoal_protocol::command::Command;
use shoal_protocol::value::Value;

/// Milliseconds by which two clocks may be apart: the same command runs on one server after the other.
const CLOCK_SLACK_MS: i64 = 1500;

/// Numbers in replies about streams are counts or Unix times; counts are far below.
const SMALLEST_TIME_MS: i64 = 1_000_000_000;

/// A way in which replies may differ.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// The commands it is for; none means all.
    commands: &'static [&'static str],
    /// Whether it makes these two replies count as equal.
    accepts: fn(&[Vec<u8>], &Value, &Value) -> bool,
}

/// All rules; the first that accepts counts.
pub const RULES: &[Rule] = &[
    Rule { name: "order", commands: &[], accepts: same_elements },
    Rule { name: "cursor", commands: &["scan"], accepts: both_pages },
    Rule {
        name: "random",
        commands: &["randomkey", "spop", "srandmember", "hrandfield", "zrandmember"],
        accepts: same_shape,
    },
    Rule { name: "equal-distance", commands: GEOGRAPHIC, accepts: same_in_any_order },
    Rule { name: "list-encoding", commands: &["object"], accepts: both_list_encodings },
    Rule { name: "size-hint", commands: &["object"], accepts: other_size },
    Rule { name: "doubles", commands: &[], accepts: same_doubles },
    Rule { name: "newer-errors", commands: &[], accepts: newer_error },
    Rule {
        name: "damaged-hyperloglog",
        commands: &["pfadd", "pfcount", "pfmerge", "pfdebug"],
        accepts: only_ours_sees_damage,
    },
    Rule { name: "stale-error", commands: &["sort", "sort_ro"], accepts: stale_error },
    Rule { name: "newer-refusal", commands: &["xsetid"], accepts: newer_refusal },
    Rule { name: "payload", commands: &["dump"], accepts: both_collections },
    Rule { name: "idle", commands: &["xpending", "xinfo"], accepts: same_but_idle_times },
    Rule {
        name: "clock",
        commands: &["ttl", "pttl", "expiretime", "pexpiretime", "time", "lastsave"],
        accepts: close_times,
    },
    Rule { name: "memory", commands: &["memory", "object"], accepts: both_positive },
    Rule { name: "identity", commands: &["client"], accepts: same_kind },
    Rule { name: "version", commands: &["hello", "info", "command"], accepts: same_kind },
    Rule { name: "zero-byte", commands: &[], accepts: cut_at_zero },
    Rule { name: "help", commands: &["object"], accepts: both_help },
];

/// Commands that order places by their distance.
const GEOGRAPHIC: &[&str] =
    &["geosearch", "georadius", "georadius_ro", "georadiusbymember", "georadiusbymember_ro"];

/// Rules after which the keys of the command differ and are deleted.
pub const UNEQUAL_DATA: &[&str] = &["damaged-hyperloglog", "newer-refusal", "stale-error"];

/// Whether two answers are equal, and if only by a rule, by which.
pub enum Verdict {
    /// Byte for byte.
    Equal,
    /// By this rule.
    Accepted(&'static str),
    /// Not at all.
    Different,
}

/// Compares the answers to a command. `queued` are the commands of the transaction an EXEC ends.
pub fn compare(words: &[Vec<u8>], queued: &[Vec<Vec<u8>>], ours: &Answer, theirs: &Answer) -> Verdict {
    if ours == theirs {
        return Verdict::Equal;
    }
    let (Answer::Value(ours), Answer::Value(theirs)) = (ours, theirs) else { return Verdict::Different };
    if is_named(words, "exec")
        && let (Value::Array(ours), Value::Array(theirs)) = (ours, theirs)
        && ours.len() == theirs.len()
        && ours.len() == queued.len()
    {
        return transaction(queued, ours, theirs);
    }
    compare_values(words, ours, theirs)
}

/// Whether a command has this name.
pub fn is_named(words: &[Vec<u8>], name: &str) -> bool {
    words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn transaction(queued: &[Vec<Vec<u8>>], ours: &[Value], theirs: &[Value]) -> Verdict {
    let mut verdict = Verdict::Equal;
    for (words, (ours, theirs)) in queued.iter().zip(ours.iter().zip(theirs)) {
        match compare_values(words, ours, theirs) {
            Verdict::Equal => {}
            // What leaves unequal data must not be forgotten for what does not.
            Verdict::Accepted(_) if matches!(verdict, Verdict::Accepted(name) if UNEQUAL_DATA.contains(&name)) =>
                {}
            Verdict::Accepted(name) => verdict = Verdict::Accepted(name),
            Verdict::Different => return Verdict::Different,
        }
    }
    verdict
}

fn compare_values(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> Verdict {
    if ours == theirs {
        return Verdict::Equal;
    }
    let applies = |rule: &&Rule| {
        (rule.commands.is_empty() || rule.commands.iter().any(|name| is_named(words, name)))
            && (rule.accepts)(words, ours, theirs)
    };
    RULES.iter().find(applies).map_or(Verdict::Different, |rule| Verdict::Accepted(rule.name))
}

/// The same elements in any order, where the table says that the order means nothing, and for KEYS and CONFIG GET and SORT
/// without an order; for scans, the cursor must have come to its end on both sides.
fn same_elements(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let name = words.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    let row = Command::lookup(&name);
    let is_unordered = row.is_some_and(|row| row.tips.contains(&"nondeterministic_output_order"));
    let unit = match name.as_slice() {
        b"config" | b"hgetall" | b"hscan" | b"zscan" => 2,
        b"keys" | b"scan" | b"sscan" | b"sort" | b"sort_ro" | b"pubsub" => 1,
        _ if is_unordered => 1,
        _ => return false,
    };
    // SORT that has an order has one result only; texts that are equal leave it open.
    let has = |text: &[u8]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    let is_open = words.windows(2).any(|pair| {
        matches!(pair, [word, pattern] if word.eq_ignore_ascii_case(b"by") && !pattern.contains(&b'*'))
    }) || has(b"by") && has(b"alpha");
    let is_sorted = name.starts_with(b"sort") && !is_open;
    let is_scored = name == b"zscan";
    !is_sorted
        && elements(ours, unit, is_scored)
            .is_some_and(|shown| Some(shown) == elements(theirs, unit, is_scored))
}

/// An element and what belongs to it; a score is shown in one form, however many digits came.
fn shown(unit: &[Value], is_scored: bool) -> String {
    let number = |value: &Value| value.as_text().and_then(|text| text.parse::<f64>().ok());
    match unit {
        [first, second] if is_scored && number(second).is_some() => format!("{first:?} {:?}", number(second)),
        unit => format!("{unit:?}"),
    }
}

/// The elements of a reply, `unit` by `unit`, as sorted text; nothing for a page that is not the last.
fn elements(value: &Value, unit: usize, is_scored: bool) -> Option<Vec<String>> {
    let mut shown: Vec<String> = match value {
        Value::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        Value::Array(all) | Value::Set(all) => {
            let page = match all.as_slice() {
                [cursor, Value::Array(page)] if cursor.as_bytes() == Some(b"0") => page,
                [_, Value::Array(_)] => return None,
                all => all,
            };
            page.chunks(unit).map(|unit| shown(unit, is_scored)).collect()
        }
        _ => return None,
    };
    shown.sort();
    Some(shown)
}

/// Pages of SCAN that are not the whole: the cursors have nothing in common.
fn both_pages(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let is_page = |value: &Value| matches!(value, Value::Array(parts) if matches!(parts.as_slice(), [_, Value::Array(_)]));
    let is_whole = words.get(1).is_some_and(|cursor| cursor == b"0")
        && words.windows(2).any(
            |pair| matches!(pair, [name, count] if name.eq_ignore_ascii_case(b"count") && count == b"1000"),
        );
    is_page(ours) && is_page(theirs) && !is_whole
}

/// Places at one distance come in the order of a sort that is not stable.
fn same_in_any_order(_: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    elements(ours, 1, false).is_some_and(|shown| Some(shown) == elements(theirs, 1, false))
}

/// As many elements of the same kinds.
fn same_shape(_: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) | (Value::Set(ours), Value::Set(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same_shape(&[], ours, theirs))
        }
        (Value::Error(_), _) | (_, Value::Error(_)) => false,
        _ => std::mem::discriminant(ours) == std::mem::discriminant(theirs),
    }
}

/// 7.2 keeps small lists as a listpack, 7.0 all as a quicklist.
fn both_list_encodings(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let is_encoding = words.get(1).is_some_and(|name| name.eq_ignore_ascii_case(b"encoding"));
    is_encoding && ours.as_bytes() == Some(b"listpack") && theirs.as_bytes() == Some(b"quicklist")
}

/// 7.2 makes a new collection for as many elements as the command has, also if some are the same. And SORT turns a sorted
/// set that it reads into the larger encoding, which Shoal has no need to do.
fn other_size(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let is_encoding = words.get(1).is_some_and(|name| name.eq_ignore_ascii_case(b"encoding"));
    let pair = (ours.as_bytes().unwrap_or_default(), theirs.as_bytes().unwrap_or_default());
    let is_known = matches!(
        pair,
        (b"skiplist" | b"hashtable", b"listpack") | (b"hashtable", b"intset") | (b"listpack", b"skiplist")
    );
    is_encoding && is_known
}

/// Scores and coordinates: 7.2 prints the shortest digits that give the number, 7.0 seventeen.
fn same_doubles(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let group = words.first().and_then(|name| Command::lookup(name)).map_or("", |row| row.group);
    ["sorted-set", "geo"].contains(&group) && same_numbers(ours, theirs)
}

fn same_numbers(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same_numbers(ours, theirs))
        }
        (Value::Bulk(_), Value::Bulk(_)) | (Value::Double(_), Value::Double(_)) if ours != theirs => {
            let number = |value: &Value| value.as_text().and_then(|text| text.parse::<f64>().ok());
            // Seventeen digits, or an exponent of at least two: what is equal so far is the same number.
            let has_seventeen = theirs.as_bytes().is_some_and(|text| text.len() > 16 || text.contains(&b'e'));
            has_seventeen && number(ours).is_some() && number(ours) == number(theirs)
        }
        _ => ours == theirs,
    }
}

/// Errors that 7.2 gives in other words, or where 7.0 gives none.
fn newer_error(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let Value::Error(ours) = ours else { return false };
    let begins = |text: &str| ours.starts_with(text.as_bytes());
    match words.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default().as_slice() {
        b"bitcount" | b"bitpos" => matches!(theirs, Value::Integer(-1 | 0) | Value::Error(_)),
        b"xreadgroup" if theirs.as_bytes().is_some_and(|text| text.starts_with(b"UNBLOCKED")) => {
            begins("NOGROUP") || begins("WRONGTYPE")
        }
        b"xread" | b"xreadgroup" => begins("ERR Unbalanced 'xread") && theirs.is_error(),
        b"lpos" => begins("ERR value is out of range, value must between -9223372036854775807"),
        _ => false,
    }
}

/// Ours looks at all registers before it changes one; Redis sees damage only where it happens to look.
fn only_ours_sees_damage(_: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    matches!(ours, Value::Error(text) if text.starts_with(b"INVALIDOBJ")) && !theirs.is_error()
}

/// SORT of Redis may take the range error of some number that was read long before for one of its own.
fn stale_error(_: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let says =
        |value: &Value| matches!(value, Value::Error(text) if text.ends_with(b"converted into double"));
    !ours.is_error() && says(theirs)
}

/// 7.2 does not let XSETID go back behind the greatest identifier that was deleted.
fn newer_refusal(_: &[Vec<u8>], ours: &Value, _: &Value) -> bool {
    matches!(ours, Value::Error(text) if text.ends_with(b"current max_deleted_entry_id"))
}

/// Payloads of collections: the order in hash tables, the bounds of nodes and the encoding are each server's own. Strings
/// must be equal.
fn both_collections(_: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let (Value::Bulk(ours), Value::Bulk(theirs)) = (ours, theirs) else { return false };
    let kinds = (ours.first().copied().unwrap_or(0), theirs.first().copied().unwrap_or(0));
    // The larger encodings are those of sets, hashes and sorted sets, beside their small ones.
    kinds.0 != 0 && (kinds.0 == kinds.1 || matches!(kinds, (2, 11) | (4, 16) | (5, 17) | (17, 5)))
}

/// Replies about streams: how long ago something was, and fields that only 7.2 or the memory layout has.
fn same_but_idle_times(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    match is_named(words, "xpending") {
        true => same_pending(ours, theirs),
        false => same_information(ours, theirs),
    }
}

/// XPENDING with a range: entries of identifier, consumer, idle time and count.
fn same_pending(ours: &Value, theirs: &Value) -> bool {
    let (Value::Array(ours), Value::Array(theirs)) = (ours, theirs) else { return false };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|pair| match pair {
            (Value::Array(ours), Value::Array(theirs)) => match (ours.as_slice(), theirs.as_slice()) {
                ([id, consumer, idle, count], [other_id, other_consumer, other_idle, other_count]) => {
                    id == other_id
                        && consumer == other_consumer
                        && count == other_count
                        && close(idle, other_idle)
                }
                _ => false,
            },
            _ => false,
        })
}

/// Fields of XINFO that are times, or each server's own.
const OWN_FIELDS: &[&[u8]] = &[b"idle", b"inactive", b"seen-time", b"active-time", b"radix-tree-nodes"];

fn same_information(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Map(ours), Value::Map(theirs)) => {
            let flat = |pairs: &[(Value, Value)]| {
                Value::Array(pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect())
            };
            same_information(&flat(ours), &flat(theirs))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let (ours, theirs) = (without_own_fields(ours), without_own_fields(theirs));
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same_information(ours, theirs))
        }
        // An entry that waits says when it was delivered.
        (Value::Integer(time), Value::Integer(_)) => {
            ours == theirs || *time > SMALLEST_TIME_MS && close(ours, theirs)
        }
        _ => ours == theirs,
    }
}

/// Elements without the names and values of fields that cannot be compared.
fn without_own_fields(elements: &[Value]) -> Vec<&Value> {
    let mut kept = Vec::new();
    let mut rest = elements.iter();
    while let Some(element) = rest.next() {
        if element.as_bytes().is_some_and(|name| OWN_FIELDS.contains(&name)) {
            rest.next();
        } else {
            kept.push(element);
        }
    }
    kept
}

/// Times that differ by what lies between the two calls.
fn close(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Integer(ours), Value::Integer(theirs)) => {
            ours.abs_diff(*theirs) <= CLOCK_SLACK_MS.unsigned_abs()
        }
        _ => false,
    }
}

/// Times that differ by what lies between the two calls.
fn close_times(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    if let (Value::Array(ours), Value::Array(theirs)) = (ours, theirs) {
        return is_named(words, "time") && ours.len() == theirs.len();
    }
    let (Value::Integer(ours), Value::Integer(theirs)) = (ours, theirs) else { return false };
    if is_named(words, "lastsave") {
        return true;
    }
    *ours >= 0 && *theirs >= 0 && ours.abs_diff(*theirs) <= CLOCK_SLACK_MS.unsigned_abs()
}

/// Sizes and idle times: numbers of one's own memory.
fn both_positive(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let is_own = is_named(words, "memory")
        || words.get(1).is_some_and(|name| {
            [&b"freq"[..], b"idletime", b"refcount"].iter().any(|own| name.eq_ignore_ascii_case(own))
        });
    is_own && matches!((ours, theirs), (Value::Integer(0..), Value::Integer(0..)))
}

/// The same type of reply, its content speaks of the server itself.
fn same_kind(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let speaks_of_itself =
        !is_named(words, "command") || words.get(1).is_none_or(|name| name.eq_ignore_ascii_case(b"count"));
    let is_error = ours.is_error() || theirs.is_error();
    speaks_of_itself && !is_error && std::mem::discriminant(ours) == std::mem::discriminant(theirs)
}

/// Error texts that repeat a word with a zero byte: Redis ends the word there.
fn cut_at_zero(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let (Value::Error(ours), Value::Error(theirs)) = (ours, theirs) else { return false };
    let code = |text: &[u8]| text.iter().take(20).copied().collect::<Vec<_>>();
    words.iter().any(|word| word.contains(&0)) && code(ours) == code(theirs)
}

fn both_help(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    words.get(1).is_some_and(|name| name.eq_ignore_ascii_case(b"help")) && same_kind(words, ours, theirs)
}

#[cfg(test)]
mod tests {
    use super::{Answer, RULES, Verdict, compare};
    use crate::workspace;
    use shoal_protocol::value::Value;

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_counts_as_equal() {
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let array = |texts: &[&str]| Value::Array(texts.iter().map(|text| bulk(text)).collect());
        let page = |cursor: &str, keys: &[&str]| Value::Array(vec![bulk(cursor), array(keys)]);
        let cases = [
            ("GET a", bulk("x"), bulk("x"), Some("")),
            ("GET a", bulk("x"), bulk("y"), None),
            ("KEYS *", array(&["a", "b"]), array(&["b", "a"]), Some("order")),
            ("KEYS *", array(&["a", "b"]), array(&["b", "b"]), None),
            ("SCAN 0 COUNT 1000", page("0", &["a", "b"]), page("0", &["b", "a"]), Some("order")),
            ("SCAN 0 COUNT 1000", page("0", &["a"]), page("3", &["a"]), None),
            ("SCAN 1", page("0", &["a"]), page("3", &[]), Some("cursor")),
            ("TTL a", Value::Integer(100), Value::Integer(99), Some("clock")),
            ("TTL a", Value::Integer(-1), Value::Integer(0), None),
            ("RANDOMKEY", bulk("a"), bulk("b"), Some("random")),
            ("SPOP a 2", array(&["a", "b"]), array(&["c", "b"]), Some("random")),
            ("SPOP a 2", array(&["a", "b"]), array(&["c"]), None),
            ("SMEMBERS a", array(&["a", "b"]), array(&["b", "a"]), Some("order")),
            ("LRANGE a 0 9", array(&["a", "b"]), array(&["b", "a"]), None),
            ("HGETALL a", array(&["a", "1", "b", "2"]), array(&["b", "2", "a", "1"]), Some("order")),
            ("HGETALL a", array(&["a", "1", "b", "2"]), array(&["b", "1", "a", "2"]), None),
            ("HGETALL a", array(&["a", "1", "b", "2"]), array(&["b", "2", "a", "1.0"]), None),
            (
                "ZSCAN a 0",
                page("0", &["a", "1e-7", "b", "2"]),
                page("0", &["b", "2", "a", "9.9999999999999995e-08"]),
                Some("order"),
            ),
            ("SORT a", array(&["a", "b"]), array(&["b", "a"]), None),
            ("SORT a BY nosort", array(&["a", "b"]), array(&["b", "a"]), Some("order")),
            ("OBJECT ENCODING a", bulk("listpack"), bulk("quicklist"), Some("list-encoding")),
            ("OBJECT ENCODING a", bulk("listpack"), bulk("hashtable"), None),
            ("DUMP a", bulk("\u{4}ab"), bulk("\u{4}ba"), Some("payload")),
            ("DUMP a", bulk("\0ab"), bulk("\0ba"), None),
            ("DUMP a", bulk("\u{4}ab"), bulk("\u{5}ba"), None),
            ("ZSCORE a b", bulk("1e-20"), bulk("9.9999999999999995e-21"), Some("doubles")),
            ("ZSCORE a b", bulk("1"), bulk("2"), None),
            ("GET a", bulk("1e-20"), bulk("9.9999999999999995e-21"), None),
            (
                "BITCOUNT a x",
                Value::Error(b"ERR syntax error".to_vec()),
                Value::Integer(0),
                Some("newer-errors"),
            ),
            ("LPOS a x", Value::Error(b"ERR syntax error".to_vec()), Value::Integer(0), None),
            ("HELLO 3", Value::Error(b"ERR".to_vec()), Value::Map(Vec::new()), None),
        ];
        for (text, ours, theirs, expected) in cases {
            let verdict = compare(&words(text), &[], &Answer::Value(ours), &Answer::Value(theirs));
            let found = match verdict {
                Verdict::Equal => Some(""),
                Verdict::Accepted(name) => Some(name),
                Verdict::Different => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn every_rule_is_documented() {
        let text = workspace::text("docs/differences.md").unwrap().unwrap();
        for rule in RULES {
            assert!(text.contains(&format!("| `{}` |", rule.name)), "{}", rule.name);
        }
    }
}
