//! Obtains the source package of redis as Debian has it, and unpacks it.
//!
//! `apt-get source` needs `deb-src` lines, which a system rarely has. Lists of our own, derived from the system's, are
//! fetched into a directory of our own; nothing of the system's changes. Apt checks the lists by their signatures and
//! the files by the lists; the sums are kept, and files found in the cache are checked against them again.

use crate::process::{output, run};
use crate::{Outcome, workspace};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The source package.
const PACKAGE: &str = "redis";
/// The sums that apt names for the files, in the format of `sha256sum`.
const SUMS: &str = "SHA256SUMS";
/// Ends of the addresses at which archives of Debian lie; other archives of a system are none of our concern.
const ARCHIVES: &[&str] = &["/debian", "/debian-security"];

/// The root of the unpacked source; downloads it when it is not in the cache.
pub fn obtain() -> Outcome<PathBuf> {
    let cache = workspace::target_directory()?.join("conformance");
    let tree = cache.join("source");
    if tree.join("tests/test_helper.tcl").exists() {
        return Ok(tree);
    }
    let downloads = cache.join("download");
    if !is_valid(&downloads) {
        download(&cache, &downloads)?;
    }
    unpack(&downloads, &tree)?;
    Ok(tree)
}

/// Whether all files are there, with the sums apt named.
fn is_valid(downloads: &Path) -> bool {
    let mut command = Command::new("sha256sum");
    command.current_dir(downloads).args(["--check", "--status", "--strict", SUMS]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    downloads.join(SUMS).exists() && command.status().is_ok_and(|status| status.success())
}

fn download(cache: &Path, downloads: &Path) -> Outcome<()> {
    let lists = cache.join("apt");
    for directory in [downloads, &lists.join("lists/partial"), &lists.join("cache/archives/partial")] {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let sources = source_lines(&system_sources());
    if sources.is_empty() {
        return Err("the system names no archive of Debian to take the source package from".to_owned());
    }
    let list = lists.join("sources.list");
    std::fs::write(&list, sources.join("\n") + "\n").map_err(|error| error.to_string())?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .current_dir(downloads)
            .args(["-q", "-o"])
            .arg(format!("Dir::Etc::sourcelist={}", list.display()));
        command.args(["-o", "Dir::Etc::sourceparts=-", "-o"]);
        command.arg(format!("Dir::State::lists={}", lists.join("lists").display()));
        command.arg("-o").arg(format!("Dir::Cache={}", lists.join("cache").display()));
        // The sandbox user of apt cannot write into a directory of ours.
        command.args(["-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]);
        command.args(words);
        command
    };
    run(apt(&["update"]).stdout(Stdio::null()))?;
    let addresses = output(&mut apt(&["source", "--print-uris", "--download-only", PACKAGE]))?;
    let sums = sums(&addresses);
    if sums.is_empty() {
        return Err(format!("apt-get names no files with sums for {PACKAGE}: {addresses}"));
    }
    std::fs::write(downloads.join(SUMS), sums).map_err(|error| error.to_string())?;
    run(apt(&["source", "--download-only", PACKAGE]).stdout(Stdio::null()))?;
    match is_valid(downloads) {
        true => Ok(()),
        false => Err(format!("the files of {PACKAGE} do not have the sums that apt names")),
    }
}

/// Unpacks with Debian's patches; what was there is replaced.
fn unpack(downloads: &Path, tree: &Path) -> Outcome<()> {
    let entries = std::fs::read_dir(downloads).map_err(|error| error.to_string())?;
    let mut descriptions = entries.flatten().map(|entry| entry.path());
    let description = descriptions.find(|path| path.extension().is_some_and(|end| end == "dsc"));
    let description = description.ok_or("the source package has no description")?;
    let _ = std::fs::remove_dir_all(tree);
    let mut command = Command::new("dpkg-source");
    command.args(["--no-check", "--extract"]).arg(description).arg(tree);
    run(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// The text of all source lists of the system.
fn system_sources() -> Vec<String> {
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    paths.push(PathBuf::from("/etc/apt/sources.list"));
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// `deb-src` lines for the archives of Debian among the system's sources, of either format.
fn source_lines(texts: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for text in texts {
        for line in text.lines().filter_map(|line| line.strip_prefix("deb ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.iter().any(|word| is_archive(word)) {
                lines.push(format!("deb-src {}", words.join(" ")));
            }
        }
        for stanza in text.split("\n\n") {
            let field = |name: &str| {
                let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.unwrap_or_default().split_whitespace().collect::<Vec<_>>()
            };
            let key =
                field("Signed-By").first().map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
            for archive in field("URIs").into_iter().filter(|address| is_archive(address)) {
                for suite in field("Suites") {
                    lines.push(format!("deb-src {key}{archive} {suite} {}", field("Components").join(" ")));
                }
            }
        }
    }
    lines.sort();
    lines.dedup();
    lines
}

fn is_archive(address: &str) -> bool {
    ARCHIVES.iter().any(|end| address.trim_end_matches('/').ends_with(end))
}

/// What `--print-uris` prints, `'address' name size SHA256:sum`, as lines for `sha256sum`.
fn sums(addresses: &str) -> String {
    let lines = addresses.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, name, _, sum] = words.as_slice() else { return None };
        let sum = sum.strip_prefix("SHA256:")?;
        address.starts_with('\'').then(|| format!("{sum}  {name}\n"))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{source_lines, sums};

    #[test]
    fn both_formats_of_source_lists() {
        let old = "# a comment\ndeb http://mirror.example/debian stable main\ndeb http://other.example/tools x main\n";
        let new = "Types: deb\nURIs: http://mirror.example/debian-security/\nSuites: stable-security\n\
                   Components: main\nSigned-By: /a/key.gpg\n\nTypes: deb\nURIs: http://other.example/x\nSuites: y\n";
        let expected = [
            "deb-src [signed-by=/a/key.gpg] http://mirror.example/debian-security/ stable-security main",
            "deb-src http://mirror.example/debian stable main",
        ];
        assert_eq!(source_lines(&[old.to_owned(), new.to_owned()]), expected);
    }

    #[test]
    fn sums_as_apt_names_them() {
        let text = "Reading package lists...\n'http://mirror.example/r.dsc' r.dsc 2273 SHA256:abc\n";
        assert_eq!(sums(text), "abc  r.dsc\n");
    }
}
