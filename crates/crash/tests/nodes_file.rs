//! nodes.conf and its journal on a disk that forgets: what was reported as saved is there after every power cut.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use shoal_crash::faulty::FaultyDisk;
use shoal_crash::journal;
use shoal_crash::power::PowerCut;
use shoal_crash::recording::RecordingDisk;
use shoal_machine::Rng;
use shoal_transport::nodes_file::{NodesFile, load};
use shoal_transport::{SharedDisk, SystemDisk};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Histories, and power cuts in each.
const HISTORIES: u64 = 100;
const CUTS: u64 = 25;
/// Saves, restarts and pauses in one history.
const STEPS_MAX: u64 = 30;
/// Texts are drawn from so few that the same one comes again.
const TEXTS: u64 = 3;
/// A text has about so many bytes at most.
const TEXT_BYTES_MAX: u64 = 3000;

/// What was saved, and what the disk's journal held when that was reported.
struct Saved {
    text: String,
    is_durable: bool,
    /// Records before the save began, and when it was reported.
    began: usize,
    reported: usize,
}

fn text(rng: &mut Rng) -> String {
    let number = rng.below(TEXTS);
    format!("text {number} {}\n", "x".repeat((number * number * TEXT_BYTES_MAX / TEXTS / TEXTS) as usize))
}

/// A process that saves, ends without notice, and begins anew.
fn live(rng: &mut Rng, disk: &SharedDisk, path: &Path, records: impl Fn() -> usize) -> Vec<Saved> {
    let mut saved: Vec<Saved> = Vec::new();
    let mut file = NodesFile::new(Arc::clone(disk), path.to_path_buf());
    for _ in 0..1 + rng.below(STEPS_MAX) {
        match rng.below(10) {
            0 => {
                drop(file);
                let loaded = load(disk, path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
                assert_eq!(loaded.as_ref(), saved.last().map(|saved| &saved.text), "nothing was cut off");
                keep(&mut saved, &records);
                file = NodesFile::new(Arc::clone(disk), path.to_path_buf());
            }
            1 => {
                file.settle().unwrap();
                keep(&mut saved, &records);
            }
            choice => {
                let (text, is_durable, began) = (text(rng), choice < 5, records());
                file.save(&text, is_durable).unwrap();
                saved.push(Saved { text, is_durable, began, reported: records() });
            }
        }
    }
    saved
}

/// nodes.conf has taken over the journal: the last text is there for good, too.
fn keep(saved: &mut [Saved], records: impl Fn() -> usize) {
    if let Some(last) = saved.last_mut().filter(|last| !last.is_durable) {
        (last.is_durable, last.reported) = (true, records());
    }
}

#[test]
fn what_was_reported_survives_power_cuts() {
    let mut from_journal = 0;
    for seed in 0..HISTORIES {
        let mut rng = Rng::new(seed);
        let place = tempfile::tempdir().unwrap();
        let (root, notes) = (place.path().join("node"), place.path().join("notes"));
        let before = place.path().join("before");
        fs::create_dir(&root).unwrap();
        fs::create_dir(&before).unwrap();
        let inner: SharedDisk = Arc::new(SystemDisk);
        let disk: SharedDisk = Arc::new(RecordingDisk::begin(&notes, inner, false).unwrap());
        let path = root.join("nodes.conf");
        let records = || journal::read(&fs::read(&notes).unwrap());
        let saved = live(&mut rng, &disk, &path, || records().len());
        let records = records();
        for number in 0..CUTS {
            let at = rng.below(records.len() as u64 + 1) as usize;
            let target = place.path().join(format!("left-{number}"));
            let cut = PowerCut::new(&root, &before, &records[..at]).unwrap();
            cut.leave(&mut rng, &root, &target).unwrap();
            from_journal += usize::from(target.join("nodes.conf-journal").exists());
            let system: SharedDisk = Arc::new(SystemDisk);
            let left = load(&system, &target.join("nodes.conf")).unwrap();
            let left = left.map(|bytes| String::from_utf8(bytes).unwrap());
            // The last that had been promised, and all that were tried since.
            let promised = saved.iter().rposition(|one| one.is_durable && one.reported <= at);
            let tried = saved.iter().filter(|one| one.began < at).count();
            let possible = &saved[promised.unwrap_or(0).min(tried)..tried];
            let is_possible = match &left {
                None => promised.is_none(),
                Some(left) => possible.iter().any(|one| one.text == *left),
            };
            assert!(is_possible, "seed {seed}, power cut {number} at record {at} of {records:?}: {left:?}");
        }
    }
    assert!(from_journal > 50, "{from_journal} power cuts met a journal");
}

/// A disk that fails: a save that is reported is there, one that fails says so, and it goes on when the disk does.
#[test]
fn faults_of_the_disk() {
    let both = "sync-error nodes.conf-journal\nrename-error nodes.conf";
    for (faults, is_saved) in [
        ("write-error nodes.conf-journal", true),
        ("full nodes.conf-journal 60", true),
        ("short nodes.conf-journal", true),
        ("sync-error nodes.conf-journal", true),
        ("rename-error nodes.conf", true),
        (both, false),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (root, control) = (place.path().join("node"), place.path().join("faults"));
        fs::create_dir(&root).unwrap();
        let (path, faulty) = (root.join("nodes.conf"), FaultyDisk::new(control.clone()));
        let disk: SharedDisk = Arc::new(faulty);
        let read = || load(&disk, &path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
        let mut file = NodesFile::new(Arc::clone(&disk), path.clone());
        file.save("first", true).unwrap();
        file.save("second", false).unwrap();
        fs::write(&control, faults).unwrap();
        assert_eq!(file.save("third", true).is_ok(), is_saved, "{faults}");
        // Whatever could not be done is tried again, and nothing older comes back.
        let _ = file.settle();
        fs::remove_file(&control).unwrap();
        if is_saved {
            file.settle().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"third", "{faults}");
        }
        file.save("fourth", true).unwrap();
        drop(file);
        assert_eq!(read().as_deref(), Some("fourth"), "{faults}");
        let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["nodes.conf"], "{faults}");
    }
}
