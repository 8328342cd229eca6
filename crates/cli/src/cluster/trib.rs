//! The manager under the name `redis-trib.rb`: the command line of Redis 3 and 4.
//!
//! What it does is what the commands of `--cluster` do; the words come in another order, and some lines are printed in
//! another way ([`ManagerStyle::Trib`]). `-a` and `--user`, which it lacked, are understood.

use crate::console::out;
use crate::exit::{Exit, Step, fail};
use crate::options::{self, ManagerStyle, Options};
use crate::text::lossy;

/// A command: its name, its arguments for the help, how many they are at least and at most, and its options. An option that
/// takes a value has `<arg>` after it.
struct Command {
    name: &'static str,
    arguments: &'static str,
    count: (usize, usize),
    options: &'static [&'static str],
}

const fn command(
    name: &'static str,
    arguments: &'static str,
    count: (usize, usize),
    options: &'static [&'static str],
) -> Command {
    Command { name, arguments, count, options }
}

const MANY: usize = usize::MAX;

const COMMANDS: &[Command] = &[
    command("create", "host1:port1 ... hostN:portN", (1, MANY), &["replicas <arg>", "yes"]),
    command("check", "host:port", (1, 1), &[]),
    command("info", "host:port", (1, 1), &[]),
    command("fix", "host:port", (1, 1), &["timeout <arg>"]),
    command(
        "reshard",
        "host:port",
        (1, 1),
        &["from <arg>", "to <arg>", "slots <arg>", "yes", "timeout <arg>", "pipeline <arg>"],
    ),
    command(
        "rebalance",
        "host:port",
        (1, 1),
        &[
            "weight <arg>",
            "auto-weights",
            "use-empty-masters",
            "timeout <arg>",
            "simulate",
            "pipeline <arg>",
            "threshold <arg>",
        ],
    ),
    command(
        "add-node",
        "new_host:new_port existing_host:existing_port",
        (2, 2),
        &["slave", "master-id <arg>"],
    ),
    command("del-node", "host:port node_id", (2, 2), &[]),
    command("set-timeout", "host:port milliseconds", (2, 2), &[]),
    command("call", "host:port command arg arg .. arg", (2, MANY), &[]),
    command("import", "host:port", (1, 1), &["from <arg>", "copy", "replace"]),
    command("help", "(show this help)", (0, MANY), &[]),
];

/// The column of arguments and options in the help.
const HELP_COLUMN: usize = 18;

/// Carries out a command line without the program's name. Returns the exit code.
pub(crate) fn run(arguments: &[Vec<u8>]) -> Step<i32> {
    let Some((name, rest)) = arguments.split_first() else {
        out!("{}", help_text());
        return Ok(1);
    };
    let name = lossy(name).to_lowercase();
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        out!("Unknown redis-trib subcommand '{name}'\n");
        return Ok(1);
    };
    if command.name == "help" {
        out!("{}", help_text());
        return Ok(0);
    }
    super::run(&parse(command, rest)?)
}

/// The same wish in the words of `redis-cli --cluster`.
fn parse(command: &Command, rest: &[Vec<u8>]) -> Step<Options> {
    let (mut login, mut chosen) = (vec![b"--no-auth-warning".to_vec()], Vec::new());
    let mut index = 0;
    while let Some(word) = rest.get(index).filter(|word| word.starts_with(b"-")) {
        index += 1;
        let name = lossy(word).into_owned();
        let is_login = name == "-a" || name == "--user";
        let takes_value = is_login || command.takes_value(&name)?;
        let value = if takes_value { rest.get(index) } else { None };
        if takes_value && value.is_none() {
            fail!("[ERR] The option {name} needs a value.");
        }
        index += usize::from(takes_value);
        if is_login {
            login.push(word.clone());
            login.extend(value.cloned());
        } else if name != "--auto-weights" {
            // That one never had an effect: weights are 1, or given.
            chosen.push(format!("--cluster-{}", &name[2..]).into_bytes());
            chosen.extend(value.cloned());
        }
    }
    let arguments = &rest[index..];
    if arguments.len() < command.count.0 || arguments.len() > command.count.1 {
        fail!("[ERR] Wrong number of arguments for specified sub command");
    }
    let mut words = login;
    words.extend(chosen);
    words.extend([b"--cluster".to_vec(), command.name.as_bytes().to_vec()]);
    let (mut options, _) = options::parse(&words)?;
    options.cluster.arguments = arguments.to_vec();
    options.cluster.style = ManagerStyle::Trib;
    Ok(options)
}

