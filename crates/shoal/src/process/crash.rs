//! The crash report, for panics and for signals that no program survives.
//!
//! It goes to the log and begins with `=== REDIS BUG REPORT START`, which tools look for; it holds the version, the
//! cause, a backtrace and what the server can say about itself. The process then dies by the same signal (a panic by
//! ABRT), so that supervisors and core dumps see the truth. Making the report may itself fail in a process whose
//! memory is damaged: an alarm ends it then.
#![allow(unsafe_code)] // Handlers of fatal signals have no safe interface anywhere; see `install`.

use std::backtrace::Backtrace;
use std::ffi::CString;
use std::fmt::Write;
use std::io;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use shoal_config::REDIS_VERSION;

use crate::logging;

/// After this many seconds a process that cannot finish its report dies.
const REPORT_TIMEOUT_SECONDS: u32 = 10;
/// The signals that are reported.
const FATAL: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// Gives what the server knows about itself, section by section. It runs in a crashing process on any thread: it must not wait
/// for locks, and may fail half-way.
pub type Describe = fn(&mut dyn FnMut(&str));

static DESCRIBE: Mutex<Option<Describe>> = Mutex::new(None);
static EXITS_ON_PANIC: AtomicBool = AtomicBool::new(false);
static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

/// Sets who describes the server in a report.
pub fn set_describe(describe: Describe) {
    if let Ok(mut slot) = DESCRIBE.lock() {
        *slot = Some(describe);
    }
}

/// Sets the directive `use-exit-on-panic`: whether a panic ends in an exit with 1 rather than in a signal.
pub fn set_exit_on_panic(exits: bool) {
    EXITS_ON_PANIC.store(exits, Ordering::Relaxed);
}

/// Makes every panic, on any thread, end the process with a report; and fatal signals too, if the directive
/// `crash-log-enabled` says so.
pub fn install(reports_signals: bool) {
    std::panic::set_hook(Box::new(report_panic));
    set_signals_reported(reports_signals);
}

/// Follows the directive `crash-log-enabled`.
pub fn set_signals_reported(is_enabled: bool) {
    for signal in FATAL {
        // SAFETY: `sigaction` is plain data for which zero is valid, and the pointers are to live locals. The handler
        // has the signature that SA_SIGINFO asks for. It does more than handlers should (it allocates and takes
        // locks without waiting), which can at worst hang a process that is dying anyway; the alarm ends it then. The
        // first signal resets the handler, so it never runs twice on a thread. It runs on the thread's own stack,
        // as in Redis: a backtrace does not fit on the small stacks that the runtime keeps for handlers. So a stack
        // overflow kills the process without a report.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigemptyset(&mut action.sa_mask);
            if is_enabled {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
                action.sa_sigaction = handler as libc::sighandler_t;
                action.sa_flags = libc::SA_NODEFER | libc::SA_RESETHAND | libc::SA_SIGINFO;
            } else {
                action.sa_sigaction = libc::SIG_DFL;
            }
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Makes an INT that comes while the server is stopping end the process at once, whatever it is busy with.
///
/// # Errors
/// The operating system's.
pub fn exit_on_second_interrupt(is_stopping: &Arc<AtomicBool>) -> io::Result<()> {
    let is_stopping = Arc::clone(is_stopping);
    // The file that a save is writing; it stands in the working directory.
    let temporary = CString::new(format!("temp-{}.rdb", std::process::id())).unwrap_or_default();
    let insist = move || {
        if is_stopping.load(Ordering::SeqCst) {
            logging::write_from_signal("You insist... exiting now.\n");
            // SAFETY: the name ends with a zero, and lives as long as the handler.
            unsafe { libc::unlink(temporary.as_ptr()) };
            super::system::exit_immediately(1);
        }
    };
    // SAFETY: a flag is read; then there are three system calls, the last of which ends the process. Nothing of it returns
    // into the interrupted code.
    unsafe { signal_hook::low_level::register(libc::SIGINT, insist) }?;
    Ok(())
}

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: SA_SIGINFO promises a valid `info`; `alarm` takes an integer. Which member of the union is valid follows
    // from the signal and its code.
    let cause = unsafe {
        libc::alarm(REPORT_TIMEOUT_SECONDS);
        let code = (*info).si_code;
        let mut cause = format!("Redis {REDIS_VERSION} crashed by signal: {signal}, si_code: {code}");
        if code == libc::SI_USER {
            let _ = write!(cause, "\nKilled by PID: {}, UID: {}", (*info).si_pid(), (*info).si_uid());
        } else if signal == libc::SIGSEGV || signal == libc::SIGBUS {
            let _ = write!(cause, "\nAccessing address: {:p}", (*info).si_addr());
        }
        cause
    };
    report(&cause);
    die_by(signal);
}

fn report_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message =
        message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)");
    let location = info.location().map_or_else(|| "?:0".into(), |at| format!("{}:{}", at.file(), at.line()));
    let thread = std::thread::current().name().unwrap_or("unnamed").to_string();
    report(&format!(
        "------------------------------------------------\n!!! Software Failure. Press left mouse button to \
         continue\nGuru Meditation: {message} #{location} (thread {thread})\n------------------------------------------------"
    ));
    if EXITS_ON_PANIC.load(Ordering::Relaxed) {
        super::system::exit_immediately(1);
    }
    die_by(libc::SIGABRT);
}

