//! COMMAND: the table of commands, for clients.

use crate::call::{NodeBody, NodeCall};
use shoal_protocol::command::{Argument, ArgumentKind, BeginSearch, FindKeys, Flags, KeyFlags, KeySpec};
use shoal_protocol::glob::{self, Case};
use shoal_protocol::keys::{self, KeyPosition};
use shoal_protocol::{Arguments, Command, CommandId, ErrorReply, OwnedRequest, Reply, errors};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::Command, all),
    (CommandId::CommandCount, count),
    (CommandId::CommandInfo, info),
    (CommandId::CommandDocs, docs),
    (CommandId::CommandList, list),
    (CommandId::CommandGetkeys, getkeys),
    (CommandId::CommandGetkeysandflags, getkeysandflags),
    (CommandId::CommandHelp, help),
];

fn all(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let mut reply = call.reply();
    reply.array(Command::top_level().count());
    Command::top_level().for_each(|command| write_info(&mut reply, command));
    Ok(())
}

fn count(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply().integer(Command::top_level().count() as i64);
    Ok(())
}

/// The command of a full name: `get`, or `config|get`.
fn by_full_name(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        Some(at) => Command::lookup(&name[..at])?.subcommand(&name[at + 1..]),
        None => Command::lookup(name),
    }
}

fn info(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    if arguments.is_empty() {
        return all(call, arguments);
    }
    let mut reply = call.reply();
    reply.array(arguments.remaining());
    for name in arguments.rest() {
        match by_full_name(name) {
            Some(command) => write_info(&mut reply, command),
            None => reply.null(),
        }
    }
    Ok(())
}

fn write_names(reply: &mut Reply<'_>, names: impl Iterator<Item = &'static str>) {
    let names: Vec<&str> = names.collect();
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

fn write_info(reply: &mut Reply<'_>, command: &Command) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    write_names(reply, command.flags.names());
    reply.integer(i64::from(command.first_key));
    reply.integer(i64::from(command.last_key));
    reply.integer(i64::from(command.key_step));
    write_names(reply, command.categories.names());
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.key_specs.len());
    command.key_specs.iter().for_each(|spec| write_key_spec(reply, spec));
    let subcommands = command.subcommands();
    if subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(subcommands.len());
        subcommands.iter().for_each(|subcommand| write_info(reply, subcommand));
    }
}

fn write_key_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    let numbers = |reply: &mut Reply<'_>, kind: &str, pairs: &[(&str, i32)]| {
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(kind.as_bytes());
        reply.bulk(b"spec");
        reply.map(pairs.len());
        for (name, value) in pairs {
            reply.bulk(name.as_bytes());
            reply.integer(i64::from(*value));
        }
    };
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_names(reply, spec.flags.names());
    reply.bulk(b"begin_search");
    match spec.begin {
        BeginSearch::Index(index) => numbers(reply, "index", &[("index", index)]),
        BeginSearch::Unknown => numbers(reply, "unknown", &[]),
        BeginSearch::Keyword { keyword, start_from } => {
            reply.map(2);
            reply.bulk(b"type");
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(keyword.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(i64::from(start_from));
        }
    }
    reply.bulk(b"find_keys");
    match spec.find {
        FindKeys::Range { last_key, key_step, limit } => {
            numbers(reply, "range", &[("lastkey", last_key), ("keystep", key_step), ("limit", limit)]);
        }
        FindKeys::Count { count_index, first_key, key_step } => {
            let pairs = [("keynumidx", count_index), ("firstkey", first_key), ("keystep", key_step)];
            numbers(reply, "keynum", &pairs);
        }
        FindKeys::Unknown => numbers(reply, "unknown", &[]),
    }
}

fn docs(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let wanted: Vec<&'static Command> = if arguments.is_empty() {
        Command::top_level().collect()
    } else {
        arguments.rest().filter_map(by_full_name).collect()
    };
    let mut reply = call.reply();
    reply.map(wanted.len());
    for command in wanted {
        reply.bulk(command.name.as_bytes());
        write_docs(&mut reply, command);
    }
    Ok(())
}

