//! Sorted sets in files.

use super::build::{BadValue, BuildOptions, WRONG_PART};
use super::emit::ValueSink;
use crate::types::{Collection, SortedSet};
use shoal_formats::listpack::Listpack;
use shoal_formats::rdb::{RdbElement, RdbValue, ValueLayout};

const MALFORMED: BadValue = BadValue::Malformed("malformed sorted set");

pub(super) fn emit(value: &SortedSet, sink: &mut impl ValueSink) {
    match value {
        SortedSet::Packed(listpack) => {
            sink.value(RdbValue::Packed {
                layout: ValueLayout::SortedSetListpack,
                bytes: listpack.as_bytes(),
            });
        }
    }
}

/// One that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {}

impl Builder {
    pub(super) fn new(_: &BuildOptions) -> Self {
        Self {}
    }

    pub(super) fn element(&mut self, _: &RdbElement<'_>) -> Result<(), BadValue> {
        Err(WRONG_PART)
    }

    pub(super) fn finish(self) -> Result<SortedSet, BadValue> {
        Err(BadValue::Empty)
    }
}

/// One that is one string of the file.
pub(super) fn packed(layout: ValueLayout, bytes: &[u8], _: &BuildOptions) -> Result<SortedSet, BadValue> {
    if layout != ValueLayout::SortedSetListpack {
        return Err(MALFORMED);
    }
    let value = SortedSet::Packed(Listpack::from_bytes(bytes).map_err(|_| MALFORMED)?);
    if value.is_empty() { Err(BadValue::Empty) } else { Ok(value) }
}
