//! What a repair or a move is about to replace is written to a file first: one JSON object per line with node, slot, key,
//! expiry and the payload of DUMP, keys and payloads in hexadecimal digits.

use super::client::Cluster;
use super::log::{Level, log};
use crate::console::error_text;
use crate::exit::{Step, fail};
use crate::options::Options;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// Appends the values that a member holds of these keys of a slot to the file of this run, and syncs it. Keys that are not
/// there are left out.
pub(super) fn save(cluster: &mut Cluster, at: usize, slot: u16, keys: &[Vec<u8>], options: &Options) -> Step {
    let (mut file, path) = open(options)?;
    let mut text = String::new();
    let mut count = 0;
    for key in keys {
        let member = &mut cluster.members[at];
        let dump = member.call_or_complain(&[b"DUMP".as_slice(), key])?;
        let Some(payload) = dump.as_bytes() else { continue };
        let ttl_ms = member.call_or_complain(&[b"PTTL".as_slice(), key])?.as_integer().unwrap_or(-1);
        let (node, key, payload) = (&member.node.id, hexadecimal(key), hexadecimal(payload));
        let line = json!({"node": node, "slot": slot, "key": key, "ttl_ms": ttl_ms, "dump": payload});
        text += &format!("{line}\n");
        count += 1;
    }
    if count == 0 {
        return Ok(());
    }
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        fail!("[ERR] Nothing is replaced: cannot write {}: {}", path.display(), error_text(&error));
    }
    let text = format!("*** {count} keys are saved to {} before they are replaced.\n", path.display());
    log(Level::Warning, &text);
    Ok(())
}

fn open(options: &Options) -> Step<(File, PathBuf)> {
    let directory = options.cluster.save_directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let path = directory.join(format!("replaced-keys-{}.jsonl", std::process::id()));
    match OpenOptions::new().create(true).append(true).open(&path) {
        Ok(file) => Ok((file, path)),
        Err(error) => {
            fail!("[ERR] Nothing is replaced: cannot write {}: {}", path.display(), error_text(&error))
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits() {
        assert_eq!(super::hexadecimal(b"\x00a\xff"), "0061ff");
    }
}
