//! The client's side of RESP2 and RESP3: replies as values, and requests as bytes.
//!
//! A [`Decoder`] is fed whatever bytes arrive and hands out whole replies. It remembers how far it got in an
//! unfinished reply, so that every byte is looked at once however the network splits the stream. Formats: the RESP2 and
//! RESP3 specifications, as Redis 7.2 sends them (streamed strings and aggregates, which it never sends, are refused).

use std::fmt;

/// Longest line, in bytes without its end, that may stand where a status, an error, a number or a length is expected.
pub const LINE_LENGTH_MAX: usize = 1024 * 1024;
/// Longest bulk string or verbatim string, in bytes. Space is taken only as the bytes arrive.
pub const BULK_LENGTH_MAX: u64 = 1 << 32;
/// Most elements of one aggregate. Space is taken only as the elements arrive.
pub const ELEMENTS_MAX: u64 = (1 << 32) - 1;
/// Deepest nesting of aggregates.
pub const DEPTH_MAX: usize = 128;

/// Room reserved for an aggregate's elements before any of them has arrived.
const ELEMENTS_RESERVED_MAX: u64 = 64;
/// Consumed bytes that may lie at the front of the buffer before they are cut off.
const CONSUMED_BYTES_KEPT_MAX: usize = 64 * 1024;

/// Which of the three spellings of "nothing" was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NullKind {
    /// `$-1`: RESP2, in place of a string.
    Bulk,
    /// `*-1`: RESP2, in place of an array.
    Array,
    /// `_`: RESP3, in place of anything.
    Resp3,
}

/// One reply. Attributes (`|`) are read and dropped, so they never show.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`: a status line.
    Simple(Vec<u8>),
    /// `-` or `!`: an error; the text begins with its code.
    Error(Vec<u8>),
    /// `:`: a signed 64-bit number.
    Integer(i64),
    /// `$`: a string of any bytes.
    Bulk(Vec<u8>),
    /// No value.
    Null(NullKind),
    /// `*`: values in order.
    Array(Vec<Value>),
    /// `%`: pairs, in the order sent.
    Map(Vec<(Value, Value)>),
    /// `~`: values in the order sent.
    Set(Vec<Value>),
    /// `>`: a message nobody asked for.
    Push(Vec<Value>),
    /// `,`: a number, as the text that was sent (a number, `inf`, `-inf` or `nan`).
    Double(String),
    /// `#`: true or false.
    Boolean(bool),
    /// `(`: a whole number of any size, as the text that was sent.
    BigNumber(String),
    /// `=`: a text and its format (`txt`, `mkd`), always three bytes.
    Verbatim {
        /// The three bytes before the colon.
        format: [u8; 3],
        /// The text after the colon.
        text: Vec<u8>,
    },
}

impl Value {
    /// The bytes of a status, string, verbatim string, error, double or big number; `None` for anything else.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Bulk(text) | Self::Verbatim { text, .. } => {
                Some(text)
            }
            Self::Double(text) | Self::BigNumber(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The same as [`Value::as_bytes`], as text; bytes that are not UTF-8 are replaced.
    pub fn as_text(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.as_bytes().map(String::from_utf8_lossy)
    }

    /// The number of an integer, or of a string that holds one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            other => std::str::from_utf8(other.as_bytes()?).ok()?.parse().ok(),
        }
    }

    /// The elements of an array, set or push; `None` for anything else.
    pub fn as_elements(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text of an error, if this is one.
    pub fn as_error(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Error(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }

    /// Whether this is an error.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Whether this is one of the three spellings of "nothing".
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    /// Looks `name` up in a map, or in an array of alternating names and values (how RESP2 sends maps).
    pub fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => {
                pairs.iter().find(|(key, _)| key.as_bytes() == Some(name.as_bytes())).map(|(_, value)| value)
            }
            Self::Array(elements) => elements
                .chunks_exact(2)
                .find(|pair| pair.first().and_then(Self::as_bytes) == Some(name.as_bytes()))
                .and_then(|pair| pair.get(1)),
            _ => None,
        }
    }
}

