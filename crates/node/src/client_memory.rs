//! Staying below `maxmemory-clients`: clients that hold much memory are disconnected, the largest first.
//!
//! While there is such a limit, every client is counted anew when its command ends, when input comes, and when something
//! is pushed to it. What the shell has sent meanwhile is only noticed when the sum seems too high: then all are counted.

use crate::client_line::{self, ClientType, memory_bytes};
use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_session::{Close, Session};

/// The least limit: with less nobody could say anything any more.
const LIMIT_MIN_BYTES: u64 = 128 * 1024;
/// How long nothing is tried again after all that could go have gone and it was not enough.
const RETRY_MS: u64 = 100;

/// The sum of what clients hold.
#[derive(Debug, Default)]
pub(crate) struct ClientMemory {
    total_bytes: u64,
    /// There was no limit when clients were counted last, or another one.
    is_outdated: bool,
    /// Until then it is in vain to look for clients that could go.
    in_vain_until: Option<Monotonic>,
}

impl Node {
    /// Whether there is a limit.
    pub(crate) fn client_memory_is_limited(&self) -> bool {
        self.config.maxmemory_clients.bytes(self.config.maxmemory_bytes) > 0
    }

    /// The limit may have changed, or who may go.
    pub(crate) fn client_limit_changed(&mut self) {
        self.client_memory.is_outdated = true;
        self.client_memory.in_vain_until = None;
    }

    /// Counts a client anew whose command is not running.
    pub(crate) fn note_client_memory(&mut self, handle: Handle) {
        if self.client_memory_is_limited()
            && let Some(session) = self.clients.session_mut(handle)
        {
            self.client_memory.count(session);
        }
    }

    /// Counts a client anew whose command is or was running.
    pub(crate) fn note_own_memory(&mut self, session: &mut Session) {
        if self.client_memory_is_limited() {
            self.client_memory.count(session);
        }
    }

    /// A client has gone.
    pub(crate) fn forget_client_memory(&mut self, session: &mut Session) {
        self.client_memory.set(session, 0);
    }

    /// Disconnects the largest clients if all together hold too much. `own` is the client whose command is about to run;
    /// it may be one of them.
    pub(crate) fn evict_clients(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        mut own: Option<(Handle, &mut Session)>,
    ) {
        let limit = self.config.maxmemory_clients.bytes(self.config.maxmemory_bytes).max(LIMIT_MIN_BYTES);
        let is_in_vain = self.client_memory.in_vain_until.is_some_and(|until| now.monotonic < until);
        let is_fine = self.client_memory.total_bytes <= limit && !self.client_memory.is_outdated;
        if is_fine || is_in_vain {
            return;
        }
        self.client_memory.is_outdated = false;
        let mut largest =
            self.count_all_clients(own.as_mut().map(|(handle, session)| (*handle, &mut **session)));
        largest.sort_unstable();
        while self.client_memory.total_bytes > limit {
            let Some((_, handle)) = largest.pop() else {
                host.log(LogLevel::Warning, "Over client maxmemory after evicting all evictable clients");
                self.client_memory.in_vain_until = Some(now.monotonic.plus_ms(RETRY_MS));
                return;
            };
            match &mut own {
                Some((own_handle, session)) if *own_handle == handle => {
                    self.evict_client(now, host, session);
                }
                _ => {
                    let Some(mut session) = self.clients.take(handle) else { continue };
                    self.evict_client(now, host, &mut session);
                    self.clients.put_back(handle, session);
                }
            }
        }
    }

    /// Counts all clients, and returns those that may go with their sizes.
    fn count_all_clients(&mut self, own: Option<(Handle, &mut Session)>) -> Vec<(usize, Handle)> {
        let mut evictable = Vec::new();
        let handles: Vec<Handle> = self.clients.iter().map(|(handle, _)| handle).collect();
        self.client_memory.total_bytes = 0;
        let mut count = |memory: &mut ClientMemory, handle, session: &mut Session| {
            session.counted_bytes = 0;
            memory.count(session);
            if session.counted_bytes > 0 && !session.no_evict && session.close == Close::No {
                evictable.push((session.counted_bytes, handle));
            }
        };
        for handle in handles {
            if let Some(session) = self.clients.session_mut(handle) {
                count(&mut self.client_memory, handle, session);
            }
        }
        if let Some((handle, session)) = own {
            count(&mut self.client_memory, handle, session);
        }
        evictable
    }

