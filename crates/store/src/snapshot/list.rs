//! Lists in files: nodes, each a listpack or one long element.

use super::build::{BadValue, BuildOptions, WRONG_PART};
use super::emit::ValueSink;
use crate::types::{Collection, List};
use shoal_formats::listpack::Listpack;
use shoal_formats::rdb::{Element, RdbElement, ValueLayout};

const MALFORMED: BadValue = BadValue::Malformed("malformed list");

pub(super) fn emit(list: &List, sink: &mut impl ValueSink) {
    match list {
        List::Packed(listpack) => {
            sink.open(ValueLayout::Quicklist2, 1);
            sink.element(&Element::Node { plain: false, bytes: listpack.as_bytes() });
        }
    }
}

/// A list that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {
    layout: ValueLayout,
    listpack: Listpack,
}

impl Builder {
    pub(super) fn new(layout: ValueLayout, _: &BuildOptions) -> Self {
        Self { layout, listpack: Listpack::new() }
    }

    pub(super) fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        match *element {
            Element::Member(text) => self.push(text),
            Element::Node { plain: true, bytes } => self.push(bytes),
            Element::Node { bytes, .. } if self.layout == ValueLayout::Quicklist2 => {
                let node = Listpack::from_bytes(bytes).map_err(|_| MALFORMED)?;
                node.iter().try_for_each(|element| element.with_text(|text| self.push(text)))
            }
            _ => Err(WRONG_PART),
        }
    }

    fn push(&mut self, text: &[u8]) -> Result<(), BadValue> {
        if !self.listpack.fits(1, text.len()) {
            return Err(BadValue::Malformed("a list that is too long"));
        }
        self.listpack.push(text);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<List, BadValue> {
        let list = List::Packed(self.listpack);
        if list.is_empty() { Err(BadValue::Empty) } else { Ok(list) }
    }
}

/// A list that is one ziplist.
pub(super) fn packed(_: &[u8], _: &BuildOptions) -> Result<List, BadValue> {
    Err(MALFORMED)
}
