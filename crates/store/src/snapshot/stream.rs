//! Streams in files: nodes, then groups, their pending entries and their consumers.

use super::build::{BadValue, BuildOptions, WRONG_PART};
use super::emit::ValueSink;
use crate::types::Stream;
use shoal_formats::rdb::{RdbElement, ValueLayout};

pub(super) fn emit(stream: &Stream, _: u16, sink: &mut impl ValueSink) {
    match stream {
        Stream::Packed(_) => sink.open(ValueLayout::Stream3, 0),
    }
}

/// A stream that comes in parts.
#[derive(Debug)]
pub(super) struct Builder {}

impl Builder {
    pub(super) fn new(_: &BuildOptions) -> Self {
        Self {}
    }

    pub(super) fn element(&mut self, _: &RdbElement<'_>) -> Result<(), BadValue> {
        Err(WRONG_PART)
    }

    pub(super) fn finish(self) -> Result<Stream, BadValue> {
        Err(WRONG_PART)
    }
}
