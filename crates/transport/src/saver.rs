//! Saving nodes.conf on a thread of its own: a slow disk must not keep the bus from answering.
//!
//! The machine waits with what must not be said before it is saved, so "saved, then answered" holds here, too. What need not
//! survive a power cut is written without waiting for the disk, and for good when nothing else comes for a moment.

use crate::disk::SharedDisk;
use crate::nodes_file::NodesFile;
use shoal_cluster::Input;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

/// One save.
struct Job {
    ticket: u64,
    is_durable: bool,
    text: String,
}

/// The thread that saves.
pub struct Saver {
    /// `None` once it is to end.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    /// Starts the thread. `report` is called on it with the outcome of each save.
    ///
    /// # Errors
    /// The system's.
    pub fn start(
        disk: SharedDisk,
        path: PathBuf,
        report: impl Fn(Input) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("nodes-conf".to_owned())
            .spawn(move || save_all(&mut NodesFile::new(disk, path), &waiting, report))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Saves a text. The machine asks for one at a time. One that is not durable survives a crash of the process at once, and
    /// a power cut soon.
    pub fn save(&self, ticket: u64, is_durable: bool, text: String) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Job { ticket, is_durable, text });
        }
    }
}

impl Drop for Saver {
    /// What was asked for is saved first.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn save_all(file: &mut NodesFile, waiting: &Receiver<Job>, report: impl Fn(Input)) {
    loop {
        let next = match file.settles_in() {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => waiting.recv_timeout(wait),
        };
        match next {
            Ok(Job { ticket, is_durable, text }) => report(match file.save(&text, is_durable) {
                Ok(()) => Input::Persisted { ticket },
                Err(error) => Input::PersistFailed { ticket, reason: error.to_string() },
            }),
            // If it fails the text is in the journal all the same, and the next save says what is wrong.
            Err(RecvTimeoutError::Timeout) => drop(file.settle()),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = file.settle();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use std::sync::Arc;

    #[test]
    fn saves_in_order_and_reports() {
        let directory = std::env::temp_dir().join(format!("shoal-saver-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("nodes.conf");
        let (sender, reports) = channel();
        let saver =
            Saver::start(Arc::new(SystemDisk), path.clone(), move |input| drop(sender.send(input))).unwrap();
        for ticket in 0..5 {
            saver.save(ticket, ticket % 2 == 0, format!("text {ticket}"));
        }
        drop(saver);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text 4");
        let tickets: Vec<u64> = reports
            .iter()
            .map(|input| match input {
                Input::Persisted { ticket } => ticket,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(tickets, [0, 1, 2, 3, 4]);
        std::fs::remove_dir_all(&directory).unwrap();
        let (sender, reports) = channel();
        Saver::start(Arc::new(SystemDisk), path, move |input| drop(sender.send(input))).unwrap().save(
            7,
            true,
            "text".to_owned(),
        );
        assert!(matches!(reports.recv().unwrap(), Input::PersistFailed { ticket: 7, .. }));
    }
}
