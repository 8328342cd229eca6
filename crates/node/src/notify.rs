//! Publishing, to clients of this node, and keyspace notifications.

use crate::clients::Handle;
use crate::node::Node;
use shoal_config::KeyspaceEvents;
use shoal_protocol::Reply;
use shoal_protocol::slot::key_slot;
use shoal_session::{Channel, Session};
use shoal_store::call::{EventClass, KeyEvent};

impl Node {
    /// Delivers a message to this node's subscribers; `own` is the client whose command is running. Returns how many
    /// got it.
    pub(crate) fn deliver(
        &mut self,
        channel: &[u8],
        message: &[u8],
        is_sharded: bool,
        mut own: Option<(Handle, &mut Session)>,
    ) -> usize {
        if self.subscribers.is_empty() {
            return 0;
        }
        let kind = if is_sharded { Channel::Shard } else { Channel::Plain };
        let listeners = self.subscribers.listeners(kind, channel);
        let mut count = listeners.len();
        let word: &[u8] = if is_sharded { b"smessage" } else { b"message" };
        for handle in listeners {
            self.push_to(handle, own.as_mut(), |reply| {
                reply.push(3);
                reply.bulk(word);
                reply.bulk(channel);
                reply.bulk(message);
            });
        }
        if is_sharded {
            return count;
        }
        let matching: Vec<(Vec<u8>, Vec<Handle>)> = self
            .subscribers
            .matching(channel)
            .into_iter()
            .map(|(pattern, clients)| (pattern.to_vec(), clients))
            .collect();
        for (pattern, clients) in matching {
            count += clients.len();
            for handle in clients {
                self.push_to(handle, own.as_mut(), |reply| {
                    reply.push(4);
                    reply.bulk(b"pmessage");
                    reply.bulk(&pattern);
                    reply.bulk(channel);
                    reply.bulk(message);
                });
            }
        }
        count
    }

    /// Ends subscriptions to channels of slots that this node does not serve any more.
    pub(crate) fn end_lost_subscriptions(&mut self) {
        let Some(view) = self.cluster.as_ref().and_then(|side| side.view.clone()) else { return };
        let is_lost = |name: &&[u8]| {
            let route = view.route(key_slot(name));
            !route.is_mine && !route.is_my_primarys
        };
        let names = self.subscribers.names(Channel::Shard);
        let lost: Vec<Vec<u8>> = names.filter(is_lost).map(<[u8]>::to_vec).collect();
        for name in &lost {
            for handle in self.subscribers.listeners(Channel::Shard, name) {
                // The client whose CLUSTER command brought this about is told with the next view.
                let Some(session) = self.clients.session_mut(handle) else { continue };
                self.subscribers.unsubscribe(Channel::Shard, name, handle, &mut session.subscriptions);
                let count = session.subscriptions.count(Channel::Shard);
                let mut reply = session.reply();
                reply.push(3);
                reply.bulk(b"sunsubscribe");
                reply.bulk(name);
                reply.integer(count as i64);
                self.clients.mark_pending(handle);
            }
        }
    }

    /// Writes something into a client's output outside of its own commands.
    pub(crate) fn push_to(
        &mut self,
        handle: Handle,
        own: Option<&mut (Handle, &mut Session)>,
        write: impl FnOnce(&mut Reply<'_>),
    ) {
        match own {
            // It follows the reply of the running command, so that it does not come to lie inside of it.
            Some((own_handle, session)) if *own_handle == handle => {
                write(&mut Reply::new(&mut self.own_pushes, session.is_resp3));
            }
            _ => {
                if let Some(session) = self.clients.session_mut(handle) {
                    write(&mut session.reply());
                    let waiting_bytes = session.output.len();
                    self.clients.mark_pending(handle);
                    self.note_output(handle, waiting_bytes);
                }
            }
        }
    }

    /// Publishes the events that the running command noted.
    pub(crate) fn publish_events(&mut self, mut own: Option<(Handle, &mut Session)>) {
        let events = std::mem::take(&mut self.effects.events);
        let wanted = self.config.notify_keyspace_events;
        for event in &events {
            if !wanted.contains(class_bit(event.class)) {
                continue;
            }
            let KeyEvent { database, key, name, .. } = event;
            if wanted.contains(KeyspaceEvents::KEYSPACE) {
                let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
                self.deliver(&channel, name.as_bytes(), false, reborrow(&mut own));
            }
            if wanted.contains(KeyspaceEvents::KEYEVENT) {
                let channel = format!("__keyevent@{database}__:{name}");
                self.deliver(channel.as_bytes(), key, false, reborrow(&mut own));
            }
        }
    }
}

fn reborrow<'a>(own: &'a mut Option<(Handle, &mut Session)>) -> Option<(Handle, &'a mut Session)> {
    own.as_mut().map(|(handle, session)| (*handle, &mut **session))
}

