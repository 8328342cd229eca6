//! Asking all nodes how they are, and waiting until they are well.

use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, ClientError};
use super::directory::DataDirectory;
use super::nodes::{Nodes, process_of};
use super::plan::{Plan, SLOT_COUNT};
use super::progress::{Interrupt, Progress};

/// How long a cluster may take to become healthy: replicas copy the data in this time.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What is known about one node.
#[derive(Debug, Clone)]
pub(super) struct NodeReport {
    pub port: u16,
    /// Its process, if it runs.
    pub process: Option<i32>,
    /// What it said, or why it did not.
    pub answer: Result<Answer, String>,
}

/// What a node said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    pub id: String,
    pub is_primary: bool,
    /// The id of its primary, if it is a replica.
    pub primary_id: Option<String>,
    /// The address of its primary.
    pub replica_of: Option<String>,
    /// Its slots as ranges: `0-5460`.
    pub slots: Vec<String>,
    /// `ok` or `fail`: whether it serves the cluster.
    pub cluster_state: String,
    /// How many nodes it knows.
    pub known_nodes: usize,
    /// Whether the link to its primary is up; true for a primary.
    pub is_link_up: bool,
    /// The ports of the replicas that it sends its stream of changes to.
    pub online_replicas: Vec<u16>,
}

impl NodeReport {
    fn feeds(&self, port: u16) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.online_replicas.contains(&port))
    }
}

/// Asks all nodes.
pub(super) fn survey(directory: &DataDirectory, plan: &Plan) -> Vec<NodeReport> {
    let ports = plan.ports();
    ports
        .map(|port| {
            let process = process_of(directory, port);
            let answer = match process {
                Some(_) => ask(port).map_err(|error| error.to_string()),
                None => Err("not running".into()),
            };
            NodeReport { port, process, answer }
        })
        .collect()
}

/// Whether all is well; if not, the first thing that is not.
pub(super) fn health(reports: &[NodeReport]) -> Result<(), String> {
    let mut covered = 0;
    for report in reports {
        let node = format!("127.0.0.1:{}", report.port);
        let answer = report.answer.as_ref().map_err(|reason| format!("{node}: {reason}"))?;
        if answer.known_nodes < reports.len() {
            return Err(format!("{node} knows {} of {} nodes", answer.known_nodes, reports.len()));
        }
        if answer.cluster_state != "ok" {
            return Err(format!("{node} says cluster_state:{}", answer.cluster_state));
        }
        if !answer.is_link_up {
            return Err(format!("{node} is not connected to its primary"));
        }
        // A replica that has just loaded its snapshot has a link, but gets no changes until its primary knows.
        if !answer.is_primary && !reports.iter().any(|other| other.feeds(report.port)) {
            return Err(format!("{node} is not fed by its primary yet"));
        }
        if answer.is_primary {
            covered += answer.slots.iter().map(|range| slots_of(range)).sum::<u32>();
        }
    }
    if covered == SLOT_COUNT { Ok(()) } else { Err(format!("{covered} of {SLOT_COUNT} slots have an owner")) }
}

/// Waits until all is well.
pub(super) fn wait_until_healthy(
    directory: &DataDirectory,
    plan: &Plan,
    nodes: &mut Nodes<'_>,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
) -> Result<Vec<NodeReport>, Failure> {
    let start = Instant::now();
    loop {
        let reports = survey(directory, plan);
        let has_replicas_pending = reports.len() > usize::from(plan.primaries()) && replicas(&reports) == 0;
        let reason = match health(&reports) {
            Ok(()) if has_replicas_pending => "no node is a replica yet".into(),
            Ok(()) => return Ok(reports),
            Err(reason) => reason,
        };
        progress.show("Waiting for a healthy cluster", &reason);
        if let Some((port, how)) = nodes.reap().into_iter().next() {
            return Err(Failure::new(format!(
                "node 127.0.0.1:{port} {how}. Its log is {}.",
                directory.log_path(port).display()
            )));
        }
        if start.elapsed() > HEALTH_TIMEOUT {
            return Err(Failure::new(format!(
                "the cluster is not healthy after {} s: {reason}. The logs are {}/PORT/log for the ports {:?}; \
                 run `shoal up{}` to try again.",
                HEALTH_TIMEOUT.as_secs(),
                directory.shown(),
                nodes.ports().collect::<Vec<_>>(),
                directory.option()
            )));
        }
        interrupt.pause(POLL_INTERVAL)?;
    }
}

/// The value of a `name:value` line of INFO or CLUSTER INFO.
pub(super) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

fn replicas(reports: &[NodeReport]) -> usize {
    reports.iter().filter(|report| report.answer.as_ref().is_ok_and(|answer| !answer.is_primary)).count()
}

fn ask(port: u16) -> Result<Answer, ClientError> {
    let mut client = Client::connect(port)?;
    let nodes = client.text(&["CLUSTER", "NODES"])?;
    let cluster = client.text(&["CLUSTER", "INFO"])?;
    let replication = client.text(&["INFO", "replication"])?;
    read(&nodes, &cluster, &replication).ok_or(ClientError::Garbled)
}

