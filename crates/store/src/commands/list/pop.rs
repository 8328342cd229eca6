//! Commands that take elements from an end.

use super::{popped, reply_from_end, shrink, take_count, take_end};
use crate::call::{Call, Outcome};
use crate::database::Found;
use crate::types::list::End;
use crate::types::{Collection, List};
use shoal_protocol::{Arguments, ErrorReply, errors};

pub(super) fn lpop(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop(call, arguments, End::Head, "lpop")
}

pub(super) fn rpop(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    pop(call, arguments, End::Tail, "rpop")
}

fn pop(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, end: End, name: &str) -> Outcome {
    let key = arguments.take()?;
    if arguments.remaining() > 1 {
        return Err(errors::wrong_arity(name));
    }
    let count = match arguments.remaining() {
        0 => None,
        _ => Some(take_count(&mut arguments, 0, "ERR value is out of range, must be positive")?),
    };
    let Some(found) = call.find_collection_for_write::<List>(key)? else {
        match count {
            Some(_) => call.reply.null_array(),
            None => call.reply.null(),
        }
        return Ok(());
    };
    match count {
        Some(0) => call.reply.array(0),
        Some(count) => {
            pop_array(call, found, key, end, count);
        }
        None => pop_one(call, found, key, end),
    }
    Ok(())
}

/// Takes one element out and replies with it.
pub(super) fn pop_one(call: &mut Call<'_, '_>, found: Found, key: &[u8], end: End) {
    let mut list = call.keyspace.collection_mut::<List>(call.database_index, found);
    if list.pop(end, |text| text.write_to(call.reply)).is_none() {
        call.reply.null();
    }
    let is_empty = shrink(&mut list, &call.options.limits);
    drop(list);
    popped(call, (found, is_empty), key, end, 1);
}

/// Takes up to `count` elements out and replies with an array of them. Returns how many there were.
pub(super) fn pop_array(call: &mut Call<'_, '_>, found: Found, key: &[u8], end: End, count: usize) -> usize {
    let mut list = call.keyspace.collection_mut::<List>(call.database_index, found);
    let length = list.len();
    let count = count.min(length);
    reply_from_end(&list, end, count, length, call.reply);
    list.remove_range(if end == End::Head { 0 } else { length - count }, count);
    let is_empty = shrink(&mut list, &call.options.limits);
    drop(list);
    popped(call, (found, is_empty), key, end, count);
    count
}

/// What LMPOP and BLMPOP ask for.
pub(super) struct ManyPop<'q> {
    pub(super) keys: Vec<&'q [u8]>,
    pub(super) end: End,
    pub(super) count: usize,
}

impl<'q> ManyPop<'q> {
    pub(super) fn take(arguments: &mut Arguments<'q>) -> Result<Self, ErrorReply> {
        let key_count = take_count(arguments, 1, "ERR numkeys should be greater than 0")?;
        // The keys and the word for the end have to be there before anything is set aside for them.
        if key_count >= arguments.remaining() {
            return Err(errors::SYNTAX);
        }
        let keys = (0..key_count).map(|_| arguments.take()).collect::<Result<_, _>>()?;
        let end = take_end(arguments)?;
        let mut count = None;
        while !arguments.is_empty() {
            if count.is_some() || arguments.remaining() < 2 || !arguments.take_keyword("COUNT") {
                return Err(errors::SYNTAX);
            }
            count = Some(take_count(arguments, 1, "ERR count should be greater than 0")?);
        }
        Ok(Self { keys, end, count: count.unwrap_or(1) })
    }

    /// Pops from the first key that holds a list and replies with key and elements. False if no key does.
    pub(super) fn run(&self, call: &mut Call<'_, '_>) -> Result<bool, ErrorReply> {
        for key in &self.keys {
            let Some(found) = call.find_collection_for_write::<List>(key)? else { continue };
            call.reply.array(2);
            call.reply.bulk(key);
            let count = pop_array(call, found, key, self.end, self.count);
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(count).as_bytes();
            call.propagate_instead([self.end.pop_command(), key, digits]);
            return Ok(true);
        }
        Ok(false)
    }
}

pub(super) fn lmpop(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    if !ManyPop::take(&mut arguments)?.run(call)? {
        call.reply.null_array();
    }
    Ok(())
}
