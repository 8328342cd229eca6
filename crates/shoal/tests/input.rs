//! What sockets do to requests: floods, pieces, silence.

mod support;

use shoal_protocol::value::encode_request;
use std::io::{Read, Write};
use support::{Connection, Server};

/// Requests in one flood.
const FLOOD: usize = 60_000;

/// A client writes far more than any buffer holds before it reads a single reply; every request is answered.
#[test]
fn a_flood_of_pipelined_requests_is_answered_to_its_end() {
    let server = Server::shoal("save ''");
    let connection = Connection::open(server.host(), server.port()).expect("the server listens");
    let mut requests = Vec::new();
    for number in 0..FLOOD {
        let (key, value) = (format!("key:{number}"), "v".repeat(64));
        encode_request(&["SET", &key, &value], &mut requests);
    }
    let mut reader = connection.stream().try_clone().expect("a second handle to the socket");
    reader.set_read_timeout(Some(support::SOON)).expect("a timeout can be set");
    let replies = std::thread::spawn(move || {
        let mut replies = Vec::new();
        let mut chunk = vec![0; 4096];
        while replies.len() < FLOOD * 5 {
            match reader.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(count) => replies.extend_from_slice(&chunk[..count]),
            }
        }
        replies
    });
    let mut writer = connection.stream();
    writer.write_all(&requests).expect("the server reads on");
    let replies = replies.join().expect("the reader ends");
    assert_eq!(replies.len(), FLOOD * 5);
    assert!(replies.chunks(5).all(|reply| reply == b"+OK\r\n"));
}

/// More requests than one connection may run in one turn of the loop, sent by a client that then only waits.
#[test]
fn requests_beyond_the_bound_of_one_turn_are_not_forgotten() {
    let server = Server::shoal("save ''");
    let mut connection = Connection::open(server.host(), server.port()).expect("the server listens");
    for round in 0..5 {
        connection.send_raw("PING\r\n".repeat(30_000).as_bytes());
        let replies = connection.read_raw(7 * 30_000);
        assert_eq!(replies.len(), 7 * 30_000, "round {round}");
    }
}
