//! What a command of the manager leaves for scripts: with `--json` every command prints one object.
//!
//! What would have been printed for people is captured and becomes `messages`; what a command has to tell besides is noted
//! here while it works. `docs/manager-schema.json` describes the objects.

use crate::console;
use crate::exit::{Exit, Step};
use serde_json::{Map, Value as Json, json};
use std::cell::RefCell;

thread_local! {
    static NOTES: RefCell<Map<String, Json>> = RefCell::new(Map::new());
}

/// Notes a result of the running command under a name of the schema.
pub(super) fn note(name: &str, value: Json) {
    NOTES.with_borrow_mut(|notes| notes.insert(name.to_owned(), value));
}

/// Runs a command and prints one object instead of what it prints.
pub(super) fn as_json(command: &str, body: impl FnOnce() -> Step<i32>) -> Step<i32> {
    console::capture();
    let result = body();
    let printed = console::end_capture();
    let code = match result {
        Ok(code) | Err(Exit(code)) => code,
    };
    let notes = NOTES.take();
    // Commands that always could speak JSON have printed their object already.
    let own = printed.lines().last().and_then(|line| serde_json::from_str::<Json>(line).ok());
    let object = match own {
        Some(Json::Object(own)) => own,
        _ => enveloped(command, code, &printed, notes),
    };
    console::write_out(format_args!("{}\n", Json::Object(object)));
    Ok(code)
}

fn enveloped(command: &str, code: i32, printed: &str, notes: Map<String, Json>) -> Map<String, Json> {
    let lines = printed.lines().map(without_colours);
    let messages: Vec<String> = lines.filter(|line| !line.trim().is_empty()).collect();
    let mut object = Map::new();
    object.insert("command".to_owned(), json!(command));
    object.insert("ok".to_owned(), json!(code == 0));
    object.insert("exit_code".to_owned(), json!(code));
    object.insert("messages".to_owned(), json!(messages));
    object.insert("result".to_owned(), Json::Object(notes));
    object
}

fn without_colours(line: &str) -> String {
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::out;

    #[test]
    fn what_is_printed_becomes_messages() {
        let body = || {
            note("node", json!("abc"));
            out!(">>> one\n\n\x1b[32;1m[OK] two\n\x1b[0m");
            Err(Exit(1))
        };
        console::capture();
        let result = as_json("add-node", body);
        let printed = console::end_capture();
        assert_eq!(result, Ok(1));
        let expected = json!({
            "command": "add-node", "ok": false, "exit_code": 1,
            "messages": [">>> one", "[OK] two"], "result": {"node": "abc"},
        });
        assert_eq!(serde_json::from_str::<Json>(&printed).unwrap(), expected);
    }

    #[test]
    fn an_object_of_its_own_stays() {
        console::capture();
        let result = as_json("check", || {
            out!("{{\"ok\":true}}\n");
            Ok(0)
        });
        assert_eq!((result, console::end_capture().as_str()), (Ok(0), "{\"ok\":true}\n"));
    }
}
