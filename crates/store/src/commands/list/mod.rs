//! Lists: what `commands.json` lists in the group `list`.

mod blocking;
mod edit;
mod pop;
mod push;
mod read;
mod relocate;

use super::Body;
use crate::call::{Call, EncodingLimits};
use crate::database::Found;
use crate::types::list::{End, NewElement};
use crate::types::{Collection, List};
use shoal_protocol::{Arguments, CommandId, ErrorReply, Reply, errors};

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Blmove, blocking::blmove),
    (CommandId::Blmpop, blocking::blmpop),
    (CommandId::Blpop, blocking::blpop),
    (CommandId::Brpop, blocking::brpop),
    (CommandId::Brpoplpush, blocking::brpoplpush),
    (CommandId::Lindex, read::lindex),
    (CommandId::Linsert, push::linsert),
    (CommandId::Llen, read::llen),
    (CommandId::Lmove, relocate::lmove),
    (CommandId::Lmpop, pop::lmpop),
    (CommandId::Lpop, pop::lpop),
    (CommandId::Lpos, read::lpos),
    (CommandId::Lpush, push::lpush),
    (CommandId::Lpushx, push::lpushx),
    (CommandId::Lrange, read::lrange),
    (CommandId::Lrem, edit::lrem),
    (CommandId::Lset, edit::lset),
    (CommandId::Ltrim, edit::ltrim),
    (CommandId::Rpop, pop::rpop),
    (CommandId::Rpoplpush, relocate::rpoplpush),
    (CommandId::Rpush, push::rpush),
    (CommandId::Rpushx, push::rpushx),
];

impl End {
    /// The event of a push.
    const fn push_event(self) -> &'static str {
        match self {
            Self::Head => "lpush",
            Self::Tail => "rpush",
        }
    }

    /// The event of a pop.
    const fn pop_event(self) -> &'static str {
        match self {
            Self::Head => "lpop",
            Self::Tail => "rpop",
        }
    }

    /// The command that has the effect of a pop.
    const fn pop_command(self) -> &'static [u8] {
        match self {
            Self::Head => b"LPOP",
            Self::Tail => b"RPOP",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Head => Self::Tail,
            Self::Tail => Self::Head,
        }
    }
}

/// The next word as `LEFT` or `RIGHT`.
fn take_end(arguments: &mut Arguments<'_>) -> Result<End, ErrorReply> {
    if arguments.take_keyword("RIGHT") {
        Ok(End::Tail)
    } else if arguments.take_keyword("LEFT") {
        Ok(End::Head)
    } else {
        Err(errors::SYNTAX)
    }
}

/// The next word as an element; a long one can keep the block it came in.
fn take_element<'q>(arguments: &mut Arguments<'q>) -> Result<NewElement<'q>, ErrorReply> {
    let (bytes, shared) = arguments.take_shared()?;
    Ok(NewElement { bytes, shared })
}

/// The next word as a positive integer; anything else gets this error.
fn take_count(arguments: &mut Arguments<'_>, min: i64, error: &'static str) -> Result<usize, ErrorReply> {
    let number = arguments.take_i64().ok().filter(|number| *number >= min);
    number.map(|number| number as usize).ok_or(ErrorReply::new(error))
}

/// The index and the number of the elements from `start` to `stop`, both included, negative ones counted from the end;
/// `None` if there are none.
fn range_of(start: i64, stop: i64, length: usize) -> Option<(usize, usize)> {
    let length = length as i64;
    let from_front = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let (start, stop) = (from_front(start).max(0), from_front(stop).min(length - 1));
    (start <= stop).then(|| (start as usize, (stop - start + 1) as usize))
}

/// The place of an index; negative ones count from the end.
fn index_of(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

/// Replies with `count` elements from an end on, the outermost first.
fn reply_from_end(list: &List, end: End, count: usize, length: usize, reply: &mut Reply<'_>) {
    reply.array(count);
    let first = match end {
        End::Head => 0,
        End::Tail => length.saturating_sub(1),
    };
    list.visit_range(first, count, end.other(), |text| text.write_to(reply));
}

/// After `count` elements were taken from an end: events, and the key goes if nothing is left.
fn popped(call: &mut Call<'_, '_>, (found, is_empty): (Found, bool), key: &[u8], end: End, count: usize) {
    call.event(crate::call::EventClass::List, end.pop_event(), key);
    if is_empty {
        call.remove_if_empty::<List>(found, key);
    }
    if count > 0 {
        call.effects.dirty += count as u64 - 1;
        call.changed(key);
    }
}

/// After elements were taken out: the key goes if nothing is left, else the list may become small again.
fn tidy_up(call: &mut Call<'_, '_>, found: Found, key: &[u8]) {
    let mut list = call.keyspace.collection_mut::<List>(call.database_index, found);
    let is_empty = shrink(&mut list, &call.options.limits);
    drop(list);
    if is_empty {
        call.remove_if_empty::<List>(found, key);
    }
}

/// After elements were taken out the list may become small again. True if nothing is left.
fn shrink(list: &mut List, limits: &EncodingLimits) -> bool {
    let is_empty = list.is_empty();
    if !is_empty {
        list.shrink(limits);
    }
    is_empty
}

#[cfg(test)]
mod tests;
