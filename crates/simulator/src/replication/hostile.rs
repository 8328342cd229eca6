//! A link between two whole nodes on which somebody changes, adds and drops bytes: for fuzzing.
//!
//! The input is a program. Its head chooses directives and which side is hostile; then each byte names what happens in a
//! step: mostly nothing, so that handshakes, snapshots and the stream come far, now and then a command, a cut, or a change
//! of the next bytes that are sent. At the end both nodes must still serve, and what they hold must be fit to be saved and
//! loaded.

use super::member::Member;
use super::wire::{Direction, Wire};
use super::world::{FIRST_PORT, STEP_MS, World};
use shoal_machine::Rng;

/// Steps after the program, in which nothing is changed.
const QUIET_STEPS: usize = 30;

/// What clients of the primary say.
const WRITES: [&str; 16] = [
    "SET a 1",
    "SET short 1 PX 120",
    "RPUSH list a b c",
    "LPOP list",
    "SADD set 1 2 3",
    "SPOP set",
    "ZADD zset 1 a 2 b",
    "HSET hash f v",
    "XADD stream * f v",
    "SELECT 3",
    "SELECT 0",
    "FLUSHALL",
    "APPEND a yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    "SETRANGE large 30000 z",
    "PFADD log a b c",
    "EXPIRE a 100",
];

/// What operators say to either side.
const ORDERS: [&str; 12] = [
    "BGSAVE",
    "REPLICAOF NO ONE",
    "REPLICAOF 127.0.0.1 7000",
    "CONFIG SET dual-channel-replication-enabled no",
    "CONFIG SET dual-channel-replication-enabled yes",
    "CONFIG SET repl-diskless-sync no",
    "CONFIG SET repl-diskless-load swapdb",
    "CONFIG SET repl-backlog-size 16kb",
    "CLIENT KILL TYPE master",
    "CLIENT KILL TYPE replica",
    "FAILOVER TIMEOUT 1000",
    "FAILOVER ABORT",
];

/// Pieces of what either side might say.
const WORDS: [&[u8]; 32] = [
    b"\r\n",
    b"\n",
    b"+PONG\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"-LOADING\r\n",
    b"+CONTINUE\r\n",
    b"+CONTINUE 0123456789012345678901234567890123456789\r\n",
    b"+FULLRESYNC 0123456789012345678901234567890123456789 17\r\n",
    b"+FULLRESYNC 0123456789012345678901234567890123456789 9223372036854775806\r\n",
    b"+DUALCHANNELSYNC\r\n",
    b"$ENDOFF:9223372036854775806 0123456789012345678901234567890123456789 15 1\r\n",
    b"$EOF:0123456789012345678901234567890123456789\r\n",
    b"0123456789012345678901234567890123456789",
    b"$18446744073709551615\r\n",
    b"$9223372036854775807\r\n",
    b"$0\r\n",
    b"REDIS0011\xff\0\0\0\0\0\0\0\0",
    b"\xfe\0\xfb\x80\xff\xff\xff\xff\x80\xff\xff\xff\xff",
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$2\r\n15\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$19\r\n9223372036854775807\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$17\r\nset-rdb-client-id\r\n$1\r\n1\r\n",
    b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
    b"*3\r\n$5\r\nPSYNC\r\n$40\r\n0123456789012345678901234567890123456789\r\n$1\r\n1\r\n",
    b"SYNC\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\nx",
    b"*1048576\r\n",
    b"*3\r\n$3\r\nSET\r\n$5\r\nextra\r\n$1\r\n1\r\n",
];

