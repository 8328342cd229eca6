//! `--cluster add-node`, `del-node` and `set-timeout`: who belongs to a cluster, and what all of them are told.

use super::check;
use super::client::{CallError, Cluster, Member};
use super::joining::{meet_words, wait_for_join};
use super::log::{Level, hint, log};
use super::node::{Node, parse_address};
use super::patience::Deadline;
use super::report;
use crate::console::out;
use crate::exit::{Exit, Step, fail};
use crate::options::{ManagerStyle, Options};
use crate::text::{leading_integer, lossy};
use serde_json::json;
use shoal_protocol::value::Value;

/// A shorter node timeout is refused.
const TIMEOUT_MIN_MS: i64 = 100;

/// Adds the node at the first address to the cluster of the second.
pub(super) fn add_node(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let [new, existing] = arguments else { return Err(Exit(1)) };
    let (new, existing) = (lossy(new), lossy(existing));
    let Some((host, port, _)) = parse_address(&new) else { fail!("Invalid address format: {new}") };
    log(Level::Information, &format!(">>> Adding node {new} to cluster {existing}\n"));
    let mut cluster = super::load(&arguments[1..], options)?;
    if !check::check(&mut cluster, false)?.is_clean() {
        return Ok(1);
    }
    let primary = if options.cluster.as_replica { Some(primary_for(&cluster, options)?) } else { None };
    let Ok(mut member) = Member::connect(Node::at(&host, port), options) else {
        log(Level::Error, &format!("[ERR] Sorry, can't connect to node {host}:{port}\n"));
        return Ok(1);
    };
    member.require_cluster_mode()?;
    let known = member.load()?;
    report::note("node", json!(member.node.id));
    let place = place_of(&cluster, &mut member, &known, primary, options)?;
    if place == Place::Done {
        log(Level::Success, "[OK] The node belongs to the cluster already.\n");
        return Ok(0);
    }
    if place == Place::Outside {
        if primary.is_none() && cluster.style == ManagerStyle::Cli {
            copy_functions(&mut cluster.members[0], &mut member)?;
        }
        let address = member.node.address();
        log(
            Level::Information,
            &format!(">>> Send CLUSTER MEET to node {address} to make it join the cluster.\n"),
        );
        let words = meet_words(&cluster.members[0].node)?;
        member.call_or_complain(&words)?;
    }
    if let Some(primary) = primary {
        let node = cluster.members[primary].node.clone();
        wait_until_known(&mut member, &node, options)?;
        if place == Place::Outside {
            cluster.members.push(member);
        }
        wait_for_join(&mut cluster.members, options)?;
        let text = format!(">>> Configure node as replica of {}.\n", node.address());
        log(Level::Information, &text);
        let new =
            cluster.members.iter_mut().rfind(|member| member.node.host == host && member.node.port == port);
        if let Some(member) = new {
            member.call_or_complain(&["CLUSTER", "REPLICATE", &node.id])?;
        }
    }
    log(Level::Success, "[OK] New node added correctly.\n");
    Ok(0)
}

/// Where a node is that is to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has to be introduced.
    Outside,
    /// It belongs to the cluster, as an empty primary that is to become a replica.
    Inside,
    /// It has the place that it is to get.
    Done,
}

