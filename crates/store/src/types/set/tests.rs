//! Sets against a model, and their changes of encoding.

use super::*;
use crate::call::EncodingLimits;
use crate::hasher::Hasher;
use proptest::prelude::*;
use shoal_machine::Rng;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static LIMITS: LazyLock<EncodingLimits> = LazyLock::new(|| EncodingLimits {
    set_max_intset_entries: 8,
    set_max_listpack_entries: 6,
    set_max_listpack_value_bytes: 10,
    ..EncodingLimits::default()
});

fn settings() -> Settings<'static> {
    Settings { limits: &LIMITS, hasher: Hasher::new(1, 2), keep_size: false }
}

fn set_of(members: &[&str]) -> Set {
    let mut set = Set::default();
    for member in members {
        set.insert(member.as_bytes(), settings());
    }
    set
}

fn texts(set: &Set) -> BTreeSet<Vec<u8>> {
    let mut texts = BTreeSet::new();
    set.iter().for_each(|member| assert!(texts.insert(member.to_vec()), "no member twice"));
    texts
}

#[test]
fn encodings_change_as_in_redis() {
    let numbers: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for (members, encoding) in [
        (&numbers[..8], "intset"),
        (&numbers[..9], "hashtable"),
        (&["1", "2", "a"], "listpack"),
        (&["1", "2", "a", "b", "c", "d"], "listpack"),
        (&["1", "2", "a", "b", "c", "d", "e"], "hashtable"),
        (&["a", "a", "a", "a", "a", "a", "a"], "listpack"),
        (&["1", "2", "elevenbytes"], "hashtable"),
        (&["a", "elevenbytes"], "hashtable"),
        (&["a", "ten-bytes!"], "listpack"),
        // As a listpack the integers would be too long, or too many.
        (&["12345678901", "a"], "hashtable"),
        (&["-1234567890", "a"], "hashtable"),
        (&["1", "2", "3", "4", "5", "6", "a"], "hashtable"),
        (&["1", "2", "3", "4", "5", "a"], "listpack"),
    ] {
        assert_eq!(set_of(members).encoding(), encoding, "{members:?}");
    }
}

#[test]
fn a_new_set_has_room_for_what_comes() {
    for (first, count, encoding) in
        [("1", 8, "intset"), ("1", 9, "hashtable"), ("a", 6, "listpack"), ("a", 7, "hashtable")]
    {
        assert_eq!(Set::for_members(first.as_bytes(), count, settings()).encoding(), encoding);
    }
    let mut set = set_of(&["a"]);
    set.expect(6, settings());
    assert_eq!(set.encoding(), "listpack");
    set.expect(7, settings());
    assert_eq!(set.encoding(), "hashtable");
}

#[test]
fn sets_of_files_keep_to_the_limits() {
    let listpack: Listpack = [&b"a"[..], b"1", b"b"].into_iter().collect();
    let set = Set::from_listpack(listpack.clone(), true, settings()).unwrap();
    assert_eq!((set.encoding(), set.len()), ("listpack", 3));
    let mut twice = listpack;
    twice.push(b"1");
    assert!(Set::from_listpack(twice, true, settings()).is_none());
    let many: Listpack = [&b"1"[..], b"2", b"3", b"4", b"5", b"6", b"7"].into_iter().collect();
    assert_eq!(Set::from_listpack(many, true, settings()).unwrap().encoding(), "hashtable");
    let mut intset = Intset::new();
    (0..9).for_each(|integer| assert!(intset.insert(integer)));
    assert_eq!(Set::from_intset(intset, settings()).encoding(), "hashtable");
}

#[test]
fn integers_again() {
    let mut set = set_of(&["1", "2", "a"]);
    set.become_integers_if_possible(settings());
    assert_eq!(set.encoding(), "listpack");
    set.remove(b"a", settings());
    set.become_integers_if_possible(settings());
    assert_eq!((set.encoding(), texts(&set).len()), ("intset", 2));
}