fn write_docs(reply: &mut Reply<'_>, command: &Command) {
    let texts = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
        ("complexity", command.complexity),
    ];
    let later = [("deprecated_since", command.deprecated_since), ("replaced_by", command.replaced_by)];
    let given = |texts: &[(&str, &str)]| texts.iter().filter(|(_, text)| !text.is_empty()).count();
    let subcommands = command.subcommands();
    let count = given(&texts)
        + given(&later)
        + usize::from(!command.doc_flags.is_empty())
        + usize::from(!command.arguments.is_empty())
        + usize::from(!subcommands.is_empty());
    let write_texts = |reply: &mut Reply<'_>, texts: &[(&str, &str)]| {
        for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    };
    reply.map(count);
    write_texts(reply, &texts);
    if !command.doc_flags.is_empty() {
        reply.bulk(b"doc_flags");
        write_names(reply, command.doc_flags.iter().copied());
    }
    write_texts(reply, &later);
    if !command.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(reply, command.arguments);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for subcommand in subcommands {
            reply.bulk(subcommand.name.as_bytes());
            write_docs(reply, subcommand);
        }
    }
}

fn write_arguments(reply: &mut Reply<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(reply, argument);
    }
}

fn write_argument(reply: &mut Reply<'_>, argument: &Argument) {
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    let flags: Vec<&'static str> =
        flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
    let has_display_text = !argument.display_text.is_empty()
        && !matches!(argument.kind, ArgumentKind::Oneof | ArgumentKind::Block);
    let versions = [("since", argument.since), ("deprecated_since", argument.deprecated_since)];
    let count = 2
        + usize::from(has_display_text)
        + usize::from(argument.key_spec_index.is_some())
        + usize::from(argument.token.is_some())
        + versions.iter().filter(|(_, version)| !version.is_empty()).count()
        + usize::from(!flags.is_empty())
        + usize::from(!argument.arguments.is_empty());
    reply.map(count);
    let text = |reply: &mut Reply<'_>, name: &str, text: &str| {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    };
    text(reply, "name", argument.name);
    text(reply, "type", argument.kind.name());
    if has_display_text {
        text(reply, "display_text", argument.display_text);
    }
    if let Some(index) = argument.key_spec_index {
        reply.bulk(b"key_spec_index");
        reply.integer(i64::from(index));
    }
    if let Some(token) = argument.token {
        text(reply, "token", token);
    }
    for (name, version) in versions.iter().filter(|(_, version)| !version.is_empty()) {
        text(reply, name, version);
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        write_names(reply, flags.into_iter());
    }
    if !argument.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(reply, argument.arguments);
    }
}

