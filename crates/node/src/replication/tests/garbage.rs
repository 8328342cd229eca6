//! Whatever comes over the link, the node goes on.

use super::net::answer_attempt;
use crate::testing::Fixture;
use shoal_machine::Rng;

/// Pieces of what a primary might say, in no sensible order.
const PIECES: &[&[u8]] = &[
    b"+PONG\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"\n",
    b"+FULLRESYNC 0123456789012345678901234567890123456789 17\r\n",
    b"+FULLRESYNC 0123456789012345678901234567890123456789 9223372036854775806\r\n",
    b"+CONTINUE\r\n",
    b"+CONTINUE 0123456789012345678901234567890123456780\r\n",
    b"$EOF:0123456789012345678901234567890123456789\r\n",
    b"0123456789012345678901234567890123456789",
    b"$18446744073709551615\r\n",
    b"$9223372036854775807\r\n",
    b"$0\r\n",
    b"$18\r\n",
    b"REDIS0011\xfa\x09redis-ver",
    b"REDIS0011\xff\x00\x00\x00\x00\x00\x00\x00\x00",
    b"*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$40000\r\nxxxx",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*3\r\n$9\r\nREPLICAOF\r\n$2\r\nno\r\n$3\r\none\r\n",
    b"PSYNC ? -1\r\n",
    b"*-1\r\n*1000000000\r\n",
];

#[test]
fn a_primary_may_say_anything() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let directives = [("replicaof", "127.0.0.1 7000")];
        let mut fixture = Fixture::with_configuration(&directives);
        fixture.run("SET mine 1");
        for _ in 0..4 {
            fixture.advance_ms(1100);
            let handle = answer_attempt(&mut fixture);
            let Fixture { node, host, .. } = &mut fixture;
            // Half of the attempts come through the handshake.
            if rng.chance(1, 2) {
                node.primary_input(host.clock, host, handle, b"+PONG\r\n+OK\r\n+OK\r\n");
            }
            for _ in 0..12 {
                let mut piece = rng.choose(PIECES).copied().unwrap_or_default().to_vec();
                if rng.chance(1, 6) && !piece.is_empty() {
                    let at = rng.index(piece.len());
                    piece[at] = rng.next_u64() as u8;
                }
                node.primary_input(host.clock, host, handle, &piece);
            }
            node.disconnected(host.clock, host, handle);
        }
        assert_eq!(fixture.run("ECHO alive"), "\"alive\"", "seed {seed}");
    }
}

#[test]
fn a_replica_may_say_anything() {
    let lines = [
        "PSYNC ? -1",
        "PSYNC 0123456789012345678901234567890123456789 9223372036854775807",
        "PSYNC x -9223372036854775808",
        "SYNC",
        "REPLCONF ACK 9223372036854775807",
        "REPLCONF ACK -1",
        "REPLCONF listening-port 99999999",
        "REPLCONF capa eof capa psync2",
        "REPLCONF rdb-only 1",
        "WAIT 1 10",
        "REPLICAOF no one",
        "REPLICAOF 127.0.0.1 1",
        "SET a 1",
        "MULTI",
        "EXEC",
    ];
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut fixture = Fixture::with_configuration(&[("repl-diskless-sync-delay", "0")]);
        for _ in 0..60 {
            let client = fixture.connect();
            for _ in 0..rng.index(4) {
                if let Some(line) = rng.choose(&lines)
                    && fixture.is_connected(client)
                {
                    let words: Vec<&str> = line.split(' ').collect();
                    fixture.send_as(client, &words);
                }
            }
            let Fixture { node, host, .. } = &mut fixture;
            if rng.chance(1, 3) {
                node.snapshot_chunk(host.clock, host, b"REDIS");
                let result = if rng.chance(1, 2) { Ok(Default::default()) } else { Err("no".to_owned()) };
                node.snapshot_ended(host.clock, host, result);
            }
            node.file_chunk(client, b"more");
            node.file_sent(host.clock, host, client, Ok(()));
            fixture.advance_ms(300);
        }
    }
}
