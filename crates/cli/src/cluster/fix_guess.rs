//! Slots of which nothing says whose they are: several nodes have keys of them, and none of these nodes, or more than one
//! node, owns them. `fix` shows what is known and leaves them alone, unless `--cluster-fix-owner` tells how to choose.

use super::client::Cluster;
use super::log::{Level, log};
use super::patience::Deadline;
use super::planned_fix::{SlotState, look_at};
use crate::console::out;
use crate::exit::{Step, fail};
use crate::options::Options;

/// How the owner of such a slot is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// The node with the most keys, as `redis-cli` does.
    MostKeys,
    /// The node with the greatest config epoch, as nodes decide among themselves.
    HighestEpoch,
    /// This one.
    Node(usize),
}

/// What is to happen with a slot that has no single owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// At most one node has keys, or one node owns it: whatever is chosen loses nothing.
    Clear,
    /// This node is to own it, by the rule that was given.
    Told(usize),
    /// It is left as it is; why has been said.
    Refused,
}

/// Looks at a slot. If it is a guess whose it is: shows what is known, and chooses as the options tell.
pub(super) fn judge(cluster: &mut Cluster, slot: u16, options: &Options) -> Step<Verdict> {
    let states = look_at(cluster, &[slot])?;
    let Some(state) = states.first().filter(|state| is_guess(state)) else { return Ok(Verdict::Clear) };
    show(slot, state);
    let Some(rule) = rule(cluster, options)? else {
        let text = format!(
            "[ERR] Slot {slot} is left alone: several nodes have keys of it, and {} it.\n*** Say whose it is: \
             --cluster-fix-owner most-keys, highest-epoch, or the id of a node. The others' keys then move there.\n",
            match state.owners.len() {
                0 => "none owns".to_owned(),
                count => format!("{count} own"),
            }
        );
        log(Level::Error, &text);
        return Ok(Verdict::Refused);
    };
    let epoch = |index: usize| cluster.members[index].node.epoch;
    Ok(choice(&rule, &state.holders, &epoch).map_or(Verdict::Refused, Verdict::Told))
}

/// Whether it would be a guess whose the slot is.
fn is_guess(state: &SlotState) -> bool {
    state.holders.len() > 1 && state.owners.len() != 1
}

fn show(slot: u16, state: &SlotState) {
    log(Level::Warning, &format!("*** Who has what of slot {slot}:\n"));
    let nodes = state.evidence["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for node in nodes {
        let word = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        let owns = if node["owner"] == true { "owner" } else { "-" };
        let moves = match (node["migrating_to"].as_str(), node["importing_from"].as_str()) {
            (Some(id), _) => format!("migrating to {id}"),
            (None, Some(id)) => format!("importing from {id}"),
            (None, None) => String::new(),
        };
        let (epoch, keys) = (&node["epoch"], &node["keys"]);
        out!("    {} {} {owns:5} epoch {epoch} {keys} keys {moves}\n", word("node"), word("address"));
    }
}

fn rule(cluster: &Cluster, options: &Options) -> Step<Option<Rule>> {
    let rule = match options.cluster.fix_owner.as_deref() {
        None => return Ok(None),
        Some("most-keys") => Rule::MostKeys,
        Some("highest-epoch") => Rule::HighestEpoch,
        Some(id) => {
            let members = cluster.members.iter().map(|member| &member.node);
            let found =
                members.enumerate().find(|(_, node)| node.id.eq_ignore_ascii_case(id) && !node.is_replica());
            match found {
                Some((index, _)) => Rule::Node(index),
                None => fail!(
                    "[ERR] --cluster-fix-owner is most-keys, highest-epoch or the id of a master, not '{id}'."
                ),
            }
        }
    };
    Ok(Some(rule))
}

/// The member that a rule chooses; of equal ones the first.
fn choice(rule: &Rule, holders: &[(usize, u64)], epoch: &dyn Fn(usize) -> u64) -> Option<usize> {
    let worth = |&(index, keys): &(usize, u64)| match rule {
        Rule::MostKeys => keys,
        _ => epoch(index),
    };
    match rule {
        Rule::Node(index) => Some(*index),
        _ => holders.iter().rev().max_by_key(|holder| worth(holder)).map(|(index, _)| *index),
    }
}

/// Waits until these members serve keys: right after an uncovered slot got its owner they do not, and MIGRATE would be refused.
pub(super) fn wait_until_served(cluster: &mut Cluster, members: &[usize], options: &Options) -> Step {
    let deadline = Deadline::of_wait(options);
    for &index in members {
        let member = &mut cluster.members[index];
        while !member.text(&["CLUSTER", "INFO"])?.contains("cluster_state:ok") {
            if !deadline.allows_another_look() {
                let missing = format!("node {} still says that the cluster is down.", member.node.address());
                let advice = "Keys can move when no slot is uncovered: `--cluster fix` again, and say yes to all that it asks.";
                return Err(deadline.complain(&missing, advice));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_a_guess() {
        for (owners, holders, expected) in [
            (&[0][..], &[(0, 3), (1, 2)][..], false),
            (&[], &[(1, 2)], false),
            (&[0, 1], &[(1, 2)], false),
            (&[0, 1], &[], false),
            (&[0, 1], &[(0, 1), (1, 2)], true),
            (&[], &[(0, 1), (2, 2)], true),
            (&[3, 4], &[(0, 1), (2, 2)], true),
        ] {
            let (owners, holders) = (owners.to_vec(), holders.to_vec());
            let state = SlotState {
                owners,
                holders,
                migrating: Vec::new(),
                importing: Vec::new(),
                evidence: json!(null),
            };
            assert_eq!(is_guess(&state), expected, "{:?} {:?}", state.owners, state.holders);
        }
    }

    #[test]
    fn rules_choose() {
        let holders = [(0, 5), (1, 9), (2, 9)];
        let epochs = [7, 3, 4];
        for (rule, expected) in [(Rule::MostKeys, 1), (Rule::HighestEpoch, 0), (Rule::Node(2), 2)] {
            assert_eq!(choice(&rule, &holders, &|index| epochs[index]), Some(expected), "{rule:?}");
        }
    }
}
