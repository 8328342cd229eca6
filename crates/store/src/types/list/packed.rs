//! What lists do with one listpack, whether it is the whole list or a node of it.

use super::End;
use crate::entry::Text;
use shoal_formats::listpack::{At, Listpack};
use shoal_protocol::number::parse_i64;
use std::ops::ControlFlow;

/// A string that is looked for. Integers are compared as such, without their text.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    integer: Option<i64>,
}

impl<'a> Needle<'a> {
    /// What to look for.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, integer: parse_i64(bytes) }
    }

    /// Whether an element is it.
    #[inline]
    pub fn is(self, text: Text<'_>) -> bool {
        match text {
            Text::Integer(integer) => self.integer == Some(integer),
            Text::Bytes(bytes) => self.bytes == bytes,
            Text::Shared(bytes) => self.bytes == bytes.as_slice(),
        }
    }
}

/// The place of the element with this index.
fn seek(listpack: &Listpack, index: usize) -> Option<At> {
    listpack.seek(i64::try_from(index).ok()?)
}

pub(super) fn pop<R>(listpack: &mut Listpack, end: End, use_text: impl FnOnce(Text<'_>) -> R) -> Option<R> {
    let at = match end {
        End::Head => listpack.first(),
        End::Tail => listpack.last(),
    }?;
    let result = use_text(listpack.get(at).into());
    listpack.remove(at, 1);
    Some(result)
}

pub(super) fn walk(
    listpack: &Listpack,
    index: usize,
    towards: End,
    visit: &mut impl FnMut(Text<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut here = seek(listpack, index);
    while let Some(at) = here {
        visit(listpack.get(at).into())?;
        here = match towards {
            End::Head => listpack.previous(at),
            End::Tail => listpack.next(at),
        };
    }
    ControlFlow::Continue(())
}

/// Puts a string before the element at `index`, or behind all others.
pub(super) fn insert(listpack: &mut Listpack, index: usize, text: &[u8]) {
    match seek(listpack, index) {
        Some(at) => listpack.insert_before(at, text),
        None => listpack.push(text),
    }
}

pub(super) fn replace(listpack: &mut Listpack, index: usize, text: &[u8]) {
    if let Some(at) = seek(listpack, index) {
        listpack.replace(at, text);
    }
}

/// Bytes of the element's text.
pub(super) fn text_length(listpack: &Listpack, index: usize) -> usize {
    seek(listpack, index).map_or(0, |at| listpack.get(at).text_length())
}

pub(super) fn remove_range(listpack: &mut Listpack, index: usize, count: usize) {
    if let Some(at) = seek(listpack, index) {
        listpack.remove(at, count);
    }
}

pub(super) fn count_equal(listpack: &Listpack, needle: Needle<'_>) -> usize {
    listpack.iter().filter(|element| needle.is((*element).into())).count()
}

/// Takes out the elements that are `needle`, but for the first `skip` and what comes after `limit` of them. Returns how
/// many were taken out.
pub(super) fn remove_equal(
    listpack: &mut Listpack,
    needle: Needle<'_>,
    mut skip: usize,
    limit: usize,
) -> usize {
    let mut matches = Vec::new();
    let mut here = listpack.first();
    while let Some(at) = here
        && matches.len() < limit
    {
        if needle.is(listpack.get(at).into()) {
            if skip == 0 {
                matches.push(at);
            } else {
                skip -= 1;
            }
        }
        here = listpack.next(at);
    }
    match matches.as_slice() {
        [] => {}
        [at] => {
            listpack.remove(*at, 1);
        }
        // Each removal would move what follows: with many, a new listpack is cheaper.
        _ => {
            let mut kept = Listpack::new();
            let mut gone = matches.iter().peekable();
            let mut elements = listpack.iter();
            while let Some(at) = elements.at() {
                let Some(element) = elements.next() else { break };
                if gone.next_if_eq(&&at).is_none() {
                    kept.push_element(element);
                }
            }
            *listpack = kept;
        }
    }
    matches.len()
}
