//! Cases for string commands. Replies were taken from a redis-server 7.0.

use crate::testing::Fixture;

#[test]
fn set_and_its_options() {
    Fixture::default().check_all(&[
        ("SET k v", "+OK"),
        ("GET k", "\"v\""),
        ("SET k w NX", "nil"),
        ("SET new w NX", "+OK"),
        ("SET none w XX", "nil"),
        ("SET k w XX", "+OK"),
        ("SET k x GET", "\"w\""),
        ("SET fresh x GET", "nil"),
        ("SET fresh y NX GET", "\"x\""),
        ("GET fresh", "\"x\""),
        ("SET other y XX GET", "nil"),
        ("EXISTS other", ":0"),
        ("SET k v EX 100", "+OK"),
        ("TTL k", ":100"),
        ("SET k v KEEPTTL", "+OK"),
        ("TTL k", ":100"),
        ("SET k v", "+OK"),
        ("TTL k", ":-1"),
        ("SET k v PX 1500", "+OK"),
        ("PTTL k", ":1500"),
        ("SET k v EXAT 1700000100", "+OK"),
        ("TTL k", ":100"),
        ("SET k v PXAT 1700000100500", "+OK"),
        ("PTTL k", ":100500"),
        ("SET k v EX 10 EX 20", "+OK"),
        ("TTL k", ":20"),
        ("SET k v EX", "-ERR syntax error"),
        ("SET k v NX XX", "-ERR syntax error"),
        ("SET k v EX 10 PX 20", "-ERR syntax error"),
        ("SET k v EX 10 KEEPTTL", "-ERR syntax error"),
        ("SET k v KEEPTTL EX 10", "-ERR syntax error"),
        ("SET k v PERSIST", "-ERR syntax error"),
        ("SET k v EX ten", "-ERR value is not an integer or out of range"),
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v PX -5", "-ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET k", "-ERR wrong number of arguments for 'set' command"),
        ("SETEX k 10 v", "+OK"),
        ("TTL k", ":10"),
        ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
        ("PSETEX k 10000 v", "+OK"),
        ("PTTL k", ":10000"),
        ("PSETEX k -1 v", "-ERR invalid expire time in 'psetex' command"),
        ("SETNX k v", ":0"),
        ("SETNX k2 v", ":1"),
        ("GETSET k2 w", "\"v\""),
        ("GETSET k3 w", "nil"),
        ("SET past v PXAT 1", "+OK"),
        ("GET past", "nil"),
    ]);
}

