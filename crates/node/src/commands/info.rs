//! INFO.

use crate::call::{NodeBody, NodeCall};
use crate::node::Node;
use shoal_protocol::{Arguments, CommandId};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[(CommandId::Info, info)];

fn info(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let sections: Vec<&[u8]> = arguments.rest().collect();
    let text = call.node.info(call.now, call.host, call.session, &sections);
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

impl Node {
    /// Connections of the cluster bus.
    pub(crate) fn cluster_connections(&self) -> usize {
        let view = self.cluster.as_ref().and_then(|side| side.view.as_ref());
        let links = view.into_iter().flat_map(|view| &view.nodes);
        links.map(|node| usize::from(node.link_to.is_some()) + usize::from(node.link_from.is_some())).sum()
    }
}
