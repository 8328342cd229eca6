//! Numbers as text, in the forms that commands accept and print.

use std::fmt;

/// Reads a signed 64-bit integer in its one canonical form: no spaces, no plus sign, no leading zeros, no `-0`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let value = parse_digits(digits)?;
    match (negative, value) {
        (false, value) => i64::try_from(value).ok(),
        (true, 0) => None,
        (true, value) if value <= i64::MIN.unsigned_abs() => Some(0i64.wrapping_sub_unsigned(value)),
        _ => None,
    }
}

/// Reads an unsigned 64-bit integer in its canonical form.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    parse_digits(text)
}

/// The longest decimal form of an unsigned 64-bit integer.
const MAX_DIGITS: usize = 20;

fn parse_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > MAX_DIGITS || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a double as `strtod` would, the whole text and nothing else: decimal and hexadecimal forms, `inf` and
/// `infinity`, with a sign.
///
/// Refused are `nan`, surrounding spaces, and finite numbers of which infinity or zero would be left.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    /// Integers of fewer digits are doubles as they stand.
    const EXACT_DIGITS: usize = 15;
    if (1..=EXACT_DIGITS).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        let integer = text.iter().fold(0u64, |value, byte| value * 10 + u64::from(byte - b'0'));
        return Some(integer as f64);
    }
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = match unsigned.get(..2) {
        Some("0x" | "0X") => {
            parse_hexadecimal(&unsigned[2..])?.copysign(if text.starts_with('-') { -1.0 } else { 1.0 })
        }
        _ => text.parse().ok()?,
    };
    let is_named = !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let mantissa = unsigned.split(['e', 'E']).next().unwrap_or(unsigned);
    let lost_all = value == 0.0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (!value.is_nan() && (is_named || (value.is_finite() && !lost_all))).then_some(value)
}

/// Reads a bound of a range of scores as `strtod` would if only what follows the number is looked at: leading spaces are
/// passed over, an empty text is zero, too large is infinite and too small is zero.
pub fn parse_f64_leniently(text: &[u8]) -> Option<f64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|byte| !is_space(byte))?;
    let text = &text[start..];
    parse_f64(text).or_else(|| {
        let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        (!value.is_nan()).then_some(value)
    })
}

/// The digits after `0x`: a mantissa with an optional point, and an optional binary exponent after `p`.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    /// Beyond this every mantissa that is read is infinite or zero.
    const EXPONENT_MAX: i64 = 1 << 20;
    /// Bits that are kept exactly; what follows only decides on which side of a tie the number lies.
    const KEPT_BITS: u32 = 60;
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => {
            (digits, exponent.parse::<i64>().ok()?.clamp(-EXPONENT_MAX, EXPONENT_MAX))
        }
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let (mut mantissa, mut shift) = (0u64, exponent - 4 * fraction.len() as i64);
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = u64::from(digit.to_digit(16)?);
        if mantissa >> KEPT_BITS == 0 {
            mantissa = mantissa << 4 | digit;
        } else {
            mantissa |= u64::from(digit != 0);
            shift += 4;
        }
    }
    Some(scale(mantissa, shift))
}

/// `mantissa * 2^exponent`, rounded once, ties to even.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    /// The exponent of the last bit of the smallest numbers.
    const EXPONENT_MIN: i64 = -1074;
    const MANTISSA_BITS: i64 = 53;
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(mantissa.leading_zeros());
    let dropped = (bits - MANTISSA_BITS).max(EXPONENT_MIN - exponent).max(0);
    let kept = if dropped > bits {
        0
    } else if dropped == 0 {
        mantissa
    } else {
        let (floor, half) = (mantissa.checked_shr(dropped as u32).unwrap_or(0), 1u64 << (dropped - 1));
        let rest = mantissa - floor.checked_shl(dropped as u32).unwrap_or(0);
        floor + u64::from(rest > half || (rest == half && floor & 1 == 1))
    };
    // The kept bits are exact in a double; powers of two within its range multiply exactly, in steps.
    let (mut value, mut left) = (kept as f64, (exponent + dropped).clamp(-4000, 4000));
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        value *= 2f64.powi(step as i32);
        left -= step;
    }
    value
}

/// The text of a double, on the stack.
#[derive(Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; DoubleText::MAX_BYTES],
    length: u8,
}

