//! Finds the project's files and crates.

use crate::{Outcome, process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the source tree.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// `cargo` as it was called, in the root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the program `shoal`, as it is shipped or as the tests use it, and gives its path.
pub fn program(as_shipped: bool) -> Outcome<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--workspace", "--bin", "shoal", "--message-format", "json-render-diagnostics"]);
    cargo.args(as_shipped.then_some("--release"));
    let text = process::output(&mut cargo)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths = messages.filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from));
    let path = paths.find(|path| path.ends_with("shoal"));
    path.ok_or_else(|| "cargo did not say where the program is".to_owned())
}

/// Where cargo puts what it builds, and we what we download.
pub fn target_directory() -> Outcome<PathBuf> {
    let text = process::output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let path = value.get("target_directory").and_then(Value::as_str).map(PathBuf::from);
    path.ok_or_else(|| "cargo does not name its target directory".to_owned())
}

/// What `cargo metadata` says, with all dependencies.
pub fn metadata() -> Outcome<Value> {
    let text = process::output(cargo().args(["metadata", "--format-version", "1"]))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

/// Every file of the project that is, or would be, under version control, relative to the root and sorted.
pub fn files() -> Outcome<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let text = process::output(&mut git)?;
    let root = root();
    let mut files: Vec<String> = text
        .split('\0')
        .filter(|path| !path.is_empty() && root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// The text of a file of the project; nothing if it is not text.
pub fn text(path: &str) -> Outcome<Option<String>> {
    let bytes = std::fs::read(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
    Ok(String::from_utf8(bytes).ok())
}
