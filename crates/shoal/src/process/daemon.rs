//! Running in the background, and the file that holds the process id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::system::{self, Fork};
use crate::log_line;

/// Where the process id goes when the server runs in the background and no file was named.
pub const DEFAULT_PID_FILE: &str = "/var/run/redis.pid";

/// Goes to the background: the calling process ends, its child goes on in a session of its own with the standard
/// streams at `/dev/null`. Must be called before the first thread starts.
///
/// # Errors
/// When no process can be made; the caller is then still in the foreground.
pub fn detach() -> io::Result<()> {
    match system::fork()? {
        Fork::Parent { .. } => system::exit_immediately(0),
        Fork::Child => {
            system::new_session();
            // Everything that was to be said in the foreground has been said; without /dev/null the streams stay.
            if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
                system::redirect_standard_streams(&null);
            }
            Ok(())
        }
    }
}

/// A file that holds the id of this process while it runs.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the file. A failure is logged and otherwise without consequence, as in Redis.
    pub fn create(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        let written = File::create(&path).and_then(|mut file| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            log_line!(Notice, "Failed to write PID file: {error}");
        }
        Self { path }
    }

    /// Removes the file, on a clean stop.
    pub fn remove(self) {
        log_line!(Notice, "Removing the pid file.");
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_comes_and_goes() {
        let path = std::env::temp_dir().join(format!("shoal-pidfile-{}", std::process::id()));
        let file = PidFile::create(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        file.remove();
        assert!(!path.exists());
        // A directory that does not exist is no reason to fail.
        PidFile::create("/nonexistent/file.pid").remove();
    }
}
