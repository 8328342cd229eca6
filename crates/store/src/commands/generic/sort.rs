//! SORT and SORT_RO: the elements of a list, set or sorted set in an order that other keys may give.
//!
//! The elements are copied into one buffer first: looking up the keys of BY and GET may delete expired ones, and STORE may
//! replace the very key that is sorted.

use super::is_clustered;
use crate::call::{Call, EventClass, Outcome};
use crate::database::Found;
use crate::entry::{NewValue, Text, Value};
use crate::types::list::{End, NewElement, Quicklist};
use crate::types::{Collection, Hash, List, Type};
use shoal_protocol::number::parse_f64;
use shoal_protocol::{Arguments, ErrorReply, errors};
use std::cmp::Ordering;
use std::ops::Range;

pub(super) fn sort(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, false)
}

pub(super) fn sort_ro(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, true)
}

/// What the client asks for.
struct Request<'q> {
    descending: bool,
    alphabetic: bool,
    limit: (i64, i64),
    /// Nothing is sorted: BY gave a name without `*`.
    keep_order: bool,
    by: Option<Pattern<'q>>,
    gets: Vec<Pattern<'q>>,
    store: Option<&'q [u8]>,
}

impl<'q> Request<'q> {
    fn take(call: &Call<'_, '_>, arguments: &mut Arguments<'q>, read_only: bool) -> Result<Self, ErrorReply> {
        const BY_IN_CLUSTER: ErrorReply = ErrorReply::new("ERR BY option of SORT denied in Cluster mode.");
        const GET_IN_CLUSTER: ErrorReply = ErrorReply::new("ERR GET option of SORT denied in Cluster mode.");
        let mut request = Self {
            descending: false,
            alphabetic: false,
            limit: (0, -1),
            keep_order: false,
            by: None,
            gets: Vec::new(),
            store: None,
        };
        while !arguments.is_empty() {
            let left = arguments.remaining() - 1;
            if arguments.take_keyword("ASC") {
                request.descending = false;
            } else if arguments.take_keyword("DESC") {
                request.descending = true;
            } else if arguments.take_keyword("ALPHA") {
                request.alphabetic = true;
            } else if left >= 2 && arguments.take_keyword("LIMIT") {
                request.limit = (arguments.take_i64()?, arguments.take_i64()?);
            } else if !read_only && left >= 1 && arguments.take_keyword("STORE") {
                request.store = Some(arguments.take()?);
            } else if left >= 1 && arguments.take_keyword("BY") {
                let pattern = Pattern::new(arguments.take()?);
                if matches!(pattern, Pattern::Nothing | Pattern::Itself) {
                    request.keep_order = true;
                } else if is_clustered(call) {
                    return Err(BY_IN_CLUSTER);
                }
                request.by = Some(pattern);
            } else if left >= 1 && arguments.take_keyword("GET") {
                if is_clustered(call) {
                    return Err(GET_IN_CLUSTER);
                }
                request.gets.push(Pattern::new(arguments.take()?));
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(request)
    }

    /// The part of `length` elements that LIMIT leaves.
    fn range(&self, length: usize) -> Range<usize> {
        let length_signed = length as i64;
        let start = self.limit.0.clamp(0, length_signed) as usize;
        match self.limit.1.clamp(-1, length_signed) {
            -1 => start..length,
            count => start..(start + count as usize).min(length),
        }
    }
}

/// The name of a value that belongs to an element.
#[derive(Clone, Copy)]
enum Pattern<'q> {
    /// `#`: the element.
    Itself,
    /// A name without `*`: no value.
    Nothing,
    /// The key's name before and after the element, and perhaps the field of a hash.
    Key { before: &'q [u8], after: &'q [u8], field: Option<&'q [u8]> },
}

/// A value that a pattern leads to.
enum Looked<'a> {
    Nothing,
    /// The element itself.
    Itself(&'a [u8]),
    /// A string.
    String(Found),
    /// A hash that has the field.
    Field(Found, &'a [u8]),
}

impl<'q> Pattern<'q> {
    fn new(text: &'q [u8]) -> Self {
        if text == b"#" {
            return Self::Itself;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Self::Nothing };
        let (before, after) = (&text[..star], &text[star + 1..]);
        let arrow = after.windows(2).position(|pair| pair == b"->").filter(|arrow| arrow + 2 < after.len());
        match arrow {
            Some(arrow) => Self::Key { before, after: &after[..arrow], field: Some(&after[arrow + 2..]) },
            None => Self::Key { before, after, field: None },
        }
    }

    fn look_up<'a>(&self, call: &mut Call<'_, '_>, element: &'a [u8]) -> Looked<'a>
    where
        'q: 'a,
    {
        let (before, after, field) = match *self {
            Self::Itself => return Looked::Itself(element),
            Self::Nothing => return Looked::Nothing,
            Self::Key { before, after, field } => (before, after, field),
        };
        let key = [before, element, after].concat();
        let Some(found) = call.find_for_read(&key) else { return Looked::Nothing };
        let now_ms = call.fields_now_ms();
        match (call.database().entry(found).value(), field) {
            (Value::String(_), None) => Looked::String(found),
            (Value::Hash(hash), Some(field)) if hash.live(now_ms).contains(field) => {
                Looked::Field(found, field)
            }
            _ => Looked::Nothing,
        }
    }
}

/// Gives `use_text` the text of a value; `None` if there is none.
fn with_text<R>(
    call: &mut Call<'_, '_>,
    looked: Looked<'_>,
    use_text: impl FnOnce(&mut Call<'_, '_>, Text<'_>) -> R,
) -> Option<R> {
    // The text is borrowed from the keyspace, so that what uses it gets a copy; long strings are shared.
    match looked {
        Looked::Nothing => None,
        Looked::Itself(element) => Some(use_text(call, Text::Bytes(element))),
        Looked::String(found) => {
            let shared = match call.database().entry(found).text()? {
                Text::Integer(integer) => return Some(use_text(call, Text::Integer(integer))),
                Text::Bytes(bytes) => Err(bytes.to_vec()),
                Text::Shared(bytes) => Ok(bytes.clone()),
            };
            Some(match &shared {
                Ok(shared) => use_text(call, Text::Shared(shared)),
                Err(bytes) => use_text(call, Text::Bytes(bytes)),
            })
        }
        Looked::Field(found, field) => {
            let hash = call.keyspace.collection::<Hash>(call.database_index, found);
            let bytes = hash.value(field)?.to_vec();
            Some(use_text(call, Text::Bytes(&bytes)))
        }
    }
}

/// A piece of the buffer.
type Piece = Range<usize>;

/// What an element is sorted by, beside its own text.
enum Weight {
    Score(f64),
    /// The text that BY leads to, or nothing.
    Text(Option<Piece>),
    /// Its own text.
    Own,
}

/// The elements, and all texts that belong to them in one buffer.
struct Elements {
    buffer: Vec<u8>,
    items: Vec<(Piece, Weight)>,
    /// They came in an order that means something: equal ones keep it.
    are_ordered: bool,
}

impl Elements {
    fn new() -> Self {
        Self { buffer: Vec::new(), items: Vec::new(), are_ordered: false }
    }

    fn append(&mut self, text: &[u8]) -> Piece {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(text);
        start..self.buffer.len()
    }

    fn push(&mut self, text: &[u8]) {
        let piece = self.append(text);
        self.items.push((piece, Weight::Own));
    }

    fn text(&self, index: usize) -> &[u8] {
        self.items.get(index).map_or(&[], |(piece, _)| &self.buffer[piece.clone()])
    }

    /// Copies the elements of a key: all of them, or those of `range` if the order is kept and means something. Returns
    /// the part of the copied elements that is asked for.
    fn load(&mut self, call: &Call<'_, '_>, found: Found, request: &Request<'_>) -> Range<usize> {
        let entry = call.database().entry(found);
        let part = |length: usize| {
            let asked = request.range(length);
            if request.keep_order { (asked.clone(), 0..asked.len()) } else { (0..length, asked) }
        };
        match entry.value() {
            Value::List(list) => {
                self.are_ordered = true;
                let (loaded, asked) = part(list.len());
                let backwards = request.keep_order && request.descending;
                let (first, towards) = if backwards {
                    ((list.len() - loaded.start).saturating_sub(1), End::Head)
                } else {
                    (loaded.start, End::Tail)
                };
                list.visit_range(first, loaded.len(), towards, |text| {
                    text.with_bytes(|bytes| self.push(bytes));
                });
                asked
            }
            Value::SortedSet(set) => {
                let (loaded, asked) = part(set.len());
                if request.keep_order && request.descending {
                    let mirrored = set.len() - loaded.end..set.len() - loaded.start;
                    set.range(mirrored)
                        .rev()
                        .for_each(|(member, _)| member.with_text(|text| self.push(text)));
                } else {
                    set.range(loaded).for_each(|(member, _)| member.with_text(|text| self.push(text)));
                }
                asked
            }
            Value::Set(set) => {
                set.iter().for_each(|member| member.with_text(|text| self.push(text)));
                request.range(set.len())
            }
            _ => 0..0,
        }
    }

    /// Looks up what the elements are sorted by.
    fn weigh(&mut self, call: &mut Call<'_, '_>, request: &Request<'_>) -> Result<(), ErrorReply> {
        const NOT_A_DOUBLE: ErrorReply =
            ErrorReply::new("ERR One or more scores can't be converted into double");
        let mut are_scores = true;
        let mut score = |text: Text<'_>| match text {
            Text::Integer(integer) => integer as f64,
            text => text.with_bytes(score_of).unwrap_or_else(|| {
                are_scores = false;
                0.0
            }),
        };
        for index in 0..self.items.len() {
            let weight = match (request.by, request.alphabetic) {
                (None, true) => Weight::Own,
                (None, false) => Weight::Score(score(Text::Bytes(self.text(index)))),
                (Some(pattern), false) => {
                    let looked = pattern.look_up(call, self.text(index));
                    Weight::Score(with_text(call, looked, |_, text| score(text)).unwrap_or(0.0))
                }
                (Some(pattern), true) => {
                    let element = self.text(index).to_vec();
                    let looked = pattern.look_up(call, &element);
                    Weight::Text(with_text(call, looked, |_, text| {
                        text.with_bytes(|bytes| self.append(bytes))
                    }))
                }
            };
            if let Some(item) = self.items.get_mut(index) {
                item.1 = weight;
            }
        }
        if are_scores { Ok(()) } else { Err(NOT_A_DOUBLE) }
    }

    fn sort(&mut self, descending: bool) {
        let buffer = &self.buffer;
        let own = |left: &Piece, right: &Piece| buffer[left.clone()].cmp(&buffer[right.clone()]);
        let are_ordered = self.are_ordered;
        let compare = |left: &(Piece, Weight), right: &(Piece, Weight)| {
            let order = match (&left.1, &right.1) {
                (Weight::Score(first), Weight::Score(second)) => {
                    first.partial_cmp(second).unwrap_or(Ordering::Equal).then_with(|| own(&left.0, &right.0))
                }
                (Weight::Text(Some(first)), Weight::Text(Some(second))) => own(first, second),
                (Weight::Text(first), Weight::Text(second)) => first.is_some().cmp(&second.is_some()),
                _ => own(&left.0, &right.0),
            };
            let order = if descending { order.reverse() } else { order };
            // The order in which sets give their members differs from node to node; the outcome must not.
            if are_ordered { order } else { order.then_with(|| own(&left.0, &right.0)) }
        };
        self.items.sort_by(compare);
    }
}

/// The score in a text, read as `strtod` reads it: it ends at a zero byte, spaces before it do not matter, nothing is
/// zero.
fn score_of(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'))?;
    parse_f64(&text[start..])
}

fn run(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, read_only: bool) -> Outcome {
    let key = arguments.take()?;
    let mut request = Request::take(call, &mut arguments, read_only)?;
    let found = call.find_for_read(key);
    let mut elements = Elements::new();
    let mut range = 0..0;
    if let Some(found) = found {
        let kind = call.database().entry(found).kind();
        if !matches!(kind, Type::List | Type::Set | Type::SortedSet) {
            return Err(errors::WRONG_TYPE);
        }
        if request.keep_order && kind == Type::Set && request.store.is_some() {
            // What is stored must not depend on the order in which this node keeps the set.
            request.keep_order = false;
            request.alphabetic = true;
            request.by = None;
        }
        range = elements.load(call, found, &request);
    }
    if !request.keep_order {
        elements.weigh(call, &request)?;
        elements.sort(request.descending);
    }
    match request.store {
        None => reply(call, &request, &elements, range),
        Some(target) => store(call, &request, &elements, range, target),
    }
    Ok(())
}

fn reply(call: &mut Call<'_, '_>, request: &Request<'_>, elements: &Elements, range: Range<usize>) {
    call.reply.array(range.len() * request.gets.len().max(1));
    for index in range {
        let element = elements.text(index);
        if request.gets.is_empty() {
            call.reply.bulk(element);
        }
        for pattern in &request.gets {
            let looked = pattern.look_up(call, element);
            if with_text(call, looked, |call, text| text.write_to(call.reply)).is_none() {
                call.reply.null();
            }
        }
    }
}

fn store(
    call: &mut Call<'_, '_>,
    request: &Request<'_>,
    elements: &Elements,
    range: Range<usize>,
    target: &[u8],
) {
    let limits = call.options.limits;
    let mut list = Quicklist::new(&limits);
    let mut push = |bytes: &[u8]| list.push(End::Tail, NewElement::new(bytes), &limits);
    for index in range {
        let element = elements.text(index);
        if request.gets.is_empty() {
            push(element);
        }
        for pattern in &request.gets {
            let looked = pattern.look_up(call, element);
            if with_text(call, looked, |_, text| text.with_bytes(&mut push)).is_none() {
                push(b"");
            }
        }
    }
    let count = list.len();
    let found = call.find_for_write(target);
    if count > 0 {
        call.store(found, target, NewValue::from(List::from_quicklist(list, &limits)), Some(None));
        call.effects.dirty += count as u64 - 1;
        call.changed(target);
        call.event(EventClass::List, "sortstore", target);
    } else if let Some(found) = found {
        call.remove(found);
        call.changed(target);
        call.event(EventClass::Generic, "del", target);
    }
    call.reply.integer(count as i64);
}
