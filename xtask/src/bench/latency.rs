//! How long one client waits while another loads millions of keys: a table that grows must not pause.

use super::memory::{Values, load};
use super::report::Row;
use super::server::{Kind, Server};
use super::{Size, median};
use crate::Outcome;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two requests of the probe.
const PROBE_INTERVAL: Duration = Duration::from_micros(200);
/// Loads of each server; they alternate.
const ROUNDS: usize = 3;

/// The 99.9th percentile and the longest wait of a SET.
pub fn measure(binary: &str, size: Size) -> Outcome<Vec<Row>> {
    let mut samples = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for _ in 0..ROUNDS {
        for (kind, (tails, longest)) in [Kind::Shoal, Kind::Redis].into_iter().zip(&mut samples) {
            let (tail, most) = probe_while_loading(kind, binary, size.load)?;
            tails.push(tail);
            longest.push(most);
        }
    }
    let [(our_tails, our_longest), (their_tails, their_longest)] = samples;
    let keys = size.load as f64 / 1e6;
    let name = format!("p99.9 of SET while {keys:.0} M keys are loaded");
    Ok(vec![
        Row::against(name, "µs", median(our_tails), median(their_tails), 1.0),
        Row::shown("the longest of them".to_owned(), "µs", median(our_longest), median(their_longest)),
    ])
}

/// In microseconds.
fn probe_while_loading(kind: Kind, binary: &str, keys: u64) -> Outcome<(f64, f64)> {
    let server = Server::start(kind, binary)?;
    let is_loaded = AtomicBool::new(false);
    let port = server.port;
    let (loaded, waits) = std::thread::scope(|scope| {
        let prober = scope.spawn(|| probe(port, &is_loaded));
        let loaded = load(port, Values::Strings, keys);
        is_loaded.store(true, Ordering::Relaxed);
        (loaded, prober.join())
    });
    loaded.map_err(|error| format!("loading {kind:?}: {error}"))?;
    let mut waits = waits
        .map_err(|_| "the probe failed".to_owned())?
        .map_err(|error| format!("probing {kind:?}: {error}"))?;
    waits.sort();
    let at = (waits.len() * 999 / 1000).min(waits.len().saturating_sub(1));
    let microseconds = |wait: Option<&Duration>| wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e6);
    Ok((microseconds(waits.get(at)), microseconds(waits.last())))
}

fn probe(port: u16, is_loaded: &AtomicBool) -> std::io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut waits = Vec::new();
    let mut reply = [0; 5];
    while !is_loaded.load(Ordering::Relaxed) {
        let request =
            format!("*3\r\n$3\r\nSET\r\n$10\r\nprobe:{:04}\r\n$5\r\nvalue\r\n", waits.len() % 10_000);
        let began = Instant::now();
        stream.write_all(request.as_bytes())?;
        stream.read_exact(&mut reply)?;
        waits.push(began.elapsed());
        std::thread::sleep(PROBE_INTERVAL);
    }
    Ok(waits)
}
