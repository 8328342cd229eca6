//! What the prompt knows about commands: names, syntax, group. It comes from the command table; the summaries come from
//! the server, if it has any.

use crate::connection::Connection;
use crate::console::out;
use crate::text::lossy;
use shoal_protocol::command::{Argument, ArgumentKind, COMMANDS, Command};
use shoal_protocol::value::Value;
use std::sync::OnceLock;

/// One topic of `help`: a command or a subcommand.
pub(crate) struct Topic {
    /// In capitals, with a space before the subcommand.
    pub name: String,
    /// The syntax of its arguments.
    pub syntax: String,
    pub command: &'static Command,
}

/// All topics, by name.
pub(crate) fn topics() -> &'static [Topic] {
    static TOPICS: OnceLock<Vec<Topic>> = OnceLock::new();
    TOPICS.get_or_init(|| {
        let mut topics: Vec<_> = COMMANDS
            .iter()
            .map(|command| Topic {
                name: command.name.replace('|', " ").to_uppercase(),
                syntax: join(command.arguments, " "),
                command,
            })
            .collect();
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        topics
    })
}

/// The names of all groups, by name.
pub(crate) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = COMMANDS.iter().map(|command| command.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The topic whose name is the longest beginning of `words`, and of how many words it is.
pub(crate) fn find(words: &[Vec<u8>]) -> Option<(&'static Topic, usize)> {
    let matches = |topic: &Topic| {
        let names: Vec<_> = topic.name.split(' ').collect();
        let fits = names.len() <= words.len()
            && names.iter().zip(words).all(|(name, word)| name.as_bytes().eq_ignore_ascii_case(word));
        fits.then_some(names.len())
    };
    topics().iter().filter_map(|topic| Some((topic, matches(topic)?))).max_by_key(|(_, length)| *length)
}

/// Carries `help …` out; `words` follow the word `help`.
pub(crate) fn print(words: &[Vec<u8>], connection: Option<&mut Connection>) {
    let Some(first) = words.first() else {
        print_overview();
        return;
    };
    let summaries = connection.and_then(|connection| connection.call(&["COMMAND", "DOCS"]).ok());
    if let Some(group) = first.strip_prefix(b"@") {
        for topic in
            topics().iter().filter(|topic| topic.command.group.as_bytes().eq_ignore_ascii_case(group))
        {
            print_topic(topic, false, summaries.as_ref());
        }
    } else {
        for topic in topics() {
            let mut names = topic.name.split(' ');
            if words
                .iter()
                .all(|word| names.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(word)))
            {
                print_topic(topic, true, summaries.as_ref());
            }
        }
    }
    out!("\r\n");
}

fn print_overview() {
    out!(
        "redis-cli {}\n\
         Help about commands:\n\
         \x20     help @<group>      the commands of a group\n\
         \x20     help <command>     one command\n\
         \x20     help <tab>         all groups and commands, one after the other\n\
         \x20     <n> <command>      run a command n times\n\
         \x20     connect <host> <port>, clear, quit\n\
         \n\
         Preferences, also in ~/.redisclirc:\n\
         \x20     :set hints         show the syntax while typing\n\
         \x20     :set nohints       do not\n",
        crate::version()
    );
}

fn print_topic(topic: &Topic, with_group: bool, summaries: Option<&Value>) {
    out!("\r\n  \x1b[1m{}\x1b[0m \x1b[90m{}\x1b[0m\r\n", topic.name, topic.syntax);
    if let Some(summary) = summaries.and_then(|docs| summary_of(topic.command, docs)) {
        out!("  \x1b[33msummary:\x1b[0m {summary}\r\n");
    }
    out!("  \x1b[33msince:\x1b[0m {}\r\n", topic.command.since);
    if with_group {
        out!("  \x1b[33mgroup:\x1b[0m {}\r\n", topic.command.group);
    }
}

/// Finds a summary in the reply of COMMAND DOCS.
fn summary_of(command: &Command, docs: &Value) -> Option<String> {
    let summary = match command.name.split_once('|') {
        None => docs.field(command.name)?.field("summary")?,
        Some((container, _)) => {
            docs.field(container)?.field("subcommands")?.field(command.name)?.field("summary")?
        }
    };
    Some(lossy(summary.as_bytes()?).into_owned())
}

fn join(arguments: &[Argument], separator: &str) -> String {
    arguments.iter().map(syntax).collect::<Vec<_>>().join(separator)
}

/// An argument in the notation of the documentation: `[EX seconds|PX milliseconds]`, `key [key ...]`.
fn syntax(argument: &Argument) -> String {
    let name = if argument.display_text.is_empty() { argument.name } else { argument.display_text };
    let body = match argument.kind {
        ArgumentKind::PureToken => String::new(),
        ArgumentKind::Oneof => join(argument.arguments, "|"),
        ArgumentKind::Block => join(argument.arguments, " "),
        _ => or_quotes(name).to_owned(),
    };
    let token = match argument.token {
        None => String::new(),
        Some(token) if argument.kind == ArgumentKind::PureToken => or_quotes(token).to_owned(),
        Some(token) => format!("{} ", or_quotes(token)),
    };
    let mut text = format!("{token}{body}");
    if argument.multiple {
        let repeated_token = if argument.multiple_token { token.as_str() } else { "" };
        text.push_str(&format!(" [{repeated_token}{body} ...]"));
    }
    if argument.optional { format!("[{text}]") } else { text }
}

fn or_quotes(text: &str) -> &str {
    if text.is_empty() { "\"\"" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax_of(name: &str) -> &'static str {
        &topics().iter().find(|topic| topic.name == name).unwrap().syntax
    }

    #[test]
    fn syntax_is_that_of_the_documentation() {
        for (name, expected) in [
            ("GET", "key"),
            ("DEL", "key [key ...]"),
            ("MSET", "key value [key value ...]"),
            ("CONFIG GET", "parameter [parameter ...]"),
            ("EXPIRE", "key seconds [NX|XX|GT|LT]"),
            ("PING", "[message]"),
        ] {
            assert_eq!(syntax_of(name), expected, "{name}");
        }
        assert!(syntax_of("SET").starts_with("key value [NX|XX] [GET] [EX seconds|PX milliseconds|"));
    }

    #[test]
    fn the_longest_name_is_found() {
        let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let found = |line| find(&words(line)).map(|(topic, length)| (topic.name.as_str(), length));
        assert_eq!(found("config get x"), Some(("CONFIG GET", 2)));
        assert_eq!(found("config nosuch"), Some(("CONFIG", 1)));
        assert_eq!(found("nosuch"), None);
    }

    #[test]
    fn groups_are_known() {
        assert!(groups().contains(&"string") && groups().contains(&"cluster"));
    }
}
