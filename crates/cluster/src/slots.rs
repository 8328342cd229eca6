//! Sets of hash slots.

use shoal_protocol::slot::SLOT_COUNT;

/// Bytes of a slot bitmap on the bus.
pub const BITMAP_BYTES: usize = SLOT_COUNT as usize / 8;

const WORDS: usize = SLOT_COUNT as usize / 64;

/// A set of slots as a bitmap of 2048 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotSet {
    words: [u64; WORDS],
    count: u16,
}

impl SlotSet {
    /// No slot.
    pub const fn empty() -> Self {
        Self { words: [0; WORDS], count: 0 }
    }

    /// All slots.
    pub const fn full() -> Self {
        Self { words: [u64::MAX; WORDS], count: SLOT_COUNT }
    }

    /// The set in a bitmap as the bus has it: slot n is bit n%8 of byte n/8.
    pub fn from_bitmap(bitmap: &[u8; BITMAP_BYTES]) -> Self {
        let mut set = Self::empty();
        let (chunks, _) = bitmap.as_chunks::<8>();
        for (word, chunk) in set.words.iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*chunk);
        }
        set.count = set.words.iter().map(|word| word.count_ones() as u16).sum();
        set
    }

    /// The bitmap as the bus has it.
    pub fn to_bitmap(&self) -> [u8; BITMAP_BYTES] {
        let mut bitmap = [0; BITMAP_BYTES];
        let (chunks, _) = bitmap.as_chunks_mut::<8>();
        for (word, chunk) in self.words.iter().zip(chunks) {
            *chunk = word.to_le_bytes();
        }
        bitmap
    }

    /// Whether `slot` is in the set; false for numbers that are no slots.
    pub fn contains(&self, slot: u16) -> bool {
        self.words.get(usize::from(slot / 64)).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    /// Adds a slot; returns whether it was missing. Numbers that are no slots are ignored.
    pub fn insert(&mut self, slot: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(slot / 64)) else { return false };
        let bit = 1 << (slot % 64);
        let added = *word & bit == 0;
        *word |= bit;
        self.count += u16::from(added);
        added
    }

    /// Takes a slot out; returns whether it was there.
    pub fn remove(&mut self, slot: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(slot / 64)) else { return false };
        let bit = 1 << (slot % 64);
        let removed = *word & bit != 0;
        *word &= !bit;
        self.count -= u16::from(removed);
        removed
    }

    /// How many slots it holds.
    pub const fn len(&self) -> u16 {
        self.count
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let base = index as u16 * 64;
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as u16;
                rest &= rest - 1;
                Some(base + bit)
            })
        })
    }

    /// The slots that are not in `other`.
    pub fn minus(&self, other: &Self) -> Self {
        let mut set = Self::empty();
        for (word, (mine, theirs)) in set.words.iter_mut().zip(self.words.iter().zip(&other.words)) {
            *word = mine & !theirs;
        }
        set.count = set.words.iter().map(|word| word.count_ones() as u16).sum();
        set
    }

    /// The slots that are in this one or in `other`.
    pub fn union(&self, other: &Self) -> Self {
        let mut set = Self::empty();
        for (word, (mine, theirs)) in set.words.iter_mut().zip(self.words.iter().zip(&other.words)) {
            *word = mine | theirs;
        }
        set.count = set.words.iter().map(|word| word.count_ones() as u16).sum();
        set
    }

    /// The set as ranges.
    pub fn ranges(&self) -> SlotRanges {
        self.iter().collect()
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{{{}}}", self.ranges())
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> Self {
        let mut set = Self::empty();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

/// Slots as inclusive ranges, ascending and not touching each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotRanges(Vec<(u16, u16)>);

impl SlotRanges {
    /// The ranges, first and last slot of each.
    pub fn as_slice(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// How many slots it holds.
    pub fn len(&self) -> usize {
        self.0.iter().map(|&(first, last)| usize::from(last - first) + 1).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every slot, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }

    /// The set as a bitmap.
    pub fn to_set(&self) -> SlotSet {
        self.iter().collect()
    }
}

/// From slots in ascending order.
impl FromIterator<u16> for SlotRanges {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> Self {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in slots {
            match ranges.last_mut() {
                Some((_, last)) if u32::from(*last) + 1 == u32::from(slot) => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        Self(ranges)
    }
}

/// As CLUSTER NODES prints them: `0-5460 5470`.
impl std::fmt::Display for SlotRanges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, &(first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            if first == last {
                write!(formatter, "{first}")?;
            } else {
                write!(formatter, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmap_layout_is_that_of_the_bus() {
        let set: SlotSet = [0, 9, 16383].into_iter().collect();
        let bitmap = set.to_bitmap();
        assert_eq!((bitmap[0], bitmap[1], bitmap[2047]), (1, 2, 0x80));
        assert_eq!(SlotSet::from_bitmap(&bitmap), set);
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn insert_remove_count() {
        let mut set = SlotSet::full();
        assert_eq!(set.len(), 16384);
        assert!(set.remove(5) && !set.remove(5) && set.insert(5) && !set.insert(5));
        assert!(!set.insert(16384) && !set.contains(16384) && !set.remove(u16::MAX));
        assert!(set.minus(&SlotSet::full()).is_empty());
        assert_eq!(SlotSet::full().ranges().to_string(), "0-16383");
    }

    #[test]
    fn ranges_join_neighbours() {
        let ranges: SlotRanges = [1, 2, 3, 7, 9, 10].into_iter().collect();
        assert_eq!(ranges.to_string(), "1-3 7 9-10");
        assert_eq!(ranges.len(), 6);
        assert_eq!(ranges.to_set().ranges(), ranges);
    }
}
