//! Hashes against a model, and their changes of encoding.

use super::*;
use crate::call::EncodingLimits;
use crate::hasher::Hasher;
use proptest::prelude::*;
use shoal_machine::Rng;
use std::collections::{BTreeMap, BTreeSet};

fn limits(entries: usize, value_bytes: usize) -> EncodingLimits {
    EncodingLimits {
        hash_max_listpack_entries: entries,
        hash_max_listpack_value_bytes: value_bytes,
        ..EncodingLimits::default()
    }
}

fn settings(limits: &EncodingLimits) -> Settings<'_> {
    Settings { limits, hasher: Hasher::new(1, 2), keep_size: false }
}

fn hash_of(pairs: &[(&str, &str)], settings: Settings<'_>) -> Hash {
    let mut hash = Hash::default();
    for (name, value) in pairs {
        hash.set(name.as_bytes(), value.as_bytes(), settings);
    }
    hash
}

#[test]
fn encodings_change_as_in_redis() {
    let limits = limits(2, 3);
    let settings = settings(&limits);
    for (pairs, encoding) in [
        (&[("a", "1"), ("b", "2")][..], "listpack"),
        (&[("a", "1"), ("b", "2"), ("a", "3")], "listpack"),
        (&[("a", "1"), ("b", "2"), ("c", "3")], "hashtable"),
        (&[("abc", "def")], "listpack"),
        (&[("abcd", "1")], "hashtable"),
        (&[("a", "1234")], "hashtable"),
    ] {
        assert_eq!(hash_of(pairs, settings).encoding(), encoding, "{pairs:?}");
    }
    for (words, encoding) in [
        (&["a", "1", "b", "2"][..], "listpack"),
        (&["a", "1", "a", "2", "a", "3"], "hashtable"),
        (&["a", "1234"], "hashtable"),
    ] {
        let mut hash = Hash::default();
        hash.expect(words.iter().map(|word| word.as_bytes()), settings);
        assert_eq!(hash.encoding(), encoding, "{words:?}");
    }
}

#[test]
fn hashes_of_files_keep_to_the_limits() {
    let limits = limits(2, 3);
    let settings = settings(&limits);
    let listpack = |words: &[&'static str]| words.iter().map(|word| word.as_bytes()).collect::<Listpack>();
    for (words, encoding) in [
        (&["a", "1", "b", "1"][..], Some("listpack")),
        (&["a", "1", "b", "1", "c", "1"], Some("hashtable")),
        (&["a", "1", "b"], None),
        (&["a", "1", "a", "2"], None),
    ] {
        let hash = Hash::from_listpack(listpack(words), true, settings);
        assert_eq!(hash.as_ref().map(Hash::encoding), encoding, "{words:?}");
    }
}

fn in_each_encoding(count: usize) -> [Hash; 2] {
    [count, 0].map(|entries| {
        let limits = limits(entries, 64);
        let mut hash = Hash::default();
        for number in 0..count {
            let (name, value) = (format!("f{number}"), number.to_string());
            assert!(hash.set(name.as_bytes(), value.as_bytes(), settings(&limits)));
        }
        assert_eq!(hash.encoding(), if entries == 0 { "hashtable" } else { "listpack" });
        hash
    })
}

fn check_pair(name: Element<'_>, value: Element<'_>) -> Vec<u8> {
    let expected = [b"f".as_slice(), &value.to_vec()].concat();
    assert_eq!(name.to_vec(), expected, "the field has its own value");
    expected
}

#[test]
fn random_fields_and_scans() {
    let mut rng = Rng::new(3);
    for hash in in_each_encoding(200) {
        for count in [0, 1, 50, 150, 200, 1000] {
            let mut names = BTreeSet::new();
            hash.sample(count, &mut rng, |name, value| assert!(names.insert(check_pair(name, value))));
            assert_eq!(names.len(), count.min(200));
        }
        let mut names = BTreeSet::new();
        let mut drawn = 0;
        hash.draw(3000, &mut rng, |name, value| {
            names.insert(check_pair(name, value));
            drawn += 1;
            drawn < 2900
        });
        assert_eq!((names.len(), drawn), (200, 2900));
        let (name, value) = hash.random(&mut rng).unwrap();
        check_pair(name, value);
        let (mut seen, mut cursor) = (BTreeSet::new(), 0);
        loop {
            cursor = hash.scan(cursor, 10, |name, value| assert!(seen.insert(check_pair(name, value))));
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), 200);
    }
}

#[test]
fn equal_hashes_have_equal_digests() {
    let [first, second] = in_each_encoding(50).map(|hash| {
        let mut digest = Digest::default();
        hash.mix_into(&mut digest);
        digest
    });
    assert_eq!(first, second);
    assert_ne!(first, Digest::default());
}

