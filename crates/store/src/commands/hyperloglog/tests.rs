//! Cases for HyperLogLog commands. Replies were taken from a redis-server 7.0.

use crate::testing::Fixture;

const NO_SKETCH: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "-INVALIDOBJ Corrupted HLL object detected";

#[test]
fn counts_are_cached_in_the_string() {
    let mut fixture = Fixture::default();
    fixture.check("PFADD h", ":1");
    assert_eq!(fixture.events(), ["new 0 h", "pfadd 0 h"]);
    fixture.check("GET h", "\"HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x7f\\xff\"");
    fixture.check("PFADD h", ":0");
    assert_eq!(fixture.effects.dirty, 0);
    fixture.check("PFADD h a b c", ":1");
    assert_eq!((fixture.effects.dirty, fixture.events()), (3, vec!["pfadd 0 h".to_owned()]));
    fixture.check("PFADD h a b c", ":0");
    fixture.check("PFCOUNT h", ":3");
    assert_eq!(fixture.propagated("PFCOUNT h"), ["PFCOUNT h"]);
    fixture.check(
        "GET h",
        "\"HYLL\\x01\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x00`\\xf3\\x80P\\xb1\\x84K\\xfb\\x80BZ\"",
    );
    fixture.check("PFCOUNT h", ":3");
    assert!(fixture.propagated("PFCOUNT h").is_empty());
    fixture.check_all(&[
        ("OBJECT ENCODING h", "\"raw\""),
        ("PFADD h d", ":1"),
        ("PFCOUNT h", ":4"),
        ("PFCOUNT h none", ":4"),
        ("PFCOUNT none", ":0"),
        ("PFCOUNT none none", ":0"),
    ]);
}

#[test]
fn merging_takes_what_is_highest() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("PFADD a 1 2 3", ":1"),
        ("PFADD b 3 4 5", ":1"),
        ("PFCOUNT a b", ":5"),
        ("PFMERGE c a b", "+OK"),
        ("PFCOUNT c", ":5"),
        ("PFDEBUG ENCODING c", "+sparse"),
        ("PFDEBUG TODENSE a", ":1"),
        ("PFDEBUG TODENSE a", ":0"),
        ("PFMERGE b a", "+OK"),
        ("PFDEBUG ENCODING b", "+dense"),
        ("PFCOUNT b", ":5"),
        ("PFCOUNT a c", ":5"),
        ("PFMERGE d none", "+OK"),
        ("PFCOUNT d", ":0"),
    ]);
    fixture.check("PFMERGE d", "+OK");
    assert_eq!((fixture.effects.dirty, fixture.events()), (1, vec!["pfadd 0 d".to_owned()]));
}

#[test]
fn sparse_becomes_dense() {
    let mut fixture = Fixture::default();
    fixture.options.limits.hll_sparse_max_bytes = 100;
    let mut count = 0;
    while fixture.run("PFDEBUG ENCODING h") != "+dense" {
        fixture.run(&format!("PFADD h element:{count}"));
        count += 1;
        if count < 30 {
            fixture.check("PFDEBUG ENCODING h", "+sparse");
            let length: usize = fixture.run("STRLEN h")[1..].parse().unwrap();
            assert!(length <= 100);
        }
    }
    assert!(count < 100);
    fixture.check("STRLEN h", ":12304");
    fixture.check("PFCOUNT h", &format!(":{count}"));
}

#[test]
fn foreign_bytes_are_refused() {
    let mut fixture = Fixture::default();
    let sound =
        "HYLL\\x01\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x80`\\xf3\\x80P\\xb1\\x84K\\xfb\\x80BZ";
    let sparse = |registers: &str| format!("{}{registers}", &sound[..4 + 12 * 4]);
    fixture.check(&format!("SET h \"{sound}\""), "+OK");
    fixture.check("PFCOUNT h", ":3");
    for (value, error) in [
        ("12", NO_SKETCH),
        ("HYLL", NO_SKETCH),
        (&sound.replace('Y', "X"), NO_SKETCH),
        (&sound.replacen("\\x01", "\\x02", 1), NO_SKETCH),
        (&sound.replacen("\\x01", "\\x00", 1), NO_SKETCH),
        (&format!("{sound}\\x00"), CORRUPTED),
        (&sparse(""), CORRUPTED),
        (&sparse("\\x7f"), CORRUPTED),
        (&sparse("\\x7f\\xfe\\x81"), CORRUPTED),
        (&sparse("\\x7f\\xfe"), CORRUPTED),
    ] {
        for command in ["PFADD k a b", "PFCOUNT k", "PFCOUNT k h", "PFMERGE k h", "PFMERGE h k"] {
            fixture.check(&format!("SET k \"{value}\""), "+OK");
            let before = fixture.run("GET k");
            fixture.check(command, error);
            assert_eq!(fixture.effects.dirty, 0);
            fixture.check("GET k", &before);
        }
    }
}

#[test]
fn debugging() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("PFADD h a b c", ":1"),
        ("PFDEBUG DECODE h", "\"Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603\""),
        ("PFDEBUG foo h", "-ERR Unknown PFDEBUG subcommand 'foo'"),
        ("PFDEBUG GETREG none", "-ERR The specified key does not exist"),
        ("SET s x", "+OK"),
        ("PFDEBUG GETREG s", NO_SKETCH),
        ("PFSELFTEST", "+OK"),
    ]);
    let registers = fixture.run("PFDEBUG GETREG h");
    assert_eq!(fixture.effects.dirty, 1);
    assert_eq!(registers.matches(":0").count(), 16384 - 3);
    assert_eq!(registers.split(' ').position(|register| register == ":1"), Some(8436));
    fixture.check("PFDEBUG DECODE h", "-ERR HLL encoding is not sparse");
}
