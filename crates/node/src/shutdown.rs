//! Stopping the server.

use crate::action::{Action, ShutdownRequest};
use crate::host::Host;
use crate::node::Node;
use shoal_machine::Now;

impl Node {
    /// Somebody wants the server to stop: a signal, or SHUTDOWN.
    pub fn begin_shutdown(&mut self, _now: Now, _host: &mut dyn Host, request: ShutdownRequest) {
        self.actions.push(Action::Shutdown(request));
    }
}