/// Which commands COMMAND LIST names.
enum Filter<'a> {
    All,
    /// Those of a module: there are no modules.
    Module,
    Category(&'a [u8]),
    Pattern(&'a [u8]),
}

fn list(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let mut filter = Filter::All;
    if !arguments.is_empty() {
        if arguments.remaining() != 3 || !arguments.take_keyword("filterby") {
            return Err(errors::SYNTAX);
        }
        let (kind, word) = (arguments.take()?, arguments.take()?);
        filter = match kind.to_ascii_lowercase().as_slice() {
            b"module" => Filter::Module,
            b"aclcat" => Filter::Category(word),
            b"pattern" => Filter::Pattern(word),
            _ => return Err(errors::SYNTAX),
        };
    }
    let is_wanted = |command: &&Command| match filter {
        Filter::All => true,
        Filter::Module => false,
        Filter::Category(word) => {
            command.categories.names().any(|name| name.as_bytes()[1..].eq_ignore_ascii_case(word))
        }
        Filter::Pattern(pattern) => glob::matches(pattern, command.name.as_bytes(), Case::Insensitive),
    };
    let names: Vec<&str> =
        shoal_protocol::command::COMMANDS.iter().filter(is_wanted).map(|command| command.name).collect();
    let mut reply = call.reply();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// The keys of the command that the arguments are.
fn find_keys(arguments: &Arguments<'_>) -> Result<(OwnedRequest, Vec<KeyPosition>), ErrorReply> {
    let owned = OwnedRequest::new(arguments.rest());
    let request = owned.as_request();
    let invalid = ErrorReply::new("ERR Invalid command specified");
    let container = Command::lookup(request.argument(0)).ok_or(invalid)?;
    let command = container.subcommand(request.argument(1)).unwrap_or(container);
    if command.key_specs.iter().all(|spec| spec.flags.contains(KeyFlags::NOT_KEY)) {
        return Err(ErrorReply::new("ERR The command has no key arguments"));
    }
    if !command.arity_fits(request.len()) {
        return Err(ErrorReply::new("ERR Invalid number of arguments specified for command"));
    }
    let mut positions = Vec::new();
    if !keys::find(command, &request, &mut positions) || positions.is_empty() {
        positions.clear();
        if !command.flags.contains(Flags::NO_MANDATORY_KEYS) {
            return Err(ErrorReply::new("ERR Invalid arguments specified for command"));
        }
    }
    Ok((owned, positions))
}

fn getkeys(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let (owned, positions) = find_keys(&arguments)?;
    let mut reply = call.reply();
    reply.array(positions.len());
    positions.iter().for_each(|position| reply.bulk(owned.as_request().argument(position.index)));
    Ok(())
}

fn getkeysandflags(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let (owned, positions) = find_keys(&arguments)?;
    let mut reply = call.reply();
    reply.array(positions.len());
    for position in positions {
        reply.array(2);
        reply.bulk(owned.as_request().argument(position.index));
        write_names(&mut reply, position.flags.names());
    }
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "(no subcommand)",
        "    The facts of all commands.",
        "COUNT",
        "    How many commands there are.",
        "DOCS [<command-name> ...]",
        "    The documentation of these commands, or of all.",
        "GETKEYS <full-command>",
        "    The keys in a command.",
        "GETKEYSANDFLAGS <full-command>",
        "    The keys in a command, and what it does with them.",
        "INFO [<command-name> ...]",
        "    The facts of these commands, or of all.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    The names of all commands, or of those that fit.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;
    use serde_json::{Value as Json, json};
    use shoal_protocol::value::Value;

    /// The facts of Redis 7.2.4.
    const REFERENCE: &str = include_str!("../../../protocol/commands.json");
    /// Those of Redis 7.4 about commands that 7.2 does not have.
    const LATER: &str = include_str!("../../../protocol/later-commands.json");
    /// The commands of 7.4 that there are.
    const LATER_NAMES: [&str; 9] = [
        "hexpire",
        "hexpireat",
        "hexpiretime",
        "hpersist",
        "hpexpire",
        "hpexpireat",
        "hpexpiretime",
        "hpttl",
        "httl",
    ];

    /// A reply as JSON; maps become objects, sets sorted arrays.
    fn to_json(value: &Value) -> Json {
        match value {
            Value::Integer(integer) => json!(integer),
            Value::Array(values) => values.iter().map(to_json).collect(),
            Value::Set(values) => {
                let mut values: Vec<Json> = values.iter().map(to_json).collect();
                values.sort_by_key(Json::to_string);
                Json::Array(values)
            }
            Value::Map(pairs) => {
                let pairs =
                    pairs.iter().map(|(key, value)| (key.as_text().unwrap().into_owned(), to_json(value)));
                Json::Object(pairs.collect())
            }
            other => json!(other.as_text().unwrap()),
        }
    }

    fn sorted(value: &Json) -> Json {
        let mut values = value.as_array().cloned().unwrap_or_default();
        values.sort_by_key(Json::to_string);
        Json::Array(values)
    }

    /// `["type", "index", "spec", ["index", 1]]` as the object it stands for.
    fn paired(value: &Json) -> Json {
        let pairs = value.as_array().unwrap().chunks(2);
        let pairs = pairs.map(|pair| {
            let value = if pair[1].is_array() { paired(&pair[1]) } else { pair[1].clone() };
            (pair[0].as_str().unwrap().to_owned(), value)
        });
        Json::Object(pairs.collect())
    }

    fn expected_info(row: &Json) -> Json {
        let specs = row["key_specs"].as_array().unwrap().iter().map(|spec| {
            let mut spec = spec.clone();
            spec["flags"] = sorted(&spec["flags"]);
            spec["begin_search"] = paired(&spec["begin_search"]);
            spec["find_keys"] = paired(&spec["find_keys"]);
            spec
        });
        let specs = sorted(&specs.collect());
        let subcommands = row.get("subcommands").and_then(Json::as_array);
        let subcommands: Json = subcommands.into_iter().flatten().map(expected_info).collect();
        json!([
            row["name"],
            row["arity"],
            sorted(&row["flags"]),
            row["first_key"],
            row["last_key"],
            row["step"],
            sorted(&row["acl_categories"]),
            sorted(&row["tips"]),
            specs,
            subcommands
        ])
    }

    #[test]
    fn facts_are_those_of_redis() {
        let mut fixture = Fixture::new();
        fixture.run("HELLO 3");
        fixture.send_as(fixture.first(), &["COMMAND"]);
        let shown = to_json(&fixture.values(fixture.first())[0]);
        let [mut reference, later] = [REFERENCE, LATER].map(|table| {
            let table: Json = serde_json::from_str(table).unwrap();
            table.as_array().unwrap().clone()
        });
        let is_subcommand = |row: &Json| row["name"].as_str().unwrap().contains('|');
        let (subcommands, later): (Vec<Json>, Vec<Json>) = later.into_iter().partition(is_subcommand);
        for subcommand in subcommands {
            let name = subcommand["name"].as_str().unwrap();
            let container = name.split('|').next().unwrap();
            let row = reference.iter_mut().find(|row| row["name"] == container).unwrap();
            row["subcommands"].as_array_mut().unwrap().push(subcommand.clone());
        }
        assert!(later.iter().map(|row| &row["name"]).eq(LATER_NAMES.iter()));
        let shown = shown.as_array().unwrap();
        assert_eq!(shown.len(), reference.len() + LATER_NAMES.len());
        for (shown, row) in shown.iter().zip(reference.iter().chain(&later)) {
            assert_eq!(shown, &expected_info(row));
        }
    }

    #[test]
    fn single_commands() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("COMMAND COUNT", ":250"),
            ("COMMAND INFO nosuch", "[nil]"),
            (
                "COMMAND INFO GET",
                "[[\"get\", :2, [+readonly, +fast], :1, :1, :1, [+@read, +@string, +@fast], [], [[\"flags\", [+RO, \
                 +access], \"begin_search\", [\"type\", \"index\", \"spec\", [\"index\", :1]], \"find_keys\", [\"type\", \
                 \"range\", \"spec\", [\"lastkey\", :0, \"keystep\", :1, \"limit\", :0]]]], []]]",
            ),
            (
                "COMMAND DOCS nosuch get",
                "[\"get\", [\"summary\", \"Gives the string at a key.\", \"since\", \"1.0.0\", \"group\", \"string\", \
                 \"complexity\", \"O(1)\", \"arguments\", [[\"name\", \"key\", \"type\", \"key\", \"display_text\", \
                 \"key\", \"key_spec_index\", :0]]]]",
            ),
            ("COMMAND NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP."),
        ]);
        assert!(fixture.run("COMMAND INFO xgroup|CREATE").starts_with("[[\"xgroup|create\", :-5, "));
        let docs = fixture.run("COMMAND DOCS getset");
        assert!(docs.contains("\"doc_flags\", [+deprecated], \"deprecated_since\", \"6.2.0\""), "{docs}");
        let docs = fixture.run("COMMAND DOCS");
        assert!(docs.contains("\"subcommands\", [\"acl|cat\", [\"summary\", "), "{docs}");
    }

    #[test]
    fn lists_are_filtered() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("COMMAND LIST FILTERBY PATTERN CONFIG|R*", "[\"config|resetstat\", \"config|rewrite\"]"),
            (
                "COMMAND LIST FILTERBY ACLCAT HyperLogLog",
                "[\"pfadd\", \"pfcount\", \"pfdebug\", \"pfmerge\", \"pfselftest\"]",
            ),
            ("COMMAND LIST FILTERBY ACLCAT nosuch", "[]"),
            ("COMMAND LIST FILTERBY MODULE x", "[]"),
            ("COMMAND LIST FILTERBY x y", "-ERR syntax error"),
            ("COMMAND LIST x", "-ERR syntax error"),
        ]);
        assert_eq!(fixture.run("COMMAND LIST").matches('"').count(), 2 * 385);
    }

    #[test]
    fn keys_are_found() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("COMMAND GETKEYS mset a 1 b 2", "[\"a\", \"b\"]"),
            ("COMMAND GETKEYS object encoding a", "[\"a\"]"),
            ("COMMAND GETKEYS eval x 0", "[]"),
            ("COMMAND GETKEYS eval x 9 a", "[]"),
            ("COMMAND GETKEYS nosuch a", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS ping a", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS spublish a b", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS mset a", "-ERR Invalid number of arguments specified for command"),
            ("COMMAND GETKEYS zunionstore d x a", "-ERR Invalid arguments specified for command"),
            (
                "COMMAND GETKEYSANDFLAGS lmove a b left right",
                "[[\"a\", [+RW, +access, +delete]], [\"b\", [+RW, +insert]]]",
            ),
        ]);
    }
}
