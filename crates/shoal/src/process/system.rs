//! Calls to the C library that the standard library does not offer, each behind a safe function.
#![allow(unsafe_code)] // What is left here has no safe counterpart; each block says why it is sound.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use shoal_config::SyslogFacility;

use crate::logging::Level;

/// A point in time on the wall clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalTime {
    /// The year, as people count.
    pub year: i32,
    /// The month, from 0.
    pub month: usize,
    /// The day of the month, from 1.
    pub day: i32,
    /// The hour, 0 to 23.
    pub hour: i32,
    /// The minute.
    pub minute: i32,
    /// The second, 60 in a leap second.
    pub second: i32,
}

/// The local time of a number of seconds since 1970.
pub fn local_time(seconds: u64) -> LocalTime {
    let seconds = libc::time_t::try_from(seconds).unwrap_or(libc::time_t::MAX);
    // SAFETY: `tm` is plain data for which zero is valid, and both pointers are to live locals.
    let broken = unsafe {
        let mut broken: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut broken).is_null() {
            return LocalTime::default();
        }
        broken
    };
    LocalTime {
        year: broken.tm_year + 1900,
        month: usize::try_from(broken.tm_mon).unwrap_or(0),
        day: broken.tm_mday,
        hour: broken.tm_hour,
        minute: broken.tm_min,
        second: broken.tm_sec,
    }
}

/// Opens the connection to syslog. Only the first call counts, for syslog keeps the pointer to the name.
pub fn open_syslog(ident: &str, facility: SyslogFacility) {
    static IDENT: OnceLock<CString> = OnceLock::new();
    let facility = match facility {
        SyslogFacility::User => libc::LOG_USER,
        SyslogFacility::Local0 => libc::LOG_LOCAL0,
        SyslogFacility::Local1 => libc::LOG_LOCAL1,
        SyslogFacility::Local2 => libc::LOG_LOCAL2,
        SyslogFacility::Local3 => libc::LOG_LOCAL3,
        SyslogFacility::Local4 => libc::LOG_LOCAL4,
        SyslogFacility::Local5 => libc::LOG_LOCAL5,
        SyslogFacility::Local6 => libc::LOG_LOCAL6,
        SyslogFacility::Local7 => libc::LOG_LOCAL7,
    };
    let ident = IDENT.get_or_init(|| CString::new(ident.replace('\0', "")).unwrap_or_default());
    // SAFETY: the name lives in a static, as long as syslog may use it.
    unsafe { libc::openlog(ident.as_ptr(), libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT, facility) }
}

/// Sends one message to syslog.
pub fn write_syslog(level: Level, message: &str) {
    let priority = match level {
        Level::Debug => libc::LOG_DEBUG,
        Level::Verbose => libc::LOG_INFO,
        Level::Notice => libc::LOG_NOTICE,
        Level::Warning => libc::LOG_WARNING,
    };
    let Ok(message) = CString::new(message.replace('\0', "")) else { return };
    // SAFETY: both strings end with NUL, and the format takes exactly the one argument.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), message.as_ptr()) }
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The process that went on.
    Parent {
        /// The id of the new process.
        child: i32,
    },
    /// The new process.
    Child,
}

/// Splits the process in two. The caller must not have started threads, or the child may do no more than a signal
/// handler may.
///
/// # Errors
/// The operating system's, when there is no room for another process.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: fork touches no memory of ours; what the child may do is the caller's part of the contract.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent { child }),
    }
}

/// The system's name, release and machine: `Linux 6.1.0 x86_64`.
pub fn description() -> String {
    let mut name = std::mem::MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the structure is large enough and zeroed, so it is initialised whether or not the call succeeds.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let text = |field: &[libc::c_char]| -> String {
        field.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte as u8)).collect()
    };
    format!("{} {} {}", text(&name.sysname), text(&name.release), text(&name.machine))
}

/// Leaves the process at once, without destructors and exit handlers.
pub fn exit_immediately(code: i32) -> ! {
    // SAFETY: ends the process; no memory is touched.
    unsafe { libc::_exit(code) }
}

/// Writes to a file by its descriptor; whether that succeeds is not known.
pub fn write_descriptor(descriptor: i32, bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of a live slice; a descriptor that is not open is an error.
    unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
}

/// Makes the process the leader of a new session, free of its terminal.
pub fn new_session() {
    // SAFETY: no memory is touched. It fails only for a process that leads a group already, which is fine too.
    unsafe { libc::setsid() };
}

/// Makes the standard input, output and error lead to `file`.
pub fn redirect_standard_streams(file: &impl AsRawFd) {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: `file` is open; the standard streams are not owned by any Rust object that would close them.
        unsafe { libc::dup2(file.as_raw_fd(), stream) };
    }
}

/// Asks the kernel to give this process no transparent huge pages.
///
/// # Errors
/// The operating system's.
pub fn disable_transparent_huge_pages() -> io::Result<()> {
    // SAFETY: this option takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) })
}

/// The limits of open files: the one in force and the highest that may be set without privileges.
///
/// # Errors
/// The operating system's.
pub fn file_limits() -> io::Result<(u64, u64)> {
    // SAFETY: `rlimit` is plain data for which zero is valid, and the pointer is to a live local.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        Ok((limit.rlim_cur, limit.rlim_max))
    }
}

/// Sets the limits of open files.
///
/// # Errors
/// The operating system's.
pub fn set_file_limits(current: u64, highest: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: current, rlim_max: highest };
    // SAFETY: the pointer is to a live local.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

/// Stops this process until somebody continues it: how Upstart learns that it is ready.
pub fn stop_self() {
    // SAFETY: no memory is touched.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Whether a process with this id exists (that of another user included).
pub fn process_exists(process_id: i32) -> bool {
    // SAFETY: signal 0 is a question only.
    let answer = unsafe { libc::kill(process_id, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Sends a signal to a process.
///
/// # Errors
/// The operating system's: no such process, or not allowed.
pub fn send_signal(process_id: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is touched.
    check(unsafe { libc::kill(process_id, signal) })
}

/// Whether the standard output is a terminal.
pub fn stdout_is_terminal() -> bool {
    use std::io::IsTerminal;
    io::stdout().is_terminal()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