/// Where a node is; `known` are the others that it knows. With `--cluster-if-needed` it may have its place already, or have
/// begun to get it.
///
/// # Errors
/// It is not empty, and what it is cannot become what is asked for; that has been said.
pub(super) fn place_of(
    cluster: &Cluster,
    member: &mut Member,
    known: &[Node],
    primary: Option<usize>,
    options: &Options,
) -> Step<Place> {
    if !options.cluster.if_needed {
        let remark = "With --cluster-if-needed, a node that belongs to this cluster already is no error.";
        return member.require_empty(remark).map(|()| Place::Outside);
    }
    let node = &member.node;
    let is_member = cluster.members.iter().any(|member| member.node.id == node.id);
    let is_named = options.cluster.primary_id.is_some();
    let follows = |primary: usize| node.primary_id.as_ref() == Some(&cluster.members[primary].node.id);
    let is_done = match primary {
        None => !node.is_replica(),
        Some(primary) => node.is_replica() && (!is_named || follows(primary)),
    };
    if is_member && is_done {
        return Ok(Place::Done);
    }
    let is_of_cluster = |node: &Node| {
        let same = |other: &Node| other.id == node.id || (other.host == node.host && other.port == node.port);
        cluster.members.iter().any(|member| same(&member.node))
    };
    let is_bare = node.slots.is_empty() && !node.is_replica();
    if !known.is_empty() && is_bare && known.iter().all(is_of_cluster) && !member.has_keys()? {
        // It was introduced, and what was to follow did not.
        return Ok(if is_member { Place::Inside } else { Place::Outside });
    }
    let remark = "It has not the place in this cluster that it is to get: CLUSTER REPLICATE, or reshard, changes that.";
    member.require_empty(remark).map(|()| Place::Outside)
}

/// The primary of a new replica: the one that is named, or one with the fewest replicas.
pub(super) fn primary_for(cluster: &Cluster, options: &Options) -> Step<usize> {
    if let Some(id) = &options.cluster.primary_id {
        let found = cluster.members.iter().position(|member| member.node.id.eq_ignore_ascii_case(id));
        return found.ok_or_else(|| {
            log(Level::Error, &format!("[ERR] No such master ID {id}\n"));
            Exit(1)
        });
    }
    let Some(index) = with_fewest_replicas(cluster, None) else { return Err(Exit(1)) };
    out!("Automatically selected master {}\n", cluster.members[index].node.address());
    Ok(index)
}

/// A primary with the fewest replicas, other than this one.
fn with_fewest_replicas(cluster: &Cluster, but: Option<usize>) -> Option<usize> {
    let primaries = cluster.members.iter().enumerate().filter(|(_, member)| !member.node.is_replica());
    primaries
        .filter(|(index, _)| Some(*index) != but)
        .min_by_key(|(_, member)| member.node.replica_count)
        .map(|(index, _)| index)
}

/// Gives the cluster's functions to a new primary; servers without functions have nothing to give.
fn copy_functions(existing: &mut Member, new: &mut Member) -> Step {
    log(Level::Information, ">>> Getting functions from cluster\n");
    let dump = match existing.call(&["FUNCTION", "DUMP"]) {
        Ok(dump) => dump,
        Err(error) => {
            let text = format!(
                ">>> Failed retrieving Functions from the cluster, skip this step as Redis version do not support function \
                 command (error = '{error}')\n"
            );
            log(Level::Information, &text);
            return Ok(());
        }
    };
    let address = new.node.address();
    let text = format!(">>> Send FUNCTION LIST to {address} to verify there is no functions in it\n");
    log(Level::Information, &text);
    let listed = new.call_or_complain(&["FUNCTION", "LIST"])?;
    if listed.as_elements().is_some_and(|functions| !functions.is_empty()) {
        log(
            Level::Error,
            ">>> New node already contains functions and can not be added to the cluster. Use FUNCTION FLUSH and try \
             again.\n",
        );
        return Err(Exit(1));
    }
    log(Level::Information, &format!(">>> Send FUNCTION RESTORE to {address}\n"));
    let payload = dump.as_bytes().unwrap_or_default();
    new.call_or_complain(&[b"FUNCTION".as_slice(), b"RESTORE", payload])?;
    Ok(())
}

/// Waits until a new node has heard of its primary-to-be.
fn wait_until_known(member: &mut Member, primary: &Node, options: &Options) -> Step {
    let deadline = Deadline::of_wait(options);
    while !member.known_nodes()?.iter().any(|node| node.id == primary.id && !node.has_flag("handshake")) {
        if !deadline.allows_another_look() {
            let (address, primary) = (member.node.address(), primary.address());
            let missing = format!("node {address} has not heard of its master {primary}.");
            let advice = "Let it reach the bus ports of all nodes, and give the command again with --cluster-if-needed.";
            return Err(deadline.complain(&missing, advice));
        }
    }
    Ok(())
}

