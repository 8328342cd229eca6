//! INFO and ROLE.

use crate::call::{NodeBody, NodeCall};
use crate::node::Node;
use shoal_machine::Now;
use shoal_protocol::{Arguments, CommandId};
use shoal_store::Outcome;
use std::fmt::Write as _;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[(CommandId::Info, info)];

fn info(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let sections: Vec<&[u8]> = arguments.rest().collect();
    let text = call.node.info(call.now, call.host, call.session, &sections);
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

impl Node {
    /// Appends the lines of INFO's section Replication.
    pub(crate) fn replication_info(&self, _now: Now, out: &mut String) {
        let replication = &self.replication;
        let text = |id: &[u8]| String::from_utf8_lossy(id).into_owned();
        let stream = &replication.stream;
        let second_id = replication.second_id.map_or_else(|| "0".repeat(40), |(id, _)| text(&id));
        let second_offset = replication.second_id.map_or(-1, |(_, offset)| offset.cast_signed());
        let first_byte = if replication.has_backlog { stream.kept_from() } else { 0 };
        let kept_bytes = if replication.has_backlog { stream.len() } else { 0 };
        let _ = write!(
            out,
            "role:{}\r\nconnected_slaves:{}\r\nmaster_failover_state:no-failover\r\nmaster_replid:{}\r\n\
             master_replid2:{second_id}\r\nmaster_repl_offset:{}\r\nsecond_repl_offset:{second_offset}\r\n\
             repl_backlog_active:{}\r\nrepl_backlog_size:{}\r\nrepl_backlog_first_byte_offset:{first_byte}\r\n\
             repl_backlog_histlen:{kept_bytes}\r\n",
            if self.is_replica() { "slave" } else { "master" },
            replication.peers.online.len(),
            text(&replication.id),
            self.replication_offset(),
            u8::from(replication.has_backlog),
            self.config.repl_backlog_size_bytes,
        );
    }

    /// Connections of the cluster bus.
    pub(crate) fn cluster_connections(&self) -> usize {
        0
    }
}
