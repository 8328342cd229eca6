//! The log, in the form of Redis: `pid:role dd Mon yyyy hh:mm:ss.mmm level message`.
//!
//! The role is `X` for Sentinel, `C` for a process that is still starting or writes a file, `S` for a replica and
//! `M` for a primary; the levels are `.` debug, `-` verbose, `*` notice and `#` warning. Lines go to the log file or
//! the standard output, and to syslog if that is wanted. There is one log per process, used from all threads; nothing
//! on the path of a command logs.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shoal_config::{LogLevel, SyslogFacility};

use crate::process::system;

/// The longest line; what goes beyond is cut off.
const LINE_LENGTH_MAX: usize = 1 << 20;
/// How often the log file is looked for under its name, in case it was moved away without a signal.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// Much that is rarely useful.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator must see.
    Warning,
}

/// Whose lines these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A process that is still starting, or a child that writes a file.
    Child,
    /// A replica.
    Replica,
    /// A primary.
    Primary,
    /// A Sentinel.
    Sentinel,
}

/// Where lines go.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    /// The file; the standard output if there is none.
    pub file: Option<PathBuf>,
    /// The name and facility for syslog, if lines go there too.
    pub syslog: Option<(String, SyslogFacility)>,
}

/// Logs one line, with the arguments of `format!`: `log_line!(Notice, "Server initialized")`.
#[macro_export]
macro_rules! log_line {
    ($level:ident, $($argument:tt)+) => {
        $crate::logging::write($crate::logging::Level::$level, format_args!($($argument)+))
    };
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Notice as u8);
static ROLE: AtomicU8 = AtomicU8::new(b'C');
/// Where lines go, for code that may not even try a lock: handlers of signals.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(1);
static LOG: Mutex<Log> = Mutex::new(Log { path: None, file: None, checked_at: None, has_syslog: false });

struct Log {
    path: Option<PathBuf>,
    file: Option<File>,
    checked_at: Option<Instant>,
    has_syslog: bool,
}

/// Sets where lines go from now on.
///
/// # Errors
/// When the file cannot be opened for appending; lines then go where they went.
pub fn configure(settings: LogSettings) -> io::Result<()> {
    let file = settings.file.as_deref().map(open).transpose()?;
    if let Some((ident, facility)) = &settings.syslog {
        system::open_syslog(ident, *facility);
    }
    DESCRIPTOR.store(file.as_ref().map_or(1, AsRawFd::as_raw_fd), Ordering::Relaxed);
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    *log = Log { path: settings.file, file, checked_at: None, has_syslog: settings.syslog.is_some() };
    Ok(())
}

/// Sets the least important level that is logged.
pub fn set_level(level: LogLevel) {
    let least = match level {
        LogLevel::Debug => Level::Debug as u8,
        LogLevel::Verbose => Level::Verbose as u8,
        LogLevel::Notice => Level::Notice as u8,
        LogLevel::Warning => Level::Warning as u8,
        LogLevel::Nothing => u8::MAX,
    };
    LEVEL.store(least, Ordering::Relaxed);
}

/// Sets whose lines these are from now on.
pub fn set_role(role: Role) {
    let letter = match role {
        Role::Child => b'C',
        Role::Replica => b'S',
        Role::Primary => b'M',
        Role::Sentinel => b'X',
    };
    ROLE.store(letter, Ordering::Relaxed);
}

/// Whether lines of this level are logged; to spare the making of costly ones.
pub fn is_enabled(level: Level) -> bool {
    level as u8 >= LEVEL.load(Ordering::Relaxed)
}

/// Logs one line; [`log_line!`](crate::log_line) is the usual way.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if !is_enabled(level) {
        return;
    }
    let message = message.to_string();
    let line = format_line(level, &message, SystemTime::now());
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    log.put(line.as_bytes());
    if log.has_syslog {
        system::write_syslog(level, &message);
    }
}

/// Writes text as it is, without time and level, if notices are logged: the logo.
pub fn write_raw(text: &str) {
    if is_enabled(Level::Notice) {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).put(text.as_bytes());
    }
}

/// Writes text as it is from a crashing thread, which may hold any lock: it never waits.
pub fn write_emergency(text: &str) {
    let mut log = match LOG.try_lock() {
        Ok(log) => log,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => {
            let _ = io::stderr().write_all(text.as_bytes());
            return;
        }
    };
    log.put(text.as_bytes());
}

/// Writes a text as it is, from a handler of a signal: by one system call, without locks and memory of its own.
pub fn write_from_signal(text: &'static str) {
    system::write_descriptor(DESCRIPTOR.load(Ordering::Relaxed), text.as_bytes());
}

/// Opens the log file anew, after it was moved away.
pub fn reopen() {
    LOG.lock().unwrap_or_else(PoisonError::into_inner).reopen();
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn format_line(level: Level, message: &str, now: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = system::local_time(since_epoch.as_secs());
    let sign = match level {
        Level::Debug => '.',
        Level::Verbose => '-',
        Level::Notice => '*',
        Level::Warning => '#',
    };
    let mut line = format!(
        "{}:{} {:02} {} {} {:02}:{:02}:{:02}.{:03} {sign} {message}",
        std::process::id(),
        char::from(ROLE.load(Ordering::Relaxed)),
        time.day,
        MONTHS.get(time.month).unwrap_or(&"???"),
        time.year,
        time.hour,
        time.minute,
        time.second,
        since_epoch.subsec_millis(),
    );
    if line.len() > LINE_LENGTH_MAX {
        let boundary = (0..=LINE_LENGTH_MAX).rev().find(|index| line.is_char_boundary(*index));
        line.truncate(boundary.unwrap_or(0));
    }
    line.push('\n');
    line
}

impl Log {
    /// Writes to the file or the standard output. A log that cannot be written has nowhere to say so.
    fn put(&mut self, bytes: &[u8]) {
        self.follow_the_name();
        let _ = match (&mut self.file, &self.path) {
            (Some(file), _) => file.write_all(bytes),
            (None, Some(_)) => Ok(()),
            (None, None) => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
        };
    }

    /// Opens the file anew when its name leads to another file or to none.
    fn follow_the_name(&mut self) {
        let Some(path) = &self.path else { return };
        if self.checked_at.is_some_and(|at| at.elapsed() < FILE_CHECK_INTERVAL) {
            return;
        }
        self.checked_at = Some(Instant::now());
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::metadata(path).ok().map(identity);
        let opened = self.file.as_ref().and_then(|file| file.metadata().ok()).map(identity);
        if named.is_none() || named != opened {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        if let Some(path) = &self.path
            && let Ok(file) = open(path)
        {
            DESCRIPTOR.store(file.as_raw_fd(), Ordering::Relaxed);
            self.file = Some(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_form_of_redis() {
        let line =
            format_line(Level::Warning, "Hello", UNIX_EPOCH + Duration::from_millis(1_577_754_306_225));
        let (process, rest) = line.split_once(':').unwrap();
        assert_eq!(process, std::process::id().to_string());
        // The hour depends on the time zone of the machine.
        assert!(rest.starts_with('C'), "{rest}");
        let shape: String =
            rest.chars().skip(1).map(|letter| if letter.is_ascii_digit() { '9' } else { letter }).collect();
        assert_eq!(shape.replace("Jan", "Dec"), " 99 Dec 9999 99:99:99.999 # Hello\n");
        assert!(rest.contains(".225 # "));
    }

    #[test]
    fn levels_are_ordered() {
        assert!(Level::Debug < Level::Verbose && Level::Notice < Level::Warning);
        assert!(is_enabled(Level::Warning));
        assert!(!is_enabled(Level::Verbose));
    }
}
