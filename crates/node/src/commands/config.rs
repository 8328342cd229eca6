//! CONFIG: reading, changing and writing down the configuration.

use crate::call::{NodeBody, NodeCall};
use crate::host::LogLevel;
use crate::node::Node;
use crate::replication::LoadKind;
use crate::stats::Stats;
use shoal_cluster::ClusterCommand;
use shoal_config::{Change, SetContext, SetError};
use shoal_protocol::{Arguments, CommandId, ErrorReply};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::ConfigGet, get),
    (CommandId::ConfigSet, set),
    (CommandId::ConfigRewrite, rewrite),
    (CommandId::ConfigResetstat, resetstat),
    (CommandId::ConfigHelp, help),
];

/// Directives whose effect CLUSTER SLOTS and SHARDS show.
const SHOWN_BY_CLUSTER: &[&str] = &[
    "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6",
    "cluster-announce-client-port",
    "cluster-announce-client-tls-port",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-announce-tls-port",
    "cluster-announce-hostname",
    "cluster-announce-human-nodename",
    "cluster-preferred-endpoint-type",
];

fn get(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = arguments.rest().collect();
    let found = call.node.config.matching(&patterns);
    let mut reply = call.reply();
    reply.map(found.len());
    for (name, value) in &found {
        reply.bulk(name);
        reply.bulk(value);
    }
    Ok(())
}

fn set(call: &mut NodeCall<'_>, arguments: Arguments<'_>) -> Outcome {
    let words: Vec<&[u8]> = arguments.rest().collect();
    let is_loading = call.node.is_loading || call.node.load_kind() != LoadKind::Hidden;
    let context = SetContext { is_loading, is_local_client: call.session.identity.is_local };
    let change = call.node.config.set(&words, context).map_err(as_reply)?;
    if let Err(error) = call.host.apply_configuration(&call.node.config, &change) {
        call.node.config.restore(change);
        return Err(as_reply(error));
    }
    if change.contains("aof-disable-auto-gc") {
        call.node.delete_history(call.host);
    }
    if change.contains("appendonly")
        && let Err(reason) = call.node.change_appendonly(call.now, call.host)
    {
        // The other directives are in force already; they are taken back as well.
        let _ = call.host.apply_configuration(change.previous(), &change);
        call.node.config.restore(change);
        return Err(as_reply(SetError::failed("appendonly", reason)));
    }
    call.node.configuration_changed();
    call.node.cluster_configuration_changed(call.host);
    if call.node.cluster.is_some() && SHOWN_BY_CLUSTER.iter().any(|name| change.contains(name)) {
        // Whoever asks next sees the change. An old view is better than none.
        let _ = call.node.run_cluster_command(call.now, call.host, ClusterCommand::Refresh);
    }
    call.node.count_good_replicas(call.now.monotonic);
    admit_everybody(call, &change);
    show_listeners(call, &change);
    warn_of_small_memory(call, &change);
    if change.contains("maxmemory") {
        call.node.memory_limit_changed();
    }
    call.reply().ok();
    Ok(())
}

/// Without a password, clients that have not given one yet may go on.
fn admit_everybody(call: &mut NodeCall<'_>, change: &Change) {
    if !change.contains("requirepass") || !call.node.config.requirepass.is_empty() {
        return;
    }
    call.session.is_authenticated = true;
    call.node.clients.for_each_mut(|session| session.is_authenticated = true);
}

/// INFO shows where clients can connect now.
fn show_listeners(call: &mut NodeCall<'_>, change: &Change) {
    if !change.contains("port") && !change.contains("bind") {
        return;
    }
    let node = &mut *call.node;
    let listeners = &mut node.identity.listeners;
    listeners.retain(|listener| !listener.starts_with("name=tcp,"));
    if node.config.port != 0 {
        let addresses = node.config.bind.0.join(",bind=");
        listeners.insert(0, format!("name=tcp,bind={addresses},port={}", node.config.port));
    }
}

