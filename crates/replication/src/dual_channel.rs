//! A full synchronisation on two connections, as Valkey 8 does it: the snapshot on one, the stream on the other.
//!
//! ```text
//! main connection                                   snapshot's connection
//! ▶ … PSYNC id next   ◀ +DUALCHANNELSYNC
//!                                                   ▶ AUTH …                                    ◀ +OK
//!                                                   ▶ REPLCONF capa eof rdb-only 1
//!                                                     rdb-channel 1 listening-port …            ◀ +OK
//!                                                   ▶ SYNC     ◀ $ENDOFF:offset id database client
//! ▶ REPLCONF set-rdb-client-id client  ◀ +OK                   ◀ $EOF:mark, snapshot, mark
//! ▶ PSYNC id offset+1                  ◀ +CONTINUE
//!                     ◀ stream, kept until the snapshot is loaded
//! ```
//! A primary offers this only to replicas that announced `capa dual-channel`.

use crate::handshake::{Failure, HandshakeSettings, Note, Output, encode, parse_framing, show};
use crate::id::ReplicationId;
use crate::line::{ByLine, LineReader};
use shoal_protocol::number::parse_i64;

/// Where the stream that belongs to a snapshot begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// The name of the stream's history.
    pub id: ReplicationId,
    /// The offset of the last byte before the stream.
    pub offset: u64,
    /// The database that the stream is in.
    pub database: u64,
    /// What the primary calls the snapshot's connection.
    pub client_id: u64,
}

impl SnapshotEnd {
    /// The line with which a primary tells it.
    pub fn encode(&self) -> String {
        format!("$ENDOFF:{} {} {} {}\r\n", self.offset, self.id, self.database, self.client_id)
    }

    /// Reads the line, without its end.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.strip_prefix(b"$ENDOFF:")?.split(|&byte| byte == b' ');
        let number = |word: &[u8]| parse_i64(word).and_then(|number| u64::try_from(number).ok());
        let offset = number(words.next()?).filter(|&offset| offset < i64::MAX as u64)?;
        let id = ReplicationId::parse(words.next()?)?;
        let (database, client_id) = (number(words.next()?)?, number(words.next()?)?);
        words.next().is_none().then_some(Self { id, offset, database, client_id })
    }
}

#[derive(Debug)]
enum ChannelPhase {
    AwaitAuth,
    AwaitOk,
    AwaitEnd,
    AwaitHeader(SnapshotEnd),
    Over,
}

/// A replica's side of the handshake on the snapshot's connection.
#[derive(Debug)]
pub struct SnapshotChannel {
    phase: ChannelPhase,
    lines: LineReader,
}

impl SnapshotChannel {
    /// Begins on a fresh connection; the first output is the greeting.
    pub fn new(settings: &HandshakeSettings, outputs: &mut Vec<Output>) -> Self {
        let mut bytes = settings.encode_auth();
        let phase = if bytes.is_empty() { ChannelPhase::AwaitOk } else { ChannelPhase::AwaitAuth };
        let port = settings.listening_port.to_string();
        let words: [&[u8]; 9] = [
            b"REPLCONF",
            b"capa",
            b"eof",
            b"rdb-only",
            b"1",
            b"rdb-channel",
            b"1",
            b"listening-port",
            port.as_bytes(),
        ];
        bytes.extend_from_slice(&encode(&words));
        outputs.push(Output::Send(bytes));
        Self { phase, lines: LineReader::default() }
    }

    /// Takes bytes from the primary. Returns how many of them belong to the handshake: what follows is the snapshot.
    pub fn receive(&mut self, bytes: &[u8], outputs: &mut Vec<Output>) -> usize {
        self.receive_lines(bytes, outputs)
    }

    fn refuse(&mut self, what: &str, outputs: &mut Vec<Output>) {
        self.fail(Failure::Refused, what, outputs);
    }

    fn fail(&mut self, failure: Failure, what: &str, outputs: &mut Vec<Output>) {
        self.phase = ChannelPhase::Over;
        let text = format!("Dual channel sync failed on the snapshot's connection: {what}");
        outputs.push(Output::Log(Note::Warning, text));
        outputs.push(Output::Failed(failure));
    }
}

