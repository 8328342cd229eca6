//! How much memory a test's process seems to use.

use super::Fixture;

impl Fixture {
    /// Has the shell tell how much memory is used, if that is to follow from the keys.
    pub fn measure_memory(&mut self) {
        if let Some(base_bytes) = self.base_memory_bytes {
            let mut key_bytes = 0;
            for database in self.node.keyspace().databases() {
                database.for_each(|entry| key_bytes += entry.size_bytes(0));
            }
            self.host.facts.used_memory_bytes = base_bytes + key_bytes as u64;
        }
    }
}
