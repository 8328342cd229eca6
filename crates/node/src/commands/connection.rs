//! Greeting, authentication, choice of database and protocol.

use crate::call::{NodeBody, NodeCall};
use shoal_config::REDIS_VERSION;
use shoal_protocol::number::parse_i64;
use shoal_protocol::{Arguments, CommandId, ErrorReply, errors};
use shoal_session::{Channel, Close, ReplyMode};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::Ping, ping),
    (CommandId::Echo, echo),
    (CommandId::Select, select),
    (CommandId::Auth, auth),
    (CommandId::Hello, hello),
    (CommandId::Quit, quit),
    (CommandId::Reset, reset),
    (CommandId::Asking, asking),
    (CommandId::Readonly, readonly),
    (CommandId::Readwrite, readwrite),
    (CommandId::Time, time),
];

fn ping(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let text = arguments.take_optional();
    if !arguments.is_empty() {
        return Err(errors::wrong_arity("ping"));
    }
    let is_subscriber = call.session.is_subscriber_only();
    let mut reply = call.reply();
    if is_subscriber {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(text.unwrap_or_default());
    } else {
        match text {
            Some(text) => reply.bulk(text),
            None => reply.simple("PONG"),
        }
    }
    Ok(())
}

fn echo(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let text = arguments.take()?;
    call.reply().bulk(text);
    Ok(())
}

fn select(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let word = arguments.take()?;
    let index = parse_i64(word).ok_or(errors::NOT_AN_INTEGER)?;
    if i32::try_from(index).is_err() {
        return Err(NO_INT);
    }
    if call.node.cluster.is_some() && index != 0 {
        return Err(ErrorReply::new("ERR SELECT is not allowed in cluster mode"));
    }
    let count = call.node.keyspace.database_count();
    call.session.database =
        usize::try_from(index).ok().filter(|&index| index < count).ok_or(errors::DB_OUT_OF_RANGE)?;
    call.reply().ok();
    Ok(())
}

const NO_INT: ErrorReply =
    ErrorReply::new("ERR value is out of range, value must between -2147483648 and 2147483647");

const WRONG_PASSWORD: ErrorReply =
    ErrorReply::new("WRONGPASS invalid username-password pair or user is disabled.");

/// Checks name and password; there is one user, `default`.
fn authenticate(call: &mut NodeCall<'_>, user: &[u8], password: &[u8]) -> Outcome {
    let required = &call.node.config.requirepass;
    let is_right = user == b"default" && (required.is_empty() || equal_in_constant_time(required, password));
    if !is_right {
        call.node.stats.denied_authentications += 1;
        return Err(WRONG_PASSWORD);
    }
    call.session.is_authenticated = true;
    Ok(())
}

/// Compares without telling by its duration where the difference is.
fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b));
    left.len() == right.len() && difference == 0
}

fn auth(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let first = arguments.take()?;
    let second = arguments.take_optional();
    arguments.finish()?;
    match second {
        None if call.node.config.requirepass.is_empty() => {
            return Err(ErrorReply::new(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        None => authenticate(call, b"default", first)?,
        Some(password) => authenticate(call, first, password)?,
    }
    call.reply().ok();
    Ok(())
}

fn hello(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let mut version = None;
    if let Some(word) = arguments.take_optional() {
        let number = parse_i64(word)
            .ok_or(ErrorReply::new("ERR Protocol version is not an integer or out of range"))?;
        if !(2..=3).contains(&number) {
            return Err(ErrorReply::new("NOPROTO unsupported protocol version"));
        }
        version = Some(number);
    }
    let mut credentials = None;
    let mut name = None;
    while let Some(option) = arguments.take_optional() {
        if option.eq_ignore_ascii_case(b"auth") && arguments.remaining() >= 2 {
            credentials = Some((arguments.take()?, arguments.take()?));
        } else if option.eq_ignore_ascii_case(b"setname") && arguments.remaining() >= 1 {
            let wanted = arguments.take()?;
            check_name(wanted)?;
            name = Some(wanted);
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(ErrorReply::from(format!("ERR Syntax error in HELLO option '{option}'")));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(call, user, password)?;
    }
    if !call.session.is_authenticated {
        return Err(ErrorReply::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = name {
        call.session.name = name.to_vec();
    }
    if let Some(version) = version {
        call.session.is_resp3 = version == 3;
    }
    reply_greeting(call);
    Ok(())
}

fn reply_greeting(call: &mut NodeCall<'_>) {
    let mode = if call.node.cluster.is_some() { "cluster" } else { "standalone" };
    let role = if call.node.is_replica() { "replica" } else { "master" };
    let protocol = if call.session.is_resp3 { 3 } else { 2 };
    let id = call.session.id.cast_signed();
    let mut reply = call.reply();
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(protocol);
    reply.bulk(b"id");
    reply.integer(id);
    reply.bulk(b"mode");
    reply.bulk(mode.as_bytes());
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"modules");
    reply.array(0);
}

/// A client's name has no spaces or other special characters.
pub(crate) fn check_name(name: &[u8]) -> Outcome {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(ErrorReply::new("ERR Client names cannot contain spaces, newlines or special characters."))
}

fn quit(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply().ok();
    call.session.close = Close::AfterReply;
    Ok(())
}

fn reset(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let NodeCall { node, session, handle, .. } = call;
    session.transaction = None;
    node.forget_watches(*handle, session);
    node.subscribers.remove(*handle, &mut session.subscriptions);
    session.is_monitor = false;
    node.monitors.retain(|other| other != handle);
    session.is_asking = false;
    session.is_readonly = false;
    session.no_evict = false;
    session.no_touch = false;
    session.database = 0;
    session.is_resp3 = false;
    session.name.clear();
    session.reply_mode = ReplyMode::On;
    session.is_authenticated = node.config.requirepass.is_empty();
    debug_assert_eq!(session.subscriptions.count(Channel::Plain), 0);
    session.reply().simple("RESET");
    Ok(())
}

fn require_cluster(call: &NodeCall<'_>) -> Outcome {
    if call.node.cluster.is_some() {
        Ok(())
    } else {
        Err(ErrorReply::new("ERR This instance has cluster support disabled"))
    }
}

fn asking(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    require_cluster(call)?;
    call.session.is_asking = true;
    call.reply().ok();
    Ok(())
}

fn readonly(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    require_cluster(call)?;
    call.session.is_readonly = true;
    call.reply().ok();
    Ok(())
}

fn readwrite(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    require_cluster(call)?;
    call.session.is_readonly = false;
    call.reply().ok();
    Ok(())
}

fn time(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let now = call.now;
    let mut reply = call.reply();
    reply.array(2);
    reply.bulk(now.unix_s().to_string().as_bytes());
    reply.bulk((now.unix_us % 1_000_000).to_string().as_bytes());
    Ok(())
}
