//! Who listens to what: channels, patterns, and channels of a cluster's shards.

use shoal_protocol::glob::{self, Case};
use std::collections::{BTreeMap, BTreeSet};

/// Something that a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A channel by name.
    Plain,
    /// Channels by pattern.
    Pattern,
    /// A channel of the slot that its name hashes to.
    Shard,
}

/// What one client listens to.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
    shard_channels: BTreeSet<Vec<u8>>,
    size_bytes: usize,
}

/// What a subscription costs beside its name: here, and in the table of subscribers.
const SUBSCRIPTION_OVERHEAD_BYTES: usize = 96;

impl Subscriptions {
    /// The names of one kind, in order.
    pub fn of(&self, kind: Channel) -> &BTreeSet<Vec<u8>> {
        match kind {
            Channel::Plain => &self.channels,
            Channel::Pattern => &self.patterns,
            Channel::Shard => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, kind: Channel) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            Channel::Plain => &mut self.channels,
            Channel::Pattern => &mut self.patterns,
            Channel::Shard => &mut self.shard_channels,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }

    /// The number that replies to (un)subscribing report: shard channels count by themselves.
    pub fn count(&self, kind: Channel) -> usize {
        match kind {
            Channel::Plain | Channel::Pattern => self.channels.len() + self.patterns.len(),
            Channel::Shard => self.shard_channels.len(),
        }
    }

    /// Memory held, roughly.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

/// All subscriptions of all clients, by name. `Client` identifies a client to the owner.
#[derive(Debug)]
pub struct Subscribers<Client> {
    channels: BTreeMap<Vec<u8>, BTreeSet<Client>>,
    patterns: BTreeMap<Vec<u8>, BTreeSet<Client>>,
    shard_channels: BTreeMap<Vec<u8>, BTreeSet<Client>>,
}

impl<Client> Default for Subscribers<Client> {
    fn default() -> Self {
        Self { channels: BTreeMap::new(), patterns: BTreeMap::new(), shard_channels: BTreeMap::new() }
    }
}

impl<Client: Ord + Copy> Subscribers<Client> {
    fn of(&self, kind: Channel) -> &BTreeMap<Vec<u8>, BTreeSet<Client>> {
        match kind {
            Channel::Plain => &self.channels,
            Channel::Pattern => &self.patterns,
            Channel::Shard => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, kind: Channel) -> &mut BTreeMap<Vec<u8>, BTreeSet<Client>> {
        match kind {
            Channel::Plain => &mut self.channels,
            Channel::Pattern => &mut self.patterns,
            Channel::Shard => &mut self.shard_channels,
        }
    }

    /// Subscribes a client; false if it already was.
    pub fn subscribe(&mut self, kind: Channel, name: &[u8], client: Client, own: &mut Subscriptions) -> bool {
        let is_new = own.of_mut(kind).insert(name.to_vec());
        if is_new {
            own.size_bytes += name.len() + SUBSCRIPTION_OVERHEAD_BYTES;
            self.of_mut(kind).entry(name.to_vec()).or_default().insert(client);
        }
        is_new
    }

    /// Ends a subscription; false if there was none.
    pub fn unsubscribe(
        &mut self,
        kind: Channel,
        name: &[u8],
        client: Client,
        own: &mut Subscriptions,
    ) -> bool {
        let was = own.of_mut(kind).remove(name);
        if was {
            own.size_bytes -= name.len() + SUBSCRIPTION_OVERHEAD_BYTES;
            let names = self.of_mut(kind);
            if let Some(clients) = names.get_mut(name) {
                clients.remove(&client);
                if clients.is_empty() {
                    names.remove(name);
                }
            }
        }
        was
    }

    /// Ends all subscriptions of a client.
    pub fn remove(&mut self, client: Client, own: &mut Subscriptions) {
        for kind in [Channel::Plain, Channel::Pattern, Channel::Shard] {
            for name in own.of(kind).clone() {
                self.unsubscribe(kind, &name, client, own);
            }
        }
    }

    /// The clients that listen to exactly this name.
    pub fn listeners(&self, kind: Channel, name: &[u8]) -> Vec<Client> {
        self.of(kind).get(name).map(|clients| clients.iter().copied().collect()).unwrap_or_default()
    }

    /// The patterns that match a channel, each with its clients.
    pub fn matching(&self, channel: &[u8]) -> Vec<(&[u8], Vec<Client>)> {
        let matching =
            self.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel, Case::Sensitive));
        matching.map(|(pattern, clients)| (pattern.as_slice(), clients.iter().copied().collect())).collect()
    }

    /// The names of one kind that have listeners.
    pub fn names(&self, kind: Channel) -> impl Iterator<Item = &[u8]> {
        self.of(kind).keys().map(Vec::as_slice)
    }

    /// How many names of one kind have listeners.
    pub fn name_count(&self, kind: Channel) -> usize {
        self.of(kind).len()
    }

    /// How many clients listen to this name.
    pub fn listener_count(&self, kind: Channel, name: &[u8]) -> usize {
        self.of(kind).get(name).map_or(0, BTreeSet::len)
    }

    /// Whether nobody listens to anything.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_come_and_go() {
        let mut all = Subscribers::default();
        let (mut first, mut second) = (Subscriptions::default(), Subscriptions::default());
        assert!(all.subscribe(Channel::Plain, b"news", 1, &mut first));
        assert!(!all.subscribe(Channel::Plain, b"news", 1, &mut first));
        assert!(all.subscribe(Channel::Pattern, b"n*", 2, &mut second));
        assert!(all.subscribe(Channel::Shard, b"news", 2, &mut second));
        assert_eq!(all.listeners(Channel::Plain, b"news"), [1]);
        assert_eq!(all.matching(b"news"), [(b"n*".as_slice(), vec![2])]);
        assert_eq!(all.listeners(Channel::Shard, b"news"), [2]);
        assert_eq!((second.count(Channel::Plain), second.count(Channel::Shard)), (1, 1));
        assert!(second.size_bytes() > first.size_bytes());
        all.remove(2, &mut second);
        assert_eq!(second.size_bytes(), 0);
        assert!(second.is_empty() && all.matching(b"news").is_empty());
        assert!(all.unsubscribe(Channel::Plain, b"news", 1, &mut first));
        assert!(!all.unsubscribe(Channel::Plain, b"news", 1, &mut first));
        assert!(all.is_empty());
    }
}
