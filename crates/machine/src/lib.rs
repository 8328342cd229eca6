//! The contract between deciding code and the world.
//!
//! A machine is plain data. The shell hands it the time and one input; it changes its state and appends outputs to
//! an ordered list; it says when it wants to be called again. It never reads a clock, a socket, a file or a global
//! source of randomness, so the same code runs in production and in the simulator, and any run can be replayed.

mod random;
mod time;
mod timers;

pub use random::Rng;
pub use time::{Monotonic, Now};
pub use timers::Timers;

/// A state machine driven by a shell.
///
/// The shell calls [`Machine::handle`] for each input in the order in which it happened, and
/// [`Machine::handle_timers`] no later than shortly after [`Machine::next_deadline`]. After each call it carries out
/// the outputs in their order.
pub trait Machine {
    /// What happened in the world.
    type Input;
    /// What the machine wants done.
    type Output;

    /// Takes one input; effects are appended to `outputs`.
    fn handle(&mut self, now: Now, input: Self::Input, outputs: &mut Vec<Self::Output>);

    /// Runs everything that is due at `now`. Calling it early or twice is harmless.
    fn handle_timers(&mut self, now: Now, outputs: &mut Vec<Self::Output>);

    /// When the machine wants [`Machine::handle_timers`] next; `None` if nothing is pending.
    fn next_deadline(&self) -> Option<Monotonic>;
}
