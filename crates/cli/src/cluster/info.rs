//! `--cluster info`: keys, slots and replicas of each primary.

use super::check::node_json;
use super::client::Cluster;
use super::log::{Level, log};
use crate::console::out;
use crate::exit::Step;
use serde_json::{Value as Json, json};
use shoal_protocol::slot::SLOT_COUNT;

/// Length of the beginning of an id that is shown.
const SHORT_ID_LENGTH: usize = 8;

/// What was counted: the index of a primary and its keys.
pub(super) struct KeyCounts(Vec<(usize, i64)>);

impl KeyCounts {
    /// Asks every primary.
    pub(super) fn collect(cluster: &mut Cluster) -> Step<Self> {
        let mut counts = Vec::new();
        for (index, member) in cluster.members.iter_mut().enumerate() {
            if !member.node.is_replica() {
                counts.push((index, member.call_or_complain(&["DBSIZE"])?.as_integer().unwrap_or(0)));
            }
        }
        Ok(Self(counts))
    }

    fn total(&self) -> i64 {
        self.0.iter().map(|(_, keys)| keys).sum()
    }

    fn per_slot(&self) -> f64 {
        self.total() as f64 / f64::from(SLOT_COUNT)
    }

    /// Prints a line per primary and a summary.
    pub(super) fn print(&self, cluster: &Cluster) {
        for (index, keys) in &self.0 {
            let node = &cluster.members[*index].node;
            out!(
                "{} ({}...) -> {keys} keys | {} slots | {} slaves.\n",
                node.address(),
                node.id.get(..SHORT_ID_LENGTH).unwrap_or(&node.id),
                node.slots.len(),
                node.replica_count
            );
        }
        log(Level::Success, &format!("[OK] {} keys in {} masters.\n", self.total(), self.0.len()));
        out!("{:.2} keys per slot on average.\n", self.per_slot());
    }

    /// The same for scripts.
    pub(super) fn to_json(&self, cluster: &Cluster) -> Json {
        let primaries: Vec<_> = self
            .0
            .iter()
            .map(|(index, keys)| {
                let mut primary = node_json(&cluster.members[*index].node);
                primary["keys"] = json!(keys);
                primary
            })
            .collect();
        json!({"primaries": primaries, "keys": self.total(), "keys_per_slot": self.per_slot()})
    }
}
