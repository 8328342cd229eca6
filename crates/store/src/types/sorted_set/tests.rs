//! Sorted sets against a plain model.

use super::*;
use crate::call::EncodingLimits;
use proptest::prelude::*;
use std::collections::BTreeMap;

const HASHER: Hasher = Hasher::new(5, 6);
/// Miri runs the same tests with fewer members.
const MANY: usize = if cfg!(miri) { 400 } else { 30_000 };

fn limits(entries: usize) -> EncodingLimits {
    EncodingLimits { zset_max_listpack_entries: entries, ..EncodingLimits::default() }
}

/// A score that is put in order as the set does.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Score(f64);

impl Eq for Score {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.partial_cmp(&other.0).expect("no score is not a number")
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The same set twice: by member, and in order.
#[derive(Default)]
struct Model {
    scores: BTreeMap<Vec<u8>, f64>,
    order: std::collections::BTreeSet<(Score, Vec<u8>)>,
}

impl Model {
    fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let before = self.remove(member);
        self.scores.insert(member.to_vec(), score);
        self.order.insert((Score(score), member.to_vec()));
        before
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?;
        assert!(self.order.remove(&(Score(score), member.to_vec())));
        Some(score)
    }

    fn rank(&self, member: &[u8]) -> Option<usize> {
        self.order.iter().position(|(_, other)| other == member)
    }

    fn members(&self) -> Vec<(Vec<u8>, f64)> {
        self.order.iter().map(|(score, member)| (member.clone(), score.0)).collect()
    }
}

fn members<'a>(iter: impl Iterator<Item = (Element<'a>, f64)>) -> Vec<(Vec<u8>, f64)> {
    iter.map(|(member, score)| (member.to_vec(), score)).collect()
}

fn check(set: &SortedSet, model: &Model) {
    assert_eq!(set.len(), model.scores.len());
    assert_eq!(members(set.iter()), model.members());
    let mut backwards = members(set.iter().rev());
    backwards.reverse();
    assert_eq!(backwards, model.members());
    match set {
        SortedSet::Tree(tree) => tree.check(),
        SortedSet::Packed(listpack) => assert!(packed::is_in_order(listpack)),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, f64),
    Remove(u16),
    RemoveRange(usize, usize),
    Range(usize, usize),
    Rank(u16),
    Scores(ScoreRange),
    Lex(u16, u16, bool, bool),
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-10i32..10).prop_map(f64::from),
        2 => (-1000i32..1000).prop_map(|score| f64::from(score) / 7.0),
        2 => (0i64..1 << 45).prop_map(|score| score as f64),
        1 => prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, -1e300]),
    ]
}

fn step(numbers: u16) -> impl Strategy<Value = Step> {
    let bound = || (score(), any::<bool>()).prop_map(|(score, exclusive)| ScoreBound { score, exclusive });
    let number = move || 0..numbers;
    prop_oneof![
        30 => (number(), score()).prop_map(|(number, score)| Step::Insert(number, score)),
        12 => number().prop_map(Step::Remove),
        1 => (0..400usize, 0..40usize).prop_map(|(start, length)| Step::RemoveRange(start, length)),
        3 => (0..400usize, 0..100usize).prop_map(|(start, length)| Step::Range(start, length)),
        3 => number().prop_map(Step::Rank),
        3 => (bound(), bound()).prop_map(|(min, max)| Step::Scores(ScoreRange { min, max })),
        2 => (number(), number(), any::<bool>(), any::<bool>())
            .prop_map(|(min, max, min_in, max_in)| Step::Lex(min, max, min_in, max_in)),
    ]
}

fn name(number: u16) -> Vec<u8> {
    // Some members are integers, some long.
    match number % 5 {
        0 => number.to_string().into_bytes(),
        1 => format!("{:x>300}", number).into_bytes(),
        _ => format!("member:{number}").into_bytes(),
    }
}

