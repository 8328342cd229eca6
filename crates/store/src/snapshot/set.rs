//! Sets in files: an intset, a listpack, or member by member.

use super::build::{BadValue, BuildOptions, WRONG_PART, listpack};
use super::emit::ValueSink;
use crate::types::{Collection, Set};
use shoal_formats::intset::Intset;
use shoal_formats::rdb::{Element, RdbElement, RdbValue, ValueLayout};

const MALFORMED: BadValue = BadValue::Malformed("Set integrity check failed");
const TWICE: BadValue = BadValue::Malformed("Set integrity check failed: a member is there twice");
/// The first version whose sets may be listpacks.
const LISTPACKS_FROM: u16 = 11;

pub(super) fn emit(value: &Set, rdb_version: u16, sink: &mut impl ValueSink) {
    match value {
        Set::Integers(intset) => {
            sink.value(RdbValue::Packed { layout: ValueLayout::SetIntset, bytes: intset.as_bytes() });
        }
        Set::Packed(listpack) if rdb_version >= LISTPACKS_FROM => {
            sink.value(RdbValue::Packed { layout: ValueLayout::SetListpack, bytes: listpack.as_bytes() });
        }
        Set::Packed(_) | Set::Table(_) => {
            sink.open(ValueLayout::Set, value.len() as u64);
            value.iter().for_each(|member| member.with_text(|text| sink.element(&Element::Member(text))));
        }
    }
}

/// One that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    set: Set,
    options: BuildOptions,
}

impl Builder {
    pub(super) fn new(options: &BuildOptions) -> Self {
        Self { set: Set::default(), options: *options }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        let Element::Member(member) = element else { return Err(WRONG_PART) };
        if self.set.insert(member, self.options.settings()) { Ok(()) } else { Err(TWICE) }
    }

    pub(super) fn finish(self) -> Result<Set, BadValue> {
        if self.set.is_empty() { Err(BadValue::Empty) } else { Ok(self.set) }
    }
}

/// One that is one string of the file.
pub(super) fn packed(layout: ValueLayout, bytes: &[u8], options: &BuildOptions) -> Result<Set, BadValue> {
    let settings = options.settings();
    let set = match layout {
        ValueLayout::SetIntset => {
            Set::from_intset(Intset::from_bytes(bytes).map_err(|_| MALFORMED)?, settings)
        }
        ValueLayout::SetListpack => {
            let listpack = listpack(bytes).map_err(|_| MALFORMED)?;
            Set::from_listpack(listpack, options.check_duplicates, settings).ok_or(TWICE)?
        }
        _ => return Err(MALFORMED),
    };
    if set.is_empty() { Err(BadValue::Empty) } else { Ok(set) }
}
