//! Rewriting: a forked child writes the data as a new base, commands go on in a new file.

use super::{AofState, Rewrite};
use crate::host::{Host, LogLevel, SnapshotReport, SnapshotStart, SnapshotTarget};
use crate::node::Node;
use shoal_formats::aof::BaseForm;
use shoal_machine::Now;

/// Failures after which the next attempt has to wait.
const FAILURES_BEFORE_DELAY: u32 = 3;
/// The longest wait, in minutes.
const DELAY_MAX_MINUTES: u64 = 60;

/// What BGREWRITEAOF is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RewriteAnswer {
    Started,
    Scheduled,
    InProgress,
    Failed,
}

impl Node {
    /// BGREWRITEAOF.
    pub(crate) fn ask_for_rewrite(&mut self, now: Now, host: &mut dyn Host) -> RewriteAnswer {
        if self.aof.rewrite.is_some() {
            return RewriteAnswer::InProgress;
        }
        if self.snapshot.is_some() || self.unit.is_open {
            self.aof.is_scheduled = true;
            self.aof.failures = 0;
            self.aof.retry_at = None;
            return RewriteAnswer::Scheduled;
        }
        match self.begin_rewrite(now, host) {
            Ok(()) => RewriteAnswer::Started,
            Err(_) => RewriteAnswer::Failed,
        }
    }

    /// Begins a new file of commands and a child that writes what was before as a base.
    ///
    /// # Errors
    /// What went wrong; it has been logged. Effects go on into the file that is open.
    pub(super) fn begin_rewrite(&mut self, now: Now, host: &mut dyn Host) -> Result<(), String> {
        self.aof.is_scheduled = false;
        let begun = self.open_next_file(host).and_then(|()| {
            self.aof.rewrites += 1;
            self.begin_snapshot(now, host, SnapshotTarget::AofBase)
        });
        begun.inspect_err(|reason| {
            host.log(LogLevel::Warning, &format!("Can't rewrite append only file in background: {reason}"));
            self.note_rewrite_failed(now);
        })
    }

