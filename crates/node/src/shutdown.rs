//! Stopping the server: replicas get what is still on its way to them, the data is saved, then the shell is told.
//!
//! ```text
//! begin ── a primary of a cluster, told by SIGTERM: a replica is asked to take over, and has time to do so
//!         ├─ all replicas up to date, or not to be waited for ──▶ finish ──┬─ saved ──▶ Action::Shutdown
//!         └─▶ waiting, writes paused ── up to date, or time over ─▶        └─ failed ─▶ the server goes on
//!                    └── SHUTDOWN ABORT ─▶ the server goes on
//! ```

use crate::action::{Action, ShutdownRequest};
use crate::aof::AofState;
use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use crate::pause::{PauseKind, PauseReason};
use shoal_cluster::ClusterCommand;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::ErrorReply;

/// What a client is told whose SHUTDOWN came to nothing.
pub(crate) const FAILED: ErrorReply = ErrorReply::new("ERR Errors trying to SHUTDOWN. Check logs.");

/// A replica that is asked to take over has so many milliseconds, unless `shutdown-timeout` is less.
const HAND_OVER_MS: u64 = 5000;

/// A shutdown that waits for replicas.
#[derive(Debug)]
pub(crate) struct PendingShutdown {
    request: ShutdownRequest,
    deadline: Monotonic,
    /// It waits for a replica to take over.
    is_handing_over: bool,
    /// The clients whose SHUTDOWN is not answered yet.
    clients: Vec<Handle>,
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownProgress {
    /// The shell has been told to stop.
    Stopping,
    /// It waits for replicas.
    Waiting,
    /// It could not be carried out; the server goes on.
    Failed,
}

impl Node {
    /// Somebody wants the server to stop: a signal. It begins with the next tick. If the data cannot be saved the server
    /// goes on, unless it is to stop all the same.
    pub fn begin_shutdown(&mut self, request: ShutdownRequest) {
        self.shutdown_asked = Some(request);
    }

    /// Begins the shutdown that a signal has asked for.
    pub(crate) fn begin_asked_shutdown(&mut self, now: Now, host: &mut dyn Host) {
        if let Some(request) = self.shutdown_asked.take() {
            self.start_shutdown(now, host, request, None);
        }
    }

    /// Begins a shutdown, or finishes the one that waits for replicas if this one does not want to wait. `client` is the
    /// one that asked; it is blocked by the caller while the shutdown waits.
    pub(crate) fn start_shutdown(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        mut request: ShutdownRequest,
        client: Option<Handle>,
    ) -> ShutdownProgress {
        if self.is_loading {
            // Half of the data must not replace the file that holds all of them.
            request = ShutdownRequest { save: false, no_save: true, ..request };
        }
        if self.shutdown.is_none() {
            host.log(LogLevel::Notice, "User requested shutdown...");
        }
        let timeout_ms = u64::from(self.config.shutdown_timeout_seconds) * 1000;
        let is_first = self.shutdown.is_none();
        let is_handing_over =
            is_first && !request.now && timeout_ms > 0 && self.begin_hand_over(now, host, request);
        if !is_handing_over && (request.now || timeout_ms == 0 || self.are_replicas_up_to_date()) {
            return self.finish_shutdown(now, host, request);
        }
        if let Some(pending) = &mut self.shutdown {
            pending.clients.extend(client);
            return ShutdownProgress::Waiting;
        }
        let deadline = if is_handing_over {
            now.monotonic.plus_ms(timeout_ms.min(HAND_OVER_MS))
        } else {
            host.log(LogLevel::Notice, "Waiting for replicas before shutting down.");
            now.monotonic.plus_ms(timeout_ms)
        };
        // Longer than the wait itself, so that no write slips in between its end and the last snapshot.
        self.pauses.begin(PauseReason::Shutdown, PauseKind::Writes, Monotonic(u64::MAX));
        let clients = client.into_iter().collect();
        self.shutdown = Some(PendingShutdown { request, deadline, is_handing_over, clients });
        self.ask_replicas();
        ShutdownProgress::Waiting
    }

    /// Asks a replica to take over, if this is a primary of a cluster and there is one that can.
    fn begin_hand_over(&mut self, now: Now, host: &mut dyn Host, request: ShutdownRequest) -> bool {
        request.hand_over
            && self.config.cluster_handover_on_shutdown
            && self.cluster.is_some()
            && !self.is_replica()
            && self.run_cluster_command(now, host, ClusterCommand::HandOver).is_ok()
    }

    /// How long a shutdown still waits for replicas, if one does.
    pub(crate) fn shutdown_remaining_ms(&self, now: Now) -> Option<u64> {
        self.shutdown.as_ref().map(|pending| pending.deadline.ms_since(now.monotonic))
    }

