//! The quoting of configuration files, inline commands and the client's prompt.
//!
//! The rules are those of Redis (`sdssplitargs` and `sdscatrepr` of 7.0): arguments are separated by white space; inside
//! double quotes the escapes `\n \r \t \b \a \xHH` and `\` before any other byte are understood; inside single
//! quotes only `\'`; what follows a closing quote must be white space or the end. A NUL byte outside of quotes ends
//! the line, because that is where a C string ends.

use std::fmt;

/// A quote was opened and not closed, or something other than white space follows a closing quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnbalancedQuotes;

impl fmt::Display for UnbalancedQuotes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("unbalanced quotes")
    }
}

impl std::error::Error for UnbalancedQuotes {}

/// Splits one line into its arguments. An empty line, or one of white space only, has none.
///
/// # Errors
/// [`UnbalancedQuotes`] where Redis refuses the line.
pub fn split_arguments(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut arguments = Vec::new();
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if matches!(rest, [] | [0, ..]) {
            return Ok(arguments);
        }
        let (argument, tail) = take_argument(rest)?;
        arguments.push(argument);
        rest = tail;
    }
}

/// Writes `bytes` between double quotes so that [`split_arguments`] reads them back: printable ASCII stays as it
/// is, everything else is escaped.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                text.push_str("\\x");
                for nibble in [byte >> 4, byte & 15] {
                    text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                }
            }
        }
    }
    text.push('"');
    text
}

/// What C's `isspace` accepts.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// One argument and what follows it.
type Taken<'a> = Result<(Vec<u8>, &'a [u8]), UnbalancedQuotes>;

/// Reads one argument from the front of `rest`, which begins with neither white space nor NUL.
fn take_argument(mut rest: &[u8]) -> Taken<'_> {
    let mut argument = Vec::new();
    loop {
        match rest {
            // Vertical tab and form feed separate arguments but do not end one: so does Redis.
            [] | [0 | b' ' | b'\t' | b'\n' | b'\r', ..] => return Ok((argument, rest)),
            [b'"', tail @ ..] => return take_double(tail, argument),
            [b'\'', tail @ ..] => return take_single(tail, argument),
            [byte, tail @ ..] => {
                argument.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Reads up to the closing double quote, which also ends the argument.
fn take_double(mut rest: &[u8], mut argument: Vec<u8>) -> Taken<'_> {
    loop {
        match rest {
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                argument.push(hex_value(*high) << 4 | hex_value(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] if *escaped != 0 => {
                argument.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [b'"', tail @ ..] => return end_of_quoted(tail, argument),
            [] | [0, ..] => return Err(UnbalancedQuotes),
            [byte, tail @ ..] => {
                argument.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Reads up to the closing single quote, which also ends the argument.
fn take_single(mut rest: &[u8], mut argument: Vec<u8>) -> Taken<'_> {
    loop {
        match rest {
            [b'\\', b'\'', tail @ ..] => {
                argument.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return end_of_quoted(tail, argument),
            [] | [0, ..] => return Err(UnbalancedQuotes),
            [byte, tail @ ..] => {
                argument.push(*byte);
                rest = tail;
            }
        }
    }
}

/// A closing quote must be followed by white space or the end.
fn end_of_quoted(tail: &[u8], argument: Vec<u8>) -> Taken<'_> {
    match tail {
        [] | [0, ..] => Ok((argument, tail)),
        [byte, ..] if is_space(*byte) => Ok((argument, tail)),
        _ => Err(UnbalancedQuotes),
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_as_redis_does() {
        type Expected = Result<&'static [&'static [u8]], UnbalancedQuotes>;
        let cases: &[(&[u8], Expected)] = &[
            (b"", Ok(&[])),
            (b" \t\r\n", Ok(&[])),
            (b"set key value", Ok(&[b"set", b"key", b"value"])),
            (b"  set\tkey\r\n", Ok(&[b"set", b"key"])),
            (b"save \"\"", Ok(&[b"save", b""])),
            (b"a 'b c' d", Ok(&[b"a", b"b c", b"d"])),
            (b"'it\\'s' 'a\\n'", Ok(&[b"it's", b"a\\n"])),
            (b"\"\\n\\r\\t\\b\\a\\\\\\\"\\q\"", Ok(&[b"\n\r\t\x08\x07\\\"q"])),
            (b"\"\\x00\\xFf\\xzz\"", Ok(&[b"\x00\xffxzz"])),
            (b"foo\"bar baz\" x", Ok(&[b"foobar baz", b"x"])),
            (b"a\x0bb \x0bc", Ok(&[b"a\x0bb", b"c"])),
            (b"one\0two", Ok(&[b"one"])),
            (b"\"open", Err(UnbalancedQuotes)),
            (b"'open", Err(UnbalancedQuotes)),
            (b"\"a\"b", Err(UnbalancedQuotes)),
            (b"'a'b", Err(UnbalancedQuotes)),
            (b"\"nul\0\"", Err(UnbalancedQuotes)),
            (b"\"end\\", Err(UnbalancedQuotes)),
            (b"caf\xc3\xa9 x", Ok(&[b"caf\xc3\xa9", b"x"])),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|list| list.iter().map(|item| item.to_vec()).collect::<Vec<_>>());
            assert_eq!(split_arguments(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn quotes_as_redis_does() {
        assert_eq!(quote(b"plain text"), "\"plain text\"");
        assert_eq!(quote(b"\\ \" \n\r\t\x07\x08"), "\"\\\\ \\\" \\n\\r\\t\\a\\b\"");
        assert_eq!(quote(b"\x00\x7f\xff"), "\"\\x00\\x7f\\xff\"");
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let line = arguments.iter().map(|argument| quote(argument)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split_arguments(line.as_bytes()), Ok(arguments));
        }

        #[test]
        fn any_line_is_split_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(arguments) = split_arguments(&line) {
                let total: usize = arguments.iter().map(Vec::len).sum();
                prop_assert!(total <= line.len());
            }
        }
    }
}
