//! Making a cluster of nodes that know nothing of each other, with the commands that an operator would use.

use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, ClientError};
use super::plan::Plan;
use super::progress::{Interrupt, Progress};
use super::survey::info_field;

/// How long the nodes may take to get to know each other.
const MEET_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command that is refused for a passing reason is tried again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Gives the primaries their slots, lets all nodes meet, and attaches the replicas.
pub(super) fn form(plan: &Plan, progress: &mut Progress, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let phase = "Forming the cluster";
    progress.show(phase, "slots");
    for (port, first, last) in plan.primary_slots() {
        call(port, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()], interrupt)?;
    }
    // Epochs that differ from the start spare the nodes the work of making them differ.
    for (index, port) in plan.ports().enumerate() {
        call(port, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()], interrupt)?;
    }
    for port in plan.ports().skip(1) {
        call(plan.port, &["CLUSTER", "MEET", "127.0.0.1", &port.to_string()], interrupt)?;
    }
    let start = Instant::now();
    let mut strangers: Vec<u16> = plan.ports().collect();
    while !strangers.is_empty() {
        let mut left = Vec::new();
        for port in strangers {
            if !knows_everybody(port, plan)? {
                left.push(port);
            }
        }
        strangers = left;
        let met = usize::from(plan.nodes) - strangers.len();
        progress.show(phase, &format!("{met} of {} nodes know all others", plan.nodes));
        if start.elapsed() > MEET_TIMEOUT {
            return Err(Failure::new(format!(
                "the nodes did not get to know each other within {} s: 127.0.0.1 must let through the ports {} to {}. \
                 Then run `shoal up --fresh`.",
                MEET_TIMEOUT.as_secs(),
                plan.port + super::plan::BUS_PORT_OFFSET,
                plan.port + super::plan::BUS_PORT_OFFSET + plan.nodes - 1,
            )));
        }
        interrupt.pause(POLL_INTERVAL)?;
    }
    for (replica, primary) in plan.replica_pairs() {
        progress.show(phase, &format!("{replica} replicates {primary}"));
        let id = connect(primary)?.text(&["CLUSTER", "MYID"]).map_err(|error| refused(primary, &error))?;
        call(replica, &["CLUSTER", "REPLICATE", &id], interrupt)?;
    }
    Ok(())
}

/// Whether a node knows all nodes, and none of them by a preliminary name only.
fn knows_everybody(port: u16, plan: &Plan) -> Result<bool, Failure> {
    let mut client = connect(port)?;
    let info = client.text(&["CLUSTER", "INFO"]).map_err(|error| refused(port, &error))?;
    let known = info_field(&info, "cluster_known_nodes").and_then(|count| count.parse().ok());
    if known != Some(plan.nodes) {
        return Ok(false);
    }
    let nodes = client.text(&["CLUSTER", "NODES"]).map_err(|error| refused(port, &error))?;
    Ok(!nodes.contains("handshake"))
}

fn connect(port: u16) -> Result<Client, Failure> {
    Client::connect(port).map_err(|error| refused(port, &error))
}

/// Calls a command that changes the cluster. A node whose bus is only just starting, or that has not heard of another
/// node yet, refuses for a moment; the command is then tried again.
fn call(port: u16, arguments: &[&str], interrupt: &mut Interrupt) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let error = match connect(port)?.call(arguments) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let may_pass = matches!(&error, ClientError::Refused(text)
            if text.starts_with("CLUSTERDOWN") || text.starts_with("ERR Unknown node"));
        if !may_pass || start.elapsed() > RETRY_TIMEOUT {
            return Err(Failure::new(format!(
                "node 127.0.0.1:{port} refuses `{}`: {error}",
                arguments.join(" ")
            )));
        }
        interrupt.pause(POLL_INTERVAL)?;
    }
}

fn refused(port: u16, error: &ClientError) -> Failure {
    Failure::new(format!("node 127.0.0.1:{port} does not answer: {error}"))
}
