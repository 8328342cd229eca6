//! Editing a line on a terminal: completion, hints, and the masked input of passwords.

use super::help::{find, groups, topics};
use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use shoal_protocol::quoting::split_arguments;
use std::borrow::Cow;

/// Lines remembered.
const HISTORY_LINES_MAX: usize = 100;

/// What the editor asks for while a line is typed.
pub(crate) struct Assistant {
    /// Show the rest of the syntax behind the cursor.
    pub hints: bool,
    /// Show stars instead of what is typed.
    pub masked: bool,
}

/// An editor for the prompt, or for one password.
pub(crate) fn new_editor(assistant: Assistant) -> rustyline::Result<Editor<Assistant, MemHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::Circular)
        .max_history_size(HISTORY_LINES_MAX)?
        .history_ignore_dups(true)?
        .auto_add_history(false)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(assistant));
    Ok(editor)
}

/// Everything that can stand where `line` stands.
fn completions(line: &str) -> Vec<String> {
    let (head, typed, with_groups) = match line.get(..5) {
        Some(help) if help.eq_ignore_ascii_case("help ") => {
            let typed = line[5..].trim_start();
            (&line[..line.len() - typed.len()], typed, true)
        }
        _ => ("", line, false),
    };
    let groups = groups().into_iter().filter(|_| with_groups).map(|group| format!("@{group}"));
    groups
        .chain(topics().iter().map(|topic| topic.name.clone()))
        .filter(|name| name.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed)))
        .map(|name| format!("{head}{name}"))
        .collect()
}

/// The syntax of the command on `line`, without the arguments that are typed already.
fn hint(line: &str) -> Option<String> {
    let words = split_arguments(line.as_bytes()).ok()?;
    let (topic, length) = find(&words)?;
    let mut rest = topic.syntax.as_str();
    for _ in length..words.len() {
        if rest.starts_with('[') {
            break;
        }
        rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
    }
    let space = if line.ends_with(char::is_whitespace) { "" } else { " " };
    (!rest.is_empty()).then(|| format!("{space}{rest}"))
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        _position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((0, if self.masked { Vec::new() } else { completions(line) }))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _context: &Context<'_>) -> Option<String> {
        (self.hints && !self.masked && position == line.len()).then(|| hint(line)).flatten()
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _position: usize) -> Cow<'l, str> {
        if self.masked { Cow::Owned("*".repeat(line.chars().count())) } else { Cow::Borrowed(line) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[90m{hint}\x1b[0m"))
    }

    fn highlight_char(&self, _line: &str, _position: usize, _kind: CmdKind) -> bool {
        self.masked
    }
}

impl Validator for Assistant {}
impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_topics_complete() {
        assert_eq!(completions("getd"), ["GETDEL"]);
        assert!(completions("config re").contains(&"CONFIG REWRITE".to_owned()));
        assert!(completions("help @str").contains(&"help @string".to_owned()));
        assert!(completions("help getd").contains(&"help GETDEL".to_owned()));
        assert!(completions("nosuch").is_empty());
    }

    #[test]
    fn hints_shrink_as_arguments_are_typed() {
        for (line, expected) in [
            ("get", Some(" key")),
            ("get ", Some("key")),
            ("get k", None),
            ("expire k", Some(" seconds [NX|XX|GT|LT]")),
            ("expire k 10 ", Some("[NX|XX|GT|LT]")),
            ("nosuch", None),
            ("", None),
        ] {
            assert_eq!(hint(line).as_deref(), expected, "{line:?}");
        }
    }
}
