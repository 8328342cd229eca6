//! One vote per epoch and node, across crashes.

use shoal_cluster::Message;
use shoal_cluster::messages::Body;
use std::collections::BTreeMap;

/// Who got the vote of each node in each epoch.
#[derive(Debug, Default)]
pub(crate) struct OneVote {
    votes: BTreeMap<(usize, u64), usize>,
}

impl OneVote {
    pub(crate) fn on_send(
        &mut self,
        sender: usize,
        receiver: Option<usize>,
        message: &Message,
    ) -> Result<(), String> {
        let (Body::AuthAck, Some(receiver)) = (&message.body, receiver) else { return Ok(()) };
        let epoch = message.header.current_epoch;
        let first = *self.votes.entry((sender, epoch)).or_insert(receiver);
        if first == receiver {
            return Ok(());
        }
        Err(format!("one vote per epoch: n{sender} voted for n{first} and for n{receiver} in epoch {epoch}"))
    }
}
