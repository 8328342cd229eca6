//! SPOP: random members are taken out.
//!
//! What was drawn is propagated: as SREM, or as DEL if nothing is left.

use crate::call::{Call, EventClass, Outcome};
use crate::commands::reply_with_element;
use crate::database::Found;
use crate::entry::NewValue;
use crate::sample::Selection;
use crate::types::{Collection, Set};
use shoal_formats::intset::Intset;
use shoal_formats::listpack::{Element, Listpack};
use shoal_protocol::{Arguments, ErrorReply, OwnedRequest, errors, number};

/// Where so many times the members that stay are no more than those that go, those that stay are moved.
const MOVE_FACTOR: usize = 5;
/// Members that one propagated SREM names at the most.
const REMOVAL_BATCH: usize = 1024;

pub(super) fn spop(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    match arguments.remaining() {
        0 => pop_one(call, key),
        1 => pop_many(call, key, &mut arguments),
        _ => Err(errors::SYNTAX),
    }
}

fn pop_one(call: &mut Call<'_, '_>, key: &[u8]) -> Outcome {
    let Some(found) = call.find_collection_for_write::<Set>(key)? else {
        call.reply.null();
        return Ok(());
    };
    let settings = call.settings();
    let mut set = call.keyspace.collection_mut::<Set>(call.database_index, found);
    let member = set.random(call.rng).map(Element::to_vec).unwrap_or_default();
    set.remove(&member, settings);
    drop(set);
    call.event(EventClass::Set, "spop", key);
    call.propagate_instead([b"SREM".as_slice(), key, &member]);
    call.reply.bulk(&member);
    call.remove_if_empty::<Set>(found, key);
    call.changed(key);
    Ok(())
}

fn pop_many(call: &mut Call<'_, '_>, key: &[u8], arguments: &mut Arguments<'_>) -> Outcome {
    let count = take_count(arguments)?;
    let found = call.find_collection_for_write::<Set>(key)?;
    let Some(found) = found.filter(|_| count > 0) else {
        call.reply.set(0);
        return Ok(());
    };
    let length = call.keyspace.collection::<Set>(call.database_index, found).len();
    call.event(EventClass::Set, "spop", key);
    call.reply.set(count.min(length));
    if count >= length {
        let set = call.keyspace.collection::<Set>(call.database_index, found);
        set.iter().for_each(|member| reply_with_element(call.reply, member));
        call.remove(found);
        call.event(EventClass::Generic, "del", key);
        let name = if call.options.lazy_server_del { b"UNLINK".as_slice() } else { b"DEL" };
        call.propagate_instead([name, key]);
    } else {
        let mut removals = Removals::new(key, call.effects.skip_propagation);
        take_some(call, found, key, count, &mut removals);
        removals.finish().into_iter().for_each(|request| call.propagate_request_instead(request));
    }
    call.changed(key);
    call.effects.dirty += count.min(length) as u64 - 1;
    Ok(())
}

fn take_count(arguments: &mut Arguments<'_>) -> Result<usize, ErrorReply> {
    let count = number::parse_i64(arguments.take()?).and_then(|count| usize::try_from(count).ok());
    count.ok_or(errors::MUST_BE_POSITIVE)
}

/// Takes `count` members out of a set that has more.
fn take_some(call: &mut Call<'_, '_>, found: Found, key: &[u8], count: usize, removals: &mut Removals<'_>) {
    let settings = call.settings();
    let mut set = call.keyspace.collection_mut::<Set>(call.database_index, found);
    let mut take = |member: Element<'_>| {
        reply_with_element(call.reply, member);
        removals.push(member);
    };
    let mut selection = Selection::new(set.len(), count);
    let rest_length = set.len() - count;
    match &mut *set {
        Set::Integers(intset) => {
            let mut rest = Intset::new();
            for integer in intset.iter() {
                if selection.takes(call.rng) {
                    take(Element::Integer(integer));
                } else {
                    rest.insert(integer);
                }
            }
            *intset = rest;
        }
        Set::Packed(listpack) => {
            let mut rest = Listpack::new();
            for member in listpack.iter() {
                if selection.takes(call.rng) {
                    take(member);
                } else {
                    rest.push_element(member);
                }
            }
            *listpack = rest;
        }
        Set::Table(_) if rest_length * MOVE_FACTOR > count => {
            for _ in 0..count {
                let Some(member) = set.random(call.rng).map(Element::to_vec) else { break };
                set.remove(&member, settings);
                take(Element::Bytes(&member));
            }
        }
        Set::Table(_) => {
            let mut rest = Set::Packed(Listpack::new());
            set.sample(rest_length, call.rng, |member| {
                member.with_text(|text| rest.insert(text, settings));
            });
            set.iter().filter(|member| !rest.contains_element(*member)).for_each(take);
            drop(set);
            call.store(Some(found), key, NewValue::from(rest), None);
        }
    }
}

/// The commands that take out what was drawn.
struct Removals<'k> {
    key: &'k [u8],
    /// `None` if nobody receives them.
    requests: Option<Vec<OwnedRequest>>,
    in_last: usize,
}

impl<'k> Removals<'k> {
    fn new(key: &'k [u8], skip: bool) -> Self {
        Self { key, requests: (!skip).then(Vec::new), in_last: REMOVAL_BATCH }
    }

    fn push(&mut self, member: Element<'_>) {
        let Some(requests) = &mut self.requests else { return };
        if self.in_last == REMOVAL_BATCH {
            requests.push(OwnedRequest::new([b"SREM".as_slice(), self.key]));
            self.in_last = 0;
        }
        self.in_last += 1;
        if let Some(last) = requests.last_mut() {
            member.with_text(|text| last.push(text));
        }
    }

    fn finish(self) -> Vec<OwnedRequest> {
        self.requests.unwrap_or_default()
    }
}
