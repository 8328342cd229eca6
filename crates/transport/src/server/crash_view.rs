//! What a crash report says of the server: the command that was running, INFO, and the list of clients.
//!
//! A report is made in a handler of a signal or of a panic, on top of whatever the thread was doing. Only the thread that
//! serves clients may look at the server then: nobody else changes it meanwhile. It may have been in the middle of a
//! change, so that what is shown is the best that can be had, in the order of its use: should looking fail, too, the
//! system ends the process, and what has been written stays.

#![allow(unsafe_code)] // A report is made beneath the borrow of the server that is running; see above.

use super::Server;
use crate::connection::Stream;
use shoal_protocol::Request;
use shoal_protocol::quoting::quote;
use std::fmt::Write as _;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// Words of the running command that are shown, and bytes of each.
const WORDS_MAX: usize = 16;
const WORD_MAX_BYTES: usize = 128;

static SERVER: AtomicPtr<Server> = AtomicPtr::new(null_mut());
/// The thread that serves clients, as the system numbers it.
static THREAD: AtomicI32 = AtomicI32::new(0);
static RUNNING: AtomicPtr<Running<'static>> = AtomicPtr::new(null_mut());

/// A command that is running, and whose it is.
struct Running<'a> {
    stream: &'a Stream,
    request: Request<'a>,
}

/// The server can be described as long as this lives.
pub(super) struct View(());

impl View {
    pub(super) fn open(server: &mut Server) -> Self {
        THREAD.store(thread_number(), Ordering::Relaxed);
        SERVER.store(server, Ordering::Release);
        Self(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        SERVER.store(null_mut(), Ordering::Release);
    }
}

/// Runs a command of a client, so that a report can name both.
#[inline]
pub(super) fn watched<R>(stream: &Stream, request: Request<'_>, run: impl FnOnce() -> R) -> R {
    let running = Running { stream, request };
    RUNNING.store((&raw const running).cast_mut().cast(), Ordering::Release);
    let result = run();
    // A panic does not come by here; it ends the process while the command is still on the stack.
    RUNNING.store(null_mut(), Ordering::Release);
    result
}

/// Describes the server in a crashing process: gives section after section to `write`.
pub fn describe_crash(write: &mut dyn FnMut(&str)) {
    if THREAD.load(Ordering::Relaxed) != thread_number() {
        write("------ ANOTHER THREAD THAN THE ONE THAT SERVES CLIENTS CRASHED ------\n");
        return;
    }
    // SAFETY: it points to the frame of `watched`, which is still on the stack of this very thread.
    if let Some(running) = unsafe { RUNNING.load(Ordering::Acquire).as_ref() } {
        running.describe(write);
    }
    // SAFETY: the server outlives its view, and this is the only thread that uses it. Code below on the stack holds a borrow of
    // it, but does not go on: the process ends after the report.
    if let Some(server) = unsafe { SERVER.load(Ordering::Acquire).as_mut() } {
        server.describe(write);
    }
}

impl Running<'_> {
    fn describe(&self, write: &mut dyn FnMut(&str)) {
        let identity = self.stream.identity("unix socket");
        let mut text = format!(
            "\n------ CURRENT CLIENT INFO ------\naddr={} laddr={} fd={}\nargc: {}\n",
            identity.address,
            identity.local_address,
            identity.descriptor,
            self.request.len()
        );
        for (index, word) in self.request.iter().take(WORDS_MAX).enumerate() {
            let shown = &word[..word.len().min(WORD_MAX_BYTES)];
            let more = if shown.len() < word.len() { " (more bytes follow)" } else { "" };
            let _ = writeln!(text, "argv[{index}]: {}{more}", quote(shown));
        }
        write(&text);
    }
}

impl Server {
    fn describe(&mut self, write: &mut dyn FnMut(&str)) {
        let now = self.host.clock.now();
        write("\n------ INFO OUTPUT ------\n");
        write(&self.node.describe(now, &mut self.host).replace('\r', ""));
        write("\n------ CLIENT LIST OUTPUT ------\n");
        self.node.describe_clients(now, write);
    }
}

fn thread_number() -> i32 {
    // SAFETY: the call takes nothing and always succeeds.
    unsafe { libc::gettid() }
}