impl ByLine for SnapshotChannel {
    fn lines(&mut self) -> &mut LineReader {
        &mut self.lines
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, ChannelPhase::Over)
    }

    fn handle(&mut self, line: &[u8], outputs: &mut Vec<Output>) {
        let is_error = line.first() == Some(&b'-');
        match self.phase {
            ChannelPhase::AwaitAuth | ChannelPhase::AwaitOk if is_error => self.refuse(&show(line), outputs),
            ChannelPhase::AwaitAuth => self.phase = ChannelPhase::AwaitOk,
            ChannelPhase::AwaitOk => {
                outputs.push(Output::Send(b"SYNC\r\n".to_vec()));
                self.phase = ChannelPhase::AwaitEnd;
            }
            // Empty lines keep the connection alive.
            ChannelPhase::AwaitEnd | ChannelPhase::AwaitHeader(_) if line.is_empty() => {}
            ChannelPhase::AwaitEnd => match SnapshotEnd::parse(line) {
                Some(end) => {
                    self.phase = ChannelPhase::AwaitHeader(end);
                    outputs.push(Output::SnapshotEnd(end));
                }
                None if is_error => self.fail(Failure::Transient, &show(line), outputs),
                None => self.refuse(&show(line), outputs),
            },
            ChannelPhase::AwaitHeader(end) => match parse_framing(line) {
                Some(framing) => {
                    self.phase = ChannelPhase::Over;
                    outputs.push(Output::Snapshot { origin: Some((end.id, end.offset)), framing });
                }
                None if is_error => self.fail(Failure::Transient, &show(line), outputs),
                None => self.refuse(&show(line), outputs),
            },
            ChannelPhase::Over => {}
        }
    }

    fn refuse_long_line(&mut self, outputs: &mut Vec<Output>) {
        self.refuse("the line is too long", outputs);
    }
}

#[derive(Debug)]
enum MainPhase {
    AwaitOk,
    AwaitContinue,
    Over,
}

/// A replica's side of the second handshake on the main connection, when the snapshot's end is known.
#[derive(Debug)]
pub struct MainChannel {
    end: SnapshotEnd,
    phase: MainPhase,
    lines: LineReader,
}

impl MainChannel {
    /// Asks for the stream after the snapshot.
    pub fn new(end: SnapshotEnd, outputs: &mut Vec<Output>) -> Self {
        let client_id = end.client_id.to_string();
        outputs.push(Output::Send(encode(&[b"REPLCONF", b"set-rdb-client-id", client_id.as_bytes()])));
        Self { end, phase: MainPhase::AwaitOk, lines: LineReader::default() }
    }

    /// Takes bytes from the primary. Returns how many of them belong to the handshake: what follows is the stream.
    pub fn receive(&mut self, bytes: &[u8], outputs: &mut Vec<Output>) -> usize {
        self.receive_lines(bytes, outputs)
    }

    fn refuse(&mut self, what: &str, outputs: &mut Vec<Output>) {
        self.phase = MainPhase::Over;
        let text = format!("Dual channel sync failed on the main connection: {what}");
        outputs.push(Output::Log(Note::Warning, text));
        outputs.push(Output::Failed(Failure::Refused));
    }
}

