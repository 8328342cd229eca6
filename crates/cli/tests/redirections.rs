//! Nodes that send a command in a circle: the client gives up and says so.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{our_client, run};

/// How often the client follows; see `REDIRECTIONS_MAX` there.
const FOLLOWED: usize = 16;
/// Bytes that a request of these tests may have.
const REQUEST_BYTES: usize = 4096;

/// Nodes of which each sends every command to the next one, the last one to the first; after so many they do what they are told.
struct Circle {
    ports: Vec<u16>,
    asked: Arc<AtomicUsize>,
}

impl Circle {
    fn start(word: &'static str, count: usize, redirections: usize) -> Self {
        let listeners: Vec<TcpListener> =
            (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let asked = Arc::new(AtomicUsize::new(0));
        for (index, listener) in listeners.into_iter().enumerate() {
            let (next, asked) = (ports[(index + 1) % count], Arc::clone(&asked));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    answer(
                        &mut stream.unwrap(),
                        &asked,
                        &format!("-{word} 1 127.0.0.1:{next}\r\n"),
                        redirections,
                    );
                }
            });
        }
        Self { ports, asked }
    }
}

/// Each request comes in one piece: the client waits for every answer.
fn answer(stream: &mut TcpStream, asked: &AtomicUsize, redirection: &str, redirections: usize) {
    let mut request = [0; REQUEST_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut request) {
        let is_asking = request[..count].windows(6).any(|word| word.eq_ignore_ascii_case(b"ASKING"));
        let reply = if is_asking || asked.fetch_add(1, Ordering::Relaxed) >= redirections {
            "+OK\r\n"
        } else {
            redirection
        };
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn circles_end() {
    for (word, count) in [("MOVED", 2), ("MOVED", 1), ("ASK", 2), ("ASK", 1), ("MOVED", 5)] {
        let circle = Circle::start(word, count, usize::MAX);
        let port = circle.ports[0].to_string();
        let output = run(our_client(), &["-c", "-p", &port, "GET", "key"], b"", &[]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{word} among {count}: {errors}");
        assert!(errors.contains("Error: redirected 16 times, now to 127.0.0.1:"), "{errors}");
        assert_eq!(circle.asked.load(Ordering::Relaxed), FOLLOWED, "{word} among {count}");
    }
}

#[test]
fn nodes_that_come_to_agree_are_followed() {
    for word in ["MOVED", "ASK"] {
        let circle = Circle::start(word, 2, FOLLOWED - 1);
        let port = circle.ports[0].to_string();
        let output = run(our_client(), &["-c", "-p", &port, "SET", "key", "value"], b"", &[]);
        assert_eq!((output.status.code(), output.stdout), (Some(0), b"OK\n".to_vec()), "{word}");
    }
}