    fn note_rewrite_failed(&mut self, now: Now) {
        let aof = &mut self.aof;
        aof.last_rewrite_failed = true;
        aof.failures = aof.failures.saturating_add(1);
        let doublings = aof.failures.checked_sub(FAILURES_BEFORE_DELAY);
        aof.is_limit_logged = false;
        aof.retry_at = doublings.map(|doublings| {
            let minutes = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX).min(DELAY_MAX_MINUTES);
            now.monotonic.plus_ms(minutes * 60_000)
        });
    }

    /// Whether too many rewrites have failed for another one to begin by itself. The log says so once for each wait.
    fn is_rewrite_limited(&mut self, now: Now, host: &mut dyn Host) -> bool {
        let Some(at) = self.aof.retry_at.filter(|at| now.monotonic < *at) else { return false };
        if !std::mem::replace(&mut self.aof.is_limit_logged, true) {
            let minutes = at.ms_since(now.monotonic).div_ceil(60_000);
            let text = format!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
            );
            host.log(LogLevel::Warning, &text);
        }
        true
    }

    /// The file that takes the commands after the fork.
    fn open_next_file(&mut self, host: &mut dyn Host) -> Result<(), String> {
        self.flush_aof(host);
        match self.aof.state {
            AofState::Off => return Ok(()),
            AofState::Starting => {
                // What it holds from an attempt before is in the data.
                host.open_aof(&self.temporary_name(), true)?;
            }
            AofState::On => {
                let mut manifest = self.aof.manifest.clone();
                let name = manifest.add_increment(&self.config.appendfilename);
                host.open_aof(&name, true)?;
                host.log(LogLevel::Notice, &format!("Creating AOF incr file {name} on background rewrite"));
                if let Err(reason) = self.save_manifest(host, manifest) {
                    // The list does not name the new file: what goes there would be lost.
                    let old = self.aof.manifest.increments.last().map(|file| file.name.clone());
                    if let Some(old) = old {
                        host.open_aof(&old, false)?;
                    }
                    host.remove_aof_file(&name);
                    return Err(reason);
                }
            }
        }
        self.aof.is_open = true;
        self.aof.selected_database = None;
        self.aof.noted_s = 0;
        self.aof.increment_size = 0;
        Ok(())
    }

    /// The child has begun.
    pub(crate) fn note_rewrite_began(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        start: SnapshotStart,
        form: BaseForm,
    ) {
        let process_id = start.process_id;
        self.aof.rewrite = Some(Rewrite { since: now.monotonic, process_id, form, is_cancelled: false });
        let text = format!("Background append only file rewriting started by pid {process_id}");
        host.log(LogLevel::Notice, &text);
    }

    /// Ends a rewrite that is of no use any more.
    pub(crate) fn cancel_rewrite(&mut self, host: &mut dyn Host) {
        if let Some(rewrite) = &mut self.aof.rewrite {
            rewrite.is_cancelled = true;
            let text = format!("Killing running AOF rewrite child: {}", rewrite.process_id);
            host.log(LogLevel::Notice, &text);
            host.cancel_snapshot();
        }
    }

    /// The child has ended.
    pub(crate) fn note_rewrite_ended(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        result: &Result<SnapshotReport, String>,
    ) {
        let Some(rewrite) = self.aof.rewrite.take() else { return };
        self.aof.last_duration_s = Some(now.monotonic.ms_since(rewrite.since) / 1000);
        let outcome = match result {
            Ok(_) if rewrite.is_cancelled => {
                Err("Background AOF rewrite ended after it was killed".to_owned())
            }
            Ok(report) => {
                host.log(LogLevel::Notice, "Background AOF rewrite terminated with success");
                self.aof.last_copied_bytes = report.copied_bytes;
                self.take_new_base(host, rewrite)
            }
            Err(reason) => Err(format!("Background AOF rewrite terminated with error: {reason}")),
        };
        match outcome {
            Ok(()) => {
                self.aof.last_rewrite_failed = false;
                self.aof.failures = 0;
                self.aof.retry_at = None;
                host.log(LogLevel::Notice, "Background AOF rewrite finished successfully");
            }
            Err(reason) => {
                host.log(LogLevel::Warning, &reason);
                host.discard_aof_base(rewrite.process_id);
                if !rewrite.is_cancelled {
                    self.note_rewrite_failed(now);
                }
            }
        }
        if self.aof.state == AofState::Starting {
            // Without a base what was collected is of no use; the next attempt holds it.
            if std::mem::take(&mut self.aof.is_open) {
                host.close_aof();
                self.remove_temporary(host);
            }
            self.aof.buffer.clear();
            self.aof.is_scheduled = true;
        }
    }

    /// Makes the child's file the base.
    fn take_new_base(&mut self, host: &mut dyn Host, rewrite: Rewrite) -> Result<(), String> {
        let prefix = self.config.appendfilename.clone();
        let mut manifest = self.aof.manifest.clone();
        let name = manifest.next_base_name(&prefix, rewrite.form);
        let base_size = host.adopt_aof_base(rewrite.process_id, &name)?;
        if self.aof.state == AofState::Starting {
            let temporary = self.temporary_name();
            manifest.increments.iter().for_each(|file| manifest.history.push(file.clone()));
            manifest.increments.clear();
            let increment = manifest.add_increment(&prefix);
            if let Err(reason) = host.rename_aof_file(&temporary, &increment) {
                host.remove_aof_file(&name);
                return Err(reason);
            }
        }
        manifest.replace_base(&prefix, rewrite.form, usize::from(self.aof.state != AofState::Off));
        if let Err(reason) = self.save_manifest(host, manifest) {
            host.remove_aof_file(&name);
            return Err(reason);
        }
        self.aof.current_size = base_size + self.aof.increment_size;
        self.aof.base_size = self.aof.current_size;
        if self.aof.state == AofState::Starting {
            self.aof.state = AofState::On;
            if self.aof.write_error.take().is_some() {
                host.log(LogLevel::Warning, "AOF write error looks solved, Redis can write again.");
            }
        }
        self.delete_history(host);
        Ok(())
    }

    /// Begins a rewrite that waited, or that the file's growth asks for.
    pub(crate) fn rewrite_if_due(&mut self, now: Now, host: &mut dyn Host) {
        if self.snapshot.is_some() || self.is_loading || self.unit.is_open {
            return;
        }
        let (size, base) = (self.aof.current_size, self.aof.base_size.max(1));
        let percentage = u64::from(self.config.auto_aof_rewrite_percentage);
        let growth = (u128::from(size) * 100 / u128::from(base)).saturating_sub(100);
        let has_grown = self.aof.state == AofState::On
            && percentage > 0
            && size > self.config.auto_aof_rewrite_min_size_bytes
            && growth >= u128::from(percentage);
        if !has_grown && !self.aof.is_scheduled || self.is_rewrite_limited(now, host) {
            return;
        }
        if has_grown {
            let text = format!("Starting automatic rewriting of AOF on {growth}% growth");
            host.log(LogLevel::Notice, &text);
        }
        if self.begin_rewrite(now, host).is_err() {
            // It has been logged, and is tried again.
            self.aof.is_scheduled |= self.aof.state == AofState::Starting;
        }
    }
}
