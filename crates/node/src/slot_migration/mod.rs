//! Atomic slot migration, as far as it concerns keys and clients. What the two ends decide is
//! [`shoal_cluster::slot_migration`]; here its outputs are carried out.
//!
//! ```text
//!  exports.rs   a child writes the keys of the slots ─▶ pipe ─▶ link     changes wait meanwhile, then follow
//!  imports.rs   the link's commands run as those of a primary; nobody sees the keys before the slots are this node's
//!  drops.rs     keys of slots that have gone, or did not come, are deleted piece by piece
//! ```
//!
//! A replica hears of an import by two commands in the stream, which stand in the append-only file, too: CLUSTER SYNCSLOTS
//! ESTABLISH when it begins, and FINISH. A snapshot names the imports that are under way. So whoever is promoted, or
//! started anew, in the middle of an import knows which keys to delete.

mod drops;
mod exports;
mod imports;
#[cfg(test)]
mod tests;

use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use drops::Drops;
use exports::ExportJob;
pub(crate) use imports::EpochBounds;
use imports::ImportJob;
use shoal_cluster::slot_migration::{JobName, Outcome};
use shoal_cluster::{NodeId, SlotRanges, SlotSet};
use shoal_machine::{Monotonic, Now};
use shoal_session::Session;
use std::collections::VecDeque;

/// Migrations that may be under way at one node; more are refused.
pub const JOBS_MAX: usize = 16;

/// The client whose command is running.
type Own<'a> = Option<(Handle, &'a mut Session)>;

/// What is known of a migration, for CLUSTER GETSLOTMIGRATIONS.
#[derive(Clone, Debug)]
pub(crate) struct JobFacts {
    pub name: JobName,
    pub is_import: bool,
    pub slots: SlotRanges,
    /// The same, to look up slots.
    pub set: Box<SlotSet>,
    /// None for an import that happens elsewhere.
    pub source: Option<NodeId>,
    pub target: Option<NodeId>,
    pub created_s: u64,
    pub updated_s: u64,
    pub acknowledged_s: u64,
    pub state: &'static str,
    pub message: String,
    /// Memory that was copied while the child wrote.
    pub copied_bytes: u64,
    pub progress: Progress,
}

/// How far the keys of a migration have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Keys that there were when it began; as many as have come, at the target.
    pub keys_total: u64,
    /// Keys that have been written, or have come.
    pub keys: u64,
    /// Bytes that were handed to the link, or have come by it.
    pub bytes: u64,
    /// When the snapshot began.
    pub began: Option<Monotonic>,
}

impl Progress {
    /// The share of the keys that has been sent, in percent.
    pub fn percent(self) -> u64 {
        (self.keys.min(self.keys_total) * 100).checked_div(self.keys_total).unwrap_or(100)
    }

    /// How long the rest of the keys will probably take; none before something has been sent.
    pub fn remaining_ms(self, now: Monotonic) -> Option<u64> {
        let elapsed_ms = now.ms_since(self.began?);
        let left = self.keys_total.saturating_sub(self.keys);
        (left * elapsed_ms).checked_div(self.keys)
    }
}

impl JobFacts {
    fn new(now: Now, name: JobName, slots: SlotRanges, is_import: bool) -> Self {
        let set = Box::new(slots.to_set());
        Self {
            name,
            is_import,
            slots,
            set,
            source: None,
            target: None,
            created_s: now.unix_s(),
            updated_s: now.unix_s(),
            acknowledged_s: now.unix_s(),
            state: "",
            message: String::new(),
            copied_bytes: 0,
            progress: Progress::default(),
        }
    }

    /// As the log shows it.
    fn describe(&self) -> String {
        let (operation, role, other) = match self.is_import {
            true => ("import", "source_node_id", self.source),
            false => ("export", "target_node_id", self.target),
        };
        let other = other.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        format!(
            "{{name: {}, operation: {operation}, {role}: {other}, slots: {}}}",
            self.name,
            self.slots_text()
        )
    }

    /// The ranges as Valkey writes them: `0-99 200-200`.
    pub fn slots_text(&self) -> String {
        let ranges = self.slots.as_slice().iter().map(|(first, last)| format!("{first}-{last}"));
        ranges.collect::<Vec<_>>().join(" ")
    }
}

/// The migrations of a node.
#[derive(Debug, Default)]
pub(crate) struct Migrations {
    exports: Vec<ExportJob>,
    imports: Vec<ImportJob>,
    /// Those that are over, the newest first.
    past: VecDeque<JobFacts>,
    /// Slots that were granted and are this node's nevertheless: nothing is served before the machine claims them again.
    reclaiming: Vec<SlotRanges>,
    drops: Drops,
    next_ticket: u64,
    /// An export wants to hear of changes.
    takes_changes: bool,
    /// Slots to which writes wait.
    held_writes: Option<Box<SlotSet>>,
    /// Slots of which everything waits.
    held_all: Option<Box<SlotSet>>,
    /// Something has happened that [`Node::tick_migrations`] is to look at soon.
    pub is_urgent: bool,
}

/// How much of a slot waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Writes.
    Writes,
    /// Everything.
    All,
}

impl Migrations {
    /// Whether commands have effects that somebody wants.
    #[inline]
    pub fn takes_changes(&self) -> bool {
        self.takes_changes
    }

    /// Whether commands may have to wait.
    #[inline]
    pub fn is_holding(&self) -> bool {
        self.held_writes.is_some() || self.held_all.is_some()
    }

    /// What of a slot waits.
    pub fn hold_of(&self, slot: u16) -> Option<Hold> {
        let has = |set: &Option<Box<SlotSet>>| set.as_ref().is_some_and(|set| set.contains(slot));
        if has(&self.held_all) { Some(Hold::All) } else { has(&self.held_writes).then_some(Hold::Writes) }
    }

