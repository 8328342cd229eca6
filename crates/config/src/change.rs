//! CONFIG SET: several directives at once, all or none.

use std::fmt;

use crate::directives::{Config, Directive};
use crate::kind::Flags;
use crate::value::Source;

/// The circumstances of a CONFIG SET.
#[derive(Debug, Clone, Copy)]
pub struct SetContext {
    /// The server is loading a data set.
    pub is_loading: bool,
    /// The client is on this machine, or is no network client at all.
    pub is_local_client: bool,
}

/// What a CONFIG SET did. Whoever carries out its consequences can take it back with [`Config::restore`].
#[derive(Debug)]
pub struct Change {
    /// The names (not aliases) of the directives whose consequences must be carried out: those with another value
    /// than before, and those whose files may have changed.
    pub directives: Vec<&'static str>,
    previous: Box<Config>,
}

impl Change {
    /// Whether the directive of this name (not an alias) changed.
    pub fn contains(&self, name: &str) -> bool {
        self.directives.contains(&name)
    }

    /// The configuration as it was before.
    pub fn previous(&self) -> &Config {
        &self.previous
    }
}

/// Why a CONFIG SET was refused. Its text is the whole error reply without the leading `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// A name without a value.
    Syntax,
    /// There is no such directive.
    Unknown(Vec<u8>),
    /// A directive that cannot change while a data set is being loaded.
    Loading,
    /// A value that is refused, or a change that could not be carried out.
    Failed {
        /// The directive.
        directive: Vec<u8>,
        /// Why, if there is more to say.
        reason: Option<String>,
    },
}

impl SetError {
    /// The error of a change that could not be carried out.
    pub fn failed(directive: &str, reason: impl Into<String>) -> Self {
        Self::Failed { directive: directive.into(), reason: Some(reason.into()) }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => formatter.write_str("ERR syntax error"),
            Self::Unknown(name) => write!(
                formatter,
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                String::from_utf8_lossy(name)
            ),
            Self::Loading => formatter.write_str("LOADING Redis is loading the dataset in memory"),
            Self::Failed { directive, reason } => {
                let directive = String::from_utf8_lossy(directive);
                write!(formatter, "ERR CONFIG SET failed (possibly related to argument '{directive}')")?;
                reason.as_ref().map_or(Ok(()), |reason| write!(formatter, " - {reason}"))
            }
        }
    }
}

impl std::error::Error for SetError {}

/// The rate of housekeeping is kept between these, whatever `hz` asks for.
const HZ_BOUNDS: (u32, u32) = (1, 500);

impl Config {
    /// Carries out CONFIG SET on `arguments`, which are names and values in turn.
    ///
    /// # Errors
    /// The first reason to refuse; nothing has changed then.
    pub fn set(&mut self, arguments: &[impl AsRef<[u8]>], context: SetContext) -> Result<Change, SetError> {
        let (pairs, rest) = arguments.as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() {
            return Err(SetError::Syntax);
        }
        let mut wanted: Vec<(&'static Directive, &'static str, &[u8])> = Vec::with_capacity(pairs.len());
        for [name, value] in pairs {
            let (row, own_name) = self.settable(name.as_ref(), context)?;
            // An alias is another directive to this check, as it is in Redis.
            if wanted.iter().any(|(_, known, _)| *known == own_name) {
                return Err(refused(name.as_ref(), "duplicate parameter"));
            }
            wanted.push((row, own_name, value.as_ref()));
        }
        let previous = Box::new(self.clone());
        let mut directives = Vec::new();
        for (row, own_name, value) in wanted {
            if let Err(reason) = self.assign_text(row, value) {
                *self = *previous;
                return Err(refused(own_name.as_bytes(), &reason));
            }
            let is_changed = !(row.is_equal)(self, &previous) || row.flags.contains(Flags::VOLATILE);
            if is_changed && !directives.contains(&row.name) {
                directives.push(row.name);
            }
        }
        self.keep_in_range();
        Ok(Change { directives, previous })
    }

    /// Takes a change back.
    pub fn restore(&mut self, change: Change) {
        *self = *change.previous;
    }

    /// Caps what Redis caps silently instead of refusing it.
    pub(crate) fn keep_in_range(&mut self) {
        self.hz = self.hz.clamp(HZ_BOUNDS.0, HZ_BOUNDS.1);
    }