/// Reads the answers of one node.
fn read(nodes: &str, cluster: &str, replication: &str) -> Option<Answer> {
    let lines: Vec<Vec<&str>> = nodes.lines().map(|line| line.split(' ').collect()).collect();
    let myself = lines.iter().find(|fields| fields.get(2).is_some_and(|flags| flags.contains("myself")))?;
    let primary_id = myself.get(3).filter(|id| **id != "-").map(|id| (*id).to_string());
    // An address is `ip:port@bus,hostname`.
    let address = |fields: &Vec<&str>| Some(fields.get(1)?.split('@').next()?.to_string());
    let primary = lines.iter().find(|fields| fields.first().copied() == primary_id.as_deref());
    let is_primary = myself.get(2)?.split(',').any(|flag| flag == "master");
    let slots = myself.get(8..).unwrap_or_default().iter();
    Some(Answer {
        id: (*myself.first()?).into(),
        is_primary,
        replica_of: primary.and_then(address),
        primary_id,
        // A slot on its way stands in brackets.
        slots: slots.filter(|range| !range.starts_with('[')).map(|range| (*range).into()).collect(),
        cluster_state: info_field(cluster, "cluster_state")?.into(),
        known_nodes: info_field(cluster, "cluster_known_nodes")?.parse().ok()?,
        is_link_up: is_primary || info_field(replication, "master_link_status") == Some("up"),
        online_replicas: replication.lines().filter_map(online_replica).collect(),
    })
}

/// The port of a replica that is online, from a line `slave0:ip=127.0.0.1,port=30004,state=online,…`.
fn online_replica(line: &str) -> Option<u16> {
    let (name, fields) = line.trim_end().split_once(':')?;
    let number = name.strip_prefix("slave")?;
    number.parse::<u32>().ok()?;
    let field = |wanted: &str| {
        fields
            .split(',')
            .find_map(|field| field.split_once('=').filter(|(name, _)| *name == wanted))
            .map(|(_, v)| v)
    };
    (field("state")? == "online").then_some(())?;
    field("port")?.parse().ok()
}

/// How many slots a range has.
fn slots_of(range: &str) -> u32 {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u32>(), last.parse::<u32>()) {
        (Ok(first), Ok(last)) if last >= first => last - first + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
aa 127.0.0.1:30001@40001 master - 0 1 1 connected 0-5460
bb 127.0.0.1:30004@40004,host myself,slave aa 0 1 4 connected
cc 127.0.0.1:30002@40002 master - 0 1 2 connected 5461-16383 [5461->-aa]
";
    const CLUSTER: &str = "cluster_state:ok\r\ncluster_known_nodes:3\r\n";

    #[test]
    fn answers_are_read() {
        let answer = read(NODES, CLUSTER, "role:slave\r\nmaster_link_status:up\r\n").unwrap();
        assert_eq!((answer.id.as_str(), answer.is_primary, answer.is_link_up), ("bb", false, true));
        assert_eq!(answer.replica_of.as_deref(), Some("127.0.0.1:30001"));
        assert_eq!((answer.cluster_state.as_str(), answer.known_nodes), ("ok", 3));
        let primary = NODES.replace("myself,", "").replace("30002@40002 master", "30002@40002 myself,master");
        let answer = read(&primary, CLUSTER, "role:master\r\n").unwrap();
        assert_eq!(answer.slots, ["5461-16383"]);
        assert!(answer.is_primary && answer.is_link_up);
        let info = "role:master\r\nslave0:ip=127.0.0.1,port=30004,state=online,offset=14,lag=0\r\n\
                    slave1:ip=127.0.0.1,port=30005,state=wait_bgsave,offset=0,lag=0\r\n";
        assert_eq!(read(&primary, CLUSTER, info).unwrap().online_replicas, [30004]);
        assert_eq!(read("", CLUSTER, ""), None);
        assert_eq!(read(NODES, "", ""), None);
    }

    #[test]
    fn the_first_trouble_is_named() {
        let answer = |slots: &[&str]| Answer {
            is_primary: true,
            cluster_state: "ok".into(),
            known_nodes: 2,
            is_link_up: true,
            slots: slots.iter().map(|range| (*range).into()).collect(),
            ..Answer::default()
        };
        let report = |port, answer| NodeReport { port, process: Some(1), answer };
        let well = [report(1, Ok(answer(&["0-16382"]))), report(2, Ok(answer(&["16383"])))];
        assert_eq!(health(&well), Ok(()));
        let cases: [(Result<Answer, String>, &str); 6] = [
            (Err("not running".into()), "127.0.0.1:2: not running"),
            (Ok(answer(&[])), "16383 of 16384 slots have an owner"),
            (
                Ok(Answer { cluster_state: "fail".into(), ..answer(&["16383"]) }),
                "127.0.0.1:2 says cluster_state:fail",
            ),
            (Ok(Answer { known_nodes: 1, ..answer(&["16383"]) }), "127.0.0.1:2 knows 1 of 2 nodes"),
            (
                Ok(Answer { is_link_up: false, is_primary: false, ..answer(&[]) }),
                "127.0.0.1:2 is not connected to its primary",
            ),
            (Ok(Answer { is_primary: false, ..answer(&[]) }), "127.0.0.1:2 is not fed by its primary yet"),
        ];
        for (second, expected) in cases {
            assert_eq!(health(&[well[0].clone(), report(2, second)]), Err(expected.into()));
        }
    }
}