#[test]
fn several_keys() {
    Fixture::default().check_all(&[
        ("MSET a 1 b 2 a 3", "+OK"),
        ("MGET a b none", "[\"3\" \"2\" nil]"),
        ("MSET a", "-ERR wrong number of arguments for 'mset' command"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a 1 c 2", ":0"),
        ("EXISTS c", ":0"),
        ("MSETNX c 1 d 2", ":1"),
        ("MSETNX c 1 d", "-ERR wrong number of arguments for 'msetnx' command"),
        ("MGET c d", "[\"1\" \"2\"]"),
    ]);
}

#[test]
fn get_and_its_kin() {
    Fixture::default().check_all(&[
        ("GET none", "nil"),
        ("SET k v", "+OK"),
        ("GETDEL k", "\"v\""),
        ("GETDEL k", "nil"),
        ("SET k v", "+OK"),
        ("GETEX k", "\"v\""),
        ("GETEX k EX 10", "\"v\""),
        ("TTL k", ":10"),
        ("GETEX k", "\"v\""),
        ("TTL k", ":10"),
        ("GETEX k PERSIST", "\"v\""),
        ("TTL k", ":-1"),
        ("GETEX k PXAT 1700000005000", "\"v\""),
        ("PTTL k", ":5000"),
        ("GETEX k PERSIST EX 1", "-ERR syntax error"),
        ("GETEX k EX 1 PERSIST", "-ERR syntax error"),
        ("GETEX k EX 1 PX 1", "-ERR syntax error"),
        ("GETEX k KEEPTTL", "-ERR syntax error"),
        ("GETEX k EX", "-ERR syntax error"),
        ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command"),
        ("GETEX none EX 0", "nil"),
        ("GETEX k EXAT 1", "\"v\""),
        ("EXISTS k", ":0"),
        ("STRLEN none", ":0"),
        ("SET k hello", "+OK"),
        ("STRLEN k", ":5"),
        ("SET n -123", "+OK"),
        ("STRLEN n", ":4"),
    ]);
}

#[test]
fn ranges() {
    let mut fixture = Fixture::default();
    fixture.check("SET k \"Hello World\"", "+OK");
    fixture.check("SET n 12345", "+OK");
    fixture.check_all(&[
        ("GETRANGE k 0 4", "\"Hello\""),
        ("GETRANGE k -5 -1", "\"World\""),
        ("GETRANGE k 0 -1", "\"Hello World\""),
        ("GETRANGE k 5 1", "\"\""),
        ("GETRANGE k -1 -5", "\"\""),
        ("GETRANGE k -100 2", "\"Hel\""),
        ("GETRANGE k 0 -100", "\"H\""),
        ("GETRANGE k 20 30", "\"\""),
        ("GETRANGE k 0 9223372036854775807", "\"Hello World\""),
        ("GETRANGE k -9223372036854775808 -1", "\"Hello World\""),
        ("GETRANGE none 0 -1", "\"\""),
        ("GETRANGE n 1 3", "\"234\""),
        ("GETRANGE k x 3", "-ERR value is not an integer or out of range"),
        ("SUBSTR k 0 1", "\"He\""),
        ("SETRANGE k 6 Redis", ":11"),
        ("GET k", "\"Hello Redis\""),
        ("SETRANGE k 12 !", ":13"),
        ("GET k", "\"Hello Redis\\x00!\""),
        ("SETRANGE pad 3 x", ":4"),
        ("GET pad", "\"\\x00\\x00\\x00x\""),
        ("SETRANGE none 3 \"\"", ":0"),
        ("EXISTS none", ":0"),
        ("SETRANGE k 3 \"\"", ":13"),
        ("SETRANGE k -1 x", "-ERR offset is out of range"),
        ("SETRANGE k 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SETRANGE k 9223372036854775807 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SETRANGE n 1 x", ":5"),
        ("GET n", "\"1x345\""),
        ("OBJECT ENCODING n", "\"raw\""),
        ("APPEND n 6", ":6"),
        ("APPEND fresh 10", ":2"),
        ("OBJECT ENCODING fresh", "\"int\""),
        ("APPEND fresh 5", ":3"),
        ("OBJECT ENCODING fresh", "\"raw\""),
        ("INCR fresh", ":106"),
        ("APPEND empty \"\"", ":0"),
        ("EXISTS empty", ":1"),
    ]);
}

#[test]
fn long_strings_change_in_place() {
    let mut fixture = Fixture::default();
    let long = "x".repeat(3000);
    fixture.check(&format!("SET k {long}"), "+OK");
    fixture.check("APPEND k yz", ":3002");
    fixture.check("SETRANGE k 3001 ab", ":3003");
    fixture.check("GETRANGE k 2999 -1", "\"xyab\"");
    fixture.check("SETRANGE k 5000 !", ":5001");
    fixture.check("STRLEN k", ":5001");
    fixture.check("GETRANGE k 4998 -1", "\"\\x00\\x00!\"");
    fixture.check(&format!("APPEND small {}", "s".repeat(1000)), ":1000");
    fixture.check(&format!("APPEND small {}", "s".repeat(1000)), ":2000");
    fixture.options.max_string_bytes = 2001;
    fixture.check("APPEND small xx", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    fixture.check("APPEND small x", ":2001");
}

#[test]
fn numbers() {
    Fixture::default().check_all(&[
        ("INCR n", ":1"),
        ("INCRBY n 10", ":11"),
        ("DECR n", ":10"),
        ("DECRBY n 4", ":6"),
        ("GET n", "\"6\""),
        ("OBJECT ENCODING n", "\"int\""),
        ("INCRBY n x", "-ERR value is not an integer or out of range"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
        ("SET n 9223372036854775807", "+OK"),
        ("INCR n", "-ERR increment or decrement would overflow"),
        ("SET n -9223372036854775808", "+OK"),
        ("DECR n", "-ERR increment or decrement would overflow"),
        ("SET s abc", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("SET s \" 11\"", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("SET e 5 EX 100", "+OK"),
        ("INCR e", ":6"),
        ("TTL e", ":100"),
        ("INCRBYFLOAT f 10.5", "\"10.5\""),
        ("INCRBYFLOAT f 0.1", "\"10.6\""),
        ("INCRBYFLOAT f -0.6", "\"10\""),
        ("OBJECT ENCODING f", "\"embstr\""),
        ("INCR f", ":11"),
        ("INCRBYFLOAT e 1.5e3", "\"1506\""),
        ("TTL e", ":100"),
        ("INCRBYFLOAT f x", "-ERR value is not a valid float"),
        ("INCRBYFLOAT s 1", "-ERR value is not a valid float"),
        ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity"),
        ("INCRBYFLOAT f nan", "-ERR value is not a valid float"),
    ]);
}

#[test]
fn common_subsequences() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("MSET a ohmytext b mynewtext", "+OK"),
        ("LCS a b", "\"mytext\""),
        ("LCS a b LEN", ":6"),
        ("LCS a b IDX", "[\"matches\" [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] \"len\" :6]"),
        ("LCS a b IDX MINMATCHLEN 4", "[\"matches\" [[[:4 :7] [:5 :8]]] \"len\" :6]"),
        ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "[\"matches\" [[[:4 :7] [:5 :8] :4]] \"len\" :6]"),
        ("LCS a b LEN IDX", "-ERR If you want both the length and indexes, please just use IDX."),
        ("LCS a b MINMATCHLEN", "-ERR syntax error"),
        ("LCS a b FOO", "-ERR syntax error"),
        ("LCS a none", "\"\""),
        ("LCS none none IDX", "[\"matches\" [] \"len\" :0]"),
    ]);
    fixture.resp3 = true;
    fixture.check("LCS a b IDX MINMATCHLEN 9", "{\"matches\" [] \"len\" :6}");
    fixture.options.max_string_bytes = 100;
    fixture.check("LCS a b", "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
}

#[test]
fn effects_are_the_same_everywhere() {
    let mut fixture = Fixture::default();
    fixture.run("SET gone v PX 1");
    fixture.now_ms += 10;
    for (line, propagated, events) in [
        ("SET k v", vec!["SET k v"], vec!["new 0 k", "set 0 k"]),
        ("SET k v EX 10 NX", vec![], vec![]),
        ("SET k v EX 10", vec!["SET k v PXAT 1700000010010"], vec!["set 0 k", "expire 0 k"]),
        ("SET k v PXAT 1700000010010", vec!["SET k v PXAT 1700000010010"], vec!["set 0 k", "expire 0 k"]),
        ("SET k v GET pxat 1700000010010", vec!["SET k v PXAT 1700000010010"], vec!["set 0 k", "expire 0 k"]),
        ("SET k v get XX", vec!["SET k v XX"], vec!["set 0 k"]),
        ("SETEX k 1 v", vec!["SET k v PXAT 1700000001010"], vec!["set 0 k", "expire 0 k"]),
        ("GETEX k PX 50", vec!["PEXPIREAT k 1700000000060"], vec!["expire 0 k"]),
        ("GETEX k PERSIST", vec!["PERSIST k"], vec!["persist 0 k"]),
        ("GETEX k PERSIST", vec![], vec![]),
        ("GETEX k PXAT 5", vec!["DEL k"], vec!["del 0 k"]),
        ("GETSET k w", vec!["SET k w"], vec!["keymiss 0 k", "new 0 k", "set 0 k"]),
        ("INCRBYFLOAT f 1.5", vec!["SET f 1.5 KEEPTTL"], vec!["new 0 f", "incrbyfloat 0 f"]),
        ("INCR n", vec!["INCR n"], vec!["new 0 n", "incrby 0 n"]),
        ("GETDEL k", vec!["DEL k"], vec!["del 0 k"]),
        ("GET gone", vec!["DEL gone"], vec!["expired 0 gone", "keymiss 0 gone"]),
        ("MSET a 1 b 2", vec!["MSET a 1 b 2"], vec!["new 0 a", "set 0 a", "new 0 b", "set 0 b"]),
        ("APPEND a 1", vec!["APPEND a 1"], vec!["append 0 a"]),
        ("SETRANGE a 1 x", vec!["SETRANGE a 1 x"], vec!["setrange 0 a"]),
    ] {
        fixture.run(line);
        assert_eq!(fixture.propagated(line), propagated, "{line}");
        assert_eq!(fixture.events(), events, "{line}");
    }
}
