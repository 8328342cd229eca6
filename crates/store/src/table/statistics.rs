//! How well a table is filled, as `DEBUG HTSTATS` prints it.

use super::Table;
use super::bucket::{Item, SLOTS};
use std::fmt;

/// The content of a table's buckets. Adding those of several tables gives that of all.
///
/// It prints in the words of Redis, whose tables have chains where this one has buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// How many buckets hold so many items.
    buckets_of: [usize; SLOTS + 1],
}

impl<T: Item> Table<T> {
    /// How well the table is filled; with marked items only, if asked.
    pub fn statistics(&self, marked_only: bool) -> Statistics {
        let mut statistics = Statistics::default();
        for bucket in self.segments.iter().flat_map(|segment| segment.buckets()) {
            let counts = |slot: &u8| bucket.is_occupied(*slot) && (!marked_only || bucket.is_marked(*slot));
            statistics.buckets_of[(0..SLOTS as u8).filter(counts).count()] += 1;
        }
        statistics
    }
}

impl Statistics {
    /// Those of both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.buckets_of.iter_mut().zip(other.buckets_of).for_each(|(sum, count)| *sum += count);
        self
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets: usize = self.buckets_of.iter().sum();
        let used = buckets - self.buckets_of[0];
        let items: usize = self.buckets_of.iter().enumerate().map(|(items, count)| items * count).sum();
        let longest = self.buckets_of.iter().rposition(|count| *count > 0).unwrap_or(0);
        writeln!(formatter, "Hash table 0 stats (main hash table):")?;
        if items == 0 {
            return writeln!(formatter, "No stats available for empty dictionaries");
        }
        let average = items as f64 / used as f64;
        writeln!(formatter, " table size: {buckets}")?;
        writeln!(formatter, " number of elements: {items}")?;
        writeln!(formatter, " different slots: {used}")?;
        writeln!(formatter, " max chain length: {longest}")?;
        writeln!(formatter, " avg chain length (counted): {average:.2}")?;
        writeln!(formatter, " avg chain length (computed): {average:.2}")?;
        writeln!(formatter, " Chain length distribution:")?;
        for (items, count) in self.buckets_of.iter().enumerate().filter(|(_, count)| **count > 0) {
            writeln!(formatter, "   {items}: {count} ({:.2}%)", *count as f64 * 100.0 / buckets as f64)?;
        }
        Ok(())
    }
}
