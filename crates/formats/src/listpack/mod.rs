//! Listpacks: a sequence of integers and strings in one block, as memory, files and wire keep small collections.
//!
//! ```text
//! ┌ total bytes 32 ┬ elements 16 ┬ element … ┬ FF ┐      little endian; 65535 elements: not counted
//! element:  encoding and content │ the length of that, to be read backwards, 1 to 5 bytes
//! ```
//!
//! Source of the format: the listpack specification by Salvatore Sanfilippo, and what Redis 7.0 writes.

mod encoding;
mod fuzz;

pub use fuzz::fuzz_listpack;

use crate::thin_bytes::ThinBytes;
use encoding::{
    BACK_LENGTH_MAX, Encoded, back_length_bytes, read_back_length, size_of_entry, write_back_length,
};
use std::fmt;

/// Bytes before the first element.
pub const HEADER_BYTES: usize = 6;
/// A listpack without elements.
const EMPTY: [u8; HEADER_BYTES + 1] = [7, 0, 0, 0, 0, 0, END];
/// Stands behind the last element.
const END: u8 = 0xff;
/// The count that says: go and count.
const UNCOUNTED: u16 = u16::MAX;
/// A listpack never grows beyond this.
pub const MAX_BYTES: usize = 1 << 30;
/// What an element takes besides its bytes, at the most.
pub const ELEMENT_OVERHEAD_MAX_BYTES: usize = 5 + BACK_LENGTH_MAX;

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    /// A string that is the canonical form of an integer.
    Integer(i64),
    /// Any other string.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The element that a string becomes: an integer if it is the canonical form of one.
    pub fn of(text: &'a [u8]) -> Self {
        const INTEGER_TEXT_MAX: usize = 20;
        if text.len() <= INTEGER_TEXT_MAX
            && let Some(integer) = shoal_protocol::number::parse_i64(text)
        {
            return Self::Integer(integer);
        }
        Self::Bytes(text)
    }

    /// Gives `use_text` the string that this stands for.
    pub fn with_text<R>(self, use_text: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Integer(integer) => use_text(itoa::Buffer::new().format(integer).as_bytes()),
            Self::Bytes(bytes) => use_text(bytes),
        }
    }

    /// The string that this stands for.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_text(<[u8]>::to_vec)
    }

    /// Bytes of the string that this stands for.
    pub fn text_length(self) -> usize {
        self.with_text(<[u8]>::len)
    }
}

/// Where an element begins: bytes from the beginning of the listpack. Good until the listpack changes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(u32);

/// Bytes that are no listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("malformed listpack")
    }
}

impl std::error::Error for Malformed {}

/// A listpack that owns its bytes, which are always well-formed.
#[derive(Clone)]
pub struct Listpack {
    bytes: ThinBytes,
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Self {
        Self { bytes: ThinBytes::new(&EMPTY) }
    }

