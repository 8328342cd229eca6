//! Output for people: `1) "a"`.

use shoal_protocol::quoting::quote;
use shoal_protocol::value::Value;

/// Appends `value`, ended by a line end. `prefix` is the indentation of every line but the first, which the caller has
/// begun already.
pub(crate) fn write(value: &Value, prefix: &str, out: &mut Vec<u8>) {
    let line = |parts: &[&[u8]], out: &mut Vec<u8>| {
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.push(b'\n');
    };
    match value {
        Value::Error(text) => line(&[b"(error) ", text], out),
        Value::Simple(text) | Value::Verbatim { text, .. } => line(&[text], out),
        Value::Integer(number) => line(&[b"(integer) ", number.to_string().as_bytes()], out),
        Value::Double(text) => line(&[b"(double) ", text.as_bytes()], out),
        Value::BigNumber(text) => line(&[b"(big number) ", text.as_bytes()], out),
        Value::Bulk(text) => line(&[quote(text).as_bytes()], out),
        Value::Null(_) => line(&[b"(nil)"], out),
        Value::Boolean(truth) => line(&[if *truth { b"(true)" } else { b"(false)" }], out),
        Value::Array(elements) if elements.is_empty() => line(&[b"(empty array)"], out),
        Value::Set(elements) if elements.is_empty() => line(&[b"(empty set)"], out),
        Value::Push(elements) if elements.is_empty() => line(&[b"(empty push)"], out),
        Value::Map(pairs) if pairs.is_empty() => line(&[b"(empty hash)"], out),
        Value::Array(elements) | Value::Push(elements) => write_elements(elements, ')', prefix, out),
        Value::Set(elements) => write_elements(elements, '~', prefix, out),
        Value::Map(pairs) => write_pairs(pairs, prefix, out),
    }
}

/// The messages of client-side caching, in one line.
pub(crate) fn write_invalidation(keys: &[Value], out: &mut Vec<u8>) {
    out.extend_from_slice(b"-> invalidate: ");
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        out.push(b'\'');
        out.extend_from_slice(key.as_bytes().unwrap_or_default());
        out.push(b'\'');
    }
    out.push(b'\n');
}

fn write_elements(elements: &[Value], separator: char, prefix: &str, out: &mut Vec<u8>) {
    let width = digits(elements.len());
    let inner = format!("{prefix}{:width$}", "", width = width + 2);
    for (index, element) in elements.iter().enumerate() {
        let prefix = if index == 0 { "" } else { prefix };
        out.extend_from_slice(format!("{prefix}{:width$}{separator} ", index + 1).as_bytes());
        write(element, &inner, out);
    }
}

fn write_pairs(pairs: &[(Value, Value)], prefix: &str, out: &mut Vec<u8>) {
    let width = digits(pairs.len());
    let inner = format!("{prefix}{:width$}", "", width = width + 2);
    for (index, (key, value)) in pairs.iter().enumerate() {
        let prefix = if index == 0 { "" } else { prefix };
        out.extend_from_slice(format!("{prefix}{:width$}# ", index + 1).as_bytes());
        write(key, &inner, out);
        out.pop();
        out.extend_from_slice(b" => ");
        if has_several_lines(value) {
            out.push(b'\n');
            out.extend_from_slice(inner.as_bytes());
        }
        write(value, &inner, out);
    }
}

fn has_several_lines(value: &Value) -> bool {
    match value {
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => match elements.as_slice() {
            [] => false,
            [single] => has_several_lines(single),
            _ => true,
        },
        Value::Map(pairs) => match pairs.as_slice() {
            [] => false,
            [(_, single)] => has_several_lines(single),
            _ => true,
        },
        _ => false,
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_protocol::value::NullKind;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn shown(value: &Value) -> String {
        let mut out = Vec::new();
        write(value, "", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn scalars_show_their_type() {
        for (value, expected) in [
            (bulk("a\"\n\u{1}"), "\"a\\\"\\n\\x01\"\n"),
            (Value::Simple(b"OK".to_vec()), "OK\n"),
            (Value::Error(b"ERR x".to_vec()), "(error) ERR x\n"),
            (Value::Integer(7), "(integer) 7\n"),
            (Value::Double("1.5".to_owned()), "(double) 1.5\n"),
            (Value::Null(NullKind::Array), "(nil)\n"),
            (Value::Boolean(false), "(false)\n"),
            (Value::Array(vec![]), "(empty array)\n"),
            (Value::Map(vec![]), "(empty hash)\n"),
        ] {
            assert_eq!(shown(&value), expected);
        }
    }

    #[test]
    fn nesting_indents_by_the_widest_number() {
        let inner = Value::Array(vec![bulk("a"), bulk("b")]);
        assert_eq!(
            shown(&Value::Array(vec![inner.clone(), inner.clone()])),
            concat!("1) 1) \"a\"\n", "   2) \"b\"\n", "2) 1) \"a\"\n", "   2) \"b\"\n",)
        );
        let ten = Value::Set((0..10).map(Value::Integer).collect());
        assert!(shown(&ten).starts_with(" 1~ (integer) 0\n 2~ (integer) 1\n"));
        let map = Value::Map(vec![(bulk("k"), inner), (bulk("l"), Value::Integer(1))]);
        assert_eq!(shown(&map), "1# \"k\" => \n   1) \"a\"\n   2) \"b\"\n2# \"l\" => (integer) 1\n");
    }
}
