//! What may not stand in files: leftovers, paths of some machine, unsafe code outside its list; and what must: a
//! module's opening comment.

use super::exceptions::Exceptions;
use super::rust_source::has_word;
use super::{File, Finding};

/// Macros that say that something is unfinished.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];
/// Words of comments that say the same; put together here so that this file does not hold them.
const NOTES: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/."),
    concat!("/wo", "rk/"),
    concat!("/tmp", "/wt"),
];
/// Stock configuration files and tables of facts speak for others.
const FOREIGN: &[&str] = &["testdata/", "commands.json", "Cargo.lock", "fuzz/corpus/"];

/// All findings about words.
pub fn check(files: &[File], exceptions: &mut Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if !FOREIGN.iter().any(|part| file.path.contains(part)) {
            check_text(file, &mut findings);
        }
        check_rust(file, exceptions, &mut findings);
    }
    findings
}

fn check_text(file: &File, findings: &mut Vec<Finding>) {
    for (index, line) in file.text.lines().enumerate() {
        let place = || format!("{}:{}", file.path, index + 1);
        for word in NOTES.iter().filter(|word| has_word(line, word)) {
            findings.push(Finding::new(place(), format!("{word}: do it, or open an issue")));
        }
        for path in MACHINE_PATHS.iter().filter(|path| line.contains(*path)) {
            findings.push(Finding::new(place(), format!("a path of one machine: {path}")));
        }
    }
}

fn check_rust(file: &File, exceptions: &mut Exceptions, findings: &mut Vec<Finding>) {
    let Some(rust) = &file.rust else { return };
    if !file.text.trim_start().starts_with("//!") {
        findings.push(Finding::new(&file.path, "a module begins with its `//!` comment"));
    }
    for word in UNFINISHED {
        for line in rust.lines_with_word(word) {
            findings.push(Finding::new(format!("{}:{line}", file.path), format!("{word} is left")));
        }
    }
    if let Some(line) = rust.lines_with_word("unsafe").next()
        && !exceptions.allows_unsafe(&file.path)
    {
        let text = "unsafe code outside the files listed in xtask/tidy-exceptions.toml";
        findings.push(Finding::new(format!("{}:{line}", file.path), text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::rust_source::RustSource;
    use super::{Exceptions, File, check};

    #[test]
    fn what_is_found() {
        let cases = [
            ("//! A module.\nfn f() {}\n", 0),
            ("fn f() {}\n", 1),
            ("//! A module.\nfn f() { todo!() }\n", 1),
            ("//! A module.\nfn f() { unsafe { g() } }\n", 1),
            ("//! A module.\n// unsafe here is only a word\n", 0),
            (concat!("//! A module.\n// FIX", "ME: later\n"), 1),
            (concat!("//! A module.\nconst P: &str = \"/ho", "me/someone\";\n"), 1),
        ];
        for (text, count) in cases {
            let file =
                File { path: "a.rs".to_owned(), text: text.to_owned(), rust: Some(RustSource::new(text)) };
            let mut none = Exceptions::load().unwrap();
            assert_eq!(check(&[file], &mut none).len(), count, "{text}");
        }
    }
}
