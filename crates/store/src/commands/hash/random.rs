//! HRANDFIELD.

use crate::call::{Call, Outcome};
use crate::commands::random::RandomCount;
use crate::commands::reply_with_element;
use crate::types::Hash;
use shoal_formats::listpack::Element;
use shoal_protocol::{Arguments, Reply, errors};

pub(super) fn hrandfield(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    if arguments.is_empty() {
        return one(call, key);
    }
    let mut count = RandomCount::take(&mut arguments)?;
    let with_values = match arguments.remaining() {
        0 => false,
        1 if arguments.take_keyword("WITHVALUES") => true,
        _ => return Err(errors::SYNTAX),
    };
    if with_values {
        count = count.check_pairs()?;
    }
    let Some(found) = call.find_hash(key)? else {
        call.reply.array(0);
        return Ok(());
    };
    let now_ms = call.fields_now_ms();
    let hash = call.keyspace.collection::<Hash>(call.database_index, found);
    let hash = hash.live(now_ms);
    let shape = Shape { with_values };
    match count {
        RandomCount::Repeated(count) => {
            shape.begin(call.reply, usize::try_from(count).unwrap_or(usize::MAX));
            hash.draw(count, call.rng, |field, value| {
                shape.reply_with_pair(call.reply, field, value);
                !call.access.gives_up(call.reply)
            });
        }
        RandomCount::Distinct(count) => {
            let count = usize::try_from(count).map_or(hash.len(), |count| count.min(hash.len()));
            shape.begin(call.reply, count);
            hash.sample(count, call.rng, |field, value| shape.reply_with_pair(call.reply, field, value));
        }
    }
    Ok(())
}

fn one(call: &mut Call<'_, '_>, key: &[u8]) -> Outcome {
    let Some(found) = call.find_hash(key)? else {
        call.reply.null();
        return Ok(());
    };
    let now_ms = call.fields_now_ms();
    let hash = call.keyspace.collection::<Hash>(call.database_index, found);
    match hash.live(now_ms).random(call.rng) {
        Some((field, _)) => reply_with_element(call.reply, field),
        None => call.reply.null(),
    }
    Ok(())
}

/// How fields are replied: in RESP3 each with its value is an array of its own.
#[derive(Clone, Copy)]
struct Shape {
    with_values: bool,
}

impl Shape {
    fn begin(self, reply: &mut Reply<'_>, count: usize) {
        let flat = self.with_values && !reply.is_resp3();
        reply.array(if flat { count.saturating_mul(2) } else { count });
    }

    fn reply_with_pair(self, reply: &mut Reply<'_>, field: Element<'_>, value: Element<'_>) {
        if self.with_values && reply.is_resp3() {
            reply.array(2);
        }
        reply_with_element(reply, field);
        if self.with_values {
            reply_with_element(reply, value);
        }
    }
}
