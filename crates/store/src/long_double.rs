//! The arithmetic of INCRBYFLOAT: the 80-bit floating point numbers that Redis uses on x86-64 (`long double`).
//!
//! A number is a sign, 64 bits of mantissa and 15 bits of exponent, rounded to nearest, ties to even. Texts are read
//! as `strtold` reads them and printed as `printf("%.17Lf")` prints them, both exact, so that replies are the same as
//! those of Redis on every machine.

use num_bigint::{BigInt, BigUint, Sign};

/// Bits of the mantissa.
const MANTISSA_BITS: u64 = 64;
/// The exponent of the mantissa's last bit in the smallest numbers.
const EXPONENT_MIN: i64 = -16445;
/// The exponent of the mantissa's last bit in the largest numbers.
const EXPONENT_MAX: i64 = 16383 - 63;
/// Decimal exponents beyond this are infinite or zero whatever the digits.
const DECIMAL_EXPONENT_MAX: i64 = 20_000;
/// The longest text that is read.
const TEXT_MAX_BYTES: usize = 5 * 1024;
/// Digits after the point that are printed.
const FRACTION_DIGITS: u32 = 17;

/// A number: `mantissa * 2^exponent`, or infinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Infinite,
    Finite { mantissa: u64, exponent: i64 },
}

impl LongDouble {
    /// An integer; all of them fit.
    pub fn from_i64(integer: i64) -> Self {
        let kind = Kind::Finite { mantissa: integer.unsigned_abs(), exponent: 0 };
        Self { negative: integer < 0, kind }
    }

    /// Reads the forms of `strtold`: decimal, hexadecimal, `inf`, with a sign; no spaces. `None` for anything else, for
    /// not-a-number, for numbers too large, and for numbers so small that zero would be left.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() >= TEXT_MAX_BYTES {
            return None;
        }
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, kind: Kind::Infinite });
        }
        let kind = match digits {
            [b'0', b'x' | b'X', rest @ ..] => parse_hexadecimal(rest)?,
            _ => parse_decimal(digits)?,
        };
        Some(Self { negative, kind })
    }

    /// Whether it is not infinite.
    pub fn is_finite(&self) -> bool {
        self.kind != Kind::Infinite
    }

    /// The sum, rounded once. `None` if it is not a number.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let (left, left_exponent, right, right_exponent) = match (&self.kind, &other.kind) {
            (Kind::Infinite, Kind::Infinite) => {
                return (self.negative == other.negative).then(|| self.clone());
            }
            (Kind::Infinite, _) => return Some(self.clone()),
            (_, Kind::Infinite) => return Some(other.clone()),
            (
                &Kind::Finite { mantissa: left, exponent: left_exponent },
                &Kind::Finite { mantissa: right, exponent: right_exponent },
            ) => (left, left_exponent, right, right_exponent),
        };
        let exponent = left_exponent.min(right_exponent);
        let align = |negative: bool, mantissa: u64, from: i64| {
            let sign = if negative { Sign::Minus } else { Sign::Plus };
            BigInt::from_biguint(sign, BigUint::from(mantissa) << (from - exponent).unsigned_abs())
        };
        let sum = align(self.negative, left, left_exponent) + align(other.negative, right, right_exponent);
        let negative = sum.sign() == Sign::Minus;
        let kind = round(sum.magnitude(), &BigUint::from(1u8), exponent).unwrap_or(Kind::Infinite);
        Some(Self { negative, kind })
    }

    /// A thousand times the number, rounded once, then up to an integer. `None` if it is beyond the largest 64-bit
    /// integer; the smallest one stands for all below it.
    pub fn thousandfold(&self) -> Option<i64> {
        let limit = if self.negative { Some(i64::MIN) } else { None };
        let Kind::Finite { mantissa, exponent } = self.kind else { return limit };
        let product = BigUint::from(mantissa) * BigUint::from(1000u32);
        let Some(Kind::Finite { mantissa, exponent }) = round(&product, &BigUint::from(1u8), exponent) else {
            return limit;
        };
        let magnitude = if exponent >= 0 {
            u128::from(mantissa).checked_mul(1u128.checked_shl(exponent.min(127) as u32).unwrap_or(0))
        } else {
            let shift = exponent.unsigned_abs().min(64) as u32;
            let whole = u128::from(mantissa) >> shift;
            let has_fraction = whole << shift != u128::from(mantissa);
            Some(whole + u128::from(has_fraction && !self.negative))
        };
        let magnitude = magnitude.and_then(|magnitude| i64::try_from(magnitude).ok());
        magnitude.map(|value| if self.negative { -value } else { value }).or(limit)
    }

    /// The decimal form with at most 17 digits after the point, without zeros at its end. `None` for infinity.
    pub fn to_decimal(&self) -> Option<String> {
        let Kind::Finite { mantissa, exponent } = self.kind else { return None };
        let scaled = BigUint::from(mantissa) * BigUint::from(10u8).pow(FRACTION_DIGITS);
        let scaled = if exponent >= 0 {
            scaled << exponent.unsigned_abs()
        } else {
            shift_right_to_even(&scaled, exponent.unsigned_abs())
        };
        let digits = format!("{scaled:0>width$}", width = FRACTION_DIGITS as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - FRACTION_DIGITS as usize);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        Some(format!("{sign}{whole}{point}{fraction}"))
    }
}

