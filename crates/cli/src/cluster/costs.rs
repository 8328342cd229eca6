//! What slots cost: their keys, their bytes, and the load on them, as their nodes say.
//!
//! A node with CLUSTER SLOT-STATS is asked for everything. Of another one the keys are counted, and the bytes are estimated
//! from what its data takes altogether.

use super::client::{Cluster, Member};
use super::node::ranges;
use crate::exit::{Step, fail};
use crate::modes::statistics::info_number;
use shoal_protocol::value::Value;

/// COUNTKEYSINSLOT commands in flight.
const PIPELINE_LENGTH: usize = 1024;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Keys,
    Bytes,
    /// Time of the processor, in microseconds since the node counts it.
    Load,
}

impl Measure {
    /// Reads a word of `--cluster-by`; `slots` is no measure of this kind.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "keys" => Some(Self::Keys),
            "bytes" => Some(Self::Bytes),
            "load" => Some(Self::Load),
            _ => None,
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Keys => "key-count",
            Self::Bytes => "memory-bytes",
            Self::Load => "cpu-usec",
        }
    }
}

/// The cost of each of these slots, which are a member's own, in order.
///
/// # Errors
/// The node does not answer, or does not know the load; that has been said.
pub(super) fn measure(cluster: &mut Cluster, at: usize, slots: &[u16], measure: Measure) -> Step<Vec<u64>> {
    let member = &mut cluster.members[at];
    if measure == Measure::Keys {
        return count_keys(member, slots);
    }
    if let Some(costs) = from_statistics(member, slots, measure) {
        return Ok(costs);
    }
    if measure == Measure::Load {
        let address = member.node.address();
        fail!(
            "[ERR] Node {address} does not count the load of its slots: CONFIG SET cluster-slot-stats-enabled yes."
        );
    }
    let keys = count_keys(member, slots)?;
    let info = member.text(&["INFO", "memory"])?;
    let bytes = u64::try_from(info_number(&info, "used_memory_dataset")).unwrap_or(0);
    let all = member.call_or_complain(&["DBSIZE"])?.as_integer().and_then(|keys| u64::try_from(keys).ok());
    let per_key = bytes / all.unwrap_or(0).max(1);
    Ok(keys.into_iter().map(|keys| keys * per_key).collect())
}

/// The keys of each slot.
fn count_keys(member: &mut Member, slots: &[u16]) -> Step<Vec<u64>> {
    let mut counts = Vec::with_capacity(slots.len());
    for slots in slots.chunks(PIPELINE_LENGTH) {
        for slot in slots {
            member.connection.queue(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
        }
        for _ in slots {
            match member.receive() {
                Ok(reply) => {
                    let keys = reply.as_integer().and_then(|keys| u64::try_from(keys).ok());
                    counts.push(keys.unwrap_or(0));
                }
                Err(error) => fail!("Node {}: {error}", member.node.address()),
            }
        }
    }
    Ok(counts)
}

/// One figure of CLUSTER SLOT-STATS for each slot; nothing if the node does not have it.
fn from_statistics(member: &mut Member, slots: &[u16], measure: Measure) -> Option<Vec<u64>> {
    let mut costs = Vec::with_capacity(slots.len());
    for (first, last) in ranges(slots) {
        let words = ["CLUSTER", "SLOT-STATS", "SLOTSRANGE", &first.to_string(), &last.to_string()];
        let reply = member.call(&words).ok()?;
        for slot in reply.as_elements()? {
            let [_, figures] = slot.as_elements()? else { return None };
            costs.push(u64::try_from(field(figures, measure.field())?).ok()?);
        }
    }
    (costs.len() == slots.len()).then_some(costs)
}

/// A field of a map, which is a list of names and values in RESP2.
fn field(figures: &Value, name: &str) -> Option<i64> {
    match figures {
        Value::Map(pairs) => {
            pairs.iter().find(|(key, _)| key.as_text().as_deref() == Some(name))?.1.as_integer()
        }
        _ => {
            let words = figures.as_elements()?;
            let at = words.iter().step_by(2).position(|key| key.as_text().as_deref() == Some(name))?;
            words.get(2 * at + 1)?.as_integer()
        }
    }
}
