//! Epochs never fall: neither the current epoch a node announces, nor the config epoch of a node as a primary. A crash
//! is no excuse.

use shoal_cluster::Message;
use shoal_cluster::messages::Body;
use std::collections::BTreeMap;

/// The greatest epochs each node announced.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    current: BTreeMap<usize, u64>,
    config: BTreeMap<usize, u64>,
}

impl Epochs {
    pub(crate) fn on_send(&mut self, sender: usize, message: &Message) -> Result<(), String> {
        let header = &message.header;
        // Votes and requests carry the epoch of their election.
        if !matches!(message.body, Body::AuthAck | Body::AuthRequest) {
            rise(&mut self.current, sender, header.current_epoch, "current epoch")?;
        }
        if header.primary.is_none() {
            rise(&mut self.config, sender, header.config_epoch, "config epoch")?;
        }
        Ok(())
    }
}

fn rise(known: &mut BTreeMap<usize, u64>, node: usize, epoch: u64, what: &str) -> Result<(), String> {
    let greatest = known.entry(node).or_default();
    if epoch < *greatest {
        return Err(format!("epochs never fall: the {what} of n{node} fell from {greatest} to {epoch}"));
    }
    *greatest = epoch;
    Ok(())
}
