//! CLIENT: who is connected, what they want, and how to be rid of them.

use super::connection::check_name;
use crate::blocking::{Ending, UNBLOCKED_BY_CLIENT};
use crate::call::{NodeBody, NodeCall};
use crate::client_line::{ClientType, write_line};
use crate::clients::Handle;
use crate::pause::{PauseKind, PauseReason};
use shoal_protocol::number::parse_i64;
use shoal_protocol::{Arguments, CommandId, ErrorReply, errors};
use shoal_session::{Close, ReplyMode, Session};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::ClientId, id),
    (CommandId::ClientGetname, getname),
    (CommandId::ClientSetname, setname),
    (CommandId::ClientSetinfo, setinfo),
    (CommandId::ClientList, list),
    (CommandId::ClientInfo, info),
    (CommandId::ClientKill, kill),
    (CommandId::ClientNoEvict, no_evict),
    (CommandId::ClientNoTouch, no_touch),
    (CommandId::ClientReply, reply),
    (CommandId::ClientPause, pause),
    (CommandId::ClientUnblock, unblock),
    (CommandId::ClientUnpause, unpause),
    (CommandId::ClientHelp, help),
];

fn id(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let id = call.session.id.cast_signed();
    call.reply().integer(id);
    Ok(())
}

fn getname(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    let name = call.session.name.clone();
    if name.is_empty() {
        call.reply().null();
    } else {
        call.reply().bulk(&name);
    }
    Ok(())
}

fn setname(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let name = arguments.take()?;
    check_name(name)?;
    call.session.name = name.to_vec();
    call.reply().ok();
    Ok(())
}

fn setinfo(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let (option, value) = (arguments.take()?, arguments.take()?);
    let (name, field) = match option.to_ascii_lowercase().as_slice() {
        b"lib-name" => ("lib-name", &mut call.session.library_name),
        b"lib-ver" => ("lib-ver", &mut call.session.library_version),
        _ => {
            let option = String::from_utf8_lossy(option);
            return Err(ErrorReply::from(format!("ERR Unrecognized option '{option}'")));
        }
    };
    if check_name(value).is_err() {
        return Err(ErrorReply::from(format!(
            "ERR {name} cannot contain spaces, newlines or special characters."
        )));
    }
    *field = value.to_vec();
    call.reply().ok();
    Ok(())
}

fn list(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let mut wanted_type = None;
    let mut wanted_ids: Option<Vec<i64>> = None;
    if arguments.remaining() == 2 && arguments.take_keyword("type") {
        wanted_type = Some(take_type(&mut arguments)?);
    } else if arguments.remaining() > 1 && arguments.take_keyword("id") {
        // No client has a number below zero; to ask for one is no error.
        let parsed: Option<Vec<i64>> = arguments.rest().map(parse_i64).collect();
        wanted_ids = Some(parsed.ok_or(ErrorReply::new("ERR Invalid client ID"))?);
    } else if !arguments.is_empty() {
        return Err(errors::SYNTAX);
    }
    let mut text = String::new();
    let running = running(call, &arguments);
    for (handle, session) in call.clients() {
        let is_wanted = wanted_type.is_none_or(|wanted| ClientType::of(session) == wanted)
            && wanted_ids
                .as_ref()
                .is_none_or(|ids| ids.iter().any(|&id| u64::try_from(id) == Ok(session.id)));
        if is_wanted {
            let running = Some(running).filter(|_| handle == call.handle);
            write_line(&mut text, session, call.now, running);
        }
    }
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn info(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let mut text = String::new();
    write_line(&mut text, call.session, call.now, Some(running(call, &arguments)));
    call.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// The running command and the size of its words.
fn running(call: &NodeCall<'_>, arguments: &Arguments<'_>) -> (&'static shoal_protocol::Command, usize) {
    (call.command, arguments.request().iter().map(<[u8]>::len).sum())
}

fn take_type(arguments: &mut Arguments<'_>) -> Result<ClientType, ErrorReply> {
    let word = arguments.take()?;
    ClientType::parse(word).ok_or_else(|| {
        ErrorReply::from(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word)))
    })
}

