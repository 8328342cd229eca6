//! Links between the documents lead somewhere.

use super::{File, Finding};
use crate::workspace;
use std::path::{Component, Path, PathBuf};

/// Links of Markdown files to files or headings that are not there.
pub fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, link) in links(&file.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path) };
            let place = format!("{}:{line}", file.path);
            if !workspace::root().join(&target).exists() {
                findings.push(Finding::new(place, format!("link to {link}: there is no {target}")));
                continue;
            }
            let other = files.iter().find(|other| other.path == target);
            if !heading.is_empty() && other.is_some_and(|other| !anchors(&other.text).any(|a| a == heading)) {
                findings.push(Finding::new(place, format!("link to {link}: {target} has no such heading")));
            }
        }
    }
    findings
}

/// Inline links outside of code, with their lines.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().flat_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let parts = if in_code { "" } else { line };
        let found = parts.match_indices("](").filter_map(move |(at, _)| {
            let rest = parts.get(at + 2..)?;
            Some((index + 1, rest.get(..rest.find(')')?)?))
        });
        found.collect::<Vec<_>>()
    })
}

/// A path relative to a file, from the root.
fn resolve(from: &str, path: &str) -> String {
    let mut full = PathBuf::new();
    let joined = Path::new(from).parent().unwrap_or(Path::new("")).join(path);
    for part in joined.components() {
        match part {
            Component::ParentDir => {
                full.pop();
            }
            Component::CurDir => {}
            other => full.push(other),
        }
    }
    full.to_string_lossy().into_owned()
}

/// What headings are called in links: small letters, blanks as hyphens, no other signs.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{anchors, links, resolve};

    #[test]
    fn links_outside_of_code() {
        let text = "see [a](b.md) and [c](#d)\n```\n[no](no)\n```\n[e](../f.md#g)\n";
        assert_eq!(links(text).collect::<Vec<_>>(), [(1, "b.md"), (1, "#d"), (5, "../f.md#g")]);
    }

    #[test]
    fn paths_and_headings() {
        assert_eq!(resolve("docs/a.md", "../b.md"), "b.md");
        assert_eq!(resolve("README.md", "docs/a.md"), "docs/a.md");
        assert_eq!(anchors("## How to `run` it, fast\n").next().as_deref(), Some("how-to-run-it-fast"));
    }
}