impl Command {
    /// Whether an option takes a value; complains about one that the command does not have.
    fn takes_value(&self, name: &str) -> Step<bool> {
        let known = self.options.iter().find_map(|option| {
            let (known, value) = option.split_once(' ').map_or((*option, false), |(known, _)| (known, true));
            (name.strip_prefix("--") == Some(known)).then_some(value)
        });
        known.ok_or_else(|| {
            out!("Unknown option '{name}' for command '{}'\n", self.name);
            Exit(1)
        })
    }
}

fn help_text() -> String {
    let mut text = "Usage: redis-trib <command> <options> <arguments ...>\n\n".to_owned();
    for command in COMMANDS {
        text.push_str(&format!("{:HELP_COLUMN$}{}\n", format!("  {}", command.name), command.arguments));
        for option in command.options {
            text.push_str(&format!("{:HELP_COLUMN$}--{option}\n", ""));
        }
    }
    text.push_str(
        "\nThe host and port of any working node name the cluster. -a <password> and --user <name> log in.\n\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Step<Options> {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let (name, rest) = words.split_first().unwrap();
        let command = COMMANDS.iter().find(|command| command.name.as_bytes() == name).unwrap();
        parse(command, rest)
    }

    #[test]
    fn lines_become_those_of_the_manager() {
        let options = parsed("create --replicas 1 -a secret a:1 b:2").unwrap();
        assert_eq!(options.cluster.command.as_deref(), Some(b"create".as_slice()));
        assert_eq!(options.cluster.arguments, [b"a:1".to_vec(), b"b:2".to_vec()]);
        assert_eq!(options.cluster.replicas, 1);
        assert_eq!(options.password.as_deref(), Some(b"secret".as_slice()));
        let options =
            parsed("reshard --from all --to x --slots 10 --yes --pipeline 7 --timeout 9 a:1").unwrap();
        let cluster = &options.cluster;
        assert_eq!((cluster.from.as_deref(), cluster.to.as_deref()), (Some("all"), Some("x")));
        assert_eq!((cluster.slots, cluster.yes, cluster.pipeline, cluster.timeout_ms), (10, true, 7, 9));
        let options =
            parsed("rebalance --weight ab=2 --auto-weights --use-empty-masters --simulate a:1").unwrap();
        assert_eq!(options.cluster.weights, ["ab=2"]);
        assert!(options.cluster.use_empty_primaries && options.cluster.simulate);
        let options = parsed("call a:1 set -x y").unwrap();
        assert_eq!(options.cluster.arguments.len(), 4);
        let options = parsed("import --from h:1 --copy --replace a:1").unwrap();
        assert!(options.cluster.copy && options.cluster.replace);
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "check",
            "check a:1 b:2",
            "check --yes a:1",
            "fix --timeout",
            "create --slots 3 a:1",
            "add-node a:1",
        ] {
            assert_eq!(parsed(line).err(), Some(Exit(1)), "{line}");
        }
    }

    #[test]
    fn the_help_is_in_columns() {
        let help = help_text();
        assert!(help.contains(
            "\n  create          host1:port1 ... hostN:portN\n                  --replicas <arg>\n"
        ));
        assert!(help.contains("\n  add-node        new_host:new_port existing_host:existing_port\n"));
    }
}
