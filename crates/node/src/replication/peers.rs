//! The table of this node's replicas.

use crate::clients::Handle;
use crate::host::SnapshotTarget;
use shoal_machine::Monotonic;
use std::collections::BTreeMap;

/// How far a replica has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has introduced itself, and may become a replica.
    #[default]
    Greeting,
    /// It waits for a snapshot to be begun.
    AwaitSnapshot {
        /// Since when.
        since: Monotonic,
    },
    /// The snapshot that it gets is being written; its stream begins after this offset.
    InSnapshot {
        /// The offset of the last byte before its stream.
        origin: u64,
        /// Where the snapshot goes.
        target: SnapshotTarget,
    },
    /// The snapshot file is being sent.
    SendFile,
    /// It has been sent the whole snapshot; the stream follows when it says that it has loaded it.
    AwaitAck,
    /// It gets the stream, and keeps it until it has loaded the snapshot that comes on another connection.
    BesideSnapshot,
    /// It gets the stream.
    Online,
    /// It wanted a snapshot only, and has it.
    Served,
}

/// One replica, or a client that may become one.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// How far it has come.
    pub stage: Stage,
    /// The next byte of the stream that it gets.
    pub position: u64,
    /// The address it announced.
    pub address: Option<String>,
    /// The port it announced.
    pub port: u16,
    /// It can receive a snapshot that a mark ends.
    pub has_eof: bool,
    /// It understands a new name of the history.
    pub has_psync2: bool,
    /// It can receive snapshot and stream on two connections.
    pub has_dual_channel: bool,
    /// It wants a snapshot only.
    pub is_snapshot_only: bool,
    /// It is the snapshot's connection of a replica that gets the stream on another.
    pub is_snapshot_channel: bool,
    /// The replica of this snapshot's connection has asked for the stream, and so keeps what it needs of it itself.
    pub has_main: bool,
    /// The connection that brings the snapshot, on the one that gets the stream.
    pub snapshot_channel: Option<Handle>,
    /// It speaks SYNC, and acknowledges nothing.
    pub is_pre_psync: bool,
    /// The offset that it has acknowledged.
    pub ack_offset: u64,
    /// Up to where it says that its disk has everything.
    pub synced_offset: u64,
    /// When it was last heard of.
    pub ack_at: Monotonic,
    /// Bytes it has been sent, and what that figure was when last looked at.
    pub sent: (u64, u64),
    /// When bytes last went out to it, as far as anybody looked.
    pub progress_at: Monotonic,
    /// Since when its output has been over the soft limit.
    pub over_soft_since: Option<Monotonic>,
    /// It is being closed because its output is over a limit.
    pub is_over_limit: bool,
}

impl Peer {
    /// It counts as a replica.
    pub fn is_replica(&self) -> bool {
        self.stage != Stage::Greeting
    }

    /// The stream's bytes from its position on have to be kept for it.
    pub fn needs_stream(&self) -> bool {
        if self.is_snapshot_channel {
            let has_begun = matches!(self.stage, Stage::InSnapshot { .. } | Stage::SendFile | Stage::Served);
            return has_begun && !self.has_main;
        }
        !self.is_snapshot_only
            && matches!(
                self.stage,
                Stage::InSnapshot { .. }
                    | Stage::SendFile
                    | Stage::AwaitAck
                    | Stage::BesideSnapshot
                    | Stage::Online
            )
    }

    /// What INFO adds for replicas with two connections.
    pub fn channel_kind(&self) -> &'static str {
        match (self.is_snapshot_channel, self.stage) {
            (true, _) => ",type=rdb-channel",
            (false, Stage::BesideSnapshot) => ",type=main-channel",
            (false, _) => "",
        }
    }

    /// It has all data, as INFO and WAIT see it.
    pub fn is_online(&self) -> bool {
        matches!(self.stage, Stage::Online | Stage::AwaitAck)
    }

    /// The word that INFO shows; `None` for what is no replica.
    pub fn state(&self) -> Option<&'static str> {
        match self.stage {
            Stage::Greeting => None,
            Stage::AwaitSnapshot { .. } | Stage::InSnapshot { .. } => Some("wait_bgsave"),
            Stage::SendFile => Some("send_bulk"),
            Stage::BesideSnapshot => Some("bg_transfer"),
            Stage::AwaitAck | Stage::Online => Some("online"),
            Stage::Served => Some("rdb_transmitted"),
        }
    }
}

