//! What a node wants done after the current input.

use crate::clients::Handle;

/// How the server is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownRequest {
    /// Save even if no save points are configured.
    pub save: bool,
    /// Do not save even if they are.
    pub no_save: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Stop even if saving fails.
    pub force: bool,
    /// A primary of a cluster asks a replica to take over first.
    pub hand_over: bool,
}

/// Something the shell carries out when the node has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on with the input of a client that was blocked or put off.
    Resume(Handle),
    /// Connect to the primary; the connection gets its handle from [`crate::Node::primary_connected`].
    ConnectPrimary {
        /// Names the attempt: another one may take its place before it succeeds or fails.
        ticket: u64,
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Connect to the primary once more, for a snapshot on a connection of its own; it gets its handle from
    /// [`crate::Node::snapshot_channel_connected`].
    ConnectSnapshotChannel {
        /// Names the attempt.
        ticket: u64,
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Connect to a node that slots are to be moved to; the connection gets its handle from
    /// [`crate::Node::target_connected`].
    ConnectTarget {
        /// Names the connection.
        ticket: u64,
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Let the system hold back small packets to a replica, to be joined.
    DelaySmallPackets(Handle),
    /// Give up the connections to the primary, made or still being made. The node has forgotten them already: there is no
    /// [`crate::Node::disconnected`] for them.
    DisconnectPrimary,
    /// Send the snapshot file as it is now to a replica: open it at once, give its bytes to
    /// [`crate::Node::file_chunk`] while the replica's output is low, then call [`crate::Node::file_sent`].
    SendSnapshotFile(Handle),
    /// The last phase of a shutdown is done: save if that was asked for, and end the process.
    Shutdown(ShutdownRequest),
    /// A shutdown has come to nothing: the server goes on.
    ShutdownAborted,
}
