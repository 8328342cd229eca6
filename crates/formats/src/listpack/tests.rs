//! Listpacks against a plain list, and against the bytes of Redis.

use super::*;
use proptest::prelude::*;

fn texts(listpack: &Listpack) -> Vec<String> {
    listpack.iter().map(|element| String::from_utf8_lossy(&element.to_vec()).into_owned()).collect()
}

#[test]
fn the_bytes_are_those_of_redis() {
    // From DUMP of a hash made by HSET h a 1 and of a list made by RPUSH l 4095 4096 -1 by Redis 7.0.
    let hash: Listpack = [&b"a"[..], b"1"].into_iter().collect();
    assert_eq!(hash.as_bytes(), b"\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff");
    let list: Listpack = [&b"4095"[..], b"4096", b"-1"].into_iter().collect();
    assert_eq!(list.as_bytes(), b"\x11\0\0\0\x03\0\xcf\xff\x02\xf1\x00\x10\x03\xdf\xff\x02\xff");
}

#[test]
fn every_size_of_integer_and_string_comes_back() {
    let mut listpack = Listpack::new();
    let mut model = Vec::new();
    for shift in 0..64 {
        for integer in [1i64.wrapping_shl(shift), (1i64.wrapping_shl(shift)).wrapping_neg()] {
            for near in [integer.wrapping_sub(1), integer, integer.wrapping_add(1)] {
                model.push(near.to_string().into_bytes());
            }
        }
    }
    for length in
        [0, 1, 61, 62, 63, 64, 125, 126, 127, 128, 4095, 4096, 16377, 16378, 16383, 16384, 2_097_150]
    {
        model.push(vec![b'x'; length]);
    }
    model.extend([b"007".to_vec(), b"-0".to_vec(), b"+1".to_vec(), b"9223372036854775808".to_vec()]);
    for text in &model {
        listpack.push(text);
    }
    assert!(listpack.iter().map(Element::to_vec).eq(model.iter().cloned()));
    let mut here = listpack.last();
    for text in model.iter().rev() {
        let at = here.unwrap();
        assert_eq!(&listpack.get(at).to_vec(), text);
        here = listpack.previous(at);
    }
    assert_eq!(here, None);
    assert_eq!(validate(listpack.as_bytes()), Ok(model.len()));
}

#[test]
fn many_elements_are_counted_one_by_one() {
    let mut listpack = Listpack::new();
    for number in 0..65_536 {
        listpack.push_element(Element::Integer(number));
        if [65_533, 65_534, 65_535].contains(&number) {
            assert_eq!(listpack.len() as i64, number + 1);
        }
    }
    assert_eq!(listpack.seek(65_535).map(|at| listpack.get(at)), Some(Element::Integer(65_535)));
    assert_eq!(listpack.seek(65_536), None);
    assert_eq!(listpack.remove(listpack.first().unwrap(), 10), 10);
    assert_eq!(listpack.len(), 65_526);
    assert_eq!(validate(listpack.as_bytes()), Ok(65_526));
}

#[test]
fn indexes_count_from_both_ends() {
    let listpack: Listpack = [&b"a"[..], b"b", b"3", b"d"].into_iter().collect();
    for (index, expected) in
        [(0, Some("a")), (3, Some("d")), (4, None), (-1, Some("d")), (-4, Some("a")), (-5, None)]
    {
        let found = listpack.seek(index).map(|at| String::from_utf8(listpack.get(at).to_vec()).unwrap());
        assert_eq!(found.as_deref(), expected, "{index}");
    }
    assert_eq!(Listpack::new().seek(0), None);
    assert_eq!(Listpack::new().seek(-1), None);
    assert_eq!(Listpack::new().seek(i64::MIN), None);
    let at = listpack.find(listpack.first(), b"3", 1).unwrap();
    assert_eq!(listpack.get(at), Element::Integer(3));
    assert_eq!(listpack.find(listpack.first(), b"d", 1), None);
}

