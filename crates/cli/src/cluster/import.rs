//! `--cluster import`: the keys of a server that is no cluster move into one.

use super::check;
use super::client::{Cluster, Member};
use super::log::{Level, log};
use super::moving::authentication;
use super::node::{Node, parse_address};
use super::planned::{self, PlannedStep};
use super::progress::Progress;
use crate::console::{self, out};
use crate::exit::{Exit, Step, fail};
use crate::modes::statistics::info_number;
use crate::options::Options;
use crate::repl::ask_password;
use crate::text::lossy;
use shoal_protocol::slot::{SLOT_COUNT, key_slot};
use shoal_protocol::value::Value;

/// Keys asked for with one SCAN.
const SCAN_COUNT: &str = "1000";

/// Imports database 0 of the server that `--cluster-from` names.
pub(super) fn run(arguments: &[Vec<u8>], options: &Options) -> Step<i32> {
    let (host, port) = source_address(options)?;
    let address = arguments.first().map(|address| lossy(address).into_owned()).unwrap_or_default();
    log(Level::Information, &format!(">>> Importing data from {host}:{port} to cluster {address}\n"));
    let mut cluster = super::load(arguments, options)?;
    if !check::check(&mut cluster, false)?.is_clean() {
        return Ok(1);
    }
    let mut source = connect(&host, port, options)?;
    let info = source.text(&["INFO"])?;
    if info_number(&info, "cluster_enabled") != 0 {
        log(Level::Error, "[ERR] The source node should not be a cluster node.\n");
        return Ok(1);
    }
    let size = source.call_or_complain(&["DBSIZE"])?.as_integer().unwrap_or(0);
    log(Level::Warning, &format!("*** Importing {size} keys from DB 0\n"));
    let owners = owners(&cluster)?;
    let progress = Progress::of_keys("Importing", u64::try_from(size).unwrap_or(0), options);
    scan(&mut source, |source, keys| {
        for key in keys {
            let owner = &cluster.members[owners[usize::from(key_slot(key))]].node;
            progress.aside(|| {
                out!("Migrating {} to {}: ", lossy(key), owner.address());
                console::flush();
                migrate(source, owner, key, options)?;
                log(Level::Success, "OK\n");
                Ok(())
            })?;
            progress.advance(1);
        }
        Ok(())
    })?;
    Ok(0)
}

/// What an import would do: a step for each primary. All keys of the source are listed, and the primaries are asked which of them they
/// have.
pub(super) fn planned(cluster: &mut Cluster, options: &Options) -> Step<Vec<PlannedStep>> {
    let (host, port) = source_address(options)?;
    let mut source = connect(&host, port, options)?;
    let info = source.text(&["INFO"])?;
    if info_number(&info, "cluster_enabled") != 0 {
        fail!("[ERR] The source node should not be a cluster node.");
    }
    let size = source.call_or_complain(&["DBSIZE"])?.as_integer().unwrap_or(0);
    let bytes_per_key = info_number(&info, "used_memory_dataset") / size.max(1);
    let bytes_per_key = u64::try_from(bytes_per_key).unwrap_or(0);
    let owners = owners(cluster)?;
    let mut seen = vec![(0, 0); cluster.members.len()];
    scan(&mut source, |_, keys| {
        let mut asked = vec![0; cluster.members.len()];
        for key in keys {
            let at = owners[usize::from(key_slot(key))];
            cluster.members[at].connection.queue(&[b"EXISTS".as_slice(), key]);
            asked[at] += 1;
        }
        for (at, count) in asked.into_iter().enumerate() {
            for _ in 0..count {
                match cluster.members[at].receive() {
                    Ok(found) => {
                        let (keys, present) = &mut seen[at];
                        *keys += 1;
                        *present += u64::from(found.as_integer() == Some(1));
                    }
                    Err(error) => fail!("Node {}: {error}", cluster.members[at].node.address()),
                }
            }
        }
        Ok(())
    })?;
    let of_member = |(at, (keys, present)): (usize, (u64, u64))| {
        let node = &cluster.members[at].node;
        let text = format!("import keys of {host}:{port} to {}", node.address());
        let figures = (keys, keys * bytes_per_key, present);
        (keys > 0).then(|| planned::arrival(planned::IMPORT_KEYS, text, node, figures, &options.cluster))
    };
    Ok(seen.into_iter().enumerate().filter_map(of_member).collect())
}

/// The server that `--cluster-from` names.
fn source_address(options: &Options) -> Step<(String, i64)> {
    let Some(from) = &options.cluster.from else {
        fail!("[ERR] Option '--cluster-from' is required for subcommand 'import'.");
    };
    match parse_address(from).filter(|(host, port, _)| !host.is_empty() && *port > 0) {
        Some((host, port, _)) => Ok((host, port)),
        None => {
            fail!("[ERR] Invalid --cluster-from host. You need to pass a valid address (ie. 120.0.0.1:7000).")
        }
    }
}

/// Lists all keys of the source, some at a time.
fn scan(source: &mut Member, mut take: impl FnMut(&mut Member, &[&[u8]]) -> Step) -> Step {
    let mut cursor = b"0".to_vec();
    loop {
        let reply =
            source.call_or_complain(&[b"SCAN".as_slice(), &cursor, b"COUNT", SCAN_COUNT.as_bytes()])?;
        let Some([next, Value::Array(keys)]) = reply.as_elements() else {
            fail!("Invalid reply to SCAN from {}", source.node.address());
        };
        let keys: Vec<&[u8]> = keys.iter().filter_map(Value::as_bytes).collect();
        take(source, &keys)?;
        cursor = next.as_bytes().unwrap_or_default().to_vec();
        if cursor == b"0" || cursor.is_empty() {
            return Ok(());
        }
    }
}

/// The server that is read, with its own name and password.
fn connect(host: &str, port: i64, options: &Options) -> Step<Member> {
    let cluster = &options.cluster;
    let password = if cluster.from_ask_password {
        Some(ask_password("Please input import source node password: ")?)
    } else {
        cluster.from_password.clone()
    };
    let mut own = options.clone();
    own.user = cluster.from_user.clone();
    own.password = password;
    Member::connect(Node::at(host, port), &own)
}

/// The primary of every slot.
fn owners(cluster: &Cluster) -> Step<Vec<usize>> {
    let mut owners = vec![None; usize::from(SLOT_COUNT)];
    for (index, member) in cluster.members.iter().enumerate().filter(|(_, member)| !member.node.is_replica())
    {
        member.node.slots.iter().for_each(|slot| owners[usize::from(*slot)] = Some(index));
    }
    owners.into_iter().collect::<Option<Vec<_>>>().ok_or(Exit(1))
}

fn migrate(source: &mut Member, owner: &Node, key: &[u8], options: &Options) -> Step {
    let (port, timeout) = (owner.port.to_string(), options.cluster.timeout_ms.to_string());
    let mut words: Vec<&[u8]> =
        vec![b"MIGRATE", owner.host.as_bytes(), port.as_bytes(), key, b"0", timeout.as_bytes()];
    words.extend(authentication(options));
    if options.cluster.copy {
        words.push(b"COPY");
    }
    if options.cluster.replace {
        words.push(b"REPLACE");
    }
    source.call(&words).map(drop).map_err(|error| {
        let address = source.node.address();
        log(Level::Error, &format!("Source {address} replied with error:\n{error}\n"));
        Exit(1)
    })
}
