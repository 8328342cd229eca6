//! Sorted sets in files.

use super::build::{BadValue, BuildOptions, WRONG_PART};
use super::emit::ValueSink;
use crate::types::{Collection, SortedSet};
use shoal_formats::listpack::Listpack;
use shoal_formats::rdb::{RdbElement, RdbValue, ValueLayout};

const MALFORMED: BadValue = BadValue::Malformed("malformed sorted set");
const TWICE: BadValue = BadValue::Malformed("a member of a sorted set is there twice");

pub(super) fn emit(value: &SortedSet, sink: &mut impl ValueSink) {
    if let Some(listpack) = value.as_listpack() {
        sink.value(RdbValue::Packed { layout: ValueLayout::SortedSetListpack, bytes: listpack.as_bytes() });
        return;
    }
    sink.open(ValueLayout::SortedSet, value.len() as u64);
    // From the last to the first, as Redis writes them: its reader is fastest with that.
    for (member, score) in value.iter().rev() {
        member.with_text(|member| sink.element(&RdbElement::Scored { member, score }));
    }
}

/// One that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    set: SortedSet,
    options: BuildOptions,
}

impl Builder {
    pub(super) fn new(options: &BuildOptions) -> Self {
        Self { set: SortedSet::default(), options: *options }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        let RdbElement::Scored { member, score } = element else { return Err(WRONG_PART) };
        if score.is_nan() {
            return Err(MALFORMED);
        }
        let settings = self.options.settings();
        let before = self.set.insert(member, *score, settings);
        if before.is_some() { Err(TWICE) } else { Ok(()) }
    }

    pub(super) fn finish(self) -> Result<SortedSet, BadValue> {
        if self.set.is_empty() { Err(BadValue::Empty) } else { Ok(self.set) }
    }
}

/// One that is one string of the file.
pub(super) fn packed(
    layout: ValueLayout,
    bytes: &[u8],
    options: &BuildOptions,
) -> Result<SortedSet, BadValue> {
    if layout != ValueLayout::SortedSetListpack {
        return Err(MALFORMED);
    }
    let listpack = Listpack::from_bytes(bytes).map_err(|_| MALFORMED)?;
    let value =
        SortedSet::from_listpack(listpack, options.check_duplicates, options.settings()).ok_or(MALFORMED)?;
    if value.is_empty() { Err(BadValue::Empty) } else { Ok(value) }
}
