//! Replies as the texts that tests compare.

use shoal_protocol::quoting::quote;
use shoal_protocol::value::Value;

/// A reply on one line.
pub fn show(value: &Value) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = |values: &[Value]| {
        let shown: Vec<String> = values.iter().map(show).collect();
        format!("[{}]", shown.join(", "))
    };
    match value {
        Value::Simple(bytes) => format!("+{}", text(bytes)),
        Value::Error(bytes) => format!("-{}", text(bytes)),
        Value::Integer(integer) => format!(":{integer}"),
        Value::Bulk(bytes) => quote(bytes),
        Value::Null(_) => "nil".to_owned(),
        Value::Array(values) => list(values),
        Value::Set(values) => format!("~{}", list(values)),
        Value::Push(values) => format!(">{}", list(values)),
        Value::Map(pairs) => {
            let shown: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}: {}", show(key), show(value))).collect();
            format!("{{{}}}", shown.join(", "))
        }
        Value::Double(number) => format!(",{number}"),
        Value::Boolean(true) => "#t".to_owned(),
        Value::Boolean(false) => "#f".to_owned(),
        Value::BigNumber(number) => format!("({number}"),
        Value::Verbatim { format, text: bytes } => format!("={}:{}", text(format), quote(bytes)),
    }
}
