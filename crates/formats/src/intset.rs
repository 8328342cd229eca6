//! Intsets: sorted integers in one block, as memory, files and wire keep small sets of integers.
//!
//! ```text
//! ┌ bytes per integer 32 ┬ integers 32 ┬ integer … ┐      little endian; 2, 4 or 8 bytes each, ascending
//! ```
//!
//! Source of the format: what Redis 7.0 writes.

use crate::thin_bytes::ThinBytes;
use std::fmt;

const HEADER_BYTES: usize = 8;
/// The most bytes of an intset.
pub const MAX_BYTES: usize = 1 << 30;

/// Bytes that are no intset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("malformed intset")
    }
}

impl std::error::Error for Malformed {}

/// A set of integers that owns its bytes, which are always well-formed.
#[derive(Clone)]
pub struct Intset {
    bytes: ThinBytes,
}

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl Intset {
    /// An empty set.
    pub fn new() -> Self {
        Self { bytes: ThinBytes::new(&[2, 0, 0, 0, 0, 0, 0, 0]) }
    }

    /// A copy of bytes from a file or the wire. Every integer is looked at: they must ascend.
    ///
    /// # Errors
    /// They are no intset.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some((header, integers)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed);
        };
        let [a, b, c, d, e, f, g, h] = *header;
        let width = u32::from_le_bytes([a, b, c, d]) as usize;
        let count = u32::from_le_bytes([e, f, g, h]) as usize;
        if !matches!(width, 2 | 4 | 8)
            || bytes.len() > MAX_BYTES
            || count.checked_mul(width) != Some(integers.len())
        {
            return Err(Malformed);
        }
        let set = Self { bytes: ThinBytes::new(bytes) };
        let ascends = set.iter().zip(set.iter().skip(1)).all(|(before, after)| before < after);
        if ascends { Ok(set) } else { Err(Malformed) }
    }

    /// The bytes, as files keep them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes taken from the allocator.
    pub fn size_bytes(&self) -> usize {
        self.bytes.size_bytes()
    }

    fn width(&self) -> usize {
        usize::from(self.bytes[0])
    }

    /// The number of integers.
    #[inline]
    pub fn len(&self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / self.width()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// The integer with this index, in ascending order.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let at = HEADER_BYTES + index.checked_mul(width)?;
        let bytes = self.bytes.get(at..at + width)?;
        Some(match *bytes {
            [a, b] => i64::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => return None,
        })
    }

    /// All integers, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The index of an integer, or that at which it would stand.
    fn search(&self, integer: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Integers often come in ascending order.
        if high > 0 && self.get(high - 1).is_some_and(|last| last < integer) {
            return Err(high);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).map(|found| found.cmp(&integer)) {
                Some(std::cmp::Ordering::Less) => low = middle + 1,
                Some(std::cmp::Ordering::Equal) => return Ok(middle),
                _ => high = middle,
            }
        }
        Err(low)
    }

    /// Whether an integer is in the set.
    pub fn contains(&self, integer: i64) -> bool {
        width_of(integer) <= self.width() && self.search(integer).is_ok()
    }

    /// Puts an integer into the set. False if it was there.
    ///
    /// # Panics
    /// The set would be longer than [`MAX_BYTES`]; callers keep sets far below.
    pub fn insert(&mut self, integer: i64) -> bool {
        if width_of(integer) > self.width() {
            self.widen(width_of(integer));
        }
        let Err(index) = self.search(integer) else { return false };
        let width = self.width();
        assert!(self.bytes.len() + width <= MAX_BYTES, "an intset of {} integers", self.len());
        self.bytes.splice(HEADER_BYTES + index * width, 0, &[&integer.to_le_bytes()[..width]]);
        self.write_count();
        true
    }

    /// Takes an integer out. False if it was not there. The width stays, as in Redis.
    pub fn remove(&mut self, integer: i64) -> bool {
        if width_of(integer) > self.width() {
            return false;
        }
        let Ok(index) = self.search(integer) else { return false };
        let width = self.width();
        self.bytes.splice(HEADER_BYTES + index * width, width, &[]);
        self.write_count();
        true
    }

    fn widen(&mut self, width: usize) {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = width as u8;
        for integer in self.iter() {
            bytes.extend_from_slice(&integer.to_le_bytes()[..width]);
        }
        self.bytes = ThinBytes::new(&bytes);
        self.write_count();
    }

    fn write_count(&mut self) {
        let count = self.len() as u32;
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

impl fmt::Debug for Intset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

/// Bytes that an integer takes.
fn width_of(integer: i64) -> usize {
    if i16::try_from(integer).is_ok() {
        2
    } else if i32::try_from(integer).is_ok() {
        4
    } else {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_bytes_are_those_of_redis() {
        // From DUMP of sets of Redis 7.0: SADD s 1 -2, and the same with 70000 added.
        let mut set = Intset::new();
        assert!(set.insert(1) && set.insert(-2) && !set.insert(1));
        assert_eq!(set.as_bytes(), b"\x02\0\0\0\x02\0\0\0\xfe\xff\x01\0");
        assert!(set.insert(70_000));
        assert_eq!(set.as_bytes(), b"\x04\0\0\0\x03\0\0\0\xfe\xff\xff\xff\x01\0\0\0\x70\x11\x01\0");
    }

    #[test]
    fn damage_is_refused() {
        for bytes in [
            &b""[..],
            b"\x02\0\0\0\x01\0\0\0",
            b"\x03\0\0\0\0\0\0\0",
            b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0",
            b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
            b"\x02\0\0\0\x01\0\0\0\x01\0\x02",
            b"\x08\0\0\0\xff\xff\xff\xff\x01\0\0\0\0\0\0\0",
        ] {
            assert!(Intset::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }

    fn integer() -> impl Strategy<Value = i64> {
        prop_oneof![4 => -20i64..20, 2 => -40_000i64..40_000, 1 => any::<i32>().prop_map(i64::from), 1 => any::<i64>()]
    }

    proptest! {
        #[test]
        fn an_intset_does_what_a_set_does(steps in prop::collection::vec((any::<bool>(), integer()), 0..200)) {
            let (mut set, mut model) = (Intset::new(), BTreeSet::new());
            for (inserts, integer) in steps {
                if inserts {
                    prop_assert_eq!(set.insert(integer), model.insert(integer));
                } else {
                    prop_assert_eq!(set.remove(integer), model.remove(&integer));
                }
                prop_assert_eq!(set.contains(integer), model.contains(&integer));
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            let copy = Intset::from_bytes(set.as_bytes());
            prop_assert!(copy.is_ok_and(|copy| copy.iter().eq(model)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(mut set) = Intset::from_bytes(&bytes) {
                set.insert(i64::MAX);
                prop_assert!(set.contains(i64::MAX));
            }
        }
    }
}
