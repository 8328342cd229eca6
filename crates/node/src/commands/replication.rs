//! REPLICAOF, ROLE, WAIT, and what replicas and primaries say to each other: REPLCONF, PSYNC, SYNC.

use crate::call::{NodeBody, NodeCall};
use crate::client_line::write_line;
use crate::host::LogLevel;
use crate::replication::{AofWait, FailoverOptions, NO_AOF, Reason, Stage, Wait};
use shoal_protocol::number::parse_i64;
use shoal_protocol::{Arguments, CommandId, ErrorReply, errors};
use shoal_session::ClientKind;
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::Replicaof, replicaof),
    (CommandId::Slaveof, replicaof),
    (CommandId::Failover, failover),
    (CommandId::Role, role),
    (CommandId::Wait, wait),
    (CommandId::Waitaof, waitaof),
    (CommandId::Replconf, replconf),
    (CommandId::Psync, psync),
    (CommandId::Sync, sync),
];

/// The longest address that a replica may announce.
const ADDRESS_MAX_BYTES: usize = 255;

fn replicaof(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    if call.node.cluster.is_some() {
        return Err(ErrorReply::new("ERR REPLICAOF not allowed in cluster mode."));
    }
    if call.node.failover_state() != "no-failover" {
        return Err(ErrorReply::new("ERR REPLICAOF not allowed while failing over."));
    }
    let words = arguments.request().iter().map(<[u8]>::len).sum();
    let (address, port) = (arguments.take()?, arguments.take()?);
    if address.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        if call.node.unset_primary(call.now, call.host, Reason::User) {
            let client = describe(call, words);
            call.host.log(LogLevel::Notice, &format!("MASTER MODE enabled (user request from '{client}')"));
        }
        call.reply().ok();
        return Ok(());
    }
    if call.session.kind == ClientKind::Replica {
        return Err(ErrorReply::new("ERR Command is not valid when client is a replica."));
    }
    let port = parse_i64(port)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or(ErrorReply::new("ERR Invalid master port"))?;
    let address = std::str::from_utf8(address).map_err(|_| ErrorReply::new("ERR Invalid master address"))?;
    if call.node.follows(address, port) {
        let text = "REPLICAOF would result into synchronization with the master we are already connected with. No \
                    operation performed.";
        call.host.log(LogLevel::Notice, text);
        call.reply().simple("OK Already connected to specified master");
        return Ok(());
    }
    call.node.set_primary(call.now, call.host, address, port, Reason::User);
    let client = describe(call, words);
    let text = format!("REPLICAOF {address}:{port} enabled (user request from '{client}')");
    call.host.log(LogLevel::Notice, &text);
    call.reply().ok();
    Ok(())
}

fn failover(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    if call.node.cluster.is_some() {
        return Err(ErrorReply::new(
            "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.",
        ));
    }
    if arguments.remaining() == 1 && arguments.clone().take_keyword("ABORT") {
        call.node.abort_failover_by_user(call.now, call.host)?;
        call.reply().ok();
        return Ok(());
    }
    let mut options = FailoverOptions::default();
    while !arguments.is_empty() {
        let words_left = arguments.remaining();
        if words_left >= 2 && options.timeout_ms.is_none() && arguments.take_keyword("TIMEOUT") {
            let timeout_ms = u64::try_from(arguments.take_i64()?).ok().filter(|&timeout_ms| timeout_ms > 0);
            let refusal = ErrorReply::new("ERR FAILOVER timeout must be greater than 0");
            options.timeout_ms = Some(timeout_ms.ok_or(refusal)?);
        } else if words_left >= 3 && options.target.is_none() && arguments.take_keyword("TO") {
            let address = String::from_utf8_lossy(arguments.take()?).into_owned();
            // A port that can be none belongs to no replica.
            let port = u16::try_from(arguments.take_i64()?).unwrap_or(0);
            options.target = Some((address, port));
        } else if !options.is_forced && arguments.take_keyword("FORCE") {
            options.is_forced = true;
        } else {
            return Err(errors::SYNTAX);
        }
    }
    call.node.begin_failover(call.now, call.host, options)?;
    call.reply().ok();
    Ok(())
}

