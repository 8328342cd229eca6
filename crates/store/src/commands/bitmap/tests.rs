//! Cases for bitmap commands. Replies were taken from a redis-server 7.0, those to wrong arguments without a key from 7.2.

use crate::testing::Fixture;

#[test]
fn single_bits() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SETBIT k 1 1", ":0"),
        ("GET k", "\"@\""),
        ("OBJECT ENCODING k", "\"raw\""),
        ("SETBIT k 1 1", ":1"),
        ("SETBIT k 1 0", ":1"),
        ("GET k", "\"\\x00\""),
        ("SETBIT k 23 1", ":0"),
        ("GET k", "\"\\x00\\x00\\x01\""),
        ("GETBIT k 23", ":1"),
        ("GETBIT k 22", ":0"),
        ("GETBIT k 1000", ":0"),
        ("GETBIT none 5", ":0"),
        ("SET n 1", "+OK"),
        ("GETBIT n 2", ":1"),
        ("SETBIT n 6 1", ":0"),
        ("GET n", "\"3\""),
        ("OBJECT ENCODING n", "\"raw\""),
        ("SETBIT k -1 1", "-ERR bit offset is not an integer or out of range"),
        ("SETBIT k 4294967296 1", "-ERR bit offset is not an integer or out of range"),
        ("SETBIT k x 1", "-ERR bit offset is not an integer or out of range"),
        ("SETBIT k #1 1", "-ERR bit offset is not an integer or out of range"),
        ("GETBIT k -1", "-ERR bit offset is not an integer or out of range"),
        ("SETBIT k 0 2", "-ERR bit is not an integer or out of range"),
        ("SETBIT k 0 x", "-ERR bit is not an integer or out of range"),
        ("RESTORE list 0 x", "-ERR DUMP payload version or checksum are wrong"),
    ]);
    fixture.check("SETBIT fresh 0 0", ":0");
    assert_eq!(fixture.effects.dirty, 1);
    assert_eq!(fixture.events(), ["new 0 fresh", "setbit 0 fresh"]);
    fixture.check("SETBIT fresh 0 0", ":0");
    assert_eq!((fixture.effects.dirty, fixture.events().len()), (0, 0));
    fixture.check("SETBIT fresh 8 0", ":0");
    assert_eq!((fixture.effects.dirty, fixture.events()), (1, vec!["setbit 0 fresh".to_owned()]));
}

#[test]
fn long_strings_are_changed_in_place() {
    let mut fixture = Fixture::default();
    fixture.check("SETBIT big 4294967295 1", ":0");
    let address = |fixture: &Fixture| {
        let database = fixture.keyspace.database(0);
        let entry = database.entry(database.find(b"big").unwrap());
        entry.text().unwrap().with_bytes(|bytes| bytes.as_ptr() as usize)
    };
    let before = address(&fixture);
    fixture.check_all(&[
        ("SETBIT big 7 1", ":0"),
        ("BITFIELD big SET u8 #1 255", "[:0]"),
        ("STRLEN big", ":536870912"),
        ("BITCOUNT big 0 1", ":9"),
        ("BITPOS big 1", ":7"),
        ("BITPOS big 1 2", ":4294967295"),
        ("BITCOUNT big -8 -1 BIT", ":1"),
    ]);
    assert_eq!(address(&fixture), before);
    fixture.options.max_string_bytes = 10;
    fixture.check("SETBIT k 80 1", "-ERR bit offset is not an integer or out of range");
    fixture.access.from_primary = true;
    fixture.check("SETBIT k 80 1", ":0");
}

#[test]
fn counts_and_positions() {
    Fixture::default().check_all(&[
        ("SET k foobar", "+OK"),
        ("BITCOUNT k", ":26"),
        ("BITCOUNT k 0 0", ":4"),
        ("BITCOUNT k 1 1", ":6"),
        ("BITCOUNT k 0 -5", ":10"),
        ("BITCOUNT k 5 30 BIT", ":17"),
        ("BITCOUNT k 5 30 byte", ":4"),
        ("BITCOUNT k -2 -7", ":0"),
        ("BITCOUNT k -20 -10", ":4"),
        ("BITCOUNT k 10 5", ":0"),
        ("BITCOUNT k 0 0 hello", "-ERR syntax error"),
        ("BITCOUNT k 0", "-ERR syntax error"),
        ("BITCOUNT k 0 1 BIT x", "-ERR syntax error"),
        ("BITCOUNT k a b", "-ERR value is not an integer or out of range"),
        ("BITCOUNT none", ":0"),
        ("BITCOUNT none 0 x", "-ERR value is not an integer or out of range"),
        ("BITCOUNT none 0 1 hello", "-ERR syntax error"),
        ("BITPOS k 1", ":1"),
        ("BITPOS k 0", ":0"),
        ("BITPOS k 1 2", ":17"),
        ("BITPOS k 0 10 12 BIT", ":11"),
        ("BITPOS k 1 3 4 BIT", ":-1"),
        ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
        ("BITPOS k x", "-ERR value is not an integer or out of range"),
        ("BITPOS k 1 x", "-ERR value is not an integer or out of range"),
        ("BITPOS k 1 0 x WORD", "-ERR syntax error"),
        ("BITPOS k 1 0 x BIT", "-ERR value is not an integer or out of range"),
        ("BITPOS k 1 100", ":-1"),
        ("BITPOS none 1", ":-1"),
        ("BITPOS none 0", ":0"),
        ("BITPOS none 0 x", "-ERR value is not an integer or out of range"),
        ("SET full \"\\xff\\xff\"", "+OK"),
        ("BITPOS full 0", ":16"),
        ("BITPOS full 0 0", ":16"),
        ("BITPOS full 0 0 -1", ":-1"),
        ("BITPOS full 0 1 1 BIT", ":-1"),
        ("SET empty \"\"", "+OK"),
        ("BITPOS empty 0", ":-1"),
        ("BITCOUNT empty", ":0"),
    ]);
}

