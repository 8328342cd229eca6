//! Lists of every shape against a plain vector.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<u8>),
    Pop(End),
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    RemoveRange(usize, usize),
    RemoveEqual(Vec<u8>, usize, End),
    Shrink,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (-3i64..3).prop_map(|number| number.to_string().into_bytes()),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..12),
        (0usize..120, any::<bool>())
            .prop_map(|(length, first)| vec![if first { b'x' } else { b'y' }; length]),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (end(), text()).prop_map(|(end, text)| Step::Push(end, text)),
        2 => end().prop_map(Step::Pop),
        4 => (any::<usize>(), text()).prop_map(|(index, text)| Step::Insert(index, text)),
        3 => (any::<usize>(), text()).prop_map(|(index, text)| Step::Replace(index, text)),
        1 => (any::<usize>(), 0usize..9).prop_map(|(index, count)| Step::RemoveRange(index, count)),
        1 => (text(), prop_oneof![Just(usize::MAX), 1usize..3], end())
            .prop_map(|(text, limit, end)| Step::RemoveEqual(text, limit, end)),
        1 => Just(Step::Shrink),
    ]
}

fn limits() -> impl Strategy<Value = EncodingLimits> {
    (
        prop_oneof![1i32..9, Just(0), Just(-1), Just(i32::MAX)],
        0u32..4,
        prop_oneof![Just(0usize), Just(5), Just(60), Just(usize::MAX)],
    )
        .prop_map(|(size, depth, threshold)| EncodingLimits {
            list_max_listpack_size: size,
            list_compress_depth: depth,
            quicklist_packed_threshold_bytes: threshold,
            ..EncodingLimits::default()
        })
}

fn carry_out(list: &mut List, model: &mut Vec<Vec<u8>>, step: &Step, limits: &EncodingLimits) {
    match step {
        Step::Push(end, text) => {
            list.make_room(1, text.len(), limits);
            list.push(*end, NewElement::new(text), limits);
            model.insert(if *end == End::Head { 0 } else { model.len() }, text.clone());
        }
        Step::Pop(end) => {
            let last = model.len().checked_sub(1);
            let expected = last.map(|last| model.remove(if *end == End::Head { 0 } else { last }));
            assert_eq!(list.pop(*end, |text| text.to_vec()), expected);
        }
        Step::Insert(index, text) => {
            let index = index % (model.len() + 1);
            list.make_room(1, text.len(), limits);
            list.insert(index, NewElement::new(text), limits);
            model.insert(index, text.clone());
        }
        Step::Replace(index, text) => {
            let index = index % (model.len() + 1);
            list.make_room(1, text.len(), limits);
            let is_there = list.replace(index, NewElement::new(text), limits);
            assert_eq!(is_there, index < model.len());
            if is_there {
                model[index] = text.clone();
            }
        }
        Step::RemoveRange(index, count) => {
            let index = index % (model.len() + 1);
            list.remove_range(index, *count);
            model.drain(index..(index + count).min(model.len()));
        }
        Step::RemoveEqual(text, limit, end) => {
            let matches: Vec<_> = (0..model.len()).filter(|index| model[*index] == *text).collect();
            let gone: Vec<_> = match end {
                End::Head => matches.into_iter().take(*limit).collect(),
                End::Tail => matches.into_iter().rev().take(*limit).collect(),
            };
            assert_eq!(list.remove_equal(text, *limit, *end), gone.len());
            let mut index = 0;
            model.retain(|_| {
                index += 1;
                !gone.contains(&(index - 1))
            });
        }
        Step::Shrink => list.shrink(limits),
    }
}

fn texts(list: &List, first: usize, towards: End) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let _ = list.walk(first, towards, |text| {
        texts.push(text.to_vec());
        ControlFlow::Continue(())
    });
    texts
}

