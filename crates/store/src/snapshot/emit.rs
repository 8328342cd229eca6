//! Values on their way out, as files and payloads keep them.

use super::{hash, list, set, sorted_set, stream};
use crate::call::StoreOptions;
use crate::entry::{Text, Value};
use shoal_formats::dump_payload::PayloadWriter;
use shoal_formats::rdb::{RdbElement, RdbString, RdbValue, ValueLayout};

/// Where a value goes: the whole of it in one piece, or opened and then part by part.
pub trait ValueSink {
    /// The whole value.
    fn value(&mut self, value: RdbValue<'_>);

    /// A value of so many parts, which follow.
    fn open(&mut self, layout: ValueLayout, count: u64);

    /// A hash of so many fields, which follow, of which the first expires at `base_ms`.
    fn open_timed_hash(&mut self, base_ms: u64, count: u64);

    /// A part of the value.
    fn element(&mut self, element: &RdbElement<'_>);
}

impl ValueSink for PayloadWriter {
    fn value(&mut self, value: RdbValue<'_>) {
        self.value(value);
    }

    fn open(&mut self, layout: ValueLayout, count: u64) {
        self.open(layout, count);
    }

    fn open_timed_hash(&mut self, base_ms: u64, count: u64) {
        self.open_timed_hash(base_ms, count);
    }

    fn element(&mut self, element: &RdbElement<'_>) {
        self.element(element);
    }
}

/// Writes a value, in layouts that this version of the format has.
pub fn emit(value: Value<'_>, rdb_version: u16, sink: &mut impl ValueSink) {
    match value {
        Value::String(Text::Integer(integer)) => sink.value(RdbValue::String(RdbString::Integer(integer))),
        Value::String(Text::Bytes(bytes)) => sink.value(RdbValue::String(RdbString::Bytes(bytes))),
        Value::String(Text::Shared(bytes)) => sink.value(RdbValue::String(RdbString::Bytes(bytes))),
        Value::List(list) => list::emit(list, sink),
        Value::Set(set) => set::emit(set, rdb_version, sink),
        Value::Hash(hash) => hash::emit(hash, rdb_version, sink),
        Value::SortedSet(set) => sorted_set::emit(set, sink),
        Value::Stream(stream) => stream::emit(stream, rdb_version, sink),
    }
}

/// The payload of a value, for DUMP and MIGRATE.
pub fn dump(value: Value<'_>, options: &StoreOptions) -> Vec<u8> {
    let mut writer = PayloadWriter::new(options.rdb_version, options.compress);
    emit(value, options.rdb_version, &mut writer);
    writer.finish()
}
