//! Commands that look at one set.

use crate::call::{Call, Outcome};
use crate::commands::generic::scan::{ScanOptions, Texts, reply_with_page, take_cursor};
use crate::commands::random::RandomCount;
use crate::commands::reply_with_element;
use crate::types::{Collection, Set};
use shoal_protocol::{Arguments, errors};

pub(super) fn scard(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let length = match call.find_collection::<Set>(arguments.take()?)? {
        Some(found) => call.keyspace.collection::<Set>(call.database_index, found).len(),
        None => 0,
    };
    call.reply.integer(length as i64);
    Ok(())
}

pub(super) fn sismember(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, member) = (arguments.take()?, arguments.take()?);
    let is_member = match call.find_collection::<Set>(key)? {
        Some(found) => call.keyspace.collection::<Set>(call.database_index, found).contains(member),
        None => false,
    };
    call.reply.integer(i64::from(is_member));
    Ok(())
}

pub(super) fn smismember(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let found = call.find_collection::<Set>(arguments.take()?)?;
    let set = found.map(|found| call.keyspace.collection::<Set>(call.database_index, found));
    call.reply.array(arguments.remaining());
    for member in arguments.rest() {
        let is_member = set.as_ref().is_some_and(|set| set.contains(member));
        call.reply.integer(i64::from(is_member));
    }
    Ok(())
}

pub(super) fn smembers(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let Some(found) = call.find_collection::<Set>(arguments.take()?)? else {
        call.reply.set(0);
        return Ok(());
    };
    let set = call.keyspace.collection::<Set>(call.database_index, found);
    call.reply.set(set.len());
    for member in set.iter() {
        if call.access.gives_up(call.reply) {
            break;
        }
        reply_with_element(call.reply, member);
    }
    Ok(())
}

pub(super) fn srandmember(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    if arguments.is_empty() {
        match call.find_collection::<Set>(key)? {
            Some(found) => {
                let set = call.keyspace.collection::<Set>(call.database_index, found);
                match set.random(call.rng) {
                    Some(member) => reply_with_element(call.reply, member),
                    None => call.reply.null(),
                }
            }
            None => call.reply.null(),
        }
        return Ok(());
    }
    if arguments.remaining() > 1 {
        return Err(errors::SYNTAX);
    }
    let count = RandomCount::take(&mut arguments)?;
    let Some(found) = call.find_collection::<Set>(key)? else {
        call.reply.array(0);
        return Ok(());
    };
    let set = call.keyspace.collection::<Set>(call.database_index, found);
    match count {
        RandomCount::Repeated(count) => {
            call.reply.array(usize::try_from(count).unwrap_or(usize::MAX));
            set.draw(count, call.rng, |member| {
                reply_with_element(call.reply, member);
                !call.access.gives_up(call.reply)
            });
        }
        RandomCount::Distinct(count) => {
            let count = usize::try_from(count).map_or(set.len(), |count| count.min(set.len()));
            call.reply.array(count);
            set.sample(count, call.rng, |member| reply_with_element(call.reply, member));
        }
    }
    Ok(())
}

pub(super) fn sscan(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let cursor = take_cursor(&mut arguments)?;
    let mut page = Texts::default();
    let mut next = 0;
    if let Some(found) = call.find_collection::<Set>(key)? {
        let options = ScanOptions::of_elements(&mut arguments)?;
        let set = call.keyspace.collection::<Set>(call.database_index, found);
        next = set.scan(cursor, options.count, |member| {
            member.with_text(|text| {
                if options.matches(text) {
                    page.push(text);
                }
            });
        });
    }
    reply_with_page(call, next, &page);
    Ok(())
}
