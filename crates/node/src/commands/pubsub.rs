//! Pub/Sub: subscriptions, messages, and who listens.

use crate::call::{NodeBody, NodeCall};
use shoal_cluster::NodeMessage;
use shoal_cluster::messages::Publication;
use shoal_protocol::glob::{self, Case};
use shoal_protocol::{Arguments, CommandId, Reply};
use shoal_session::{Channel, ClientKind, ReplyMode};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::Subscribe, subscribe),
    (CommandId::Unsubscribe, unsubscribe),
    (CommandId::Psubscribe, psubscribe),
    (CommandId::Punsubscribe, punsubscribe),
    (CommandId::Ssubscribe, ssubscribe),
    (CommandId::Sunsubscribe, sunsubscribe),
    (CommandId::Publish, publish),
    (CommandId::Spublish, spublish),
    (CommandId::PubsubChannels, channels),
    (CommandId::PubsubNumsub, numsub),
    (CommandId::PubsubNumpat, numpat),
    (CommandId::PubsubShardchannels, shardchannels),
    (CommandId::PubsubShardnumsub, shardnumsub),
    (CommandId::PubsubHelp, help),
];

fn subscribe(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    begin(call, Channel::Plain, arguments)
}

fn psubscribe(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    begin(call, Channel::Pattern, arguments)
}

fn ssubscribe(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    begin(call, Channel::Shard, arguments)
}

fn unsubscribe(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    end(call, Channel::Plain, arguments)
}

fn punsubscribe(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    end(call, Channel::Pattern, arguments)
}

fn sunsubscribe(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    end(call, Channel::Shard, arguments)
}

/// The words with which subscribing and unsubscribing are confirmed.
const fn words(kind: Channel) -> (&'static [u8], &'static [u8]) {
    match kind {
        Channel::Plain => (b"subscribe", b"unsubscribe"),
        Channel::Pattern => (b"psubscribe", b"punsubscribe"),
        Channel::Shard => (b"ssubscribe", b"sunsubscribe"),
    }
}

/// Writes one confirmation: its word, the name (none if there was nothing to unsubscribe from), and what is left. It
/// reaches also clients that want no replies.
fn confirm(call: &mut NodeCall<'_>, kind: Channel, word: &[u8], name: Option<&[u8]>) {
    let NodeCall { node, session, .. } = call;
    let count = session.subscriptions.count(kind);
    let output = if session.reply_mode == ReplyMode::On { &mut session.output } else { &mut node.own_pushes };
    let mut reply = Reply::new(output, session.is_resp3);
    reply.push(3);
    reply.bulk(word);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}

fn begin(call: &mut NodeCall<'_>, kind: Channel, arguments: Arguments<'_>) -> Outcome {
    for name in arguments.rest() {
        let NodeCall { node, session, handle, .. } = call;
        node.subscribers.subscribe(kind, name, *handle, &mut session.subscriptions);
        confirm(call, kind, words(kind).0, Some(name));
    }
    Ok(())
}

fn end(call: &mut NodeCall<'_>, kind: Channel, arguments: Arguments<'_>) -> Outcome {
    let names: Vec<Vec<u8>> = if arguments.is_empty() {
        call.session.subscriptions.of(kind).iter().cloned().collect()
    } else {
        arguments.rest().map(<[u8]>::to_vec).collect()
    };
    for name in &names {
        let NodeCall { node, session, handle, .. } = call;
        node.subscribers.unsubscribe(kind, name, *handle, &mut session.subscriptions);
        confirm(call, kind, words(kind).1, Some(name));
    }
    if names.is_empty() {
        confirm(call, kind, words(kind).1, None);
    }
    Ok(())
}

fn publish(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    deliver(call, arguments, false)
}

fn spublish(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    deliver(call, arguments, true)
}

fn deliver(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>, is_sharded: bool) -> Outcome {
    let (channel, message) = (arguments.take()?, arguments.take()?);
    let NodeCall { node, session, handle, host, .. } = call;
    let count = node.deliver(channel, message, is_sharded, Some((*handle, &mut **session)));
    if node.cluster.is_some() {
        let publication = Publication { channel: channel.into(), message: message.into() };
        host.tell_cluster(NodeMessage::Published { publication, sharded: is_sharded });
    } else if session.kind != ClientKind::Primary {
        let name: &[u8] = if is_sharded { b"SPUBLISH" } else { b"PUBLISH" };
        node.propagate_own(session.database, [name, channel, message]);
    }
    session.reply().integer(count as i64);
    Ok(())
}

fn channels(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    names(call, Channel::Plain, arguments)
}

fn shardchannels(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    names(call, Channel::Shard, arguments)
}

fn names(call: &mut NodeCall<'_>, kind: Channel, mut arguments: Arguments<'_>) -> Outcome {
    let word = arguments.request().argument(1);
    let pattern = arguments.take_optional();
    if !arguments.is_empty() {
        return Err(call.subcommand_syntax(word));
    }
    let NodeCall { node, session, .. } = call;
    let is_wanted =
        |name: &&[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive));
    let found: Vec<&[u8]> = node.subscribers.names(kind).filter(is_wanted).collect();
    let mut reply = session.reply();
    reply.array(found.len());
    for name in found {
        reply.bulk(name);
    }
    Ok(())
}