    /// All migrations, the newest first, those under way before those that are over.
    pub fn facts(&self) -> impl Iterator<Item = &JobFacts> {
        let exports = self.exports.iter().rev().map(|job| &job.facts);
        let imports = self.imports.iter().rev().map(|job| &job.facts);
        exports.chain(imports).chain(&self.past)
    }

    /// Whether a slot is on its way to another node.
    pub fn is_exporting(&self, slot: u16) -> bool {
        self.exports.iter().any(|job| job.facts.set.contains(slot))
    }

    /// Whether a slot is on its way here.
    pub fn is_importing(&self, slot: u16) -> bool {
        self.imports.iter().any(|job| job.facts.set.contains(slot))
    }

    /// Whether there is room for so many more.
    pub fn has_room(&self, count: usize) -> bool {
        self.exports.len() + self.imports.len() + count <= JOBS_MAX
    }

    /// The imports that are under way, for a snapshot.
    pub fn import_marks(&self) -> Vec<(String, Vec<(u16, u16)>)> {
        let mark = |job: &ImportJob| (job.facts.name.to_string(), job.facts.slots.as_slice().to_vec());
        self.imports.iter().map(mark).collect()
    }

    /// When [`Node::tick_migrations`] is wanted.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let urgent = self.is_urgent.then_some(Monotonic(0));
        let exports = self.exports.iter().filter_map(ExportJob::next_deadline);
        let imports = self.imports.iter().filter_map(ImportJob::next_deadline);
        exports.chain(imports).chain(urgent).min()
    }

    fn remember(&mut self, facts: JobFacts, max: usize) {
        self.past.push_front(facts);
        self.past.truncate(max);
    }

    /// Takes over what follows from the states of the jobs.
    fn refresh(&mut self) {
        self.takes_changes = self.exports.iter().any(ExportJob::takes_changes);
        let mut held = [SlotSet::empty(), SlotSet::empty()];
        for job in &self.exports {
            if let Some(hold) = job.hold {
                let set = &mut held[usize::from(hold == Hold::All)];
                job.facts.slots.iter().for_each(|slot| {
                    set.insert(slot);
                });
            }
        }
        for slot in self.reclaiming.iter().flat_map(SlotRanges::iter) {
            held[1].insert(slot);
        }
        let [writes, all] = held.map(|set| (!set.is_empty()).then(|| Box::new(set)));
        self.held_writes = writes;
        self.held_all = all;
    }
}

impl Node {
    /// Whether the data stand still, so that nothing is to expire or to be evicted: some pause is in force.
    #[inline]
    pub(crate) fn data_stand_still(&self) -> bool {
        self.pauses.kind().is_some() || self.migrations.is_holding()
    }

    /// Does what is due for migrations.
    pub(crate) fn tick_migrations(&mut self, now: Now, host: &mut dyn Host) {
        self.migrations.is_urgent = false;
        if self.migrations.exports.is_empty() && self.migrations.imports.is_empty() {
            return;
        }
        self.tick_exports(now, host);
        self.tick_imports(now, host);
    }

    /// The machine has given a new view.
    pub(crate) fn view_changed_for_migrations(&mut self, now: Now, host: &mut dyn Host) {
        self.exports_see_view(now, host);
        self.imports_see_view(now, host);
    }

    /// All keys were deleted: what moves slots has to begin anew.
    pub(crate) fn migrations_see_flush(&mut self, now: Now, host: &mut dyn Host) {
        const REASON: &str = "Data was flushed";
        self.abort_exports(now, host, REASON);
        self.abort_imports(now, host, REASON);
    }

    /// Hides the keys that are not this node's yet, or not any more.
    fn hide_slots(&mut self) {
        if self.cluster.is_none() {
            return;
        }
        let imports = self.migrations.imports.iter().map(|job| job.facts.slots.as_slice());
        let mut ranges: Vec<(u16, u16)> = imports.flatten().copied().collect();
        ranges.extend(self.migrations.drops.hidden().map(|slot| (slot, slot)));
        self.keyspace.database_mut(0).hide_slots(&ranges);
    }

    /// Logs a change of a job's state, and notes when it was.
    fn note_state(facts: &mut JobFacts, now: Now, host: &mut dyn Host, state: &'static str) {
        if facts.state == state {
            return;
        }
        if !facts.state.is_empty() {
            let text =
                format!("Slot migration {} state transition: {} -> {state}", facts.describe(), facts.state);
            host.log(LogLevel::Notice, &text);
        }
        facts.state = state;
        facts.updated_s = now.unix_s();
    }

    /// A job is over.
    fn note_end(&mut self, host: &mut dyn Host, mut facts: JobFacts, outcome: Outcome, message: String) {
        let level = if outcome == Outcome::Failed { LogLevel::Warning } else { LogLevel::Notice };
        let shown = if message.is_empty() { "none" } else { &message };
        let text = format!(
            "Slot migration {} finished. State: {}, Message: {shown}",
            facts.describe(),
            outcome.word()
        );
        host.log(level, &text);
        facts.message = message;
        let max = self.config.cluster_slot_migration_log_max_len as usize;
        self.migrations.remember(facts, max);
    }
}

/// A request that is sent over a link.
fn request(words: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    shoal_protocol::value::encode_request(words, out);
}

/// Adds the words of slot ranges: first and last slot of each.
fn range_words(slots: &SlotRanges) -> Vec<String> {
    slots.as_slice().iter().flat_map(|(first, last)| [first.to_string(), last.to_string()]).collect()
}