/// Which clients CLIENT KILL means: those that pass all filters that are given.
struct Filters {
    id: Option<u64>,
    client_type: Option<ClientType>,
    address: Option<Vec<u8>>,
    local_address: Option<Vec<u8>>,
    /// Leave out the client that asks.
    skip_me: bool,
}

impl Filters {
    fn parse(mut arguments: Arguments<'_>) -> Result<Self, ErrorReply> {
        let mut filters =
            Self { id: None, client_type: None, address: None, local_address: None, skip_me: true };
        while let Some(option) = arguments.take_optional() {
            if arguments.is_empty() {
                return Err(errors::SYNTAX);
            }
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_i64(arguments.take()?).filter(|&id| id > 0);
                    let id = id.ok_or(ErrorReply::new("ERR client-id should be greater than 0"))?;
                    filters.id = Some(id.cast_unsigned());
                }
                b"type" => filters.client_type = Some(take_type(&mut arguments)?),
                b"addr" => filters.address = Some(arguments.take()?.to_vec()),
                b"laddr" => filters.local_address = Some(arguments.take()?.to_vec()),
                b"user" => {
                    let user = arguments.take()?;
                    if user != b"default" {
                        let user = String::from_utf8_lossy(user);
                        return Err(ErrorReply::from(format!("ERR No such user '{user}'")));
                    }
                }
                b"skipme" => {
                    filters.skip_me = match arguments.take()?.to_ascii_lowercase().as_slice() {
                        b"yes" => true,
                        b"no" => false,
                        _ => return Err(errors::SYNTAX),
                    };
                }
                _ => return Err(errors::SYNTAX),
            }
        }
        Ok(filters)
    }

    fn fit(&self, session: &Session) -> bool {
        let identity = &session.identity;
        self.id.is_none_or(|id| session.id == id)
            && self.client_type.is_none_or(|wanted| ClientType::of(session) == wanted)
            && self.address.as_ref().is_none_or(|address| identity.address.as_bytes() == address)
            && self.local_address.as_ref().is_none_or(|address| identity.local_address.as_bytes() == address)
    }
}

fn kill(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let is_old_form = arguments.remaining() == 1;
    let filters = if is_old_form {
        let address = Some(arguments.take()?.to_vec());
        Filters { id: None, client_type: None, address, local_address: None, skip_me: false }
    } else {
        Filters::parse(arguments)?
    };
    let own = call.handle;
    let chosen: Vec<Handle> = call
        .clients()
        .into_iter()
        .filter(|(handle, session)| !(filters.skip_me && *handle == own) && filters.fit(session))
        .map(|(handle, _)| handle)
        .collect();
    for &handle in &chosen {
        if handle == own {
            call.session.close = Close::AfterReply;
        } else {
            call.node.note_cut(call.now, handle);
            call.node.close(handle, Close::Now);
        }
    }
    if !is_old_form {
        call.reply().integer(chosen.len() as i64);
    } else if chosen.is_empty() {
        return Err(ErrorReply::new("ERR No such client"));
    } else {
        call.reply().ok();
    }
    Ok(())
}

fn take_switch(arguments: &mut Arguments<'_>) -> Result<bool, ErrorReply> {
    match arguments.take()?.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(errors::SYNTAX),
    }
}

fn no_evict(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    call.session.no_evict = take_switch(&mut arguments)?;
    call.node.client_limit_changed();
    call.reply().ok();
    Ok(())
}

fn no_touch(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    call.session.no_touch = take_switch(&mut arguments)?;
    call.reply().ok();
    Ok(())
}

fn reply(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    match arguments.take()?.to_ascii_lowercase().as_slice() {
        b"on" => {
            call.session.reply_mode = ReplyMode::On;
            call.reply().ok();
        }
        b"off" => call.session.reply_mode = ReplyMode::Off,
        b"skip" => {
            if call.session.reply_mode != ReplyMode::Off {
                call.session.reply_mode = ReplyMode::SkipNext;
            }
        }
        _ => return Err(errors::SYNTAX),
    }
    Ok(())
}

