//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use crate::call::{NodeBody, NodeCall};
use shoal_protocol::{Arguments, CommandId, ErrorReply, errors};
use shoal_session::Transaction;
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::Multi, multi),
    (CommandId::Exec, exec),
    (CommandId::Discard, discard),
    (CommandId::Watch, watch),
    (CommandId::Unwatch, unwatch),
];

fn multi(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    if call.session.transaction.is_some() {
        return Err(ErrorReply::new("ERR MULTI calls can not be nested"));
    }
    call.session.transaction = Some(Transaction::default());
    call.reply().ok();
    Ok(())
}

fn discard(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    if call.session.transaction.take().is_none() {
        return Err(ErrorReply::new("ERR DISCARD without MULTI"));
    }
    call.node.forget_watches(call.handle, call.session);
    call.reply().ok();
    Ok(())
}

fn exec(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let is_broken = call.session.is_watch_broken || has_expired_watch(call);
    let Some(transaction) = call.session.transaction.take() else {
        return Err(ErrorReply::new("ERR EXEC without MULTI"));
    };
    call.node.forget_watches(call.handle, call.session);
    if transaction.is_spoilt {
        return Err(errors::EXEC_ABORT);
    }
    if is_broken {
        call.reply().null_array();
        return Ok(());
    }
    call.reply().array(transaction.queue.len());
    let is_nested = std::mem::replace(&mut call.node.unit.is_open, true);
    for (command, request) in &transaction.queue {
        let request = request.as_request();
        call.node.run::<false>(call.now, call.host, call.handle, call.session, command, request);
    }
    if !is_nested {
        call.node.close_unit();
    }
    // What the queued commands did has been passed on; EXEC itself did nothing more.
    call.node.effects.reset();
    Ok(())
}

/// A watched key that has expired meanwhile counts as changed, unless it had expired before it was watched.
fn has_expired_watch(call: &NodeCall<'_>) -> bool {
    let now_ms = call.now.unix_ms();
    call.session.watched.iter().any(|(database, key)| {
        let database = call.node.keyspace.database(*database);
        let expiry_ms = database.find(key).and_then(|found| database.entry(found).expiry_ms());
        expiry_ms.is_some_and(|at| at <= now_ms) && !call.session.watched_expired.contains(key)
    })
}

/// What a watch costs beside its key: here, and in the table of watched keys.
const WATCH_OVERHEAD_BYTES: usize = 96;

fn watch(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    if call.session.transaction.is_some() {
        return Err(ErrorReply::new("ERR WATCH inside MULTI is not allowed"));
    }
    // A transaction that is bound to fail needs no more watches.
    if !call.session.is_watch_broken {
        for key in arguments.rest() {
            let database = call.session.database;
            if call.session.watched.iter().any(|(other, watched)| *other == database && watched == key) {
                continue;
            }
            call.session.watched.push((database, key.to_vec()));
            call.session.watched_bytes += key.len() + WATCH_OVERHEAD_BYTES;
            call.node.watchers.add(database, key, call.handle);
            let keys = call.node.keyspace.database(database);
            let expiry_ms = keys.find(key).and_then(|found| keys.entry(found).expiry_ms());
            if expiry_ms.is_some_and(|at| at <= call.now.unix_ms()) {
                call.session.watched_expired.push(key.to_vec());
            }
        }
    }
    call.reply().ok();
    Ok(())
}

fn unwatch(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.node.forget_watches(call.handle, call.session);
    call.reply().ok();
    Ok(())
}
