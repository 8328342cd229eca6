//! What must be there in the end, and who may serve: what the checkers of slots on the move are told.

use crate::keys::{Keys, Writes};
use crate::migrations::{Revoked, has};
use crate::world::World;
use shoal_cluster::slot_migration::JobName;
use shoal_cluster::view::ViewRole;
use shoal_cluster::{ClusterView, NodeId, SlotSet};
use std::collections::BTreeSet;
use std::sync::Arc;

impl World {
    /// The executor of a node has a new view: its first one, or one by which it was elected in the place of another.
    pub(crate) fn tell_checkers(
        &mut self,
        node: usize,
        view: &ClusterView,
        is_awake: bool,
        replaced: Option<NodeId>,
    ) {
        self.checkers.on_view(node, view);
        if is_awake {
            // It has slept, and has not heard what others have taken from it.
            let own = (0..16384).filter(|&slot| view.owns(slot));
            let taken: SlotSet = own.filter(|&slot| self.has_newer_owner(node, view, slot)).collect();
            self.checkers.on_unheard(node, &taken);
        }
        if let Some(replaced) = replaced {
            // By its own account the replaced node may be of another shard: a file of Redis 7.0 does not say which, and a node that
            // has started anew and is cut off since draws one.
            let mut shard = self.shard_of(view);
            shard.extend(self.ids.get(&replaced));
            self.checkers.on_elected(node, &shard, view);
        }
    }

    /// A majority has taken the targets for failed, and voted that the slots are the source's again: until a target hears of that, it may serve
    /// them. What has become somebody else's in the meantime was not taken back.
    pub(crate) fn tell_of_revoked(&mut self, view: &ClusterView, revoked: Vec<Revoked>) {
        for Revoked { slots, target, epoch_max } in revoked {
            let own: SlotSet = slots.iter().filter(|&slot| view.owns(slot)).collect();
            if let Some(&target) = self.ids.get(&target).filter(|_| !own.is_empty()) {
                self.checkers.on_revoked(target, own, epoch_max);
            }
        }
    }

    /// What the replicas of the new owner lack is not safe any more: it waits for them, but not without end.
    pub(crate) fn restrict_safe_writes(&mut self, node: usize, name: JobName) {
        let Some(model) = self.model_mut(node) else { return };
        let Some(slots) = model.migrations.slots_of_import(name) else { return };
        let followers = self.followers_of(node);
        for slot in self.safe_writes.slots().into_iter().filter(|&slot| has(&slots, slot)) {
            let held: Vec<Option<Writes>> =
                followers.iter().map(|&follower| self.held_by(follower, slot)).collect();
            self.safe_writes.restrict(slot, &held);
        }
    }

    fn held_by(&self, node: usize, slot: u16) -> Option<Writes> {
        self.keys_of(node).and_then(|keys| keys.get(slot).cloned())
    }

    /// A primary has one more replica: what that lacks is not safe before it has it. That is so only where an operator wants
    /// replicas to be elected whatever they have (`cluster-replica-validity-factor 0`). The replica may not have heard yet which slots
    /// its primary has taken; once it has, it takes its place with these, too.
    pub(crate) fn restrict_to_new_replica(&mut self, view: &ClusterView, primary: NodeId, keys: &Keys) {
        if self.scenario.config.replica_validity_factor != 0 {
            return;
        }
        let Some(key) = view.node_by_name(primary.as_bytes()).map(|node| node.key) else { return };
        let primary_view = self.ids.get(&primary).and_then(|&node| self.last_view_of(node)).cloned();
        let is_its_primarys = |slot: u16| {
            view.owners.get(slot) == Some(key) || primary_view.as_ref().is_some_and(|view| view.owns(slot))
        };
        for slot in self.safe_writes.slots().into_iter().filter(|&slot| is_its_primarys(slot)) {
            self.safe_writes.restrict(slot, &[keys.get(slot).cloned()]);
        }
    }

    /// A machine logs something, perhaps of a forced failover.
    pub(crate) fn note_force(&mut self, node: usize, text: &str) {
        if text.starts_with("Forced failover") {
            self.forced.insert(node);
        } else if text.starts_with("Manual failover timed out") {
            self.forced.remove(&node);
        } else if text.starts_with("Failover election won") && self.forced.remove(&node) {
            self.restrict_to_forced(node);
        }
    }

