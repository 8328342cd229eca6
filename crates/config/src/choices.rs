//! The directives whose value is one of a few words.

use crate::kind::Kind;
use crate::value::{RewrittenLine, Source, Value, single};

macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal $(| $synonym:literal)?,)+
    })+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $name {
            /// All words that are understood, in the order in which an error lists them.
            pub const WORDS: &'static [&'static str] = &[$($word, $($synonym,)?)+];

            /// The word that CONFIG GET prints.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The choice of this word, in any case of letters.
            pub fn from_name(word: &[u8]) -> Option<Self> {
                $(
                    if word.eq_ignore_ascii_case($word.as_bytes())
                        $(|| word.eq_ignore_ascii_case($synonym.as_bytes()))?
                    {
                        return Some(Self::$variant);
                    }
                )+
                None
            }
        }

        impl Value for $name {
            fn assign(&mut self, _kind: &Kind, arguments: &[Vec<u8>], _source: Source) -> Result<(), String> {
                *self = Self::from_name(single(arguments)?).ok_or_else(|| not_listed(Self::WORDS))?;
                Ok(())
            }

            fn show(&self, _kind: &Kind) -> Vec<u8> {
                self.name().as_bytes().to_vec()
            }

            fn rewrite(&self, name: &str, default: &Self, _kind: &Kind) -> Vec<RewrittenLine> {
                vec![RewrittenLine { text: format!("{name} {}", self.name()), is_forced: self != default }]
            }
        }
    )+};
}

/// The error for a word that is none of `words`.
pub(crate) fn not_listed(words: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

choices! {
    /// What is evicted when `maxmemory` is reached.
    MaxmemoryPolicy {
        /// The least recently used key among those with an expiry.
        VolatileLru = "volatile-lru",
        /// The least frequently used key among those with an expiry.
        VolatileLfu = "volatile-lfu",
        /// Any key with an expiry.
        VolatileRandom = "volatile-random",
        /// The key that expires first.
        VolatileTtl = "volatile-ttl",
        /// The least recently used key.
        AllkeysLru = "allkeys-lru",
        /// The least frequently used key.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// Nothing: writes are refused.
        NoEviction = "noeviction",
    }

    /// The facility under which syslog files our messages.
    SyslogFacility {
        /// LOG_USER.
        User = "user",
        /// LOG_LOCAL0.
        Local0 = "local0",
        /// LOG_LOCAL1.
        Local1 = "local1",
        /// LOG_LOCAL2.
        Local2 = "local2",
        /// LOG_LOCAL3.
        Local3 = "local3",
        /// LOG_LOCAL4.
        Local4 = "local4",
        /// LOG_LOCAL5.
        Local5 = "local5",
        /// LOG_LOCAL6.
        Local6 = "local6",
        /// LOG_LOCAL7.
        Local7 = "local7",
    }

    /// The least important message that is logged.
    LogLevel {
        /// Everything.
        Debug = "debug",
        /// Much that is rarely useful.
        Verbose = "verbose",
        /// What an operator wants to see.
        Notice = "notice",
        /// What an operator must see.
        Warning = "warning",
        /// Nothing at all.
        Nothing = "nothing",
    }

    /// The supervisor that started the server.
    Supervised {
        /// Upstart: the server stops itself once it is ready.
        Upstart = "upstart",
        /// systemd: the server reports through `NOTIFY_SOCKET`.
        Systemd = "systemd",
        /// Whichever the environment shows.
        Auto = "auto",
        /// None.
        No = "no",
    }

    /// When the append-only file is flushed to disk.
    AppendFsync {
        /// Once a second.
        EverySecond = "everysec",
        /// Before each reply.
        Always = "always",
        /// When the operating system likes to.
        No = "no",
    }

    /// How a replica loads a data set that arrives without a file.
    DisklessLoad {
        /// It writes a file first.
        Disabled = "disabled",
        /// From the socket, if it has no data.
        OnEmptyDatabase = "on-empty-db",
        /// From the socket, into a second data set that then takes the first one's place.
        SwapDatabase = "swapdb",
    }

    /// Whether TLS clients must show a certificate.
    AuthClients {
        /// They need not.
        No = "no",
        /// They must.
        Yes = "yes",
        /// If they show one it must be valid.
        Optional = "optional",
    }

    /// How the kernel's out-of-memory score of the process is set.
    OomScoreAdjust {
        /// Not at all.
        No = "no",
        /// Relative to the score at the start.
        Relative = "yes" | "relative",
        /// To the given values.
        Absolute = "absolute",
    }

    /// Which channels a new ACL user may use.
    AclPubsubDefault {
        /// All.
        AllChannels = "allchannels",
        /// None.
        ResetChannels = "resetchannels",
    }

    /// Whether serialized values are checked in depth before they are taken in.
    SanitizePayload {
        /// Never.
        No = "no",
        /// Always.
        Yes = "yes",
        /// When a client sends them, but not from files or from the primary.
        Clients = "clients",
    }

    /// Who may use a protected feature.
    ProtectedAction {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Connections from this machine.
        Local = "local",
    }

    /// What CLUSTER SLOTS and redirections name a node by.
    EndpointType {
        /// Its address.
        Ip = "ip",
        /// Its announced host name.
        Hostname = "hostname",
        /// Nothing: the client keeps the host it used.
        UnknownEndpoint = "unknown-endpoint",
    }

    /// What a node does when a propagated command fails.
    PropagationErrorBehavior {
        /// Logs it.
        Ignore = "ignore",
        /// Stops the process.
        Panic = "panic",
        /// Stops the process if it is a replica.
        PanicOnReplicas = "panic-on-replicas",
    }
}
