//! Numbers and arguments as C reads them: what does not parse is 0, what follows a number is ignored.

use crate::console::err;
use crate::exit::{Exit, Step};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

/// The number at the beginning of `text`, as C's `atoi` and `strtoll` read it, saturating.
pub(crate) fn leading_integer(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut number: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if negative { -number } else { number }
}

/// The decimal number at the beginning of `text`, as C's `atof` reads it (without exponents and hexadecimals).
pub(crate) fn leading_number(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let end = text
        .iter()
        .enumerate()
        .take_while(|(index, byte)| {
            byte.is_ascii_digit() || **byte == b'.' || (*index == 0 && b"+-".contains(*byte))
        })
        .count();
    std::str::from_utf8(&text[..end]).ok().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// The arguments as bytes.
pub(crate) fn argument_bytes(arguments: Vec<OsString>) -> Vec<Vec<u8>> {
    arguments.into_iter().map(OsStringExt::into_vec).collect()
}

/// Bytes for people: what is not UTF-8 is replaced.
pub(crate) fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Everything on standard input, for `-x` and `-X`.
pub(crate) fn read_standard_input() -> Step<Vec<u8>> {
    let mut bytes = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            err!("Reading from standard input: {}", crate::console::error_text(&error));
            Err(Exit(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, integer, number) in [
            ("42", 42, 42.0),
            ("-7x", -7, -7.0),
            (" 12 13", 12, 12.0),
            ("0.25", 0, 0.25),
            ("x", 0, 0.0),
            ("", 0, 0.0),
            ("99999999999999999999", i64::MAX, 1e20),
        ] {
            assert_eq!(leading_integer(text.as_bytes()), integer, "{text}");
            assert_eq!(leading_number(text.as_bytes()), number, "{text}");
        }
    }
}
