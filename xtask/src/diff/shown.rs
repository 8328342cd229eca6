//! Commands and replies as text for people.

use super::generate::Operation;
use super::peer::Answer;
use shoal_protocol::value::Value;

/// What is shown of a reply.
const SHOWN_MAX: usize = 900;

/// A command as one would type it, with its connection.
pub fn shown(operation: &Operation) -> String {
    let words: Vec<String> = operation.words.iter().map(|word| quoted(word)).collect();
    format!("client {}: {}", operation.client, words.join(" "))
}

fn quoted(word: &[u8]) -> String {
    let is_plain =
        !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
    match is_plain {
        true => String::from_utf8_lossy(word).into_owned(),
        false => format!("\"{}\"", word.escape_ascii()),
    }
}

/// The beginning of an answer.
pub fn short(answer: &Answer) -> String {
    let text = match answer {
        Answer::Value(value) => shown_value(value),
        other => format!("{other:?}"),
    };
    text.chars().take(SHOWN_MAX).collect()
}

fn shown_value(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(shown_value).collect::<Vec<_>>().join(", ");
    match value {
        Value::Simple(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Error(text) => format!("(error) {}", String::from_utf8_lossy(text)),
        Value::Bulk(text) => format!("\"{}\"", text.escape_ascii()),
        Value::Array(values) => format!("[{}]", list(values)),
        Value::Map(pairs) => {
            let pairs =
                pairs.iter().map(|(name, value)| format!("{}: {}", shown_value(name), shown_value(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}