    /// Goes on with a shutdown that waits, if replicas have caught up or their time is over.
    pub(crate) fn continue_shutdown(&mut self, now: Now, host: &mut dyn Host) {
        let is_replica = self.is_replica();
        let Some(pending) = &mut self.shutdown else { return };
        let request = pending.request;
        let is_over = now.monotonic >= pending.deadline;
        if pending.is_handing_over && is_replica && !is_over {
            host.log(LogLevel::Notice, "A replica has taken over before the shutdown.");
            pending.is_handing_over = false;
            // Clients whose writes were put off hear of the new primary; the next tick ends the server.
            self.end_pause(PauseReason::Shutdown);
            return;
        }
        let is_up_to_date = !pending.is_handing_over && self.are_replicas_up_to_date();
        if is_over || is_up_to_date {
            self.finish_shutdown(now, host, request);
        } else {
            self.ask_replicas();
        }
    }

    /// Takes a shutdown back that waits for replicas. False if there is none.
    pub(crate) fn abort_shutdown(&mut self, host: &mut dyn Host) -> bool {
        let was_asked = self.shutdown_asked.take().is_some();
        if self.shutdown.is_none() && !was_asked {
            return false;
        }
        host.log(LogLevel::Notice, "Shutdown manually aborted.");
        self.resume_after_shutdown();
        true
    }

    fn are_replicas_up_to_date(&self) -> bool {
        let end = self.replication_offset();
        self.is_replica()
            || self
                .replication
                .peers
                .replicas()
                .all(|(_, peer)| !peer.is_online() || peer.is_pre_psync || peer.ack_offset >= end)
    }

    fn finish_shutdown(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        request: ShutdownRequest,
    ) -> ShutdownProgress {
        self.log_lagging_replicas(host);
        if self.aof.rewrite.is_some() {
            if self.aof.state == AofState::Starting && !request.force {
                host.log(LogLevel::Warning, "Writing initial AOF, can't exit.");
                return self.fail_shutdown(host);
            }
            host.log(LogLevel::Warning, "There is a child rewriting the AOF. Killing it!");
            self.cancel_rewrite(host);
        } else if self.snapshot.is_some() {
            host.log(LogLevel::Warning, "There is a child saving an .rdb. Killing it!");
            self.cancel_snapshot(host);
        }
        self.flush_aof(host);
        let is_configured = !self.config.save.0.is_empty();
        if request.save || is_configured && !request.no_save {
            host.log(LogLevel::Notice, "Saving the final RDB snapshot before exiting.");
            if self.save_now(now, host).is_err() {
                if !request.force {
                    host.log(LogLevel::Warning, "Error trying to save the DB, can't exit.");
                    return self.fail_shutdown(host);
                }
                host.log(LogLevel::Warning, "Error trying to save the DB. Exiting anyway.");
            }
        }
        self.finish_aof(host);
        self.shutdown = None;
        self.actions.push(Action::Shutdown(request));
        ShutdownProgress::Stopping
    }

    fn fail_shutdown(&mut self, host: &mut dyn Host) -> ShutdownProgress {
        host.log(
            LogLevel::Warning,
            "Errors trying to shut down the server, which goes on: the reason stands above.",
        );
        self.resume_after_shutdown();
        ShutdownProgress::Failed
    }

    fn log_lagging_replicas(&mut self, host: &mut dyn Host) {
        let end = self.replication_offset();
        let mut lagging = Vec::new();
        let mut count = 0;
        for (handle, peer) in self.replication.peers.replicas() {
            count += 1;
            if peer.ack_offset < end {
                lagging.push((handle, end - peer.ack_offset, peer.state().unwrap_or("none")));
            }
        }
        for (handle, behind, state) in &lagging {
            let name = self.replica_name(*handle);
            let text =
                format!("Lagging replica {name} reported offset {behind} behind master, state={state}.");
            host.log(LogLevel::Notice, &text);
        }
        if count > 0 {
            let good = count - lagging.len();
            host.log(
                LogLevel::Notice,
                &format!("{good} of {count} replicas are in sync when shutting down."),
            );
        }
    }

    /// The server goes on: writes are let through, and clients hear that their SHUTDOWN came to nothing.
    fn resume_after_shutdown(&mut self) {
        self.actions.push(Action::ShutdownAborted);
        let Some(pending) = self.shutdown.take() else { return };
        self.end_pause(PauseReason::Shutdown);
        for handle in pending.clients {
            let Some(session) = self.clients.session_mut(handle).filter(|session| session.is_blocked) else {
                continue;
            };
            session.is_blocked = false;
            session.reply().error(&FAILED);
            self.clients.mark_pending(handle);
            self.actions.push(Action::Resume(handle));
        }
    }

    /// A client that waits for its SHUTDOWN has gone.
    pub(crate) fn forget_shutdown_client(&mut self, handle: Handle) {
        if let Some(pending) = &mut self.shutdown {
            pending.clients.retain(|&other| other != handle);
        }
    }
}
