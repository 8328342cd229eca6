//! Random bytes and mutated requests on every port a server opens or dials: it goes on serving.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use shoal_machine::Rng;

use crate::support::{LATER, Server, Setup, always, eventually};

/// Connections of garbage per port.
const ROUNDS: usize = 150;
/// The seed; a failure is replayed by it.
const SEED: u64 = 0x5eed_ca11;

/// Pieces that lead a random text deep into the readers.
const PIECES: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"*-1\r\n",
    b"*2147483648\r\n",
    b"$-1\r\n",
    b"*1\r\n$536870913\r\n",
    b"GET \"a\\x00\r\n",
    b"\r\n\r\n",
    b"PSYNC ? -1\r\n",
    b"PSYNC 0123456789012345678901234567890123456789 1\r\n",
    b"REPLCONF capa eof capa psync2\r\n",
    b"REPLCONF ACK 18446744073709551615\r\n",
    b"REPLCONF listening-port 99999999\r\n",
    b"SYNC\r\n",
    b"MULTI\r\n",
    b"EXEC\r\n",
    b"HELLO 3 AUTH a b SETNAME c\r\n",
    b"SUBSCRIBE a\r\n",
    b"MONITOR\r\n",
    b"CLIENT REPLY OFF\r\n",
    b"RESTORE k 0 \"\\x00\\x03abc\\x0b\\x00aaaaaaaa\"\r\n",
    b"RCmb\x00\x00\x08\x00\x00\x01",
    b"RCmb\x00\x00\x00\x20\x00\x01\x17\x70\x00\x00\xff\xff",
];

fn garbage(rng: &mut Rng, pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=rng.below(12) {
        if rng.below(4) == 0 {
            let length = rng.below(200);
            bytes.extend((0..length).map(|_| rng.next_u64() as u8));
        } else {
            bytes.extend_from_slice(pieces[rng.below(pieces.len() as u64) as usize]);
        }
    }
    mutate(rng, &mut bytes);
    bytes
}

/// Flips, cuts, and repeats, in about half of the cases.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.below(4) {
        if bytes.is_empty() {
            return;
        }
        let place = rng.below(bytes.len() as u64) as usize;
        match rng.below(3) {
            0 => bytes[place] ^= 1 << rng.below(8),
            1 => bytes.truncate(place),
            _ => bytes.extend_from_within(place..),
        }
    }
}

/// Sends garbage on connections of its own and hangs up; whoever it goes to may do the same at any time.
fn pelt(port: u16, pieces: &[&[u8]], seed: u64) {
    let mut rng = Rng::new(seed);
    for _ in 0..ROUNDS {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let bytes = garbage(&mut rng, pieces);
        let middle = bytes.len() / 2;
        let _ = stream.write_all(&bytes[..middle]);
        let _ = stream.write_all(&bytes[middle..]);
        if rng.below(2) == 0 {
            let _ = stream.read(&mut [0; 4096]);
        }
    }
}

fn check_alive(server: &mut Server, process: u32) {
    assert_eq!(server.call(&["PING"]), "PONG");
    assert_eq!(server.info("server", "process_id"), Some(process.to_string()));
    let log = server.log();
    assert!(!log.contains("BUG REPORT"), "{log}");
}

#[test]
fn garbage_on_the_client_port() {
    let mut server = Server::shoal("");
    let process = server.pid();
    pelt(server.port(), PIECES, SEED);
    check_alive(&mut server, process);
    // Nothing of it holds memory or connections for ever.
    eventually(LATER, "the clients have gone", || {
        server.info("clients", "connected_clients").as_deref() == Some("1")
    });
}