/// Runs a program on a primary and a replica.
///
/// # Panics
/// One of the nodes does not serve any more, or holds what cannot be loaded.
pub fn fuzz_link(data: &[u8]) {
    let mut program = Program(data);
    let head = program.byte();
    let directives = program.byte();
    let pace = [7, 300, 5000, 100_000][usize::from(program.byte() % 4)];
    let mut world = World::of(1, Rng::new(1), members(directives));
    for member in &mut world.members {
        let now = world_now();
        member.start(now, 1);
    }
    world.members[0].ask("SET first 1");
    world.members[0].ask("RPUSH numbers 1 2 3 4 5 6 7 8 9 10");
    if head & 4 != 0 {
        world.members[1].ask("SET own 1");
    }
    world.members[1].ask("REPLICAOF 127.0.0.1 7000");
    let mut changes: Vec<(Direction, Change)> = Vec::new();
    while !program.0.is_empty() {
        match program.byte() % 32 {
            0..=14 => {}
            15 | 16 => drop(world.members[0].ask(program.choice(&WRITES))),
            17 => {
                let index = usize::from(program.byte() % 2);
                world.members[index].ask(program.choice(&ORDERS));
            }
            18 => cut(&mut world, usize::from(program.byte())),
            19 => (0..program.byte() % 32).for_each(|_| step(&mut world, pace, &mut Vec::new())),
            _ => {
                let direction = match (head % 4, program.byte() % 2) {
                    (1, _) | (3, 0) => Direction::ToReplica,
                    (2, _) | (3, _) => Direction::ToPrimary,
                    _ => Direction::ToReplica,
                };
                changes.push((direction, Change::read(&mut program)));
            }
        }
        step(&mut world, pace, &mut changes);
    }
    for _ in 0..QUIET_STEPS {
        step(&mut world, pace, &mut Vec::new());
    }
    // A snapshot that is being loaded ends with its connection.
    world.partitions.push((0, 1, u64::MAX));
    while !world.wires.is_empty() {
        cut(&mut world, 0);
    }
    world.members.iter_mut().for_each(check);
}

fn world_now() -> shoal_machine::Now {
    World::of(1, Rng::new(1), Vec::new()).now()
}

fn members(choice: u8) -> Vec<Member> {
    let pick = |shift: u8, words: &[&str]| words[usize::from(choice >> shift) % words.len()].to_owned();
    let directives = |index: u8| {
        vec![
            ("repl-diskless-sync", pick(0, &["yes", "no"])),
            ("dual-channel-replication-enabled", pick(1, &["yes", "no"])),
            ("repl-diskless-load", pick(2 + index, &["disabled", "on-empty-db", "swapdb"])),
            ("client-output-buffer-limit", pick(5, &["replica 0 0 0", "replica 20kb 10kb 1"])),
            ("repl-backlog-size", pick(6, &["16kb", "1mb"])),
            ("sanitize-dump-payload", pick(7, &["no", "yes"])),
            ("repl-diskless-sync-delay", "0".to_owned()),
            ("save", "\"\"".to_owned()),
        ]
    };
    (0..2).map(|index| Member::new(FIRST_PORT + u16::from(index), directives(index))).collect()
}

/// Time passes, and everybody does a little.
fn step(world: &mut World, pace: usize, changes: &mut Vec<(Direction, Change)>) {
    world.now_ms += STEP_MS;
    for member in &mut world.members {
        if let Some(fixture) = &mut member.fixture {
            fixture.advance_ms(STEP_MS);
            fixture.host.log.clear();
        }
        member.step(&mut world.rng);
    }
    world.carry_out_actions();
    world.wires.iter_mut().for_each(|wire| wire.hurry(pace));
    world.carry(&mut |direction, bytes| {
        if let Some(at) = changes.iter().position(|(wanted, _)| *wanted == direction) {
            changes.remove(at).1.apply(bytes);
        }
    });
    world.report.log.clear();
}

fn cut(world: &mut World, which: usize) {
    if world.wires.is_empty() {
        return;
    }
    let wire: Wire = world.wires.remove(which % world.wires.len());
    wire.end(&mut world.members);
    world.carry_out_actions();
}

