//! Damaged append-only files: a list, a base and two increments as a node wrote them, changed as the input says.
//!
//! Whatever became of them, a node loads them or says why not. What it loads it also loads a second time, with what was
//! written after the first; and if the last file merely ends too early, it has to.

use shoal_node::SnapshotReport;
use shoal_node::testing::Fixture;
use std::collections::BTreeMap;
use std::sync::OnceLock;

type Files = BTreeMap<String, Vec<u8>>;

const MANIFEST: &str = "appendonly.aof.manifest";
const LAST: &str = "appendonly.aof.2.incr.aof";
/// Most changes of one input.
const CHANGES_MAX: usize = 64;
/// The size of what a disk loses.
const SECTOR_BYTES: usize = 512;
/// Pieces of such files.
const WORDS: [&[u8]; 12] = [
    b"\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n9\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$4\r\n9999\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\nx",
    b"*1048576\r\n",
    b"*-1\r\n",
    b"$-1\r\n",
    b"#TS:1700000000\r\n",
    b"REDIS0011",
    b"file appendonly.aof.9.incr.aof seq 9 type i\n",
];

/// The first three bytes choose base, directives and the size of pieces; each change then takes seven.
pub(crate) fn aof_files(data: &[u8]) {
    let Some((&[form, directives, piece], changes)) = data.split_first_chunk() else { return };
    let mut files = true_files(form & 1 == 0).clone();
    let changes = changes.as_chunks::<7>().0;
    let mut is_torn_only = changes.len() == 1;
    for change in changes.iter().take(CHANGES_MAX) {
        is_torn_only &= apply(&mut files, change);
    }
    let forgives = directives & 1 == 0;
    let directives = [
        ("appendonly", "yes"),
        ("save", "\"\""),
        ("aof-load-truncated", if forgives { "yes" } else { "no" }),
        ("rdbchecksum", if directives & 2 == 0 { "no" } else { "yes" }),
    ];
    let piece = usize::from(piece) * 16 + 1;
    let mut fixture = match loaded(&directives, files, piece) {
        Ok(fixture) => fixture,
        Err(reason) => {
            assert!(!(is_torn_only && forgives), "a torn end is not forgiven: {reason}");
            assert!(!reason.is_empty());
            return;
        }
    };
    fixture.run("SELECT 0");
    if fixture.run("SET probe 1") != "+OK" {
        return;
    }
    let digest = fixture.text("INFO keyspace") + &fixture.run("DEBUG DIGEST");
    fixture.node.flush_aof(&mut fixture.host);
    let files = std::mem::take(&mut fixture.host.aof.files);
    let mut again = loaded(&directives, files, 4096).expect("what was loaded once is loaded again");
    assert_eq!(again.run("GET probe"), "\"1\"");
    assert_eq!(again.text("INFO keyspace") + &again.run("DEBUG DIGEST"), digest);
}

/// A node that has started with these files, or the reason why it does not start.
fn loaded(directives: &[(&str, &str)], files: Files, piece: usize) -> Result<Fixture, String> {
    let mut fixture = Fixture::with_configuration(directives);
    fixture.host.aof.files = files;
    let now = fixture.host.clock;
    let Fixture { node, host, .. } = &mut fixture;
    if node.begin_startup_aof(now, host)? {
        let mut buffer = vec![0; piece];
        while !node.load_startup_aof(now, host, &mut buffer)? {}
        node.finish_startup_load(now, host).map_err(|offset| format!("it ends at {offset}"))?;
    }
    node.open_aof(now, host)?;
    Ok(fixture)
}

/// What a node wrote, with a snapshot as the base or with commands.
fn true_files(with_snapshot: bool) -> &'static Files {
    static FILES: [OnceLock<Files>; 2] = [const { OnceLock::new() }; 2];
    FILES[usize::from(with_snapshot)].get_or_init(|| {
        let first = [
            "SET a 1",
            "RPUSH list 1 2 3",
            "SADD set x y z",
            "HSET hash f v",
            "ZADD zset 1 m",
            "XADD s 1-1 f v",
        ];
        let second = [
            "INCR a",
            "MULTI",
            "LPOP list",
            "SPOP set",
            "EXEC",
            "SELECT 3",
            "SET b 1 EX 1000",
            "PFADD log 1",
        ];
        let third =
            ["APPEND text yyyyyyyyyyyyyyyyyyyy", "SETRANGE large 3000 z", "MULTI", "DEL a", "INCR c", "EXEC"];
        let (base, kind) = if with_snapshot { (snapshot(&first), "rdb") } else { (commands(&first), "aof") };
        let base_name = format!("appendonly.aof.1.base.{kind}");
        let increment = "appendonly.aof.1.incr.aof";
        let manifest = format!(
            "file {base_name} seq 1 type b\nfile {increment} seq 1 type i\nfile {LAST} seq 2 type i\n"
        );
        [
            (MANIFEST.to_owned(), manifest.into_bytes()),
            (base_name, base),
            (increment.to_owned(), commands(&second)),
            (LAST.to_owned(), commands(&third)),
        ]
        .into()
    })
}

fn writing(lines: &[&str]) -> Fixture {
    let directives = [("appendonly", "yes"), ("save", "\"\"")];
    let mut fixture = loaded(&directives, Files::new(), 1).expect("nothing can be loaded");
    for line in lines {
        fixture.run(line);
    }
    fixture.node.flush_aof(&mut fixture.host);
    fixture
}

fn commands(lines: &[&str]) -> Vec<u8> {
    let mut fixture = writing(lines);
    fixture.host.aof.files.remove("appendonly.aof.1.incr.aof").expect("commands were written")
}

fn snapshot(lines: &[&str]) -> Vec<u8> {
    let mut fixture = writing(lines);
    fixture.run("BGREWRITEAOF");
    fixture.end_snapshot(Ok(SnapshotReport::default()));
    let files = std::mem::take(&mut fixture.host.aof.files);
    files.into_iter().find(|(name, _)| name.ends_with(".rdb")).expect("there is a base").1
}

/// Changes a file. True if its only effect is that the last one ends earlier.
fn apply(files: &mut Files, &[kind, file, high, low, length, value, word]: &[u8; 7]) -> bool {
    // Mostly the last file.
    let index = if file % 2 == 0 {
        files.len().saturating_sub(2)
    } else {
        usize::from(file / 2) % files.len().max(1)
    };
    let Some(name) = files.keys().nth(index).cloned() else { return false };
    let is_last = name == LAST;
    let Some(bytes) = files.get_mut(&name) else { return false };
    let at = (usize::from(high) << 8 | usize::from(low)) % (bytes.len() + 1);
    let end = (at + usize::from(length)).min(bytes.len());
    let word = WORDS[usize::from(word) % WORDS.len()];
    match kind % 12 {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (value % 8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => drop(bytes.splice(at..at, word.iter().copied())),
        5 => drop(bytes.splice(at..end, word.iter().copied())),
        6 => bytes.extend_from_slice(word),
        7 => bytes.extend(std::iter::repeat_n(value, usize::from(length))),
        8 => {
            let from = at / SECTOR_BYTES * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(bytes.len());
            bytes[from..to].fill(0);
        }
        9 => drop(files.remove(&name)),
        _ => {
            bytes.truncate(at);
            return is_last;
        }
    }
    false
}
