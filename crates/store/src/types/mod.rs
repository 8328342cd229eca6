//! Values that hold many things: lists, sets, hashes, sorted sets and streams.
//!
//! Each is two words in its entry: which of its encodings it has, and a pointer. Small ones are listpacks or intsets, as
//! files keep them; large ones are structures of their own.

mod block;
pub mod hash;
pub mod list;
pub mod set;
pub mod sorted_set;
pub mod stream;

pub use hash::Hash;
pub use list::List;
pub use set::Set;
pub use sorted_set::SortedSet;
pub use stream::Stream;

use crate::call::EncodingLimits;
use crate::digest::Digest;
use crate::entry::{Value, ValueMut};
use crate::hasher::Hasher;
use shoal_formats::listpack::Element;
use std::fmt;

/// Bytes that a collection takes in its entry.
pub const WORD_BYTES: usize = 16;

/// What `TYPE` says, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    String,
    List,
    Set,
    Hash,
    SortedSet,
    Stream,
}

impl Type {
    /// As `TYPE` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::SortedSet => "zset",
            Self::Stream => "stream",
        }
    }
}

/// A type of value that holds many things.
pub trait Collection: Default + Clone + fmt::Debug + Into<Object> {
    /// Its name.
    const TYPE: Type;

    /// The collection, if the value is one of this type.
    fn of(value: Value<'_>) -> Option<&Self>;

    /// The collection, to be changed, if the value is one of this type.
    fn of_mut(value: ValueMut<'_>) -> Option<&mut Self>;

    /// The number of elements: fields of a hash, entries of a stream.
    fn len(&self) -> usize;

    /// Whether there are no elements. A key whose collection becomes empty goes, but for streams.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `OBJECT ENCODING` says.
    fn encoding(&self) -> &'static str;

    /// Bytes on the heap, exact or from a sample of so many elements (0: all).
    fn size_bytes(&self, samples: usize) -> usize;

    /// Takes the elements into a digest, so that equal collections give equal digests here and in Redis, whatever their
    /// encodings.
    fn mix_into(&self, digest: &mut Digest);

    /// About how many allocations have to be freed: the larger, the better another thread does it.
    fn free_effort(&self) -> usize;
}

/// What a collection has to know to choose and change its encoding; [`crate::Call::settings`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Where collections change their encoding.
    pub limits: &'a EncodingLimits,
    /// What members are hashed with.
    pub hasher: Hasher,
    /// Tables do not shrink: a snapshot shares their pages.
    pub keep_size: bool,
}

/// The size of `length` elements of which `count` take so many bytes.
fn scaled(bytes: usize, count: usize, length: usize) -> usize {
    if count == 0 { 0 } else { (bytes as u128 * length as u128 / count as u128) as usize }
}

/// Whether no element is there twice.
fn are_distinct<'e>(elements: impl Iterator<Item = Element<'e>>, hasher: Hasher) -> bool {
    let hash = |element: Element<'_>| element.with_text(|text| hasher.hash(text));
    let mut hashes: Vec<(u64, Element<'e>)> = elements.map(|element| (hash(element), element)).collect();
    hashes.sort_unstable_by_key(|(hash, _)| *hash);
    // Of several with one hash, which never happens, neighbours are compared: a file has no way to choose hashes.
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}

/// A collection of any type, on its way into or out of an entry.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Object {
    List(List),
    Set(Set),
    Hash(Hash),
    SortedSet(SortedSet),
    Stream(Stream),
}

macro_rules! collections {
    ($($type:ident),*) => {
        $(
            const _: () = assert!(size_of::<$type>() <= WORD_BYTES && align_of::<$type>() <= 8);

            impl From<$type> for Object {
                fn from(collection: $type) -> Self {
                    Self::$type(collection)
                }
            }
        )*
    };
}

collections!(List, Set, Hash, SortedSet, Stream);

/// The two ways from a value to a collection of one type, for its `impl Collection`.
macro_rules! collection_of {
    ($type:ident) => {
        const TYPE: crate::types::Type = crate::types::Type::$type;

        fn of(value: crate::entry::Value<'_>) -> Option<&Self> {
            match value {
                crate::entry::Value::$type(collection) => Some(collection),
                _ => None,
            }
        }

        fn of_mut(value: crate::entry::ValueMut<'_>) -> Option<&mut Self> {
            match value {
                crate::entry::ValueMut::$type(collection) => Some(collection),
                _ => None,
            }
        }
    };
}

pub(crate) use collection_of;
