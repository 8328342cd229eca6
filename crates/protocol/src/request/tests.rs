//! Tests of the reader of requests.

use super::*;
use proptest::prelude::*;

type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// What a reader makes of `input` when it comes in pieces of these sizes.
fn read(input: &[u8], sizes: &[usize], limits: &Limits) -> Outcome {
    let mut reader = RequestReader::new();
    let mut requests = Vec::new();
    let mut at = 0;
    let mut sizes = sizes.iter().copied().cycle();
    while at < input.len() {
        let size = sizes.next().unwrap_or(1).clamp(1, input.len() - at);
        reader.feed(&input[at..at + size]);
        at += size;
        // A look ahead changes nothing, whatever has arrived.
        reader.upcoming(16, |_| {});
        loop {
            match reader.next(limits) {
                Ok(Some(request)) => requests.push(request.iter().map(<[u8]>::to_vec).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn words(requests: &[&[&str]]) -> Vec<Vec<Vec<u8>>> {
    requests.iter().map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect()).collect()
}

#[test]
fn a_large_argument_waits_alone() {
    let size = 1_000_000;
    let mut reader = RequestReader::new();
    reader.feed(format!("*2\r\n${size}\r\n").as_bytes());
    assert!(reader.next(&Limits::default()).unwrap().is_none());
    reader.feed(&vec![b'v'; size / 2]);
    assert!(reader.next(&Limits::default()).unwrap().is_none());
    assert_eq!(reader.waiting_bytes(), size / 2);
    reader.feed(&vec![b'v'; size / 2]);
    assert!(reader.next(&Limits::default()).unwrap().is_none());
    assert_eq!(reader.waiting_bytes(), size);
}

#[test]
fn well_formed_input() {
    let cases: &[(&str, &[&[&str]])] = &[
        ("*1\r\n$4\r\nPING\r\n", &[&["PING"]]),
        ("PING\r\n", &[&["PING"]]),
        ("PING\n\n  \r\nset a 'b c'\n", &[&["PING"], &["set", "a", "b c"]]),
        ("*2\r\n$3\r\nGET\r\n$0\r\n\r\n*0\r\n*-1\r\nPING\r\n", &[&["GET", ""], &["PING"]]),
        ("*1\r\n$4\r\nPI", &[]),
    ];
    for (input, expected) in cases {
        assert_eq!(read(input.as_bytes(), &[1000], &Limits::default()), (words(expected), None), "{input:?}");
    }
}

#[test]
fn malformed_input_gets_the_texts_of_redis() {
    let narrow = Limits { authenticated: false, ..Limits::default() };
    let small = Limits { max_bulk_bytes: 10, max_buffer_bytes: 100, ..Limits::default() };
    let long = "x".repeat(INLINE_MAX_BYTES + 1);
    let cases: &[(String, Limits, &str)] = &[
        ("*x\r\n".into(), Limits::default(), "invalid multibulk length"),
        ("*2147483648\r\n".into(), Limits::default(), "invalid multibulk length"),
        ("*1\r\nPING\r\n".into(), Limits::default(), "expected '$', got 'P'"),
        ("*1\r\n$-1\r\n".into(), Limits::default(), "invalid bulk length"),
        ("*1\r\n$x\r\n".into(), Limits::default(), "invalid bulk length"),
        ("*1\r\n$11\r\n".into(), small, "invalid bulk length"),
        ("*11\r\n".into(), narrow, "unauthenticated multibulk length"),
        ("*1\r\n$16385\r\n".into(), narrow, "unauthenticated bulk length"),
        ("set a \"b\r\n".into(), Limits::default(), "unbalanced quotes in request"),
        (long.clone(), Limits::default(), "too big inline request"),
        (format!("*{long}"), Limits::default(), "too big mbulk count string"),
        (format!("*1\r\n${long}"), Limits::default(), "too big bulk count string"),
    ];
    for (input, limits, text) in cases {
        let (_, error) = read(input.as_bytes(), &[usize::MAX], limits);
        assert_eq!(error.map(|error| error.to_string()), Some(format!("Protocol error: {text}")));
    }
    let (_, error) = read(&[b'a'; 200], &[usize::MAX], &small);
    assert_eq!(error, Some(ProtocolError::BufferLimit));
}

#[test]
fn a_large_argument_is_shared_and_not_in_the_buffer() {
    let value = vec![b'v'; 3 * LARGE_ARGUMENT_STEP_BYTES];
    let mut reader = RequestReader::new();
    reader.feed(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes());
    assert!(reader.next(&Limits::default()).unwrap().is_none());
    reader.feed(&value);
    reader.feed(b"\r\nPING\r\n");
    let request = reader.next(&Limits::default()).unwrap().unwrap();
    assert_eq!(request.argument(1), b"k");
    assert_eq!(**request.shared(2).unwrap(), value);
    let kept = OwnedRequest::copy(&request);
    assert!(Arc::ptr_eq(kept.as_request().shared(2).unwrap(), request.shared(2).unwrap()));
    assert_eq!(reader.next(&Limits::default()).unwrap().unwrap().argument(0), b"PING");
}

#[test]
fn a_declared_length_alone_allocates_little() {
    let mut reader = RequestReader::new();
    reader.feed(b"*1000000000\r\n$536870912\r\n");
    assert!(reader.next(&Limits::default()).unwrap().is_none());
    reader.space();
    assert!(reader.capacity_bytes() < 2 * LARGE_ARGUMENT_STEP_BYTES);
}

#[test]
fn upcoming_requests_show_their_first_words() {
    let mut reader = RequestReader::new();
    reader.feed(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\nbb\r\n$1\r\n1\r\n*2\r\n$3\r\nGET\r\n$5\r\nc");
    let keys = |reader: &RequestReader, limit| {
        let mut keys = Vec::new();
        reader.upcoming(limit, |words| keys.push(String::from_utf8_lossy(words[0]).into_owned()));
        keys
    };
    assert_eq!(keys(&reader, 16), ["a", "bb"]);
    assert_eq!(keys(&reader, 2), ["a"]);
    assert!(reader.next(&Limits::default()).unwrap().is_some());
    assert_eq!(keys(&reader, 16), ["bb"]);
    for end in 0..=40 {
        let mut partial = RequestReader::new();
        partial.feed(&b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"[..end]);
        assert_eq!(keys(&partial, 16).len(), usize::from(end >= 20) + usize::from(end >= 40), "{end}");
    }
    let mut longer = RequestReader::new();
    longer.feed(b"*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n$0\r\n\r\n$1\r\nd\r\n*3\r\n$3\r\nSET\r\n$1\r\ne\r\n$1\r\nf\r\n");
    let mut words = Vec::new();
    longer.upcoming(16, |upcoming| words.push(upcoming));
    assert_eq!(words, [[&b"a"[..], b"b", b""], [b"e", b"f", b""]]);
    let mut broken = RequestReader::new();
    broken.feed(b"*2\r\n$99999999\r\nx");
    assert!(keys(&broken, 16).is_empty());
}

#[test]
fn a_request_can_be_put_back() {
    let mut reader = RequestReader::new();
    reader.feed(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING 1\r\n");
    for _ in 0..3 {
        let request = reader.next(&Limits::default()).unwrap().unwrap();
        assert_eq!((request.len(), request.argument(1)), (2, &b"a"[..]));
        reader.put_back();
    }
    assert!(reader.next(&Limits::default()).unwrap().is_some());
    assert_eq!(reader.next(&Limits::default()).unwrap().unwrap().argument(0), b"PING");
    reader.put_back();
    assert_eq!(reader.next(&Limits::default()).unwrap().unwrap().argument(1), b"1");
    assert!(reader.next(&Limits::default()).unwrap().is_none());
}

#[test]
fn a_lent_buffer_comes_back() {
    let mut lent = vec![0; 64 * 1024];
    let mut reader = RequestReader::new();
    reader.lend(&mut lent);
    assert!(lent.is_empty());
    reader.feed(b"PING\r\nGET ");
    assert!(reader.next(&Limits::default()).unwrap().is_some());
    assert!(reader.next(&Limits::default()).unwrap().is_none());
    reader.give_back(&mut lent);
    assert_eq!(lent.len(), 64 * 1024);
    assert_eq!(reader.capacity_bytes() - reader.places.capacity() * size_of::<Place>(), 4);
    reader.lend(&mut lent);
    assert!(lent.is_empty(), "the rest fits into the lent buffer");
    reader.feed(b"x\r\n");
    assert_eq!(reader.next(&Limits::default()).unwrap().unwrap().argument(1), b"x");
    reader.give_back(&mut lent);
    assert_eq!((lent.len(), reader.free_bytes()), (64 * 1024, 0));
}

fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        "[a-z]{0,12}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..40),
        (LARGE_ARGUMENT_BYTES - 2..LARGE_ARGUMENT_BYTES + 2).prop_map(|length| vec![b'L'; length]),
    ];
    let framed = proptest::collection::vec(word, 1..5).prop_map(|words| {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(&word);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    });
    let inline = "[a-z' \"*$0-9]{0,20}\r?\n".prop_map(String::into_bytes);
    proptest::collection::vec(prop_oneof![4 => framed, 1 => inline], 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_split_gives_the_same_result(
        input in any_input(),
        sizes in proptest::collection::vec(1usize..5000, 1..6),
    ) {
        let whole = read(&input, &[usize::MAX], &Limits::default());
        prop_assert_eq!(&read(&input, &sizes, &Limits::default()), &whole);
        if input.len() < 3000 {
            prop_assert_eq!(&read(&input, &[1], &Limits::default()), &whole);
        }
    }
}

#[test]
fn what_waits_is_counted_without_its_frame() {
    let mut reader = RequestReader::new();
    let large = vec![b'v'; 2 * LARGE_ARGUMENT_BYTES];
    let begin = format!("*4\r\n$3\r\nSET\r\n${}\r\n", large.len());
    reader.feed(begin.as_bytes());
    assert_eq!(reader.waiting_bytes(), begin.len(), "nothing has been looked at");
    for (bytes, expected) in [
        (&b""[..], 3),
        (&large[..100], 103),
        (&large[100..], 3 + large.len()),
        (b"\r\n$4\r\nwo", 3 + large.len() + 2),
        (b"rd\r\n$1", 3 + large.len() + 4 + 2),
    ] {
        reader.feed(bytes);
        assert!(reader.next(&Limits::default()).unwrap().is_none());
        assert_eq!(reader.waiting_bytes(), expected);
    }
    reader.feed(b"\r\nx\r\nPING\r\n");
    assert!(reader.next(&Limits::default()).unwrap().is_some());
    reader.release();
    assert_eq!(reader.waiting_bytes(), 6);
}

#[test]
fn an_empty_line_is_no_length() {
    for piece in [1, 1000] {
        let (requests, error) = read(b"PING\r\n*3\r\n$3\r\nSET\r\n\r\n\r\n", &[piece], &Limits::default());
        assert_eq!((requests, error), (words(&[&["PING"]]), Some(ProtocolError::ExpectedDollar(b'\r'))));
    }
}
