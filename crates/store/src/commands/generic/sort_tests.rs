//! Cases for SORT and SORT_RO. Replies were compared with those of a redis-server 7.0.

use crate::database::Layout;
use crate::testing::Fixture;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

fn with_weights() -> Fixture {
    let mut fixture = Fixture::default();
    fixture.run("RPUSH l 3 1 2 10");
    fixture.run("MSET w1 30 w2 20 w3 10 o1 uno o2 due o10 dieci");
    fixture.run("HSET h1 f 7 g x");
    fixture.run("HSET h2 f 9");
    fixture.run("HSET h3 f 8 g y");
    fixture
}

#[test]
fn orders_and_limits() {
    with_weights().check_all(&[
        ("SORT l", "[\"1\" \"2\" \"3\" \"10\"]"),
        ("SORT l DESC", "[\"10\" \"3\" \"2\" \"1\"]"),
        ("SORT l DESC ASC", "[\"1\" \"2\" \"3\" \"10\"]"),
        ("SORT l ALPHA", "[\"1\" \"10\" \"2\" \"3\"]"),
        ("SORT l ALPHA DESC", "[\"3\" \"2\" \"10\" \"1\"]"),
        ("SORT l LIMIT 1 2", "[\"2\" \"3\"]"),
        ("SORT l LIMIT -5 2", "[\"1\" \"2\"]"),
        ("SORT l LIMIT 2 -1", "[\"3\" \"10\"]"),
        ("SORT l LIMIT 2 -7", "[\"3\" \"10\"]"),
        ("SORT l LIMIT 4 1", "[]"),
        ("SORT l LIMIT 1 0", "[]"),
        ("SORT l LIMIT 3 9223372036854775807", "[\"10\"]"),
        ("SORT l DESC LIMIT 0 1", "[\"10\"]"),
        ("SORT none", "[]"),
        ("SORT none BY w* GET #", "[]"),
        ("SORT_RO l DESC LIMIT 0 2", "[\"10\" \"3\"]"),
        ("RPUSH floats 1.5 -inf 1e2 0x10 -3", ":5"),
        ("SORT floats", "[\"-inf\" \"-3\" \"1.5\" \"0x10\" \"1e2\"]"),
        ("RPUSH ties 01 1 1.0 001", ":4"),
        ("SORT ties", "[\"001\" \"01\" \"1\" \"1.0\"]"),
        ("SORT ties DESC", "[\"1.0\" \"1\" \"01\" \"001\"]"),
        ("RPUSH odd 2 \"\" \" 1\"", ":3"),
        ("SORT odd", "[\"\" \" 1\" \"2\"]"),
        ("RPUSH words b a", ":2"),
        ("SORT words", "-ERR One or more scores can't be converted into double"),
        ("SORT words ALPHA", "[\"a\" \"b\"]"),
        ("RPUSH spaces \"1 \"", ":1"),
        ("SORT spaces", "-ERR One or more scores can't be converted into double"),
        ("RPUSH bytes \"3\\x00x\" \"\\x008\" 2", ":3"),
        ("SORT bytes", "[\"\\x008\" \"2\" \"3\\x00x\"]"),
        ("RPUSH nan nan", ":1"),
        ("SORT nan", "-ERR One or more scores can't be converted into double"),
    ]);
}

#[test]
fn other_keys_give_order_and_values() {
    with_weights().check_all(&[
        ("SORT l BY w*", "[\"10\" \"3\" \"2\" \"1\"]"),
        ("SORT l BY w* DESC", "[\"1\" \"2\" \"3\" \"10\"]"),
        ("SORT l BY h*->f", "[\"10\" \"1\" \"3\" \"2\"]"),
        ("SORT l BY h*->g ALPHA", "[\"2\" \"10\" \"1\" \"3\"]"),
        ("SORT l BY h*->", "[\"1\" \"10\" \"2\" \"3\"]"),
        ("SORT l BY w* ALPHA LIMIT 1 2", "[\"3\" \"2\"]"),
        ("SORT l BY o*", "-ERR One or more scores can't be converted into double"),
        ("SORT l GET #", "[\"1\" \"2\" \"3\" \"10\"]"),
        ("SORT l GET o*", "[\"uno\" \"due\" nil \"dieci\"]"),
        (
            "SORT l GET # GET h*->f GET w*",
            "[\"1\" \"7\" \"30\" \"2\" \"9\" \"20\" \"3\" \"8\" \"10\" \"10\" nil nil]",
        ),
        ("SORT l LIMIT 0 1 GET h* GET w*->f GET fixed", "[nil nil nil]"),
        ("SORT l BY nosort", "[\"3\" \"1\" \"2\" \"10\"]"),
        ("SORT l BY #", "[\"3\" \"1\" \"2\" \"10\"]"),
        ("SORT l BY nosort DESC", "[\"10\" \"2\" \"1\" \"3\"]"),
        ("SORT l BY nosort LIMIT 1 2", "[\"1\" \"2\"]"),
        ("SORT l BY nosort DESC LIMIT 1 2", "[\"2\" \"1\"]"),
        ("SORT l BY nosort DESC LIMIT 9 2", "[]"),
        ("SORT l BY nosort BY w*", "[\"3\" \"1\" \"2\" \"10\"]"),
        ("SORT l BY nosort GET o* LIMIT 1 1", "[\"uno\"]"),
    ]);
}

