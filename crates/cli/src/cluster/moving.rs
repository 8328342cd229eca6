//! Moving a slot from one primary to another: open it, MIGRATE its keys, close it.

use super::client::{Cluster, Member};
use super::log::{Level, log};
use super::saved_keys;
use crate::console::{self, out};
use crate::exit::{Exit, Step};
use crate::options::Options;
use crate::text::lossy;
use shoal_protocol::value::Value;

/// What a source says that has become a replica with its last slot.
const SOURCE_IS_A_REPLICA: &str = "ERR Please use SETSLOT only with masters.";
/// The digest of a key that is not there.
const NO_KEY_DIGEST: &str = "0000000000000000000000000000000000000000";

/// How a slot is moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MoveOptions {
    /// Print a line per slot, with a dot for each key.
    pub verbose: bool,
    /// Only the keys: the slot is neither opened nor closed.
    pub cold: bool,
    /// A slot that the source does not serve is given to the target first.
    pub fix: bool,
}

impl Cluster {
    /// Tells a node about a slot: `importing`, `migrating` or `node`, and the other node.
    pub(super) fn set_slot(&mut self, at: usize, slot: u16, state: &str, node: usize) -> Step {
        let id = self.members[node].node.id.clone();
        self.members[at].call_or_complain(&["CLUSTER", "SETSLOT", &slot.to_string(), state, &id])?;
        Ok(())
    }

    /// Ends whatever a node thinks is going on with a slot.
    pub(super) fn set_stable(&mut self, at: usize, slot: u16) -> Step {
        self.members[at].call_or_complain(&["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"])?;
        Ok(())
    }

