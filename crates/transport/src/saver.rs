//! Saving nodes.conf on a thread of its own: a slow disk must not keep the bus from answering.
//!
//! The machine waits with what must not be said before it is saved, so "saved, then answered" holds here, too.

use crate::disk::{self, SharedDisk};
use shoal_cluster::Input;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The thread that saves.
pub struct Saver {
    /// `None` once it is to end.
    jobs: Option<Sender<(u64, String)>>,
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
            .spawn(move || save_all(&disk, &path, &waiting, report))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Saves a text. The machine asks for one at a time.
    pub fn save(&self, ticket: u64, text: String) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send((ticket, text));
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

fn save_all(
    disk: &SharedDisk,
    path: &std::path::Path,
    waiting: &Receiver<(u64, String)>,
    report: impl Fn(Input),
) {
    for (ticket, text) in waiting {
        report(match disk::replace(&**disk, path, text.as_bytes()) {
            Ok(()) => Input::Persisted { ticket },
            Err(error) => Input::PersistFailed { ticket, reason: error.to_string() },
        });
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
            saver.save(ticket, format!("text {ticket}"));
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
        Saver::start(Arc::new(SystemDisk), path, move |input| drop(sender.send(input)))
            .unwrap()
            .save(7, "text".to_owned());
        assert!(matches!(reports.recv().unwrap(), Input::PersistFailed { ticket: 7, .. }));
    }
}