/// All replicas.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    all: BTreeMap<Handle, Peer>,
    /// Those that are fed from the stream.
    online: Vec<Handle>,
}

impl Peers {
    /// Those that are fed from the stream.
    #[inline]
    pub fn online(&self) -> &[Handle] {
        &self.online
    }

    /// The next byte of the stream for a replica that is fed from it.
    pub fn stream_position(&self, handle: Handle) -> Option<u64> {
        if !self.online.contains(&handle) {
            return None;
        }
        self.all.get(&handle).map(|peer| peer.position)
    }

    /// A replica has been sent bytes: so many in all, and so many of the stream.
    pub fn sent(&mut self, handle: Handle, count: u64, of_stream: u64) -> bool {
        if self.all.is_empty() {
            return false;
        }
        let Some(peer) = self.all.get_mut(&handle) else { return false };
        peer.sent.0 += count;
        peer.position += of_stream;
        peer.is_replica()
    }

    /// A peer.
    pub fn get(&self, handle: Handle) -> Option<&Peer> {
        self.all.get(&handle)
    }

    /// A peer to be changed. Use [`Peers::set_stage`] for its stage.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Peer> {
        self.all.get_mut(&handle)
    }

    /// A peer, made if it is not there yet.
    pub fn entry(&mut self, handle: Handle) -> &mut Peer {
        self.all.entry(handle).or_default()
    }

    /// Moves a peer to another stage.
    pub fn set_stage(&mut self, handle: Handle, stage: Stage) {
        let Some(peer) = self.all.get_mut(&handle) else { return };
        peer.stage = stage;
        self.online.retain(|&other| other != handle);
        if matches!(stage, Stage::Online | Stage::BesideSnapshot) {
            self.online.push(handle);
        }
    }

    /// The replica with this connection for its snapshot keeps what it needs of the stream itself from now on. False if
    /// there is no such connection any more.
    pub fn take_over(&mut self, channel: Handle) -> bool {
        let peer = self.all.get_mut(&channel).filter(|peer| peer.is_snapshot_channel);
        peer.is_some_and(|peer| {
            peer.has_main = true;
            true
        })
    }

    /// Forgets a connection.
    pub fn remove(&mut self, handle: Handle) -> Option<Peer> {
        let peer = self.all.remove(&handle)?;
        self.online.retain(|&other| other != handle);
        Some(peer)
    }

    /// All replicas, in the order of their handles.
    pub fn replicas(&self) -> impl Iterator<Item = (Handle, &Peer)> {
        self.all.iter().filter(|(_, peer)| peer.is_replica()).map(|(&handle, peer)| (handle, peer))
    }

    /// The handles of the replicas in a stage.
    pub fn in_stage(&self, wanted: impl Fn(&Peer) -> bool) -> Vec<Handle> {
        self.replicas().filter(|(_, peer)| wanted(peer)).map(|(handle, _)| handle).collect()
    }

    /// Whether a replica waits for the snapshot file, or is being given it.
    pub fn need_snapshot_file(&self) -> bool {
        self.all.values().any(|peer| {
            matches!(
                peer.stage,
                Stage::AwaitSnapshot { .. }
                    | Stage::SendFile
                    | Stage::InSnapshot { target: SnapshotTarget::File, .. }
            )
        })
    }

    /// The number of replicas.
    pub fn replica_count(&self) -> usize {
        self.replicas().count()
    }

    /// The oldest offset that a replica still needs.
    pub fn oldest_position(&self) -> Option<u64> {
        self.all.values().filter(|peer| peer.needs_stream()).map(|peer| peer.position).min()
    }

    /// How many replicas have acknowledged everything up to this offset.
    pub fn acknowledged(&self, offset: u64) -> usize {
        self.replicas().filter(|(_, peer)| peer.is_online() && peer.ack_offset >= offset).count()
    }

    /// How many replicas have everything up to this offset on their disks.
    pub fn synced(&self, offset: u64) -> usize {
        self.replicas().filter(|(_, peer)| peer.is_online() && peer.synced_offset >= offset).count()
    }

    /// How many replicas were heard of at this point or later.
    pub fn heard_since(&self, point: Monotonic) -> usize {
        self.replicas().filter(|(_, peer)| peer.is_online() && peer.ack_at >= point).count()
    }
}