fn check(list: &List, model: &[Vec<u8>], limits: &EncodingLimits) {
    assert_eq!(list.len(), model.len());
    assert_eq!(texts(list, 0, End::Tail), model);
    let reversed: Vec<_> = model.iter().rev().cloned().collect();
    assert_eq!(texts(list, model.len().saturating_sub(1), End::Head), reversed);
    for (index, text) in model.iter().enumerate() {
        assert_eq!(list.get(index, |text| text.to_vec()).as_ref(), Some(text));
    }
    assert_eq!(list.get(model.len(), |_| ()), None);
    let List::Quick(quicklist) = list else { return };
    let depth = limits.list_compress_depth as usize;
    let count = quicklist.node_count();
    for (index, node) in quicklist.nodes().enumerate() {
        assert!(!node.is_empty());
        if depth == 0 || index < depth || count - 1 - index < depth {
            assert!(!node.is_compressed(), "node {index} of {count}");
        }
        let too_large =
            Fill::new(limits.list_max_listpack_size).is_exceeded(node.content_bytes(), node.len());
        assert!(!too_large || node.len() == 1, "a node of {} elements", node.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_steps_do_what_they_do_to_a_vector(limits in limits(), steps in proptest::collection::vec(step(), 1..120)) {
        let (mut list, mut model) = (List::default(), Vec::new());
        for step in &steps {
            carry_out(&mut list, &mut model, step, &limits);
            check(&list, &model, &limits);
        }
        let mut copy = Quicklist::new(&limits);
        for part in list.parts() {
            match part {
                Part::Packed(listpack) => copy.push_packed(listpack.into_owned()),
                Part::Plain(bytes) => copy.push_plain(Arc::new(bytes.into_owned())),
            }
        }
        let copy = List::from_quicklist(copy, &limits);
        assert_eq!(texts(&copy, 0, End::Tail), model);
    }
}

fn push_all<'a>(list: &mut List, texts: impl IntoIterator<Item = &'a [u8]>, limits: &EncodingLimits) {
    for text in texts {
        list.make_room(1, text.len(), limits);
        list.push(End::Tail, NewElement::new(text), limits);
    }
}

#[test]
fn inner_nodes_are_compressed() {
    let limits =
        EncodingLimits { list_max_listpack_size: 4, list_compress_depth: 1, ..EncodingLimits::default() };
    let mut list = List::default();
    let text = [b'x'; 100];
    push_all(&mut list, std::iter::repeat_n(&text[..], 20), &limits);
    let compressed = |list: &List| match list {
        List::Quick(quicklist) => quicklist.nodes().map(Node::is_compressed).collect::<Vec<_>>(),
        List::Packed(_) => Vec::new(),
    };
    assert_eq!(compressed(&list), [false, true, true, true, false]);
    for _ in 0..4 {
        list.pop(End::Head, |_| ());
    }
    assert_eq!(compressed(&list), [false, true, true, false]);
    // An element that is changed within a compressed node leaves it compressed.
    list.replace(6, NewElement::new(b"y"), &limits);
    assert_eq!(compressed(&list), [false, true, true, false]);
    assert_eq!(list.remove_equal(b"y", 1, End::Tail), 1);
    assert_eq!(compressed(&list), [false, true, true, false]);
    // Short nodes and such that cannot be compressed stay as they are.
    let mut short = List::default();
    push_all(&mut short, std::iter::repeat_n(&b"aaaaaa"[..], 20), &limits);
    assert_eq!(compressed(&short), [false; 5]);
}

#[test]
fn long_elements_have_nodes_of_their_own_and_keep_their_blocks() {
    let limits = EncodingLimits::default();
    let block: SharedBytes = Arc::new(vec![b'z'; 9000]);
    let mut list = List::default();
    push_all(&mut list, [&b"a"[..], b"b"], &limits);
    list.make_room(1, block.len(), &limits);
    list.push(End::Tail, NewElement { bytes: &block, shared: Some(&block) }, &limits);
    assert_eq!(Arc::strong_count(&block), 2);
    push_all(&mut list, [&b"c"[..]], &limits);
    assert_eq!((list.encoding(), list.part_count(), list.len()), ("quicklist", 3, 4));
    assert_eq!(list.get(2, |text| matches!(text, Text::Shared(_))), Some(true));
    // A short one in its place goes into a listpack again.
    assert!(list.replace(2, NewElement::new(b"short"), &limits));
    assert_eq!(Arc::strong_count(&block), 1);
    assert_eq!(texts(&list, 0, End::Tail), [&b"a"[..], b"b", b"short", b"c"]);
}

#[test]
fn many_insertions_in_the_middle_leave_full_nodes() {
    let limits = EncodingLimits { list_max_listpack_size: 16, ..EncodingLimits::default() };
    let mut list = List::default();
    push_all(&mut list, [&b"first"[..], b"last"], &limits);
    for number in 0..10_000usize {
        let text = number.to_string();
        list.make_room(1, text.len(), &limits);
        list.insert(1 + number / 2, NewElement::new(text.as_bytes()), &limits);
    }
    assert_eq!(list.len(), 10_002);
    assert!(list.part_count() < 10_000 / 6, "{} nodes", list.part_count());
}

#[test]
fn the_row_of_nodes_gives_memory_back() {
    let limits = EncodingLimits { list_max_listpack_size: 1, ..EncodingLimits::default() };
    let mut list = List::default();
    push_all(&mut list, std::iter::repeat_n(&b"element"[..], 10_000), &limits);
    let large = list.size_bytes(0);
    assert!(list.size_bytes(5).abs_diff(large) < large / 100);
    list.remove_range(2, 9_990);
    assert!(list.size_bytes(0) < 4096, "{} bytes", list.size_bytes(0));
}
