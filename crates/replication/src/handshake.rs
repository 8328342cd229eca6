//! The handshake of a replica with its primary.
//!
//! ```text
//! ▶ PING            ◀ +PONG
//! ▶ AUTH            ◀ +OK              with a password only
//! ▶ REPLCONF …      ◀ +OK              port, address, capabilities; old primaries answer with errors
//! ▶ PSYNC id next   ◀ +CONTINUE [id]                      the stream goes on
//!                   ◀ +FULLRESYNC id offset, $… snapshot
//!                   ◀ -NOMASTERLINK, -LOADING             later
//!                   ◀ -ERR                                ▶ SYNC   ◀ $… snapshot
//! ▶ PSYNC id next FAILOVER                                the primary's role is handed over with it; no SYNC then
//! ```
//! Empty lines keep the connection alive while the primary prepares a snapshot.

use crate::id::ReplicationId;
use crate::line::{ByLine, LineReader};
use crate::transfer::{Framing, MARK_BYTES};

/// The longest line that a primary may answer with.
pub const LINE_MAX_BYTES: usize = 1024;

/// Where a stream can be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The name of its history.
    pub id: ReplicationId,
    /// The offset of the first byte that is missing.
    pub next_offset: u64,
}

/// What a replica tells its primary.
#[derive(Clone, Debug, Default)]
pub struct HandshakeSettings {
    /// `masteruser`; empty for the default user.
    pub user: Vec<u8>,
    /// `masterauth`; empty for none.
    pub password: Vec<u8>,
    /// The port that clients of the replica use.
    pub listening_port: u16,
    /// `replica-announce-ip`; empty if the primary is to see for itself.
    pub announced_address: String,
    /// Where the stream can be taken up again, if anywhere.
    pub resume: Option<Resume>,
    /// The other side, a replica so far, is to become the primary.
    pub is_failover: bool,
    /// The snapshot may come on a connection of its own: see [`crate::SnapshotChannel`].
    pub has_dual_channel: bool,
}

impl HandshakeSettings {
    /// `AUTH`, if there is a password.
    pub(crate) fn encode_auth(&self) -> Vec<u8> {
        match (self.password.is_empty(), self.user.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => encode(&[b"AUTH", &self.password]),
            (false, false) => encode(&[b"AUTH", &self.user, &self.password]),
        }
    }
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It is as it should be.
    Notice,
    /// It is not.
    Warning,
}

/// What follows from the primary's bytes, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Write a line to the log.
    Log(Note, String),
    /// The stream goes on where it ended, under this name if one was given. The handshake is over.
    Continue(Option<ReplicationId>),
    /// A snapshot begins with the next byte. The handshake is over.
    Snapshot {
        /// The name of the stream that follows the snapshot, and the offset of the last byte before it; `None` if the
        /// primary speaks SYNC only.
        origin: Option<(ReplicationId, u64)>,
        /// How it ends.
        framing: Framing,
    },
    /// The snapshot wants a connection of its own; this one waits until the snapshot's end is known. The handshake is
    /// over.
    DualChannel,
    /// The snapshot that is about to begin ends here in the stream.
    SnapshotEnd(crate::SnapshotEnd),
    /// This connection leads to nothing; why, has been logged. The handshake is over.
    Failed(Failure),
}

/// Whether another attempt may end differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The primary cannot serve now, and said so.
    Transient,
    /// The primary refused, or answered nonsense.
    Refused,
}

#[derive(Debug)]
enum Phase {
    AwaitPong,
    AwaitAuth,
    AwaitPort,
    AwaitAddress,
    AwaitCapabilities,
    AwaitPsync,
    AwaitHeader { origin: Option<(ReplicationId, u64)> },
    Over,
}

/// A replica's side of the handshake.
#[derive(Debug)]
pub struct Handshake {
    settings: HandshakeSettings,
    phase: Phase,
    lines: LineReader,
}

impl Handshake {
    /// Begins on a fresh connection; the first output is the greeting.
    pub fn new(settings: HandshakeSettings, outputs: &mut Vec<Output>) -> Self {
        outputs.push(Output::Send(encode(&[b"PING"])));
        Self { settings, phase: Phase::AwaitPong, lines: LineReader::default() }
    }

