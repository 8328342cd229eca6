//! Commands that look at one hash.

use crate::call::{Call, Outcome};
use crate::commands::generic::scan::{ScanOptions, Texts, reply_with_page, take_cursor};
use crate::commands::reply_with_element;
use crate::types::Hash;
use shoal_formats::listpack::Element;
use shoal_protocol::Arguments;

pub(super) fn hget(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let now_ms = call.fields_now_ms();
    let (key, field) = (arguments.take()?, arguments.take()?);
    let Some(found) = call.find_hash(key)? else {
        call.reply.null();
        return Ok(());
    };
    match call.keyspace.collection::<Hash>(call.database_index, found).live(now_ms).value(field) {
        Some(value) => reply_with_element(call.reply, value),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn hmget(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let now_ms = call.fields_now_ms();
    let found = call.find_hash(arguments.take()?)?;
    let hash = found.map(|found| call.keyspace.collection::<Hash>(call.database_index, found));
    let hash = hash.as_ref().map(|hash| hash.live(now_ms));
    call.reply.array(arguments.remaining());
    for field in arguments.rest() {
        match hash.as_ref().and_then(|hash| hash.value(field)) {
            Some(value) => reply_with_element(call.reply, value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn hexists(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let now_ms = call.fields_now_ms();
    let (key, field) = (arguments.take()?, arguments.take()?);
    let is_there = match call.find_hash(key)? {
        Some(found) => {
            call.keyspace.collection::<Hash>(call.database_index, found).live(now_ms).contains(field)
        }
        None => false,
    };
    call.reply.integer(i64::from(is_there));
    Ok(())
}

pub(super) fn hlen(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let now_ms = call.fields_now_ms();
    let length = match call.find_hash(arguments.take()?)? {
        Some(found) => call.keyspace.collection::<Hash>(call.database_index, found).live(now_ms).len(),
        None => 0,
    };
    call.reply.integer(length as i64);
    Ok(())
}

pub(super) fn hstrlen(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let now_ms = call.fields_now_ms();
    let (key, field) = (arguments.take()?, arguments.take()?);
    let length = match call.find_hash(key)? {
        Some(found) => {
            let hash = call.keyspace.collection::<Hash>(call.database_index, found);
            let hash = hash.live(now_ms);
            hash.value(field).map_or(0, Element::text_length)
        }
        None => 0,
    };
    call.reply.integer(length as i64);
    Ok(())
}

pub(super) fn hgetall(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let now_ms = call.fields_now_ms();
    let Some(found) = call.find_hash(arguments.take()?)? else {
        call.reply.map(0);
        return Ok(());
    };
    let hash = call.keyspace.collection::<Hash>(call.database_index, found);
    let hash = hash.live(now_ms);
    call.reply.map(hash.len());
    for (field, value) in hash.iter() {
        if call.access.gives_up(call.reply) {
            break;
        }
        reply_with_element(call.reply, field);
        reply_with_element(call.reply, value);
    }
    Ok(())
}

pub(super) fn hkeys(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_with_each(call, arguments, |(field, _)| field)
}

pub(super) fn hvals(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_with_each(call, arguments, |(_, value)| value)
}

fn reply_with_each(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    part: for<'e> fn((Element<'e>, Element<'e>)) -> Element<'e>,
) -> Outcome {
    let now_ms = call.fields_now_ms();
    let Some(found) = call.find_hash(arguments.take()?)? else {
        call.reply.array(0);
        return Ok(());
    };
    let hash = call.keyspace.collection::<Hash>(call.database_index, found);
    let hash = hash.live(now_ms);
    call.reply.array(hash.len());
    for pair in hash.iter() {
        if call.access.gives_up(call.reply) {
            break;
        }
        reply_with_element(call.reply, part(pair));
    }
    Ok(())
}

pub(super) fn hscan(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let now_ms = call.fields_now_ms();
    let key = arguments.take()?;
    let cursor = take_cursor(&mut arguments)?;
    let mut page = Texts::default();
    let mut next = 0;
    if let Some(found) = call.find_hash(key)? {
        let options = ScanOptions::of_elements(&mut arguments)?;
        let hash = call.keyspace.collection::<Hash>(call.database_index, found);
        let hash = hash.live(now_ms);
        next = hash.scan(cursor, options.count, |field, value| {
            field.with_text(|field| {
                if options.matches(field) {
                    page.push(field);
                    value.with_text(|value| page.push(value));
                }
            });
        });
    }
    reply_with_page(call, next, &page);
    Ok(())
}