#[test]
fn sets_and_sorted_sets() {
    with_weights().check_all(&[
        ("SADD s 3 1 2 10", ":4"),
        ("SORT s", "[\"1\" \"2\" \"3\" \"10\"]"),
        ("SORT s BY w* LIMIT 1 2", "[\"3\" \"2\"]"),
        ("SADD t c b a", ":3"),
        ("SORT t ALPHA DESC", "[\"c\" \"b\" \"a\"]"),
        ("SORT t BY none* ALPHA", "[\"a\" \"b\" \"c\"]"),
        ("SORT t BY nosort STORE out", ":3"),
        ("LRANGE out 0 -1", "[\"a\" \"b\" \"c\"]"),
        ("ZADD z 1 a 5 b 2 c 10 d 3 e", ":5"),
        ("SORT z ALPHA DESC", "[\"e\" \"d\" \"c\" \"b\" \"a\"]"),
        ("SORT z BY nosort", "[\"a\" \"c\" \"e\" \"b\" \"d\"]"),
        ("SORT z BY nosort DESC", "[\"d\" \"b\" \"e\" \"c\" \"a\"]"),
        ("SORT z BY nosort LIMIT 1 2", "[\"c\" \"e\"]"),
        ("SORT z BY nosort DESC LIMIT 1 2", "[\"b\" \"e\"]"),
        ("SORT z BY nosort DESC LIMIT 4 9", "[\"a\"]"),
        ("SORT z BY nosort LIMIT 5 9", "[]"),
        ("SORT z BY nosort STORE out", ":5"),
        ("LRANGE out 0 -1", "[\"a\" \"c\" \"e\" \"b\" \"d\"]"),
    ]);
}

#[test]
fn outcomes_are_stored() {
    let mut fixture = with_weights();
    fixture.run("SET out v EX 100");
    fixture.check("SORT l STORE out", ":4");
    assert_eq!((fixture.effects.dirty, fixture.events()), (4, vec!["sortstore 0 out".to_owned()]));
    assert_eq!(fixture.propagated("SORT l STORE out"), ["SORT l STORE out"]);
    fixture.check_all(&[
        ("LRANGE out 0 -1", "[\"1\" \"2\" \"3\" \"10\"]"),
        ("OBJECT ENCODING out", "\"listpack\""),
        ("TTL out", ":-1"),
        ("SORT l GET o* GET # LIMIT 1 2 STORE out", ":4"),
        ("LRANGE out 0 -1", "[\"due\" \"2\" \"\" \"3\"]"),
        ("SORT l DESC STORE l", ":4"),
        ("LRANGE l 0 -1", "[\"10\" \"3\" \"2\" \"1\"]"),
        ("SORT none STORE out", ":0"),
        ("EXISTS out", ":0"),
        ("SORT none STORE out", ":0"),
    ]);
    assert_eq!((fixture.effects.dirty, fixture.events().len()), (0, 1), "only the miss of the source");
    fixture.options.limits.list_max_listpack_size = 2;
    fixture.check_all(&[("SORT l STORE out", ":4"), ("OBJECT ENCODING out", "\"quicklist\"")]);
}

#[test]
fn what_is_refused() {
    let mut fixture = with_weights();
    fixture.check_all(&[
        ("SORT w1", WRONG_TYPE),
        ("SORT h1", WRONG_TYPE),
        ("SORT w1 LIMIT 1", "-ERR syntax error"),
        ("SORT l LIMIT x 1", "-ERR value is not an integer or out of range"),
        ("SORT l BY", "-ERR syntax error"),
        ("SORT l GET", "-ERR syntax error"),
        ("SORT l STORE", "-ERR syntax error"),
        ("SORT l UP", "-ERR syntax error"),
        ("SORT_RO l STORE x", "-ERR syntax error"),
    ]);
    let mut clustered = Fixture::new(Layout::PerSlot);
    clustered.check_all(&[
        ("RPUSH l 2 1", ":2"),
        ("SORT l", "[\"1\" \"2\"]"),
        ("SORT l BY nosort", "[\"2\" \"1\"]"),
        ("SORT l BY w*", "-ERR BY option of SORT denied in Cluster mode."),
        ("SORT l GET #", "-ERR GET option of SORT denied in Cluster mode."),
    ]);
}

#[test]
fn keys_that_expire_while_they_are_looked_at() {
    let mut fixture = with_weights();
    for number in 0..200 {
        fixture.run(&format!("SET w{} 5 PX 10", number + 100));
        fixture.run(&format!("RPUSH l {}", number + 100));
    }
    fixture.now_ms += 11;
    fixture.check("SORT l BY w* LIMIT 200 4", "[\"299\" \"3\" \"2\" \"1\"]");
    assert_eq!(fixture.effects.expired, 200);
}