    /// Takes bytes from the primary. Returns how many of them belong to the handshake: once it is over, what follows
    /// is a snapshot or the stream.
    pub fn receive(&mut self, bytes: &[u8], outputs: &mut Vec<Output>) -> usize {
        self.receive_lines(bytes, outputs)
    }

    /// Primaries with a password refuse PING, and are to be logged in to.
    fn handle_pong(&mut self, line: &[u8], outputs: &mut Vec<Output>) {
        // A primary that cannot save its data refuses even this, and needs a replica more than any other does.
        let accepted: [&[u8]; 5] =
            [b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted", b"-MISCONF"];
        if !accepted.iter().any(|start| line.starts_with(start)) {
            warn(outputs, format!("Error reply to PING from master: '{}'", show(line)));
            return self.fail(Failure::Refused, outputs);
        }
        notice(outputs, "Master replied to PING, replication can continue...".to_owned());
        let settings = &self.settings;
        let mut bytes = settings.encode_auth();
        self.phase = if bytes.is_empty() { Phase::AwaitPort } else { Phase::AwaitAuth };
        let port = settings.listening_port.to_string();
        bytes.extend_from_slice(&encode(&[b"REPLCONF", b"listening-port", port.as_bytes()]));
        if !settings.announced_address.is_empty() {
            let address = settings.announced_address.as_bytes();
            bytes.extend_from_slice(&encode(&[b"REPLCONF", b"ip-address", address]));
        }
        let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"];
        if settings.has_dual_channel {
            words.extend([b"capa".as_slice(), b"dual-channel"]);
        }
        bytes.extend_from_slice(&encode(&words));
        outputs.push(Output::Send(bytes));
    }

    fn handle_auth(&mut self, line: &[u8], outputs: &mut Vec<Output>) {
        if line.first() == Some(&b'-') {
            warn(outputs, format!("Unable to AUTH to MASTER: {}", show(line)));
            return self.fail(Failure::Refused, outputs);
        }
        self.phase = Phase::AwaitPort;
    }

    fn send_psync(&mut self, outputs: &mut Vec<Output>) {
        let request = match &self.settings.resume {
            Some(Resume { id, next_offset }) => {
                notice(outputs, format!("Trying a partial resynchronization (request {id}:{next_offset})."));
                let next_offset = next_offset.to_string();
                let mut words: Vec<&[u8]> = vec![b"PSYNC", id.as_bytes(), next_offset.as_bytes()];
                if self.settings.is_failover {
                    words.push(b"FAILOVER");
                }
                encode(&words)
            }
            None => {
                let text = "Partial resynchronization not possible (no cached master)";
                notice(outputs, text.to_owned());
                encode(&[b"PSYNC", b"?", b"-1"])
            }
        };
        outputs.push(Output::Send(request));
        self.phase = Phase::AwaitPsync;
    }

    fn handle_psync(&mut self, line: &[u8], outputs: &mut Vec<Output>) {
        if line.is_empty() {
            return;
        }
        if let Some(rest) = line.strip_prefix(b"+FULLRESYNC") {
            let origin = parse_origin(rest);
            match &origin {
                Some((id, offset)) => notice(outputs, format!("Full resync from master: {id}:{offset}")),
                None => warn(outputs, "Master replied with wrong +FULLRESYNC syntax.".to_owned()),
            }
            self.phase = Phase::AwaitHeader { origin };
        } else if let Some(rest) = line.strip_prefix(b"+CONTINUE") {
            self.handle_continue(rest, outputs);
        } else if line == b"+DUALCHANNELSYNC" && self.settings.has_dual_channel {
            notice(outputs, "The snapshot will come on a connection of its own (dual channel).".to_owned());
            self.phase = Phase::Over;
            outputs.push(Output::DualChannel);
        } else if line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING") {
            let text =
                format!("Master is currently unable to PSYNC but should be in the future: {}", show(line));
            notice(outputs, text);
            self.fail(Failure::Transient, outputs);
        } else {
            if line.starts_with(b"-ERR") {
                let text =
                    format!("Master does not support PSYNC or is in error state (reply: {})", show(line));
                notice(outputs, text);
            } else {
                warn(outputs, format!("Unexpected reply to PSYNC from master: {}", show(line)));
            }
            if self.settings.is_failover {
                return self.fail(Failure::Refused, outputs);
            }
            notice(outputs, "Retrying with SYNC...".to_owned());
            outputs.push(Output::Send(b"SYNC\r\n".to_vec()));
            self.phase = Phase::AwaitHeader { origin: None };
        }
    }

