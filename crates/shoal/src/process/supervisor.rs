//! Telling the supervisor that started the server how it is.
//!
//! systemd's protocol is datagrams of `NAME=value` lines to the Unix socket that `NOTIFY_SOCKET` names
//! (sd_notify(3)); a name that begins with `@` is in the abstract namespace.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use shoal_config::Supervised;

use super::system;
use crate::log_line;

/// The supervisor, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supervisor {
    /// None, or one that needs no word.
    None,
    /// Upstart: it has been told already.
    Upstart,
    /// systemd, with the socket's address.
    Systemd(String),
}

impl Supervisor {
    /// Finds the supervisor that the directive `supervised` asks for, and says hello to it.
    pub fn find(wanted: Supervised) -> Self {
        let upstart_job = std::env::var("UPSTART_JOB").ok();
        let notify_socket = std::env::var("NOTIFY_SOCKET").ok().filter(|address| !address.is_empty());
        match (wanted, upstart_job, notify_socket) {
            (Supervised::Auto, Some(_), _) => {
                log_line!(Verbose, "Upstart supervision detected.");
                Self::upstart()
            }
            (Supervised::Upstart, Some(_), _) => Self::upstart(),
            (Supervised::Upstart, None, _) => {
                log_line!(Warning, "upstart supervision requested, but UPSTART_JOB not found!");
                Self::None
            }
            (Supervised::Auto, None, Some(address)) => {
                log_line!(Verbose, "Systemd supervision detected.");
                Self::systemd(address)
            }
            (Supervised::Systemd, _, Some(address)) => Self::systemd(address),
            (Supervised::Systemd, _, None) => {
                log_line!(
                    Warning,
                    "systemd supervision requested or auto-detected, but NOTIFY_SOCKET not found!"
                );
                Self::None
            }
            (Supervised::Auto | Supervised::No, _, _) => Self::None,
        }
    }

    /// Its name, as INFO shows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Upstart => "upstart",
            Self::Systemd(_) => "systemd",
        }
    }

    /// Whether a supervisor watches this process; it must then stay in the foreground.
    pub fn is_present(&self) -> bool {
        *self != Self::None
    }

    /// Tells systemd that the server is ready, and what it is doing.
    pub fn ready(&self, status: &str) {
        self.send(&format!("STATUS={status}\n"));
        self.send("READY=1\n");
    }

    /// Tells systemd what the server is doing.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}\n"));
    }

    /// Tells systemd that the configuration is being read again; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        self.send("RELOADING=1\n");
    }

    /// Tells systemd that the server is stopping.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STATUS={status}\n"));
        self.send("STOPPING=1\n");
    }

    fn upstart() -> Self {
        log_line!(Notice, "supervised by upstart, will stop to signal readiness.");
        system::stop_self();
        Self::Upstart
    }

    fn systemd(address: String) -> Self {
        let supervisor = Self::Systemd(address);
        if !supervisor.send("STATUS=Redis is loading...\n") {
            return Self::None;
        }
        log_line!(
            Notice,
            "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and \
             TimeoutStopSec in your service unit."
        );
        supervisor
    }

    /// Sends one message to systemd; whether it arrived there. Without systemd there is nothing to do.
    fn send(&self, message: &str) -> bool {
        let Self::Systemd(address) = self else { return false };
        match send_datagram(address, message) {
            Ok(()) => true,
            Err(error) => {
                log_line!(Warning, "systemd supervision error: cannot notify through {address}: {error}");
                false
            }
        }
    }
}

fn send_datagram(address: &str, message: &str) -> io::Result<()> {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(message.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_reach_the_socket() {
        let name = format!("shoal-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, address) in
            [(by_path, path.to_str().unwrap().to_string()), (by_name, format!("@{name}"))]
        {
            let supervisor = Supervisor::systemd(address);
            assert!(supervisor.is_present());
            supervisor.ready("Ready to accept connections");
            supervisor.stopping("Saving");
            let mut buffer = [0; 200];
            for expected in [
                "STATUS=Redis is loading...",
                "STATUS=Ready to accept connections",
                "READY=1",
                "STATUS=Saving",
                "STOPPING=1",
            ] {
                let length = socket.recv(&mut buffer).unwrap();
                assert_eq!(String::from_utf8_lossy(&buffer[..length]), format!("{expected}\n"));
            }
        }
        std::fs::remove_file(path).unwrap();
        assert!(!Supervisor::systemd("/nonexistent/notify".into()).is_present());
    }
}