    /// A copy of bytes from a file or the wire. Every element is looked at, so that what follows may trust them.
    ///
    /// # Errors
    /// They are no listpack.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        validate(bytes)?;
        Ok(Self { bytes: ThinBytes::new(bytes) })
    }

    /// The bytes, as files keep them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of bytes.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes taken from the allocator.
    pub fn size_bytes(&self) -> usize {
        self.bytes.size_bytes()
    }

    /// Makes space for changes at the ends: they move fewer bytes then and allocate less often. A quarter of the memory may be
    /// unused, until [`Listpack::compact`].
    pub fn make_roomy(&mut self) {
        self.bytes.make_roomy();
    }

    /// Gives up the space that [`Listpack::make_roomy`] made.
    pub fn compact(&mut self) {
        self.bytes.compact();
    }

    /// Whether `count` more elements with `bytes` bytes together surely fit.
    pub fn fits(&self, count: usize, bytes: usize) -> bool {
        bytes <= MAX_BYTES && self.byte_len() + bytes + count * ELEMENT_OVERHEAD_MAX_BYTES <= MAX_BYTES
    }

    /// The number of elements. Beyond 65534 they are counted each time.
    pub fn len(&self) -> usize {
        match self.stored_count() {
            UNCOUNTED => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.byte_len() == EMPTY.len()
    }

    fn stored_count(&self) -> u16 {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]])
    }

    fn end(&self) -> usize {
        self.bytes.len() - 1
    }

    /// The first element's place.
    pub fn first(&self) -> Option<At> {
        (!self.is_empty()).then_some(At(HEADER_BYTES as u32))
    }

    /// The last element's place.
    pub fn last(&self) -> Option<At> {
        self.before(self.end())
    }

    /// The place after this one.
    pub fn next(&self, at: At) -> Option<At> {
        let next = self.after(at);
        (next < self.end()).then_some(At(next as u32))
    }

    /// The place before this one.
    pub fn previous(&self, at: At) -> Option<At> {
        self.before(at.0 as usize)
    }

    fn after(&self, at: At) -> usize {
        let at = at.0 as usize;
        at + size_of_entry(&self.bytes[at..])
    }

    fn before(&self, at: usize) -> Option<At> {
        if at <= HEADER_BYTES {
            return None;
        }
        let (length, own) = read_back_length(&self.bytes[..at]);
        Some(At((at - own - length) as u32))
    }

    /// The place of the element with this index; negative ones count from the end, -1 is the last.
    pub fn seek(&self, index: i64) -> Option<At> {
        let from_end = match self.stored_count() {
            _ if index < 0 => true,
            UNCOUNTED => false,
            count if index >= i64::from(count) => return None,
            count => index > i64::from(count / 2),
        };
        if !from_end {
            let mut at = self.first()?;
            for _ in 0..index {
                at = self.next(at)?;
            }
            return Some(at);
        }
        let back = if index < 0 { -(index + 1) } else { i64::from(self.stored_count()) - 1 - index };
        let mut at = self.last()?;
        for _ in 0..back {
            at = self.previous(at)?;
        }
        Some(at)
    }

    /// The element at a place.
    #[inline]
    pub fn get(&self, at: At) -> Element<'_> {
        encoding::read(&self.bytes[at.0 as usize..])
    }

    /// All elements in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { listpack: self, at: self.first() }
    }

    /// The places of all elements in order.
    pub fn places(&self) -> impl Iterator<Item = At> + '_ {
        std::iter::successors(self.first(), |at| self.next(*at))
    }

    /// The elements from a place on, in order.
    pub fn iter_from(&self, at: At) -> Iter<'_> {
        Iter { listpack: self, at: Some(at) }
    }

    /// The place of the first element from `at` on that is `text`; `skip` elements are passed over between two that are
    /// looked at.
    pub fn find(&self, at: Option<At>, text: &[u8], skip: usize) -> Option<At> {
        self.find_element(at, Element::of(text), skip)
    }

    /// As [`Listpack::find`], for an element as [`Element::of`] gives it.
    pub fn find_element(&self, at: Option<At>, wanted: Element<'_>, skip: usize) -> Option<At> {
        let bytes = &self.bytes[..self.end()];
        let mut at = at?.0 as usize;
        let mut passes = 0;
        while at < bytes.len() {
            let here = &bytes[at..];
            let (found, size) = match encoding::short_string(here) {
                // By far the most elements are short strings, and most of them are another one.
                Some((text, size)) => (passes == 0 && is_text(wanted, text), size),
                None => (passes == 0 && encoding::read(here) == wanted, size_of_entry(here)),
            };
            if found {
                return Some(At(at as u32));
            }
            at += size;
            passes = if passes == 0 { skip } else { passes - 1 };
        }
        None
    }

    /// Appends a string.
    pub fn push(&mut self, text: &[u8]) {
        self.push_element(Element::of(text));
    }

    /// Appends an element.
    pub fn push_element(&mut self, element: Element<'_>) {
        self.put(self.end(), 0, element, 1);
    }

    /// Appends elements in one go.
    pub fn extend<'a>(&mut self, elements: impl IntoIterator<Item = Element<'a>>) {
        let mut bytes = Scratch::new();
        let mut added = 0usize;
        for element in elements {
            let head = Encoded::of(element);
            let content = content_of(element);
            bytes.push(head.as_slice());
            bytes.push(content);
            let length = head.as_slice().len() + content.len();
            bytes.push(write_back_length(length, &mut [0; BACK_LENGTH_MAX]));
            added += 1;
        }
        let bytes = bytes.as_slice();
        let grows_to = self.byte_len() + bytes.len();
        assert!(grows_to <= MAX_BYTES, "a listpack of {grows_to} bytes");
        self.bytes.splice(self.end(), 0, &[bytes]);
        let count = match self.stored_count() {
            UNCOUNTED => UNCOUNTED,
            count => (usize::from(count) + added).min(usize::from(UNCOUNTED)) as u16,
        };
        self.write_header(count);
    }

    /// Puts a string before all others.
    pub fn push_front(&mut self, text: &[u8]) {
        self.put(HEADER_BYTES, 0, Element::of(text), 1);
    }

    /// Puts a string before the element at `at`; the new one is at `at` then.
    pub fn insert_before(&mut self, at: At, text: &[u8]) {
        self.put(at.0 as usize, 0, Element::of(text), 1);
    }

    /// Puts a string behind the element at `at`. Returns its place.
    pub fn insert_after(&mut self, at: At, text: &[u8]) -> At {
        let place = self.after(at);
        self.put(place, 0, Element::of(text), 1);
        At(place as u32)
    }

    /// Puts a string in the place of the element at `at`; it is at `at` then.
    pub fn replace(&mut self, at: At, text: &[u8]) {
        self.replace_element(at, Element::of(text));
    }

    /// Puts an element in the place of the one at `at`.
    pub fn replace_element(&mut self, at: At, element: Element<'_>) {
        /// Integers up to this are one byte, without any mark.
        const ONE_BYTE_MAX: u8 = 127;
        if let Element::Integer(integer) = element
            && let Ok(byte @ 0..=ONE_BYTE_MAX) = u8::try_from(integer)
            && self.bytes[at.0 as usize] <= ONE_BYTE_MAX
        {
            self.bytes[at.0 as usize] = byte;
            return;
        }
        let before = size_of_entry(&self.bytes[at.0 as usize..]);
        self.put(at.0 as usize, before, element, 0);
    }

    fn put(&mut self, at: usize, removed: usize, element: Element<'_>, added_count: u16) {
        let head = Encoded::of(element);
        let content = content_of(element);
        let length = head.as_slice().len() + content.len();
        let mut back = [0; BACK_LENGTH_MAX];
        let back = write_back_length(length, &mut back);
        let grows_to = self.byte_len() - removed + length + back.len();
        assert!(grows_to <= MAX_BYTES, "a listpack of {grows_to} bytes");
        self.bytes.splice(at, removed, &[head.as_slice(), content, back]);
        let count = match self.stored_count() {
            UNCOUNTED => UNCOUNTED,
            // One more makes it 65535, which says that nobody counts any more.
            count => count + added_count,
        };
        self.write_header(count);
    }

    /// Takes out `count` elements from `at` on, fewer if there are not so many. Returns how many. What followed is at
    /// `at` then, if anything did.
    pub fn remove(&mut self, at: At, count: usize) -> usize {
        let mut removed = 0;
        let mut end = at.0 as usize;
        while removed < count && end < self.end() {
            end += size_of_entry(&self.bytes[end..]);
            removed += 1;
        }
        self.bytes.splice(at.0 as usize, end - at.0 as usize, &[]);
        let count = match self.stored_count() {
            // Fewer may be few enough to be counted again.
            UNCOUNTED => self.iter().count().min(usize::from(UNCOUNTED)) as u16,
            count => count - removed as u16,
        };
        self.write_header(count);
        removed
    }

    /// Whether there is an element at this place: after [`Listpack::remove`] there may be none.
    pub fn is_element(&self, at: At) -> bool {
        (at.0 as usize) < self.end()
    }

    /// Appends all elements of another listpack.
    pub fn append(&mut self, other: &Self) {
        let grows_to = self.byte_len() + other.byte_len();
        assert!(grows_to <= MAX_BYTES, "a listpack of {grows_to} bytes");
        let count = self.len() + other.len();
        self.bytes.splice(self.end(), 0, &[&other.bytes[HEADER_BYTES..other.end()]]);
        self.write_header(count.min(usize::from(UNCOUNTED)) as u16);
    }

    /// Takes out the elements from `at` on and returns them as a listpack of their own.
    pub fn split_off(&mut self, at: At) -> Self {
        let mut rest = Self::new();
        let place = at.0 as usize;
        let moved = self.iter_from(at).count();
        let kept = self.len() - moved;
        rest.bytes.splice(HEADER_BYTES, 0, &[&self.bytes[place..self.end()]]);
        rest.write_header(moved.min(usize::from(UNCOUNTED)) as u16);
        self.bytes.splice(place, self.end() - place, &[]);
        self.write_header(kept.min(usize::from(UNCOUNTED)) as u16);
        rest
    }

    fn write_header(&mut self, count: u16) {
        let total = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

/// Elements on their way into a listpack; a few short ones take no memory from the allocator.
struct Scratch {
    small: [u8; SCRATCH_BYTES],
    small_used: usize,
    /// All of them, once they have outgrown the array.
    large: Vec<u8>,
}

/// Elements of so many bytes are put together without the allocator.
const SCRATCH_BYTES: usize = 256;

impl Scratch {
    #[inline]
    fn new() -> Self {
        Self { small: [0; SCRATCH_BYTES], small_used: 0, large: Vec::new() }
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.small_used + bytes.len();
        if end <= SCRATCH_BYTES && self.large.is_empty() {
            self.small[self.small_used..end].copy_from_slice(bytes);
            self.small_used = end;
            return;
        }
        if self.large.is_empty() {
            self.large.extend_from_slice(&self.small[..self.small_used]);
        }
        self.large.extend_from_slice(bytes);
    }

    fn as_slice(&self) -> &[u8] {
        if self.large.is_empty() { &self.small[..self.small_used] } else { &self.large }
    }
}

/// The bytes behind an element's encoding.
fn content_of(element: Element<'_>) -> &[u8] {
    match element {
        Element::Integer(_) => &[],
        Element::Bytes(bytes) => bytes,
    }
}

/// Whether an element is this string. Strings of one collection often begin alike, so their ends are compared first.
#[inline]
fn is_text(element: Element<'_>, text: &[u8]) -> bool {
    const END_BYTES: usize = 8;
    let Element::Bytes(bytes) = element else { return false };
    bytes.len() == text.len()
        && bytes.last_chunk::<END_BYTES>() == text.last_chunk::<END_BYTES>()
        && bytes == text
}

impl fmt::Debug for Listpack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Self) -> bool {
        *self.bytes == *other.bytes
    }
}