/// The client as the log shows it.
fn describe(call: &NodeCall<'_>, words: usize) -> String {
    let mut line = String::new();
    write_line(&mut line, call.session, call.now, Some((call.command, words)));
    line.trim_end().to_owned()
}

fn role(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let mut reply = call.session.reply();
    call.node.reply_role(&mut reply);
    Ok(())
}

fn wait(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    if call.node.is_replica() {
        return Err(ErrorReply::new(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let count = arguments.take_i64()?;
    let timeout = parse_i64(arguments.take()?)
        .ok_or(ErrorReply::new("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| ErrorReply::new("ERR timeout is negative"))?;
    begin_wait(call, usize::try_from(count).unwrap_or(0), timeout_ms, None)
}

fn begin_wait(call: &mut NodeCall<'_>, count: usize, timeout_ms: u64, aof: Option<AofWait>) -> Outcome {
    let deadline = (timeout_ms > 0).then(|| call.now.monotonic.plus_ms(timeout_ms));
    let wait = Wait { handle: call.handle, offset: call.session.last_write_offset, count, deadline, aof };
    let progress = call.node.wait_progress(&wait);
    // Nobody can be waited for in the middle of a transaction.
    if wait.is_satisfied(progress) || call.node.unit.is_open {
        progress.reply(&mut call.reply());
        return Ok(());
    }
    call.session.is_blocked = true;
    call.node.add_wait(wait);
    call.node.ask_replicas();
    Ok(())
}

fn waitaof(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let local = arguments.take_i64()?;
    if !(0..=1).contains(&local) {
        return Err(ErrorReply::new("ERR value is out of range, value must between 0 and 1"));
    }
    let count = parse_i64(arguments.take()?).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(errors::MUST_BE_POSITIVE)?;
    let timeout = parse_i64(arguments.take()?)
        .ok_or(ErrorReply::new("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| ErrorReply::new("ERR timeout is negative"))?;
    if call.node.is_replica() {
        return Err(ErrorReply::new(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local \
             and are not propagated.",
        ));
    }
    let is_local_wanted = local == 1;
    if is_local_wanted && !call.node.config.appendonly {
        return Err(NO_AOF);
    }
    let aof = AofWait { position: call.session.last_aof_position, is_local_wanted };
    begin_wait(call, count, timeout_ms, Some(aof))
}

fn replconf(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    if !arguments.remaining().is_multiple_of(2) {
        return Err(errors::SYNTAX);
    }
    while let Some(option) = arguments.take_optional() {
        let value = arguments.take()?;
        match option.to_ascii_lowercase().as_slice() {
            b"listening-port" => {
                let port = parse_i64(value).ok_or(errors::NOT_AN_INTEGER)?;
                call.node.replication.peers.entry(call.handle).port = u16::try_from(port).unwrap_or(0);
            }
            b"ip-address" => {
                let address = announced_address(value)?;
                call.node.replication.peers.entry(call.handle).address = address;
            }
            b"capa" => {
                let peer = call.node.replication.peers.entry(call.handle);
                peer.has_eof |= value.eq_ignore_ascii_case(b"eof");
                peer.has_psync2 |= value.eq_ignore_ascii_case(b"psync2");
                peer.has_dual_channel |= value.eq_ignore_ascii_case(b"dual-channel");
            }
            // Neither of these two is answered here.
            b"ack" => {
                let parse = |word| parse_i64(word).and_then(|offset| u64::try_from(offset).ok());
                let offset = parse(value);
                let synced = if arguments.take_keyword("fack") { parse(arguments.take()?) } else { None };
                if let Some(offset) = offset.filter(|_| call.session.kind == ClientKind::Replica) {
                    call.node.acknowledged(call.now, call.handle, call.session, offset, synced);
                }
                return Ok(());
            }
            b"getack" => return Ok(()),
            b"rdb-only" => {
                let is_wanted = parse_i64(value).filter(|value| (0..=1).contains(value));
                let is_wanted = is_wanted.ok_or(errors::OUT_OF_RANGE)?;
                call.node.replication.peers.entry(call.handle).is_snapshot_only = is_wanted == 1;
            }
            // As Valkey's replicas say it: this connection is for the snapshot, or belongs to that one.
            b"rdb-channel" => {
                let is_channel = parse_i64(value).filter(|value| (0..=1).contains(value));
                let is_channel = is_channel.ok_or(errors::OUT_OF_RANGE)? == 1;
                call.node.replication.peers.entry(call.handle).is_snapshot_channel = is_channel;
            }
            b"set-rdb-client-id" => {
                link_channels(call, value)?;
            }
            b"rdb-filter-only" => {
                return Err(ErrorReply::from(format!(
                    "ERR Unsupported rdb-filter-only option: {}",
                    String::from_utf8_lossy(value)
                )));
            }
            _ => {
                return Err(ErrorReply::from(format!(
                    "ERR Unrecognized REPLCONF option: {}",
                    String::from_utf8_lossy(option)
                )));
            }
        }
    }
    call.reply().ok();
    Ok(())
}

fn announced_address(value: &[u8]) -> Result<Option<String>, ErrorReply> {
    if value.len() > ADDRESS_MAX_BYTES {
        return Err(ErrorReply::from(format!(
            "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
            value.len()
        )));
    }
    Ok(Some(String::from_utf8_lossy(value).into_owned()).filter(|address| !address.is_empty()))
}

fn link_channels(call: &mut NodeCall<'_>, value: &[u8]) -> Outcome {
    let client_id = parse_i64(value).and_then(|id| u64::try_from(id).ok());
    if client_id.is_some_and(|id| call.node.link_channels(call.handle, id)) {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(value);
    Err(ErrorReply::from(format!("ERR Unrecognized RDB client id {shown}")))
}

fn psync(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let (id, offset) = (arguments.take()?, arguments.take()?);
    if arguments.take_keyword("FAILOVER") {
        take_over(call, id)?;
    }
    begin_synchronisation(call, Some((id, offset)))
}

/// The primary hands its role over to this replica, which has the same history.
fn take_over(call: &mut NodeCall<'_>, id: &[u8]) -> Outcome {
    let shown = String::from_utf8_lossy(id);
    call.host.log(LogLevel::Warning, &format!("Failover request received for replid {shown}."));
    if !call.node.is_replica() {
        return Err(ErrorReply::new("ERR PSYNC FAILOVER can't be sent to a master."));
    }
    if !call.node.replication.id.matches(id) {
        return Err(ErrorReply::new("ERR PSYNC FAILOVER replid must match my replid."));
    }
    call.node.unset_primary(call.now, call.host, Reason::User);
    let client = describe(call, 0);
    call.host.log(LogLevel::Notice, &format!("MASTER MODE enabled (failover request from '{client}')"));
    Ok(())
}

fn sync(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    begin_synchronisation(call, None)
}

fn begin_synchronisation(call: &mut NodeCall<'_>, asked: Option<(&[u8], &[u8])>) -> Outcome {
    let stage = call.node.replication.peers.get(call.handle).map(|peer| peer.stage);
    if call.session.is_monitor || stage.is_some_and(|stage| stage != Stage::Greeting) {
        return Ok(());
    }
    if call.node.failover_state() != "no-failover" {
        return Err(ErrorReply::new("NOMASTERLINK Can't SYNC while failing over"));
    }
    if !call.node.replication.is_link_up() {
        return Err(ErrorReply::new("NOMASTERLINK Can't SYNC while not connected with my master"));
    }
    if !call.session.output.is_empty() {
        return Err(ErrorReply::new("ERR SYNC and PSYNC are invalid with pending output"));
    }
    let asked = match asked {
        Some((id, offset)) => {
            let Some(offset) = parse_i64(offset) else {
                let name = call.node.name_of_own(call.handle, call.session);
                let text = format!("Replica {name} asks for synchronization but with a wrong offset");
                call.host.log(LogLevel::Warning, &text);
                return Err(errors::NOT_AN_INTEGER);
            };
            Some((id, offset))
        }
        None => None,
    };
    call.node.synchronise(call.now, call.host, (call.handle, call.session), asked);
    Ok(())
}
