//! The context in which a command runs that needs more than the keyspace.

use crate::clients::Handle;
use crate::host::Host;
use crate::node::Node;
use shoal_machine::Now;
use shoal_protocol::{Arguments, Command, ErrorReply, Reply};
use shoal_session::{Close, Session};
use shoal_store::{Call, Outcome};

/// One running command.
pub struct NodeCall<'a> {
    /// The node.
    pub node: &'a mut Node,
    /// The client; it is not in the table of clients while its command runs.
    pub session: &'a mut Session,
    /// The client's place in the table.
    pub handle: Handle,
    /// The shell.
    pub host: &'a mut dyn Host,
    /// The time when the command began.
    pub now: Now,
    /// The command.
    pub command: &'static Command,
}

/// The body of a command. Its arguments stand on the first word after the name (after the subcommand's name).
pub type NodeBody = for<'a, 'q> fn(&'a mut NodeCall<'_>, Arguments<'q>) -> Outcome;

impl NodeCall<'_> {
    /// Runs a piece of a command that works on the keyspace as data commands do.
    pub(crate) fn with_store<R>(&mut self, run: impl FnOnce(&mut Call<'_, '_>) -> R) -> R {
        self.node.with_store(self.now, self.session, true, run)
    }

    /// Where the reply goes.
    pub fn reply(&mut self) -> Reply<'_> {
        self.session.reply()
    }

    /// Another client or this one.
    pub fn client_mut(&mut self, handle: Handle) -> Option<&mut Session> {
        if handle == self.handle { Some(self.session) } else { self.node.clients.session_mut(handle) }
    }

    /// Every client, this one included, in the order of their ids; but for those whose connections end with this turn of
    /// the loop.
    pub fn clients(&self) -> Vec<(Handle, &Session)> {
        let others = self.node.clients.iter().filter(|(_, session)| session.close != Close::Now);
        let mut clients: Vec<(Handle, &Session)> = others.collect();
        clients.push((self.handle, self.session));
        clients.sort_by_key(|(_, session)| session.id);
        clients
    }

    /// The error for a word that is no subcommand or does not fit one.
    pub fn subcommand_syntax(&self, word: &[u8]) -> ErrorReply {
        let container = self.command.parent.map_or(self.command.name, |parent| parent.row().name);
        ErrorReply::from(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
            String::from_utf8_lossy(word),
            container.to_uppercase()
        ))
    }

    /// Replies with the lines of a HELP subcommand: a heading of our own, the lines, and the line about HELP itself.
    pub fn reply_help(&mut self, lines: &[&str]) {
        let container =
            self.command.parent.map_or(self.command.name, |parent| parent.row().name).to_uppercase();
        let mut reply = self.session.reply();
        reply.array(lines.len() + 3);
        reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        for line in lines {
            reply.simple(line);
        }
        reply.simple("HELP");
        reply.simple("    Print this help.");
    }
}
