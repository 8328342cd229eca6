//! What commands cost by slot, for CLUSTER SLOT-STATS: counted only with `cluster-slot-stats-enabled yes`.

use shoal_protocol::Request;
use shoal_protocol::slot::SLOT_COUNT;

/// What was counted of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotCost {
    /// Time of the processor that commands took, in microseconds.
    pub cpu_us: u64,
    /// Bytes of requests, as arrays of bulk strings.
    pub received_bytes: u64,
    /// Bytes of replies.
    pub sent_bytes: u64,
}

/// The counts of all slots.
#[derive(Debug)]
pub(crate) struct SlotStats {
    costs: Box<[SlotCost]>,
}

impl Default for SlotStats {
    fn default() -> Self {
        Self { costs: vec![SlotCost::default(); usize::from(SLOT_COUNT)].into() }
    }
}

impl SlotStats {
    /// The counts of a slot.
    pub fn of(&self, slot: u16) -> SlotCost {
        self.costs.get(usize::from(slot)).copied().unwrap_or_default()
    }

    /// A command on keys of a slot is done.
    pub fn count(&mut self, slot: u16, cost: SlotCost) {
        if let Some(sum) = self.costs.get_mut(usize::from(slot)) {
            sum.cpu_us += cost.cpu_us;
            sum.received_bytes += cost.received_bytes;
            sum.sent_bytes += cost.sent_bytes;
        }
    }

    /// Forgets everything: CONFIG RESETSTAT, and slots that have gone to another node.
    pub fn reset(&mut self, is_reset: impl Fn(u16) -> bool) {
        let slots = (0..SLOT_COUNT).zip(&mut self.costs);
        slots.filter(|(slot, _)| is_reset(*slot)).for_each(|(_, cost)| *cost = SlotCost::default());
    }
}

/// The bytes that a request takes on the wire: `*n`, and for each word `$length`, the word, and line ends.
pub(crate) fn request_bytes(request: &Request<'_>) -> u64 {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let words: usize = request.iter().map(|word| 1 + digits(word.len()) + 2 + word.len() + 2).sum();
    (1 + digits(request.len()) + 2 + words) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_protocol::request::OwnedRequest;

    #[test]
    fn requests_are_measured_as_they_are_sent() {
        let request = OwnedRequest::new([b"SET".as_slice(), b"key", &[b'x'; 1000]]);
        let sent = format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000\r\n{}\r\n", "x".repeat(1000));
        assert_eq!(request_bytes(&request.as_request()), sent.len() as u64);
    }

    #[test]
    fn costs_add_up_and_are_forgotten() {
        let mut stats = SlotStats::default();
        let cost = SlotCost { cpu_us: 1, received_bytes: 2, sent_bytes: 3 };
        stats.count(7, cost);
        stats.count(7, cost);
        stats.count(8, cost);
        assert_eq!(stats.of(7), SlotCost { cpu_us: 2, received_bytes: 4, sent_bytes: 6 });
        stats.reset(|slot| slot == 7);
        assert_eq!((stats.of(7), stats.of(8)), (SlotCost::default(), cost));
    }
}