/// Why a stream cannot be read on. The connection is of no more use after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A reply begins with a byte that is no type.
    UnknownType(u8),
    /// A line is longer than [`LINE_LENGTH_MAX`].
    LineTooLong,
    /// A string is longer than [`BULK_LENGTH_MAX`] or an aggregate has more than [`ELEMENTS_MAX`] elements, or the length
    /// is no number.
    BadLength,
    /// Aggregates are nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// A number, boolean, null or verbatim string is malformed.
    BadScalar,
    /// A string is not followed by CR LF, or a line ends in LF alone.
    BadTerminator,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(byte) => {
                write!(formatter, "Protocol error, got \"{}\" as reply type byte", byte.escape_ascii())
            }
            Self::LineTooLong => formatter.write_str("Protocol error, line too long"),
            Self::BadLength => formatter.write_str("Protocol error, invalid length"),
            Self::TooDeep => formatter.write_str("Protocol error, nesting too deep"),
            Self::BadScalar => formatter.write_str("Protocol error, malformed value"),
            Self::BadTerminator => formatter.write_str("Protocol error, bad line end"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Turns a stream of bytes into replies.
///
/// After an error the decoder answers the same error forever: there is no way to find the next reply.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    consumed: usize,
    /// How far behind `consumed` the search for the end of a line has come.
    searched: usize,
    /// A string whose length has been read, but not yet all of its bytes.
    string: Option<PendingString>,
    /// Aggregates that are open, outermost first.
    open: Vec<Aggregate>,
    failed: Option<DecodeError>,
}

#[derive(Clone, Copy, Debug)]
struct PendingString {
    kind: u8,
    length: usize,
}

#[derive(Debug)]
struct Aggregate {
    kind: u8,
    /// Elements still to come; a pair counts as two.
    missing: u64,
    elements: Vec<Value>,
}

enum Step {
    /// The stream ends inside a reply.
    NeedMore,
    /// A value that belongs to the innermost open aggregate, or is a reply of its own.
    Value(Value),
    /// An aggregate was opened.
    Opened,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.consumed == self.buffer.len() {
            self.buffer.clear();
            self.consumed = 0;
        } else if self.consumed > CONSUMED_BYTES_KEPT_MAX && self.consumed > self.buffer.len() / 2 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole reply, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// The stream is malformed or exceeds a bound; see [`DecodeError`].
    pub fn next_value(&mut self) -> Result<Option<Value>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.decode();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Whether the stream stands between two replies, with nothing left to decode.
    pub fn is_at_boundary(&self) -> bool {
        self.open.is_empty() && self.string.is_none() && self.consumed == self.buffer.len()
    }