/// The digits before and after the point as one number, how many stood after it, and what follows them.
fn take_digits(text: &[u8], radix: u32) -> Option<(BigUint, i64, &[u8])> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let whole = text.iter().take_while(|byte| is_digit(byte)).count();
    let mut digits = text[..whole].to_vec();
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let [b'.', after @ ..] = rest {
        fraction = after.iter().take_while(|byte| is_digit(byte)).count();
        digits.extend_from_slice(&after[..fraction]);
        rest = &after[fraction..];
    }
    let number = BigUint::parse_bytes(&digits, radix)?;
    Some((number, fraction as i64, rest))
}

/// The exponent behind `markers`; zero if there is none. Huge ones are cut to a bound that is still huge.
fn take_exponent(text: &[u8], markers: [u8; 2]) -> Option<i64> {
    let digits = match text {
        [] => return Some(0),
        [marker, rest @ ..] if markers.contains(marker) => rest,
        _ => return None,
    };
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let bound = DECIMAL_EXPONENT_MAX * 10;
    let size = digits.iter().fold(0i64, |size, byte| (size * 10 + i64::from(byte - b'0')).min(bound));
    Some(if negative { -size } else { size })
}

fn parse_decimal(text: &[u8]) -> Option<Kind> {
    let (number, fraction, rest) = take_digits(text, 10)?;
    let exponent = take_exponent(rest, *b"eE")? - fraction;
    if number == BigUint::ZERO {
        return Some(Kind::Finite { mantissa: 0, exponent: 0 });
    }
    if exponent.abs() > DECIMAL_EXPONENT_MAX {
        return None;
    }
    let power = BigUint::from(10u8).pow(exponent.unsigned_abs() as u32);
    let one = BigUint::from(1u8);
    let kind = if exponent >= 0 { round(&(number * power), &one, 0) } else { round(&number, &power, 0) };
    kind.filter(is_not_zero)
}

fn parse_hexadecimal(text: &[u8]) -> Option<Kind> {
    let (number, fraction, rest) = take_digits(text, 16)?;
    let exponent = take_exponent(rest, *b"pP")? - 4 * fraction;
    if number == BigUint::ZERO {
        return Some(Kind::Finite { mantissa: 0, exponent: 0 });
    }
    round(&number, &BigUint::from(1u8), exponent).filter(is_not_zero)
}

fn is_not_zero(kind: &Kind) -> bool {
    !matches!(kind, Kind::Finite { mantissa: 0, .. })
}