    fn handle_continue(&mut self, rest: &[u8], outputs: &mut Vec<Output>) {
        if self.settings.resume.is_none() {
            warn(outputs, "Master continues a stream that was not asked for.".to_owned());
            return self.fail(Failure::Refused, outputs);
        }
        notice(outputs, "Successful partial resynchronization with master.".to_owned());
        let id = rest.strip_prefix(b" ").and_then(ReplicationId::parse);
        self.phase = Phase::Over;
        outputs.push(Output::Continue(id));
    }

    fn handle_header(
        &mut self,
        origin: Option<(ReplicationId, u64)>,
        line: &[u8],
        outputs: &mut Vec<Output>,
    ) {
        let Some(&first) = line.first() else { return };
        if first == b'-' {
            warn(outputs, format!("MASTER aborted replication with an error: {}", show(&line[1..])));
            return self.fail(Failure::Transient, outputs);
        }
        let Some(framing) = parse_framing(line) else {
            let text = format!(
                "Bad protocol from MASTER, the first byte is not '$' (we received '{}'), are you sure the host and port \
                 are right?",
                show(line)
            );
            warn(outputs, text);
            return self.fail(Failure::Refused, outputs);
        };
        self.phase = Phase::Over;
        outputs.push(Output::Snapshot { origin, framing });
    }

    fn fail(&mut self, failure: Failure, outputs: &mut Vec<Output>) {
        self.phase = Phase::Over;
        outputs.push(Output::Failed(failure));
    }
}

