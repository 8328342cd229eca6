//! The error texts that clients know.

use crate::reply::ErrorReply;

/// An operation on a value of another type.
pub const WRONG_TYPE: ErrorReply =
    ErrorReply::new("WRONGTYPE Operation against a key holding the wrong kind of value");
/// Words that do not fit a command's syntax.
pub const SYNTAX: ErrorReply = ErrorReply::new("ERR syntax error");
/// Not an integer of 64 bits.
pub const NOT_AN_INTEGER: ErrorReply = ErrorReply::new("ERR value is not an integer or out of range");
/// Not a floating point number.
pub const NOT_A_FLOAT: ErrorReply = ErrorReply::new("ERR value is not a valid float");
/// A number outside its bounds.
pub const OUT_OF_RANGE: ErrorReply = ErrorReply::new("ERR value is out of range");
/// A number that has to be positive.
pub const MUST_BE_POSITIVE: ErrorReply = ErrorReply::new("ERR value is out of range, must be positive");
/// An integer that left its range.
pub const OVERFLOW: ErrorReply = ErrorReply::new("ERR increment or decrement would overflow");
/// A key that has to exist.
pub const NO_SUCH_KEY: ErrorReply = ErrorReply::new("ERR no such key");
/// Source and destination are one.
pub const SAME_OBJECT: ErrorReply = ErrorReply::new("ERR source and destination objects are the same");
/// A database number outside `databases`.
pub const DB_OUT_OF_RANGE: ErrorReply = ErrorReply::new("ERR DB index is out of range");
/// Keys of several slots in one command.
pub const CROSS_SLOT: ErrorReply = ErrorReply::new("CROSSSLOT Keys in request don't hash to the same slot");
/// No password given yet.
pub const NO_AUTH: ErrorReply = ErrorReply::new("NOAUTH Authentication required.");
/// A write on a replica.
pub const READ_ONLY: ErrorReply = ErrorReply::new("READONLY You can't write against a read only replica.");
/// A replica without its primary that does not serve old data.
pub const MASTER_DOWN: ErrorReply =
    ErrorReply::new("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
/// Not enough replicas.
pub const NO_REPLICAS: ErrorReply = ErrorReply::new("NOREPLICAS Not enough good replicas to write.");
/// The data set is being loaded.
pub const LOADING: ErrorReply = ErrorReply::new("LOADING Redis is loading the dataset in memory");
/// Memory is used up.
pub const OUT_OF_MEMORY: ErrorReply =
    ErrorReply::new("OOM command not allowed when used memory > 'maxmemory'.");
/// A transaction with a refused command.
pub const EXEC_ABORT: ErrorReply =
    ErrorReply::new("EXECABORT Transaction discarded because of previous errors.");
/// The last snapshot failed.
pub const BACKGROUND_SAVE_FAILED: ErrorReply = ErrorReply::new(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
     Commands that may modify the data set are disabled, because this instance is configured to report errors \
     during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs \
     for details about the RDB error.",
);
/// A value already there.
pub const BUSY_KEY: ErrorReply = ErrorReply::new("BUSYKEY Target key name already exists.");
/// The cluster cannot serve.
pub const CLUSTER_DOWN: ErrorReply = ErrorReply::new("CLUSTERDOWN The cluster is down");
/// The cluster cannot serve, and refuses reads as well as writes.
pub const CLUSTER_DOWN_UNBOUND: ErrorReply = ErrorReply::new("CLUSTERDOWN Hash slot not served");
/// Keys of a slot in migration that are partly here.
pub const TRY_AGAIN: ErrorReply = ErrorReply::new("TRYAGAIN Multiple keys request during rehashing of slot");

/// How much of an unknown name and its arguments an error repeats.
const REPEATED_BYTES: usize = 128;

/// The error for a name that is no command.
pub fn unknown_command(name: &[u8], arguments: &[&[u8]]) -> ErrorReply {
    let mut shown = String::new();
    for argument in arguments {
        if shown.len() >= REPEATED_BYTES {
            break;
        }
        let room = REPEATED_BYTES - shown.len();
        let argument = &argument[..argument.len().min(room)];
        shown.push_str(&format!("'{}' ", String::from_utf8_lossy(argument)));
    }
    let name = &name[..name.len().min(REPEATED_BYTES)];
    ErrorReply::from(format!(
        "ERR unknown command '{}', with args beginning with: {shown}",
        String::from_utf8_lossy(name)
    ))
}

/// The error for a word that is none of a container's subcommands.
pub fn unknown_subcommand(container: &str, name: &[u8]) -> ErrorReply {
    let name = &name[..name.len().min(REPEATED_BYTES)];
    ErrorReply::from(format!(
        "ERR unknown subcommand '{}'. Try {} HELP.",
        String::from_utf8_lossy(name),
        container.to_uppercase()
    ))
}

/// The error for too few or too many words.
pub fn wrong_arity(name: &str) -> ErrorReply {
    ErrorReply::from(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The error for an expiry that is no point in time.
pub fn invalid_expire(name: &str) -> ErrorReply {
    ErrorReply::from(format!("ERR invalid expire time in '{name}' command"))
}
