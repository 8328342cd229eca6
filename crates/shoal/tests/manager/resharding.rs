//! Slots move: by dialogue and by options, from one, three and all primaries.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use crate::support::driver::Driver;
use crate::support::{Cluster, LATER, Server, eventually};
use shoal_protocol::value::Value;

const HOW_MANY: &str = "How many slots do you want to move (from 1 to 16384)? ";
const RECEIVER: &str = "What is the receiving node ID? ";
const PROCEED: &str = "Do you want to proceed with the proposed reshard plan (yes/no)? ";

crate::scenarios! {
    /// The dialogue, with 2000 slots from one primary to another.
    cluster_reshard_dialogue,
    /// 6000 slots from three primaries that are named; the arithmetic moves 5999.
    reshard_three_sources,
    /// 600 slots from all; the arithmetic moves 599.
    reshard_all_sources,
    /// 4096 slots from all to a new node.
    reshard_4096_all,
}

fn cluster_reshard_dialogue(driver: &Driver) {
    let cluster = driver.six();
    let (source, target) = (cluster.id(0), cluster.id(2));
    let answers = [
        (HOW_MANY, "2000"),
        (RECEIVER, &target),
        ("Source node #1: ", &source),
        ("Source node #2: ", "done"),
        (PROCEED, "yes"),
    ];
    let address = cluster.nodes[0].address();
    let (refused, _) = driver.dialogue(&["--cluster", "reshard", &address], &with_last(&answers, "no"));
    assert!(refused.contains("\nReady to move 2000 slots.\n  Source nodes:\n    M: "), "{refused}");
    assert_eq!(slots(&cluster, 0), ["0-5460"], "nothing moves without a yes");

    let (moved, code) = driver.dialogue(&["--cluster", "reshard", &address], &answers);
    assert_eq!(code, 0, "{moved}");
    assert!(moved.starts_with(&format!(">>> Performing Cluster Check (using node {address})\n")), "{moved}");
    assert!(
        moved.contains("  Type 'all' to use all the nodes as source nodes for the hash slots.\n"),
        "{moved}"
    );
    assert!(moved.contains(&format!("    Moving slot 1999 from {source}\n")), "{moved}");
    let line = format!("Moving slot 1999 from {address} to {}: \n", cluster.nodes[2].address());
    assert!(moved.contains(&line), "{moved}");
    cluster.wait_until_settled();
    assert_eq!(slots(&cluster, 0), ["2000-5460"]);
    assert_eq!(slots(&cluster, 2), ["0-1999", "10923-16383"]);
}

fn with_last<'a>(answers: &[(&'a str, &'a str)], last: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut answers = answers.to_vec();
    answers.last_mut().unwrap().1 = last;
    answers
}

fn reshard_three_sources(driver: &Driver) {
    let cluster = with_new_primary(driver);
    let (target, sources) = (cluster.id(6), [0, 1, 2].map(|index| cluster.id(index)));
    let (moved, code) = driver.dialogue(
        &["--cluster", "reshard", &cluster.nodes[0].address()],
        &[
            (HOW_MANY, "6000"),
            (RECEIVER, &target),
            ("Source node #1: ", &sources[0]),
            ("Source node #2: ", &sources[1]),
            ("Source node #3: ", &sources[2]),
            ("Source node #4: ", "done"),
            (PROCEED, "yes"),
        ],
    );
    assert_eq!(code, 0, "{moved}");
    assert_eq!(moved.matches("    Moving slot ").count(), 5999, "{moved}");
    cluster.wait_until_settled();
    let expected = ["1999-5460", "7462-10922", "12922-16383"];
    (0..3).for_each(|index| assert_eq!(slots(&cluster, index), [expected[index]]));
    assert_eq!(slots(&cluster, 6), ["0-1998", "5461-7461", "10923-12921"]);
}

fn reshard_all_sources(driver: &Driver) {
    let cluster = with_new_primary(driver);
    let target = cluster.id(6);
    // Keys travel with their slots.
    let mut keys = 0;
    for (index, node) in cluster.nodes[..3].iter().enumerate() {
        let mut connection = node.connect();
        for number in 0..40 {
            let key = crate::support::cluster::key_of(index, 3, number);
            assert_eq!(connection.text(&["SET", &key, "value"]), "OK");
            keys += 1;
        }
    }
    let (moved, code) = driver.dialogue(
        &["--cluster", "reshard", &cluster.nodes[0].address()],
        &[(HOW_MANY, "600"), (RECEIVER, &target), ("Source node #1: ", "all"), (PROCEED, "yes")],
    );
    assert_eq!(code, 0, "{moved}");
    cluster.wait_until_settled();
    assert_eq!(slots(&cluster, 6), ["0-198", "5461-5661", "10923-11121"]);
    let total: usize = [0, 1, 2, 6].iter().map(|&index| size(&cluster.nodes[index])).sum();
    assert_eq!(total, keys);
}

fn reshard_4096_all(driver: &Driver) {
    let cluster = with_new_primary(driver);
    let (address, target) = (cluster.nodes[0].address(), cluster.id(6));
    let port = cluster.nodes[0].port().to_string();
    // The port is given as an option, too, as people do.
    let options =
        ["--cluster-from", "all", "--cluster-to", &target, "--cluster-slots", "4096", "--cluster-yes"];
    let mut line = vec!["-p", &port, "--cluster", "reshard", &address];
    line.extend(options);
    let moved = driver.good(&line);
    assert!(moved.contains("\nReady to move 4096 slots.\n"), "{moved}");
    cluster.wait_until_settled();
    assert_eq!(slots(&cluster, 6), ["0-1364", "5461-6826", "10923-12287"]);
    let expected = [
        (0, 1364, 1),
        (1365, 5460, 2),
        (5461, 6826, 1),
        (6827, 10922, 2),
        (10923, 12287, 1),
        (12288, 16383, 2),
    ];
    // A replica is shown when the node has heard from it that it has data.
    eventually(LATER, "the ranges with the number of nodes of each", || ranges(&cluster) == expected);
    let (checked, code) = driver.run(&["--cluster", "check", &address], "");
    assert_eq!(code, 0, "{checked}");
}

/// What CLUSTER SLOTS shows: first and last slot of each range, and how many nodes have it.
fn ranges(cluster: &Cluster) -> Vec<(i64, i64, usize)> {
    let reply = cluster.nodes[0].connect().call(&["CLUSTER", "SLOTS"]);
    let range = |range: &Value| {
        let parts = range.as_elements().unwrap();
        (parts[0].as_integer().unwrap(), parts[1].as_integer().unwrap(), parts.len() - 2)
    };
    let mut ranges: Vec<_> = reply.as_elements().unwrap().iter().map(range).collect();
    ranges.sort_unstable();
    ranges
}

/// Six nodes, and a seventh that `add-node` made a primary without slots.
fn with_new_primary(driver: &Driver) -> Cluster {
    let mut cluster = driver.six();
    let new = driver.single();
    let added = driver.manage("add-node", &[&new.address(), &cluster.nodes[0].address()]);
    assert!(added.ends_with("[OK] New node added correctly.\n"), "{added}");
    cluster.nodes.push(new);
    cluster.wait_until_settled();
    cluster
}

fn size(node: &Server) -> usize {
    node.call(&["DBSIZE"]).parse().unwrap()
}

/// The slots of a node as it shows them itself.
fn slots(cluster: &Cluster, index: usize) -> Vec<String> {
    cluster.line(index, index).unwrap().slots
}
