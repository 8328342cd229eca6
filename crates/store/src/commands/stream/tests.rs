//! Cases for stream commands: replies, what is propagated, and events.

use crate::testing::Fixture;

#[test]
fn xadd_and_its_ids() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("XADD s * f v", "\"1700000000000-0\""),
        ("XADD s * f v", "\"1700000000000-1\""),
        ("XADD s 1700000000000-5 f v g w", "\"1700000000000-5\""),
        ("XADD s 1700000000000-* f v", "\"1700000000000-6\""),
        ("XADD s 1700000000001-* f v", "\"1700000000001-0\""),
        ("XADD s 1700000000002 f v", "\"1700000000002-0\""),
        (
            "XADD s 1700000000002 f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        (
            "XADD s 5-* f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XADD s 0-0 f v", "-ERR The ID specified in XADD must be greater than 0-0"),
        ("XADD none 0-* f v", "\"0-1\""),
        ("XADD s -* f v", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s - f v", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s 5-5-5 f v", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s * f", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD s * f v g", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD s NOMKSTREAM MAXLEN 5", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD new NOMKSTREAM * f v", "nil"),
        ("EXISTS new", ":0"),
        ("XADD new 007-\" 3\" f v", "\"7-3\""),
        (
            "XADD new 18446744073709551615-18446744073709551615 f v",
            "\"18446744073709551615-18446744073709551615\"",
        ),
        ("XADD new * f v", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
        ("SET string v", "+OK"),
        ("XADD string * f v", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("OBJECT ENCODING s", "\"stream\""),
        ("TYPE s", "+stream"),
        ("XLEN s", ":6"),
        ("XLEN nothing", ":0"),
        ("XLEN string", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("XADD top 5-18446744073709551615 f v", "\"5-18446744073709551615\""),
        (
            "XADD top 5-* f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XADD early 18446744073709551615-0 f v", "\"18446744073709551615-0\""),
        ("XADD early * f v", "\"18446744073709551615-1\""),
    ]);
}

