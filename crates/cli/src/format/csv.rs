//! Comma-separated values, one line per reply.

use shoal_protocol::quoting::quote;
use shoal_protocol::value::Value;

/// Appends `value`; maps become flat lists.
pub(crate) fn write(value: &Value, out: &mut Vec<u8>) {
    let mut separate = Separator { first: true };
    match value {
        Value::Error(text) => {
            out.extend_from_slice(b"ERROR,");
            out.extend_from_slice(quote(text).as_bytes());
        }
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim { text, .. } => {
            out.extend_from_slice(quote(text).as_bytes());
        }
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text.as_bytes()),
        Value::Null(_) => out.extend_from_slice(b"NULL"),
        Value::Boolean(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            for element in elements {
                separate.before_next(out);
                write(element, out);
            }
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                separate.before_next(out);
                write(key, out);
                separate.before_next(out);
                write(value, out);
            }
        }
    }
}

struct Separator {
    first: bool,
}

impl Separator {
    fn before_next(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.first, false) {
            out.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_protocol::value::NullKind;

    #[test]
    fn one_line_per_reply() {
        let value = Value::Array(vec![
            Value::Bulk(b"a,\"b".to_vec()),
            Value::Null(NullKind::Bulk),
            Value::Map(vec![(Value::Integer(1), Value::Boolean(true))]),
            Value::Error(b"ERR".to_vec()),
        ]);
        let mut out = Vec::new();
        write(&value, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#""a,\"b",NULL,1,true,ERROR,"ERR""#);
    }
}