impl ByLine for Handshake {
    fn lines(&mut self) -> &mut LineReader {
        &mut self.lines
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    fn handle(&mut self, line: &[u8], outputs: &mut Vec<Output>) {
        match self.phase {
            Phase::AwaitPong => self.handle_pong(line, outputs),
            Phase::AwaitAuth => self.handle_auth(line, outputs),
            Phase::AwaitPort => {
                tolerate("listening-port", line, outputs);
                self.phase = if self.settings.announced_address.is_empty() {
                    Phase::AwaitCapabilities
                } else {
                    Phase::AwaitAddress
                };
            }
            Phase::AwaitAddress => {
                tolerate("ip-address", line, outputs);
                self.phase = Phase::AwaitCapabilities;
            }
            Phase::AwaitCapabilities => {
                tolerate("capa", line, outputs);
                self.send_psync(outputs);
            }
            Phase::AwaitPsync => self.handle_psync(line, outputs),
            Phase::AwaitHeader { origin } => self.handle_header(origin, line, outputs),
            Phase::Over => {}
        }
    }

    fn refuse_long_line(&mut self, outputs: &mut Vec<Output>) {
        warn(outputs, "Failed to read response from the server: the line is too long".to_owned());
        self.fail(Failure::Refused, outputs);
    }
}

/// `$EOF:` with the mark, or `$` with a length.
pub(crate) fn parse_framing(line: &[u8]) -> Option<Framing> {
    let rest = line.strip_prefix(b"$")?;
    if let Some(mark) = rest.strip_prefix(b"EOF:") {
        return mark.get(..MARK_BYTES)?.try_into().ok().map(Framing::Mark);
    }
    let length = shoal_protocol::number::parse_i64(rest)?;
    u64::try_from(length).ok().map(Framing::Length)
}

/// ` id offset`.
fn parse_origin(rest: &[u8]) -> Option<(ReplicationId, u64)> {
    let rest = rest.strip_prefix(b" ")?;
    let space = rest.iter().position(|&byte| byte == b' ')?;
    let id = ReplicationId::parse(&rest[..space])?;
    let offset = shoal_protocol::number::parse_i64(&rest[space + 1..])?;
    // The offset after the last byte has to be a number, too.
    u64::try_from(offset).ok().filter(|&offset| offset < i64::MAX as u64).map(|offset| (id, offset))
}

/// Old primaries do not know all of REPLCONF; that does no harm.
fn tolerate(option: &str, line: &[u8], outputs: &mut Vec<Output>) {
    if line.first() == Some(&b'-') {
        let text = format!("(Non critical) Master does not understand REPLCONF {option}: {}", show(line));
        notice(outputs, text);
    }
}

fn notice(outputs: &mut Vec<Output>, text: String) {
    outputs.push(Output::Log(Note::Notice, text));
}

fn warn(outputs: &mut Vec<Output>, text: String) {
    outputs.push(Output::Log(Note::Warning, text));
}

/// A primary's line as it can stand in the log.
pub(crate) fn show(line: &[u8]) -> String {
    line.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

pub(crate) fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the primary's bytes in pieces of this size. Returns the outputs in short, and what is left over.
    fn run(settings: HandshakeSettings, bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
        let mut outputs = Vec::new();
        let mut handshake = Handshake::new(settings, &mut outputs);
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + piece).min(bytes.len());
            let consumed = handshake.receive(&bytes[at..end], &mut outputs);
            at += consumed;
            if matches!(handshake.phase, Phase::Over) {
                break;
            }
        }
        let short = outputs.iter().filter_map(|output| match output {
            Output::Send(bytes) => Some(format!("> {}", plain(bytes))),
            Output::Log(Note::Notice, _) => None,
            Output::Log(Note::Warning, text) => Some(format!("# {text}")),
            other => Some(format!("{other:?}")),
        });
        (short.collect(), bytes[at..].to_vec())
    }

    /// Requests without their lengths.
    fn plain(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let words = text.split("\r\n").filter(|word| !word.starts_with(['*', '$']) && !word.is_empty());
        words.collect::<Vec<_>>().join(" ")
    }

    fn settings() -> HandshakeSettings {
        HandshakeSettings { listening_port: 7001, ..HandshakeSettings::default() }
    }

    const ID: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn any_split_gives_the_same_outputs() {
        let header = format!("+PONG\r\n+OK\r\n+OK\r\n\n\n+FULLRESYNC {ID} 17\r\n\n\n$EOF:{ID}\r\nREDIS");
        let resume = Resume { id: ReplicationId::parse(ID.as_bytes()).unwrap(), next_offset: 18 };
        let partial = format!("+PONG\r\n+OK\r\n+OK\r\n+CONTINUE {ID}\r\n*1\r\n");
        for piece in [1, 2, 3, 10, 1000] {
            let (outputs, rest) = run(settings(), header.as_bytes(), piece);
            let expected = [
                "> PING".to_owned(),
                "> REPLCONF listening-port 7001 REPLCONF capa eof capa psync2".to_owned(),
                "> PSYNC ? -1".to_owned(),
                format!(
                    "Snapshot {{ origin: Some(({ID}, 17)), framing: Mark({:?}) }}",
                    <[u8; 40]>::try_from(ID.as_bytes()).unwrap()
                ),
            ];
            assert_eq!((outputs, rest), (expected.to_vec(), b"REDIS".to_vec()));
            let settings = HandshakeSettings { resume: Some(resume), ..settings() };
            let (outputs, rest) = run(settings, partial.as_bytes(), piece);
            assert_eq!(outputs[2..], [format!("> PSYNC {ID} 18"), format!("Continue(Some({ID}))")]);
            assert_eq!(rest, b"*1\r\n");
        }
    }

    #[test]
    fn answers_of_every_kind() {
        let start = "+PONG\r\n+OK\r\n-ERR Unrecognized REPLCONF option: capa\r\n";
        let cases = [
            ("-ERR no\r\n", vec!["# Error reply to PING from master: '-ERR no'", "Failed(Refused)"]),
            (":1\r\n", vec!["# Error reply to PING from master: ':1'", "Failed(Refused)"]),
            ("M-LOADING x\r\n", vec!["Failed(Transient)"]),
            ("S-LOADING x\r\n", vec!["Failed(Transient)"]),
            ("S-NOMASTERLINK Can't SYNC\r\n", vec!["Failed(Transient)"]),
            (
                "S-ERR unknown command\r\n$5\r\n",
                vec!["> SYNC", "Snapshot { origin: None, framing: Length(5) }"],
            ),
            (
                "S+WHAT\r\n-ERR not now\r\n",
                vec![
                    "# Unexpected reply to PSYNC from master: +WHAT",
                    "> SYNC",
                    "# MASTER aborted replication with an error: ERR not now",
                    "Failed(Transient)",
                ],
            ),
            (
                "S+FULLRESYNC abc\r\n$0\r\n",
                vec![
                    "# Master replied with wrong +FULLRESYNC syntax.",
                    "Snapshot { origin: None, framing: Length(0) }",
                ],
            ),
            (
                "S+CONTINUE\r\n",
                vec!["# Master continues a stream that was not asked for.", "Failed(Refused)"],
            ),
            ("S-ERR\r\n$-1\r\n", vec!["> SYNC", BAD_LENGTH, "Failed(Refused)"]),
            ("S-ERR\r\n$EOF:ab\r\n", vec!["> SYNC", BAD_MARK, "Failed(Refused)"]),
        ];
        for (input, expected) in cases {
            let cannot_save = start.replace("+PONG", "-MISCONF Redis is configured to save RDB snapshots");
            let input = match input.split_at(1) {
                ("S", rest) => format!("{start}{rest}"),
                ("M", rest) => format!("{cannot_save}{rest}"),
                _ => input.to_owned(),
            };
            let (outputs, _) = run(settings(), input.as_bytes(), 7);
            let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
            let after_requests = if input.contains("+OK") { 3 } else { 1 };
            assert_eq!(outputs[after_requests..], expected, "{input}");
        }
    }

    const BAD_LENGTH: &str = "# Bad protocol from MASTER, the first byte is not '$' (we received '$-1'), are you sure \
                              the host and port are right?";
    const BAD_MARK: &str = "# Bad protocol from MASTER, the first byte is not '$' (we received '$EOF:ab'), are you \
                            sure the host and port are right?";

    #[test]
    fn passwords_and_announced_addresses() {
        let settings = HandshakeSettings {
            password: b"secret".to_vec(),
            announced_address: "10.0.0.1".to_owned(),
            ..settings()
        };
        let (outputs, _) =
            run(settings.clone(), b"-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n", 9);
        let expected = [
            "> PING",
            "> AUTH secret REPLCONF listening-port 7001 REPLCONF ip-address 10.0.0.1 REPLCONF capa eof capa psync2",
            "> PSYNC ? -1",
        ];
        assert_eq!(outputs, expected);
        let with_user = HandshakeSettings { user: b"joe".to_vec(), ..settings };
        let (outputs, _) = run(with_user, b"+PONG\r\n-WRONGPASS no\r\n", 100);
        assert!(outputs[1].starts_with("> AUTH joe secret "));
        assert_eq!(outputs[2..], ["# Unable to AUTH to MASTER: -WRONGPASS no", "Failed(Refused)"]);
    }

    #[test]
    fn two_connections_only_if_announced() {
        let offer = b"+PONG\r\n+OK\r\n+OK\r\n+DUALCHANNELSYNC\r\n";
        let (outputs, rest) = run(settings(), offer, 7);
        assert_eq!(outputs[3..], ["# Unexpected reply to PSYNC from master: +DUALCHANNELSYNC", "> SYNC"]);
        assert!(rest.is_empty());
        let announced = HandshakeSettings { has_dual_channel: true, ..settings() };
        let (outputs, rest) = run(announced, &[offer, &b"rest"[..]].concat(), 7);
        let capabilities = "REPLCONF capa eof capa psync2 capa dual-channel";
        assert_eq!(outputs[1], format!("> REPLCONF listening-port 7001 {capabilities}"));
        assert_eq!(outputs[3..], ["DualChannel"]);
        assert_eq!(rest, b"rest");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let (outputs, _) = run(settings(), &[b'+'; 5000], 100);
        assert_eq!(outputs.last().map(String::as_str), Some("Failed(Refused)"));
    }
}
