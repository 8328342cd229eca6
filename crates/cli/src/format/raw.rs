//! Raw output: for pipes and scripts.

use shoal_protocol::value::Value;

/// Appends `value` without anything that was not sent, but `delimiter` between elements.
pub(crate) fn write(value: &Value, delimiter: &[u8], out: &mut Vec<u8>) {
    match value {
        Value::Null(_) => {}
        Value::Error(text) => {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim { text, .. } => out.extend_from_slice(text),
        Value::Boolean(truth) => out.extend_from_slice(if *truth { b"(true)" } else { b"(false)" }),
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text.as_bytes()),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(delimiter);
                }
                write(element, delimiter, out);
            }
        }
        Value::Map(pairs) => {
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(delimiter);
                }
                write(key, delimiter, out);
                out.push(b' ');
                write(value, delimiter, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added() {
        let value = Value::Array(vec![
            Value::Bulk(b"a\0b".to_vec()),
            Value::Integer(-1),
            Value::Error(b"ERR x".to_vec()),
            Value::Map(vec![(Value::Simple(b"k".to_vec()), Value::Boolean(true))]),
        ]);
        let mut out = Vec::new();
        write(&value, b"|", &mut out);
        assert_eq!(out, b"a\0b|-1|ERR x\n|k (true)");
    }
}
