//! Publishing, to clients of this node, and keyspace notifications.

use crate::clients::Handle;
use crate::node::Node;
use shoal_config::KeyspaceEvents;
use shoal_protocol::Reply;
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
