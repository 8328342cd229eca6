//! The words that arguments are drawn from: usual ones first, then edges and mistakes.

/// Keys that every command is given; few, so that commands of different types meet.
pub const COMMON_KEYS: &[&str] = &["a", "b", "c", "d", "e", "f"];
/// Rare shapes of keys.
pub const ODD_KEYS: &[&str] = &["key:1", "key:2", "{tag}x", "{tag}y", "", "with blank\r\n", "\u{e4}\0z"];
/// Each family has keys of its own, its name and one of these numbers.
pub const OWN_KEYS: u64 = 4;
/// Keys that are drawn seldom, `fresh:` and a number.
pub const FRESH_KEYS: u64 = 50;

pub const VALUES: &[&str] = &[
    "",
    "x",
    "0",
    "7",
    "-12",
    "10000",
    "10001",
    "007",
    "+1",
    " 1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "3.25",
    "1e3",
    "inf",
    "nan",
    "abcabc",
    "cbacba",
    // What comes before the zero byte is nothing else: SORT by text looks no further.
    "q\0\u{1}",
    "a text of exactly forty-four bytes, no more.",
    "a text of forty-five bytes, thus kept apart..",
];
/// Members, fields and elements: few enough to meet again.
pub const ELEMENTS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "one",
    "two",
    "three",
    "x",
    "y",
    "Palermo",
    "Catania",
    "",
    "A",
    "aa",
    "-0",
    "01",
    "1.5",
    "\u{ff}\0",
    "sixteen bytes...",
    "a member of more than sixty-four bytes, which a small one cannot hold..",
];
pub const INTEGERS: &[&str] = &[
    "0",
    "1",
    "2",
    "5",
    "-1",
    "-3",
    "10",
    "100",
    "-100",
    "x",
    "",
    "1.5",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "2147483648",
    " 3",
];
pub const DOUBLES: &[&str] = &[
    "0", "0.1", "-2.5", "1e10", "3", "1e-20", "nan", "inf", "-inf", "x", "", "0x10", "1e400", " 1", "5.0e3",
];
pub const SCORES: &[&str] = &[
    "0",
    "1",
    "1",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-7",
    "1.5",
    "0.1",
    "1e300",
    "3.0000000000000004",
    "inf",
    "-inf",
    "+inf",
    "1e-7",
    "17179869184",
    "9007199254740993",
    "123456789.123456789",
];
pub const SCORE_BOUNDS: &[&str] =
    &["-inf", "+inf", "-inf", "+inf", "0", "1", "(1", "3", "(3", "10", "-5", "(x", "nan", "", "(-inf"];
pub const LEX_BOUNDS: &[&str] =
    &["-", "+", "-", "+", "[a", "(a", "[c", "(e", "[one", "[", "(", "x", "[zz", "["];
pub const PATTERNS: &[&str] =
    &["*", "?", "[a-c]", "a", "[^a]", "\\a", "none*", "key:*", "{tag}[xy]", "", "[", "*[a", "*1*"];
/// What SORT takes for BY and GET; elements that are numbers name keys.
pub const SORT_PATTERNS: &[&str] =
    &["*", "#", "string:*", "string:*", "hash:*->a", "hash:1->*", "nosort", "hash:*->", "w*x*", "list:*", ""];
/// Times that lie in the past, far away, or nowhere: what ends between two replies cannot be compared. Far away is beyond the end
/// of a run of a million commands.
pub const SECONDS: &[&str] =
    &["50000", "5000", "0", "-1", "x", "", "9223372036854775807", "9223372036854776", "99999999999"];
/// One millisecond is waited for; see `Pair::run`.
pub const MILLISECONDS: &[&str] = &[
    "50000000",
    "5000000",
    "20000000",
    "0",
    "-1",
    "x",
    "9223372036854775807",
    "9223370000000000000",
    "99999999999999",
];
pub const UNIX_SECONDS: &[&str] =
    &["9000000000", "8000000000", "1", "0", "-5", "x", "9223372036854775807", "9223372036854775", ""];
pub const UNIX_MILLISECONDS: &[&str] =
    &["9000000000000", "8000000000000", "1", "0", "-5", "x", "9223372036854775807", "-9223372036854775808"];
