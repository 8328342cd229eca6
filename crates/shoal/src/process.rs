//! The process around a server: daemon, supervisor, title, limits, signals, crash report.
//!
//! Small functions, called in their order by the start-up of a server. [`daemon::detach`] must come before the first
//! thread; [`title::prepare`] before anything else that reads the environment.

pub mod crash;
pub mod daemon;
pub mod limits;
pub mod signals;
pub mod supervisor;
pub mod system;
pub mod title;
pub mod warnings;
