//! Intersections, unions and differences of several sets.

use crate::call::{Call, EventClass, Outcome};
use crate::commands::reply_with_element;
use crate::database::Found;
use crate::entry::NewValue;
use crate::keyspace::{CollectionRef, Keyspace};
use crate::types::{Collection, Set, Settings};
use shoal_formats::listpack::{Element, Listpack};
use shoal_protocol::{Arguments, ErrorReply, errors, number};
use std::cmp::Reverse;

const NO_KEYS: ErrorReply = ErrorReply::new("ERR numkeys should be greater than 0");
const TOO_MANY_KEYS: ErrorReply = ErrorReply::new("ERR Number of keys can't be greater than number of args");
const NEGATIVE_LIMIT: ErrorReply = ErrorReply::new("ERR LIMIT can't be negative");

pub(super) fn sinter(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let keys: Vec<&[u8]> = arguments.rest().collect();
    let found = find_sets(call, &keys)?;
    let sets = ascending(sets_of(call.keyspace, call.database_index, &found));
    let length = call.reply.deferred();
    let mut count = 0;
    intersect(&sets, |member| {
        reply_with_element(call.reply, member);
        count += 1;
        true
    });
    call.reply.finish_set(length, count);
    Ok(())
}

pub(super) fn sintercard(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key_count = number::parse_i64(arguments.take()?).filter(|count| *count > 0).ok_or(NO_KEYS)?;
    let key_count = usize::try_from(key_count).unwrap_or(usize::MAX);
    if key_count > arguments.remaining() {
        return Err(TOO_MANY_KEYS);
    }
    let mut keys = Vec::with_capacity(key_count);
    for _ in 0..key_count {
        keys.push(arguments.take()?);
    }
    let mut limit = 0;
    while !arguments.is_empty() {
        if !arguments.take_keyword("LIMIT") || arguments.is_empty() {
            return Err(errors::SYNTAX);
        }
        limit = number::parse_i64(arguments.take()?).filter(|limit| *limit >= 0).ok_or(NEGATIVE_LIMIT)?;
    }
    let found = find_sets(call, &keys)?;
    let sets = ascending(sets_of(call.keyspace, call.database_index, &found));
    let mut count = 0;
    intersect(&sets, |_| {
        count += 1;
        count != limit
    });
    call.reply.integer(count);
    Ok(())
}

pub(super) fn sinterstore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let destination = arguments.take()?;
    let keys: Vec<&[u8]> = arguments.rest().collect();
    let found = find_sets(call, &keys)?;
    let settings = call.settings();
    let sets = ascending(sets_of(call.keyspace, call.database_index, &found));
    let mut result = match sets.first().map(|set| &**set) {
        Some(Set::Integers(_)) => Set::default(),
        _ => Set::Packed(Listpack::new()),
    };
    intersect(&sets, |member| {
        insert_compact(&mut result, member, settings);
        true
    });
    result.become_integers_if_possible(settings);
    drop(sets);
    store(call, destination, result, "sinterstore")
}

pub(super) fn sunion(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let keys: Vec<&[u8]> = arguments.rest().collect();
    let found = find_sets(call, &keys)?;
    let settings = call.settings();
    let sets = sets_of(call.keyspace, call.database_index, &found);
    let mut present = sets.iter().flatten();
    match (present.next(), present.next()) {
        (None, _) => call.reply.set(0),
        (Some(only), None) => {
            call.reply.set(only.len());
            only.iter().for_each(|member| reply_with_element(call.reply, member));
        }
        _ => {
            let all = unite(&sets, Some(call.options.limits.set_max_listpack_entries), settings);
            call.reply.set(all.len());
            all.iter().for_each(|member| reply_with_element(call.reply, member));
        }
    }
    Ok(())
}

pub(super) fn sunionstore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let destination = arguments.take()?;
    let keys: Vec<&[u8]> = arguments.rest().collect();
    let found = find_sets(call, &keys)?;
    let settings = call.settings();
    let sets = sets_of(call.keyspace, call.database_index, &found);
    let result = unite(&sets, None, settings);
    drop(sets);
    store(call, destination, result, "sunionstore")
}

pub(super) fn sdiff(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let keys: Vec<&[u8]> = arguments.rest().collect();
    let found = find_sets(call, &keys)?;
    let settings = call.settings();
    let sets = sets_of(call.keyspace, call.database_index, &found);
    let length = call.reply.deferred();
    let mut count = 0;
    subtract(Subtraction::of(&keys, sets), settings, |member| {
        reply_with_element(call.reply, member);
        count += 1;
    });
    call.reply.finish_set(length, count);
    Ok(())
}

pub(super) fn sdiffstore(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let destination = arguments.take()?;
    let keys: Vec<&[u8]> = arguments.rest().collect();
    let found = find_sets(call, &keys)?;
    let settings = call.settings();
    let sets = sets_of(call.keyspace, call.database_index, &found);
    let result = match Subtraction::of(&keys, sets) {
        Subtraction::Each { first, others } => {
            let mut result = Set::default();
            subtract(Subtraction::Each { first, others }, settings, |member| {
                insert_compact(&mut result, member, settings);
            });
            result
        }
        Subtraction::Whole { first, others } => subtract_whole(&first, &others, settings),
        Subtraction::Empty => Set::default(),
    };
    store(call, destination, result, "sdiffstore")
}

