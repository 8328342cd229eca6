//! Asks the processor for memory before it is used.
//!
//! In a pipeline the next requests are there already. What each of them waits for — the bucket of its key, the entry, the
//! bucket of a member in a large set — is asked for all of them at once, so that the waits overlap. What is small stays in
//! the processor's cache anyway, and asking would only cost.

use crate::database::{Database, Place};
use crate::entry::Value;
use crate::table::PREFETCH_MIN_ITEMS;
use crate::types::Collection;
use shoal_protocol::command::{Categories, Command};
use shoal_protocol::request::UpcomingWords;

/// Requests looked at ahead of their turn.
pub const REQUESTS_MAX: usize = 16;
/// The tables of a database with fewer keys than this are left to the processor's cache.
const DATABASE_MIN_KEYS: usize = PREFETCH_MIN_ITEMS;

/// Whether nothing is worth asking for if the next requests are such as this one, the client's last.
#[inline]
pub fn is_idle_after(database: &Database, last: &Command) -> bool {
    let with_members = [Categories::SET, Categories::SORTEDSET, Categories::HASH];
    database.len() < DATABASE_MIN_KEYS
        && !with_members.iter().any(|&category| last.categories.contains(category))
}

/// Whether requests that begin like these two will touch memory that is worth asking for early.
pub fn is_worth_it(database: &Database, [first, second]: [&UpcomingWords<'_>; 2]) -> bool {
    database.len() >= DATABASE_MIN_KEYS
        || are_for_elements(first, second) && has_many_elements(database, first[0])
}

/// Asks for what these requests will probably touch, [`REQUESTS_MAX`] of them at the most: each begins with its key.
pub fn prefetch(database: &Database, requests: &[UpcomingWords<'_>]) {
    let [first, second, ..] = requests else { return };
    if database.len() >= DATABASE_MIN_KEYS {
        prefetch_keys(database, requests);
    }
    if are_for_elements(first, second) {
        prefetch_elements(database, first[0], requests);
    }
}

/// Requests for one key after the other are for what is in it.
fn are_for_elements(first: &UpcomingWords<'_>, second: &UpcomingWords<'_>) -> bool {
    first[0] == second[0] && !first[1].is_empty()
}

fn has_many_elements(database: &Database, key: &[u8]) -> bool {
    database.find(key).is_some_and(|found| match database.entry(found).value() {
        Value::Set(set) => set.len() >= PREFETCH_MIN_ITEMS,
        Value::Hash(hash) => hash.len() >= PREFETCH_MIN_ITEMS,
        Value::SortedSet(set) => set.len() >= PREFETCH_MIN_ITEMS,
        Value::String(_) | Value::List(_) | Value::Stream(_) => false,
    })
}

fn prefetch_keys(database: &Database, requests: &[UpcomingWords<'_>]) {
    let mut places = [Place::default(); REQUESTS_MAX];
    let count = requests.len().min(REQUESTS_MAX);
    for (place, words) in places.iter_mut().zip(requests) {
        *place = database.place(words[0]);
        database.prefetch(*place);
    }
    places[..count].iter().for_each(|&place| database.prefetch_entry(place));
}

fn prefetch_elements(database: &Database, key: &[u8], requests: &[UpcomingWords<'_>]) {
    let Some(found) = database.find(key) else { return };
    let of_the_key = requests.iter().take(REQUESTS_MAX).take_while(|words| words[0] == key);
    match database.entry(found).value() {
        Value::Set(set) => set.prefetch(of_the_key.map(|words| words[1])),
        Value::Hash(hash) => hash.prefetch(of_the_key.map(|words| words[1])),
        // A member stands behind its score, if there is one.
        Value::SortedSet(set) => {
            set.prefetch(of_the_key.map(|words| if words[2].is_empty() { words[1] } else { words[2] }));
        }
        Value::String(_) | Value::List(_) | Value::Stream(_) => {}
    }
}
