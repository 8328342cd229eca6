//! One heap block per key: header, expiry, value word, key, small value.
//!
//! ```text
//! ┌ kind 4 ┬ flags 4 ┬ access 24 ┬ key length 16 ┬ inline length 16 ┐  8 bytes
//! ├ expiry in ms, if HAS_EXPIRY ────────────────────────────────────┤  8 bytes
//! ├ key length, if LONG_KEY ────────────────────────────────────────┤  8 bytes
//! ├ integer, pointer or collection, unless the value is inline ─────┤  8 bytes, 16 for collections
//! ├ key bytes ──────────────────────────────────────────────────────┤
//! └ value bytes, if inline ─────────────────────────────────────────┘
//! ```
//!
//! The allocator is expected to have size classes of 8 bytes for small blocks, so little is lost to rounding. The contract of the
//! `unsafe` here: a block's length follows from its header, its value word holds what its kind says, and an [`Entry`]
//! owns its block and what the value word points to.

#![allow(unsafe_code)]

use crate::table::Item;
use crate::types::{self, Collection, Hash, List, Object, Set, SortedSet, Stream, Type};
use shoal_formats::thin_bytes::size_class;
use shoal_protocol::{Reply, SharedBytes};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// The longest string that is kept inside the block.
pub const INLINE_MAX_BYTES: usize = 1024;
/// The longest string that reports the encoding `embstr`.
pub const EMBEDDED_MAX_BYTES: usize = 44;
/// The longest key.
pub const KEY_MAX_BYTES: usize = 512 * 1024 * 1024;

const HEADER_BYTES: usize = 8;
const WORD_BYTES: usize = 8;
const EXPIRY_OFFSET: usize = HEADER_BYTES;

const KIND_INTEGER: u8 = 0;
const KIND_INLINE: u8 = 1;
const KIND_SHARED: u8 = 2;
const KIND_LIST: u8 = 3;
const KIND_SET: u8 = 4;
const KIND_HASH: u8 = 5;
const KIND_SORTED_SET: u8 = 6;
const KIND_STREAM: u8 = 7;

const HAS_EXPIRY: u8 = 1;
const LONG_KEY: u8 = 2;
/// A string that an operation made by changing another one; it reports the encoding `raw` at any length.
const RAW: u8 = 4;

#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    /// Kind in the lower, flags in the upper four bits.
    kind_and_flags: u8,
    access: [u8; 3],
    key_length: u16,
    inline_length: u16,
}

impl Header {
    fn kind(self) -> u8 {
        self.kind_and_flags & 0x0f
    }

    fn flags(self) -> u8 {
        self.kind_and_flags >> 4
    }

    fn has(self, flag: u8) -> bool {
        self.flags() & flag != 0
    }

    fn long_key_offset(self) -> usize {
        HEADER_BYTES + if self.has(HAS_EXPIRY) { WORD_BYTES } else { 0 }
    }

    fn word_offset(self) -> usize {
        self.long_key_offset() + if self.has(LONG_KEY) { WORD_BYTES } else { 0 }
    }

    fn key_offset(self) -> usize {
        let word_bytes = match self.kind() {
            KIND_INLINE => 0,
            KIND_INTEGER | KIND_SHARED => WORD_BYTES,
            _ => types::WORD_BYTES,
        };
        self.word_offset() + word_bytes
    }
}

/// A string as readers see it.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// An integer in its canonical form.
    Integer(i64),
    /// Any bytes.
    Bytes(&'a [u8]),
    /// A long string that readers can share.
    Shared(&'a SharedBytes),
}

impl Text<'_> {
    /// Gives `use_bytes` the bytes; an integer's are its decimal form.
    pub fn with_bytes<R>(self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Integer(integer) => use_bytes(itoa::Buffer::new().format(integer).as_bytes()),
            Self::Bytes(bytes) => use_bytes(bytes),
            Self::Shared(bytes) => use_bytes(bytes),
        }
    }

    /// Writes it as a bulk string; one that readers can share is not copied if it is long.
    #[inline]
    pub fn write_to(self, reply: &mut Reply<'_>) {
        match self {
            Self::Integer(integer) => reply.bulk_integer(integer),
            Self::Bytes(bytes) => reply.bulk(bytes),
            Self::Shared(bytes) => reply.bulk_shared(bytes),
        }
    }

    /// The number of bytes.
    pub fn len(self) -> usize {
        self.with_bytes(<[u8]>::len)
    }

    /// Whether there are no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// A copy of the bytes.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }
}