/// A limit below what is in use makes itself felt at once.
fn warn_of_small_memory(call: &mut NodeCall<'_>, change: &Change) {
    let limit = call.node.config.maxmemory_bytes;
    if limit == 0 || !change.contains("maxmemory") {
        return;
    }
    let used = call.host.facts().used_memory_bytes;
    if limit < used {
        let text = format!(
            "WARNING: the new maxmemory value set via CONFIG SET ({limit}) is smaller than the current memory usage \
             ({used}). This will result in key eviction and/or the inability to accept new write commands depending \
             on the maxmemory-policy."
        );
        call.host.log(LogLevel::Warning, &text);
    }
}

fn as_reply(error: SetError) -> ErrorReply {
    ErrorReply::from(error.to_string())
}

fn rewrite(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    if call.node.config.file.path.is_none() {
        return Err(ErrorReply::new("ERR The server is running without a config file"));
    }
    match call.node.rewrite_configuration(call.host, false) {
        Ok(()) => {
            call.host.log(LogLevel::Notice, "CONFIG REWRITE executed with success.");
            call.reply().ok();
            Ok(())
        }
        Err(reason) => {
            call.host.log(LogLevel::Warning, &format!("CONFIG REWRITE failed: {reason}"));
            Err(ErrorReply::from(format!("ERR Rewriting config file: {reason}")))
        }
    }
}

impl Node {
    /// Writes the configuration in force into its file; with `all`, also what has its default.
    ///
    /// # Errors
    /// What went wrong; the file is as it was.
    pub(crate) fn rewrite_configuration(
        &self,
        host: &mut dyn crate::host::Host,
        all: bool,
    ) -> Result<(), String> {
        let path = self.config.file.path.as_deref().ok_or("there is no file")?;
        let old = host.read_configuration(path)?.unwrap_or_default();
        let users = self.user_lines();
        let text =
            if all { self.config.rewrite_all(&old, &users) } else { self.config.rewrite(&old, &users) };
        host.write_configuration(path, &text)
    }

    /// The users as `user` lines without that word: those of the file, or the one that always is.
    fn user_lines(&self) -> Vec<String> {
        if !self.config.file.users.is_empty() {
            let line = |words: &Vec<Vec<u8>>| {
                let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
                words.join(" ")
            };
            return self.config.file.users.iter().map(line).collect();
        }
        if self.config.requirepass.is_empty() {
            vec!["default on nopass sanitize-payload ~* &* +@all".to_owned()]
        } else {
            // The password stands in `requirepass`.
            Vec::new()
        }
    }
}