/// The node serves, and what it holds can be saved and loaded.
fn check(member: &mut Member) {
    for line in
        ["FAILOVER ABORT", "REPLICAOF NO ONE", "INFO everything", "CLIENT LIST", "ROLE", "DEBUG DIGEST"]
    {
        assert!(!member.ask(line).is_empty(), "no answer to {line}");
    }
    for (line, expected) in
        [("SELECT 0", "+OK"), ("CONFIG SET stop-writes-on-bgsave-error no", "+OK"), ("SET probe 1", "+OK")]
    {
        assert_eq!(member.ask(line), expected, "{line}");
    }
    // A snapshot in the background comes first.
    let is_saved = (0..1000).any(|_| {
        member.step(&mut Rng::new(3));
        member.ask("SAVE") == "+OK"
    });
    assert!(is_saved, "{}", member.ask("INFO persistence"));
    member.shut_down(0);
    // A file that cannot be loaded ends here.
    member.start(world_now(), 2);
    assert_eq!(member.ask("GET probe"), "\"1\"");
}

/// Bytes that are used up as they are read; then zeros.
struct Program<'a>(&'a [u8]);

impl Program<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn choice<T: Copy, const N: usize>(&mut self, all: &[T; N]) -> T {
        all[usize::from(self.byte()) % N]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (first, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        first.to_vec()
    }
}

/// A change of bytes on their way.
struct Change {
    kind: u8,
    at: usize,
    length: usize,
    value: u8,
    added: Vec<u8>,
}

impl Change {
    fn read(program: &mut Program<'_>) -> Self {
        let kind = program.byte();
        let at = usize::from(program.byte()) << 8 | usize::from(program.byte());
        let length = usize::from(program.byte());
        let value = program.byte();
        let added = match kind % 10 {
            3 | 4 => program.choice(&WORDS).to_vec(),
            5 => program.bytes(length),
            _ => Vec::new(),
        };
        Self { kind, at, length, value, added }
    }

    fn apply(self, bytes: &mut Vec<u8>) {
        let at = self.at % (bytes.len() + 1);
        let end = (at + self.length).min(bytes.len());
        match self.kind % 10 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (self.value % 8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.value;
                }
            }
            2 => drop(bytes.drain(at..end)),
            // Between what was said, or in its place.
            3 | 5 => drop(bytes.splice(at..at, self.added)),
            4 => {
                let end = (at + self.added.len()).min(bytes.len());
                bytes.splice(at..end, self.added);
            }
            6 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            7 => bytes.truncate(at),
            8 => bytes.rotate_left(at),
            _ => change_number(bytes, at, self.value),
        }
    }
}

/// Puts an extreme number in the place of the next one.
fn change_number(bytes: &mut Vec<u8>, from: usize, choice: u8) {
    const NUMBERS: [&[u8]; 8] = [
        b"0",
        b"-1",
        b"1",
        b"4294967296",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"99999999999999999999",
        b"",
    ];
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[usize::from(choice) % NUMBERS.len()];
    bytes.splice(start..start + length, number.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_changes_the_replica_follows() {
        for directives in 0..=255 {
            let mut world = World::of(1, Rng::new(1), members(directives));
            world.members.iter_mut().for_each(|member| member.start(world_now(), 1));
            world.members[0].ask("RPUSH numbers 1 2 3");
            world.members[1].ask("REPLICAOF 127.0.0.1 7000");
            for _ in 0..60 {
                step(&mut world, 5000, &mut Vec::new());
            }
            let digests: Vec<_> = world.members.iter_mut().map(Member::digest).collect();
            assert_eq!(digests[0], digests[1], "directives {directives}");
        }
    }

    #[test]
    fn random_programs() {
        let mut rng = Rng::new(5);
        for _ in 0..150 {
            let data: Vec<u8> = (0..rng.index(400)).map(|_| rng.next_u64() as u8).collect();
            fuzz_link(&data);
        }
    }
}