    /// The directive of this name with the name or alias it was found by, if CONFIG SET may change it.
    fn settable(
        &self,
        name: &[u8],
        context: SetContext,
    ) -> Result<(&'static Directive, &'static str), SetError> {
        let unknown = || SetError::Unknown(name.to_vec());
        let row = Self::directive(name).ok_or_else(unknown)?;
        let own_name =
            row.names().find(|own| own.as_bytes().eq_ignore_ascii_case(name)).ok_or_else(unknown)?;
        if row.flags.contains(Flags::IMMUTABLE) {
            return Err(refused(name, "can't set immutable config"));
        }
        if row.flags.contains(Flags::PROTECTED)
            && !self.enable_protected_configs.allows(context.is_local_client)
        {
            return Err(refused(name, "can't set protected config"));
        }
        if context.is_loading && row.flags.contains(Flags::DENIED_WHILE_LOADING) {
            return Err(SetError::Loading);
        }
        Ok((row, own_name))
    }

    /// Gives a directive its value from one text, which is split at single spaces if several arguments are taken.
    fn assign_text(&mut self, row: &Directive, value: &[u8]) -> Result<(), String> {
        let arguments: Vec<Vec<u8>> = match (row.flags.contains(Flags::MULTIPLE), value) {
            (true, []) => Vec::new(),
            (true, _) => value.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect(),
            (false, _) => vec![value.to_vec()],
        };
        (row.assign)(self, &row.kind, &arguments, Source::Command)
    }
}

fn refused(directive: &[u8], reason: &str) -> SetError {
    SetError::Failed { directive: directive.to_vec(), reason: Some(reason.into()) }
}

impl crate::ProtectedAction {
    /// Whether a client may do it.
    pub const fn allows(self, is_local_client: bool) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::Local => is_local_client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: SetContext = SetContext { is_loading: false, is_local_client: true };