/// A key's value as readers see it.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A string.
    String(Text<'a>),
    /// A list.
    List(&'a List),
    /// A set.
    Set(&'a Set),
    /// A hash.
    Hash(&'a Hash),
    /// A sorted set.
    SortedSet(&'a SortedSet),
    /// A stream.
    Stream(&'a Stream),
}

impl Value<'_> {
    /// Its type.
    pub const fn kind(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::List(_) => Type::List,
            Self::Set(_) => Type::Set,
            Self::Hash(_) => Type::Hash,
            Self::SortedSet(_) => Type::SortedSet,
            Self::Stream(_) => Type::Stream,
        }
    }
}

/// A value that is changed in its place. Short strings are not: they are replaced.
#[derive(Debug)]
pub enum ValueMut<'a> {
    /// A string that is an integer or kept in the block.
    Fixed,
    /// A long string.
    Shared(&'a mut SharedBytes),
    /// A list.
    List(&'a mut List),
    /// A set.
    Set(&'a mut Set),
    /// A hash.
    Hash(&'a mut Hash),
    /// A sorted set.
    SortedSet(&'a mut SortedSet),
    /// A stream.
    Stream(&'a mut Stream),
}

/// A value on its way into the keyspace.
#[derive(Clone, Debug)]
pub enum NewValue<'a> {
    /// A string that is an integer in its canonical form.
    Integer(i64),
    /// A string that is copied into its place.
    Bytes(&'a [u8]),
    /// A string that is copied into its place and reports the encoding `raw`.
    RawBytes(&'a [u8]),
    /// A long string that is not copied.
    Shared(SharedBytes),
    /// A collection.
    Object(Object),
}

impl<T: Collection> From<T> for NewValue<'_> {
    fn from(collection: T) -> Self {
        Self::Object(collection.into())
    }
}

impl NewValue<'_> {
    /// A string in the form that takes the least memory: an integer if it is one.
    pub fn compact(bytes: &[u8]) -> NewValue<'_> {
        match shoal_protocol::number::parse_i64(bytes) {
            Some(integer) => NewValue::Integer(integer),
            None => NewValue::Bytes(bytes),
        }
    }
}

/// A key, its value and its expiry, in one block that it owns.
pub struct Entry {
    block: NonNull<u8>,
}

// SAFETY: the block and what it points to (shared bytes behind an `Arc`) have no ties to a thread.
unsafe impl Send for Entry {}

/// What stands between header and key.
enum Word {
    None,
    Integer(i64),
    Shared(SharedBytes),
    Object(Object),
}

impl Word {
    fn kind(&self) -> u8 {
        match self {
            Self::None => KIND_INLINE,
            Self::Integer(_) => KIND_INTEGER,
            Self::Shared(_) => KIND_SHARED,
            Self::Object(Object::List(_)) => KIND_LIST,
            Self::Object(Object::Set(_)) => KIND_SET,
            Self::Object(Object::Hash(_)) => KIND_HASH,
            Self::Object(Object::SortedSet(_)) => KIND_SORTED_SET,
            Self::Object(Object::Stream(_)) => KIND_STREAM,
        }
    }

    /// Moves the word to where an entry of its kind keeps it.
    ///
    /// # Safety
    /// `at` is a word of a block whose header names this kind, and holds nothing that is to be dropped.
    unsafe fn write(self, at: NonNull<u8>) {
        // SAFETY: words of every kind are as long and as aligned as what is written there.
        unsafe {
            match self {
                Self::None => {}
                Self::Integer(integer) => at.cast().write(integer),
                Self::Shared(bytes) => at.cast().write(bytes),
                Self::Object(Object::List(list)) => at.cast().write(list),
                Self::Object(Object::Set(set)) => at.cast().write(set),
                Self::Object(Object::Hash(hash)) => at.cast().write(hash),
                Self::Object(Object::SortedSet(set)) => at.cast().write(set),
                Self::Object(Object::Stream(stream)) => at.cast().write(stream),
            }
        }
    }

    /// Moves a word out of its block.
    ///
    /// # Safety
    /// `at` is the word of a block whose header names this kind; it is not used again.
    unsafe fn read(kind: u8, at: NonNull<u8>) -> Self {
        // SAFETY: the word holds what its kind says.
        unsafe {
            match kind {
                KIND_INLINE => Self::None,
                KIND_INTEGER => Self::Integer(at.cast().read()),
                KIND_SHARED => Self::Shared(at.cast().read()),
                KIND_LIST => Self::Object(Object::List(at.cast().read())),
                KIND_SET => Self::Object(Object::Set(at.cast().read())),
                KIND_HASH => Self::Object(Object::Hash(at.cast().read())),
                KIND_SORTED_SET => Self::Object(Object::SortedSet(at.cast().read())),
                _ => Self::Object(Object::Stream(at.cast().read())),
            }
        }
    }
}

impl Entry {
    /// Puts key, value and expiry (milliseconds since 1970, if any) into a new block.
    pub fn new(key: &[u8], value: NewValue<'_>, expiry_ms: Option<u64>) -> Self {
        match value {
            NewValue::Integer(integer) => Self::build(key, 0, expiry_ms, Word::Integer(integer), &[]),
            NewValue::Bytes(bytes) if bytes.len() <= INLINE_MAX_BYTES => {
                Self::build(key, 0, expiry_ms, Word::None, bytes)
            }
            NewValue::RawBytes(bytes) if bytes.len() <= INLINE_MAX_BYTES => {
                Self::build(key, RAW, expiry_ms, Word::None, bytes)
            }
            NewValue::Bytes(bytes) | NewValue::RawBytes(bytes) => {
                Self::build(key, RAW, expiry_ms, Word::Shared(Arc::new(bytes.to_vec())), &[])
            }
            NewValue::Shared(bytes) => Self::build(key, RAW, expiry_ms, Word::Shared(bytes), &[]),
            NewValue::Object(object) => Self::build(key, 0, expiry_ms, Word::Object(object), &[]),
        }
    }

    fn build(key: &[u8], flags: u8, expiry_ms: Option<u64>, word: Word, inline: &[u8]) -> Self {
        let kind = word.kind();
        let long_key = key.len() >= usize::from(u16::MAX);
        let expiry_flag = if expiry_ms.is_some() { HAS_EXPIRY } else { 0 };
        let flags = flags | expiry_flag | if long_key { LONG_KEY } else { 0 };
        let header = Header {
            kind_and_flags: kind | flags << 4,
            access: [0; 3],
            key_length: if long_key { u16::MAX } else { key.len() as u16 },
            inline_length: inline.len() as u16,
        };
        let layout = layout_for(header.key_offset() + key.len() + inline.len());
        // SAFETY: the layout is not empty: it holds at least the header.
        let Some(block) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: all offsets come from the header and lie inside the new block; fields of eight bytes are aligned
        // because the block is and all fields before them are multiples of eight.
        unsafe {
            block.cast::<Header>().write(header);
            if let Some(expiry_ms) = expiry_ms {
                block.add(EXPIRY_OFFSET).cast::<u64>().write(expiry_ms);
            }
            if long_key {
                block.add(header.long_key_offset()).cast::<u64>().write(key.len() as u64);
            }
            word.write(block.add(header.word_offset()));
            let key_at = block.add(header.key_offset()).as_ptr();
            std::ptr::copy_nonoverlapping(key.as_ptr(), key_at, key.len());
            std::ptr::copy_nonoverlapping(inline.as_ptr(), key_at.add(key.len()), inline.len());
        }
        Self { block }
    }

    #[inline]
    fn header(&self) -> Header {
        // SAFETY: every block begins with its header.
        unsafe { self.block.cast::<Header>().read() }
    }

    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: every block begins with its header, and the entry is borrowed for changing.
        unsafe { self.block.cast::<Header>().as_mut() }
    }

    #[inline]
    fn key_length(&self, header: Header) -> usize {
        if header.has(LONG_KEY) {
            // SAFETY: the flag says that the field is there.
            (unsafe { self.block.add(header.long_key_offset()).cast::<u64>().read() }) as usize
        } else {
            usize::from(header.key_length)
        }
    }

    fn block_length(&self) -> usize {
        let header = self.header();
        header.key_offset() + self.key_length(header) + usize::from(header.inline_length)
    }

    /// Bytes held on the heap, a shared value counted whole; of a collection as much as `samples` elements tell (0: all).
    pub fn size_bytes(&self, samples: usize) -> usize {
        let outside = match self.value() {
            Value::String(Text::Integer(_) | Text::Bytes(_)) => 0,
            Value::String(Text::Shared(bytes)) => {
                bytes.capacity() + size_of::<Vec<u8>>() + 2 * size_of::<usize>()
            }
            Value::List(list) => list.size_bytes(samples),
            Value::Set(set) => set.size_bytes(samples),
            Value::Hash(hash) => hash.size_bytes(samples),
            Value::SortedSet(set) => set.size_bytes(samples),
            Value::Stream(stream) => stream.size_bytes(samples),
        };
        layout_for(self.block_length()).size() + outside
    }

    /// About how many allocations have to be freed.
    pub fn free_effort(&self) -> usize {
        match self.value() {
            Value::String(_) => 1,
            Value::List(list) => list.free_effort(),
            Value::Set(set) => set.free_effort(),
            Value::Hash(hash) => hash.free_effort(),
            Value::SortedSet(set) => set.free_effort(),
            Value::Stream(stream) => stream.free_effort(),
        }
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        let header = self.header();
        // SAFETY: the offset lies inside the block, or at its end if there is no word.
        let word = unsafe { self.block.add(header.word_offset()) };
        // SAFETY: the word holds what the kind says; what is borrowed of it lives as long as the borrow of the entry.
        unsafe {
            match header.kind() {
                KIND_INTEGER => Value::String(Text::Integer(word.cast().read())),
                KIND_INLINE => {
                    let at = header.key_offset() + self.key_length(header);
                    let length = usize::from(header.inline_length);
                    let bytes = std::slice::from_raw_parts(self.block.add(at).as_ptr(), length);
                    Value::String(Text::Bytes(bytes))
                }
                KIND_SHARED => Value::String(Text::Shared(word.cast().as_ref())),
                KIND_LIST => Value::List(word.cast().as_ref()),
                KIND_SET => Value::Set(word.cast().as_ref()),
                KIND_HASH => Value::Hash(word.cast().as_ref()),
                KIND_SORTED_SET => Value::SortedSet(word.cast().as_ref()),
                _ => Value::Stream(word.cast().as_ref()),
            }
        }
    }

    /// The value, if it is a string.
    #[inline]
    pub fn text(&self) -> Option<Text<'_>> {
        match self.value() {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value, to be changed in its place.
    #[inline]
    pub fn value_mut(&mut self) -> ValueMut<'_> {
        let header = self.header();
        // SAFETY: the offset lies inside the block, or at its end if there is no word.
        let word = unsafe { self.block.add(header.word_offset()) };
        // SAFETY: the word holds what the kind says, and the entry is borrowed for changing.
        unsafe {
            match header.kind() {
                KIND_INTEGER | KIND_INLINE => ValueMut::Fixed,
                KIND_SHARED => ValueMut::Shared(word.cast().as_mut()),
                KIND_LIST => ValueMut::List(word.cast().as_mut()),
                KIND_SET => ValueMut::Set(word.cast().as_mut()),
                KIND_HASH => ValueMut::Hash(word.cast().as_mut()),
                KIND_SORTED_SET => ValueMut::SortedSet(word.cast().as_mut()),
                _ => ValueMut::Stream(word.cast().as_mut()),
            }
        }
    }

    /// The long string, to be changed in place; `None` if the value is kept otherwise.
    pub fn shared_mut(&mut self) -> Option<&mut SharedBytes> {
        match self.value_mut() {
            ValueMut::Shared(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes of a string, to be changed in place; it reports the encoding `raw` from then on. `None` if there are no
    /// bytes: of an integer, or a collection. A long string that replies share is copied first.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let header = self.header();
        match header.kind() {
            KIND_INLINE => {
                let at = header.key_offset() + self.key_length(header);
                self.header_mut().kind_and_flags |= RAW << 4;
                let length = usize::from(header.inline_length);
                // SAFETY: an inline value follows the key and ends with the block, and the entry is borrowed for changing.
                Some(unsafe { std::slice::from_raw_parts_mut(self.block.add(at).as_ptr(), length) })
            }
            _ => self.shared_mut().map(|bytes| Arc::make_mut(bytes).as_mut_slice()),
        }
    }

    /// Puts a value in the place of this one. Expiry and access clock stay.
    pub fn set_value(&mut self, value: NewValue<'_>) {
        let header = self.header();
        match value {
            NewValue::Integer(integer) if header.kind() == KIND_INTEGER => {
                // SAFETY: entries of this kind have an integer in their word.
                unsafe { self.block.add(header.word_offset()).cast::<i64>().write(integer) };
            }
            NewValue::Bytes(bytes) if self.fits_in_place(header, bytes) => self.overwrite_inline(0, bytes),
            NewValue::RawBytes(bytes) if self.fits_in_place(header, bytes) => {
                self.overwrite_inline(RAW, bytes);
            }
            value => {
                let mut replacement = Self::new(self.key(), value, self.expiry_ms());
                replacement.header_mut().access = header.access;
                *self = replacement;
            }
        }
    }

    fn fits_in_place(&self, header: Header, bytes: &[u8]) -> bool {
        let before = self.block_length();
        let after = before - usize::from(header.inline_length) + bytes.len();
        header.kind() == KIND_INLINE
            && bytes.len() <= INLINE_MAX_BYTES
            && layout_for(before).size() == layout_for(after).size()
    }

    fn overwrite_inline(&mut self, raw: u8, bytes: &[u8]) {
        let header = self.header();
        let at = header.key_offset() + self.key_length(header);
        let flags = header.flags() & !RAW | raw;
        *self.header_mut() = Header {
            kind_and_flags: header.kind() | flags << 4,
            inline_length: bytes.len() as u16,
            ..header
        };
        // SAFETY: the block's length, rounded to its size class, is the same for the new value.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.block.add(at).as_ptr(), bytes.len()) };
    }

    /// The expiry in milliseconds since 1970.
    #[inline]
    pub fn expiry_ms(&self) -> Option<u64> {
        // SAFETY: the flag says that the field is there.
        self.header().has(HAS_EXPIRY).then(|| unsafe { self.block.add(EXPIRY_OFFSET).cast::<u64>().read() })
    }

    /// Sets or removes the expiry.
    pub fn set_expiry_ms(&mut self, expiry_ms: Option<u64>) {
        let header = self.header();
        match expiry_ms {
            // SAFETY: the flag says that the field is there.
            Some(at) if header.has(HAS_EXPIRY) => unsafe {
                self.block.add(EXPIRY_OFFSET).cast::<u64>().write(at);
            },
            None if !header.has(HAS_EXPIRY) => {}
            _ => self.rebuild(None, expiry_ms),
        }
    }

    /// The same value, expiry and access clock under another key.
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let expiry_ms = self.expiry_ms();
        self.rebuild(Some(key), expiry_ms);
        self
    }

    /// Moves the value into a new block with this key and expiry.
    fn rebuild(&mut self, key: Option<&[u8]>, expiry_ms: Option<u64>) {
        let header = self.header();
        let layout = layout_for(self.block_length());
        // SAFETY: the offset lies inside the block. The word is moved out of the old block, which is freed below without
        // looking at its word again.
        let word = unsafe { Word::read(header.kind(), self.block.add(header.word_offset())) };
        let inline = match self.value_if_inline(header) {
            Some(bytes) => bytes,
            None => &[],
        };
        let raw = header.flags() & RAW;
        let mut replacement = Self::build(key.unwrap_or(self.key()), raw, expiry_ms, word, inline);
        replacement.header_mut().access = header.access;
        let old = std::mem::replace(&mut self.block, replacement.block);
        std::mem::forget(replacement);
        // SAFETY: the block was allocated with this layout, and nothing refers to it any more.
        unsafe { dealloc(old.as_ptr(), layout) };
    }

    fn value_if_inline(&self, header: Header) -> Option<&[u8]> {
        match header.kind() {
            KIND_INLINE => match self.text() {
                Some(Text::Bytes(bytes)) => Some(bytes),
                _ => None,
            },
            _ => None,
        }
    }

    /// A copy of value and expiry under a key. A long string is shared, not copied. The access clock is zero.
    pub fn copied(&self, key: &[u8]) -> Self {
        let value = match self.value() {
            Value::String(Text::Integer(integer)) => NewValue::Integer(integer),
            Value::String(Text::Bytes(bytes)) if self.header().has(RAW) => NewValue::RawBytes(bytes),
            Value::String(Text::Bytes(bytes)) => NewValue::Bytes(bytes),
            Value::String(Text::Shared(bytes)) => NewValue::Shared(bytes.clone()),
            Value::List(list) => list.clone().into(),
            Value::Set(set) => set.clone().into(),
            Value::Hash(hash) => hash.clone().into(),
            Value::SortedSet(set) => set.clone().into(),
            Value::Stream(stream) => stream.clone().into(),
        };
        Self::new(key, value, self.expiry_ms())
    }

    /// What `TYPE` says.
    pub fn type_name(&self) -> &'static str {
        self.kind().name()
    }

    /// Its type.
    pub fn kind(&self) -> Type {
        self.value().kind()
    }

    /// The 24 bits of the access clock: what they mean depends on `maxmemory-policy`.
    pub fn access(&self) -> u32 {
        let [low, middle, high] = self.header().access;
        u32::from_le_bytes([low, middle, high, 0])
    }

    /// Sets the access clock; only the lower 24 bits count.
    #[inline]
    pub fn set_access(&mut self, access: u32) {
        let [low, middle, high, _] = access.to_le_bytes();
        self.header_mut().access = [low, middle, high];
    }

    /// What `OBJECT ENCODING` says.
    pub fn encoding(&self) -> &'static str {
        match self.value() {
            Value::String(Text::Integer(_)) => "int",
            Value::String(Text::Bytes(bytes))
                if bytes.len() <= EMBEDDED_MAX_BYTES && !self.header().has(RAW) =>
            {
                "embstr"
            }
            Value::String(_) => "raw",
            Value::List(list) => list.encoding(),
            Value::Set(set) => set.encoding(),
            Value::Hash(hash) => hash.encoding(),
            Value::SortedSet(set) => set.encoding(),
            Value::Stream(stream) => stream.encoding(),
        }
    }
}

// SAFETY: the block does not move while the entry is given away; its address is that of the heap.
unsafe impl Item for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        let header = self.header();
        let length = self.key_length(header);
        // SAFETY: the key follows the fields, and lives as long as the borrow of the entry.
        unsafe { std::slice::from_raw_parts(self.block.add(header.key_offset()).as_ptr(), length) }
    }

    #[inline]
    fn into_pointer(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).block
    }

    #[inline]
    unsafe fn from_pointer(pointer: NonNull<u8>) -> Self {
        Self { block: pointer }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let header = self.header();
        let layout = layout_for(self.block_length());
        // SAFETY: the entry owns its block, which was allocated with this layout, and what its word points to.
        unsafe {
            drop(Word::read(header.kind(), self.block.add(header.word_offset())));
            dealloc(self.block.as_ptr(), layout);
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("key", &String::from_utf8_lossy(self.key()))
            .field("value", &self.value())
            .field("expiry_ms", &self.expiry_ms())
            .finish()
    }
}

/// The layout of a block that holds `length` bytes: rounded up to the allocator's classes.
const fn layout_for(length: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and keys and inline values are bounded far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size_class(length), WORD_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(entry: &Entry) -> String {
        String::from_utf8(entry.text().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn every_kind_keeps_key_value_and_expiry() {
        let long = "x".repeat(INLINE_MAX_BYTES + 1);
        let long_key = "k".repeat(70_000);
        for key in ["", "k", "a longer key than eight", &long_key] {
            for expiry_ms in [None, Some(7)] {
                for value in ["", "v", "12", "-9223372036854775808", "0x10", &long] {
                    let mut entry =
                        Entry::new(key.as_bytes(), NewValue::compact(value.as_bytes()), expiry_ms);
                    entry.set_access(0x00ab_cdef);
                    assert_eq!((entry.key(), text(&entry).as_str()), (key.as_bytes(), value));
                    assert_eq!(entry.expiry_ms(), expiry_ms);
                    for changed in ["", "other", "99", &long] {
                        entry.set_value(NewValue::compact(changed.as_bytes()));
                        assert_eq!((entry.key(), text(&entry).as_str()), (key.as_bytes(), changed));
                        assert_eq!(entry.expiry_ms(), expiry_ms);
                        entry.set_expiry_ms(Some(9));
                        assert_eq!(entry.expiry_ms(), Some(9));
                        entry.set_expiry_ms(expiry_ms);
                        assert_eq!(text(&entry), changed);
                        assert_eq!(entry.access(), 0x00ab_cdef);
                    }
                    let renamed = entry.renamed(b"new");
                    assert_eq!((renamed.key(), text(&renamed).as_str()), (&b"new"[..], long.as_str()));
                }
            }
        }
    }

    #[test]
    fn encodings() {
        for (value, encoding) in [
            (NewValue::Integer(5), "int"),
            (NewValue::Bytes(b"short"), "embstr"),
            (NewValue::Bytes(&[b'x'; 44]), "embstr"),
            (NewValue::Bytes(&[b'x'; 45]), "raw"),
            (NewValue::RawBytes(b"short"), "raw"),
            (NewValue::Bytes(&[b'x'; 5000]), "raw"),
        ] {
            assert_eq!(Entry::new(b"k", value, None).encoding(), encoding);
        }
    }

    #[test]
    fn blocks_are_small() {
        let sixteen = b"key:000000000001";
        assert_eq!(Entry::new(sixteen, NewValue::Bytes(&[b'v'; 64]), None).size_bytes(0), 96);
        assert_eq!(Entry::new(sixteen, NewValue::Integer(1), None).size_bytes(0), 32);
        assert_eq!(Entry::new(sixteen, NewValue::Integer(1), Some(1)).size_bytes(0), 40);
    }

    #[test]
    fn a_shared_value_is_not_copied() {
        let bytes: SharedBytes = Arc::new(vec![1; 4000]);
        let mut entry = Entry::new(b"k", NewValue::Shared(bytes.clone()), None);
        assert_eq!(Arc::strong_count(&bytes), 2);
        Arc::make_mut(entry.shared_mut().unwrap()).push(2);
        assert_eq!(bytes.len(), 4000);
        drop(entry);
        assert_eq!(Arc::strong_count(&bytes), 1);
    }
}
