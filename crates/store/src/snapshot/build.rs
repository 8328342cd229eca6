//! Values on their way in: pieces of a file or a payload become a value, or are refused.
//!
//! What comes in is not trusted. The structure of everything is looked at, so that no command can fail later; whether
//! a listpack holds a member twice only if the caller wants to know.

use super::{hash, list, set, sorted_set, stream};
use crate::call::{EncodingLimits, StoreOptions};
use crate::entry::NewValue;
use crate::hasher::Hasher;
use crate::types::{Object, Settings};
use shoal_formats::listpack::{Element, Listpack, Malformed};
use shoal_formats::rdb::{RdbElement, RdbProblem, RdbString, RdbValue, ValueEvent, ValueLayout, ValueReader};
use std::fmt;

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// A collection without elements, which no key may hold.
    Empty,
    /// What is wrong with it.
    Malformed(&'static str),
    /// The bytes cannot be read.
    Format(RdbProblem),
}

impl fmt::Display for BadValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("an empty collection"),
            Self::Malformed(what) => formatter.write_str(what),
            Self::Format(problem) => problem.fmt(formatter),
        }
    }
}

impl std::error::Error for BadValue {}

impl From<RdbProblem> for BadValue {
    fn from(problem: RdbProblem) -> Self {
        Self::Format(problem)
    }
}

/// How values are built.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Where collections change their encoding.
    pub limits: EncodingLimits,
    /// Small collections are searched for members that they hold twice.
    pub check_duplicates: bool,
    /// How large collections find their members.
    pub hasher: Hasher,
}

impl BuildOptions {
    /// As the settings say.
    pub fn new(options: &StoreOptions, hasher: Hasher) -> Self {
        Self { limits: options.limits, check_duplicates: options.sanitize_payload, hasher }
    }

    /// What collections have to know to choose their encoding.
    pub(super) fn settings(&self) -> Settings<'_> {
        Settings { limits: &self.limits, hasher: self.hasher, keep_size: false }
    }
}

/// A collection of many parts that is being built.
#[derive(Debug)]
pub struct Builder(Parts);

#[derive(Debug)]
enum Parts {
    List(list::Builder),
    Set(set::Builder),
    Hash(hash::Builder),
    SortedSet(sorted_set::Builder),
    Stream(Box<stream::Builder>),
}

impl Builder {
    /// A collection of this layout, without anything yet.
    pub fn new(layout: ValueLayout, options: &BuildOptions) -> Self {
        Self(match layout {
            ValueLayout::Set => Parts::Set(set::Builder::new(options)),
            ValueLayout::Hash | ValueLayout::TimedHash | ValueLayout::TimedHashPreview => {
                Parts::Hash(hash::Builder::new(options))
            }
            ValueLayout::SortedSet | ValueLayout::SortedSetText => {
                Parts::SortedSet(sorted_set::Builder::new(options))
            }
            ValueLayout::Stream | ValueLayout::Stream2 | ValueLayout::Stream3 => {
                Parts::Stream(Box::new(stream::Builder::new(options)))
            }
            _ => Parts::List(list::Builder::new(layout, options)),
        })
    }

    /// Takes a part.
    ///
    /// # Errors
    /// It cannot be a part of this value; the builder is of no more use.
    pub fn element(&mut self, element: &RdbElement<'_>) -> Result<(), BadValue> {
        match &mut self.0 {
            Parts::List(builder) => builder.element(element),
            Parts::Set(builder) => builder.element(element),
            Parts::Hash(builder) => builder.element(element),
            Parts::SortedSet(builder) => builder.element(element),
            Parts::Stream(builder) => builder.element(element),
        }
    }

    /// The collection.
    ///
    /// # Errors
    /// It is empty, or its parts do not make a whole.
    pub fn finish(self) -> Result<Object, BadValue> {
        match self.0 {
            Parts::List(builder) => builder.finish().map(Object::List),
            Parts::Set(builder) => builder.finish().map(Object::Set),
            Parts::Hash(builder) => builder.finish().map(Object::Hash),
            Parts::SortedSet(builder) => builder.finish().map(Object::SortedSet),
            Parts::Stream(builder) => builder.finish().map(Object::Stream),
        }
    }
}

/// What a value that is one string of the file becomes.
///
/// # Errors
/// See [`BadValue`].
pub(super) fn whole<'a>(value: RdbValue<'a>, options: &BuildOptions) -> Result<NewValue<'a>, BadValue> {
    let (layout, bytes) = match value {
        RdbValue::String(RdbString::Integer(integer)) => return Ok(NewValue::Integer(integer)),
        RdbValue::String(RdbString::Bytes(bytes)) => return Ok(NewValue::compact(bytes)),
        RdbValue::Packed { layout, bytes } => (layout, bytes),
    };
    let object: Object = match layout.type_name() {
        "list" => list::packed(bytes, options)?.into(),
        "set" => set::packed(layout, bytes, options)?.into(),
        "hash" => hash::packed(layout, bytes, options)?.into(),
        _ => sorted_set::packed(layout, bytes, options)?.into(),
    };
    Ok(NewValue::Object(object))
}

/// Looks at a value that is one string of the file, without keeping it.
///
/// # Errors
/// See [`BadValue`].
pub fn check_whole(value: RdbValue<'_>, options: &BuildOptions) -> Result<(), BadValue> {
    whole(value, options).map(drop)
}

/// Reads the value of a payload. Nothing is changed by one that is refused.
///
/// # Errors
/// See [`BadValue`].
pub fn read_value<R>(
    mut reader: ValueReader<'_>,
    options: &BuildOptions,
    use_value: impl FnOnce(NewValue<'_>) -> R,
) -> Result<R, BadValue> {
    const ENDS_EARLY: BadValue = BadValue::Malformed("the value ends too early");
    let mut builder = match reader.next()?.ok_or(ENDS_EARLY)? {
        ValueEvent::Value(value) => return whole(value, options).map(use_value),
        ValueEvent::Open { layout, .. } => Builder::new(layout, options),
        ValueEvent::Element(_) | ValueEvent::Close => return Err(ENDS_EARLY),
    };
    while let Some(ValueEvent::Element(element)) = reader.next()? {
        builder.element(&element)?;
    }
    Ok(use_value(NewValue::Object(builder.finish()?)))
}

/// A listpack of a file. Strings that are integers in their canonical form stand there as integers, as everybody who looks
/// for them expects; files of other programs may have them otherwise.
///
/// # Errors
/// The bytes are none.
pub(super) fn listpack(bytes: &[u8]) -> Result<Listpack, Malformed> {
    let listpack = Listpack::from_bytes(bytes)?;
    let is_canonical = |element| match element {
        Element::Integer(_) => true,
        Element::Bytes(text) => matches!(Element::of(text), Element::Bytes(_)),
    };
    if listpack.iter().all(is_canonical) {
        return Ok(listpack);
    }
    let mut canonical = Listpack::new();
    listpack.iter().for_each(|element| element.with_text(|text| canonical.push(text)));
    Ok(canonical)
}

/// The error for a part that another type would have.
pub(super) const WRONG_PART: BadValue = BadValue::Malformed("a part of another type");
