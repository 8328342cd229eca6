//! Zipmaps: what small hashes were kept in before ziplists. They are only read.
//!
//! ```text
//! ┌ fields 8 ┬ length, name, length, free 8, value, free bytes ┬ … ┬ FF ┐     254 fields and more: not counted
//! length:  one byte up to 253, or FE and four bytes, little endian
//! ```
//!
//! Source of the format: what Redis 2.0 to 2.4 wrote.

use std::fmt;

const END: u8 = 0xff;
const LONG: u8 = 0xfe;
/// From this count on it says nothing.
const UNCOUNTED: u8 = 254;

/// Bytes that are no zipmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("malformed zipmap")
    }
}

impl std::error::Error for Malformed {}

/// A well-formed zipmap.
#[derive(Clone, Copy, Debug)]
pub struct Zipmap<'a> {
    fields: &'a [u8],
}

impl<'a> Zipmap<'a> {
    /// Looks at every byte.
    ///
    /// # Errors
    /// They are no zipmap.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (&stored, rest) = bytes.split_first().ok_or(Malformed)?;
        let (&END, fields) = rest.split_last().ok_or(Malformed)? else { return Err(Malformed) };
        let (mut rest, mut count) = (fields, 0);
        while !rest.is_empty() {
            (_, rest) = split_field(rest).ok_or(Malformed)?;
            count += 1;
        }
        if stored < UNCOUNTED && usize::from(stored) != count {
            return Err(Malformed);
        }
        Ok(Self { fields })
    }

    /// All fields with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
        let mut rest = self.fields;
        std::iter::from_fn(move || {
            let (field, after) = split_field(rest)?;
            rest = after;
            Some(field)
        })
    }
}

/// A field's name and its value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// The first field, and what follows.
fn split_field(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (length, rest) = split_length(bytes)?;
    let (name, rest) = rest.split_at_checked(length)?;
    let (length, rest) = split_length(rest)?;
    let (&free, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(length)?;
    let (_, rest) = rest.split_at_checked(usize::from(free))?;
    Some(((name, value), rest))
}

fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        END => None,
        LONG => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = u32::from_le_bytes(*length);
            // A length that fits one byte stands in one.
            (length >= u32::from(LONG)).then_some((length as usize, rest))
        }
        length => Some((usize::from(length), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read() {
        let mut bytes =
            b"\x03\x03foo\x03\x00bar\x05hello\x05\x02worldxx\x01l\xfe\x2c\x01\x00\x00\x00".to_vec();
        bytes.extend_from_slice(&[b'v'; 300]);
        bytes.push(END);
        let fields: Vec<_> = Zipmap::new(&bytes).unwrap().iter().collect();
        let long = [b'v'; 300];
        assert_eq!(fields, [(&b"foo"[..], &b"bar"[..]), (b"hello", b"world"), (b"l", &long)]);
        for cut in 0..bytes.len() {
            assert_eq!(Zipmap::new(&bytes[..cut]).err(), Some(Malformed));
        }
        assert_eq!(Zipmap::new(b"\x00\xff").unwrap().iter().count(), 0);
        assert!(Zipmap::new(b"\x01\x01a\x01\x00b\xff").is_ok());
        assert_eq!(Zipmap::new(b"\x01\xfe\x01\0\0\0a\x01\x00b\xff").err(), Some(Malformed));
        assert_eq!(Zipmap::new(b"\x01\x01a\xfe\x01\0\0\0\x00b\xff").err(), Some(Malformed));
        for bad in [&b"\x01\xff"[..], b"\x01\x01a\xff", b"\x01\x01a\x05\x00b\xff", b"\x01\x01a\x01\x05b\xff"]
        {
            assert_eq!(Zipmap::new(bad).err(), Some(Malformed));
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_safely(body in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..3], 0..60)) {
            let bytes = [&[UNCOUNTED][..], &body, &[END]].concat();
            if let Ok(map) = Zipmap::new(&bytes) {
                let bytes: usize = map.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
                prop_assert!(bytes <= body.len());
            }
        }
    }
}
