//! What FLUSHALL, FLUSHDB and SWAPDB mean for watched keys: only a watch on a key that exists before or after is broken,
//! and a key that had expired when it was watched may go without breaking anything. The rules of Redis 7.2.

use crate::clients::Handle;
use crate::node::Node;
use shoal_machine::Now;
use shoal_protocol::number::parse_i64;
use shoal_protocol::{CommandId, Request};
use shoal_session::Session;
use shoal_store::Database;

/// What becomes of a client's watch on a key when the command is carried out.
#[derive(Debug)]
pub(crate) struct WatchChange {
    client: Handle,
    key: Vec<u8>,
    consequence: Consequence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consequence {
    /// The key has changed.
    Broken,
    /// The key had expired when it was watched, and is gone now: if it appears again, that is a change.
    Gone,
    /// There was no key, and now there is one that has expired: that is no change.
    Expired,
}

impl Node {
    /// The databases that a command will empty, if it succeeds, each with the one that takes its place.
    pub(crate) fn databases_to_be_emptied(
        &self,
        session: &Session,
        id: CommandId,
        request: &Request<'_>,
    ) -> Vec<(usize, Option<usize>)> {
        let count = self.keyspace.database_count();
        let index = |position: usize| {
            let number = (position < request.len()).then(|| parse_i64(request.argument(position))).flatten();
            number.and_then(|number| usize::try_from(number).ok()).filter(|&number| number < count)
        };
        match id {
            CommandId::Flushall => (0..count).map(|database| (database, None)).collect(),
            CommandId::Flushdb => vec![(session.database, None)],
            CommandId::Swapdb => match (index(1), index(2)) {
                (Some(first), Some(second)) if first != second => {
                    vec![(first, Some(second)), (second, Some(first))]
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// What a command that empties databases will mean for watches; nothing while nobody watches.
    #[inline]
    pub(crate) fn foresee_flush(
        &self,
        now: Now,
        handle: Handle,
        session: &Session,
        id: CommandId,
        request: &Request<'_>,
    ) -> Vec<WatchChange> {
        if self.watchers.is_empty() {
            return Vec::new();
        }
        let emptied = self.databases_to_be_emptied(session, id, request);
        self.foresee_watches(now, handle, session, &emptied)
    }

    /// What emptying databases, each with the one that takes its place, will mean for watches.
    pub(crate) fn foresee_watches(
        &self,
        now: Now,
        handle: Handle,
        session: &Session,
        emptied: &[(usize, Option<usize>)],
    ) -> Vec<WatchChange> {
        let mut changes = Vec::new();
        for &(database, replacement) in emptied {
            for (key, clients) in self.watchers.keys_of_database(database) {
                let replacement = replacement.map(|other| self.keyspace.database(other));
                let place = Place::of(now, self.keyspace.database(database), replacement, key);
                for &client in clients {
                    let watcher = if client == handle { Some(session) } else { self.clients.session(client) };
                    let had_expired = watcher
                        .is_some_and(|watcher| watcher.watched_expired.iter().any(|other| other == key));
                    if let Some(consequence) = place.consequence(had_expired) {
                        changes.push(WatchChange { client, key: key.to_vec(), consequence });
                    }
                }
            }
        }
        changes
    }

    /// The command has been carried out.
    pub(crate) fn change_watches(
        &mut self,
        handle: Handle,
        session: &mut Session,
        changes: Vec<WatchChange>,
    ) {
        for WatchChange { client, key, consequence } in changes {
            let watcher =
                if client == handle { Some(&mut *session) } else { self.clients.session_mut(client) };
            let Some(watcher) = watcher else { continue };
            match consequence {
                Consequence::Broken => watcher.is_watch_broken = true,
                Consequence::Gone => watcher.watched_expired.retain(|other| *other != key),
                Consequence::Expired => watcher.watched_expired.push(key),
            }
        }
    }
}

/// A watched key before and after.
struct Place {
    is_here: bool,
    follows: bool,
    follows_expired: bool,
}

impl Place {
    fn of(now: Now, database: &Database, replacement: Option<&Database>, key: &[u8]) -> Self {
        let next = replacement.and_then(|database| Some((database, database.find(key)?)));
        let expiry_ms = next.and_then(|(database, found)| database.entry(found).expiry_ms());
        Self {
            is_here: database.find(key).is_some(),
            follows: next.is_some(),
            follows_expired: expiry_ms.is_some_and(|at| at <= now.unix_ms()),
        }
    }

    fn consequence(&self, had_expired: bool) -> Option<Consequence> {
        match self {
            Self { is_here: false, follows: false, .. } => None,
            Self { follows: false, .. } if had_expired => Some(Consequence::Gone),
            Self { follows_expired: true, .. } if had_expired => None,
            Self { is_here: false, follows_expired: true, .. } => Some(Consequence::Expired),
            _ => Some(Consequence::Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    /// Whether what `watcher` watches is changed by these commands of another client.
    fn is_broken(prepare: &[&str], watch: &str, commands: &[&str]) -> bool {
        let mut fixture = Fixture::new();
        fixture.run("DEBUG SET-ACTIVE-EXPIRE 0");
        for line in prepare {
            fixture.run(line);
        }
        fixture.advance_ms(10);
        let watcher = fixture.connect();
        fixture.check_as(watcher, watch, "+OK");
        for line in commands {
            fixture.run(line);
        }
        fixture.advance_ms(10);
        fixture.check_as(watcher, "MULTI", "+OK");
        fixture.run_as(watcher, "EXEC") == "nil"
    }

    #[test]
    fn flushes_and_exchanges() {
        let other = ["SELECT 1", "SET k v", "SELECT 0"];
        let other_expired = ["SELECT 1", "SET k v PX 5", "SELECT 0"];
        let both = ["SET k v", "SELECT 1", "SET k v", "SELECT 0"];
        for (prepare, commands, expected) in [
            (&["SET k v"][..], &["FLUSHALL"][..], true),
            (&["SET k v"], &["FLUSHDB"], true),
            (&["SET other v"], &["FLUSHALL"], false),
            (&["SET other v"], &["FLUSHDB ASYNC"], false),
            (&["SET k v"], &["SELECT 1", "FLUSHDB"], false),
            (&["SET k v"], &["FLUSHALL what"], false),
            (&["SET k v"], &["SWAPDB 0 1"], true),
            (&["SET k v"], &["SWAPDB 0 99"], false),
            (&["SET k v"], &["SWAPDB 1 2"], false),
            (&other, &["SWAPDB 0 1"], true),
            (&both, &["SWAPDB 1 0"], true),
            (&[], &["SWAPDB 0 1"], false),
            // What had expired when it was watched may go, but not come back.
            (&["SET k v PX 5"], &["FLUSHALL"], false),
            (&["SET k v PX 5"], &["FLUSHALL", "SET k v"], true),
            (&["SET k v PX 5"], &["SWAPDB 0 1"], false),
            (&["SET k v PX 5"], &["DEL k"], false),
            (&["SET k v PX 5"], &["GET k"], false),
            (&["SET k v PX 5"], &["DEL k", "SET k v"], true),
            (&["SET k v PX 5"], &["SET k v"], true),
            // A key that has expired already comes where there was none.
            (&other_expired, &["SWAPDB 0 1"], false),
        ] {
            assert_eq!(is_broken(prepare, "WATCH k", commands), expected, "{prepare:?} {commands:?}");
        }
    }

    #[test]
    fn in_the_own_transaction() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("SET k v", "+OK"),
            ("WATCH k", "+OK"),
            ("FLUSHALL", "+OK"),
            ("MULTI", "+OK"),
            ("EXEC", "nil"),
            ("WATCH k", "+OK"),
            ("FLUSHALL", "+OK"),
            ("MULTI", "+OK"),
            ("EXEC", "[]"),
        ]);
    }
}