    /// An operator has forced a node to take the place of its primary, whatever data it has, as with Redis: what it lacks is lost.
    fn restrict_to_forced(&mut self, node: usize) {
        let Some(view) = self.last_view_of(node) else { return };
        let owner_of =
            |slot: u16| view.owners.get(slot).and_then(|owner| view.node(owner)).map(|owner| owner.id);
        let primary = match view.role {
            ViewRole::Replica(Some(primary)) => view.node(primary).map(|primary| primary.id),
            _ => self.id(node),
        };
        let followed = self.followed_by(node);
        let is_affected = |slot: &u16| {
            let owner = owner_of(*slot);
            owner.is_some() && (owner == primary || owner == followed)
        };
        let slots: Vec<u16> = self.safe_writes.slots().into_iter().filter(is_affected).collect();
        for slot in slots {
            let held = self.held_by(node, slot);
            self.safe_writes.restrict(slot, &[held]);
        }
    }

    /// The nodes that may be elected in the place of a node, whether they are up or not: those that are its replicas in its own
    /// view, and those that follow it without its having heard of that.
    pub(crate) fn followers_of(&self, node: usize) -> BTreeSet<usize> {
        let Some(me) = self.id(node) else { return BTreeSet::new() };
        let view = self.model(node).and_then(|model| model.view.as_ref());
        let replicas = view.into_iter().flat_map(|view| {
            let key = view.node_by_name(me.as_bytes()).map(|node| node.key);
            key.into_iter()
                .flat_map(|key| view.replicas_of(key))
                .filter_map(|replica| self.ids.get(&replica.id).copied())
        });
        let follows = |other: &usize| self.followed_by(*other) == Some(me);
        replicas.chain((0..self.node_count()).filter(follows)).filter(|&other| other != node).collect()
    }

    /// Writes are promised to stay if all replicas of the shard hold them, as a WAIT of all of them says, at the one node that owns
    /// their slot. That node must be the owner for a majority of the primaries: a node that is cut off together with its replicas just
    /// when it has claimed slots goes on for some time, as any primary of Redis does, and meanwhile the source may take them back.
    pub(crate) fn note_safe_writes(&mut self, node: usize) {
        let Some(model) = self.model(node) else { return };
        let Some(view) = model.view.clone().filter(|_| model.following.is_none()) else { return };
        let is_new = |slot: u16, writes: &Writes| {
            view.owns(slot) && !model.migrations.holds(slot) && self.safe_writes.is_new(slot, writes)
        };
        let own: Vec<(u16, Writes)> = model
            .keys
            .iter()
            .filter(|(slot, writes)| is_new(*slot, writes))
            .map(|(slot, writes)| (slot, writes.clone()))
            .collect();
        if own.is_empty() {
            return;
        }
        let followers = self.followers_of(node);
        // Some may follow a replica, and not have heard that it is a primary no more.
        let is_follower = |id: NodeId| self.ids.get(&id).is_some_and(|other| followers.contains(other));
        let followers_of_replicas: Vec<usize> = (0..self.node_count())
            .filter(|&other| self.followed_by(other).is_some_and(is_follower))
            .collect();
        for (slot, writes) in own {
            let siblings =
                (0..self.node_count()).filter(|&other| self.may_be_elected_unaware(other, &view, slot));
            let all = followers.iter().copied().chain(siblings).chain(followers_of_replicas.iter().copied());
            let all: BTreeSet<usize> = all.filter(|&other| other != node).collect();
            let is_everywhere = all.iter().all(|&follower| {
                let held = self.keys_of(follower).and_then(|keys| keys.get(slot));
                held.is_some_and(|held| Arc::ptr_eq(held, &writes))
            });
            let is_owner = || !self.has_newer_owner(node, &view, slot) && self.is_known_as_owner(node, slot);
            if is_everywhere && is_owner() {
                self.note(|| format!("n{node} slot {slot}: {all:?} have all up to {:?}", writes.last()));
                self.safe_writes.note(slot, &writes);
            }
        }
    }

    /// The nodes of the shard, by their own account.
    fn shard_of(&self, view: &ClusterView) -> Vec<usize> {
        let shard = |view: &ClusterView| view.node(view.myself).map(|me| me.shard_id);
        let is_in =
            |other: &usize| self.last_view_of(*other).is_some_and(|theirs| shard(theirs) == shard(view));
        (0..self.node_count()).filter(is_in).collect()
    }

    /// Whether a node of the shard is a replica of an earlier owner of a slot, as far as it knows: what it lacks, no WAIT of all
    /// replicas of the shard has confirmed. A file of Redis 7.0 does not say of which shard a node is.
    fn may_be_elected_unaware(&self, other: usize, view: &ClusterView, slot: u16) -> bool {
        let knows_no_shard = self.scenario.config.nodes_conf_without_auxiliary;
        let shard = |view: &ClusterView| view.node(view.myself).map(|me| me.shard_id);
        self.last_view_of(other).is_some_and(|theirs| {
            let ViewRole::Replica(Some(primary)) = theirs.role else { return false };
            theirs.owners.get(slot) == Some(primary) && (knows_no_shard || shard(theirs) == shard(view))
        })
    }

