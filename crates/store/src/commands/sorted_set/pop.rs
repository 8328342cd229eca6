//! Commands that take the members with the smallest or greatest scores out, and may wait for them.

use super::{changed_times, remove_indexes};
use crate::call::{Block, Call, EventClass, Outcome, TimeoutReply};
use crate::commands::reply_with_element;
use crate::commands::timeout::timeout_ms;
use crate::database::Found;
use crate::types::{Collection, SortedSet, Type};
use shoal_protocol::{Arguments, ErrorReply, errors, number};

const KEYS_POSITIVE: ErrorReply = ErrorReply::new("ERR numkeys should be greater than 0");
const COUNT_POSITIVE: ErrorReply = ErrorReply::new("ERR count should be greater than 0");

/// From which end members are taken.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            Self::Min => "zpopmin",
            Self::Max => "zpopmax",
        }
    }

    fn command(self) -> &'static [u8] {
        match self {
            Self::Min => b"ZPOPMIN",
            Self::Max => b"ZPOPMAX",
        }
    }
}

/// How the members are replied with.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Members and scores by turns.
    Flat,
    /// Pairs.
    Pairs,
    /// The key, a member and its score.
    KeyAndOne,
    /// The key, and pairs.
    KeyAndPairs,
}

pub(super) fn zpopmin(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop_from_one(call, arguments, End::Min)
}

pub(super) fn zpopmax(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop_from_one(call, arguments, End::Max)
}

fn pop_from_one(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, end: End) -> Outcome {
    let key = arguments.take()?;
    let count = match arguments.take_optional() {
        Some(_) if !arguments.is_empty() => return Err(errors::SYNTAX),
        Some(word) => {
            let count = number::parse_i64(word).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(errors::MUST_BE_POSITIVE)?)
        }
        None => None,
    };
    let found = call.find_collection_for_write::<SortedSet>(key)?;
    match found.filter(|_| count != Some(0)) {
        Some(found) => {
            let shape = if call.reply.is_resp3() && count.is_some() { Shape::Pairs } else { Shape::Flat };
            pop(call, found, key, end, count.unwrap_or(1), shape);
        }
        None => call.reply.array(0),
    }
    Ok(())
}

/// Takes up to `count` members out of a set that is not empty, and replies with them. Returns how many.
fn pop(call: &mut Call<'_, '_>, found: Found, key: &[u8], end: End, count: usize, shape: Shape) -> usize {
    let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
    let length = set.len();
    let count = count.min(length);
    let reply = &mut *call.reply;
    match shape {
        Shape::Flat => reply.array(count * 2),
        Shape::Pairs => reply.array(count),
        Shape::KeyAndOne => {
            reply.array(count * 2 + 1);
            reply.bulk(key);
        }
        Shape::KeyAndPairs => {
            reply.array(2);
            reply.bulk(key);
            reply.array(count);
        }
    }
    let range = if end == End::Min { 0..count } else { length - count..length };
    let mut members = set.range(range.clone());
    while let Some((member, score)) = if end == End::Min { members.next() } else { members.next_back() } {
        if matches!(shape, Shape::Pairs | Shape::KeyAndPairs) {
            reply.array(2);
        }
        reply_with_element(reply, member);
        reply.double(score);
    }
    call.event(EventClass::SortedSet, end.event(), key);
    remove_indexes(call, found, key, range);
    changed_times(call, key, count as u64);
    count
}

pub(super) fn bzpopmin(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop_or_wait_for_one(call, arguments, End::Min)
}

pub(super) fn bzpopmax(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop_or_wait_for_one(call, arguments, End::Max)
}

fn pop_or_wait_for_one(call: &mut Call<'_, '_>, arguments: Arguments<'_>, end: End) -> Outcome {
    let key_count = arguments.remaining().saturating_sub(1);
    let timeout = arguments.rest().last().ok_or(errors::SYNTAX)?;
    let timeout_ms = timeout_ms(call.now, timeout)?;
    let keys = arguments.rest().take(key_count);
    if let Some((found, key)) = first_found(call, keys.clone())? {
        pop(call, found, key, end, 1, Shape::KeyAndOne);
        call.propagate_instead([end.command(), key]);
    } else {
        wait(call, keys, timeout_ms);
    }
    Ok(())
}

pub(super) fn zmpop(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop_from_first(call, arguments, None)
}

pub(super) fn bzmpop(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let timeout = arguments.take()?;
    pop_from_first(call, arguments, Some(timeout))
}

fn pop_from_first(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, timeout: Option<&[u8]>) -> Outcome {
    let positive = |word: &[u8], error| {
        let number = number::parse_i64(word).and_then(|number| usize::try_from(number).ok());
        number.filter(|number| *number > 0).ok_or(error)
    };
    let key_count = positive(arguments.take()?, KEYS_POSITIVE)?;
    if key_count >= arguments.remaining() {
        return Err(errors::SYNTAX);
    }
    let keys = arguments.rest().take(key_count);
    for _ in 0..key_count {
        arguments.take()?;
    }
    let end = if arguments.take_keyword("MIN") {
        End::Min
    } else if arguments.take_keyword("MAX") {
        End::Max
    } else {
        return Err(errors::SYNTAX);
    };
    let mut count = None;
    while !arguments.is_empty() {
        if count.is_none() && arguments.remaining() > 1 && arguments.take_keyword("COUNT") {
            count = Some(positive(arguments.take()?, COUNT_POSITIVE)?);
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let timeout_ms = timeout.map(|timeout| timeout_ms(call.now, timeout)).transpose()?;
    match (first_found(call, keys.clone())?, timeout_ms) {
        (Some((found, key)), _) => {
            let popped = pop(call, found, key, end, count.unwrap_or(1), Shape::KeyAndPairs);
            let mut digits = itoa::Buffer::new();
            call.propagate_instead([end.command(), key, digits.format(popped).as_bytes()]);
        }
        (None, Some(timeout_ms)) => wait(call, keys, timeout_ms),
        (None, None) => call.reply.null_array(),
    }
    Ok(())
}

/// The first key that is there.
fn first_found<'q>(
    call: &mut Call<'_, '_>,
    keys: impl Iterator<Item = &'q [u8]>,
) -> Result<Option<(Found, &'q [u8])>, ErrorReply> {
    for key in keys {
        if let Some(found) = call.find_collection_for_write::<SortedSet>(key)? {
            return Ok(Some((found, key)));
        }
    }
    Ok(None)
}

fn wait<'q>(call: &mut Call<'_, '_>, keys: impl Iterator<Item = &'q [u8]>, timeout_ms: u64) {
    call.block(Block {
        keys: keys.map(<[u8]>::to_vec).collect(),
        kind: Type::SortedSet,
        timeout_ms,
        on_timeout: TimeoutReply::NullArray,
        retry: None,
        until_key_goes: false,
    });
}