    /// The error texts and values here were compared with a redis-server 7.0.15.
    #[test]
    fn sets_and_refuses_as_redis_does() {
        let failed = "ERR CONFIG SET failed (possibly related to argument ";
        let cases: &[(&[&str], &str)] = &[
            (&["maxmemory", "1gb"], "maxmemory 1073741824"),
            (&["MAXMEMORY", "12k"], "maxmemory 12000"),
            (&["maxmemory", "-1"], "'maxmemory') - argument must be a memory value"),
            (&["maxmemory-clients", "5%"], "maxmemory-clients 5%"),
            (
                &["maxmemory-clients", "101%"],
                "'maxmemory-clients') - percentage argument must be less or equal to 100",
            ),
            (
                &["maxmemory-clients", "x"],
                "'maxmemory-clients') - argument must be a memory or percent value",
            ),
            (&["save", ""], "save "),
            (&["save", "10 1 20 2"], "save 10 1 20 2"),
            (&["save", "10"], "'save') - Invalid save parameters"),
            (&["save", "0 1"], "'save') - Invalid save parameters"),
            (&["save", "1 2  3 4"], "'save') - Invalid save parameters"),
            (&["hz", "1000"], "hz 500"),
            (&["hz", "0"], "hz 1"),
            (&["hz", "-1"], "'hz') - argument must be between 0 and 2147483647 inclusive"),
            (&["timeout", "007"], "'timeout') - argument couldn't be parsed into an integer"),
            (&["maxclients", "-1"], "'maxclients') - argument must be between 1 and 4294967295 inclusive"),
            (&["protected-mode", "maybe"], "'protected-mode') - argument must be 'yes' or 'no'"),
            (
                &["appendfsync", "sometimes"],
                "'appendfsync') - argument(s) must be one of the following: everysec, always, no",
            ),
            (&["appendfsync", "ALWAYS"], "appendfsync always"),
            (&["oom-score-adj", "relative"], "oom-score-adj yes"),
            (&["oom-score-adj-values", "1 2 3"], "oom-score-adj-values 1 2 3"),
            (&["oom-score-adj-values", "1 2"], "'oom-score-adj-values') - wrong number of arguments"),
            (
                &["oom-score-adj-values", "1 2 a"],
                "'oom-score-adj-values') - Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
            ),
            (&["shutdown-on-sigterm", "save force"], "shutdown-on-sigterm save force"),
            (
                &["shutdown-on-sigterm", "save nosave"],
                "'shutdown-on-sigterm') - shutdown options SAVE and NOSAVE can't be used simultaneously",
            ),
            (
                &["client-output-buffer-limit", "normal 1k 2 3 replica 0 0 0"],
                "client-output-buffer-limit normal 1000 2 3 slave 0 0 0 pubsub 33554432 8388608 60",
            ),
            (
                &["client-output-buffer-limit", "master 0 0 0"],
                "'client-output-buffer-limit') - Invalid client class specified in buffer limit configuration.",
            ),
            (
                &["client-output-buffer-limit", "normal 0 0"],
                "'client-output-buffer-limit') - Wrong number of arguments in buffer limit configuration.",
            ),
            (&["notify-keyspace-events", "KEA"], "notify-keyspace-events AKE"),
            (&["notify-keyspace-events", "Elg"], "notify-keyspace-events glE"),
            (
                &["notify-keyspace-events", "q"],
                "'notify-keyspace-events') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            ),
            (
                &["latency-tracking-info-percentiles", "50 99.123456789 0"],
                "latency-tracking-info-percentiles 50 99.123457 0",
            ),
            (
                &["latency-tracking-info-percentiles", "500"],
                "'latency-tracking-info-percentiles') - latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            (&["bind", "127.0.0.1 -::1"], "bind 127.0.0.1 -::1"),
            (&["bind", ""], "bind "),
            (
                &["proc-title-template", "{foo}"],
                "'proc-title-template') - template format is invalid or contains unknown variables",
            ),
            (&["port", "65536"], "'port') - argument must be between 0 and 65535 inclusive"),
            (&["daemonize", "yes"], "'daemonize') - can't set immutable config"),
            (&["UnixSocketPerm", "1"], "'UnixSocketPerm') - can't set immutable config"),
            (&["dir", "/"], "'dir') - can't set protected config"),
            (&["slave-priority", "7"], "replica-priority 7"),
            (&["slave-priority", "x"], "'slave-priority') - argument couldn't be parsed into an integer"),
            (&["rdb-version-compat", "10"], "rdb-version-compat 10"),
            (
                &["rdb-version-compat", "9"],
                "'rdb-version-compat') - argument must be between 10 and 11 inclusive",
            ),
            (&["timeout", "1", "TIMEOUT", "2"], "'TIMEOUT') - duplicate parameter"),
            (
                &["timeout", "1", "nonsense", "2"],
                "?ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'",
            ),
            (&["timeout"], "?ERR syntax error"),
        ];
        for (arguments, expected) in cases {
            let mut config = Config::default();
            match config.set(arguments, PLAIN) {
                Ok(change) => {
                    let (name, value) = expected.split_once(' ').unwrap();
                    assert_eq!(String::from_utf8(config.value_of(name.as_bytes()).unwrap()).unwrap(), value);
                    assert!(change.contains(name) || config == Config::default(), "{arguments:?}");
                }
                Err(error) => {
                    let expected = match expected.strip_prefix('?') {
                        Some(whole) => whole.to_string(),
                        None => format!("{failed}{expected}"),
                    };
                    assert_eq!(error.to_string(), expected, "{arguments:?}");
                    assert_eq!(config, Config::default(), "{arguments:?} changed something");
                }
            }
        }
    }

    #[test]
    fn several_change_together_or_not_at_all() {
        let mut config = Config::default();
        let change = config.set(&["timeout", "5", "hz", "10", "maxmemory", "1mb"], PLAIN).unwrap();
        assert_eq!(change.directives, ["timeout", "maxmemory"]);
        assert_eq!(change.previous().timeout_seconds, 0);
        config.restore(change);
        assert_eq!(config, Config::default());
        assert!(config.set(&["timeout", "5", "maxmemory", "x"], PLAIN).is_err());
        assert_eq!(config, Config::default());
    }

    #[test]
    fn circumstances_count() {
        let mut config = Config::default();
        let loading = SetContext { is_loading: true, ..PLAIN };
        assert_eq!(config.set(&["appendonly", "yes"], loading).unwrap_err(), SetError::Loading);
        config.enable_protected_configs = crate::ProtectedAction::Local;
        assert!(config.set(&["dbfilename", "x.rdb"], PLAIN).is_ok());
        let remote = SetContext { is_local_client: false, ..PLAIN };
        assert!(config.set(&["dbfilename", "y.rdb"], remote).is_err());
        let change = config.set(&["tls-cert-file", ""], PLAIN).unwrap();
        assert_eq!(change.directives, ["tls-cert-file"], "the file may have changed");
    }
}
