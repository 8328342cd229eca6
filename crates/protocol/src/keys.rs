//! Finding the keys of a request from the command's key specifications.

use crate::command::{BeginSearch, Command, CommandId, FindKeys, KeyFlags, KeySpec};
use crate::number::parse_i64;
use crate::request::Request;

/// A key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPosition {
    /// The word that is the key.
    pub index: usize,
    /// What the command does with it.
    pub flags: KeyFlags,
}

/// Appends the positions of all keys of `request`. False if the arguments do not fit the command's syntax.
///
/// `positions` is the caller's, so that the hot path allocates nothing.
pub fn find(command: &Command, request: &Request<'_>, positions: &mut Vec<KeyPosition>) -> bool {
    match command.id {
        CommandId::Sort | CommandId::SortRo => return find_sort(command, request, positions),
        CommandId::Migrate => return find_migrate(command, request, positions),
        CommandId::Georadius | CommandId::Georadiusbymember => {
            return find_store(command, request, positions);
        }
        CommandId::Set | CommandId::Bitfield => {
            positions.push(KeyPosition { index: 1, flags: flags_by_options(command, request) });
            return true;
        }
        _ => {}
    }
    command.key_specs.iter().all(|spec| find_by_spec(spec, request, positions))
}

/// Calls `visit` with each key of a request; the common commands cost a loop and nothing else.
pub fn for_each<'a>(command: &Command, request: &Request<'a>, mut visit: impl FnMut(&'a [u8])) {
    if command.first_key > 0 && !command.flags.contains(crate::command::Flags::MOVABLEKEYS) {
        let count = request.len();
        let last = if command.last_key < 0 {
            count.saturating_sub(usize::from(command.last_key.unsigned_abs()))
        } else {
            usize::try_from(command.last_key).unwrap_or(0)
        };
        let mut index = usize::try_from(command.first_key).unwrap_or(0);
        while index <= last && index < count {
            visit(request.argument(index));
            index += usize::try_from(command.key_step).unwrap_or(1).max(1);
        }
        return;
    }
    if command.key_specs.is_empty() {
        return;
    }
    let mut positions = Vec::new();
    // Arguments that do not fit name no keys: the command itself will say what is wrong with them.
    if !find(command, request, &mut positions) {
        return;
    }
    for position in positions {
        visit(request.argument(position.index));
    }
}

fn find_by_spec(spec: &KeySpec, request: &Request<'_>, positions: &mut Vec<KeyPosition>) -> bool {
    if spec.flags.contains(KeyFlags::NOT_KEY) {
        return true;
    }
    let count = request.len() as i64;
    let begin = match spec.begin {
        BeginSearch::Index(index) => i64::from(index),
        BeginSearch::Keyword { keyword, start_from } => match find_keyword(request, keyword, start_from) {
            Some(index) => index as i64 + 1,
            None => return true,
        },
        BeginSearch::Unknown => return true,
    };
    if begin >= count {
        return true;
    }
    let (first, last, step) = match spec.find {
        FindKeys::Range { last_key, key_step, limit } => {
            let last = if last_key >= 0 {
                begin + i64::from(last_key)
            } else if limit <= 1 {
                count + i64::from(last_key)
            } else {
                begin + (count - begin) / i64::from(limit) + i64::from(last_key)
            };
            (begin, last, i64::from(key_step))
        }
        FindKeys::Count { count_index, first_key, key_step } => {
            let at = usize::try_from(begin + i64::from(count_index)).unwrap_or(usize::MAX);
            let Some(keys) = parse_i64(request.argument(at)).filter(|&keys| keys >= 0 && keys <= count)
            else {
                return false;
            };
            let first = begin + i64::from(first_key);
            (first, first + (keys - 1) * i64::from(key_step), i64::from(key_step))
        }
        FindKeys::Unknown => return true,
    };
    let mut index = first;
    while index <= last {
        if index < 0 || index >= count {
            return false;
        }
        positions.push(KeyPosition { index: index as usize, flags: spec.flags });
        index += step.max(1);
    }
    true
}

/// From `start_from` towards the end, or from the end towards the start if it is negative.
fn find_keyword(request: &Request<'_>, keyword: &str, start_from: i32) -> Option<usize> {
    let matches = |index: &usize| request.argument(*index).eq_ignore_ascii_case(keyword.as_bytes());
    if start_from >= 0 {
        (usize::try_from(start_from).ok()?..request.len()).find(matches)
    } else {
        let from = request.len().checked_sub(start_from.unsigned_abs() as usize)?;
        (1..=from).rev().find(matches)
    }
}

fn flags_of(command: &Command, spec: usize) -> KeyFlags {
    command.key_specs.get(spec).map_or(KeyFlags::default(), |spec| spec.flags)
}

/// What SET and BITFIELD do with their key depends on their options.
fn flags_by_options(command: &Command, request: &Request<'_>) -> KeyFlags {
    let has = |from: usize, words: &[&[u8]]| {
        (from..request.len())
            .any(|index| words.iter().any(|word| request.argument(index).eq_ignore_ascii_case(word)))
    };
    let (read, change) = match command.id {
        CommandId::Set => (has(3, &[b"get"]), true),
        _ => (true, has(2, &[b"set", b"incrby"])),
    };
    KeyFlags(match (read, change) {
        (true, true) => KeyFlags::RW.0 | KeyFlags::ACCESS.0 | KeyFlags::UPDATE.0,
        (false, true) => KeyFlags::OW.0 | KeyFlags::UPDATE.0,
        (_, false) => KeyFlags::RO.0 | KeyFlags::ACCESS.0,
    })
}