pub const DATABASES: &[&str] = &["0", "1", "2", "15", "16", "-1", "x", "9999999999"];
/// Timeouts of commands that wait; short, or mistakes.
pub const TIMEOUTS: &[&str] = &["0.001", "0.001", "0.002", "-1", "x", "", "nan"];
/// Identifiers of stream entries, as they are and as bounds.
pub const STREAM_IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "1",
    "1-1",
    "2-0",
    "3",
    "5-5",
    "9",
    "$",
    ">",
    "-",
    "+",
    "(1-1",
    "(3",
    "x",
    "",
    "1-x",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616",
    "1-18446744073709551616",
];
pub const GROUPS: &[&str] = &["g1", "g1", "g1", "g2", "none", ""];
pub const CONSUMERS: &[&str] = &["alice", "alice", "bob", "carol", ""];
pub const IDLE_TIMES: &[&str] = &["0", "0", "0", "100000000", "-1", "x", "9223372036854775807"];
pub const LONGITUDES: &[&str] =
    &["13.361389", "15.087269", "0", "-0.1", "2.35", "12.5", "179.999", "-180", "181", "-122.27652", "x"];
pub const LATITUDES: &[&str] = &[
    "38.115556",
    "37.502669",
    "0",
    "51.5",
    "48.85",
    "41.9",
    "85.05",
    "-85.05112878",
    "86",
    "37.805186",
    "nan",
];
pub const RADIUSES: &[&str] = &["100", "200", "1000", "0", "5000000", "0.5", "-1", "x", "20000", "190.4424"];
pub const FIELD_TYPES: &[&str] =
    &["u8", "i8", "u1", "i5", "i64", "u63", "u64", "i65", "x", "u16", "i32", "u0", ""];
pub const FIELD_OFFSETS: &[&str] = &["0", "1", "7", "8", "#0", "#1", "#3", "100", "-1", "#x", "x", "300"];
pub const BIT_OFFSETS: &[&str] = &["0", "1", "7", "8", "15", "100", "900", "4294967296", "-1", "x", ""];
pub const CHANNELS: &[&str] = &["news", "a", "key:1", "", "__keyspace@0__:a"];
pub const JUNK: &[&str] = &[
    "NX",
    "xx",
    "GT",
    "lt",
    "CH",
    "INCR",
    "GET",
    "KEEPTTL",
    "PERSIST",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "COUNT",
    "MATCH",
    "TYPE",
    "REPLACE",
    "IDLETIME",
    "FREQ",
    "ASYNC",
    "SYNC",
    "ABSTTL",
    "DB",
    "LEN",
    "IDX",
    "WITHSCORES",
    "withvalues",
    "LIMIT",
    "WEIGHTS",
    "AGGREGATE",
    "BYSCORE",
    "REV",
    "LEFT",
    "MAXLEN",
    "~",
    "NOMKSTREAM",
    "JUSTID",
    "0",
    "-1",
    "string",
    "nonsense",
    "9999999999",
    "\r\n",
    "",
];
/// Directives that can be set without harm, with good and bad values. Those that decide on encodings come first; they are
/// drawn most.
pub const SETTINGS: &[(&str, &[&str])] = &[
    ("list-max-listpack-size", &["-2", "3", "8", "-1", "128", "1", "x"]),
    ("list-compress-depth", &["0", "1", "2", "-1"]),
    ("hash-max-listpack-entries", &["128", "8", "2", "0", "512"]),
    ("hash-max-listpack-value", &["64", "8", "0"]),
    ("zset-max-listpack-entries", &["128", "8", "2", "0"]),
    ("zset-max-ziplist-value", &["64", "8", "0"]),
    ("set-max-intset-entries", &["512", "8", "2", "0"]),
    ("stream-node-max-entries", &["100", "3", "10", "0", "1"]),
    ("stream-node-max-bytes", &["4096", "64", "0"]),
    ("hll-sparse-max-bytes", &["3000", "100", "0"]),
    ("maxmemory-policy", &["allkeys-lfu", "noeviction", "volatile-lru", "ALLKEYS-LRU", "none"]),
    ("notify-keyspace-events", &["KEA", "KEA", "KEA", "gxE$", "Q"]),
    ("slowlog-max-len", &["128", "0", "-1", "x", "1k"]),
    ("hz", &["10", "50", "x", "-3"]),
    ("lazyfree-lazy-user-del", &["yes", "no", "maybe"]),
    ("lfu-log-factor", &["10", "0", "-1"]),
    ("tcp-keepalive", &["300", "0", "ten"]),
    ("maxmemory-samples", &["5", "0", "64", "65"]),
    ("proto-max-bulk-len", &["512mb", "1mb", "1kb"]),
    ("lua-time-limit", &["5000", "0"]),
    ("no-such-directive", &["1"]),
    ("port-does-not-exist", &["1"]),
    ("daemonize", &["yes"]),
];
/// How many of the settings are about encodings.
pub const ENCODING_SETTINGS: usize = 10;