    fn evict_client(&mut self, now: Now, host: &mut dyn Host, session: &mut Session) {
        let mut line = String::new();
        client_line::write_line(&mut line, session, now, None);
        host.log(LogLevel::Notice, &format!("Evicting client: {}", line.trim_end()));
        self.stats.evicted_clients += 1;
        self.client_memory.set(session, 0);
        session.close = Close::Now;
        session.output.clear();
        session.transaction = None;
    }
}

impl ClientMemory {
    fn count(&mut self, session: &mut Session) {
        let counts = matches!(ClientType::of(session), ClientType::Normal | ClientType::Pubsub);
        let bytes = if counts && session.close != Close::Now { memory_bytes(session) } else { 0 };
        self.set(session, bytes);
    }

    fn set(&mut self, session: &mut Session, bytes: usize) {
        let before = std::mem::replace(&mut session.counted_bytes, bytes);
        self.total_bytes = (self.total_bytes + bytes as u64).saturating_sub(before as u64);
    }
}

#[cfg(test)]
mod tests {
    use crate::clients::Handle;
    use crate::testing::Fixture;

    /// Has a part of a request wait for the rest.
    fn fill_input(fixture: &mut Fixture, client: Handle, bytes: usize) {
        fixture.node.input_arrived(fixture.host.clock, client, bytes, bytes, 0);
    }

    #[test]
    fn the_largest_clients_go_first() {
        let mut fixture = Fixture::new();
        fixture.configure(&["maxmemory-clients", "1000000"]);
        let clients: Vec<_> = (0..5).map(|_| fixture.connect()).collect();
        for (client, bytes) in clients.iter().zip([100_000, 500_000, 200_000, 400_000, 300_000]) {
            fill_input(&mut fixture, *client, bytes);
        }
        fixture.settle();
        let connected: Vec<_> = clients.iter().map(|client| fixture.is_connected(*client)).collect();
        assert_eq!(connected, [true, false, true, false, true]);
        assert_eq!(fixture.node.stats().evicted_clients, 2);
        assert!(fixture.host.has_logged("Evicting client: id="));
        assert!(fixture.text("INFO stats").contains("evicted_clients:2\r\n"));
    }

    #[test]
    fn a_client_whose_command_is_too_large_does_not_run_it() {
        let mut fixture = Fixture::new();
        fixture.configure(&["maxmemory-clients", "1000000"]);
        let other = fixture.connect();
        let value = "x".repeat(300_000);
        fixture.check_as(other, "MULTI", "+OK");
        for _ in 0..3 {
            fixture.check_as(other, &format!("SET k {value}"), "+QUEUED");
        }
        fixture.run_as(other, &format!("SET k {value}"));
        assert!(!fixture.is_connected(other));
        assert!(fixture.is_connected(fixture.first()));
    }

    #[test]
    fn watches_and_subscriptions_count() {
        for command in ["WATCH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
            let mut fixture = Fixture::new();
            fixture.configure(&["maxmemory-clients", "200000"]);
            let client = fixture.connect();
            let mut count = 0;
            while fixture.is_connected(client) {
                assert!(count < 2000, "{command}");
                fixture.run_as(client, &format!("{command} name:{count}"));
                count += 1;
            }
            assert!(count > 1000, "{command}: {count}");
        }
    }

    #[test]
    fn some_clients_stay() {
        let mut fixture = Fixture::new();
        let (kept, other) = (fixture.connect(), fixture.connect());
        fixture.check_as(kept, "CLIENT NO-EVICT ON", "+OK");
        fixture.check("CLIENT NO-EVICT ON", "+OK");
        fill_input(&mut fixture, kept, 500_000);
        fill_input(&mut fixture, other, 500_000);
        fixture.settle();
        assert!(fixture.is_connected(other), "there is no limit");
        fixture.check("CONFIG SET maxmemory-clients 10%", "+OK");
        assert!(fixture.is_connected(other), "ten percent of no limit");
        fixture.check("CONFIG SET maxmemory 4000000", "+OK");
        assert!(fixture.is_connected(kept) && !fixture.is_connected(other));
        assert!(fixture.host.has_logged("Over client maxmemory after evicting all evictable clients"));
        fixture.check_as(kept, "CLIENT NO-EVICT OFF", "+OK");
        fill_input(&mut fixture, kept, 500_000);
        fixture.settle();
        assert!(!fixture.is_connected(kept));
    }

    #[test]
    fn what_has_been_sent_does_not_count_any_more() {
        let mut fixture = Fixture::new();
        fixture.configure(&["maxmemory-clients", "1000000"]);
        let client = fixture.connect();
        let text = "x".repeat(300_000);
        for _ in 0..20 {
            fixture.run_as(client, &format!("ECHO {text}"));
        }
        assert!(fixture.is_connected(client));
    }
}
