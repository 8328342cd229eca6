//! Keys that clients watch.

use crate::clients::Handle;
use shoal_session::Session;
use std::collections::BTreeMap;

/// Who watches which key.
#[derive(Debug, Default)]
pub struct Watchers {
    keys: BTreeMap<(usize, Vec<u8>), Vec<Handle>>,
}

impl Watchers {
    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Begins to watch; the caller has made sure that the client does not watch this key yet.
    pub fn add(&mut self, database: usize, key: &[u8], client: Handle) {
        self.keys.entry((database, key.to_vec())).or_default().push(client);
    }

    /// Ends watching.
    pub fn remove(&mut self, database: usize, key: &[u8], client: Handle) {
        let place = (database, key.to_vec());
        if let Some(clients) = self.keys.get_mut(&place) {
            clients.retain(|&other| other != client);
            if clients.is_empty() {
                self.keys.remove(&place);
            }
        }
    }

    /// Who watches this key.
    pub fn of(&self, database: usize, key: &[u8]) -> &[Handle] {
        self.keys.get(&(database, key.to_vec())).map_or(&[], Vec::as_slice)
    }

    /// The watched keys of a database, each with its watchers.
    pub fn keys_of_database(&self, database: usize) -> impl Iterator<Item = (&[u8], &[Handle])> {
        let range = (database, Vec::new())..(database + 1, Vec::new());
        self.keys.range(range).map(|((_, key), clients)| (key.as_slice(), clients.as_slice()))
    }
}

/// Tells a watcher that a key it watches has changed; `exists` says whether the key is there now. The end of a key that
/// had expired before it was watched changes nothing, but what happens to the key after that does.
pub(crate) fn touch(watcher: &mut Session, key: &[u8], exists: bool) {
    let known = watcher.watched_expired.iter().position(|other| other == key);
    match known {
        Some(index) if !exists => drop(watcher.watched_expired.swap_remove(index)),
        _ => watcher.is_watch_broken = true,
    }
}