/// Writes the report; only the first thread that crashes does.
fn report(cause: &str) {
    if HAS_BEGUN.swap(true, Ordering::SeqCst) {
        return;
    }
    // The cause is written before anything that could fail.
    logging::write_emergency(&format!(
        "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n{cause}\n\n------ STACK TRACE ------\n"
    ));
    logging::write_emergency(&format!("{}\n", Backtrace::force_capture()));
    let describe = DESCRIBE.try_lock().ok().and_then(|slot| *slot);
    logging::write_emergency(&format!(
        "\n------ SERVER ------\nshoal_version:{}\npid:{}\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    ));
    if let Some(describe) = describe {
        describe(&mut logging::write_emergency);
    }
    logging::write_emergency("\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n");
}

/// Ends the process by a signal with its default effect.
fn die_by(signal: libc::c_int) -> ! {
    // SAFETY: integers only; the signal is unblocked for this thread and then sent to the process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
        // The signal may be delivered on another thread; it takes the whole process along.
        libc::pause();
    }
    super::system::exit_immediately(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Crashes in the way that the environment names, as a child of the test below; without that it does nothing.
    #[test]
    fn crash_on_purpose() {
        let Ok(way) = std::env::var("SHOAL_TEST_CRASH") else { return };
        set_describe(|write| write("role:master"));
        install(way != "unreported");
        set_exit_on_panic(way == "exit");
        match way.as_str() {
            "panic" | "exit" => panic!("on purpose"),
            "thread" => drop(std::thread::spawn(|| panic!("on purpose")).join()),
            // SAFETY: an address that is never mapped; dying by it is the test.
            "segv" => drop(unsafe { Box::new(std::ptr::with_exposed_provenance::<u8>(8).read_volatile()) }),
            // SAFETY: integers only.
            _ => unsafe {
                libc::raise(libc::SIGFPE);
            },
        }
    }

    #[test]
    fn crashes_are_reported_and_kill_the_process() {
        let cases = [
            ("panic", Some(libc::SIGABRT), None, "Guru Meditation: on purpose"),
            ("thread", Some(libc::SIGABRT), None, "Guru Meditation: on purpose"),
            ("exit", None, Some(1), "Guru Meditation: on purpose"),
            ("segv", Some(libc::SIGSEGV), None, "crashed by signal: 11"),
            ("fpe", Some(libc::SIGFPE), None, "crashed by signal: 8"),
            ("unreported", Some(libc::SIGFPE), None, ""),
        ];
        for (way, signal, code, text) in cases {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["process::crash::tests::crash_on_purpose", "--exact", "--nocapture"])
                .env("SHOAL_TEST_CRASH", way)
                .output()
                .unwrap();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!((output.status.signal(), output.status.code()), (signal, code), "{way}: {printed}");
            assert!(printed.contains(text), "{way}: {printed}");
            assert_eq!(
                printed.contains("=== REDIS BUG REPORT START"),
                way != "unreported",
                "{way}: {printed}"
            );
            assert_eq!(printed.contains("role:master"), way != "unreported", "{way}: {printed}");
        }
    }
}