#[test]
fn options_of_trimming() {
    Fixture::default().check_all(&[
        (
            "XADD s MAXLEN 2 MINID 5 * f v",
            "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ),
        ("XADD s MAXLEN -1 * f v", "-ERR The MAXLEN argument must be >= 0."),
        ("XADD s MAXLEN x * f v", "-ERR value is not an integer or out of range"),
        ("XADD s MAXLEN ~ 2 LIMIT -1 * f v", "-ERR The LIMIT argument must be >= 0."),
        (
            "XADD s MAXLEN 2 LIMIT 1 * f v",
            "-ERR syntax error, LIMIT cannot be used without the special ~ option",
        ),
        ("XADD s LIMIT 0 * f v", "-ERR syntax error, LIMIT cannot be used without the special ~ option"),
        (
            "XADD s LIMIT 1 * f v",
            "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ),
        ("XTRIM s LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy"),
        ("XTRIM s NOMKSTREAM x", "-ERR syntax error"),
        ("XTRIM s MINID ~", "-ERR Invalid stream ID specified as stream command argument"),
        ("EXISTS s", ":0"),
        ("XTRIM s MAXLEN 0", ":0"),
        ("XADD s MAXLEN = 2 1 f v", "\"1-0\""),
        ("XADD s MAXLEN = 2 2 f v", "\"2-0\""),
        ("XADD s MAXLEN 2 3 f v", "\"3-0\""),
        ("XRANGE s - +", "[[\"2-0\" [\"f\" \"v\"]] [\"3-0\" [\"f\" \"v\"]]]"),
        ("XADD s MINID 3 4 f v", "\"4-0\""),
        ("XRANGE s - +", "[[\"3-0\" [\"f\" \"v\"]] [\"4-0\" [\"f\" \"v\"]]]"),
        ("XTRIM s MAXLEN ~ 0 LIMIT 1", ":0"),
        ("XTRIM s MAXLEN ~ 1", ":0"),
        ("XTRIM s MAXLEN = 1", ":1"),
        ("XTRIM s MAXLEN ~ 0 LIMIT 0", ":1"),
        ("XLEN s", ":0"),
        ("EXISTS s", ":1"),
    ]);
}

#[test]
fn ranges() {
    let mut fixture = Fixture::default();
    for id in ["1-1", "1-2", "2-0", "3-5"] {
        fixture.run(&format!("XADD s {id} n {id}"));
    }
    let entry = |id: &str| format!("[\"{id}\" [\"n\" \"{id}\"]]");
    let list = |ids: &[&str]| format!("[{}]", ids.iter().map(|id| entry(id)).collect::<Vec<_>>().join(" "));
    for (line, ids) in [
        ("XRANGE s - +", &["1-1", "1-2", "2-0", "3-5"][..]),
        ("XRANGE s 1 1", &["1-1", "1-2"]),
        ("XRANGE s 1-2 3", &["1-2", "2-0", "3-5"]),
        ("XRANGE s (1-2 (3-5", &["2-0"]),
        ("XRANGE s (1-1 (2", &["1-2", "2-0"]),
        ("XRANGE s - + COUNT 2", &["1-1", "1-2"]),
        ("XRANGE s - + COUNT 9 COUNT 1", &["1-1"]),
        ("XRANGE s + -", &[]),
        ("XRANGE none - +", &[]),
        ("XREVRANGE s + -", &["3-5", "2-0", "1-2", "1-1"]),
        ("XREVRANGE s 2 1-2", &["2-0", "1-2"]),
        ("XREVRANGE s + - COUNT 1", &["3-5"]),
        ("XREVRANGE s - +", &[]),
    ] {
        fixture.check(line, &list(ids));
    }
    fixture.check_all(&[
        ("XRANGE s - + COUNT 0", "nil"),
        ("XRANGE s - + COUNT -1", "nil"),
        ("XRANGE none - + COUNT 0", "[]"),
        ("XRANGE s - + COUNT", "-ERR syntax error"),
        ("XRANGE s - + LIMIT 1", "-ERR syntax error"),
        ("XRANGE s x +", "-ERR Invalid stream ID specified as stream command argument"),
        ("XRANGE s (- +", "-ERR Invalid stream ID specified as stream command argument"),
        ("XRANGE s ( +", "-ERR Invalid stream ID specified as stream command argument"),
        ("XRANGE s (18446744073709551615-18446744073709551615 +", "-ERR invalid start ID for the interval"),
        ("XRANGE s - (0-0", "-ERR invalid end ID for the interval"),
    ]);
}

#[test]
fn deleting_and_setting_ids() {
    let mut fixture = Fixture::default();
    for id in 1..=4 {
        fixture.run(&format!("XADD s {id} f v"));
    }
    fixture.check_all(&[
        ("XDEL s 2 2 9", ":1"),
        ("XDEL s 1 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XLEN s", ":3"),
        ("XDEL none 1", ":0"),
        ("XSETID none 5", "-ERR no such key"),
        ("XSETID s 3", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
        ("XSETID s 1", "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"),
        (
            "XSETID s 9 ENTRIESADDED 2 MAXDELETEDID 1",
            "-ERR The entries_added specified in XSETID is smaller than the target stream length",
        ),
        ("XSETID s 9 ENTRIESADDED -1 MAXDELETEDID 1", "-ERR entries_added must be positive"),
        (
            "XSETID s 9 ENTRIESADDED 9 MAXDELETEDID 10",
            "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ),
        ("XSETID s 9 ENTRIESADDED", "-ERR syntax error"),
        ("XSETID s 9-3 ENTRIESADDED 7 MAXDELETEDID 2-1", "+OK"),
        (
            "XINFO STREAM s",
            "[\"length\" :3 \"radix-tree-keys\" :1 \"radix-tree-nodes\" :2 \"last-generated-id\" \"9-3\" \
             \"max-deleted-entry-id\" \"2-1\" \"entries-added\" :7 \"recorded-first-entry-id\" \"1-0\" \
             \"groups\" :0 \"first-entry\" [\"1-0\" [\"f\" \"v\"]] \"last-entry\" [\"4-0\" [\"f\" \"v\"]]]",
        ),
        ("XDEL s 1 3 4", ":3"),
        ("EXISTS s", ":1"),
        (
            "XINFO STREAM s",
            "[\"length\" :0 \"radix-tree-keys\" :0 \"radix-tree-nodes\" :1 \"last-generated-id\" \"9-3\" \
             \"max-deleted-entry-id\" \"4-0\" \"entries-added\" :7 \"recorded-first-entry-id\" \"0-0\" \
             \"groups\" :0 \"first-entry\" nil \"last-entry\" nil]",
        ),
    ]);
}

#[test]
fn reading() {
    let mut fixture = Fixture::default();
    fixture.run("XADD a 1 f 1");
    fixture.run("XADD a 2 f 2");
    fixture.run("XADD b 5 f 5");
    fixture.check_all(&[
        ("XREAD STREAMS a 0", "[[\"a\" [[\"1-0\" [\"f\" \"1\"]] [\"2-0\" [\"f\" \"2\"]]]]]"),
        ("XREAD COUNT 1 STREAMS a b 0 0", "[[\"a\" [[\"1-0\" [\"f\" \"1\"]]]] [\"b\" [[\"5-0\" [\"f\" \"5\"]]]]]"),
        ("XREAD STREAMS a b 2 4", "[[\"b\" [[\"5-0\" [\"f\" \"5\"]]]]]"),
        ("XREAD STREAMS a none $ 0", "nil"),
        ("XREAD COUNT -1 STREAMS b 0", "[[\"b\" [[\"5-0\" [\"f\" \"5\"]]]]]"),
        ("XREAD STREAMS a b 0", "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified."),
        ("XREAD COUNT 1 a 0", "-ERR syntax error"),
        ("XREAD STREAMS a -", "-ERR Invalid stream ID specified as stream command argument"),
        ("XREAD STREAMS a +", "-ERR Invalid stream ID specified as stream command argument"),
        ("XREAD GROUP g c STREAMS a 0", "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD NOACK STREAMS a 0", "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD STREAMS a >", "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."),
        ("XREAD BLOCK x STREAMS a 0", "-ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK -1 STREAMS a 0", "-ERR timeout is negative"),
        ("XREAD BLOCK 9223372036854775807 STREAMS a 0", "-ERR timeout is out of range"),
        ("SET string v", "+OK"),
        ("XREAD STREAMS a string 0 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ]);
    fixture.resp3 = true;
    fixture
        .check("XREAD STREAMS a b 1 4", "{\"a\" [[\"2-0\" [\"f\" \"2\"]]] \"b\" [[\"5-0\" [\"f\" \"5\"]]]}");
    fixture.check("XREAD STREAMS a $", "nil");
}

#[test]
fn waiting() {
    let mut fixture = Fixture::default();
    fixture.run("XADD a 1 f 1");
    fixture.run("XGROUP CREATE a g $");
    assert_eq!(fixture.run_words(&["XREAD", "BLOCK", "70", "STREAMS", "a", "b", "$", "$"]), b"");
    let block = fixture.effects.block.take().expect("the client waits");
    assert_eq!((block.timeout_ms, block.until_key_goes), (70, false));
    assert_eq!(block.keys, [b"a".to_vec(), b"b".to_vec()]);
    let retry = block.retry.expect("$ is what it was when the client asked");
    fixture.run("XADD b 1 f 2");
    let reply = crate::testing::show_bytes(&fixture.run_request(&retry));
    assert_eq!(reply, "[[\"b\" [[\"1-0\" [\"f\" \"2\"]]]]]");

    assert_eq!(fixture.run_words(&["XREAD", "BLOCK", "0", "STREAMS", "a", "1"]), b"");
    assert!(fixture.effects.block.take().expect("the client waits").retry.is_none());
    let line = "XREADGROUP GROUP g c BLOCK 0 STREAMS a >";
    assert_eq!(fixture.run_words(&line.split(' ').collect::<Vec<_>>()), b"");
    let block = fixture.effects.block.take().expect("the client waits");
    assert!(block.until_key_goes && block.retry.is_none());
    assert_eq!(fixture.propagated(line), ["XGROUP CREATECONSUMER a g c"]);
    fixture.run("XADD a 2 f 2");
    fixture.check(line, "[[\"a\" [[\"2-0\" [\"f\" \"2\"]]]]]");

    fixture.access.deny_blocking = true;
    fixture.check(line, "nil");
    fixture.check("XREAD BLOCK 0 STREAMS a $", "nil");
}

#[test]
fn reading_in_groups() {
    let mut fixture = Fixture::default();
    for id in 1..=3 {
        fixture.run(&format!("XADD s {id} f {id}"));
    }
    fixture.check_all(&[
        (
            "XREADGROUP GROUP g c STREAMS s >",
            "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        ("XGROUP CREATE s g 0", "+OK"),
        (
            "XREADGROUP GROUP g c STREAMS s none > >",
            "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        ("XREADGROUP COUNT 1 BLOCK 1 STREAMS s >", "-ERR Missing GROUP option for XREADGROUP"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s", "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "[[\"s\" [[\"1-0\" [\"f\" \"1\"]]]]]"),
        ("XREADGROUP GROUP g d COUNT 1 STREAMS s >", "[[\"s\" [[\"2-0\" [\"f\" \"2\"]]]]]"),
        ("XREADGROUP GROUP g c STREAMS s 0", "[[\"s\" [[\"1-0\" [\"f\" \"1\"]]]]]"),
        ("XREADGROUP GROUP g c STREAMS s 1", "[[\"s\" []]]"),
        ("XDEL s 1", ":1"),
        ("XREADGROUP GROUP g c STREAMS s 0", "[[\"s\" [[\"1-0\" nil]]]]"),
        ("XREADGROUP GROUP g c NOACK STREAMS s >", "[[\"s\" [[\"3-0\" [\"f\" \"3\"]]]]]"),
        ("XREADGROUP GROUP g c STREAMS s >", "nil"),
        ("XPENDING s g", "[:2 \"1-0\" \"2-0\" [[\"c\" \"1\"] [\"d\" \"1\"]]]"),
        ("XACK s g 1 1 7", ":1"),
        ("XACK s g 2 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XACK s none x", ":0"),
        ("XACK none g 1", ":0"),
        ("XPENDING s g", "[:1 \"2-0\" \"2-0\" [[\"d\" \"1\"]]]"),
        ("XGROUP SETID s g 0", "+OK"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "[[\"s\" [[\"2-0\" [\"f\" \"2\"]]]]]"),
        ("XPENDING s g - + 9", "[[\"2-0\" \"c\" :0 :1]]"),
        ("XPENDING s none", "-NOGROUP No such key 's' or consumer group 'none'"),
    ]);
    let reply = fixture.run("XREADGROUP GROUP g c STREAMS s $");
    assert!(reply.starts_with("-ERR The $ ID is meaningless in the context of XREADGROUP: "), "{reply}");
    fixture.resp3 = true;
    fixture.check("XREADGROUP GROUP g c STREAMS s 0", "{\"s\" [[\"2-0\" [\"f\" \"2\"]]]}");
}

#[test]
fn groups_and_consumers() {
    const NO_KEY: &str = "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want \
                          to use the MKSTREAM option to create an empty stream automatically.";
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("XGROUP CREATE s g $", NO_KEY),
        ("XGROUP DESTROY s g", NO_KEY),
        ("XGROUP CREATE s g x MKSTREAM", "-ERR Invalid stream ID specified as stream command argument"),
        ("EXISTS s", ":0"),
        ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
        ("XGROUP CREATE s g $", "-BUSYGROUP Consumer Group name already exists"),
        ("XGROUP CREATE s h 5 ENTRIESREAD 3", "+OK"),
        ("XGROUP CREATE s i 5 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
        (
            "XGROUP CREATE s i 5 BAD",
            "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
        ),
        (
            "XGROUP CREATE s i 5 MKSTREAM MKSTREAM ENTRIESREAD 1",
            "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
        ),
        ("XGROUP SETID s none 0", "-NOGROUP No such consumer group 'none' for key name 's'"),
        ("XGROUP SETID s g + ENTRIESREAD 7", "+OK"),
        (
            "XGROUP SETID s g 0 MKSTREAM",
            "-ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.",
        ),
        (
            "XINFO GROUPS s",
            "[[\"name\" \"g\" \"consumers\" :0 \"pending\" :0 \"last-delivered-id\" \
             \"18446744073709551615-18446744073709551615\" \"entries-read\" :7 \"lag\" :0] \
             [\"name\" \"h\" \"consumers\" :0 \"pending\" :0 \"last-delivered-id\" \"5-0\" \"entries-read\" :3 \
             \"lag\" :0]]",
        ),
        ("XGROUP CREATECONSUMER s h c", ":1"),
        ("XGROUP CREATECONSUMER s h c", ":0"),
        ("XGROUP CREATECONSUMER s none c", "-NOGROUP No such consumer group 'none' for key name 's'"),
        ("XGROUP DELCONSUMER s h d", ":0"),
        ("XADD s 6 f v", "\"6-0\""),
        ("XREADGROUP GROUP h c STREAMS s >", "[[\"s\" [[\"6-0\" [\"f\" \"v\"]]]]]"),
        ("XGROUP DELCONSUMER s h c", ":1"),
        ("XPENDING s h", "[:0 nil nil nil]"),
        ("XGROUP DESTROY s h", ":1"),
        ("XGROUP DESTROY s h", ":0"),
        ("XINFO GROUPS none", "-ERR no such key"),
        ("XINFO CONSUMERS s none", "-NOGROUP No such consumer group 'none' for key name 's'"),
        (
            "XINFO STREAM s FULL COUNT",
            "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
        ),
        ("XINFO STREAM s FULL COUNT x", "-ERR value is not an integer or out of range"),
    ]);
    assert!(fixture.run("XGROUP HELP").starts_with("[+XGROUP <subcommand>"));
    assert!(fixture.run("XINFO HELP").starts_with("[+XINFO <subcommand>"));
}

#[test]
fn times_of_consumers() {
    let mut fixture = Fixture::default();
    fixture.run("XGROUP CREATE s g $ MKSTREAM");
    fixture.check("XREADGROUP GROUP g c STREAMS s >", "nil");
    fixture.now_ms += 100;
    let shown = |pending: u32, idle: u32, inactive: i32| {
        format!("[[\"name\" \"c\" \"pending\" :{pending} \"idle\" :{idle} \"inactive\" :{inactive}]]")
    };
    fixture.check("XINFO CONSUMERS s g", &shown(0, 100, -1));
    fixture.run("XADD s 1-1 f v");
    fixture.run("XREADGROUP GROUP g c STREAMS s >");
    fixture.now_ms += 30;
    fixture.check("XINFO CONSUMERS s g", &shown(1, 30, 30));
    fixture.run("XREADGROUP GROUP g c STREAMS s >");
    fixture.check("XINFO CONSUMERS s g", &shown(1, 0, 30));
    fixture.check(
        "XINFO STREAM s FULL",
        "[\"length\" :1 \"radix-tree-keys\" :1 \"radix-tree-nodes\" :2 \"last-generated-id\" \"1-1\" \
         \"max-deleted-entry-id\" \"0-0\" \"entries-added\" :1 \"recorded-first-entry-id\" \"1-1\" \
         \"entries\" [[\"1-1\" [\"f\" \"v\"]]] \"groups\" [[\"name\" \"g\" \"last-delivered-id\" \"1-1\" \
         \"entries-read\" :1 \"lag\" :0 \"pel-count\" :1 \"pending\" [[\"1-1\" \"c\" :1700000000100 :1]] \
         \"consumers\" [[\"name\" \"c\" \"seen-time\" :1700000000130 \"active-time\" :1700000000100 \
         \"pel-count\" :1 \"pending\" [[\"1-1\" :1700000000100 :1]]]]]]]",
    );
}

#[test]
fn selections_of_pending_entries() {
    let mut fixture = Fixture::default();
    fixture.run("XGROUP CREATE s g 0 MKSTREAM");
    for id in 1..=3 {
        fixture.run(&format!("XADD s {id} f v"));
        fixture.run(&format!("XREADGROUP GROUP g c{id} STREAMS s >"));
        fixture.now_ms += 10;
    }
    let entry = |id: u32, idle: u32| format!("[\"{id}-0\" \"c{id}\" :{idle} :1]");
    fixture.check("XPENDING s g - + 9", &format!("[{} {} {}]", entry(1, 30), entry(2, 20), entry(3, 10)));
    fixture.check("XPENDING s g (1 + 1", &format!("[{}]", entry(2, 20)));
    fixture.check("XPENDING s g - 2 9 c2", &format!("[{}]", entry(2, 20)));
    fixture.check("XPENDING s g IDLE 20 - + 9", &format!("[{} {}]", entry(1, 30), entry(2, 20)));
    fixture.check_all(&[
        ("XPENDING s g - + 0", "[]"),
        ("XPENDING s g - + -5", "[]"),
        ("XPENDING s g - + 9 none", "[]"),
        ("XPENDING s g -", "-ERR syntax error"),
        ("XPENDING s g IDLE 5 - +", "-ERR syntax error"),
        ("XPENDING s g IDLE x - + 1", "-ERR value is not an integer or out of range"),
        ("XPENDING s g x + y", "-ERR value is not an integer or out of range"),
        ("XPENDING s g x + 1", "-ERR Invalid stream ID specified as stream command argument"),
        ("XPENDING s g - + 1 c 1 1 1", "-ERR syntax error"),
    ]);
}

#[test]
fn claiming() {
    let mut fixture = Fixture::default();
    fixture.run("XGROUP CREATE s g 0 MKSTREAM");
    for id in 1..=3 {
        fixture.run(&format!("XADD s {id} f {id}"));
    }
    fixture.run("XREADGROUP GROUP g a COUNT 2 STREAMS s >");
    fixture.now_ms += 50;
    fixture.check_all(&[
        ("XCLAIM s none b 0 1", "-NOGROUP No such key 's' or consumer group 'none'"),
        ("XCLAIM none g b 0 1", "-NOGROUP No such key 'none' or consumer group 'g'"),
        ("XCLAIM s g b x 1", "-ERR Invalid min-idle-time argument for XCLAIM"),
        ("XCLAIM s g b 0 1 BAD", "-ERR Unrecognized XCLAIM option 'BAD'"),
        ("XCLAIM s g b 0 1 IDLE x", "-ERR Invalid IDLE option argument for XCLAIM"),
        ("XCLAIM s g b 0 1 TIME x", "-ERR Invalid TIME option argument for XCLAIM"),
        ("XCLAIM s g b 0 1 RETRYCOUNT x", "-ERR Invalid RETRYCOUNT option argument for XCLAIM"),
        ("XCLAIM s g b 0 1 LASTID x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XCLAIM s g b 51 1 2", "[]"),
        ("XCLAIM s g b 50 1 3", "[[\"1-0\" [\"f\" \"1\"]]]"),
        ("XPENDING s g - + 9", "[[\"1-0\" \"b\" :0 :2] [\"2-0\" \"a\" :50 :1]]"),
        ("XCLAIM s g b 0 2 JUSTID IDLE 7", "[\"2-0\"]"),
        ("XCLAIM s g b 0 3 FORCE RETRYCOUNT 9 TIME 1700000000000", "[[\"3-0\" [\"f\" \"3\"]]]"),
        ("XCLAIM s g b 0 4 FORCE", "[]"),
        ("XPENDING s g - + 9", "[[\"1-0\" \"b\" :0 :2] [\"2-0\" \"b\" :7 :1] [\"3-0\" \"b\" :50 :9]]"),
        ("XDEL s 2", ":1"),
        ("XCLAIM s g b 0 2", "[]"),
        ("XPENDING s g", "[:2 \"1-0\" \"3-0\" [[\"b\" \"2\"]]]"),
        ("XDEL s 1", ":1"),
        ("XAUTOCLAIM s g c x 0", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
        ("XAUTOCLAIM s g c 0 0 COUNT 0", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s g c 0 0 BAD", "-ERR syntax error"),
        ("XAUTOCLAIM s none c 0 0", "-NOGROUP No such key 's' or consumer group 'none'"),
        ("XAUTOCLAIM s g c 0 0 COUNT 1", "[\"3-0\" [] [\"1-0\"]]"),
        ("XAUTOCLAIM s g c 51 - COUNT 1", "[\"0-0\" [] []]"),
        ("XAUTOCLAIM s g c 0 (2 COUNT 1", "[\"0-0\" [[\"3-0\" [\"f\" \"3\"]]] []]"),
        ("XAUTOCLAIM s g d 0 0 JUSTID", "[\"0-0\" [\"3-0\"] []]"),
        ("XPENDING s g - + 9", "[[\"3-0\" \"d\" :0 :10]]"),
    ]);
    let names: Vec<_> = fixture.run("XINFO CONSUMERS s g").matches("\"name\"").map(str::to_owned).collect();
    assert_eq!(names.len(), 4, "consumers are there whether they got something or not");
}

/// A command, what replicas are sent, and the events.
type Effect = (&'static str, &'static [&'static str], &'static [&'static str]);

fn check_effects(fixture: &mut Fixture, cases: &[Effect]) {
    for &(line, propagated, events) in cases {
        let reply = fixture.run(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        assert_eq!(fixture.propagated(line), propagated, "{line}");
        let named: Vec<_> = events.iter().map(|name| format!("{name} 0 s")).collect();
        assert_eq!(fixture.events(), named, "{line}");
    }
}

#[test]
fn effects_on_the_log() {
    let mut fixture = Fixture::default();
    fixture.options.limits.stream_node_max_entries = 2;
    check_effects(
        &mut fixture,
        &[
            ("XADD s 1-* f v", &["XADD s 1-0 f v"], &["new", "xadd"]),
            ("XADD s 2 f v", &["XADD s 2 f v"], &["xadd"]),
            ("XADD s 3-5 f v", &["XADD s 3-5 f v"], &["xadd"]),
            ("XADD s * f v", &["XADD s 1700000000000-0 f v"], &["xadd"]),
            (
                "XADD s MAXLEN ~ 3 LIMIT 5 NOMKSTREAM * f v",
                &["XADD s MAXLEN = 3 LIMIT 5 NOMKSTREAM 1700000000000-1 f v"],
                &["xadd", "xtrim"],
            ),
            ("XADD s MAXLEN ~ 3 1700000000000-9 f v", &["XADD s MAXLEN = 4 1700000000000-9 f v"], &["xadd"]),
            (
                "XADD s MAXLEN = 4 1700000000001 f v",
                &["XADD s MAXLEN = 4 1700000000001 f v"],
                &["xadd", "xtrim"],
            ),
            ("XTRIM s MAXLEN ~ 4", &[], &[]),
            ("XTRIM s MINID ~ 1700000000000-9", &["XTRIM s MINID = 1700000000000-1"], &["xtrim"]),
            ("XTRIM s MAXLEN 1", &["XTRIM s MAXLEN 1"], &["xtrim"]),
            ("XDEL s 7", &[], &[]),
            ("XDEL s 1700000000001", &["XDEL s 1700000000001"], &["xdel"]),
            ("XSETID s 1700000000007", &["XSETID s 1700000000007"], &["xsetid"]),
        ],
    );
    fixture.run("XADD s 1700000000008 f v");
    fixture.run("XADD s 1700000000009 f v");
    fixture.run("XTRIM s MAXLEN 0");
    assert_eq!(fixture.effects.dirty, 2);
    // What the primary says goes, however much it is.
    fixture.access.from_primary = true;
    for id in 10..20 {
        fixture.run(&format!("XADD s 17000000000{id} f v"));
    }
    fixture.check("XTRIM s MAXLEN = 1 LIMIT 1", ":9");
}

#[test]
fn effects_on_groups() {
    let mut fixture = Fixture::default();
    check_effects(
        &mut fixture,
        &[
            ("XGROUP CREATE s g $ MKSTREAM", &["XGROUP CREATE s g $ MKSTREAM"], &["new", "xgroup-create"]),
            ("XADD s 1 f v", &["XADD s 1 f v"], &["xadd"]),
            (
                "XREADGROUP GROUP g c STREAMS s >",
                &[
                    "XGROUP CREATECONSUMER s g c",
                    "XCLAIM s g c 0 1-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-0",
                    "XGROUP SETID s g 1-0 ENTRIESREAD 1",
                ],
                &["xgroup-createconsumer"],
            ),
            ("XREADGROUP GROUP g c STREAMS s >", &[], &[]),
            ("XREADGROUP GROUP g c STREAMS s 0", &[], &[]),
            ("XADD s 2 f v", &["XADD s 2 f v"], &["xadd"]),
            (
                "XREADGROUP GROUP g d NOACK STREAMS s >",
                &["XGROUP CREATECONSUMER s g d", "XGROUP SETID s g 2-0 ENTRIESREAD 2"],
                &["xgroup-createconsumer"],
            ),
            (
                "XCLAIM s g e 0 1",
                &[
                    "XGROUP CREATECONSUMER s g e",
                    "XCLAIM s g e 0 1 TIME 1700000000000 RETRYCOUNT 3 FORCE JUSTID LASTID 2-0",
                ],
                &["xgroup-createconsumer"],
            ),
            ("XCLAIM s g e 0 9 LASTID 1", &[], &[]),
            ("XCLAIM s g e 0 9 LASTID 3", &["XGROUP SETID s g 3-0 ENTRIESREAD 2"], &[]),
            (
                "XAUTOCLAIM s g d 0 0",
                &["XCLAIM s g d 0 1-0 TIME 1700000000000 RETRYCOUNT 4 FORCE JUSTID LASTID 3-0"],
                &[],
            ),
            ("XDEL s 1", &["XDEL s 1"], &["xdel"]),
            (
                "XAUTOCLAIM s g e 0 0",
                &["XCLAIM s g d 0 1-0 TIME 1700000000000 RETRYCOUNT 4 FORCE JUSTID LASTID 3-0"],
                &[],
            ),
            ("XACK s g 1", &[], &[]),
            ("XGROUP SETID s g 5", &["XGROUP SETID s g 5"], &["xgroup-setid"]),
            ("XGROUP CREATECONSUMER s g e", &[], &[]),
            ("XGROUP CREATECONSUMER s g f", &["XGROUP CREATECONSUMER s g f"], &["xgroup-createconsumer"]),
            ("XGROUP DELCONSUMER s g f", &["XGROUP DELCONSUMER s g f"], &["xgroup-delconsumer"]),
            ("XGROUP DELCONSUMER s g f", &[], &[]),
            ("XGROUP DESTROY s g", &["XGROUP DESTROY s g"], &["xgroup-destroy"]),
            ("XGROUP DESTROY s g", &[], &[]),
        ],
    );
}

/// What is propagated makes the same stream elsewhere.
#[test]
fn replicas_follow() {
    let (mut primary, mut replica) = (Fixture::default(), Fixture::default());
    replica.access.from_primary = true;
    let mut rng = shoal_machine::Rng::new(21);
    primary.options.limits.stream_node_max_entries = 5;
    replica.options.limits.stream_node_max_entries = 5;
    for _ in 0..3000 {
        let id = rng.below(60);
        let consumer = rng.choose(&["a", "b", "c"]).unwrap();
        let line = match rng.below(14) {
            0 => "XGROUP CREATE s g 0 MKSTREAM".to_owned(),
            1 => format!("XDEL s {id}"),
            2 => format!("XTRIM s MAXLEN ~ {id}"),
            3 => format!("XADD s MINID ~ {} * f v", 1_700_000_000_000 + id),
            4 => format!("XREADGROUP GROUP g {consumer} COUNT {} STREAMS s >", id % 4),
            5 => format!("XREADGROUP GROUP g {consumer} NOACK COUNT 2 STREAMS s >"),
            6 => format!("XAUTOCLAIM s g {consumer} {} 0 COUNT 3", id % 5),
            7 => format!("XCLAIM s g {consumer} 0 {} FORCE", 1_700_000_000_000 + id),
            8 => format!("XACK s g {}", 1_700_000_000_000 + id),
            9 if rng.chance(1, 5) => format!("XGROUP DELCONSUMER s g {consumer}"),
            10 => format!("XDEL s {}", 1_700_000_000_000 + id),
            _ => format!("XADD s * n {id}"),
        };
        primary.now_ms = Fixture::START_MS + rng.below(60);
        replica.now_ms = primary.now_ms;
        primary.run(&line);
        for propagated in primary.propagated(&line) {
            let reply = replica.run(&propagated);
            assert!(!reply.starts_with('-'), "{propagated}: {reply}");
        }
        for question in ["XRANGE s - +", "XINFO GROUPS s", "XPENDING s g - + 1000"] {
            assert_eq!(replica.run(question), primary.run(question), "{question} after {line}");
        }
    }
}

/// A damaged payload is refused and changes nothing, or gives a stream that every command can work with.
#[test]
fn damaged_payloads_are_refused_or_harmless() {
    let mut fixture = Fixture::default();
    fixture.options.skip_checksum = true;
    fixture.options.compress = false;
    fixture.options.limits.stream_node_max_entries = 3;
    fixture.run("XGROUP CREATE s g 0 MKSTREAM");
    for id in 1..=7 {
        fixture.run(&format!("XADD s {id}-{id} f {id} g{} w", id % 2));
    }
    for line in ["XDEL s 2-2", "XREADGROUP GROUP g c COUNT 3 STREAMS s >", "XREADGROUP GROUP g d STREAMS s >"]
    {
        fixture.run(line);
    }
    let dumped =
        shoal_protocol::quoting::split_arguments(fixture.run("DUMP s").as_bytes()).unwrap().remove(0);
    let mut rng = shoal_machine::Rng::new(31);
    let mut accepted = 0;
    for _ in 0..10_000 {
        let mut payload = dumped.clone();
        for _ in 0..=rng.below(2) {
            let at = rng.index(payload.len() - 10);
            match rng.below(8) {
                0 => drop(payload.splice(at..at, [rng.below(4) as u8])),
                1 => drop(payload.remove(at)),
                2..=5 => payload[at] = rng.below(10) as u8,
                _ => payload[at] = rng.next_u64() as u8,
            }
        }
        let reply = fixture.run_words(&[b"RESTORE".as_slice(), b"r", b"0", &payload]);
        if reply != b"+OK\r\n" {
            fixture.check("EXISTS r", ":0");
            continue;
        }
        accepted += 1;
        for line in [
            "XINFO STREAM r FULL COUNT 0",
            "XREVRANGE r + -",
            "XREADGROUP GROUP g c STREAMS r 0",
            "XREADGROUP GROUP g c STREAMS r >",
            "XAUTOCLAIM r g d 0 0",
            "XADD r MAXLEN 4 * f v",
            "XTRIM r MINID 4",
            "XDEL r 5-5 6-6",
            "XGROUP DELCONSUMER r g c",
            "COPY r r2 REPLACE",
            "MEMORY USAGE r SAMPLES 0",
            "DEL r",
        ] {
            fixture.run(line);
        }
    }
    assert!(accepted > 300, "some damage is only to texts: {accepted}");
}