fn numsub(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    counts(call, Channel::Plain, arguments)
}

fn shardnumsub(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    counts(call, Channel::Shard, arguments)
}

fn counts(call: &mut NodeCall<'_>, kind: Channel, arguments: Arguments<'_>) -> Outcome {
    let NodeCall { node, session, .. } = call;
    let mut reply = session.reply();
    // An array in both protocols, as Redis has it.
    reply.array(arguments.remaining() * 2);
    for name in arguments.rest() {
        reply.bulk(name);
        reply.integer(node.subscribers.listener_count(kind, name) as i64);
    }
    Ok(())
}

fn numpat(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let count = call.node.subscribers.name_count(Channel::Pattern);
    call.reply().integer(count as i64);
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "CHANNELS [<pattern>]",
        "    The channels that somebody listens to.",
        "NUMPAT",
        "    How many different patterns are subscribed to.",
        "NUMSUB [<channel> ...]",
        "    How many clients listen to each channel, patterns not counted.",
        "SHARDCHANNELS [<pattern>]",
        "    The shard channels that somebody listens to.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    How many clients listen to each shard channel.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    #[test]
    fn subscriptions_are_confirmed() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("SUBSCRIBE a b", "[\"subscribe\", \"a\", :1] ; [\"subscribe\", \"b\", :2]"),
            ("PING", "[\"pong\", \"\"]"),
            ("PSUBSCRIBE a*", "[\"psubscribe\", \"a*\", :3]"),
            (
                "PUBLISH a x",
                "-ERR Can't execute 'publish': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context",
            ),
            ("UNSUBSCRIBE", "[\"unsubscribe\", \"a\", :2] ; [\"unsubscribe\", \"b\", :1]"),
            ("UNSUBSCRIBE", "[\"unsubscribe\", nil, :1]"),
            ("PUNSUBSCRIBE zz", "[\"punsubscribe\", \"zz\", :1]"),
            ("PUNSUBSCRIBE", "[\"punsubscribe\", \"a*\", :0]"),
            ("SSUBSCRIBE q", "[\"ssubscribe\", \"q\", :1]"),
            ("SUNSUBSCRIBE", "[\"sunsubscribe\", \"q\", :0]"),
            ("GET k", "nil"),
            ("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command"),
        ]);
    }

    #[test]
    fn messages_reach_who_listens() {
        let mut fixture = Fixture::new();
        let (plain, pattern) = (fixture.connect(), fixture.connect());
        fixture.run_as(plain, "SUBSCRIBE news");
        fixture.run_as(plain, "SSUBSCRIBE news");
        fixture.run_as(pattern, "HELLO 3");
        fixture.run_as(pattern, "PSUBSCRIBE n*");
        fixture.check_all(&[
            ("PUBLISH news hello", ":2"),
            ("SPUBLISH news shard", ":1"),
            ("PUBLISH other x", ":0"),
            ("PUBSUB CHANNELS", "[\"news\"]"),
            ("PUBSUB CHANNELS x*", "[]"),
            (
                "PUBSUB CHANNELS a b",
                "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
            ),
            ("PUBSUB NUMSUB news other", "[\"news\", :1, \"other\", :0]"),
            ("PUBSUB NUMPAT", ":1"),
            ("PUBSUB SHARDCHANNELS", "[\"news\"]"),
            ("PUBSUB SHARDNUMSUB news", "[\"news\", :1]"),
        ]);
        assert_eq!(
            fixture.received(plain),
            ["[\"message\", \"news\", \"hello\"]", "[\"smessage\", \"news\", \"shard\"]"]
        );
        assert_eq!(fixture.received(pattern), [">[\"pmessage\", \"n*\", \"news\", \"hello\"]"]);
        fixture.disconnect(plain);
        fixture.check("PUBLISH news gone", ":1");
    }

    /// As Redis 7.2 orders them: what a command pushes to its own client follows the command's reply.
    #[test]
    fn own_messages_follow_the_reply() {
        let mut fixture = Fixture::new();
        fixture.run("HELLO 3");
        fixture.check_all(&[
            ("SUBSCRIBE a", ">[\"subscribe\", \"a\", :1]"),
            ("PUBLISH a x", ":1 ; >[\"message\", \"a\", \"x\"]"),
            ("MULTI", "+OK"),
            ("PUBLISH a y", "+QUEUED"),
            ("PING", "+QUEUED"),
            ("EXEC", "[:1, +PONG] ; >[\"message\", \"a\", \"y\"]"),
            ("CLIENT REPLY OFF", ""),
            ("PUBLISH a z", ">[\"message\", \"a\", \"z\"]"),
            ("SUBSCRIBE b", ">[\"subscribe\", \"b\", :2]"),
        ]);
    }
}
