//! The names under which commands are called.

use shoal_config::RenamedCommand;
use shoal_protocol::{Command, CommandId};
use std::collections::BTreeMap;

/// The names after `rename-command`.
#[derive(Debug, Default)]
pub struct Names {
    /// Other names by their lower-case form; `None` for a name that is gone.
    changed: BTreeMap<Vec<u8>, Option<CommandId>>,
}

impl Names {
    /// Applies the lines in their order.
    ///
    /// # Errors
    /// The text to show for a line that renames no command, or to a name that is taken.
    pub fn new(renamed: &[RenamedCommand]) -> Result<Self, String> {
        let mut names = Self::default();
        for line in renamed {
            let command = names.lookup(&line.name).ok_or("No such command in rename-command")?;
            names.changed.insert(line.name.to_ascii_lowercase(), None);
            if !line.new_name.is_empty() {
                if names.lookup(&line.new_name).is_some() {
                    return Err("Target command name already exists".to_owned());
                }
                names.changed.insert(line.new_name.to_ascii_lowercase(), Some(command.id));
            }
        }
        Ok(names)
    }

    /// The command of this name.
    #[inline]
    pub fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        if !self.changed.is_empty()
            && let Some(changed) = self.changed.get(&name.to_ascii_lowercase())
        {
            return changed.map(CommandId::row);
        }
        Command::lookup(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_and_go() {
        let line = |name: &str, new_name: &str| RenamedCommand {
            name: name.as_bytes().to_vec(),
            new_name: new_name.as_bytes().to_vec(),
        };
        let names = Names::new(&[line("CONFIG", "hidden"), line("FLUSHALL", "")]).unwrap();
        assert!(names.lookup(b"config").is_none() && names.lookup(b"FlushAll").is_none());
        assert_eq!(names.lookup(b"HIDDEN").map(|command| command.id), Some(CommandId::Config));
        assert_eq!(names.lookup(b"get").map(|command| command.id), Some(CommandId::Get));
        assert!(Names::new(&[line("nosuch", "x")]).is_err());
        assert!(Names::new(&[line("get", "set")]).is_err());
    }
}
