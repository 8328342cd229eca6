//! Lists in files: nodes, each a listpack or one long element.

use super::build::{BadValue, BuildOptions, WRONG_PART, listpack};
use super::emit::ValueSink;
use crate::call::EncodingLimits;
use crate::types::List;
use crate::types::list::{End, NewElement, Part, Quicklist};
use shoal_formats::listpack::Listpack;
use shoal_formats::rdb::{Element, RdbElement, ValueLayout};
use shoal_formats::ziplist::Ziplist;
use std::sync::Arc;

const MALFORMED: BadValue = BadValue::Malformed("Quicklist listpack integrity check failed");
const MALFORMED_ZIPLIST: BadValue = BadValue::Malformed("Ziplist integrity check failed");
const EMPTY_NODE: BadValue = BadValue::Malformed("Quicklist node without anything");

pub(super) fn emit(list: &List, sink: &mut impl ValueSink) {
    sink.open(ValueLayout::Quicklist2, list.part_count() as u64);
    for part in list.parts() {
        match part {
            Part::Packed(listpack) => {
                sink.element(&Element::Node { plain: false, bytes: listpack.as_bytes() });
            }
            Part::Plain(bytes) => sink.element(&Element::Node { plain: true, bytes: &bytes }),
        }
    }
}

/// A list that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    layout: ValueLayout,
    limits: EncodingLimits,
    list: Quicklist,
}

impl Builder {
    pub(super) fn new(layout: ValueLayout, options: &BuildOptions) -> Self {
        Self { layout, limits: options.limits, list: Quicklist::new(&options.limits) }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        match *element {
            Element::Member(text) => self.push(text),
            Element::Node { bytes: [], .. } => return Err(EMPTY_NODE),
            Element::Node { plain: true, bytes } => self.list.push_plain(Arc::new(bytes.to_vec())),
            Element::Node { bytes, .. } if self.layout == ValueLayout::Quicklist2 => {
                self.list.push_packed(listpack(bytes).map_err(|_| MALFORMED)?);
            }
            Element::Node { bytes, .. } if self.layout == ValueLayout::Quicklist => {
                self.list.push_packed(listpack_of(bytes)?);
            }
            _ => return Err(WRONG_PART),
        }
        Ok(())
    }

    fn push(&mut self, text: &[u8]) {
        self.list.push(End::Tail, NewElement::new(text), &self.limits);
    }

    pub(super) fn finish(self) -> Result<List, BadValue> {
        if self.list.is_empty() {
            return Err(BadValue::Empty);
        }
        Ok(List::from_quicklist(self.list, &self.limits))
    }
}

/// A list that is one ziplist.
pub(super) fn packed(bytes: &[u8], options: &BuildOptions) -> Result<List, BadValue> {
    let mut builder = Builder::new(ValueLayout::List, options);
    for element in Ziplist::new(bytes).map_err(|_| MALFORMED_ZIPLIST)?.iter() {
        element.with_text(|text| builder.push(text));
    }
    builder.finish()
}

/// The listpack that holds what a ziplist holds.
fn listpack_of(ziplist: &[u8]) -> Result<Listpack, BadValue> {
    let mut listpack = Listpack::new();
    for element in Ziplist::new(ziplist).map_err(|_| MALFORMED_ZIPLIST)?.iter() {
        if !listpack.fits(1, element.text_length()) {
            return Err(MALFORMED);
        }
        element.with_text(|text| listpack.push(text));
    }
    Ok(listpack)
}
