//! Runs other programs: in the open, or caught with a time limit.

use crate::Outcome;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a program printed, both streams together, and how it ended.
pub struct Finished {
    /// Both streams in the order in which they came.
    pub output: String,
    /// Whether it ended by itself and well.
    pub success: bool,
}

/// Runs a program with the terminal as its output; anything but success is an error.
pub fn run(command: &mut Command) -> Outcome<()> {
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    check(command, status)
}

/// Runs a program and gives what it writes to standard output.
pub fn output(command: &mut Command) -> Outcome<String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| format!("{}: {error}", shown(command)))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).map_err(|_| format!("{} did not print text", shown(command)))
}

/// Runs a program and hands over each line of its standard output as it comes.
pub fn each_line(command: &mut Command, mut use_line: impl FnMut(&str) -> Outcome<()>) -> Outcome<()> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{}: {error}", shown(command)))?;
    let mut outcome = Ok(());
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()) {
        outcome = line.map_err(|error| error.to_string()).and_then(|line| use_line(&line));
        if outcome.is_err() {
            // It may have hours to go.
            let _ = child.kill();
            break;
        }
    }
    let status = child.wait().map_err(|error| format!("{}: {error}", shown(command)))?;
    outcome.and_then(|()| check(command, status))
}

/// Whether a program is there and ends well, whatever it prints.
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a program with caught output. After the time limit it is ended together with what it started.
pub fn caught(command: &mut Command, limit: Duration) -> Outcome<Finished> {
    let (mut reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let second = writer.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(second).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", shown(command)))?;
    // The command holds the writing ends; the reader sees the end only once they are gone.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // A grandchild that outlives the test may hold the pipe: the reader is then left behind, not waited for.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut chunk = [0; 16384];
        while let Ok(length @ 1..) = reader.read(&mut chunk) {
            let sent = sender.send(chunk.get(..length).unwrap_or_default().to_vec());
            if sent.is_err() {
                break;
            }
        }
    });
    let status = wait(&mut child, limit)?;
    let mut bytes = Vec::new();
    while let Ok(chunk) = receiver.recv_timeout(Duration::from_millis(200)) {
        bytes.extend(chunk);
    }
    let mut output = String::from_utf8_lossy(&bytes).into_owned();
    if status.is_none() {
        output.push_str(&format!("\nended after {} s without a result\n", limit.as_secs()));
    }
    Ok(Finished { output, success: status.is_some_and(|status| status.success()) })
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn check(command: &Command, status: ExitStatus) -> Outcome<()> {
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", shown(command))) }
}

/// Waits for a child in a process group of its own; nothing if it had to be ended.
fn wait(child: &mut Child, limit: Duration) -> Outcome<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status));
        }
        if began.elapsed() > limit {
            let group = format!("-{}", child.id());
            succeeds("kill", &["-KILL", "--", &group]);
            child.wait().map_err(|error| error.to_string())?;
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::caught;
    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn both_streams_and_the_result_are_caught() {
        let finished = caught(
            Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]),
            Duration::from_secs(20),
        );
        let finished = finished.unwrap();
        assert_eq!((finished.output.as_str(), finished.success), ("one\ntwo\n", false));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let began = Instant::now();
        let finished =
            caught(Command::new("sh").args(["-c", "sleep 100 & sleep 100"]), Duration::from_millis(100));
        let finished = finished.unwrap();
        assert!(!finished.success && finished.output.contains("without a result"));
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
