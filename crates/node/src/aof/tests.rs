//! Append-only files that are begun, rewritten, ended and loaded.

use super::AofState;
use crate::host::{SnapshotReport, SnapshotTarget};
use crate::testing::Fixture;
use shoal_config::AppendFsync;
use shoal_formats::aof::CommandReader;

/// A server that has started with an append-only file.
fn started(directives: &[(&str, &str)]) -> Fixture {
    let directives: Vec<_> =
        [("appendonly", "yes"), ("save", "\"\"")].iter().chain(directives).copied().collect();
    let mut fixture = Fixture::with_configuration(&directives);
    start(&mut fixture);
    fixture
}

fn start(fixture: &mut Fixture) {
    let now = fixture.host.clock;
    if fixture.node.begin_startup_aof(now, &mut fixture.host).unwrap() {
        let mut buffer = vec![0; 7];
        while !fixture.node.load_startup_aof(now, &mut fixture.host, &mut buffer).unwrap() {}
        fixture.node.finish_startup_load(now, &mut fixture.host).unwrap();
    }
    fixture.node.open_aof(now, &mut fixture.host).unwrap();
}

/// Another server with the files of this one.
fn restarted(old: &Fixture, directives: &[(&str, &str)]) -> Fixture {
    let directives: Vec<_> =
        [("appendonly", "yes"), ("save", "\"\"")].iter().chain(directives).copied().collect();
    let mut fixture = Fixture::with_configuration(&directives);
    fixture.host.aof.files = old.host.aof.files.clone();
    start(&mut fixture);
    fixture
}

/// The commands of a file.
fn commands(fixture: &mut Fixture, name: &str) -> Vec<String> {
    fixture.node.flush_aof(&mut fixture.host);
    let mut reader = CommandReader::new(0);
    reader.feed(&fixture.host.aof.files[name]);
    let mut commands = Vec::new();
    while let Some(request) = reader.next().unwrap() {
        let words: Vec<_> =
            request.as_request().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        commands.push(words.join(" "));
    }
    assert!(reader.is_at_boundary());
    commands
}

fn manifest(fixture: &Fixture) -> String {
    String::from_utf8(fixture.host.aof.files["appendonly.aof.manifest"].clone()).unwrap()
}

const FIRST: &str = "appendonly.aof.1.incr.aof";

#[test]
fn effects_go_into_the_file() {
    let mut fixture = started(&[]);
    assert_eq!(
        manifest(&fixture),
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    );
    for line in ["SET a 1", "GET a", "SELECT 3", "MULTI", "INCR n", "GET n", "INCRBY n 5", "EXEC", "DEL no"] {
        fixture.run(line);
    }
    fixture.check("SET e 1 EX 100", "+OK");
    let at_ms = fixture.host.clock.unix_ms() + 100_000;
    assert!(fixture.node.has_aof_output());
    assert_eq!(
        commands(&mut fixture, FIRST),
        [
            "SELECT 0".to_owned(),
            "SET a 1".to_owned(),
            "SELECT 3".to_owned(),
            "MULTI".to_owned(),
            "INCR n".to_owned(),
            "INCRBY n 5".to_owned(),
            "EXEC".to_owned(),
            format!("SET e 1 PXAT {at_ms}"),
        ]
    );
    assert_eq!(fixture.host.aof.policies, [AppendFsync::EverySecond]);
    assert!(!fixture.node.has_aof_output());
    let mut again = restarted(&fixture, &[]);
    again.check_all(&[("GET a", "\"1\""), ("SELECT 3", "+OK"), ("GET n", "\"6\""), ("TTL e", ":100")]);
    assert!(again.text("INFO commandstats").lines().all(|line| !line.contains("cmdstat_set:")));
    again.run("SET b 2");
    assert_eq!(commands(&mut again, FIRST)[8..], ["SELECT 3", "SET b 2"]);
    let info = again.text("INFO persistence");
    assert!(info.contains("aof_enabled:1\r\n") && info.contains("aof_last_write_status:ok\r\n"), "{info}");
}

