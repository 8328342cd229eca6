//! DEBUG LISTPACK, DEBUG QUICKLIST, and what DEBUG OBJECT says of quicklists: how values are laid out.
//!
//! Redis prints to its standard output, which a program of this kind has no use for: the lines go to the log.

use crate::call::NodeCall;
use crate::host::LogLevel;
use shoal_formats::listpack::Listpack;
use shoal_protocol::quoting::quote;
use shoal_protocol::{Arguments, ErrorReply, errors};
use shoal_store::types::list::{Node, Part};
use shoal_store::types::{Hash, List, Set, SortedSet};
use shoal_store::{Outcome, Value};

/// Lines that one command writes at most.
const LINES_MAX: usize = 1000;
/// Bytes of an element that are shown.
const TEXT_SHOWN_BYTES: usize = 40;

pub(super) fn listpack(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let database = call.node.keyspace.database(call.session.database);
    let found = database.find(arguments.take()?).ok_or(errors::NO_SUCH_KEY)?;
    let entry = database.entry(found);
    let listpack = match entry.value() {
        Value::List(List::Packed(listpack))
        | Value::Set(Set::Packed(listpack))
        | Value::Hash(Hash::Packed(listpack))
        | Value::SortedSet(SortedSet::Packed(listpack)) => listpack,
        _ => return Err(ErrorReply::new("ERR Not a listpack encoded object.")),
    };
    let mut lines = Vec::new();
    describe_listpack(listpack, &mut lines);
    write(call, lines, "Listpack structure printed on stdout");
    Ok(())
}

pub(super) fn quicklist(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let key = arguments.take()?;
    let with_elements = arguments.take_optional().is_some_and(|word| word != b"0");
    let database = call.node.keyspace.database(call.session.database);
    let found = database.find(key).ok_or(errors::NO_SUCH_KEY)?;
    let entry = database.entry(found);
    let Value::List(List::Quick(quicklist)) = entry.value() else {
        return Err(ErrorReply::new("ERR Not a quicklist encoded object."));
    };
    let mut lines = vec![format!(
        "{{count : {}}} {{len : {}}} {{fill : {}}} {{compress : {}}}",
        quicklist.len(),
        quicklist.node_count(),
        quicklist.statistics().list_max_listpack_size,
        quicklist.compress_depth()
    )];
    for (index, node) in quicklist.nodes().enumerate().take(LINES_MAX) {
        describe_node(index, node, &mut lines);
        if with_elements {
            match node.part() {
                Part::Packed(listpack) => describe_listpack(&listpack, &mut lines),
                Part::Plain(bytes) => lines.push(shown(&bytes)),
            }
        }
    }
    write(call, lines, "Quicklist structure printed on stdout");
    Ok(())
}

fn describe_node(index: usize, node: &Node, lines: &mut Vec<String>) {
    lines.push(format!(
        "{{quicklist node({index})}} {{container : {}, encoding: {}, size: {}, count: {}}}",
        if node.is_packed() { "PACKED" } else { "PLAIN" },
        if node.is_compressed() { "LZF" } else { "RAW" },
        node.content_bytes(),
        node.len()
    ));
}

fn describe_listpack(listpack: &Listpack, lines: &mut Vec<String>) {
    let (bytes, count) = (listpack.byte_len(), listpack.len());
    lines.push(format!("{{total bytes {bytes}}} {{num entries {count}}}"));
    let left = LINES_MAX.saturating_sub(lines.len());
    lines.extend(listpack.iter().take(left).map(|element| element.with_text(shown)));
}

fn shown(text: &[u8]) -> String {
    let end = text.len().min(TEXT_SHOWN_BYTES);
    format!("{}{}", quote(&text[..end]), if end < text.len() { "..." } else { "" })
}

fn write(call: &mut NodeCall<'_>, lines: Vec<String>, reply: &str) {
    for line in lines.into_iter().take(LINES_MAX) {
        call.host.log(LogLevel::Notice, &line);
    }
    call.reply().simple(reply);
}

/// What DEBUG OBJECT says of a quicklist beside what it says of all values.
pub(super) fn quicklist_remarks(value: Value<'_>) -> String {
    let Value::List(List::Quick(quicklist)) = value else { return String::new() };
    let statistics = quicklist.statistics();
    format!(
        " ql_nodes:{} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{} ql_uncompressed_size:{}",
        statistics.nodes,
        statistics.elements_per_node,
        statistics.list_max_listpack_size,
        u8::from(statistics.is_compressed),
        statistics.uncompressed_bytes
    )
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    #[test]
    fn lists_are_laid_open() {
        let mut fixture =
            Fixture::with_configuration(&[("list-max-listpack-size", "3"), ("list-compress-depth", "1")]);
        fixture.check("DEBUG QUICKLIST-PACKED-THRESHOLD 50b", "+OK");
        for element in ["a", "b", "3", "d"] {
            fixture.run(&format!("RPUSH l {element}"));
            if element == "3" {
                fixture.check("DEBUG LISTPACK l", "+Listpack structure printed on stdout");
                fixture.check("DEBUG QUICKLIST l", "-ERR Not a quicklist encoded object.");
            }
        }
        assert!(fixture.host.has_logged("{num entries 3}"));
        let long = "x".repeat(50);
        fixture.run(&format!("RPUSH l {long} e"));
        fixture.check_all(&[
            ("DEBUG QUICKLIST l 1", "+Quicklist structure printed on stdout"),
            ("DEBUG LISTPACK l", "-ERR Not a listpack encoded object."),
            ("DEBUG LISTPACK none", "-ERR no such key"),
            ("DEBUG QUICKLIST none", "-ERR no such key"),
        ]);
        for line in [
            "{count : 6} {len : 4} {fill : 3} {compress : 1}",
            "{quicklist node(2)} {container : PLAIN, encoding: LZF, size: 50, count: 1}",
            "{quicklist node(3)} {container : PACKED, encoding: RAW, size: 10, count: 1}",
            "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"...",
            "\"e\"",
        ] {
            assert!(fixture.host.has_logged(line), "{line}");
        }
        let shown = fixture.run("DEBUG OBJECT l");
        let expected =
            " ql_nodes:4 ql_avg_node:1.50 ql_listpack_max:3 ql_compressed:1 ql_uncompressed_size:85";
        assert!(shown.ends_with(expected), "{shown}");
        assert!(shown.contains(" encoding:quicklist serializedlength:"), "{shown}");
    }
}