impl DoubleText {
    /// The longest text: a sign, 17 digits and the zeros or the exponent that the forms allow.
    const MAX_BYTES: usize = 40;

    /// A double as Redis 7.2 prints it in replies: integers of 63 bits whole, others with as few digits as read back the
    /// same, with an exponent where that is shorter; `inf`, `-inf`, `nan`.
    pub fn shortest(value: f64) -> Self {
        let mut text = Self { bytes: [0; Self::MAX_BYTES], length: 0 };
        if let Some(integer) = whole(value).filter(|integer| *integer != 0 || value.is_sign_positive()) {
            text.push(itoa::Buffer::new().format(integer).as_bytes());
        } else if value == 0.0 {
            text.push(b"-0");
        } else if !value.is_finite() {
            text.push(not_finite(value));
        } else {
            text.push_shortest(value);
        }
        text
    }

    /// A double as `printf` prints it for `%.17g`.
    pub fn with_17_digits(value: f64) -> Self {
        const DIGITS: i32 = 17;
        let mut text = Self { bytes: [0; Self::MAX_BYTES], length: 0 };
        if !value.is_finite() {
            text.push(not_finite(value));
            return text;
        }
        let (negative, digits, count, exponent) = decompose(format_args!("{:.16e}", value));
        let significant = digits[..count].iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
        let digits = &digits[..significant];
        if negative {
            text.push(b"-");
        }
        if !(-4..DIGITS).contains(&exponent) {
            text.push_scientific(digits, exponent, 2);
        } else {
            text.push_fixed(digits, exponent - (significant as i32 - 1));
        }
        text
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn push(&mut self, piece: &[u8]) {
        let room = Self::MAX_BYTES - usize::from(self.length);
        let piece = &piece[..piece.len().min(room)];
        self.bytes[usize::from(self.length)..][..piece.len()].copy_from_slice(piece);
        self.length += piece.len() as u8;
    }

    fn push_zeros(&mut self, count: i32) {
        (0..count).for_each(|_| self.push(b"0"));
    }

    /// The rule of the conversion routine that Redis 7.2 uses: which of the three forms a number takes depends on its
    /// digits and on the power of ten of the last of them.
    fn push_shortest(&mut self, value: f64) {
        let (negative, digits, count, exponent) = decompose(format_args!("{value:e}"));
        let last_power = exponent - (count as i32 - 1);
        if negative {
            self.push(b"-");
        }
        let whole_is_short = last_power >= 0 && exponent.abs() < count as i32 + 7;
        let fraction_is_short = last_power < 0 && (last_power > -7 || exponent.abs() < 4);
        if whole_is_short || fraction_is_short {
            self.push_fixed(&digits[..count], last_power);
        } else {
            self.push_scientific(&digits[..count], exponent, 1);
        }
    }

    /// Digits of which the last stands for `10^last_power`.
    fn push_fixed(&mut self, digits: &[u8], last_power: i32) {
        let point = digits.len() as i32 + last_power;
        if last_power >= 0 {
            self.push(digits);
            self.push_zeros(last_power);
        } else if point <= 0 {
            self.push(b"0.");
            self.push_zeros(-point);
            self.push(digits);
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            self.push(whole);
            self.push(b".");
            self.push(fraction);
        }
    }

    fn push_scientific(&mut self, digits: &[u8], exponent: i32, exponent_digits: usize) {
        let (first, rest) = digits.split_at(1);
        self.push(first);
        if !rest.is_empty() {
            self.push(b".");
            self.push(rest);
        }
        self.push(if exponent < 0 { b"e-" } else { b"e+" });
        let mut buffer = itoa::Buffer::new();
        let exponent = buffer.format(exponent.unsigned_abs());
        self.push_zeros(exponent_digits as i32 - exponent.len() as i32);
        self.push(exponent.as_bytes());
    }
}

impl fmt::Debug for DoubleText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// The integer that a double is, if it is one of at most 62 bits.
pub fn whole(value: f64) -> Option<i64> {
    const BOUND: f64 = (i64::MAX / 2) as f64;
    let integer = value as i64;
    ((-BOUND..=BOUND).contains(&value) && integer as f64 == value).then_some(integer)
}

fn not_finite(value: f64) -> &'static [u8] {
    match value {
        f64::INFINITY => b"inf",
        f64::NEG_INFINITY => b"-inf",
        _ => b"nan",
    }
}