    /// Whether a majority of the primaries takes a node for the owner of a slot.
    fn is_known_as_owner(&self, node: usize, slot: u16) -> bool {
        let Some(me) = self.id(node) else { return false };
        let knows = |view: &ClusterView| {
            view.owners.get(slot).and_then(|owner| view.node(owner)).is_some_and(|owner| owner.id == me)
        };
        let (known, all) = self
            .voters()
            .iter()
            .fold((0, 0), |(known, all), view| (known + usize::from(knows(view)), all + 1));
        known > all / 2
    }

    /// The views of the primaries that have slots, whether they are up or not. One that has been replaced, or whose slots have gone to others,
    /// and that has not heard of it, is none of them: it is asked for no votes, and what it knows binds nobody.
    fn voters(&self) -> Vec<&ClusterView> {
        let views = (0..self.node_count()).filter_map(|node| self.last_view_of(node));
        let mut primaries: Vec<_> = views
            .filter(|view| view.role == ViewRole::Primary)
            .filter_map(|view| Some((view, view.node(view.myself)?)))
            .collect();
        primaries.sort_by_key(|(_, me)| std::cmp::Reverse(me.config_epoch));
        let mut taken = SlotSet::empty();
        primaries.retain(|(_, me)| {
            let left = me.slots.minus(&taken);
            taken = taken.union(&me.slots);
            !left.is_empty()
        });
        primaries.into_iter().map(|(view, _)| view).collect()
    }

    /// Whether another node owns a slot by a greater epoch, whether it is up or not.
    fn has_newer_owner(&self, node: usize, view: &ClusterView, slot: u16) -> bool {
        let epoch = |view: &ClusterView| view.node(view.myself).map_or(0, |me| me.config_epoch);
        let mine = epoch(view);
        let is_newer = |other: usize| {
            let view = self.last_view_of(other);
            view.is_some_and(|view| view.role == ViewRole::Primary && view.owns(slot) && epoch(view) > mine)
        };
        (0..self.node_count()).any(|other| other != node && is_newer(other))
    }

    /// Faults are over and the cluster stands: migrations come to an end, and all keys must be where they belong.
    pub(crate) fn finish_migrations(&mut self, within_ms: u64) -> Result<(), String> {
        if !self.is_moving() {
            return Ok(());
        }
        let deadline_us = self.now_us + within_ms * 1000;
        let is_idle = |world: &Self, node| world.model(node).is_some_and(|model| model.migrations.is_idle());
        while let Some(busy) = (0..self.node_count()).find(|&node| !is_idle(self, node)) {
            if self.now_us > deadline_us {
                let what = self.model(busy).map(|model| model.migrations.describe());
                return Err(format!("a migration at n{busy} does not end: {}", what.unwrap_or_default()));
            }
            self.run_until(self.now_us + 100_000)?;
        }
        self.run_until_healed(within_ms)?;
        // Keys of slots that have gone stay until all replicas know that.
        let hides = |world: &Self, node| world.model(node).is_some_and(|model| !model.hidden.is_empty());
        while let Some(node) = (0..self.node_count()).find(|&node| hides(self, node)) {
            if self.now_us > deadline_us {
                return Err(format!("n{node} keeps keys of slots that have gone"));
            }
            self.run_until(self.now_us + 100_000)?;
        }
        // What was just lost is being deleted.
        self.run_until(self.now_us + 500_000)?;
        self.check_keys()
    }

    fn check_keys(&self) -> Result<(), String> {
        let views: Vec<(usize, Arc<ClusterView>)> = (0..self.node_count())
            .filter_map(|node| Some((node, self.model(node)?.view.clone()?)))
            .filter(|(_, view)| view.role == ViewRole::Primary)
            .collect();
        let owns: Vec<Box<dyn Fn(u16) -> bool>> = views
            .iter()
            .map(|(_, view)| Box::new(move |slot| view.owns(slot)) as Box<dyn Fn(u16) -> bool>)
            .collect();
        let primaries: Vec<_> = views
            .iter()
            .zip(&owns)
            .filter_map(|((node, _), owns)| Some((*node, self.keys_of(*node)?, &**owns)))
            .collect();
        self.safe_writes.check(&primaries)
    }
}
