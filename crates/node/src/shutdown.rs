//! Stopping the server.

use crate::action::{Action, ShutdownRequest};
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_machine::Now;

impl Node {
    /// Somebody wants the server to stop: a signal, or SHUTDOWN. The data is saved first if that is configured or asked
    /// for; if that fails the server goes on, unless it is to stop all the same.
    pub fn begin_shutdown(&mut self, now: Now, host: &mut dyn Host, request: ShutdownRequest) {
        host.log(LogLevel::Warning, "User requested shutdown...");
        let is_configured = !self.config.save.0.is_empty();
        if request.save || is_configured && !request.no_save {
            host.log(LogLevel::Notice, "Saving the final RDB snapshot before exiting.");
            let context = self.snapshot_context(now, host);
            match host.save(&self.keyspace, &context) {
                Ok(_) => host.log(LogLevel::Notice, "DB saved on disk"),
                Err(reason) => {
                    host.log(LogLevel::Warning, &format!("Failed saving the DB: {reason}"));
                    if !request.force {
                        host.log(LogLevel::Warning, "Error trying to save the DB, can't exit.");
                        return;
                    }
                }
            }
        }
        self.actions.push(Action::Shutdown(request));
    }
}