/// `numerator / denominator * 2^exponent` as the nearest number; `None` if it is too large.
fn round(numerator: &BigUint, denominator: &BigUint, exponent: i64) -> Option<Kind> {
    if *numerator == BigUint::ZERO {
        return Some(Kind::Finite { mantissa: 0, exponent: 0 });
    }
    // With `shift` so chosen the quotient has 64 or 65 bits; smaller numbers have fewer.
    let bits = numerator.bits() as i64 - denominator.bits() as i64;
    let mut last_bit = (bits - MANTISSA_BITS as i64 + exponent).max(EXPONENT_MIN);
    let mut mantissa = divide_to_even(numerator, denominator, last_bit - exponent);
    if mantissa.bits() > MANTISSA_BITS {
        last_bit += 1;
        mantissa = divide_to_even(numerator, denominator, last_bit - exponent);
    }
    if mantissa.bits() > MANTISSA_BITS {
        // All ones were rounded up to the next power of two.
        last_bit += 1;
        mantissa >>= 1u32;
    }
    let mantissa = u64::try_from(&mantissa).ok()?;
    (last_bit <= EXPONENT_MAX).then_some(Kind::Finite { mantissa, exponent: last_bit })
}

/// `numerator / denominator / 2^shift`, rounded to the nearest integer, ties to even.
fn divide_to_even(numerator: &BigUint, denominator: &BigUint, shift: i64) -> BigUint {
    let size = shift.unsigned_abs();
    let (numerator, denominator) = if shift >= 0 {
        (numerator.clone(), denominator << size)
    } else {
        (numerator << size, denominator.clone())
    };
    let quotient = &numerator / &denominator;
    let twice_rest = (&numerator - &quotient * &denominator) << 1u32;
    let up = twice_rest > denominator || (twice_rest == denominator && quotient.bit(0));
    if up { quotient + 1u8 } else { quotient }
}

fn shift_right_to_even(number: &BigUint, shift: u64) -> BigUint {
    let quotient = number >> shift;
    let rest = number - (&quotient << shift);
    let half = BigUint::from(1u8) << (shift - 1);
    let up = rest > half || (rest == half && quotient.bit(0));
    if up { quotient + 1u8 } else { quotient }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_milliseconds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.1", Some(100)),
            ("0.001", Some(1)),
            ("0.0001", Some(1)),
            ("-0.0001", Some(0)),
            ("-1", Some(-1000)),
            ("1.5e3", Some(1_500_000)),
            ("9223372036854775", Some(9_223_372_036_854_775_000)),
            ("9223372036854776", None),
            ("1e400", None),
            ("inf", None),
            ("-1e400", Some(i64::MIN)),
            ("0x7FFFFFFFFFFFFF", None),
            ("1e-4000", Some(1)),
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()).unwrap().thousandfold(), expected, "{text}");
        }
    }

    fn sum(left: &str, right: &str) -> Option<String> {
        LongDouble::parse(left.as_bytes())?.plus(&LongDouble::parse(right.as_bytes())?)?.to_decimal()
    }

    #[test]
    fn sums_as_redis_prints_them() {
        for (left, right, expected) in [
            ("0", "1.5", Some("1.5")),
            ("10.50", "0.1", Some("10.6")),
            ("5.0e3", "2.0e2", Some("5200")),
            ("3", "1.000000000000000005", Some("4.00000000000000001")),
            ("1.1", "-1.1", Some("0")),
            ("-1", "1", Some("0")),
            ("1", "-0x1.8p1", Some("-2")),
            ("0", "-0.00000000000000000001", Some("0")),
            ("0", "17179869184.3", Some("17179869184.30000000074505806")),
            ("18446744073709551615", "1", Some("18446744073709551616")),
            ("18446744073709551615", "0.5", Some("18446744073709551616")),
            ("18446744073709551613", "0.5", Some("18446744073709551614")),
            ("inf", "1", None),
            ("inf", "-inf", None),
            ("1e4932", "1e4932", None),
            (".5", "5.", Some("5.5")),
            ("1", "0x.8", Some("1.5")),
            ("1", "0x1p-16445", Some("1")),
        ] {
            assert_eq!(sum(left, right).as_deref(), expected, "{left} + {right}");
        }
    }

    #[test]
    fn texts_that_are_no_numbers() {
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "1e",
            "0x",
            ".",
            "-",
            "1e5000",
            "1e-5000",
            "1x",
            "++1",
            "in",
            "1e99999999999",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert!(LongDouble::parse(b"0e99999999999").is_some());
        assert!(LongDouble::parse(b"1e-4950").is_some(), "the smallest numbers have fewer bits");
    }
}