#[test]
fn operations() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("SET a \"\\x01\\xff\\x0f\"", "+OK"),
        ("SET b \"\\x03\\xf0\"", "+OK"),
        ("BITOP AND r a b", ":3"),
        ("GET r", "\"\\x01\\xf0\\x00\""),
        ("BITOP or r a b", ":3"),
        ("GET r", "\"\\x03\\xff\\x0f\""),
        ("BITOP XOR r a b", ":3"),
        ("GET r", "\"\\x02\\x0f\\x0f\""),
        ("BITOP NOT r a", ":3"),
        ("GET r", "\"\\xfe\\x00\\xf0\""),
        ("BITOP AND r a none", ":3"),
        ("GET r", "\"\\x00\\x00\\x00\""),
        ("BITOP AND r none a", ":3"),
        ("GET r", "\"\\x00\\x00\\x00\""),
        ("BITOP OR r a", ":3"),
        ("GET r", "\"\\x01\\xff\\x0f\""),
        ("EXPIRE r 100", ":1"),
        ("BITOP XOR r r r", ":3"),
        ("TTL r", ":-1"),
        ("BITOP NOT r a b", "-ERR BITOP NOT must be called with a single source key."),
        ("BITOP NAND r a b", "-ERR syntax error"),
        ("SET n 12", "+OK"),
        ("BITOP OR r n", ":2"),
        ("GET r", "\"12\""),
        ("OBJECT ENCODING r", "\"raw\""),
    ]);
    fixture.check("BITOP OR r none", ":0");
    assert_eq!(fixture.events(), ["keymiss 0 none", "del 0 r"]);
    assert_eq!(fixture.effects.dirty, 1);
    fixture.check("BITOP OR r none", ":0");
    assert_eq!(fixture.effects.dirty, 0);
    fixture.check("BITOP OR r a", ":3");
    assert_eq!(fixture.events(), ["new 0 r", "set 0 r"]);
}

#[test]
fn fields() {
    let mut fixture = Fixture::default();
    fixture.check_all(&[
        ("BITFIELD k SET i8 0 -100 GET i8 0 GET u8 0", "[:0 :-100 :156]"),
        ("BITFIELD k INCRBY i8 0 -100", "[:56]"),
        ("BITFIELD k OVERFLOW SAT INCRBY i8 0 100", "[:127]"),
        ("BITFIELD k OVERFLOW FAIL INCRBY i8 0 1", "[nil]"),
        ("BITFIELD k OVERFLOW FAIL INCRBY u8 #1 255 OVERFLOW WRAP INCRBY u8 8 1", "[:255 :0]"),
        ("BITFIELD k SET i64 #1 9223372036854775807 INCRBY i64 #1 1", "[:0 :-9223372036854775808]"),
        ("BITFIELD k OVERFLOW SAT INCRBY i64 #1 -1", "[:-9223372036854775808]"),
        ("BITFIELD k SET u63 3 9223372036854775807 GET u63 3 GET i64 2", "[:8935141660703064066 :9223372036854775807 :-1]"),
        ("BITFIELD k OVERFLOW SAT SET u4 0 -1 GET u4 0", "[:7 :15]"),
        ("BITFIELD k GET u8 1000000", "[:0]"),
        ("STRLEN k", ":16"),
        ("BITFIELD k", "[]"),
        ("BITFIELD none GET i8 0", "[:0]"),
        ("EXISTS none", ":0"),
        ("BITFIELD k GET u64 0", "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."),
        ("BITFIELD k GET i65 0", "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."),
        ("BITFIELD k GET u0 0", "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."),
        ("BITFIELD k GET x8 0", "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."),
        ("BITFIELD k GET u8 -1", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k GET u8 #x", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k GET u8 #536870912", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k SET u8 0 x", "-ERR value is not an integer or out of range"),
        ("BITFIELD k SET u8 0", "-ERR syntax error"),
        ("BITFIELD k OVERFLOW", "-ERR syntax error"),
        ("BITFIELD k OVERFLOW x", "-ERR Invalid OVERFLOW type specified"),
        ("BITFIELD_RO k GET u8 0 GET u4 #1", "[:255 :15]"),
        ("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
    ]);
    fixture.check("BITFIELD k SET u4 0 3 SET u4 0 3 SET u4 4 1", "[:15 :3 :15]");
    assert_eq!((fixture.effects.dirty, fixture.events()), (2, vec!["setbit 0 k".to_owned()]));
    fixture.check("BITFIELD fresh OVERFLOW FAIL SET u4 0 16", "[nil]");
    assert_eq!(fixture.effects.dirty, 1, "replicas hear of the longer string");
    fixture.check("GET fresh", "\"\\x00\"");
}
