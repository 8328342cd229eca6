//! `--cluster import`: the keys of a server that is no cluster move into one.

use super::check;
use super::client::{Cluster, Member};
use super::log::{Level, log};
use super::moving::authentication;
use super::node::{Node, parse_address};
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
    let Some(from) = &options.cluster.from else {
        fail!("[ERR] Option '--cluster-from' is required for subcommand 'import'.");
    };
    let Some((host, port, _)) = parse_address(from).filter(|(host, port, _)| !host.is_empty() && *port > 0)
    else {
        fail!("[ERR] Invalid --cluster-from host. You need to pass a valid address (ie. 120.0.0.1:7000).");
    };
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
    let mut cursor = b"0".to_vec();
    loop {
        let reply =
            source.call_or_complain(&[b"SCAN".as_slice(), &cursor, b"COUNT", SCAN_COUNT.as_bytes()])?;
        let Some([next, Value::Array(keys)]) = reply.as_elements() else {
            fail!("Invalid reply to SCAN from {host}:{port}");
        };
        for key in keys.iter().filter_map(Value::as_bytes) {
            let owner = &cluster.members[owners[usize::from(key_slot(key))]].node;
            progress.aside(|| {
                out!("Migrating {} to {}: ", lossy(key), owner.address());
                console::flush();
                migrate(&mut source, owner, key, options)?;
                log(Level::Success, "OK\n");
                Ok(())
            })?;
            progress.advance(1);
        }
        cursor = next.as_bytes().unwrap_or_default().to_vec();
        if cursor == b"0" || cursor.is_empty() {
            return Ok(0);
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
