//! Tests of the table on entries made by hand.

use super::*;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;

/// An item whose key and deadline are its own; live ones are counted.
struct Boxed(Box<(Vec<u8>, u64)>);

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

impl Boxed {
    fn new(key: &[u8], deadline: u64) -> Self {
        LIVE.set(LIVE.get() + 1);
        Self(Box::new((key.to_vec(), deadline)))
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

// SAFETY: the pointer is that of the box.
#[allow(unsafe_code)]
unsafe impl Item for Boxed {
    fn key(&self) -> &[u8] {
        &self.0.0
    }

    fn into_pointer(self) -> NonNull<u8> {
        let item = std::mem::ManuallyDrop::new(self);
        // SAFETY: the box is taken out of a value that is never dropped.
        let boxed = unsafe { std::ptr::read(&raw const item.0) };
        NonNull::from(Box::leak(boxed)).cast()
    }

    unsafe fn from_pointer(pointer: NonNull<u8>) -> Self {
        // SAFETY: the caller hands back what `into_pointer` gave.
        Self(unsafe { Box::from_raw(pointer.cast().as_ptr()) })
    }
}

const HASHER: Hasher = Hasher::new(1, 2);
/// Miri runs the same tests with fewer items.
const MANY: u32 = if cfg!(miri) { 600 } else { 60_000 };

fn key(number: u32) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn insert(table: &mut Table<Boxed>, number: u32) -> Position {
    let key = key(number);
    table.insert(&HASHER, HASHER.hash(&key), Boxed::new(&key, u64::from(number)))
}

fn find(table: &Table<Boxed>, number: u32) -> Option<Position> {
    let key = key(number);
    table.find(HASHER.hash(&key), &key)
}

fn remove(table: &mut Table<Boxed>, number: u32) -> bool {
    let key = key(number);
    let hash = HASHER.hash(&key);
    match table.find(hash, &key) {
        Some(position) => {
            assert_eq!(table.remove(&HASHER, position, hash, false).key(), key);
            true
        }
        None => false,
    }
}

fn scan_all(table: &Table<Boxed>, count: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut cursor = 0;
    for _ in 0..1_000_000 {
        cursor = table.scan(cursor, count, false, |item| keys.push(item.key().to_vec()));
        if cursor == 0 {
            return keys;
        }
    }
    panic!("the scan does not end");
}

#[test]
fn grows_and_shrinks_and_stays_full() {
    let mut table = Table::new();
    for number in 0..MANY {
        insert(&mut table, number);
        if number % 97 == 0 && number > 300 {
            assert!(
                table.len() * 100 >= table.capacity() * 74,
                "{} of {} at {number}",
                table.len(),
                table.capacity()
            );
        }
    }
    assert_eq!(table.len(), MANY as usize);
    assert!((0..MANY).all(|number| find(&table, number).is_some()));
    assert!(find(&table, MANY).is_none());
    for number in 0..MANY - 10 {
        assert!(remove(&mut table, number));
    }
    assert_eq!(table.len(), 10);
    assert!(table.segment_count() <= 10, "segments merge: {}", table.segment_count());
    assert!(table.size_bytes() < 4096, "the room is given back: {} bytes", table.size_bytes());
    assert!((MANY - 10..MANY).all(|number| find(&table, number).is_some()));
    drop(table);
    assert_eq!(LIVE.get(), 0);
}

#[test]
fn room_that_was_made_is_used() {
    for (reserved, count) in [(MANY, MANY), (MANY, MANY / 50), (MANY / 4, MANY), (1, MANY / 100)] {
        let mut table = Table::new();
        table.reserve(reserved as usize);
        let capacity = table.capacity();
        for number in 0..count {
            insert(&mut table, number);
        }
        assert!((0..count).all(|number| find(&table, number).is_some()));
        assert_eq!(scan_all(&table, 10).len(), count as usize);
        if reserved == count {
            assert!(table.capacity() <= capacity + capacity / 10, "{} after {capacity}", table.capacity());
            assert!(table.capacity() <= count as usize * 4 / 3, "{}", table.capacity());
        }
        table.reserve(1 << 20);
        assert!((0..count).all(|number| remove(&mut table, number)));
        assert!(table.is_empty());
    }
}

#[test]
fn behaves_like_a_map() {
    let mut table = Table::new();
    let mut model = BTreeMap::new();
    let mut state = 12345u64;
    for step in 0..MANY * 4 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let number = (state >> 33) as u32 % (MANY / 10 + 1);
        // Phases of mostly inserting and mostly removing drive the table through its sizes.
        let inserting = (state >> 20) % 100 < if (step / (MANY / 2)).is_multiple_of(2) { 80 } else { 20 };
        if inserting {
            if let Some(position) = find(&table, number) {
                let old = table.replace(position, Boxed::new(&key(number), u64::from(step)));
                assert_eq!(Some(old.0.1), model.insert(number, u64::from(step)));
            } else {
                let position = insert(&mut table, number);
                table.item_mut(position).0.1 = u64::from(step);
                assert_eq!(model.insert(number, u64::from(step)), None);
            }
        } else {
            assert_eq!(remove(&mut table, number), model.remove(&number).is_some());
        }
        assert_eq!(table.len(), model.len());
    }
    for (number, value) in &model {
        assert_eq!(table.item(find(&table, *number).unwrap()).0.1, *value);
    }
    let keys: BTreeSet<Vec<u8>> = scan_all(&table, 10).into_iter().collect();
    assert_eq!(keys, model.keys().map(|&number| key(number)).collect());
}

#[test]
fn a_scan_sees_every_lasting_item_once_across_growth_and_shrinking() {
    for count in [1, 10, 1000] {
        let mut table = Table::new();
        for number in 0..MANY / 4 {
            insert(&mut table, number);
        }
        let mut seen: Vec<Vec<u8>> = Vec::new();
        let mut cursor = 0;
        let mut turn = 0;
        loop {
            cursor = table.scan(cursor, count, false, |item| seen.push(item.key().to_vec()));
            if cursor == 0 {
                break;
            }
            turn += 1;
            // Items beyond the lasting ones come and go.
            for number in 0..20 {
                let number = MANY / 4 + (turn * 20 + number) % MANY;
                if (turn / 50) % 2 == 0 && find(&table, number).is_none() {
                    insert(&mut table, number);
                } else {
                    remove(&mut table, number);
                }
            }
        }
        let lasting: Vec<&Vec<u8>> = {
            let mut lasting: Vec<_> = seen
                .iter()
                .filter(|key| String::from_utf8_lossy(&key[4..]).parse::<u32>().unwrap() < MANY / 4)
                .collect();
            lasting.sort();
            lasting
        };
        assert_eq!(lasting.len(), (MANY / 4) as usize);
        assert!(lasting.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

#[test]
fn marks_count_and_come_due() {
    let mut table = Table::new();
    for number in 0..MANY / 4 {
        let position = insert(&mut table, number);
        if number % 3 == 0 {
            table.set_mark(position, Some(u64::from(number)));
        }
    }
    let marked = (MANY / 4).div_ceil(3) as usize;
    assert_eq!(table.marked_len(), marked);
    let mut due = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = table.due(cursor, 100, 3, |item| item.0.1, |item| due.push(item.0.1));
        if cursor == 0 {
            break;
        }
    }
    due.sort_unstable();
    assert_eq!(due, (0..=100).filter(|number| number % 3 == 0).collect::<Vec<u64>>());
    for number in 0..=100 {
        remove(&mut table, number);
    }
    assert_eq!(table.marked_len(), marked - 34);
    let position = find(&table, 102).unwrap();
    table.set_mark(position, None);
    assert_eq!(table.marked_len(), marked - 35);
    let mut scanned = 0;
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, 50, true, |_| scanned += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, marked - 35);
}

#[test]
fn random_items_are_spread() {
    let mut table = Table::new();
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state ^ state >> 29
    };
    assert!(table.random(false, &mut random).is_none());
    for number in 0..1000 {
        insert(&mut table, number);
    }
    let draws = if cfg!(miri) { 2000 } else { 100_000 };
    let mut counts = BTreeMap::new();
    for _ in 0..draws {
        let item = table.random(false, &mut random).unwrap();
        *counts.entry(item.0.1).or_insert(0u32) += 1;
    }
    if !cfg!(miri) {
        assert_eq!(counts.len(), 1000);
        assert!(counts.values().all(|&count| (30..300).contains(&count)), "each about 100 times");
    }
    let position = find(&table, 7).unwrap();
    assert!(table.random(true, &mut random).is_none());
    table.set_mark(position, Some(1));
    assert_eq!(table.random(true, &mut random).unwrap().0.1, 7);
}

#[test]
fn statistics_count_every_item() {
    let mut table = Table::new();
    assert!(table.statistics(false).to_string().contains("No stats available"));
    for number in 0..1000 {
        let position = insert(&mut table, number);
        if number % 10 == 0 {
            table.set_mark(position, Some(1));
        }
    }
    let text = table.statistics(false).to_string();
    assert!(text.contains(" number of elements: 1000\n"), "{text}");
    assert!(text.contains(&format!(" table size: {}\n", table.capacity() / 7)), "{text}");
    assert!(table.statistics(true).to_string().contains(" number of elements: 100\n"));
    let twice = table.statistics(false).plus(&table.statistics(true));
    assert!(twice.to_string().contains(" number of elements: 1100\n"));
}

/// What is left of a large table is chosen as evenly as what a small one always had.
#[test]
fn random_items_are_spread_after_shrinking() {
    let mut table = Table::new();
    let mut state = 3u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state ^ state >> 29
    };
    for number in 0..MANY {
        insert(&mut table, number);
    }
    let left = if cfg!(miri) { 20 } else { 500 };
    (left..MANY).for_each(|number| assert!(remove(&mut table, number)));
    let draws = left * if cfg!(miri) { 20 } else { 200 };
    let mut counts = vec![0u32; left as usize];
    for _ in 0..draws {
        counts[table.random(false, &mut random).unwrap().0.1 as usize] += 1;
    }
    let expected = f64::from(draws) / f64::from(left);
    let chi_square: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
    let freedom = f64::from(left - 1);
    assert!(chi_square < freedom + 5.0 * (2.0 * freedom).sqrt(), "{chi_square} with {freedom} degrees");
}
