//! Redis Cluster: bus messages, node table, gossip, failure votes, elections, slots.
