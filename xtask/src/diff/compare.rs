//! When two replies count as equal: rules by name, each with its reason. `docs/differences.md` lists the same names.

use super::peer::Answer;
use shoal_protocol::value::Value;

/// Milliseconds by which two clocks may be apart: the same command runs on one server after the other.
const CLOCK_SLACK_MS: i64 = 1500;

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
    Rule { name: "order", commands: &["keys", "scan", "config"], accepts: same_elements },
    Rule { name: "cursor", commands: &["scan"], accepts: both_pages },
    Rule { name: "random", commands: &["randomkey"], accepts: both_keys },
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

/// The same elements in any order; for SCAN, whose cursor must have come to its end on both sides; for CONFIG GET, as
/// pairs.
fn same_elements(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let elements = |value: &Value| {
        if let Value::Map(pairs) = value {
            let mut shown: Vec<String> = pairs.iter().map(|pair| format!("{pair:?}")).collect();
            shown.sort();
            return Some(shown);
        }
        let Value::Array(elements) = value else { return None };
        let elements = match elements.as_slice() {
            [cursor, Value::Array(page)] if cursor.as_bytes() == Some(b"0") => page,
            [_, Value::Array(_)] => return None,
            all => all,
        };
        let unit = if is_named(words, "config") { 2 } else { 1 };
        let mut shown: Vec<String> = elements.chunks(unit).map(|unit| format!("{unit:?}")).collect();
        shown.sort();
        Some(shown)
    };
    elements(ours).is_some_and(|shown| Some(shown) == elements(theirs))
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

fn both_keys(_: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    matches!((ours, theirs), (Value::Bulk(_), Value::Bulk(_)))
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
