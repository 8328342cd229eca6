//! The thread that frees memory, so that the executor does not have to.

use shoal_store::Garbage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// Objects that may wait; what comes beyond is freed by whoever brings it.
const PENDING_MAX: usize = 100_000_000;

/// Frees what it is given on a thread of its own.
#[derive(Debug)]
pub struct Freeing {
    sender: Option<Sender<Vec<Garbage>>>,
    pending: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Freeing {
    /// Starts the thread.
    pub fn start() -> Self {
        let (sender, receiver) = channel::<Vec<Garbage>>();
        let pending = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&pending);
        let work = move || {
            for garbage in receiver {
                for part in garbage {
                    let objects = part.objects();
                    drop(part);
                    counter.fetch_sub(objects, Ordering::Relaxed);
                }
            }
        };
        // Without the thread memory is freed at once, which is only slower.
        let thread = std::thread::Builder::new().name("freeing".to_owned()).spawn(work).ok();
        Self { sender: thread.is_some().then_some(sender), pending, thread }
    }

    /// Objects that wait.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Frees something.
    pub fn free(&self, garbage: Vec<Garbage>) {
        let objects = garbage.iter().map(Garbage::objects).sum::<usize>();
        if let Some(sender) = self.sender.as_ref().filter(|_| self.pending() + objects <= PENDING_MAX) {
            self.pending.fetch_add(objects, Ordering::Relaxed);
            if sender.send(garbage).is_err() {
                self.pending.fetch_sub(objects, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
