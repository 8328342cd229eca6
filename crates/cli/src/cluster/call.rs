//! `--cluster call`: one command on all nodes.

use super::client::Cluster;
use super::log::{Level, log};
use crate::console::{self, out};
use crate::exit::Step;
use crate::format::{OutputFormat, json, raw};
use crate::options::Options;
use shoal_protocol::value::Value;

/// Sends the command to every node, or to those of one role, and prints the replies.
pub(super) fn run(cluster: &mut Cluster, words: &[Vec<u8>], options: &Options) -> Step<i32> {
    let is_json = matches!(options.format, OutputFormat::Json | OutputFormat::QuotedJson);
    if !is_json {
        log(Level::Information, ">>> Calling");
        words.iter().for_each(|word| out!(" {}", crate::text::lossy(word)));
        out!("\n");
    }
    let chosen = |replica: bool| {
        !(options.cluster.only_primaries && replica || options.cluster.only_replicas && !replica)
    };
    let mut pairs = Vec::new();
    for member in cluster.members.iter_mut().filter(|member| chosen(member.node.is_replica())) {
        let address = member.node.address();
        member.connection.queue(words);
        let reply = member.receive();
        if is_json {
            let key = Value::Bulk(address.into_bytes());
            pairs.push((key, reply.map_or_else(|error| error_value(&error.to_string()), without_errors)));
            continue;
        }
        match reply {
            Ok(reply) => {
                let mut text = format!("{address}: ").into_bytes();
                raw::write(&reply, &options.delimiters.element, &mut text);
                text.push(b'\n');
                console::write_out_bytes(&text);
            }
            Err(_) => out!("{address}: Failed!\n"),
        }
    }
    if is_json {
        let mut text = Vec::new();
        json::write(&Value::Map(pairs), json::Strings::of(options.format), &mut text);
        text.push(b'\n');
        console::write_out_bytes(&text);
    }
    Ok(0)
}

/// Errors as objects, so that the output is JSON whatever the nodes answer.
fn without_errors(value: Value) -> Value {
    match value {
        Value::Error(text) => error_value(&crate::text::lossy(&text)),
        Value::Array(elements) => Value::Array(elements.into_iter().map(without_errors).collect()),
        other => other,
    }
}

fn error_value(text: &str) -> Value {
    Value::Map(vec![(Value::Bulk(b"error".to_vec()), Value::Bulk(text.as_bytes().to_vec()))])
}
