//! Hashes in files.

use super::build::{BadValue, BuildOptions, WRONG_PART};
use super::emit::ValueSink;
use crate::types::{Collection, Hash};
use shoal_formats::listpack::Listpack;
use shoal_formats::rdb::{RdbElement, RdbValue, ValueLayout};

const MALFORMED: BadValue = BadValue::Malformed("malformed hash");

pub(super) fn emit(value: &Hash, sink: &mut impl ValueSink) {
    match value {
        Hash::Packed(listpack) => {
            sink.value(RdbValue::Packed { layout: ValueLayout::HashListpack, bytes: listpack.as_bytes() });
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

    pub(super) fn finish(self) -> Result<Hash, BadValue> {
        Err(BadValue::Empty)
    }
}

/// One that is one string of the file.
pub(super) fn packed(layout: ValueLayout, bytes: &[u8], _: &BuildOptions) -> Result<Hash, BadValue> {
    if layout != ValueLayout::HashListpack {
        return Err(MALFORMED);
    }
    let value = Hash::Packed(Listpack::from_bytes(bytes).map_err(|_| MALFORMED)?);
    if value.is_empty() { Err(BadValue::Empty) } else { Ok(value) }
}
