//! Commands that wait for an element.
//!
//! Each tries first what its namesake without the `B` does, and blocks if there is nothing. The node runs the same body
//! again when one of the keys has changed. What is propagated is the pop or move that was made.

use super::pop::{ManyPop, pop_one};
use super::relocate::move_element;
use super::take_end;
use crate::call::{Block, Call, Outcome, TimeoutReply};
use crate::commands::timeout::timeout_ms;
use crate::types::list::End;
use crate::types::{List, Type};
use shoal_protocol::{Arguments, errors};

pub(super) fn blpop(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop(call, arguments, End::Head)
}

pub(super) fn brpop(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop(call, arguments, End::Tail)
}

fn pop(call: &mut Call<'_, '_>, arguments: Arguments<'_>, end: End) -> Outcome {
    let words: Vec<_> = arguments.rest().collect();
    let (timeout, keys) = words.split_last().ok_or(errors::SYNTAX)?;
    let timeout_ms = timeout_ms(call.now, timeout)?;
    for key in keys {
        let Some(found) = call.find_collection_for_write::<List>(key)? else { continue };
        call.reply.array(2);
        call.reply.bulk(key);
        pop_one(call, found, key, end);
        call.propagate_instead([end.pop_command(), key]);
        return Ok(());
    }
    wait(call, keys, timeout_ms);
    Ok(())
}

pub(super) fn blmpop(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let timeout = arguments.take()?;
    let pop = ManyPop::take(&mut arguments)?;
    let timeout_ms = timeout_ms(call.now, timeout)?;
    if !pop.run(call)? {
        wait(call, &pop.keys, timeout_ms);
    }
    Ok(())
}

pub(super) fn blmove(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (source, destination) = (arguments.take()?, arguments.take()?);
    let ends = arguments;
    let (from, to) = (take_end(&mut arguments)?, take_end(&mut arguments)?);
    let timeout_ms = timeout_ms(call.now, arguments.take()?)?;
    if move_or_wait(call, source, destination, (from, to), timeout_ms)? {
        let words = [b"LMOVE".as_slice(), source, destination];
        call.propagate_instead(words.into_iter().chain(ends.rest().take(2)));
    }
    Ok(())
}

pub(super) fn brpoplpush(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (source, destination) = (arguments.take()?, arguments.take()?);
    let timeout_ms = timeout_ms(call.now, arguments.take()?)?;
    if move_or_wait(call, source, destination, (End::Tail, End::Head), timeout_ms)? {
        call.propagate_instead([b"RPOPLPUSH".as_slice(), source, destination]);
    }
    Ok(())
}

/// True if an element was moved.
fn move_or_wait(
    call: &mut Call<'_, '_>,
    source: &[u8],
    destination: &[u8],
    (from, to): (End, End),
    timeout_ms: u64,
) -> Result<bool, shoal_protocol::ErrorReply> {
    match call.find_collection_for_write::<List>(source)? {
        Some(found) => {
            move_element(call, found, source, destination, from, to)?;
            return Ok(true);
        }
        // Who may not wait gets the null of a string, who has waited that of an array, as in Redis.
        None if call.access.deny_blocking => call.reply.null(),
        None => wait(call, &[source], timeout_ms),
    }
    Ok(false)
}

fn wait(call: &mut Call<'_, '_>, keys: &[&[u8]], timeout_ms: u64) {
    call.block(Block {
        keys: keys.iter().map(|key| key.to_vec()).collect(),
        kind: Type::List,
        timeout_ms,
        on_timeout: TimeoutReply::NullArray,
        retry: None,
        until_key_goes: false,
    });
}