fn resetstat(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.node.stats = Stats::default();
    if let Some(stats) = call.node.cluster.as_mut().and_then(|side| side.slot_stats.as_mut()) {
        stats.reset(|_| true);
    }
    call.reply().ok();
    Ok(())
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "GET <pattern> [<pattern> ...]",
        "    The directives whose names match, with their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Change directives, all of them or none.",
        "RESETSTAT",
        "    Begin the counters that INFO shows anew.",
        "REWRITE",
        "    Write the configuration in force into its file.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;
    use shoal_config::SetError;

    #[test]
    fn values_are_read_and_set() {
        let mut fixture = Fixture::new();
        fixture.check_all(&[
            ("CONFIG GET maxmemory", "[\"maxmemory\", \"0\"]"),
            ("CONFIG GET maxmemory port", "[\"maxmemory\", \"0\", \"port\", \"6379\"]"),
            ("CONFIG GET nosuch", "[]"),
            ("CONFIG SET maxmemory 1mb timeout 5", "+OK"),
            ("CONFIG GET maxmemor?", "[\"maxmemory\", \"1048576\"]"),
            ("CONFIG SET maxmemory", "-ERR wrong number of arguments for 'config|set' command"),
            ("CONFIG SET maxmemory 1 port", "-ERR syntax error"),
            (
                "CONFIG SET nosuch 1",
                "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            ),
            (
                "CONFIG SET daemonize yes",
                "-ERR CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config",
            ),
        ]);
        assert_eq!(fixture.host.applied, [vec!["maxmemory", "timeout"]]);
        assert!(fixture.host.has_logged("smaller than the current memory usage (2097152)"));
    }

    #[test]
    fn a_change_that_fails_is_taken_back() {
        let mut fixture = Fixture::new();
        fixture.host.apply_error = Some(SetError::failed("port", "Unable to listen on this port"));
        fixture.check_all(&[
            (
                "CONFIG SET port 7000",
                "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port",
            ),
            ("CONFIG GET port", "[\"port\", \"6379\"]"),
        ]);
    }

    #[test]
    fn changes_take_effect() {
        let mut fixture = Fixture::new();
        fixture.check("CONFIG SET requirepass secret maxclients 2", "+OK");
        let other = fixture.connect();
        fixture.check("CONFIG SET bind \"127.0.0.1 ::1\" port 7000", "+OK");
        let info = fixture.text("INFO server");
        assert!(info.contains("\r\nlistener0:name=tcp,bind=127.0.0.1,bind=::1,port=7000\r\n"), "{info}");
        fixture.check("PING", "+PONG");
        fixture.check_as(other, "PING", "-NOAUTH Authentication required.");
        assert!(fixture.connect_from("127.0.0.1:9", true).is_err());
        fixture.check("CONFIG SET requirepass \"\"", "+OK");
        fixture.check_as(other, "PING", "+PONG");
    }

    #[test]
    fn changes_reach_the_store_and_the_cluster() {
        use shoal_cluster::NodeMessage;
        let mut fixture = Fixture::with_configuration(&[("cluster-enabled", "yes")]);
        let words = "cluster-node-timeout 1234 cluster-announce-hostname n.example rdb-version-compat 10";
        fixture.check(&format!("CONFIG SET {words}"), "+OK");
        let told = fixture.host.cluster_messages.iter().rev().find_map(|message| match message {
            NodeMessage::ConfigChanged(config) => Some(config),
            _ => None,
        });
        let told = told.expect("the machine hears of it");
        assert_eq!(told.node_timeout_ms, 1234);
        assert_eq!(told.announce_hostname.as_deref(), Some("n.example"));
        assert!(told.nodes_conf_without_auxiliary);

        let mut fixture = Fixture::new();
        let version = |fixture: &mut Fixture, line: &str| {
            fixture.run(line);
            fixture.send_as(fixture.first(), &["DUMP", "k"]);
            let value = fixture.values(fixture.first()).pop();
            let payload = value.as_ref().and_then(|value| value.as_bytes()).map(<[u8]>::to_vec);
            payload.and_then(|payload| Some(*payload.get(payload.len() - 10)?))
        };
        assert_eq!(version(&mut fixture, "SET k v"), Some(11));
        assert_eq!(version(&mut fixture, "CONFIG SET rdb-version-compat 10"), Some(10));
    }

    #[test]
    fn the_file_is_rewritten() {
        let mut fixture = Fixture::new();
        fixture.check("CONFIG REWRITE", "-ERR The server is running without a config file");
        fixture.node.config.file.path = Some("/etc/shoal.conf".to_owned());
        fixture.host.files.insert("/etc/shoal.conf".to_owned(), b"# mine\ntimeout 0\n".to_vec());
        fixture.check("CONFIG SET timeout 7", "+OK");
        fixture.check("CONFIG REWRITE", "+OK");
        let text = String::from_utf8(fixture.host.files["/etc/shoal.conf"].clone()).unwrap();
        assert!(text.starts_with("# mine\ntimeout 7\n"), "{text}");
        assert!(text.contains("\nuser default on nopass"), "{text}");
        assert!(fixture.host.has_logged("CONFIG REWRITE executed with success."));
    }

    #[test]
    fn counters_begin_anew() {
        let mut fixture = Fixture::new();
        fixture.run("NOSUCH");
        assert_eq!(fixture.node.stats().total_errors, 1);
        fixture.check("CONFIG RESETSTAT", "+OK");
        assert_eq!(fixture.node.stats().total_errors, 0);
    }
}