/// A set of `count` members in each encoding, with limits that allow it.
fn in_each_encoding(count: usize) -> Vec<Set> {
    let wide = EncodingLimits { set_max_intset_entries: count, set_max_listpack_entries: count, ..*LIMITS };
    let none = EncodingLimits { set_max_intset_entries: 0, set_max_listpack_entries: 0, ..*LIMITS };
    let make = |limits: &EncodingLimits, mut set: Set| {
        let settings = Settings { limits, ..settings() };
        for number in 0..count {
            assert!(set.insert(number.to_string().as_bytes(), settings));
        }
        set
    };
    let sets = vec![
        make(&wide, Set::default()),
        make(&wide, Set::Packed(Listpack::new())),
        make(&none, Set::default()),
    ];
    let encodings: Vec<_> = sets.iter().map(Set::encoding).collect();
    assert_eq!(encodings, ["intset", "listpack", "hashtable"]);
    sets
}

#[test]
fn random_members_are_spread_evenly() {
    let mut rng = Rng::new(3);
    const DRAWS: u32 = 60_000;
    for set in in_each_encoding(600) {
        let mut counts = vec![0u32; 600];
        let mut note = |member: Element<'_>| {
            counts[member.with_text(|text| std::str::from_utf8(text).unwrap().parse::<usize>().unwrap())] +=
                1;
        };
        (0..DRAWS / 3).for_each(|_| note(set.random(&mut rng).unwrap()));
        set.draw(u64::from(DRAWS / 3), &mut rng, |member| {
            note(member);
            true
        });
        (0..DRAWS / 3 / 50).for_each(|_| set.sample(50, &mut rng, &mut note));
        // The sum of squared deviations over what is expected has mean 599 and deviation 35 if all is fair.
        let expected = f64::from(DRAWS / 3 / 50 * 50 + DRAWS / 3 * 2) / 600.0;
        let chi_square: f64 =
            counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        assert!(chi_square < 599.0 + 5.0 * 35.0, "{}: {chi_square}", set.encoding());
    }
}

#[test]
fn samples_are_distinct_and_of_the_wanted_size() {
    let mut rng = Rng::new(4);
    for set in in_each_encoding(100) {
        for count in [0, 1, 10, 33, 34, 90, 100, 1000] {
            let mut members = BTreeSet::new();
            set.sample(count, &mut rng, |member| assert!(members.insert(member.to_vec())));
            assert_eq!(members.len(), count.min(100), "{}", set.encoding());
        }
        let mut drawn = 0;
        set.draw(1000, &mut rng, |_| {
            drawn += 1;
            drawn < 7
        });
        assert_eq!(drawn, 7);
    }
}

#[test]
fn a_scan_of_a_table_visits_each_member() {
    for set in in_each_encoding(1000) {
        for count in [1, 10, 5000] {
            let (mut seen, mut cursor) = (BTreeSet::new(), 0);
            loop {
                cursor = set.scan(cursor, count, |member| assert!(seen.insert(member.to_vec())));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen.len(), 1000);
        }
    }
}

#[test]
fn equal_sets_have_equal_digests() {
    let digests: Vec<_> = in_each_encoding(50)
        .iter()
        .map(|set| {
            let mut digest = Digest::default();
            set.mix_into(&mut digest);
            digest
        })
        .collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    assert_ne!(digests[0], Digest::default());
}

#[test]
fn members_are_small() {
    let mut set = Set::Table(Box::new(Members::new(Hasher::new(1, 2))));
    for number in 0..100_000 {
        set.insert(format!("member:{number:09}").as_bytes(), settings());
    }
    let (whole, sampled) = (set.size_bytes(0), set.size_bytes(5));
    assert!(whole / 100_000 <= 36, "{} bytes per member", whole / 100_000);
    assert!(whole.abs_diff(sampled) < whole / 100);
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..30i64).prop_map(|number| number.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        3 => "[a-d]{0,2}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #[test]
    fn a_set_does_what_a_set_does(steps in prop::collection::vec((0..5u8, member()), 0..150)) {
        let (mut set, mut model) = (Set::default(), BTreeSet::new());
        for (kind, member) in steps {
            match kind {
                0 | 1 => {
                    let inserted = set.insert(&member, settings());
                    prop_assert_eq!(inserted, model.insert(member.clone()));
                }
                2 => prop_assert_eq!(set.remove(&member, settings()), model.remove(&member)),
                3 => prop_assert_eq!(set.contains(&member), model.contains(&member)),
                _ => prop_assert_eq!(set.contains_element(Element::Bytes(&member)), model.contains(&member)),
            }
            prop_assert_eq!(set.len(), model.len());
        }
        prop_assert_eq!(&texts(&set), &model);
        prop_assert_eq!(&texts(&set.clone()), &model);
    }
}
