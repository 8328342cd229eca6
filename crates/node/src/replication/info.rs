//! The section `Replication` of INFO, and the reply of ROLE.

use super::peers::Peer;
use super::replica::{Link, Upstream};
use crate::clients::Handle;
use crate::node::Node;
use shoal_machine::Now;
use shoal_protocol::Reply;
use shoal_replication::ReplicationId;
use std::fmt::Write as _;

impl Node {
    /// Appends the lines of INFO's section `Replication`, without its heading.
    pub(crate) fn replication_info(&self, now: Now, text: &mut String) {
        let replication = &self.replication;
        let role = if replication.upstream.is_some() { "slave" } else { "master" };
        let _ = write!(text, "role:{role}\r\n");
        if let Some(upstream) = &replication.upstream {
            self.link_info(now, upstream, text);
        }
        let _ = write!(text, "connected_slaves:{}\r\n", replication.peers.replica_count());
        if self.config.min_replicas_to_write > 0 && self.config.min_replicas_max_lag_seconds > 0 {
            let _ = write!(text, "min_slaves_good_slaves:{}\r\n", replication.good_replicas);
        }
        for (index, (handle, peer)) in replication.peers.replicas().enumerate() {
            let Some(state) = peer.state() else { continue };
            let lag_s = if peer.is_online() { now.monotonic.ms_since(peer.ack_at) / 1000 } else { 0 };
            let (address, port, offset) = (self.replica_address(handle, peer), peer.port, peer.ack_offset);
            let kind = peer.channel_kind();
            let _ = write!(
                text,
                "slave{index}:ip={address},port={port},state={state},offset={offset},lag={lag_s}{kind}\r\n"
            );
        }
        let (second_id, second_offset) = replication
            .second_id
            .map_or((ReplicationId::NONE, -1), |(id, offset)| (id, offset.cast_signed()));
        let history = replication.history(self.config.repl_backlog_size_bytes);
        let first = history.first.unwrap_or(0);
        let length = history.first.map_or(0, |first| history.end - first);
        let _ = write!(
            text,
            "master_failover_state:{}\r\nmaster_replid:{}\r\nmaster_replid2:{second_id}\r\n\
             master_repl_offset:{}\r\nsecond_repl_offset:{second_offset}\r\nrepl_backlog_active:{}\r\n\
             repl_backlog_size:{}\r\nrepl_backlog_first_byte_offset:{first}\r\nrepl_backlog_histlen:{length}\r\n",
            self.failover_state(),
            replication.id,
            self.replication_offset(),
            i32::from(replication.has_backlog),
            self.config.repl_backlog_size_bytes,
        );
    }

    fn link_info(&self, now: Now, upstream: &Upstream, text: &mut String) {
        let seconds_since = |point| now.monotonic.ms_since(point) / 1000;
        let is_up = matches!(upstream.link, Link::Up(_));
        let last_io = if is_up { seconds_since(upstream.last_io).cast_signed() } else { -1 };
        let has_offset = is_up || self.replication.can_resume;
        let applied = if has_offset { self.replication_offset() } else { 1 };
        let waiting = if let Link::Up(up) = &upstream.link { up.unapplied_bytes() } else { 0 };
        let _ = write!(
            text,
            "master_host:{}\r\nmaster_port:{}\r\nmaster_link_status:{}\r\nmaster_last_io_seconds_ago:{last_io}\r\n\
             master_sync_in_progress:{}\r\nslave_read_repl_offset:{}\r\nslave_repl_offset:{applied}\r\n",
            upstream.host,
            upstream.port,
            if is_up { "up" } else { "down" },
            i32::from(upstream.is_synchronising()),
            applied + waiting,
        );
        if let Some(arriving) = upstream.arriving() {
            let total = arriving.total_bytes.unwrap_or(0);
            let read = arriving.read_bytes;
            let percent = if total > 0 { read as f64 / total as f64 * 100.0 } else { 0.0 };
            let _ = write!(
                text,
                "master_sync_total_bytes:{total}\r\nmaster_sync_read_bytes:{read}\r\nmaster_sync_left_bytes:{}\r\n\
                 master_sync_perc:{percent:.2}\r\nmaster_sync_last_io_seconds_ago:{}\r\n",
                total.cast_signed() - read.cast_signed(),
                seconds_since(upstream.last_io),
            );
        }
        if let Link::Dual(dual) = &upstream.link {
            // The name is Valkey's.
            let _ = write!(text, "replicas_repl_buffer_size:{}\r\n", dual.kept_bytes());
        }
        if !is_up {
            let since = upstream.down_since.map_or(-1, |point| seconds_since(point).cast_signed());
            let _ = write!(text, "master_link_down_since_seconds:{since}\r\n");
        }
        let config = &self.config;
        let _ = write!(
            text,
            "slave_priority:{}\r\nslave_read_only:{}\r\nreplica_announced:{}\r\n",
            config.replica_priority,
            i32::from(config.replica_read_only),
            i32::from(config.replica_announced),
        );
    }

    /// Writes the reply of ROLE.
    pub(crate) fn reply_role(&self, reply: &mut Reply<'_>) {
        let replication = &self.replication;
        if let Some(upstream) = &replication.upstream {
            reply.array(5);
            reply.bulk(b"slave");
            reply.bulk(upstream.host.as_bytes());
            reply.integer(i64::from(upstream.port));
            reply.bulk(upstream.state().as_bytes());
            let is_up = matches!(upstream.link, Link::Up(_));
            reply.integer(if is_up { self.replication_offset().cast_signed() } else { -1 });
            return;
        }
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(self.replication_offset().cast_signed());
        let online: Vec<(Handle, &Peer)> =
            replication.peers.replicas().filter(|(_, peer)| peer.is_online()).collect();
        reply.array(online.len());
        for (handle, peer) in online {
            reply.array(3);
            reply.bulk(self.replica_address(handle, peer).as_bytes());
            reply.bulk(peer.port.to_string().as_bytes());
            reply.bulk(peer.ack_offset.to_string().as_bytes());
        }
    }

    /// A replica's address without the port: what it announced, or what is seen.
    pub(crate) fn replica_address<'a>(&'a self, handle: Handle, peer: &'a Peer) -> &'a str {
        if let Some(address) = &peer.address {
            return address;
        }
        let seen = self.clients.session(handle).map_or("?", |session| session.identity.address.as_str());
        without_port(seen)
    }

    /// A replica as the log names it: `address:port`.
    pub(crate) fn replica_name(&self, handle: Handle) -> String {
        let Some(peer) = self.replication.peers.get(handle) else { return "client".to_owned() };
        name_of(self.replica_address(handle, peer), peer.port)
    }
}

/// An address without its port, and an IPv6 address without its brackets.
pub(super) fn without_port(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// How the log names a replica.
pub(super) fn name_of(address: &str, port: u16) -> String {
    let port = if port == 0 { "<unknown-replica-port>".to_owned() } else { port.to_string() };
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}
