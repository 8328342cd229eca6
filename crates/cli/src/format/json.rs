//! JSON. Errors are written as `error:"…"`, which no JSON parser accepts: so does `redis-cli` 7.0, and scripts that
//! look for it exist.

use super::OutputFormat;
use shoal_protocol::quoting::quote;
use shoal_protocol::value::Value;

/// How strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strings {
    /// Escaped as JSON demands; other bytes as they are.
    Plain,
    /// Quoted as for people, with the backslashes doubled, so that any bytes fit into ASCII.
    Quoted,
}

impl Strings {
    /// The kind that belongs to an output format.
    pub(crate) fn of(format: OutputFormat) -> Self {
        if format == OutputFormat::QuotedJson { Self::Quoted } else { Self::Plain }
    }
}

/// Appends `value`.
pub(crate) fn write(value: &Value, strings: Strings, out: &mut Vec<u8>) {
    match value {
        Value::Error(text) => {
            out.extend_from_slice(b"error:");
            write_string(text, strings, out);
        }
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim { text, .. } => {
            write_string(text, strings, out);
        }
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text.as_bytes()),
        Value::Null(_) => out.extend_from_slice(b"null"),
        Value::Boolean(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(element, strings, out);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_key(key, strings, out);
                out.push(b':');
                write(value, strings, out);
            }
            out.push(b'}');
        }
    }
}

/// A key must be a string: anything else is put between quotes.
fn write_key(key: &Value, strings: Strings, out: &mut Vec<u8>) {
    let start = out.len();
    write(key, strings, out);
    if out.get(start) != Some(&b'"') && !key.is_error() {
        out.insert(start, b'"');
        out.push(b'"');
    }
}

fn write_string(text: &[u8], strings: Strings, out: &mut Vec<u8>) {
    if strings == Strings::Quoted {
        for byte in quote(text).bytes() {
            if byte == b'\\' {
                out.push(b'\\');
            }
            out.push(byte);
        }
        return;
    }
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &Value, strings: Strings) -> String {
        let mut out = Vec::new();
        write(value, strings, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_in_two_ways() {
        let value = Value::Bulk("ü\"\\\n\u{1}".as_bytes().to_vec());
        assert_eq!(shown(&value, Strings::Plain), "\"ü\\\"\\\\\\n\\u0001\"");
        assert_eq!(shown(&value, Strings::Quoted), r#""\\xc3\\xbc\\"\\\\\\n\\x01""#);
    }

    #[test]
    fn keys_are_strings() {
        let map = Value::Map(vec![
            (Value::Integer(1), Value::Array(vec![Value::Boolean(true), Value::Integer(2)])),
            (Value::Bulk(b"k".to_vec()), Value::Map(vec![])),
        ]);
        assert_eq!(shown(&map, Strings::Plain), r#"{"1":[true,2],"k":{}}"#);
        assert_eq!(shown(&Value::Error(b"ERR".to_vec()), Strings::Plain), "error:\"ERR\"");
    }
}
