//! `conformance/skiplist.txt`: tests that are not run, each with its reason.
//!
//! ```text
//!   unit/other :: a test's name :: needs Lua
//!   unit/acl :: * :: the whole file is about ACL
//! ```

use crate::{Outcome, workspace};

const PATH: &str = "conformance/skiplist.txt";

/// The list.
#[derive(Default)]
pub struct Skiplist {
    skips: Vec<Skip>,
}

struct Skip {
    file: String,
    /// A test's name, or `*`.
    test: String,
}

impl Skiplist {
    /// Reads the file; a line without a reason is an error.
    pub fn load() -> Outcome<Self> {
        Self::parse(&workspace::text(PATH)?.unwrap_or_default())
    }

    fn parse(text: &str) -> Outcome<Self> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let skips = lines.map(|(index, line)| {
            let parts: Vec<&str> = line.split(" :: ").collect();
            match parts.as_slice() {
                [file, test, reason] if !reason.trim().is_empty() => {
                    Ok(Skip { file: (*file).to_owned(), test: (*test).to_owned() })
                }
                _ => Err(format!("{PATH}:{}: a line is FILE :: TEST :: REASON", index + 1)),
            }
        });
        Ok(Self { skips: skips.collect::<Outcome<_>>()? })
    }

    /// Whether a test is excepted.
    pub fn holds(&self, file: &str, test: &str) -> bool {
        self.of(file).any(|skip| skip.test == "*" || skip.test == test)
    }

    /// What the suite's option for skipping reads: names, or a regular expression after a slash.
    pub fn patterns(&self, file: &str) -> String {
        self.of(file)
            .map(|skip| if skip.test == "*" { "/.*\n".to_owned() } else { format!("{}\n", skip.test) })
            .collect()
    }

    fn of(&self, file: &str) -> impl Iterator<Item = &Skip> {
        self.skips.iter().filter(move |skip| skip.file == file)
    }
}

#[cfg(test)]
mod tests {
    use super::Skiplist;

    #[test]
    fn names_files_and_reasons() {
        let list = Skiplist::parse("# why\n\nunit/a :: one: two :: needs Lua\nunit/b :: * :: ACL\n").unwrap();
        assert!(list.holds("unit/a", "one: two") && !list.holds("unit/a", "one"));
        assert!(list.holds("unit/b", "anything") && !list.holds("unit/c", "anything"));
        assert_eq!(list.patterns("unit/a") + &list.patterns("unit/b"), "one: two\n/.*\n");
        assert!(Skiplist::parse("unit/a :: one\n").is_err());
    }

    #[test]
    fn the_list_itself_is_well_formed() {
        assert!(Skiplist::load().is_ok());
    }
}
