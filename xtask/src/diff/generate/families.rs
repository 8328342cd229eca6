//! Which commands are drawn, and how often.

use shoal_protocol::command::Command;

/// A group of commands: those of the table's group of this name, or a list.
pub struct Family {
    /// As `--group` takes it.
    pub name: &'static str,
    /// How often it is drawn, against the others.
    pub weight: u64,
    /// Commands with their weights; `container|subcommand` for subcommands.
    pub commands: Vec<(u64, &'static str)>,
}

/// Groups that are taken from the table as they are, with their weights.
const TABLE_GROUPS: &[(&str, u64)] = &[
    ("string", 12),
    ("list", 12),
    ("set", 10),
    ("hash", 10),
    ("sorted-set", 14),
    ("stream", 12),
    ("bitmap", 4),
    ("hyperloglog", 4),
    ("geo", 5),
];

/// Commands that came with this version are not drawn: the servers that are installed do not have them.
const NEWER: &str = "7.4.0";

/// Commands of these groups that are not drawn, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("pfselftest", "takes a second and tests the server by itself"),
    ("xinfo|help", "texts for people"),
    ("xgroup|help", "texts for people"),
];

/// Commands drawn more often than others of their family: they fill keys.
const FILLING: &[&str] = &[
    "set",
    "rpush",
    "lpush",
    "linsert",
    "sadd",
    "hset",
    "zadd",
    "xadd",
    "pfadd",
    "geoadd",
    "setbit",
    "xreadgroup",
    "xgroup|create",
    "zincrby",
    "hincrby",
];
/// Commands drawn less often: they wait, or empty what the others look at.
const SELDOM: &[&str] =
    &["blpop", "brpop", "blmove", "brpoplpush", "blmpop", "bzpopmin", "bzpopmax", "bzmpop"];

/// Commands that may wait. They are not spoilt: a changed word could make them wait forever.
pub const BLOCKING: &[&str] = &[
    "blpop",
    "brpop",
    "blmove",
    "brpoplpush",
    "blmpop",
    "bzpopmin",
    "bzpopmax",
    "bzmpop",
    "xread",
    "xreadgroup",
    "wait",
];

const GENERIC: &[(u64, &str)] = &[
    (4, "copy"),
    (4, "del"),
    (4, "dump"),
    (3, "exists"),
    (4, "expire"),
    (3, "expireat"),
    (3, "expiretime"),
    (3, "keys"),
    (3, "move"),
    (4, "persist"),
    (4, "pexpire"),
    (3, "pexpireat"),
    (3, "pexpiretime"),
    (3, "pttl"),
    (4, "rename"),
    (4, "renamenx"),
    (8, "restore"),
    (4, "scan"),
    (8, "sort"),
    (4, "sort_ro"),
    (3, "touch"),
    (3, "ttl"),
    (4, "type"),
    (4, "unlink"),
    (2, "randomkey"),
    (12, "object|encoding"),
    (1, "object|freq"),
    (1, "object|idletime"),
    (1, "object|refcount"),
    (1, "object|help"),
    (1, "wait"),
];
const TRANSACTIONS: &[(u64, &str)] =
    &[(4, "multi"), (5, "exec"), (1, "discard"), (3, "watch"), (1, "unwatch")];
const SERVER: &[(u64, &str)] = &[
    (4, "dbsize"),
    (1, "swapdb"),
    (1, "memory|usage"),
    (1, "flushdb"),
    (1, "flushall"),
    (1, "time"),
    (1, "role"),
    (3, "config|get"),
    (12, "config|set"),
    (1, "config|resetstat"),
    (3, "command|getkeys"),
    (1, "command|count"),
    (1, "info"),
    (1, "lastsave"),
    (1, "slowlog|reset"),
];
const CONNECTION: &[(u64, &str)] = &[
    (4, "select"),
    (2, "ping"),
    (2, "echo"),
    (4, "hello"),
    (1, "auth"),
    (1, "reset"),
    (1, "quit"),
    (1, "client|id"),
    (1, "client|getname"),
    (1, "client|setname"),
    (1, "client|info"),
    (1, "client|list"),
    (1, "client|no-evict"),
    (1, "client|unpause"),
    (1, "client|kill"),
];
const PUBSUB: &[(u64, &str)] = &[
    (4, "publish"),
    (2, "spublish"),
    (1, "pubsub|channels"),
    (1, "pubsub|numpat"),
    (1, "pubsub|numsub"),
    (1, "pubsub|shardchannels"),
    (1, "pubsub|shardnumsub"),
];

/// All families, or those that are named.
pub fn families(only: &[String]) -> Vec<Family> {
    let tables =
        TABLE_GROUPS.iter().map(|&(name, weight)| Family { name, weight, commands: of_the_table(name) });
    let list = |name, weight, commands: &[_]| Family { name, weight, commands: commands.to_vec() };
    let lists = [
        list("generic", 14, GENERIC),
        list("transactions", 5, TRANSACTIONS),
        list("server", 3, SERVER),
        list("connection", 2, CONNECTION),
        list("pubsub", 1, PUBSUB),
    ];
    tables
        .chain(lists)
        .filter(|family| only.is_empty() || only.iter().any(|name| name == family.name))
        .collect()
}

/// The commands of a group of the table, subcommands instead of containers.
fn of_the_table(group: &str) -> Vec<(u64, &'static str)> {
    let rows = Command::top_level().flat_map(|row| match row.subcommands() {
        [] => std::slice::from_ref(row),
        subcommands => subcommands,
    });
    let names = rows.filter(|row| row.group == group && row.since != NEWER).map(|row| row.name);
    let names = names.filter(|name| LEFT_OUT.iter().all(|(left_out, _)| left_out != name));
    names.map(|name| (weight(name), name)).collect()
}

fn weight(name: &str) -> u64 {
    match name {
        _ if FILLING.contains(&name) => 24,
        _ if SELDOM.contains(&name) => 1,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCKING, FILLING, LEFT_OUT, SELDOM, families};
    use shoal_protocol::command::Command;

    fn row(name: &str) -> Option<&'static Command> {
        let (container, own) = name.split_once('|').unwrap_or((name, ""));
        let row = Command::lookup(container.as_bytes())?;
        if own.is_empty() { Some(row) } else { row.subcommand(own.as_bytes()) }
    }

    #[test]
    fn every_name_is_in_the_table() {
        let families = families(&[]);
        let names = families.iter().flat_map(|family| family.commands.iter().map(|(_, name)| *name));
        let named = FILLING.iter().chain(SELDOM).chain(BLOCKING).copied();
        for name in names.chain(named).chain(LEFT_OUT.iter().map(|(name, _)| *name)) {
            assert!(row(name).is_some(), "{name}");
        }
    }

    #[test]
    fn groups_are_whole() {
        let count = |group: &str| {
            let named = families(&[group.to_owned()]);
            named.first().map(|family| family.commands.len())
        };
        assert_eq!((count("list"), count("sorted-set"), count("hash")), (Some(22), Some(35), Some(16)));
    }
}