/// Makes a member the replica of another one, and waits until the first node sees it so.
pub(super) fn replicate(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let [_, replica, primary] = arguments else { return Err(Exit(1)) };
    let mut cluster = super::load(&arguments[..1], options)?;
    let (replica, primary) = pair(&cluster, &lossy(replica), &lossy(primary))?;
    let (id, node) = (cluster.members[replica].node.id.clone(), cluster.members[primary].node.clone());
    report::note("node", json!(id));
    report::note("primary", json!(node.id));
    if cluster.members[replica].node.primary_id.as_ref() == Some(&node.id) {
        log(Level::Success, "[OK] The node is a replica of that master already.\n");
        return Ok(0);
    }
    let address = cluster.members[replica].node.address();
    log(Level::Information, &format!(">>> Configure node {address} as replica of {}.\n", node.address()));
    cluster.members[replica].call_or_complain(&["CLUSTER", "REPLICATE", &node.id])?;
    let deadline = Deadline::of_wait(options);
    let follows = |known: &Node| known.id == id && known.primary_id.as_ref() == Some(&node.id);
    while !cluster.members[0].known_nodes()?.iter().any(follows) {
        if !deadline.allows_another_look() {
            let asked = cluster.members[0].node.address();
            let missing = format!("node {asked} does not see that {address} follows {}.", node.address());
            return Err(
                deadline.complain(&missing, "`--cluster check` shows whether the nodes reach each other.")
            );
        }
    }
    log(Level::Success, "[OK] The node is a replica now.\n");
    Ok(0)
}

/// A member that can become a replica, and the primary it is to follow, by their ids.
pub(super) fn pair(cluster: &Cluster, replica: &str, primary: &str) -> Step<(usize, usize)> {
    let find = |id: &str| cluster.members.iter().position(|member| member.node.id.eq_ignore_ascii_case(id));
    let (Some(at), Some(to)) = (find(replica), find(primary)) else {
        let unknown = if find(replica).is_none() { replica } else { primary };
        fail!("[ERR] No such node ID {unknown}. CLUSTER NODES shows the ids.");
    };
    let (node, wanted) = (&cluster.members[at].node, &cluster.members[to].node);
    if at == to || wanted.is_replica() {
        fail!("[ERR] Node {} is not a master that {} could follow.", wanted.address(), node.address());
    }
    if !node.slots.is_empty() {
        fail!("[ERR] Node {} has slots: `drain` moves them to the others first.", node.address());
    }
    Ok((at, to))
}

/// Takes a node without slots out of the cluster.
pub(super) fn del_node(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let [address, id] = arguments else { return Err(Exit(1)) };
    let id = lossy(id).into_owned();
    log(Level::Information, &format!(">>> Removing node {id} from cluster {}\n", lossy(address)));
    let mut cluster = super::load(&arguments[..1], options)?;
    let found = cluster.members.iter().position(|member| member.node.id.eq_ignore_ascii_case(&id));
    report::note("node", json!(id));
    let Some(removed) = found else {
        if options.cluster.if_needed {
            log(Level::Success, "[OK] The cluster does not know the node.\n");
            return Ok(0);
        }
        log(Level::Error, &format!("[ERR] No such node ID {id}\n"));
        hint(&why_unknown(&mut cluster, &id)?);
        return Ok(1);
    };
    let node = &cluster.members[removed].node;
    if !node.slots.is_empty() {
        let text = format!("[ERR] Node {} is not empty! Reshard data away and try again.\n", node.address());
        log(Level::Error, &text);
        return Ok(1);
    }
    remove(&mut cluster, removed, false)
}