    /// Hands out the bytes not yet decoded and forgets them: for streams that stop being RESP, such as an RDB payload.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.consumed);
        self.buffer.clear();
        (self.consumed, self.searched) = (0, 0);
        rest
    }

    fn decode(&mut self) -> Result<Option<Value>, DecodeError> {
        loop {
            let step = match self.string {
                Some(pending) => self.read_string(pending)?,
                None => self.read_line()?,
            };
            match step {
                Step::NeedMore => return Ok(None),
                Step::Opened => {
                    if let Some(value) = self.close_full() {
                        return Ok(Some(value));
                    }
                }
                Step::Value(value) => {
                    if let Some(value) = self.place(value) {
                        return Ok(Some(value));
                    }
                }
            }
        }
    }

    /// Puts `value` into the innermost open aggregate, or returns it if none is open.
    fn place(&mut self, value: Value) -> Option<Value> {
        let Some(aggregate) = self.open.last_mut() else {
            return Some(value);
        };
        aggregate.missing -= 1;
        if aggregate.kind != b'|' {
            aggregate.elements.push(value);
        }
        self.close_full()
    }

    /// Closes aggregates that are complete, from the inside out; returns the outermost if it is.
    fn close_full(&mut self) -> Option<Value> {
        while self.open.last().is_some_and(|aggregate| aggregate.missing == 0) {
            let Some(Aggregate { kind, elements, .. }) = self.open.pop() else { break };
            let value = match kind {
                // An attribute says something about the value that follows it, and is none itself.
                b'|' => continue,
                b'%' => Value::Map(into_pairs(elements)),
                b'~' => Value::Set(elements),
                b'>' => Value::Push(elements),
                _ => Value::Array(elements),
            };
            let Some(parent) = self.open.last_mut() else {
                return Some(value);
            };
            parent.missing -= 1;
            if parent.kind != b'|' {
                parent.elements.push(value);
            }
        }
        None
    }

    fn read_line(&mut self) -> Result<Step, DecodeError> {
        let rest = &self.buffer[self.consumed..];
        let Some(offset) = memchr::memchr(b'\n', &rest[self.searched..]) else {
            self.searched = rest.len();
            return if rest.len() > LINE_LENGTH_MAX + 3 {
                Err(DecodeError::LineTooLong)
            } else {
                Ok(Step::NeedMore)
            };
        };
        let end = self.searched + offset;
        let line = rest[..end].strip_suffix(b"\r").ok_or(DecodeError::BadTerminator)?;
        let (&kind, line) = line.split_first().ok_or(DecodeError::UnknownType(b'\r'))?;
        if line.len() > LINE_LENGTH_MAX {
            return Err(DecodeError::LineTooLong);
        }
        let header = parse_line(kind, line)?;
        self.consumed += end + 1;
        self.searched = 0;
        match header {
            Header::Value(value) => Ok(Step::Value(value)),
            Header::String(length) => {
                let pending = PendingString { kind, length };
                self.string = Some(pending);
                self.read_string(pending)
            }
            Header::Aggregate(count) => {
                if self.open.len() >= DEPTH_MAX {
                    return Err(DecodeError::TooDeep);
                }
                let missing = if matches!(kind, b'%' | b'|') { count * 2 } else { count };
                let elements = Vec::with_capacity(missing.min(ELEMENTS_RESERVED_MAX) as usize);
                self.open.push(Aggregate { kind, missing, elements });
                Ok(Step::Opened)
            }
        }
    }

    fn read_string(&mut self, pending: PendingString) -> Result<Step, DecodeError> {
        let rest = &self.buffer[self.consumed..];
        if rest.len() < pending.length + 2 {
            return Ok(Step::NeedMore);
        }
        let (text, end) = rest.split_at(pending.length);
        if !end.starts_with(b"\r\n") {
            return Err(DecodeError::BadTerminator);
        }
        let value = match pending.kind {
            b'!' => Value::Error(text.to_vec()),
            b'=' => match text {
                [first, second, third, b':', text @ ..] => {
                    Value::Verbatim { format: [*first, *second, *third], text: text.to_vec() }
                }
                _ => return Err(DecodeError::BadScalar),
            },
            _ => Value::Bulk(text.to_vec()),
        };
        self.consumed += pending.length + 2;
        self.string = None;
        Ok(Step::Value(value))
    }
}

