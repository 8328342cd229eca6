//! What the launcher prints about a cluster.

use std::fmt::Write;

use serde_json::{Value, json};

use super::directory::DataDirectory;
use super::plan::Plan;
use super::survey::NodeReport;

/// The table of nodes.
pub(super) fn table(reports: &[NodeReport]) -> String {
    let header = ["ADDRESS", "ROLE", "SLOTS", "REPLICA OF", "PID"].map(String::from);
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(reports.iter().map(row)).collect();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::from("\n");
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push('\n');
    text
}

/// How to use the cluster that now runs.
pub(super) fn how_to_connect(directory: &DataDirectory, plan: &Plan, is_detached: bool) -> String {
    let stop = if is_detached {
        format!("shoal down{option}\nStatus:   shoal status{option}", option = directory.option())
    } else {
        "Ctrl-C".into()
    };
    format!(
        "Connect:  shoal cli -c -p {port}   (or any Redis Cluster client, at 127.0.0.1:{port})\n\
         Stop:     {stop}\n\
         The data stays in {}.\n",
        directory.shown(),
        port = plan.port,
    )
}

/// A sentence on how the cluster is.
pub(super) fn summary(
    directory: &DataDirectory,
    reports: &[NodeReport],
    health: &Result<(), String>,
) -> String {
    let running = reports.iter().filter(|report| report.process.is_some()).count();
    let option = directory.option();
    match health {
        Ok(()) => "All is well: every slot is served and every replica is connected.\n".into(),
        Err(_) if running == 0 => format!("No node is running. `shoal up{option}` starts them.\n"),
        Err(reason) if running < reports.len() => {
            format!(
                "Not all is well: {reason}. `shoal up --detach{option}` starts the nodes that do not run.\n"
            )
        }
        Err(reason) => format!("Not all is well: {reason}.\n"),
    }
}

/// The status for programs.
pub(super) fn json(directory: &DataDirectory, reports: &[NodeReport], health: &Result<(), String>) -> String {
    let running = reports.iter().filter(|report| report.process.is_some()).count();
    let state = match health {
        Ok(()) => "ok",
        Err(_) if running == 0 => "stopped",
        Err(_) => "degraded",
    };
    let nodes: Vec<Value> = reports.iter().map(node).collect();
    let status = json!({
        "directory": directory.shown().to_string(),
        "state": state,
        "reason": health.as_ref().err(),
        "nodes": nodes,
    });
    format!("{status:#}\n")
}

fn node(report: &NodeReport) -> Value {
    let mut node = json!({ "address": address(report), "pid": report.process });
    let Some(fields) = node.as_object_mut() else { return node };
    match &report.answer {
        Ok(answer) => {
            fields.insert("id".into(), json!(answer.id));
            fields.insert("role".into(), json!(role(answer.is_primary)));
            fields.insert("slots".into(), json!(answer.slots));
            fields.insert("replica_of".into(), json!(answer.replica_of));
            fields.insert("cluster_state".into(), json!(answer.cluster_state));
            fields.insert("link_up".into(), json!(answer.is_link_up));
        }
        Err(reason) => {
            fields.insert("error".into(), json!(reason));
        }
    }
    node
}

fn row(report: &NodeReport) -> [String; 5] {
    let process = report.process.map_or_else(|| "-".into(), |process| process.to_string());
    match &report.answer {
        Ok(answer) => {
            let slots = if answer.slots.is_empty() { "-".into() } else { answer.slots.join(" ") };
            let replica_of =
                answer.replica_of.clone().or(answer.primary_id.clone()).unwrap_or_else(|| "-".into());
            [address(report), role(answer.is_primary).into(), slots, replica_of, process]
        }
        Err(_) => {
            let state = if report.process.is_none() { "not running" } else { "no answer" };
            [address(report), state.into(), "-".into(), "-".into(), process]
        }
    }
}

fn address(report: &NodeReport) -> String {
    format!("127.0.0.1:{}", report.port)
}

const fn role(is_primary: bool) -> &'static str {
    if is_primary { "primary" } else { "replica" }
}

#[cfg(test)]
mod tests {
    use super::super::survey::Answer;
    use super::*;

    #[test]
    fn the_table_is_aligned() {
        let primary = Answer { is_primary: true, slots: vec!["0-5460".into()], ..Answer::default() };
        let replica = Answer { replica_of: Some("127.0.0.1:30001".into()), ..Answer::default() };
        let reports = [
            NodeReport { port: 30001, process: Some(12), answer: Ok(primary) },
            NodeReport { port: 30004, process: Some(345), answer: Ok(replica) },
            NodeReport { port: 30005, process: None, answer: Err("not running".into()) },
        ];
        let expected = "
ADDRESS          ROLE         SLOTS   REPLICA OF       PID
127.0.0.1:30001  primary      0-5460  -                12
127.0.0.1:30004  replica      -       127.0.0.1:30001  345
127.0.0.1:30005  not running  -       -                -

";
        assert_eq!(table(&reports), expected);
    }
}
