//! Requests to other servers for which everybody waits (MIGRATE), and the connections that are kept for them.
//!
//! As Redis does, a connection is kept for ten seconds after its last use, and at most 64 of them.

use shoal_machine::Monotonic;
use shoal_node::{EXCHANGE_CONNECTIONS_MAX, Exchange, ExchangeFailure, Exchanged};
use shoal_protocol::value::Decoder;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a connection is kept that nobody uses.
const IDLE_MAX_MS: u64 = 10_000;
/// Bytes that are sent, and have to be taken, at once.
const WRITE_BYTES: usize = 64 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes of one reply; those to AUTH, SELECT and RESTORE are short.
const REPLY_MAX_BYTES: usize = 64 * 1024;

struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    last_used_at: Monotonic,
}

/// The connections to other servers.
#[derive(Default)]
pub struct Exchanges {
    connections: BTreeMap<(String, u16), Connection>,
}

impl Exchanges {
    /// Connects, or finds a connection. True if it is new.
    ///
    /// # Errors
    /// The system's, as a text.
    pub fn open(&mut self, now: Monotonic, host: &str, port: u16, timeout_ms: u64) -> Result<bool, String> {
        let target = (host.to_owned(), port);
        if let Some(connection) = self.connections.get_mut(&target) {
            connection.last_used_at = now;
            return Ok(false);
        }
        let stream =
            connect(host, port, Duration::from_millis(timeout_ms)).map_err(|error| error.to_string())?;
        if self.connections.len() >= EXCHANGE_CONNECTIONS_MAX {
            let oldest = self.connections.iter().min_by_key(|(_, connection)| connection.last_used_at);
            if let Some(target) = oldest.map(|(target, _)| target.clone()) {
                self.connections.remove(&target);
            }
        }
        self.connections.insert(target, Connection { stream, decoder: Decoder::new(), last_used_at: now });
        Ok(true)
    }

    /// Sends requests and waits for the replies.
    pub fn exchange(&mut self, exchange: Exchange<'_>) -> Exchanged {
        let target = (exchange.host.to_owned(), exchange.port);
        let mut exchanged = Exchanged::default();
        let failure = |was_writing, error: &io::Error| {
            let is_timeout = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            Some(ExchangeFailure { was_writing, is_timeout })
        };
        let Some(connection) = self.connections.get_mut(&target) else {
            exchanged.failure = failure(true, &io::ErrorKind::NotConnected.into());
            return exchanged;
        };
        if let Err(error) = connection.send(&exchange) {
            exchanged.failure = failure(true, &error);
        } else if let Err(error) = connection.receive(&exchange, &mut exchanged) {
            exchanged.failure = failure(false, &error);
        }
        exchanged
    }

    /// Ends a connection.
    pub fn close(&mut self, host: &str, port: u16) {
        self.connections.remove(&(host.to_owned(), port));
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// Ends the connections that nobody has used for long.
    pub fn close_idle(&mut self, now: Monotonic) {
        self.connections.retain(|_, connection| now.ms_since(connection.last_used_at) <= IDLE_MAX_MS);
    }
}

impl Connection {
    fn send(&mut self, exchange: &Exchange<'_>) -> io::Result<()> {
        let timeout = Some(Duration::from_millis(exchange.timeout_ms));
        self.stream.set_write_timeout(timeout)?;
        self.stream.set_read_timeout(timeout)?;
        exchange.requests.chunks(WRITE_BYTES).try_for_each(|chunk| self.stream.write_all(chunk))
    }

    fn receive(&mut self, exchange: &Exchange<'_>, exchanged: &mut Exchanged) -> io::Result<()> {
        let mut buffer = [0; READ_BYTES];
        let mut unfinished_bytes = 0;
        while exchanged.replies.len() < exchange.reply_count {
            let malformed = |_| io::Error::from(io::ErrorKind::InvalidData);
            if let Some(reply) = self.decoder.next_value().map_err(malformed)? {
                exchanged.replies.push(reply);
                unfinished_bytes = 0;
                continue;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if unfinished_bytes > REPLY_MAX_BYTES => return Err(io::ErrorKind::InvalidData.into()),
                Ok(count) => {
                    unfinished_bytes += count;
                    self.decoder.feed(&buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Tries all addresses of a name; each may take the whole time.
fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut last_error = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const REQUEST: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    /// A server that answers each connection in turn with one of these, and then ends it.
    fn server(answers: &'static [&'static [u8]]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; REQUEST.len()];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(answer).unwrap();
            }
        });
        port
    }

    fn run(exchanges: &mut Exchanges, port: u16, reply_count: usize) -> Exchanged {
        let exchange =
            Exchange { host: "127.0.0.1", port, requests: REQUEST, reply_count, timeout_ms: 10_000 };
        exchanges.exchange(exchange)
    }

    #[test]
    fn replies_and_ends() {
        let port = server(&[b"+OK\r\n-ERR no\r\n", b"+OK\r\n+O", b"what\r\n"]);
        let mut exchanges = Exchanges::default();
        for (reply_count, arrived, is_whole) in [(2, 2, true), (2, 1, false), (1, 0, false)] {
            exchanges.close("127.0.0.1", port);
            assert_eq!(exchanges.open(Monotonic(0), "127.0.0.1", port, 10_000), Ok(true));
            let exchanged = run(&mut exchanges, port, reply_count);
            assert_eq!((exchanged.replies.len(), exchanged.failure.is_none()), (arrived, is_whole));
            if let Some(failure) = exchanged.failure {
                assert!(!failure.was_writing && !failure.is_timeout);
            }
        }
    }

    #[test]
    fn silence_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut exchanges = Exchanges::default();
        exchanges.open(Monotonic(0), "127.0.0.1", port, 10_000).unwrap();
        let exchange =
            Exchange { host: "127.0.0.1", port, requests: REQUEST, reply_count: 1, timeout_ms: 20 };
        let failure = exchanges.exchange(exchange).failure;
        assert_eq!(failure, Some(ExchangeFailure { was_writing: false, is_timeout: true }));
    }

    #[test]
    fn connections_are_kept_for_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut exchanges = Exchanges::default();
        let open = |at_ms, exchanges: &mut Exchanges| {
            exchanges.open(Monotonic::from_ms(at_ms), "127.0.0.1", port, 10_000)
        };
        assert_eq!(open(0, &mut exchanges), Ok(true));
        assert_eq!(open(5000, &mut exchanges), Ok(false));
        exchanges.close_idle(Monotonic::from_ms(15_000));
        assert_eq!(open(15_000, &mut exchanges), Ok(false));
        exchanges.close_idle(Monotonic::from_ms(25_001));
        assert_eq!(open(25_001, &mut exchanges), Ok(true));
        drop(listener);
        exchanges.close("127.0.0.1", port);
        assert!(open(25_001, &mut exchanges).is_err());
    }
}
