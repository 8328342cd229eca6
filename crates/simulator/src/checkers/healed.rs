//! After healing: one view, full coverage, nobody suspected, and every executor does what the view says.

use crate::node_model::NodeModel;
use shoal_cluster::view::{ClusterView, ViewRole};
use shoal_cluster::{NodeFlags, NodeId};

/// Says what is not yet as it should be.
pub(crate) fn check_healed<'a>(
    nodes: impl Iterator<Item = (usize, Option<&'a NodeModel>)>,
) -> Result<(), String> {
    let mut first: Option<Vec<(u16, u16, NodeId)>> = None;
    let mut count = 0;
    let mut known = None;
    for (index, model) in nodes {
        count += 1;
        let view = model.and_then(|model| Some((model, model.view.as_ref()?)));
        let Some((model, view)) = view else { return Err(format!("n{index} is down")) };
        check_view(index, model, view)?;
        let owners = owners(view);
        match &first {
            None => first = Some(owners),
            Some(first) if *first != owners => {
                return Err(format!("n{index} sees other owners: {owners:?} instead of {first:?}"));
            }
            Some(_) => {}
        }
        if *known.get_or_insert(view.nodes.len()) != view.nodes.len() {
            return Err(format!("n{index} knows {} nodes", view.nodes.len()));
        }
    }
    if known != Some(count) { Err(format!("{known:?} nodes are known of {count}")) } else { Ok(()) }
}

fn owners(view: &ClusterView) -> Vec<(u16, u16, NodeId)> {
    view.owners.runs().filter_map(|(first, last, owner)| Some((first, last, view.node(owner)?.id))).collect()
}

fn check_view(index: usize, model: &NodeModel, view: &ClusterView) -> Result<(), String> {
    if !view.is_ok {
        return Err(format!("n{index} takes the cluster to be down"));
    }
    let covered: usize = owners(view).iter().map(|&(first, last, _)| usize::from(last - first) + 1).sum();
    if covered != 16384 {
        return Err(format!("n{index} sees {covered} slots covered"));
    }
    let bad = NodeFlags::FAILED | NodeFlags::SUSPECTED | NodeFlags::HANDSHAKE | NodeFlags::NO_ADDRESS;
    if let Some(node) = view.nodes.iter().find(|node| node.flags.has(bad)) {
        return Err(format!("n{index} sees {:?} as {}", node.id, node.flags.text()));
    }
    let primary = match view.role {
        ViewRole::Primary => None,
        ViewRole::Replica(primary) => {
            let primary = primary.and_then(|key| view.node(key));
            let Some(primary) = primary else { return Err(format!("n{index} is a replica of nobody")) };
            if !primary.flags.has(NodeFlags::PRIMARY) {
                return Err(format!("n{index} is a replica of a replica"));
            }
            Some(primary.id)
        }
    };
    if model.following != primary {
        return Err(format!("n{index}'s executor follows {:?} instead of {primary:?}", model.following));
    }
    let mut epochs: Vec<u64> = view
        .nodes
        .iter()
        .filter(|node| node.flags.has(NodeFlags::PRIMARY))
        .map(|node| node.config_epoch)
        .collect();
    epochs.sort_unstable();
    if epochs.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("n{index} sees primaries with one config epoch: {epochs:?}"));
    }
    Ok(())
}