/// SORT: the first argument, and the destination after the last STORE.
fn find_sort(command: &Command, request: &Request<'_>, positions: &mut Vec<KeyPosition>) -> bool {
    positions.push(KeyPosition { index: 1, flags: flags_of(command, 0) });
    let mut store = None;
    let mut index = 2;
    while index < request.len() {
        let word = request.argument(index);
        if word.eq_ignore_ascii_case(b"limit") {
            index += 2;
        } else if word.eq_ignore_ascii_case(b"get") || word.eq_ignore_ascii_case(b"by") {
            index += 1;
        } else if word.eq_ignore_ascii_case(b"store") && index + 1 < request.len() {
            store = Some(index + 1);
            index += 1;
        }
        index += 1;
    }
    if let (Some(index), CommandId::Sort) = (store, command.id) {
        positions.push(KeyPosition { index, flags: KeyFlags(KeyFlags::OW.0 | KeyFlags::UPDATE.0) });
    }
    true
}

/// MIGRATE: one key, or an empty one and a list after KEYS.
fn find_migrate(command: &Command, request: &Request<'_>, positions: &mut Vec<KeyPosition>) -> bool {
    let flags = flags_of(command, 0);
    if !request.argument(3).is_empty() {
        positions.push(KeyPosition { index: 3, flags });
        return true;
    }
    let keys = (6..request.len()).find(|&index| request.argument(index).eq_ignore_ascii_case(b"keys"));
    if let Some(keys) = keys {
        positions.extend((keys + 1..request.len()).map(|index| KeyPosition { index, flags }));
    }
    true
}

/// GEORADIUS and GEORADIUSBYMEMBER: the first argument, and the destination after the last STORE or STOREDIST.
fn find_store(command: &Command, request: &Request<'_>, positions: &mut Vec<KeyPosition>) -> bool {
    positions.push(KeyPosition { index: 1, flags: flags_of(command, 0) });
    let store = (5..request.len().saturating_sub(1)).rev().find(|&index| {
        let word = request.argument(index);
        word.eq_ignore_ascii_case(b"store") || word.eq_ignore_ascii_case(b"storedist")
    });
    if let Some(store) = store {
        positions.push(KeyPosition { index: store + 1, flags: flags_of(command, 1) });
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::OwnedRequest;

    fn keys(line: &str) -> Vec<String> {
        let owned = OwnedRequest::new(line.split(' '));
        let request = owned.as_request();
        let container = Command::lookup(request.argument(0)).unwrap();
        let command = container.subcommand(request.argument(1)).unwrap_or(container);
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        let mut positions = Vec::new();
        if !find(command, &request, &mut positions) {
            positions.clear();
        }
        let found: Vec<String> =
            positions.iter().map(|position| text(request.argument(position.index))).collect();
        let mut visited = Vec::new();
        for_each(command, &request, |key| visited.push(text(key)));
        assert_eq!(visited, found, "both ways find the same keys in {line}");
        found
    }

    #[test]
    fn keys_of_commands() {
        for (line, expected) in [
            ("GET a", vec!["a"]),
            ("PING", vec![]),
            ("MSET a 1 b 2", vec!["a", "b"]),
            ("DEL a b c", vec!["a", "b", "c"]),
            ("RENAME a b", vec!["a", "b"]),
            ("BLPOP a b 0", vec!["a", "b"]),
            ("EVAL x 2 a b c", vec!["a", "b"]),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", vec!["d", "a", "b"]),
            ("XREAD COUNT 1 STREAMS a b 0 0", vec!["a", "b"]),
            ("XREADGROUP GROUP g c STREAMS a 0", vec!["a"]),
            ("OBJECT ENCODING a", vec!["a"]),
            ("MIGRATE h 1 a 0 10", vec!["a"]),
            ("SORT a BY x GET y STORE d", vec!["a", "d"]),
            ("GEORADIUS g 1 1 1 m STORE d", vec!["g", "d"]),
            ("SINTERCARD 2 a b LIMIT 1", vec!["a", "b"]),
            ("ZDIFF 5 a b WITHSCORES", vec![]),
            ("BITOP AND d a b", vec!["d", "a", "b"]),
            ("MEMORY USAGE a", vec!["a"]),
            ("PUBLISH c m", vec![]),
        ] {
            assert_eq!(keys(line), expected, "{line}");
        }
    }

    #[test]
    fn flags_depend_on_options() {
        for (line, expected) in [
            ("SET a 1", vec!["OW", "update"]),
            ("SET a 1 EX 5 GET", vec!["RW", "access", "update"]),
            ("BITFIELD a GET u8 0", vec!["RO", "access"]),
            ("BITFIELD a GET u8 0 SET u8 0 1", vec!["RW", "access", "update"]),
        ] {
            let owned = OwnedRequest::new(line.split(' '));
            let request = owned.as_request();
            let mut positions = Vec::new();
            let command = Command::lookup(request.argument(0)).unwrap();
            assert!(find(command, &request, &mut positions));
            assert_eq!(positions[0].flags.names().collect::<Vec<_>>(), expected, "{line}");
        }
    }

    #[test]
    fn a_count_that_does_not_fit_is_refused() {
        let owned = OwnedRequest::new(["EVAL", "x", "9", "a"]);
        let command = Command::lookup(b"eval").unwrap();
        assert!(!find(command, &owned.as_request(), &mut Vec::new()));
    }
}