/// The bit of `notify-keyspace-events` that chooses a class.
const fn class_bit(class: EventClass) -> u16 {
    match class {
        EventClass::Generic => KeyspaceEvents::GENERIC,
        EventClass::String => KeyspaceEvents::STRING,
        EventClass::List => KeyspaceEvents::LIST,
        EventClass::Set => KeyspaceEvents::SET,
        EventClass::Hash => KeyspaceEvents::HASH,
        EventClass::SortedSet => KeyspaceEvents::SORTED_SET,
        EventClass::Expired => KeyspaceEvents::EXPIRED,
        EventClass::Evicted => KeyspaceEvents::EVICTED,
        EventClass::Stream => KeyspaceEvents::STREAM,
        EventClass::KeyMiss => KeyspaceEvents::KEY_MISS,
        EventClass::New => KeyspaceEvents::NEW,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;
    use shoal_cluster::messages::MESSAGE_TYPES;
    use shoal_cluster::view::{NodeFacts, NodeKey, SlotOwners, ViewRole};
    use shoal_cluster::{ClusterConfig, ClusterView, MachineMessage, NodeFlags, NodeId};
    use shoal_protocol::slot::{SLOT_COUNT, key_slot};
    use std::sync::Arc;

    /// The view of a primary that owns all slots but these.
    fn view_without(version: u64, lost: &[u16], fixture: &Fixture) -> MachineMessage {
        let myself = NodeKey(1);
        let mut owners = SlotOwners::none();
        for slot in (0..SLOT_COUNT).filter(|slot| !lost.contains(slot)) {
            owners.set(slot, Some(myself));
        }
        let id = NodeId::parse(&[b'1'; 40]).unwrap();
        let me = NodeFacts {
            key: myself,
            id,
            shard_id: id,
            host: "127.0.0.1".into(),
            hostname: None,
            human_name: None,
            client: None,
            port: 6379,
            other_port: 0,
            bus_port: 16379,
            flags: NodeFlags::default(),
            primary: None,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: 1,
            slots: Arc::default(),
            replication_offset: 0,
            failure_reports: 0,
            takes_slots: true,
            link_to: None,
            link_from: None,
        };
        let view = ClusterView {
            version,
            published_at: fixture.host.clock.monotonic,
            myself,
            role: ViewRole::Primary,
            is_ok: true,
            nodes: vec![me],
            owners: Arc::new(owners),
            migrating: Arc::default(),
            importing: Arc::default(),
            current_epoch: 1,
            last_vote_epoch: 0,
            size: 1,
            messages_sent: [0; MESSAGE_TYPES],
            messages_received: [0; MESSAGE_TYPES],
            links_over_limit: 0,
            manual_failover: false,
            config: Arc::new(ClusterConfig::default()),
        };
        MachineMessage::View { view: Arc::new(view), orders: Vec::new() }
    }

    #[test]
    fn shard_channels_go_with_their_slots() {
        let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
        let first = fixture.first();
        let message = view_without(1, &[], &fixture);
        fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
        fixture.check("SSUBSCRIBE a {a}b", "[\"ssubscribe\", \"a\", :1] ; [\"ssubscribe\", \"{a}b\", :2]");
        fixture.run("SSUBSCRIBE c");
        let message = view_without(2, &[key_slot(b"a")], &fixture);
        fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
        assert_eq!(
            fixture.received(first),
            ["[\"sunsubscribe\", \"a\", :2]", "[\"sunsubscribe\", \"{a}b\", :1]"]
        );
    }

    #[test]
    fn keyspace_events_are_published() {
        let mut fixture = Fixture::new();
        let listener = fixture.connect();
        fixture.run_as(listener, "PSUBSCRIBE *");
        fixture.run("SET k v");
        assert!(fixture.received(listener).is_empty());
        fixture.check("CONFIG SET notify-keyspace-events K$", "+OK");
        fixture.run("SET k v");
        fixture.run("DEL k");
        assert_eq!(fixture.received(listener), ["[\"pmessage\", \"*\", \"__keyspace@0__:k\", \"set\"]"]);
        fixture.check("CONFIG SET notify-keyspace-events Eg", "+OK");
        fixture.run("SET k v");
        fixture.run("DEL k");
        assert_eq!(fixture.received(listener), ["[\"pmessage\", \"*\", \"__keyevent@0__:del\", \"k\"]"]);
    }
}