fn run(set: &mut SortedSet, model: &mut Model, settings: Settings<'_>, step: &Step) {
    match *step {
        Step::Insert(number, score) => {
            let name = name(number);
            let before = model.scores.get(&name).copied();
            assert_eq!(set.insert(&name, score, settings), before);
            if before != Some(score) {
                model.insert(&name, score);
            }
        }
        Step::Remove(number) => assert_eq!(set.remove(&name(number), settings), model.remove(&name(number))),
        Step::RemoveRange(start, length) => {
            let gone: Vec<_> = model.members().into_iter().skip(start).take(length).collect();
            assert_eq!(set.remove_range(start..start + length, settings), gone.len());
            gone.iter().for_each(|(member, _)| assert!(model.remove(member).is_some()));
        }
        Step::Range(start, length) => {
            let expected: Vec<_> = model.members().into_iter().skip(start).take(length).collect();
            assert_eq!(members(set.range(start..start + length)), expected);
            let mut backwards = members(set.range(start..start + length).rev());
            backwards.reverse();
            assert_eq!(backwards, expected);
            let (mut iter, mut both) = (set.range(start..start + length), (Vec::new(), Vec::new()));
            while let Some((member, score)) = iter.next() {
                both.0.push((member.to_vec(), score));
                both.1.extend(iter.next_back().map(|(member, score)| (member.to_vec(), score)));
            }
            both.0.extend(both.1.into_iter().rev());
            assert_eq!(both.0, expected);
        }
        Step::Rank(number) => {
            let name = name(number);
            assert_eq!(set.score(&name), model.scores.get(&name).copied());
            let rank = model.rank(&name);
            assert_eq!(set.rank(&name), rank.map(|rank| (rank, model.scores[&name])));
        }
        Step::Scores(range) => {
            let inside = |score: &f64| range.min.is_reached_by(*score) && !range.max.is_passed_by(*score);
            let expected = model.members().iter().filter(|(_, score)| inside(score)).count();
            let found = set.interval(&Interval::Score(range), false, 0);
            let backwards = set.interval(&Interval::Score(range), true, 0);
            assert!(found == backwards || (found.is_empty() && backwards.is_empty()));
            assert_eq!(found.len(), expected, "{range:?}");
            assert!(set.range(found).all(|(_, score)| inside(&score)));
        }
        Step::Lex(min, max, min_inside, max_inside) => {
            if model.scores.values().any(|score| *score != 0.0) {
                return;
            }
            let (min, max) = (name(min), name(max));
            let bound = |inside: bool| if inside { LexBound::Inclusive } else { LexBound::Exclusive };
            let range = LexRange { min: bound(min_inside)(&min), max: bound(max_inside)(&max) };
            let inside = |name: &[u8]| range.min.is_reached_by(name) && !range.max.is_passed_by(name);
            let expected = model.scores.keys().filter(|name| inside(name)).count();
            let found = set.interval(&Interval::Lex(range), min_inside, 0);
            assert_eq!(found.len(), expected);
            assert!(set.range(found).all(|(member, _)| member.with_text(inside)));
        }
    }
}

proptest! {
    #[test]
    fn a_sorted_set_does_what_the_model_does(
        entries in prop::sample::select(vec![0usize, 10, 10_000]),
        same_score in any::<bool>(),
        steps in prop::collection::vec(step(600), 1..if cfg!(miri) { 60 } else { 900 }),
    ) {
        let limits = EncodingLimits { zset_max_listpack_value_bytes: 400, ..limits(entries) };
        let settings = Settings { limits: &limits, hasher: HASHER, keep_size: false };
        let (mut set, mut model) = (SortedSet::default(), Model::default());
        for step in &steps {
            match step {
                Step::Insert(number, _) if same_score => {
                    run(&mut set, &mut model, settings, &Step::Insert(*number, 0.0));
                }
                step => run(&mut set, &mut model, settings, step),
            }
        }
        check(&set, &model);
        check(&set.clone(), &model);
        let mut seen = BTreeMap::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 7, |member, score| {
                seen.insert(member.to_vec(), score);
            });
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(seen, model.scores);
    }
}

fn filled(numbers: impl Iterator<Item = usize>, score: impl Fn(usize) -> f64) -> SortedSet {
    let limits = limits(0);
    let settings = Settings { limits: &limits, hasher: HASHER, keep_size: false };
    let mut set = SortedSet::default();
    for number in numbers {
        set.insert(format!("member:{number:09}").as_bytes(), score(number), settings);
    }
    set
}

/// Numbers that look random, each once.
fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| (index * 7919) % count)
}