    /// The number of keys that a node holds of a slot.
    pub(super) fn count_keys(&mut self, at: usize, slot: u16) -> Step<i64> {
        let reply = self.members[at].call_or_complain(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])?;
        Ok(reply.as_integer().unwrap_or(0))
    }

    /// Moves a slot with its keys. What is known of the nodes is kept up to date.
    pub(super) fn move_slot(
        &mut self,
        slot: u16,
        source: usize,
        target: usize,
        moving: MoveOptions,
        options: &Options,
    ) -> Step {
        if moving.verbose {
            let (from, to) = (self.members[source].node.address(), self.members[target].node.address());
            out!("Moving slot {slot} from {from} to {to}: ");
            console::flush();
        }
        if !moving.cold {
            self.set_slot(target, slot, "importing", source)?;
            self.set_slot(source, slot, "migrating", target)?;
        }
        let moved = self.migrate_keys(slot, source, target, moving, options);
        if moving.verbose {
            out!("\n");
        }
        moved?;
        if !moving.cold {
            self.close_slot(slot, source, target)?;
        }
        self.members[source].node.slots.retain(|other| *other != slot);
        let slots = &mut self.members[target].node.slots;
        if let Err(place) = slots.binary_search(&slot) {
            slots.insert(place, slot);
        }
        Ok(())
    }

    /// Gives the slot to the target in the eyes of all primaries. The target first: if it failed after the others were told,
    /// nobody would own the slot.
    fn close_slot(&mut self, slot: u16, source: usize, target: usize) -> Step {
        self.set_slot(target, slot, "node", target)?;
        let id = self.members[target].node.id.clone();
        let words = ["CLUSTER", "SETSLOT", &slot.to_string(), "node", &id];
        if let Err(error) = self.members[source].call(&words) {
            let text = error.to_string();
            if !text.starts_with(SOURCE_IS_A_REPLICA) {
                let address = self.members[source].node.address();
                log(Level::Error, &format!("Node {address} replied with error:\n{text}\n"));
                return Err(Exit(1));
            }
        }
        for other in 0..self.members.len() {
            if other != source && other != target && !self.members[other].node.is_replica() {
                self.set_slot(other, slot, "node", target)?;
            }
        }
        Ok(())
    }

    fn migrate_keys(
        &mut self,
        slot: u16,
        source: usize,
        target: usize,
        moving: MoveOptions,
        options: &Options,
    ) -> Step {
        let (number, count) = (slot.to_string(), options.cluster.pipeline.to_string());
        loop {
            let reply =
                self.members[source].call_or_complain(&["CLUSTER", "GETKEYSINSLOT", &number, &count])?;
            let keys: Vec<Vec<u8>> = reply
                .as_elements()
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_bytes)
                .map(<[u8]>::to_vec)
                .collect();
            if keys.is_empty() {
                return Ok(());
            }
            let request = migrate_request(&self.members[target], &keys, false, options);
            if let Err(error) = self.members[source].call(&request) {
                self.try_again(slot, (source, target), &keys, &error.to_string(), moving, options)?;
            }
            if moving.verbose {
                out!("{}", ".".repeat(keys.len()));
                console::flush();
            }
        }
    }

    /// A MIGRATE was refused: finds out why, and does it again where that is safe.
    fn try_again(
        &mut self,
        slot: u16,
        (source, target): (usize, usize),
        keys: &[Vec<u8>],
        error: &str,
        moving: MoveOptions,
        options: &Options,
    ) -> Step {
        let exists = error.contains("BUSYKEY");
        let is_served = exists
            || self.members[source].known_nodes()?.iter().any(|node| node.slots.binary_search(&slot).is_ok());
        if !exists && is_served {
            return self.complain(source, error);
        }
        if !is_served && moving.fix {
            let address = self.members[target].node.address();
            log(Level::Warning, &format!("*** Slot was not served, setting owner to node {address}.\n"));
            self.set_slot(source, slot, "node", target)?;
        }
        if exists {
            log(Level::Warning, "\n*** Target key exists\n");
            if !options.cluster.replace {
                self.require_equal_values(source, target, keys)?;
            }
            saved_keys::save(self, target, slot, keys, options)?;
            log(Level::Warning, "*** Replacing target keys...\n");
        }
        let request = migrate_request(&self.members[target], keys, exists, options);
        match self.members[source].call(&request) {
            Ok(_) => Ok(()),
            Err(error) => {
                out!("\n");
                self.complain(source, &error.to_string())
            }
        }
    }

    fn complain(&self, at: usize, error: &str) -> Step {
        let address = self.members[at].node.address();
        log(Level::Error, &format!("Node {address} replied with error:\n{error}\n"));
        Err(Exit(1))
    }

    /// Keys that are on both sides may be replaced if they hold the same.
    fn require_equal_values(&mut self, source: usize, target: usize, keys: &[Vec<u8>]) -> Step {
        log(Level::Warning, "*** Checking key values on both nodes...\n");
        let mut words: Vec<&[u8]> = vec![b"DEBUG", b"DIGEST-VALUE"];
        words.extend(keys.iter().map(Vec::as_slice));
        let mut digests = Vec::new();
        for at in [source, target] {
            let reply = self.members[at].call_or_complain(&words).inspect_err(|_| {
                log(Level::Error, "*** Value check failed!\n");
            })?;
            let texts = reply.as_elements().unwrap_or_default().iter();
            digests.push(
                texts.map(|digest| digest.as_text().unwrap_or_default().into_owned()).collect::<Vec<_>>(),
            );
        }
        let (at_source, at_target) = (&digests[0], &digests[1]);
        let differ = |(first, second): (&String, &String)| {
            first != second && first != NO_KEY_DIGEST && second != NO_KEY_DIGEST
        };
        let different: Vec<_> =
            keys.iter().zip(at_source.iter().zip(at_target)).filter(|(_, pair)| differ(*pair)).collect();
        if different.is_empty() && at_source.len() == keys.len() && at_target.len() == keys.len() {
            return Ok(());
        }
        let (from, to) = (self.members[source].node.address(), self.members[target].node.address());
        let mut text = format!(
            "*** Found {} key(s) in both source node and target node having different values.\n    Source node: {from}\n    \
             Target node: {to}\n    Keys(s):\n",
            different.len()
        );
        for (key, _) in different {
            text += &format!("    - {}\n", lossy(key));
        }
        text += "Please fix the above key(s) manually and try again or relaunch the command \nwith --cluster-replace \
                 option to force key overriding.\n";
        log(Level::Error, &text);
        Err(Exit(1))
    }
}

/// MIGRATE of these keys to a node.
fn migrate_request(target: &Member, keys: &[Vec<u8>], replace: bool, options: &Options) -> Vec<Vec<u8>> {
    let node = &target.node;
    let (port, timeout) = (node.port.to_string(), options.cluster.timeout_ms.to_string());
    let mut words: Vec<&[u8]> =
        vec![b"MIGRATE", node.host.as_bytes(), port.as_bytes(), b"", b"0", timeout.as_bytes()];
    if replace {
        words.push(b"REPLACE");
    }
    words.extend(authentication(options));
    words.push(b"KEYS");
    words.extend(keys.iter().map(Vec::as_slice));
    words.into_iter().map(<[u8]>::to_vec).collect()
}

/// What MIGRATE needs to log in at the target.
pub(super) fn authentication(options: &Options) -> Vec<&[u8]> {
    match (&options.user, &options.password) {
        (_, None) => Vec::new(),
        (None, Some(password)) => vec![b"AUTH", password],
        (Some(user), Some(password)) => vec![b"AUTH2", user, password],
    }
}