/// Looks all keys up, in order. A key that is not there is an empty set.
fn find_sets(call: &mut Call<'_, '_>, keys: &[&[u8]]) -> Result<Vec<Option<Found>>, ErrorReply> {
    let expired_before = call.effects.expired;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        found.push(call.find_collection::<Set>(key)?);
    }
    if call.effects.expired != expired_before {
        // Keys that were deleted on the way may have moved those found before.
        for (found, key) in found.iter_mut().zip(keys).filter(|(found, _)| found.is_some()) {
            *found = call.database().find(key);
        }
    }
    Ok(found)
}

type SetRef<'k> = CollectionRef<'k, Set>;

fn sets_of<'k>(
    keyspace: &'k Keyspace,
    database_index: usize,
    found: &[Option<Found>],
) -> Vec<Option<SetRef<'k>>> {
    let set = |found: &Option<Found>| found.map(|found| keyspace.collection::<Set>(database_index, found));
    found.iter().map(set).collect()
}

/// The sets, the smallest first; none at all if one of them is empty.
fn ascending(sets: Vec<Option<SetRef<'_>>>) -> Vec<SetRef<'_>> {
    let mut sets = sets.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default();
    sets.sort_by_key(|set| set.len());
    sets
}

/// Visits what is in all sets, of which the first is the smallest, until `visit` returns false.
fn intersect(sets: &[SetRef<'_>], mut visit: impl FnMut(Element<'_>) -> bool) {
    let Some((smallest, others)) = sets.split_first() else { return };
    for member in smallest.iter() {
        if others.iter().all(|set| set.contains_element(member)) && !visit(member) {
            return;
        }
    }
}

/// Inserts a member; one of a table may be an integer without having been looked at.
fn insert_compact(set: &mut Set, member: Element<'_>, settings: Settings<'_>) {
    match member {
        Element::Bytes(bytes) => set.insert(bytes, settings),
        integer => set.insert_element(integer, settings),
    };
}

/// All members of all sets. With `table_from`, only the members count, not the encoding: where so many or more may come
/// together, a table takes them in faster.
fn unite(sets: &[Option<SetRef<'_>>], table_from: Option<usize>, settings: Settings<'_>) -> Set {
    let mut result = Set::default();
    let most: usize = sets.iter().flatten().map(|set| set.len()).sum();
    if let Some(limit) = table_from
        && most > limit
    {
        result.expect(usize::MAX, settings);
    }
    for set in sets.iter().flatten() {
        set.iter().for_each(|member| insert_compact(&mut result, member, settings));
    }
    result
}

/// How a difference is computed.
enum Subtraction<'k> {
    /// Nothing is left.
    Empty,
    /// Each member of the first set is looked up in the others, the largest first.
    Each { first: SetRef<'k>, others: Vec<SetRef<'k>> },
    /// The members of the others are taken out of a copy of the first.
    Whole { first: SetRef<'k>, others: Vec<SetRef<'k>> },
}

impl<'k> Subtraction<'k> {
    fn of(keys: &[&[u8]], sets: Vec<Option<SetRef<'k>>>) -> Self {
        let mut sets = sets.into_iter();
        let Some(first) = sets.next().flatten() else { return Self::Empty };
        if keys[1..].contains(&keys[0]) {
            return Self::Empty;
        }
        let mut others: Vec<_> = sets.flatten().collect();
        let each = first.len() * (others.len() + 1);
        let whole = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
        // Looking up ends early for a member that is in one of the others, so it is given some advantage.
        if each / 2 <= whole {
            others.sort_by_key(|set| Reverse(set.len()));
            Self::Each { first, others }
        } else {
            Self::Whole { first, others }
        }
    }
}

/// Visits what the difference leaves.
fn subtract(subtraction: Subtraction<'_>, settings: Settings<'_>, mut visit: impl FnMut(Element<'_>)) {
    match subtraction {
        Subtraction::Empty => {}
        Subtraction::Each { first, others } => {
            for member in first.iter() {
                if !others.iter().any(|set| set.contains_element(member)) {
                    visit(member);
                }
            }
        }
        Subtraction::Whole { first, others } => {
            subtract_whole(&first, &others, settings).iter().for_each(visit);
        }
    }
}

fn subtract_whole(first: &SetRef<'_>, others: &[SetRef<'_>], settings: Settings<'_>) -> Set {
    let mut result = Set::default();
    first.iter().for_each(|member| insert_compact(&mut result, member, settings));
    for set in others {
        if result.is_empty() {
            break;
        }
        set.iter().for_each(|member| {
            member.with_text(|text| result.remove(text, settings));
        });
    }
    result
}

/// Puts a result in the place of whatever a key holds. An empty one deletes the key.
fn store(call: &mut Call<'_, '_>, destination: &[u8], result: Set, event: &'static str) -> Outcome {
    let found = call.find_for_write(destination);
    let length = result.len();
    if length > 0 {
        call.store(found, destination, NewValue::from(result), Some(None));
        call.changed(destination);
        call.event(EventClass::Set, event, destination);
    } else if let Some(found) = found {
        call.remove(found);
        call.changed(destination);
        call.event(EventClass::Generic, "del", destination);
    }
    call.reply.integer(length as i64);
    Ok(())
}