/// Appends `arguments` to `out` as a RESP array of strings: the form every server understands.
pub fn encode_request(arguments: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(arguments.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for argument in arguments {
        let argument = argument.as_ref();
        out.push(b'$');
        out.extend_from_slice(digits.format(argument.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the first line of a reply announces.
enum Header {
    Value(Value),
    String(usize),
    Aggregate(u64),
}

fn parse_line(kind: u8, line: &[u8]) -> Result<Header, DecodeError> {
    Ok(match kind {
        b'+' => Header::Value(Value::Simple(line.to_vec())),
        b'-' => Header::Value(Value::Error(line.to_vec())),
        b':' => Header::Value(Value::Integer(parse_number(line).ok_or(DecodeError::BadScalar)?)),
        b'_' if line.is_empty() => Header::Value(Value::Null(NullKind::Resp3)),
        b'#' if line == b"t" || line == b"f" => Header::Value(Value::Boolean(line == b"t")),
        b',' => {
            let text = std::str::from_utf8(line).map_err(|_| DecodeError::BadScalar)?;
            text.parse::<f64>().map_err(|_| DecodeError::BadScalar)?;
            Header::Value(Value::Double(text.to_owned()))
        }
        b'(' => Header::Value(Value::BigNumber(parse_big_number(line)?)),
        b'$' if line == b"-1" => Header::Value(Value::Null(NullKind::Bulk)),
        b'*' if line == b"-1" => Header::Value(Value::Null(NullKind::Array)),
        b'$' | b'!' | b'=' => {
            let length = parse_length(line, BULK_LENGTH_MAX)?;
            Header::String(usize::try_from(length).map_err(|_| DecodeError::BadLength)?)
        }
        b'*' | b'%' | b'~' | b'>' | b'|' => Header::Aggregate(parse_length(line, ELEMENTS_MAX)?),
        b'_' | b'#' => return Err(DecodeError::BadScalar),
        other => return Err(DecodeError::UnknownType(other)),
    })
}

fn parse_number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn parse_length(line: &[u8], maximum: u64) -> Result<u64, DecodeError> {
    parse_number(line)
        .and_then(|length| u64::try_from(length).ok())
        .filter(|length| *length <= maximum)
        .ok_or(DecodeError::BadLength)
}

fn parse_big_number(line: &[u8]) -> Result<String, DecodeError> {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecodeError::BadScalar);
    }
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn into_pairs(elements: Vec<Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(elements.len() / 2);
    let mut elements = elements.into_iter();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((key, value));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(chunks: &[&[u8]]) -> Result<Vec<Value>, DecodeError> {
        let mut decoder = Decoder::new();
        let mut values = Vec::new();
        for chunk in chunks {
            decoder.feed(chunk);
            while let Some(value) = decoder.next_value()? {
                values.push(value);
            }
        }
        Ok(values)
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn every_type_is_read() {
        let cases: Vec<(&[u8], Value)> = vec![
            (b"+OK\r\n", Value::Simple(b"OK".to_vec())),
            (b"-ERR no\r\n", Value::Error(b"ERR no".to_vec())),
            (b"!6\r\nERR no\r\n", Value::Error(b"ERR no".to_vec())),
            (b":-42\r\n", Value::Integer(-42)),
            (b"$0\r\n\r\n", bulk("")),
            (b"$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            (b"$-1\r\n", Value::Null(NullKind::Bulk)),
            (b"*-1\r\n", Value::Null(NullKind::Array)),
            (b"_\r\n", Value::Null(NullKind::Resp3)),
            (b"*0\r\n", Value::Array(vec![])),
            (
                b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
                Value::Array(vec![Value::Array(vec![Value::Integer(1)]), bulk("x")]),
            ),
            (b"%1\r\n+a\r\n*0\r\n", Value::Map(vec![(Value::Simple(b"a".to_vec()), Value::Array(vec![]))])),
            (b"~1\r\n#t\r\n", Value::Set(vec![Value::Boolean(true)])),
            (b">1\r\n#f\r\n", Value::Push(vec![Value::Boolean(false)])),
            (b",-inf\r\n", Value::Double("-inf".to_owned())),
            (b",1.50\r\n", Value::Double("1.50".to_owned())),
            (b"(-123456789012345678901\r\n", Value::BigNumber("-123456789012345678901".to_owned())),
            (b"=6\r\ntxt:ab\r\n", Value::Verbatim { format: *b"txt", text: b"ab".to_vec() }),
            (b"|1\r\n+a\r\n*1\r\n:1\r\n:7\r\n", Value::Integer(7)),
            (
                b"*2\r\n:1\r\n|1\r\n+a\r\n:0\r\n:2\r\n",
                Value::Array(vec![Value::Integer(1), Value::Integer(2)]),
            ),
            (b"*1\r\n|0\r\n:2\r\n", Value::Array(vec![Value::Integer(2)])),
        ];
        for (input, expected) in cases {
            assert_eq!(decode_all(&[input]), Ok(vec![expected]), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn malformed_input_is_refused_for_good() {
        let deep = b"*1\r\n".repeat(DEPTH_MAX + 1);
        let cases: Vec<(&[u8], DecodeError)> = vec![
            (b"?\r\n", DecodeError::UnknownType(b'?')),
            (b"\r\n", DecodeError::UnknownType(b'\r')),
            (b"+OK\n", DecodeError::BadTerminator),
            (b"$1\r\nabc", DecodeError::BadTerminator),
            (b"$-2\r\n", DecodeError::BadLength),
            (b"$?\r\n", DecodeError::BadLength),
            (b"%-1\r\n", DecodeError::BadLength),
            (b"*4294967296\r\n", DecodeError::BadLength),
            (b":1x\r\n", DecodeError::BadScalar),
            (b"#x\r\n", DecodeError::BadScalar),
            (b"_x\r\n", DecodeError::BadScalar),
            (b"=2\r\nab\r\n", DecodeError::BadScalar),
            (b"(1a\r\n", DecodeError::BadScalar),
            (&deep, DecodeError::TooDeep),
        ];
        for (input, expected) in cases {
            let mut decoder = Decoder::new();
            decoder.feed(input);
            assert_eq!(decoder.next_value(), Err(expected.clone()), "{}", input.escape_ascii());
            decoder.feed(b"+OK\r\n");
            assert_eq!(decoder.next_value(), Err(expected));
        }
        let mut decoder = Decoder::new();
        decoder.feed(&vec![b'+'; LINE_LENGTH_MAX + 4]);
        assert_eq!(decoder.next_value(), Err(DecodeError::LineTooLong));
    }

    #[test]
    fn declared_lengths_take_no_room() {
        let mut decoder = Decoder::new();
        decoder.feed(b"*4294967295\r\n*4294967295\r\n$4294967296\r\nab");
        assert_eq!(decoder.next_value(), Ok(None));
        assert!(decoder.buffer.capacity() < 1024);
        assert!(decoder.open.iter().all(|aggregate| aggregate.elements.capacity() <= 64));
    }

    #[test]
    fn the_rest_can_be_taken_over() {
        let mut decoder = Decoder::new();
        decoder.feed(b"+FULLRESYNC a 0\r\n$5\r\nREDIS");
        assert!(matches!(decoder.next_value(), Ok(Some(Value::Simple(_)))));
        assert_eq!(decoder.take_rest(), b"$5\r\nREDIS");
        assert!(decoder.is_at_boundary());
    }

    #[test]
    fn requests_are_arrays_of_strings() {
        let mut out = Vec::new();
        encode_request(&["SET", "key", ""], &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
    }

    /// Writes a value the way a server does.
    fn encode(value: &Value, out: &mut Vec<u8>) {
        let aggregate = |kind: char, count: usize| format!("{kind}{count}\r\n").into_bytes();
        match value {
            Value::Simple(text) => out.extend([b"+", text.as_slice(), b"\r\n"].concat()),
            Value::Error(text) => out.extend([b"-", text.as_slice(), b"\r\n"].concat()),
            Value::Integer(number) => out.extend(format!(":{number}\r\n").into_bytes()),
            Value::Bulk(text) => out.extend([&aggregate('$', text.len()), text.as_slice(), b"\r\n"].concat()),
            Value::Null(NullKind::Bulk) => out.extend(b"$-1\r\n"),
            Value::Null(NullKind::Array) => out.extend(b"*-1\r\n"),
            Value::Null(NullKind::Resp3) => out.extend(b"_\r\n"),
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
                let kind = match value {
                    Value::Set(_) => '~',
                    Value::Push(_) => '>',
                    _ => '*',
                };
                out.extend(aggregate(kind, elements.len()));
                elements.iter().for_each(|element| encode(element, out));
            }
            Value::Map(pairs) => {
                out.extend(aggregate('%', pairs.len()));
                for (key, value) in pairs {
                    encode(key, out);
                    encode(value, out);
                }
            }
            Value::Double(text) => out.extend(format!(",{text}\r\n").into_bytes()),
            Value::Boolean(truth) => out.extend(if *truth { b"#t\r\n" } else { b"#f\r\n" }),
            Value::BigNumber(text) => out.extend(format!("({text}\r\n").into_bytes()),
            Value::Verbatim { format, text } => {
                out.extend(aggregate('=', text.len() + 4));
                out.extend([format.as_slice(), b":", text, b"\r\n"].concat());
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let line = proptest::collection::vec(
            any::<u8>().prop_filter("no line ends", |b| !b"\r\n".contains(b)),
            0..12,
        );
        let leaf = prop_oneof![
            line.clone().prop_map(Value::Simple),
            line.prop_map(Value::Error),
            any::<i64>().prop_map(Value::Integer),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bulk),
            proptest::sample::select(vec![NullKind::Bulk, NullKind::Array, NullKind::Resp3])
                .prop_map(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<f64>().prop_map(|number| Value::Double(number.to_string())),
            any::<i128>().prop_map(|number| Value::BigNumber(number.to_string())),
            proptest::collection::vec(any::<u8>(), 0..9)
                .prop_map(|text| Value::Verbatim { format: *b"txt", text }),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Set),
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Push),
                proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_values(
            values in proptest::collection::vec(any_value(), 1..5),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut stream = Vec::new();
            values.iter().for_each(|value| encode(value, &mut stream));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode_all(&chunks), Ok(values));
        }

        #[test]
        fn garbage_never_panics_and_splits_alike(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes: Vec<u8> = bytes.iter().map(|b| b"+-:$*%~>|,#(=!_0123456789\r\n\r\nt"[*b as usize % 30]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(decode_all(&[&bytes]).is_err(), decode_all(&single).is_err());
        }
    }
}