impl Eq for Listpack {}

impl<'a> FromIterator<&'a [u8]> for Listpack {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(texts: I) -> Self {
        let mut listpack = Self::new();
        texts.into_iter().for_each(|text| listpack.push(text));
        listpack
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The elements of a listpack.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    listpack: &'a Listpack,
    at: Option<At>,
}

impl Iter<'_> {
    /// The place of the element that comes next.
    pub fn at(&self) -> Option<At> {
        self.at
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let at = self.at?;
        self.at = self.listpack.next(at);
        Some(self.listpack.get(at))
    }
}

/// Looks at every byte of what claims to be a listpack.
///
/// # Errors
/// It is none.
pub fn validate(bytes: &[u8]) -> Result<usize, Malformed> {
    if bytes.len() < EMPTY.len() || bytes.len() > MAX_BYTES {
        return Err(Malformed);
    }
    let total = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let stored = u16::from_le_bytes([bytes[4], bytes[5]]);
    if total as usize != bytes.len() || bytes[bytes.len() - 1] != END {
        return Err(Malformed);
    }
    let end = bytes.len() - 1;
    let (mut at, mut count) = (HEADER_BYTES, 0usize);
    while at < end {
        let length = encoding::checked_length(&bytes[at..end]).ok_or(Malformed)?;
        let own = back_length_bytes(length);
        let after = at + length + own;
        if after > end || read_back_length(&bytes[..after]) != (length, own) {
            return Err(Malformed);
        }
        at = after;
        count += 1;
    }
    if stored != UNCOUNTED && usize::from(stored) != count {
        return Err(Malformed);
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