#[test]
fn fields_are_small() {
    let limits = limits(0, 64);
    let mut hash = Hash::default();
    for number in 0..100_000 {
        hash.set(format!("field:{number:09}").as_bytes(), b"value-of-12b", settings(&limits));
    }
    let (whole, sampled) = (hash.size_bytes(0), hash.size_bytes(5));
    assert!(whole / 100_000 <= 45, "{} bytes per field", whole / 100_000);
    assert!(whole.abs_diff(sampled) < whole / 100);
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..20i64).prop_map(|number| number.to_string().into_bytes()),
        3 => "[a-d]{0,2}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #[test]
    fn a_hash_does_what_a_map_does(
        steps in prop::collection::vec((0..4u8, word(), word()), 0..150),
        entries in prop_oneof![Just(0usize), Just(10), Just(1000)],
    ) {
        let limits = limits(entries, 250);
        let settings = settings(&limits);
        let (mut hash, mut model) = (Hash::default(), BTreeMap::new());
        for (kind, name, value) in steps {
            match kind {
                0 | 1 => {
                    let is_new = hash.set(&name, &value, settings);
                    prop_assert_eq!(is_new, model.insert(name, value).is_none());
                }
                2 => prop_assert_eq!(hash.remove(&name, settings), model.remove(&name).is_some()),
                _ => {
                    prop_assert_eq!(hash.value(&name).map(Element::to_vec), model.get(&name).cloned());
                    prop_assert_eq!(hash.contains(&name), model.contains_key(&name));
                }
            }
            prop_assert_eq!(hash.len(), model.len());
        }
        let texts = |hash: &Hash| -> BTreeMap<_, _> {
            hash.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
        };
        prop_assert_eq!(&texts(&hash), &model);
        prop_assert_eq!(&texts(&hash.clone()), &model);
    }

    #[test]
    fn a_hash_with_expiries_does_what_a_map_does(
        steps in prop::collection::vec((0..8u8, 0..12u8, 0..40u64), 0..150),
        entries in prop_oneof![Just(0usize), Just(5), Just(1000)],
        limit in 1..20usize,
    ) {
        let limits = limits(entries, 250);
        let settings = settings(&limits);
        let mut hash = Hash::default();
        let mut model: BTreeMap<Vec<u8>, (u64, Option<u64>)> = BTreeMap::new();
        let mut now = 0;
        for (kind, name, number) in steps {
            let name = format!("f{name}").into_bytes();
            match kind {
                0 | 1 => {
                    let is_new = hash.set(&name, number.to_string().as_bytes(), settings);
                    prop_assert_eq!(is_new, model.insert(name, (number, None)).is_none());
                }
                2 => {
                    let is_new = hash.set_and_keep_expiry(&name, number.to_string().as_bytes(), settings);
                    prop_assert_eq!(is_new, !model.contains_key(&name));
                    model.entry(name).or_default().0 = number;
                }
                3 => prop_assert_eq!(hash.remove(&name, settings), model.remove(&name).is_some()),
                4 | 5 => {
                    let expiry_ms = (kind == 4).then_some(now + number);
                    if let Some(field) = model.get_mut(&name) {
                        field.1 = expiry_ms;
                        hash.set_expiry(&name, expiry_ms, settings);
                    }
                }
                6 => now += number / 4,
                _ => {
                    let mut due: Vec<_> = model
                        .iter()
                        .filter_map(|(name, (_, at))| at.filter(|at| *at <= now).map(|at| (at, name.clone())))
                        .collect();
                    due.sort();
                    due.truncate(limit);
                    let mut gone = Vec::new();
                    let count = hash.remove_due(now, limit, settings, |name| gone.push(name.to_vec()));
                    prop_assert_eq!(count, gone.len());
                    prop_assert_eq!(&gone, &due.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>());
                    for name in &gone {
                        model.remove(name);
                    }
                }
            }
            let is_shown = |(_, at): &(u64, Option<u64>)| at.is_none_or(|at| at > now);
            let shown: BTreeMap<_, _> = model.iter().filter(|(_, field)| is_shown(field)).collect();
            let live = hash.live(now);
            prop_assert_eq!((hash.len(), live.len()), (model.len(), shown.len()));
            prop_assert_eq!(hash.first_expiry_ms(), model.values().filter_map(|(_, at)| *at).min());
            prop_assert_eq!(live.random(&mut Rng::new(number)).is_some(), !shown.is_empty());
            for (name, (value, at)) in &model {
                prop_assert_eq!(hash.expiry_ms(name), *at);
                let expected = shown.contains_key(name).then(|| value.to_string().into_bytes());
                prop_assert_eq!(live.contains(name), expected.is_some());
                prop_assert_eq!(live.value(name).map(Element::to_vec), expected);
            }
            let listed: BTreeSet<_> = live.iter().map(|(name, _)| name.to_vec()).collect();
            prop_assert_eq!(listed, shown.keys().map(|name| name.to_vec()).collect::<BTreeSet<_>>());
        }
    }
}