impl ByLine for MainChannel {
    fn lines(&mut self) -> &mut LineReader {
        &mut self.lines
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, MainPhase::Over)
    }

    fn handle(&mut self, line: &[u8], outputs: &mut Vec<Output>) {
        match self.phase {
            _ if line.is_empty() => {}
            MainPhase::AwaitOk if line.first() == Some(&b'-') => self.refuse(&show(line), outputs),
            MainPhase::AwaitOk => {
                let SnapshotEnd { id, offset, .. } = &self.end;
                let next = (offset + 1).to_string();
                let text =
                    format!("Trying a partial resynchronization using main channel (request {id}:{next}).");
                outputs.push(Output::Log(Note::Notice, text));
                outputs.push(Output::Send(encode(&[b"PSYNC", id.as_bytes(), next.as_bytes()])));
                self.phase = MainPhase::AwaitContinue;
            }
            MainPhase::AwaitContinue => match line.strip_prefix(b"+CONTINUE") {
                Some(rest) => {
                    self.phase = MainPhase::Over;
                    outputs.push(Output::Continue(rest.strip_prefix(b" ").and_then(ReplicationId::parse)));
                }
                None => self.refuse(&show(line), outputs),
            },
            MainPhase::Over => {}
        }
    }

    fn refuse_long_line(&mut self, outputs: &mut Vec<Output>) {
        self.refuse("the line is too long", outputs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Framing;

    fn end() -> SnapshotEnd {
        let id = ReplicationId::parse(&[b'a'; 40]).unwrap();
        SnapshotEnd { id, offset: 1234, database: 3, client_id: 77 }
    }

    #[test]
    fn the_line_of_the_end() {
        assert_eq!(end().encode(), format!("$ENDOFF:1234 {} 3 77\r\n", "a".repeat(40)));
        assert_eq!(SnapshotEnd::parse(end().encode().trim_end().as_bytes()), Some(end()));
        let id = "a".repeat(40);
        for bad in [
            String::new(),
            "$ENDOFF:".to_owned(),
            format!("$ENDOFF:-1 {id} 0 1"),
            format!("$ENDOFF:9223372036854775807 {id} 0 1"),
            format!("$ENDOFF:1 {} 0 1", &id[1..]),
            format!("$ENDOFF:1 {id} 0"),
            format!("$ENDOFF:1 {id} x 1"),
            format!("$ENDOFF:1 {id} 0 1 2"),
        ] {
            assert_eq!(SnapshotEnd::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    fn channel(settings: &HandshakeSettings, bytes: &[u8], piece: usize) -> (Vec<Output>, usize) {
        let mut outputs = Vec::new();
        let mut channel = SnapshotChannel::new(settings, &mut outputs);
        let mut taken = 0;
        for part in bytes.chunks(piece) {
            let count = channel.receive(part, &mut outputs);
            taken += count;
            if count < part.len() {
                break;
            }
        }
        (outputs, taken)
    }

    #[test]
    fn the_snapshots_connection() {
        let settings = HandshakeSettings { listening_port: 7001, ..HandshakeSettings::default() };
        let mark = [b'm'; 40];
        let head = format!("+OK\r\n\n{}\n$EOF:{}\r\n", end().encode(), "m".repeat(40));
        for piece in [1, 3, 1000] {
            let (outputs, taken) = channel(&settings, format!("{head}REDIS").as_bytes(), piece);
            assert_eq!(taken, head.len(), "{piece}");
            let Output::Send(greeting) = &outputs[0] else { panic!("{outputs:?}") };
            assert!(
                greeting
                    .ends_with(b"$11\r\nrdb-channel\r\n$1\r\n1\r\n$14\r\nlistening-port\r\n$4\r\n7001\r\n")
            );
            let origin = Some((end().id, end().offset));
            let expected = [
                Output::Send(b"SYNC\r\n".to_vec()),
                Output::SnapshotEnd(end()),
                Output::Snapshot { origin, framing: Framing::Mark(mark) },
            ];
            assert_eq!(outputs[1..], expected, "{piece}");
        }
        let failed = |bytes: &[u8]| channel(&settings, bytes, 1000).0.pop();
        assert_eq!(failed(b"-ERR what\r\n"), Some(Output::Failed(Failure::Refused)));
        assert_eq!(failed(b"+OK\r\n-ERR BGSAVE failed\r\n"), Some(Output::Failed(Failure::Transient)));
        assert_eq!(failed(b"+OK\r\n+FULLRESYNC x 1\r\n"), Some(Output::Failed(Failure::Refused)));
        let garbage = format!("+OK\r\n{}+what\r\n", end().encode());
        assert_eq!(failed(garbage.as_bytes()), Some(Output::Failed(Failure::Refused)));
        assert_eq!(failed(&[b'x'; 5000]), Some(Output::Failed(Failure::Refused)));
        let locked = HandshakeSettings { password: b"secret".to_vec(), ..settings };
        let (outputs, _) = channel(&locked, b"+OK\r\n+OK\r\n", 1000);
        let Output::Send(greeting) = &outputs[0] else { panic!("{outputs:?}") };
        assert!(greeting.starts_with(b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*9\r\n"));
        assert_eq!(outputs[1..], [Output::Send(b"SYNC\r\n".to_vec())]);
    }

    #[test]
    fn the_main_connection() {
        let run = |bytes: &[u8]| {
            let mut outputs = Vec::new();
            let mut machine = MainChannel::new(end(), &mut outputs);
            let taken = machine.receive(bytes, &mut outputs);
            (outputs, taken)
        };
        let continued = format!("+OK\r\n+CONTINUE {}\r\n", "a".repeat(40));
        let (outputs, taken) = run(format!("{continued}*1\r\n").as_bytes());
        assert_eq!(taken, continued.len());
        assert_eq!(outputs[0], Output::Send(encode(&[b"REPLCONF", b"set-rdb-client-id", b"77"])));
        assert_eq!(outputs[2], Output::Send(encode(&[b"PSYNC", end().id.as_bytes(), b"1235"])));
        assert_eq!(outputs[3..], [Output::Continue(Some(end().id))]);
        for refused in ["-ERR Unrecognized\r\n", "+OK\r\n+DUALCHANNELSYNC\r\n", "+OK\r\n+FULLRESYNC a 1\r\n"]
        {
            assert_eq!(run(refused.as_bytes()).0.pop(), Some(Output::Failed(Failure::Refused)), "{refused}");
        }
    }
}