#[test]
fn large_sets_stay_in_order_and_well_filled() {
    /// What a member of 16 bytes may take: its block, its share of the table, its share of the leaves.
    const BYTES_MAX: usize = 60;
    let orders: [(&str, Vec<usize>); 5] = [
        ("ascending", (0..MANY).collect()),
        ("descending", (0..MANY).rev().collect()),
        ("shuffled", shuffled(MANY).collect()),
        ("from both ends", (0..MANY / 2).flat_map(|number| [number, MANY - 1 - number]).collect()),
        ("in runs", (0..MANY).map(|index| index % 10 * (MANY / 10) + index / 10).collect()),
    ];
    for (name, order) in orders {
        for same_score in [false, true] {
            let set = filled(order.iter().copied(), |number| if same_score { 0.0 } else { number as f64 });
            let SortedSet::Tree(tree) = &set else { panic!("a large set is a tree") };
            tree.check();
            for (rank, (member, _)) in set.iter().enumerate().step_by(97) {
                let member = member.to_vec();
                assert_eq!(member, format!("member:{rank:09}").into_bytes());
                assert_eq!(set.rank(&member).map(|(rank, _)| rank), Some(rank));
            }
            let bytes = set.size_bytes(0) / MANY;
            assert!(cfg!(miri) || bytes <= BYTES_MAX, "{bytes} bytes per member, {name}");
            let estimated = set.size_bytes(5) / MANY;
            assert!(cfg!(miri) || bytes.abs_diff(estimated) <= 3, "{bytes} are taken for {estimated}");
        }
    }
}

#[test]
fn what_is_taken_out_gives_its_memory_back() {
    let limits = limits(0);
    let settings = Settings { limits: &limits, hasher: HASHER, keep_size: false };
    let mut set = filled(shuffled(MANY), |number| (number / 10) as f64);
    let full = set.size_bytes(0);
    for number in shuffled(MANY).filter(|number| number % 10 != 3) {
        assert!(set.remove(format!("member:{number:09}").as_bytes(), settings).is_some());
    }
    let SortedSet::Tree(tree) = &set else { panic!("a large set stays a tree") };
    tree.check();
    let left = set.size_bytes(0);
    assert!(cfg!(miri) || left * 6 < full, "{left} of {full} bytes are left with a tenth of the members");
    assert_eq!(set.remove_range(0..usize::MAX, settings), MANY / 10);
    assert!(set.is_empty());
}

#[test]
fn random_members_are_spread() {
    let set = filled(0..50, |number| number as f64);
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state
    };
    let mut counts = [0; 50];
    for _ in 0..5000 {
        counts[set.random(&mut random).unwrap().1 as usize] += 1;
    }
    assert!(counts.iter().all(|count| (40..200).contains(count)), "{counts:?}");
    assert!(SortedSet::default().random(random).is_none());
}

#[test]
fn listpacks_of_files_are_taken_as_they_are_or_put_right() {
    let limits = limits(3);
    let settings = Settings { limits: &limits, hasher: HASHER, keep_size: false };
    let listpack = |texts: &[&'static str]| texts.iter().map(|text| text.as_bytes()).collect::<Listpack>();
    for (texts, expected) in [
        (&["a", "1", "b", "2.5"][..], Some("listpack a 1 b 2.5")),
        (&["b", "2", "a", "1"], Some("listpack a 1 b 2")),
        (&["b", "1", "a", "1"], Some("listpack a 1 b 1")),
        (&["a", "1", "b", "2", "c", "3", "d", "inf"], Some("skiplist a 1 b 2 c 3 d inf")),
        (&["a", "1", "a", "2"], None),
        (&["a", "1", "b"], None),
        (&["a", "x"], None),
        (&["a", "nan"], None),
    ] {
        let set = SortedSet::from_listpack(listpack(texts), true, settings);
        let shown = set.map(|set| {
            let members = set.iter().map(|(member, score)| {
                format!(" {} {:?}", String::from_utf8_lossy(&member.to_vec()), DoubleText::shortest(score))
            });
            format!("{}{}", set.encoding(), members.collect::<String>())
        });
        assert_eq!(shown.as_deref(), expected, "{texts:?}");
    }
}
