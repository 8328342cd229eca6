//! The page of the documentation that lists all directives, made from the table.

use std::fmt::Write;

use crate::directives::{Config, DIRECTIVES, Directive};
use crate::kind::Flags;
use crate::load::DROPPED;

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the table of directives: `SHOAL_UPDATE_DOCS=1 cargo test -p shoal-config documentation` writes it anew. -->

Shoal reads the redis.conf of Redis 4.0 to 7.2. A line is a directive and its arguments; `#` at its front makes it a
remark; arguments with spaces stand in quotes; `1k` is 1000 bytes and `1kb` is 1024, and so for `m` and `g`. Later lines
win, and lines of the command line (`--port 7000`) come last. `CONFIG SET` changes a running server, `CONFIG REWRITE`
writes the changes into the file.

";

impl Config {
    /// The page in Markdown.
    pub fn documentation() -> String {
        let mut page = String::from(INTRODUCTION);
        let (without_effect, with_effect): (Vec<_>, Vec<_>) =
            DIRECTIVES.iter().partition(|row| row.flags.contains(Flags::WITHOUT_EFFECT));
        page.push_str("## Directives\n\n");
        table(&mut page, &with_effect);
        page.push_str(
            "\n## Directives without effect\n\nThey are accepted, checked and kept for `CONFIG GET` and `CONFIG REWRITE`, \
             so that files that have them work; nothing depends on them in this version.\n\n",
        );
        table(&mut page, &without_effect);
        page.push_str(
            "\n## In files only\n\n\
             - `include PATH`: reads other files here; `*`, `?` and `[` in the name may match several, or none.\n\
             - `rename-command NAME NEW`: renames a command; the new name `\"\"` removes it.\n\
             - `user NAME RULES…`: a user of the access control list.\n\
             - `loadmodule`: refused, for Shoal has no modules.\n\n\
             Directives of old versions that are accepted and dropped: ",
        );
        let dropped: Vec<_> = DROPPED.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "{}.", dropped.join(", "));
        page
    }
}

fn table(page: &mut String, rows: &[&Directive]) {
    page.push_str("| Directive | What it does | Type | Default | |\n|---|---|---|---|---|\n");
    for row in rows {
        let alias = row.alias.map_or_else(String::new, |alias| format!(" (also `{alias}`)"));
        let default = String::from_utf8_lossy(&row.default_value()).into_owned();
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let mut remarks = Vec::new();
        for (flag, remark) in [
            (Flags::IMMUTABLE, "at the start only"),
            (Flags::PROTECTED, "protected"),
            (Flags::SENSITIVE, "secret"),
            (Flags::HIDDEN, "hidden"),
        ] {
            if row.flags.contains(flag) {
                remarks.push(remark);
            }
        }
        let _ = writeln!(
            page,
            "| `{}`{alias} | {} | {} | {default} | {} |",
            row.name,
            row.description.replace('|', "\\|"),
            row.kind.describe(),
            remarks.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("SHOAL_UPDATE_DOCS").is_some() {
            std::fs::write(path, Config::documentation()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == Config::documentation(),
            "docs/configuration.md is not what the table says: run with SHOAL_UPDATE_DOCS=1"
        );
    }
}
