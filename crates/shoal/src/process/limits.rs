//! Raising the limit of open files to what `maxclients` needs.

use std::io;

use super::system;
use crate::log_line;

/// Files that the server itself needs: listeners, logs, data files, the bus.
pub const RESERVED_FILES: u64 = 32;
/// By how much the limit is lowered until the operating system takes it.
const STEP: u64 = 16;

/// The limit of open files is too low for any client at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFewFiles;

/// Raises the limit of open files so that `maxclients` clients fit, and logs what came of it as Redis does. Gives the
/// number of clients that do fit.
///
/// # Errors
/// [`TooFewFiles`] when not even one client fits.
pub fn raise_file_limit(maxclients: u32) -> Result<u32, TooFewFiles> {
    let needed = u64::from(maxclients) + RESERVED_FILES;
    let (current, highest) = match system::file_limits() {
        Ok(limits) => limits,
        Err(error) => {
            log_line!(
                Warning,
                "Unable to obtain the current NOFILE limit ({error}), assuming 1024 and setting the max clients \
                 configuration accordingly."
            );
            return Ok(maxclients.min(1024 - RESERVED_FILES as u32));
        }
    };
    if current >= needed {
        return Ok(maxclients);
    }
    let (best, error) = raise(current, highest, needed);
    if best >= needed {
        log_line!(
            Notice,
            "Increased maximum number of open files to {needed} (it was originally set to {current})."
        );
        return Ok(maxclients);
    }
    if best <= RESERVED_FILES {
        log_line!(
            Warning,
            "Your current 'ulimit -n' of {current} is not enough for the server to start. Please increase your open \
             file limit to at least {needed}. Exiting."
        );
        return Err(TooFewFiles);
    }
    let fitting = u32::try_from(best - RESERVED_FILES).unwrap_or(maxclients);
    log_line!(
        Warning,
        "You requested maxclients of {maxclients} requiring at least {needed} max file descriptors."
    );
    if let Some(error) = error {
        log_line!(Warning, "Server can't set maximum open files to {needed} because of OS error: {error}.");
    }
    log_line!(
        Warning,
        "Current maximum open files is {best}. maxclients has been reduced to {fitting} to compensate for low \
         ulimit. If you need higher maxclients increase 'ulimit -n'."
    );
    Ok(fitting)
}

/// Sets the highest limit between `current` and `needed` that the operating system takes; also gives the last error.
fn raise(current: u64, highest: u64, needed: u64) -> (u64, Option<io::Error>) {
    let mut last_error = None;
    let mut wanted = needed;
    while wanted > current {
        match system::set_file_limits(wanted, highest.max(wanted)) {
            Ok(()) => return (wanted, last_error),
            Err(error) => last_error = Some(error),
        }
        // Without privileges nothing above the hard limit will do, so go there at once.
        wanted = if wanted > highest { highest } else { wanted.saturating_sub(STEP) };
    }
    (current, last_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_in_force_is_enough_for_few_clients() {
        let (current, _) = system::file_limits().unwrap();
        assert_eq!(raise_file_limit(10), Ok(10));
        assert!(system::file_limits().unwrap().0 >= current);
    }

    #[test]
    fn what_cannot_be_had_is_reduced() {
        let clients = raise_file_limit(u32::MAX).unwrap();
        let (current, _) = system::file_limits().unwrap();
        assert!(clients < u32::MAX);
        assert!(u64::from(clients) + RESERVED_FILES <= current);
    }
}