fn pause(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let timeout = parse_i64(arguments.take()?)
        .ok_or(ErrorReply::new("ERR timeout is not an integer or out of range"))?;
    let kind = match arguments.take_optional().map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => PauseKind::All,
        Some(b"write") => PauseKind::Writes,
        Some(_) => return Err(ErrorReply::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    arguments.finish()?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| ErrorReply::new("ERR timeout is negative"))?;
    call.node.pauses.begin(PauseReason::ByClient, kind, call.now.monotonic.plus_ms(timeout_ms));
    call.reply().ok();
    Ok(())
}

fn unblock(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let id = arguments.take_i64()?;
    let with_error = match arguments.take_optional().map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"timeout") => false,
        Some(b"error") => true,
        Some(_) => {
            return Err(ErrorReply::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let found = call.node.clients.iter().find(|(_, session)| session.id.cast_signed() == id);
    let handle = found.map(|(handle, _)| handle);
    let was_blocked = handle.is_some_and(|handle| {
        let ending = if with_error { Ending::Error(UNBLOCKED_BY_CLIENT) } else { Ending::Timeout };
        call.node.end_wait(handle, with_error) || call.node.end_blocking(call.now, call.host, handle, ending)
    });
    call.reply().integer(i64::from(was_blocked));
    Ok(())
}

fn unpause(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.node.end_pause(PauseReason::ByClient);
    call.reply().ok();
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "GETNAME",
        "    The name of this connection.",
        "ID",
        "    The number of this connection.",
        "INFO",
        "    What there is to know about this connection, in the form of LIST.",
        "KILL <ip:port>",
        "    End the connection that comes from this address.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    End all connections that fit every option:",
        "    * ID <client-id>",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "    * USER <username>",
        "    * SKIPME (YES|NO): whether this connection is left out (default: yes).",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> [...]]",
        "    One line for each connection.",
        "NO-EVICT (ON|OFF)",
        "    Whether this connection is spared when clients use too much memory.",
        "NO-TOUCH (ON|OFF)",
        "    Whether commands of this connection leave the access times of keys alone.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Put off all commands, or those that write, for this many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Which replies this connection gets.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Note the client library of this connection.",
        "SETNAME <name>",
        "    Give this connection a name.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    End the waiting of a client's command, as if its time were over or with an error.",
        "UNPAUSE",
        "    End the pause.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    #[test]
    fn names_and_details() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("CLIENT ID", ":1"),
            ("CLIENT GETNAME", "nil"),
            ("CLIENT SETNAME worker", "+OK"),
            ("CLIENT GETNAME", "\"worker\""),
            (
                "CLIENT SETNAME \"a b\"",
                "-ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            ("CLIENT SETINFO lib-name redis-py", "+OK"),
            ("CLIENT SETINFO LIB-VER 5.0", "+OK"),
            (
                "CLIENT SETINFO lib-ver \"5 0\"",
                "-ERR lib-ver cannot contain spaces, newlines or special characters.",
            ),
            ("CLIENT SETINFO os linux", "-ERR Unrecognized option 'os'"),
            ("CLIENT NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
            ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
            ("CLIENT NO-EVICT on", "+OK"),
            ("CLIENT NO-TOUCH ON", "+OK"),
            ("CLIENT NO-TOUCH maybe", "-ERR syntax error"),
        ]);
        fixture.advance_ms(5000);
        let line = fixture.text("CLIENT INFO");
        assert!(
            line.starts_with(
                "id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name=worker age=5 idle=0 flags=eT db=0 sub=0 \
                 psub=0 ssub=0 multi=-1 qbuf="
            ),
            "{line}"
        );
        assert!(
            line.ends_with(
                " events=r cmd=client|info user=default redir=-1 resp=2 lib-name=redis-py lib-ver=5.0\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn lists_are_filtered() {
        let mut fixture = Fixture::new();
        fixture.connect();
        let ids = |text: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
        };
        assert_eq!(ids(&fixture.text("CLIENT LIST")), ["id=1", "id=2"]);
        assert_eq!(ids(&fixture.text("CLIENT LIST ID 2 9")), ["id=2"]);
        assert_eq!(ids(&fixture.text("CLIENT LIST TYPE normal")), ["id=1", "id=2"]);
        assert_eq!(ids(&fixture.text("CLIENT LIST TYPE PUBSUB")), [""; 0]);
        fixture.check_all(&[
            ("CLIENT LIST TYPE odd", "-ERR Unknown client type 'odd'"),
            ("CLIENT LIST ID x", "-ERR Invalid client ID"),
            ("CLIENT LIST what", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn kills_who_fits() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("CLIENT KILL 1.2.3.4:5", "-ERR No such client"),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
            ("CLIENT KILL ID x", "-ERR client-id should be greater than 0"),
            ("CLIENT KILL TYPE odd", "-ERR Unknown client type 'odd'"),
            ("CLIENT KILL USER nobody", "-ERR No such user 'nobody'"),
            ("CLIENT KILL SKIPME maybe", "-ERR syntax error"),
            ("CLIENT KILL ID 1 ADDR", "-ERR syntax error"),
            ("CLIENT KILL ID 1", ":0"),
        ]);
        let other = fixture.connect();
        fixture.check("CLIENT KILL 127.0.0.1:50001", "+OK");
        assert!(!fixture.is_connected(other));
        let (second, third) = (fixture.connect(), fixture.connect());
        fixture.check("CLIENT KILL TYPE normal LADDR 127.0.0.1:6379", ":2");
        assert!(!fixture.is_connected(second) && !fixture.is_connected(third));
        fixture.send_as(fixture.first(), &["CLIENT", "KILL", "ID", "1", "SKIPME", "no"]);
        assert!(!fixture.is_connected(fixture.first()));
    }

    #[test]
    fn replies_are_switched_off() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("PING", "+PONG"),
            ("CLIENT REPLY OFF", ""),
            ("PING", ""),
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("CLIENT REPLY what", ""),
            ("CLIENT REPLY ON", "+OK"),
            ("PING", "+PONG"),
        ]);
    }

    #[test]
    fn waiting_is_ended() {
        let mut fixture = Fixture::new();
        let waiting = fixture.connect();
        fixture.check_all(&[
            ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"),
            ("CLIENT UNBLOCK 2 what", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
            ("CLIENT UNBLOCK 2", ":0"),
            ("CLIENT UNBLOCK 99", ":0"),
        ]);
        fixture.check_as(waiting, "WAIT 1 0", "");
        assert!(fixture.text("CLIENT LIST ID 2").contains(" flags=b "));
        fixture.check("CLIENT UNBLOCK 2", ":1");
        assert_eq!(fixture.received(waiting), [":0"]);
        fixture.check_as(waiting, "WAIT 1 0", "");
        fixture.check("CLIENT UNBLOCK 2 error", ":1");
        assert_eq!(fixture.received(waiting), ["-UNBLOCKED client unblocked via CLIENT UNBLOCK"]);
    }

    #[test]
    fn pauses_put_commands_off() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE -1", "-ERR timeout is negative"),
            ("CLIENT PAUSE 1 SOME", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
            ("CLIENT PAUSE 100 WRITE", "+OK"),
            ("GET k", "nil"),
            ("PUBLISH c m", ""),
        ]);
        fixture.advance_ms(50);
        assert_eq!(fixture.received(fixture.first()), [""; 0]);
        fixture.advance_ms(50);
        assert_eq!(fixture.received(fixture.first()), [":0"]);
        let other = fixture.connect();
        fixture.check("CLIENT PAUSE 100", "+OK");
        fixture.check_as(other, "GET k", "");
        fixture.advance_ms(100);
        assert_eq!(fixture.received(other), ["nil"]);
        fixture.check("CLIENT PAUSE 100000 WRITE", "+OK");
        fixture.check_as(other, "PUBLISH c m", "");
        fixture.check("CLIENT UNPAUSE", "+OK");
        assert_eq!(fixture.received(other), [":0"]);
    }
}