#[test]
fn listpacks_split_and_join() {
    let mut first: Listpack = [&b"a"[..], b"b", b"c"].into_iter().collect();
    let rest = first.split_off(first.seek(1).unwrap());
    assert_eq!((texts(&first), texts(&rest)), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    first.append(&rest);
    assert_eq!(texts(&first), ["a", "b", "c"]);
    assert_eq!(validate(first.as_bytes()), Ok(3));
}

#[test]
fn damage_is_found() {
    let sound: Listpack = [&b"text"[..], b"12345678", &[b'x'; 100]].into_iter().collect();
    assert!(validate(&sound.as_bytes()[..sound.byte_len() - 1]).is_err());
    for at in 0..sound.byte_len() {
        for bit in 0..8 {
            let mut damaged = sound.as_bytes().to_vec();
            damaged[at] ^= 1 << bit;
            // Damage inside a string cannot be told from another string; nothing else may pass.
            if validate(&damaged).is_ok() {
                fuzz_listpack(&damaged);
            }
        }
    }
    for bytes in [&b""[..], b"\x07\0\0\0\0\0", b"\x07\0\0\0\x01\0\xff", b"\x08\0\0\0\x01\0\xff\xff"] {
        assert_eq!(validate(bytes), Err(Malformed));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    PushFront(Vec<u8>),
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let text = prop_oneof![
        any::<i64>().prop_map(|integer| integer.to_string().into_bytes()),
        (-5000i64..5000).prop_map(|integer| integer.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..200),
    ];
    (0..6u8, 0..30usize, 0..5usize, text).prop_map(|(kind, index, count, text)| match kind {
        0 | 1 => Step::Push(text),
        2 => Step::PushFront(text),
        3 => Step::Insert(index, text),
        4 => Step::Replace(index, text),
        _ => Step::Remove(index, count),
    })
}

proptest! {
    #[test]
    fn a_listpack_does_what_a_list_does(steps in prop::collection::vec(step(), 0..120)) {
        let (mut listpack, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
        for step in steps {
            match step {
                Step::Push(text) => {
                    listpack.push(&text);
                    model.push(text);
                }
                Step::PushFront(text) => {
                    listpack.push_front(&text);
                    model.insert(0, text);
                }
                Step::Insert(index, text) => if let Some(at) = listpack.seek(index as i64) {
                    let after = listpack.insert_after(at, &text);
                    prop_assert_eq!(&listpack.get(after).to_vec(), &text);
                    listpack.insert_before(at, &text);
                    model.insert(index + 1, text.clone());
                    model.insert(index, text);
                },
                Step::Replace(index, text) => if let Some(at) = listpack.seek(index as i64) {
                    listpack.replace(at, &text);
                    model[index] = text;
                },
                Step::Remove(index, count) => if let Some(at) = listpack.seek(index as i64) {
                    let removed = listpack.remove(at, count);
                    prop_assert_eq!(listpack.is_element(at), index + removed < model.len());
                    model.drain(index..index + removed);
                },
            }
            prop_assert_eq!(listpack.len(), model.len());
        }
        prop_assert!(listpack.iter().map(Element::to_vec).eq(model));
        prop_assert!(validate(listpack.as_bytes()).is_ok());
    }

    /// Few letters, so that strings often share their length, their beginning and their end.
    #[test]
    fn elements_are_found_where_a_list_has_them(
        model in prop::collection::vec("a{0,7}[bc]{0,2}a{0,9}|[0-9]{1,3}|a{60,70}", 0..40),
        wanted in "a{0,7}[bc]{0,2}a{0,9}|[0-9]{1,3}|a{60,70}",
        start in 0..4usize,
        skip in 0..3usize,
    ) {
        let listpack: Listpack = model.iter().map(String::as_bytes).collect();
        for wanted in model.iter().take(5).chain([&wanted]) {
            let expected = (start..model.len()).step_by(skip + 1).find(|index| model[*index] == *wanted);
            let found = listpack.find(listpack.seek(start as i64), wanted.as_bytes(), skip);
            prop_assert_eq!(found, expected.and_then(|index| listpack.seek(index as i64)));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        fuzz_listpack(&bytes);
        let mut framed = EMPTY.to_vec();
        framed.splice(6..6, bytes);
        let total = framed.len() as u32;
        framed[..4].copy_from_slice(&total.to_le_bytes());
        framed[4] = 0xff;
        framed[5] = 0xff;
        fuzz_listpack(&framed);
    }
}
