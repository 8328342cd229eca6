//! Putting commands off: CLIENT PAUSE, and manual failover.

use shoal_machine::Monotonic;
use shoal_protocol::Command;
use shoal_protocol::command::Flags;

/// What is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseKind {
    /// Commands that may write.
    Writes,
    /// All commands of clients.
    All,
}

/// Why commands are put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseReason {
    /// CLIENT PAUSE.
    ByClient,
    /// A shutdown that waits for replicas.
    Shutdown,
    /// A failover that waits for a replica.
    Failover,
}

const REASONS: usize = 3;

/// The pauses in force, one per reason.
#[derive(Debug, Default)]
pub struct Pauses {
    entries: [Option<(PauseKind, Monotonic)>; REASONS],
}

impl Pauses {
    /// Begins or prolongs a pause; a narrower or shorter one does not replace what is in force.
    pub fn begin(&mut self, reason: PauseReason, kind: PauseKind, until: Monotonic) {
        let entry = &mut self.entries[reason as usize];
        let (kind, until) =
            entry.map_or((kind, until), |(old_kind, old)| (kind.max(old_kind), until.max(old)));
        *entry = Some((kind, until));
    }

    /// Ends a pause. True if there was one.
    pub fn end(&mut self, reason: PauseReason) -> bool {
        self.entries[reason as usize].take().is_some()
    }

    /// Ends the pauses whose time has come. True if there were any.
    pub fn expire(&mut self, now: Monotonic) -> bool {
        let mut ended = false;
        for entry in &mut self.entries {
            if entry.is_some_and(|(_, until)| until <= now) {
                *entry = None;
                ended = true;
            }
        }
        ended
    }

    /// The widest pause in force.
    #[inline]
    pub fn kind(&self) -> Option<PauseKind> {
        self.entries.iter().flatten().map(|&(kind, _)| kind).max()
    }

    /// Why the widest pause is in force, and until when.
    pub fn reason(&self) -> Option<(PauseReason, Monotonic)> {
        let reasons = [PauseReason::ByClient, PauseReason::Shutdown, PauseReason::Failover];
        let entries =
            reasons.iter().zip(&self.entries).filter_map(|(&reason, entry)| Some((reason, (*entry)?)));
        entries.max_by_key(|(_, (kind, _))| *kind).map(|(reason, (_, until))| (reason, until))
    }

    /// When the next pause ends.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.entries.iter().flatten().map(|&(_, until)| until).min()
    }
}

/// Whether a command has to wait while writes are paused.
pub fn may_write(command: &Command) -> bool {
    use shoal_protocol::CommandId::{Exec, Pfcount, Publish, Spublish};
    command.flags.contains(Flags::WRITE)
        || matches!(command.id, Publish | Spublish | Pfcount | Exec)
        || command.parent.is_none()
            && command.group == "scripting"
            && command.flags.contains(Flags::MOVABLEKEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_overlap() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.kind(), None);
        pauses.begin(PauseReason::ByClient, PauseKind::Writes, Monotonic(10));
        pauses.begin(PauseReason::Failover, PauseKind::All, Monotonic(5));
        pauses.begin(PauseReason::ByClient, PauseKind::Writes, Monotonic(7));
        assert_eq!((pauses.kind(), pauses.next_deadline()), (Some(PauseKind::All), Some(Monotonic(5))));
        assert!(pauses.expire(Monotonic(5)) && !pauses.expire(Monotonic(9)));
        assert_eq!(pauses.kind(), Some(PauseKind::Writes));
        assert!(pauses.end(PauseReason::ByClient) && pauses.kind().is_none());
    }
}
