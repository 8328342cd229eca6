//! Hashes in files: a listpack or one of its forerunners, or field by field.

use super::build::{BadValue, BuildOptions, WRONG_PART};
use super::emit::ValueSink;
use crate::types::{Collection, Hash};
use shoal_formats::listpack::Listpack;
use shoal_formats::rdb::{Element, RdbElement, RdbValue, ValueLayout};

const MALFORMED: BadValue = BadValue::Malformed("malformed hash");
const TWICE: BadValue = BadValue::Malformed("duplicate hash fields");

pub(super) fn emit(value: &Hash, sink: &mut impl ValueSink) {
    match value {
        Hash::Packed(listpack) => {
            sink.value(RdbValue::Packed { layout: ValueLayout::HashListpack, bytes: listpack.as_bytes() });
        }
        Hash::Table(_) => {
            sink.open(ValueLayout::Hash, value.len() as u64);
            for (name, value) in value.iter() {
                name.with_text(|name| {
                    value.with_text(|value| sink.element(&Element::Field { name, value }));
                });
            }
        }
    }
}

/// One that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    hash: Hash,
    options: BuildOptions,
}

impl Builder {
    pub(super) fn new(options: &BuildOptions) -> Self {
        Self { hash: Hash::default(), options: *options }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        match element {
            Element::Field { name, value } => self.set(name, value),
            _ => Err(WRONG_PART),
        }
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadValue> {
        if self.hash.set(name, value, self.options.settings()) { Ok(()) } else { Err(TWICE) }
    }

    pub(super) fn finish(self) -> Result<Hash, BadValue> {
        if self.hash.is_empty() { Err(BadValue::Empty) } else { Ok(self.hash) }
    }
}

/// One that is one string of the file.
pub(super) fn packed(layout: ValueLayout, bytes: &[u8], options: &BuildOptions) -> Result<Hash, BadValue> {
    if layout != ValueLayout::HashListpack {
        return Err(MALFORMED);
    }
    let listpack = Listpack::from_bytes(bytes).map_err(|_| MALFORMED)?;
    if !listpack.len().is_multiple_of(2) {
        return Err(MALFORMED);
    }
    let hash = Hash::from_listpack(listpack, options.check_duplicates, options.settings()).ok_or(TWICE)?;
    if hash.is_empty() { Err(BadValue::Empty) } else { Ok(hash) }
}
