//! ZRANDMEMBER.

use super::{begin_members, write_scored};
use crate::call::{Call, Outcome};
use crate::commands::random::RandomCount;
use crate::commands::reply_with_element;
use crate::types::{Collection, SortedSet};
use shoal_machine::Rng;
use shoal_protocol::Arguments;
use std::collections::BTreeSet;

pub(super) fn zrandmember(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    if arguments.is_empty() {
        return one(call, key);
    }
    let mut count = RandomCount::take(&mut arguments)?;
    let with_scores = arguments.take_keyword("WITHSCORES");
    arguments.finish()?;
    if with_scores {
        count = count.check_pairs()?;
    }
    let Some(found) = call.find_collection::<SortedSet>(key)? else {
        call.reply.array(0);
        return Ok(());
    };
    let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
    let (reply, rng) = (&mut *call.reply, &mut *call.rng);
    match count {
        RandomCount::Repeated(count) => {
            begin_members(reply, count as usize, with_scores);
            for _ in 0..count {
                if call.access.gives_up(reply) {
                    break;
                }
                if let Some((member, score)) = set.random(|| rng.next_u64()) {
                    write_scored(reply, member, score, with_scores);
                }
            }
        }
        RandomCount::Distinct(count) => {
            let length = set.len();
            let count = usize::try_from(count).map_or(length, |count| count.min(length));
            begin_members(reply, count, with_scores);
            if count == length {
                set.iter().for_each(|(member, score)| write_scored(reply, member, score, with_scores));
                return Ok(());
            }
            for index in distinct_indexes(length, count, rng) {
                if let Some((member, score)) = set.range(index..index + 1).next() {
                    write_scored(reply, member, score, with_scores);
                }
            }
        }
    }
    Ok(())
}

fn one(call: &mut Call<'_, '_>, key: &[u8]) -> Outcome {
    let found = call.find_collection::<SortedSet>(key)?;
    let set = found.map(|found| call.keyspace.collection::<SortedSet>(call.database_index, found));
    match set.as_ref().and_then(|set| set.random(|| call.rng.next_u64())) {
        Some((member, _)) => reply_with_element(call.reply, member),
        None => call.reply.null(),
    }
    Ok(())
}

/// `count` different numbers below `length`, every choice as likely as any other, in as many steps. (Floyd's algorithm;
/// Bentley, Communications of the ACM, September 1987.)
fn distinct_indexes(length: usize, count: usize, rng: &mut Rng) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for last in length - count..length {
        let index = rng.index(last + 1);
        if !chosen.insert(index) {
            chosen.insert(last);
        }
    }
    chosen
}