#[test]
fn garbage_on_the_bus_port() {
    let mut server = Server::shoal("cluster-enabled yes\ncluster-node-timeout 1000");
    let process = server.pid();
    let mut real_header = b"RCmb".to_vec();
    // Length 2256, version 1, some port, each of the message types, no gossip: the body is random.
    real_header.extend_from_slice(&2256_u32.to_be_bytes());
    real_header.extend_from_slice(&[0, 1, 0x17, 0x70]);
    let mut rng = Rng::new(SEED);
    let messages: Vec<Vec<u8>> = (0..=11_u16)
        .map(|kind| {
            let mut bytes = real_header.clone();
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend(
                (bytes.len()..2256).map(|_| if rng.below(3) == 0 { rng.next_u64() as u8 } else { 0 }),
            );
            bytes
        })
        .collect();
    let pieces: Vec<&[u8]> = messages.iter().map(Vec::as_slice).chain(PIECES.iter().copied()).collect();
    pelt(server.bus_port(), &pieces, SEED);
    check_alive(&mut server, process);
    assert_eq!(server.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    eventually(LATER, "the bus still works", || {
        server.call(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    });
}

/// Answers that a replica may get from what it takes for its primary, good up to some place.
fn primary_answers(rng: &mut Rng) -> Vec<u8> {
    const GOOD: &[u8] = b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n";
    const RESYNC: &[u8] = b"+FULLRESYNC 0123456789012345678901234567890123456789 1\r\n";
    const OPENINGS: &[&[u8]] = &[
        b"$40\r\n",
        b"$9999999999999\r\n",
        b"$-5\r\n",
        b"$EOF:0123456789012345678901234567890123456789\r\n",
        b"$EOF:0\r\n",
        b"\n\n\n$10\r\n",
    ];
    const BODIES: &[&[u8]] = &[
        b"REDIS0011\xfa\x09redis-ver\x057.2.4\xfe\x00\xfb\x01\x00\x00\x01a\x01b\xff\0\0\0\0\0\0\0\0",
        b"REDIS0010\xfe\x00\x00\x8f\xff\xff\xff\xff",
        b"REDIS0099",
        b"REDIS0011\xfe\x81\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    let pick = |rng: &mut Rng, list: &'static [&'static [u8]]| list[rng.below(list.len() as u64) as usize];
    let mut bytes = GOOD[..rng.below(GOOD.len() as u64 + 1) as usize].to_vec();
    if rng.below(3) > 0 {
        bytes = GOOD.to_vec();
        bytes.extend_from_slice(if rng.below(4) == 0 { b"+CONTINUE\r\n" } else { RESYNC });
        bytes.extend_from_slice(pick(rng, OPENINGS));
        bytes.extend_from_slice(pick(rng, BODIES));
        bytes.extend_from_slice(&garbage(rng, PIECES));
    }
    mutate(rng, &mut bytes);
    bytes
}

/// A replica whose primary talks nonsense keeps its data, stays alive, and follows a real primary afterwards.
#[test]
fn garbage_from_a_fake_primary() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut server = Server::shoal("repl-timeout 2");
    let process = server.pid();
    assert_eq!(server.call(&["SET", "mine", "1"]), "OK");
    let port = listener.local_addr().unwrap().port().to_string();
    let mut rng = Rng::new(SEED);
    for _ in 0..40 {
        // REPLICAOF connects at once, so that each round is quick.
        assert_eq!(server.call(&["REPLICAOF", "NO", "ONE"]), "OK");
        assert_eq!(server.call(&["REPLICAOF", "127.0.0.1", &port]), "OK");
        let mut stream = None;
        eventually(LATER, "the replica dials", || {
            stream = listener.accept().ok();
            stream.is_some()
        });
        let (mut stream, _) = stream.unwrap();
        stream.set_nonblocking(false).unwrap();
        let _ = stream.write_all(&primary_answers(&mut rng));
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = stream.read(&mut [0; 4096]);
    }
    check_alive(&mut server, process);
    let primary = Setup::shoal().conf("repl-diskless-sync-delay 0").start();
    assert_eq!(primary.call(&["SET", "theirs", "2"]), "OK");
    assert_eq!(server.call(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "OK");
    server.wait_for_info("replication", "master_link_status", "up");
    assert_eq!(server.call(&["GET", "theirs"]), "2");
    always(Duration::from_millis(100), "alive", || server.call(&["PING"]) == "PONG");
}

/// The other direction: what poses as a replica breaks off, acknowledges nonsense and sends garbage.
#[test]
fn garbage_from_a_fake_replica() {
    let mut server = Server::shoal("repl-diskless-sync-delay 0");
    let process = server.pid();
    assert_eq!(server.call(&["DEBUG", "POPULATE", "1000"]), "OK");
    let handshake: &[&[u8]] = &[
        b"REPLCONF listening-port 7000\r\nREPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n",
        b"REPLCONF ACK 99999\r\n",
        b"REPLCONF GETACK *\r\n",
        b"SYNC\r\nREPLCONF ACK -1\r\n",
    ];
    pelt(server.port(), handshake, SEED);
    assert_eq!(server.call(&["SET", "a", "b"]), "OK");
    check_alive(&mut server, process);
    let replica = Setup::shoal().conf(&format!("replicaof 127.0.0.1 {}", server.port())).start();
    replica.wait_for_info("replication", "master_link_status", "up");
    eventually(LATER, "equal data", || {
        replica.call(&["DEBUG", "DIGEST"]) == server.call(&["DEBUG", "DIGEST"])
    });
}