/// The most digits of a double in scientific form.
const SIGNIFICANT_MAX: usize = 17;

/// Sign, digits, number of digits and decimal exponent of a finite double in scientific form.
fn decompose(scientific: fmt::Arguments<'_>) -> (bool, [u8; SIGNIFICANT_MAX], usize, i32) {
    struct Parts {
        negative: bool,
        digits: [u8; SIGNIFICANT_MAX],
        count: usize,
        in_exponent: bool,
        exponent_negative: bool,
        exponent: i32,
    }
    impl fmt::Write for Parts {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for byte in text.bytes() {
                match byte {
                    b'-' if self.in_exponent => self.exponent_negative = true,
                    b'-' => self.negative = true,
                    b'e' => self.in_exponent = true,
                    b'0'..=b'9' if self.in_exponent => {
                        self.exponent = self.exponent * 10 + i32::from(byte - b'0');
                    }
                    b'0'..=b'9' if self.count < SIGNIFICANT_MAX => {
                        self.digits[self.count] = byte;
                        self.count += 1;
                    }
                    _ => {}
                }
            }
            Ok(())
        }
    }
    let mut parts = Parts {
        negative: false,
        digits: [0; SIGNIFICANT_MAX],
        count: 0,
        in_exponent: false,
        exponent_negative: false,
        exponent: 0,
    };
    let written = fmt::write(&mut parts, scientific);
    debug_assert!(written.is_ok(), "writing into an array does not fail");
    let exponent = if parts.exponent_negative { -parts.exponent } else { parts.exponent };
    (parts.negative, parts.digits, parts.count, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        for (text, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
            ("-0", None),
            ("00", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("-", None),
            ("1a", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn doubles() {
        assert_eq!(parse_f64(b"3.5e2"), Some(350.0));
        assert_eq!(parse_f64(b"-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_f64(b"nan"), None);
        assert_eq!(parse_f64(b"1e400"), None);
        assert_eq!(parse_f64(b" 1"), None);
        assert_eq!(parse_f64(b""), None);
        for (text, value) in [
            ("+inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0x1p4", Some(16.0)),
            ("-0X.8", Some(-0.5)),
            ("0x100000000000008000000000001", Some(2.0282409603651675e31)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1080", None),
            ("0x1p2000", None),
            ("0x", None),
            ("0xg", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("1e-310", Some(1e-310)),
            ("1.", Some(1.0)),
            ("000123", Some(123.0)),
            ("999999999999999", Some(999_999_999_999_999.0)),
            (".5", Some(0.5)),
            (".", None),
            ("1e", None),
            ("-nan", None),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), value, "{text}");
        }
        for (text, value) in [
            ("", Some(0.0)),
            (" 5", Some(5.0)),
            ("5 ", None),
            ("1e400", Some(f64::INFINITY)),
            ("1e-400", Some(0.0)),
            ("nan", None),
            (" ", None),
        ] {
            assert_eq!(parse_f64_leniently(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn doubles_print_as_in_redis() {
        // The first form is that of Redis 7.2, the second that of `printf("%.17g")`.
        for (value, shortest, seventeen) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (3.0, "3", "3"),
            (-17.0, "-17", "-17"),
            (3.1, "3.1", "3.1000000000000001"),
            (-0.5, "-0.5", "-0.5"),
            (0.1, "0.1", "0.10000000000000001"),
            (1e17, "100000000000000000", "1e+17"),
            (1e19, "1e+19", "1e+19"),
            (1.5e300, "1.5e+300", "1.5000000000000001e+300"),
            (123456789012345678901234.0, "123456789012345690000000", "1.2345678901234569e+23"),
            (0.0001, "0.0001", "0.0001"),
            (0.00012345678, "1.2345678e-4", "0.00012345678000000001"),
            (0.0012345678, "0.0012345678", "0.0012345678000000001"),
            (1e-7, "1e-7", "9.9999999999999995e-08"),
            (5e-324, "5e-324", "4.9406564584124654e-324"),
            (1234567.891, "1234567.891", "1234567.8910000001"),
            (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
        ] {
            let text = |text: DoubleText| String::from_utf8(text.as_bytes().to_vec()).unwrap();
            assert_eq!(text(DoubleText::shortest(value)), shortest);
            assert_eq!(text(DoubleText::with_17_digits(value)), seventeen);
        }
    }
}
