//! A cluster manager and the kind of nodes it works on; dialogues with programs.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::{Cluster, Kind, SHOAL, Server, Setup};

/// The longest that one call of a program may take, in seconds.
const PROGRAM_TIMEOUT_S: &str = "120";
/// Bytes of colours that may stand in a question.
const COLOURS_MAX: usize = 32;

/// Who manages what.
pub struct Driver {
    program: &'static [&'static str],
    /// Whose nodes.
    pub kind: Kind,
}

impl Driver {
    /// The installed `redis-cli` on our nodes.
    pub const REDIS_CLI: Self = Self { program: &["redis-cli"], kind: Kind::Shoal };
    /// Ours on ours.
    pub const OURS: Self = Self { program: &[SHOAL, "cli"], kind: Kind::Shoal };
    /// Ours on real nodes.
    pub const OURS_ON_REDIS: Self = Self { program: &[SHOAL, "cli"], kind: Kind::Redis };

    /// The setup of a node that most scenarios use.
    pub fn setup(&self) -> Setup {
        Cluster::setup(self.kind)
    }

    /// Nodes that do not know each other.
    pub fn nodes(&self, count: usize) -> Cluster {
        Cluster::start((0..count).map(|_| self.setup()).collect())
    }

    /// Three primaries and three replicas.
    pub fn six(&self) -> Cluster {
        let cluster = self.nodes(6);
        cluster.join(3);
        cluster
    }

    /// One more node, in cluster mode and alone.
    pub fn single(&self) -> Server {
        self.setup().conf("cluster-enabled yes\nrepl-diskless-sync-delay 0").start()
    }

    /// Runs `PROGRAM WORDS…` with an input; what it printed, and its exit code.
    pub fn run(&self, words: &[&str], input: &str) -> (String, i32) {
        let mut line = self.program.to_vec();
        line.extend(words);
        let output = run(Path::new("."), &line, input);
        (text(&output), output.status.code().unwrap())
    }

    /// Runs `PROGRAM --cluster VERB WORDS…`, which has to end well.
    pub fn manage(&self, verb: &str, words: &[&str]) -> String {
        let mut line = vec!["--cluster", verb];
        line.extend(words);
        self.good(&line)
    }

    /// Runs `PROGRAM WORDS…`, which has to end well.
    pub fn good(&self, words: &[&str]) -> String {
        let (text, code) = self.run(words, "");
        assert_eq!(code, 0, "{words:?}: {text}");
        text
    }

    /// Starts `PROGRAM WORDS…` without an input; what it prints goes into a file.
    pub fn spawn(&self, words: &[&str], printed: &Path) -> Child {
        let printed = File::create(printed).unwrap();
        let mut command = Command::new(self.program[0]);
        command.args(&self.program[1..]).args(words);
        command.stdin(Stdio::null()).stdout(printed.try_clone().unwrap()).stderr(printed).spawn().unwrap()
    }

    /// Runs `PROGRAM --cluster WORDS…` and gives each answer when its question has been asked. What was printed, and the
    /// exit code.
    pub fn dialogue(&self, words: &[&str], answers: &[(&str, &str)]) -> (String, i32) {
        let mut command = Command::new("timeout");
        command.arg(PROGRAM_TIMEOUT_S).args(self.program).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut printed = Vec::new();
        for (question, answer) in answers {
            read_until(&mut output, question, &mut printed);
            input.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        output.read_to_end(&mut printed).unwrap();
        (plain(&printed), end(child))
    }
}

/// Reads until a question has been asked; questions end with a blank.
fn read_until(output: &mut impl Read, question: &str, printed: &mut Vec<u8>) {
    let mut byte = [0];
    loop {
        let count = output.read(&mut byte).unwrap();
        assert_eq!(count, 1, "{question:?} was not asked: {}", plain(printed));
        printed.push(byte[0]);
        let end = &printed[printed.len().saturating_sub(question.len() + COLOURS_MAX)..];
        if byte[0] == b' ' && plain(end).ends_with(question) {
            return;
        }
    }
}

fn end(mut child: Child) -> i32 {
    child.wait().unwrap().code().unwrap()
}

/// Runs a program in a directory, with an answer to its questions.
pub fn run(directory: &Path, words: &[&str], input: &str) -> Output {
    let mut child = Command::new("timeout")
        .arg(PROGRAM_TIMEOUT_S)
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that asks nothing may have ended by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a program printed, without colours.
pub fn text(output: &Output) -> String {
    plain(&output.stdout) + &plain(&output.stderr)
}

/// Text without the colours of a terminal.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_string();
    pieces.fold(first, |sum, piece| sum + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}