#[test]
fn a_rewrite_replaces_what_was_before() {
    let mut fixture = started(&[]);
    fixture.run("SET a 1");
    fixture.check_all(&[
        ("BGREWRITEAOF", "+Background append only file rewriting started"),
        ("BGREWRITEAOF", "-ERR Background append only file rewriting already in progress"),
        ("BGSAVE SCHEDULE", "+Background saving scheduled"),
    ]);
    fixture.check_start("BGSAVE", "-ERR Another child process is active (AOF?)");
    assert_eq!(fixture.host.snapshots, [SnapshotTarget::AofBase]);
    assert!(manifest(&fixture).ends_with(
        "type b\nfile appendonly.aof.1.incr.aof seq 1 type i\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    ));
    fixture.run("SET b 2");
    assert!(fixture.text("INFO persistence").contains("aof_rewrite_in_progress:1\r\n"));
    // What goes on before the child has ended is loaded from three files.
    fixture.node.flush_aof(&mut fixture.host);
    restarted(&fixture, &[]).check("MGET a b", "[\"1\", \"2\"]");
    fixture.end_snapshot(Ok(SnapshotReport::default()));
    assert_eq!(
        manifest(&fixture),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    assert_eq!(commands(&mut fixture, "appendonly.aof.2.incr.aof"), ["SELECT 0", "SET b 2"]);
    assert_eq!(fixture.host.aof.files.len(), 3, "the history is gone");
    let mut again = restarted(&fixture, &[]);
    again.check("MGET a b", "[\"1\", \"2\"]");
    fixture.advance_ms(100);
    assert_eq!(fixture.host.snapshots.last(), Some(&SnapshotTarget::File), "the scheduled save follows");
}

#[test]
fn a_rewrite_that_fails_loses_nothing() {
    let mut fixture = started(&[]);
    fixture.run("SET a 1");
    fixture.run("BGREWRITEAOF");
    fixture.run("SET b 2");
    fixture.end_snapshot(Err("no space".to_owned()));
    let info = fixture.text("INFO persistence");
    assert!(info.contains("aof_last_bgrewrite_status:err\r\n"), "{info}");
    assert!(info.contains("aof_rewrites_consecutive_failures:1\r\n"), "{info}");
    fixture.run("SET c 3");
    fixture.node.flush_aof(&mut fixture.host);
    restarted(&fixture, &[]).check("MGET a b c", "[\"1\", \"2\", \"3\"]");
}

#[test]
fn switching_on_and_off() {
    let mut fixture = Fixture::with_configuration(&[("save", "\"\"")]);
    fixture.run("SET a 1");
    fixture.check("CONFIG SET appendonly yes", "+OK");
    assert_eq!(fixture.node.aof.state, AofState::Starting);
    assert_eq!(fixture.host.snapshots, [SnapshotTarget::AofBase]);
    fixture.run("SET b 2");
    fixture.check("CONFIG SET appendonly yes", "+OK");
    fixture.check_start("SHUTDOWN", "-ERR Errors trying to SHUTDOWN");
    fixture.end_snapshot(Ok(SnapshotReport::default()));
    assert_eq!(fixture.node.aof.state, AofState::On);
    fixture.run("SET c 3");
    assert_eq!(commands(&mut fixture, FIRST), ["SELECT 0", "SET b 2", "SET c 3"]);
    restarted(&fixture, &[]).check("MGET a b c", "[\"1\", \"2\", \"3\"]");
    fixture.run("SET d 4");
    fixture.check("CONFIG SET appendonly no", "+OK");
    assert_eq!(commands(&mut fixture, FIRST).last().unwrap(), "SET d 4");
    assert_eq!(fixture.host.aof.open, None);
    fixture.run("SET e 5");
    assert!(!fixture.node.has_aof_output());
    // What is on disk is old now: it must not be loaded together with what comes.
    fixture.run("DEL a");
    fixture.run("CONFIG SET appendonly yes");
    fixture.end_snapshot(Ok(SnapshotReport::default()));
    assert_eq!(
        manifest(&fixture),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    restarted(&fixture, &[]).check("MGET a d e", "[nil, \"4\", \"5\"]");
}

#[test]
fn switching_on_fails_and_is_repeated() {
    let mut fixture = Fixture::with_configuration(&[("save", "\"\"")]);
    fixture.host.save_error = Some("no memory".to_owned());
    fixture.check_start("CONFIG SET appendonly yes", "-ERR CONFIG SET failed");
    fixture.check("CONFIG GET appendonly", "[\"appendonly\", \"no\"]");
    assert_eq!((fixture.node.aof.state, &fixture.host.aof.open), (AofState::Off, &None));
    fixture.host.save_error = None;
    fixture.run("CONFIG SET appendonly yes");
    fixture.end_snapshot(Err("killed".to_owned()));
    fixture.run("SET a 1");
    fixture.advance_ms(200);
    assert_eq!(fixture.host.snapshots.len(), 2, "it is tried again");
    fixture.end_snapshot(Ok(SnapshotReport::default()));
    restarted(&fixture, &[]).check("GET a", "\"1\"");
}

#[test]
fn a_torn_end_is_cut_off() {
    let mut fixture = started(&[]);
    fixture.run("SET a 1");
    fixture.run("MULTI");
    fixture.run("SET b 2");
    fixture.run("SET c 3");
    fixture.run("EXEC");
    fixture.node.flush_aof(&mut fixture.host);
    let whole = fixture.host.aof.files[FIRST].clone();
    let until_a = whole.windows(5).position(|window| window == b"MULTI").unwrap() - 8;
    for cut in [until_a + 1, until_a + 20, whole.len() - 1, whole.len() - 10] {
        fixture.host.aof.files.insert(FIRST.to_owned(), whole[..cut].to_vec());
        let mut again = restarted(&fixture, &[]);
        again.check("MGET a b c", "[\"1\", nil, nil]");
        assert_eq!(again.host.aof.files[FIRST].len(), until_a);
        assert!(again.host.has_logged("AOF appendonly.aof.1.incr.aof loaded anyway"));
        let mut strict = Fixture::with_configuration(&[("appendonly", "yes"), ("aof-load-truncated", "no")]);
        strict.host.aof.files = fixture.host.aof.files.clone();
        assert!(load_error(&mut strict).starts_with("Unexpected end of file reading the append only file"));
        assert_eq!(strict.host.aof.files[FIRST].len(), cut);
    }
}

fn load_error(fixture: &mut Fixture) -> String {
    let now = fixture.host.clock;
    match fixture.node.begin_startup_aof(now, &mut fixture.host) {
        Err(reason) => return reason,
        Ok(found) => assert!(found),
    }
    let mut buffer = vec![0; 50];
    loop {
        match fixture.node.load_startup_aof(now, &mut fixture.host, &mut buffer) {
            Ok(is_done) => assert!(!is_done, "loading fails"),
            Err(reason) => return reason,
        }
    }
}

#[test]
fn what_cannot_be_loaded_is_refused() {
    let mut fixture = started(&[]);
    fixture.run("SET a 1");
    fixture.run("BGREWRITEAOF");
    fixture.run("SET b 1");
    fixture.node.flush_aof(&mut fixture.host);
    let files = fixture.host.aof.files.clone();
    let with = |name: &str, bytes: &[u8]| {
        let mut fixture = Fixture::with_configuration(&[("appendonly", "yes")]);
        fixture.host.aof.files = files.clone();
        fixture.host.aof.files.insert(name.to_owned(), bytes.to_vec());
        load_error(&mut fixture)
    };
    for (name, bytes, reason) in [
        (FIRST, &b"*1\r\n$4\r\nNOPE\r\n"[..], "Unknown command 'NOPE' reading"),
        (FIRST, b"SET a 1\r\n", "Bad file format reading the append only file"),
        (FIRST, b"*1\r\n$4\r\nPI", "Fatal error: the truncated file"),
        ("appendonly.aof.1.base.rdb", b"REDIS00xx", "Error reading the RDB base file"),
        ("appendonly.aof.1.base.rdb", b"REDIS0011\xfe", "Error reading the RDB base file"),
        ("appendonly.aof.manifest", b"nonsense\n", "Reading the manifest file"),
        ("appendonly.aof.manifest", b"file x seq 1 type b\n", "x: no such file"),
    ] {
        let error = with(name, bytes);
        assert!(error.starts_with(reason), "{error}");
    }
}

#[test]
fn writes_are_refused_while_the_disk_is_full() {
    let mut fixture = started(&[]);
    fixture.host.aof.error = Some("No space left on device".to_owned());
    fixture.check("SET a 1", "+OK");
    fixture.node.flush_aof(&mut fixture.host);
    fixture.check("SET b 1", "-MISCONF Errors writing to the AOF file: No space left on device");
    fixture.check("GET a", "\"1\"");
    assert!(fixture.text("INFO persistence").contains("aof_last_write_status:err\r\n"));
    fixture.host.aof.error = None;
    fixture.advance_ms(200);
    fixture.check("SET b 1", "+OK");
    assert!(fixture.host.crashes.is_empty());
    let mut strict = started(&[("appendfsync", "always")]);
    strict.host.aof.error = Some("No space left on device".to_owned());
    strict.run("SET a 1");
    strict.node.flush_aof(&mut strict.host);
    assert_eq!(strict.host.crashes, [crate::host::Crash::Abort]);
}

#[test]
fn after_a_lost_sync_only_a_new_base_helps() {
    let mut fixture = started(&[]);
    fixture.run("SET a 1");
    fixture.node.flush_aof(&mut fixture.host);
    fixture.host.aof.sync_error = Some("Input/output error".to_owned());
    fixture.run("SET b 1");
    fixture.node.flush_aof(&mut fixture.host);
    let refused = "-MISCONF Errors writing to the AOF file: Input/output error";
    fixture.check("SET c 1", refused);
    let before = manifest(&fixture);
    fixture.advance_ms(200);
    assert_eq!(fixture.host.snapshots, [SnapshotTarget::AofBase]);
    fixture.check("SET c 1", refused);
    assert_eq!(manifest(&fixture), before, "nothing is named behind a file that may be torn");
    fixture.end_snapshot(Ok(SnapshotReport::default()));
    fixture.check("SET c 1", "+OK");
    fixture.node.flush_aof(&mut fixture.host);
    assert_eq!(
        manifest(&fixture),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    restarted(&fixture, &[]).check("MGET a b c", "[\"1\", \"1\", \"1\"]");
    let mut strict = started(&[("appendfsync", "always")]);
    strict.host.aof.sync_error = Some("Input/output error".to_owned());
    strict.run("SET a 1");
    strict.node.flush_aof(&mut strict.host);
    assert_eq!(strict.host.crashes, [crate::host::Crash::Abort]);
}

#[test]
fn a_base_of_commands_holds_every_type() {
    let commands = [("aof-use-rdb-preamble", "no"), ("aof-timestamp-enabled", "yes")];
    let mut fixture = started(&commands);
    assert!(manifest(&fixture).starts_with("file appendonly.aof.1.base.aof seq 1 type b\n"));
    let many = |word: &str| -> String { (0..200).map(|number| format!(" {word}{number}")).collect() };
    let pairs =
        |word: &str| -> String { (0..200).map(|number| format!(" {number} {word}{number}")).collect() };
    for line in [
        "SET text \"a \\x00 \\r\\n b\"",
        "SET soon v PX 100000",
        "SET number -17",
        &format!("SET long {}", "x".repeat(100_000)),
        &format!("RPUSH list{}", many("element")),
        &format!("RPUSH short 1 two {}", "y".repeat(40_000)),
        &format!("SADD set{}", many("member")),
        "SADD numbers 1 2 3",
        &format!("HSET hash{}", pairs("value")),
        "HPEXPIRE hash 100000 FIELDS 2 3 150",
        &format!("ZADD sorted{}", pairs("member")),
        "ZADD odd -inf a inf b 0.1 c 1e300 d -0 e 3.0000000000000004 f",
        "SELECT 5",
        "XADD stream 1-1 a 1 b 2",
        "XADD stream 1-2 a 3 b 4",
        "XADD stream 5-0 c 5",
        "XADD stream 7-0 d 6",
        "XGROUP CREATE stream group 0 ENTRIESREAD 2",
        "XREADGROUP GROUP group alice COUNT 2 STREAMS stream >",
        "XREADGROUP GROUP group bob COUNT 1 STREAMS stream >",
        "XGROUP CREATECONSUMER stream group carol",
        "XDEL stream 7-0",
        "XADD empty 3-3 a 1",
        "XDEL empty 3-3",
        "XGROUP CREATE empty nobody $",
    ] {
        fixture.run(line);
    }
    let expected = fixture.text("DEBUG DIGEST");
    fixture.run("BGREWRITEAOF");
    fixture.end_snapshot(Ok(SnapshotReport::default()));
    fixture.run("SELECT 0");
    fixture.run("SET after 1");
    fixture.run("DEL after");
    fixture.node.flush_aof(&mut fixture.host);
    let base = fixture.host.aof.files["appendonly.aof.2.base.aof"].clone();
    let time = format!("#TS:{}\r\n", fixture.host.clock.unix_s());
    assert!(base.starts_with(time.as_bytes()));
    let increment = &fixture.host.aof.files["appendonly.aof.2.incr.aof"];
    assert!(increment.starts_with(time.as_bytes()), "{}", String::from_utf8_lossy(increment));
    let mut again = restarted(&fixture, &commands);
    assert_eq!(again.text("DEBUG DIGEST"), expected);
    again.check_all(&[("SELECT 5", "+OK"), ("XLEN empty", ":0")]);
    again.check(
        "XINFO GROUPS empty",
        "[[\"name\", \"nobody\", \"consumers\", :0, \"pending\", :0, \"last-delivered-id\", \"3-3\", \"entries-read\", nil, \"lag\", :0]]",
    );
}

#[test]
fn sectors_that_a_power_cut_took_are_cut_off() {
    let mut fixture = started(&[]);
    for number in 0..100 {
        fixture.run(&format!("SET key:{number} {}", "v".repeat(50)));
    }
    fixture.node.flush_aof(&mut fixture.host);
    let whole = fixture.host.aof.files[FIRST].clone();
    let load = |damage: &dyn Fn(&mut Vec<u8>), directives: &[(&str, &str)]| {
        let mut other = Fixture::with_configuration(&[&[("appendonly", "yes")], directives].concat());
        other.host.aof.files = fixture.host.aof.files.clone();
        damage(other.host.aof.files.get_mut(FIRST).unwrap());
        let now = other.host.clock;
        other.node.begin_startup_aof(now, &mut other.host).unwrap();
        let mut buffer = vec![0; 1000];
        let loaded = loop {
            match other.node.load_startup_aof(now, &mut other.host, &mut buffer) {
                Ok(false) => {}
                other => break other,
            }
        };
        loaded.map(|_| (other.node.keyspace().len(), other.host.aof.files[FIRST].len()))
    };
    let (keys, size) = load(&|bytes| bytes[1536..2048].fill(0), &[]).unwrap();
    assert!((10..30).contains(&keys) && (1400..=1536).contains(&size), "{keys} keys, {size} bytes");
    assert!(whole[size..].starts_with(b"*3\r\n"));
    assert!(load(&|bytes| bytes[1536..4096].fill(0), &[]).is_ok_and(|(_, left)| left == size));
    // What was written before a sync ends anywhere.
    assert!(load(&|bytes| bytes[size..2048].fill(0), &[]).is_ok_and(|(_, left)| left == size));
    assert!(
        load(&|bytes| bytes.extend([0; 100]), &[])
            .is_ok_and(|(keys, left)| keys == 100 && left == whole.len())
    );
    for refused in [
        load(&|bytes| bytes[size] = b'!', &[]),
        load(&|bytes| bytes[1530..1600].fill(0), &[]),
        load(&|bytes| bytes[1536..2048].fill(0), &[("aof-load-truncated", "no")]),
    ] {
        assert!(refused.is_err_and(|reason| reason.starts_with("Bad file format")));
    }
}

#[test]
fn history_stays_while_it_is_not_to_be_deleted() {
    let mut fixture = started(&[("aof-disable-auto-gc", "yes")]);
    for _ in 0..2 {
        fixture.run("BGREWRITEAOF");
        fixture.end_snapshot(Ok(SnapshotReport::default()));
    }
    assert_eq!(
        manifest(&fixture),
        "file appendonly.aof.3.base.rdb seq 3 type b\nfile appendonly.aof.2.incr.aof seq 2 type h\n\
         file appendonly.aof.2.base.rdb seq 2 type h\nfile appendonly.aof.1.incr.aof seq 1 type h\n\
         file appendonly.aof.1.base.rdb seq 1 type h\nfile appendonly.aof.3.incr.aof seq 3 type i\n"
    );
    assert!(fixture.host.aof.files.contains_key("appendonly.aof.1.base.rdb"));
    fixture.check("CONFIG SET aof-disable-auto-gc no", "+OK");
    assert_eq!(
        manifest(&fixture),
        "file appendonly.aof.3.base.rdb seq 3 type b\nfile appendonly.aof.3.incr.aof seq 3 type i\n"
    );
    assert_eq!(fixture.host.aof.files.len(), 3);
}

#[test]
fn after_many_failures_a_rewrite_by_itself_waits() {
    let mut fixture = started(&[("auto-aof-rewrite-min-size", "1kb"), ("auto-aof-rewrite-percentage", "1")]);
    for _ in 0..3 {
        fixture.check("BGREWRITEAOF", "+Background append only file rewriting started");
        fixture.end_snapshot(Err("no space".to_owned()));
    }
    fixture.run(&format!("SET x {}", "x".repeat(2000)));
    let snapshots = fixture.host.snapshots.len();
    for _ in 0..5 {
        fixture.advance_ms(10_000);
    }
    assert_eq!(fixture.host.snapshots.len(), snapshots);
    let text =
        "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in 1 minutes";
    assert!(fixture.host.has_logged(text));
    fixture.advance_ms(11_000);
    assert_eq!(fixture.host.snapshots.len(), snapshots + 1);
}

#[test]
fn a_file_of_old_is_taken_over() {
    let mut fixture = Fixture::with_configuration(&[("appendonly", "yes")]);
    let old = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n".to_vec();
    fixture.host.files.insert("appendonly.aof".to_owned(), old.clone());
    start(&mut fixture);
    fixture.check("GET a", "\"1\"");
    assert_eq!(fixture.host.aof.files["appendonly.aof"], old);
    assert_eq!(
        manifest(&fixture),
        "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    );
}

#[test]
fn loading_again_and_growth() {
    let mut fixture =
        started(&[("auto-aof-rewrite-min-size", "1kb"), ("auto-aof-rewrite-percentage", "100")]);
    fixture.run("SET a 1");
    fixture.check("DEBUG LOADAOF", "+OK");
    fixture.check("GET a", "\"1\"");
    assert!(fixture.host.has_logged("Append Only File loaded by DEBUG LOADAOF"));
    let long = "x".repeat(2000);
    fixture.run(&format!("SET b {long}"));
    fixture.advance_ms(200);
    assert_eq!(fixture.host.snapshots, [SnapshotTarget::AofBase]);
    assert!(fixture.host.has_logged("Starting automatic rewriting of AOF on"));
}

#[test]
fn clients_wait_for_the_disk() {
    let mut fixture = started(&[]);
    fixture.check_all(&[
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF 0 -1 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 0 0 x", "-ERR timeout is not an integer or out of range"),
        ("WAITAOF 1 0 0", "[:1, :0]"),
    ]);
    fixture.host.aof.synced_bytes = Some(fixture.host.aof.appended_bytes);
    fixture.check("SET k v", "+OK");
    fixture.check("WAITAOF 0 0 0", "[:0, :0]");
    let client = fixture.connect();
    fixture.check_as(client, "SET k v", "+OK");
    fixture.check_as(client, "WAITAOF 1 0 0", "");
    fixture.check("WAITAOF 1 1 500", "");
    fixture.advance_ms(100);
    assert!(fixture.received(client).is_empty());
    fixture.host.aof.synced_bytes = None;
    fixture.advance_ms(100);
    assert_eq!(fixture.received(client), ["[:1, :0]"]);
    fixture.advance_ms(500);
    assert_eq!(fixture.received(fixture.first()), ["[:1, :0]"]);
    fixture.host.aof.synced_bytes = Some(0);
    fixture.check_as(client, "SET k v", "+OK");
    fixture.check_as(client, "WAITAOF 1 0 0", "");
    fixture.check("CONFIG SET appendonly no", "+OK");
    fixture.advance_ms(100);
    assert_eq!(
        fixture.received(client),
        ["-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."]
    );
}

#[test]
fn a_file_that_no_list_names_is_not_gone_on_with() {
    let mut fixture = started(&[]);
    fixture.run("SET old 1");
    fixture.node.flush_aof(&mut fixture.host);
    fixture.host.aof.files.remove("appendonly.aof.manifest");
    let mut fixture = restarted(&fixture, &[]);
    fixture.check("DBSIZE", ":0");
    fixture.run("SET new 1");
    fixture.node.flush_aof(&mut fixture.host);
    restarted(&fixture, &[]).check("KEYS *", "[\"new\"]");
}