/// Why no member that can be reached has this id, and what can be done.
fn why_unknown(cluster: &mut Cluster, id: &str) -> Step<String> {
    let known = cluster.members[0].known_nodes()?;
    Ok(match known.iter().find(|node| node.id.eq_ignore_ascii_case(id)) {
        Some(node) => format!(
            "Node {} cannot be reached. To drop it as it is: --cluster call {} cluster forget {}",
            node.address(),
            cluster.members[0].node.address(),
            node.id
        ),
        None => "CLUSTER NODES shows the ids. With --cluster-if-needed, a node that is unknown is no error."
            .to_owned(),
    })
}

/// Lets all nodes forget one that has no slots, and the node itself forget them. Returns the exit code.
pub(super) fn remove(cluster: &mut Cluster, removed: usize, is_quiet: bool) -> Step<i32> {
    let say = |text: &str| {
        if !is_quiet {
            log(Level::Information, text);
        }
    };
    let id = cluster.members[removed].node.id.clone();
    say(">>> Sending CLUSTER FORGET messages to the cluster...\n");
    for index in (0..cluster.members.len()).filter(|index| *index != removed) {
        if cluster.members[index].node.primary_id.as_ref() == Some(&id) {
            find_other_primary(cluster, index, removed, &say)?;
        }
        cluster.members[index].call_or_complain(&["CLUSTER", "FORGET", &id])?;
    }
    match cluster.style {
        ManagerStyle::Cli => {
            say(">>> Sending CLUSTER RESET SOFT to the deleted node.\n");
            cluster.members[removed].call_or_complain(&["CLUSTER", "RESET", "SOFT"])?;
        }
        ManagerStyle::Trib => {
            say(">>> SHUTDOWN the node.\n");
            // The connection ends without a reply; an error is one that the node gave.
            if let Err(CallError::Refused(error)) = cluster.members[removed].call(&["SHUTDOWN"]) {
                log(Level::Error, &format!("[ERR] The node does not shut down: {error}\n"));
                return Ok(1);
            }
        }
    }
    Ok(0)
}

/// A replica whose primary goes follows another one.
fn find_other_primary(cluster: &mut Cluster, replica: usize, removed: usize, say: &dyn Fn(&str)) -> Step {
    let Some(primary) = with_fewest_replicas(cluster, Some(removed)) else {
        fail!("[ERR] Node {} has no other master to follow.", cluster.members[replica].node.address());
    };
    let node = cluster.members[primary].node.clone();
    let (address, new) = (cluster.members[replica].node.address(), node.address());
    say(&format!(">>> {address} as replica of {new}\n"));
    cluster.members[replica].call_or_complain(&["CLUSTER", "REPLICATE", &node.id])?;
    cluster.members[primary].node.replica_count += 1;
    Ok(())
}

/// Sets the node timeout of all nodes, and lets them write it into their configuration.
pub(super) fn set_timeout(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let [_, timeout] = arguments else { return Err(Exit(1)) };
    let timeout_ms = leading_integer(timeout);
    if timeout_ms < TIMEOUT_MIN_MS {
        fail!("Setting a node timeout of less than {TIMEOUT_MIN_MS} milliseconds is a bad idea.");
    }
    let mut cluster = super::load(&arguments[..1], options)?;
    log(Level::Information, ">>> Reconfiguring node timeout in every cluster node...\n");
    let (mut done, mut failed) = (0, 0);
    for member in &mut cluster.members {
        let set = ["CONFIG", "SET", "cluster-node-timeout", &timeout_ms.to_string()];
        let outcome: Result<Value, _> = member.call(&set).and_then(|_| member.call(&["CONFIG", "REWRITE"]));
        let address = member.node.address();
        match outcome {
            Ok(_) => {
                log(Level::Warning, &format!("*** New timeout set for {address}\n"));
                done += 1;
            }
            Err(error) => {
                log(Level::Error, &format!("ERR setting node-timeout for {address}: {error}\n"));
                failed += 1;
            }
        }
    }
    report::note("done", json!(done));
    report::note("failed", json!(failed));
    log(Level::Information, &format!(">>> New node timeout set. {done} OK, {failed} ERR.\n"));
    Ok(i32::from(failed > 0))
}
