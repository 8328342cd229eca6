//! What our manager does with what was begun and not finished, with nodes that do not answer, and with slots of which nobody can
//! say whose they are.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::own::{DRIVERS, json_of, plan};
use crate::support::cluster::key_of;
use crate::support::driver::{self, Driver};
use crate::support::{Cluster, LATER, Server, eventually};

fn actions(plan: &Json) -> Vec<&str> {
    plan["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect()
}

/// A creation and an addition that were stopped are finished; what is so already is told, and nothing is done.
#[test]
fn what_was_begun_is_finished() {
    for driver in &DRIVERS {
        let mut cluster = driver.nodes(4);
        let addresses: Vec<String> = cluster.nodes.iter().map(Server::address).collect();
        let three: Vec<&str> = addresses[..3].iter().map(String::as_str).collect();
        let create = [&["create"], &three[..]].concat();
        let planned = plan(driver, &create);
        assert_eq!(actions(&planned), ["assign-slots", "assign-slots", "assign-slots", "meet", "meet"]);
        assert_eq!((&planned["cost"]["slots"], &planned["risk"]), (&json!(16_384), &json!("low")));

        // As if it had been stopped: one has its slots, and knows another one.
        assert_eq!(cluster.nodes[0].call(&["CLUSTER", "ADDSLOTSRANGE", "0", "5460"]), "OK");
        let port = cluster.nodes[0].port().to_string();
        assert_eq!(cluster.nodes[1].call(&["CLUSTER", "MEET", "127.0.0.1", &port]), "OK");
        eventually(LATER, "two know each other", || (0..2).all(|index| cluster.table(index).len() == 2));
        let (refused, code) = json_of(driver, "outcome", &[&create[..], &["--cluster-yes"]].concat());
        let messages = refused["messages"].to_string();
        assert!(messages.contains("is not empty") && messages.contains("--cluster-if-needed"), "{refused}");
        assert_eq!(code, 1);
        let again = [&create[..], &["--cluster-yes", "--cluster-if-needed"]].concat();
        let planned = plan(driver, &again);
        assert_eq!(actions(&planned), ["assign-slots", "assign-slots", "meet", "meet"]);
        let (created, code) = json_of(driver, "outcome", &again);
        assert!(
            created["messages"].to_string().contains("going on where that stopped") && code == 0,
            "{created}"
        );
        let last = cluster.nodes.pop().unwrap();
        cluster.wait_until_settled();
        assert_eq!(actions(&plan(driver, &again)), [""; 0]);
        let mut four = again.clone();
        four.insert(4, &addresses[3]);
        let (refused, code) = json_of(driver, "outcome", &four);
        let messages = refused["messages"].to_string();
        assert!(messages.contains("has other slots than it would get") && code == 1, "{refused}");

        // The fourth was introduced, and what was to follow did not.
        let (first, primary, other) = (three[0], cluster.id(0), cluster.id(1));
        assert_eq!(last.call(&["CLUSTER", "MEET", "127.0.0.1", &port]), "OK");
        cluster.nodes.push(last);
        eventually(LATER, "four know each other", || (0..4).all(|index| cluster.table(index).len() == 4));
        cluster.wait_until_settled();
        let add = [
            "add-node",
            &addresses[3],
            first,
            "--cluster-slave",
            "--cluster-master-id",
            &primary,
            "--cluster-if-needed",
        ];
        assert_eq!(actions(&plan(driver, &add)), ["replicate"]);
        let (added, code) = json_of(driver, "outcome", &add);
        assert_eq!(code, 0, "{added}");
        eventually(LATER, "it is a replica", || follows(&cluster, &primary));
        assert_eq!(actions(&plan(driver, &add)), [""; 0]);

        becomes_replica_of_another(driver, &cluster, &other);
    }
}

/// The fourth node, a replica of the first, is made one of this primary.
fn becomes_replica_of_another(driver: &Driver, cluster: &Cluster, other: &str) {
    let (first, primary) = (&*cluster.nodes[0].address(), cluster.id(0));
    let replica = cluster.id(3);
    let replicate = ["replicate", first, &replica, other];
    assert_eq!(plan(driver, &replicate)["steps"][0]["risk"], "medium");
    let (done, code) = json_of(driver, "outcome", &replicate);
    assert_eq!((&done["result"]["primary"], code), (&json!(other), 0), "{done}");
    eventually(LATER, "it follows the other one", || follows(cluster, other));
    let (done, code) = json_of(driver, "outcome", &replicate);
    assert!(done["messages"].to_string().contains("already") && code == 0, "{done}");
    let (refused, code) = json_of(driver, "outcome", &["replicate", first, &primary, other]);
    assert!(refused["messages"].to_string().contains("`drain`") && code == 1, "{refused}");
}

/// Whether all four nodes see the fourth as a replica of this primary.
fn follows(cluster: &Cluster, primary: &str) -> bool {
    let line = |index| cluster.line(index, 3);
    (0..4).all(|index| line(index).is_some_and(|line| line.has("slave") && line.primary == primary))
}

/// Nothing is waited for without end, and what is said tells what was waited for and what can be done.
#[test]
fn everything_has_a_deadline() {
    for driver in &DRIVERS {
        let cluster = driver.nodes(2);
        let first = cluster.nodes[0].address();
        cluster.nodes[0].signal("STOP");
        let (late, code) = driver.run(&["--cluster", "info", &first, "--cluster-reply-timeout", "300"], "");
        cluster.nodes[0].signal("CONT");
        assert!(late.contains("no answer within 300 ms (--cluster-reply-timeout)") && code == 1, "{late}");

        // Nobody can reach the bus of a node that tells a wrong address.
        let lost = driver.setup().conf("cluster-enabled yes\ncluster-announce-ip 192.0.2.1").start();
        let addresses = [first, cluster.nodes[1].address(), lost.address()];
        let mut line = vec!["--cluster", "create"];
        line.extend(addresses.iter().map(String::as_str));
        line.extend(["--cluster-yes", "--cluster-wait-timeout", "1500"]);
        let (late, code) = driver.run(&line, "");
        assert!(
            late.contains("[ERR] After 1500 ms (--cluster-wait-timeout) the nodes have not joined: "),
            "{late}"
        );
        assert!(late.contains(&lost.address()) && late.contains("bus port") && code == 1, "{late}");
    }
    let nowhere = ["--cluster", "check", "192.0.2.1:7000", "--cluster-connect-timeout", "200"];
    let (unreachable, code) = Driver::OURS.run(&nowhere, "");
    assert!(
        unreachable.contains("Could not connect to Redis at 192.0.2.1:7000: ") && code == 1,
        "{unreachable}"
    );
    let secret = Driver::OURS.setup().conf("cluster-enabled yes").password("secret").start();
    for (words, advice) in [
        (&[][..], "Give the password with -a"),
        (&["-a", "wrong", "--no-auth-warning"], "The password or the user of -a and --user is wrong"),
    ] {
        let address = secret.address();
        let line = [words, &["--cluster", "check", &address]].concat();
        let (refused, code) = Driver::OURS.run(&line, "");
        assert!(refused.contains(advice) && code == 1, "{refused}");
    }
}

/// A primary that accepts connections and answers nothing is out of reach: `fix` does not give its slots away.
#[test]
fn a_stopped_primary_keeps_its_slots() {
    for driver in &DRIVERS {
        let cluster = driver.nodes(3);
        cluster.join(3);
        cluster.nodes[2].signal("STOP");
        let line = ["--cluster", "fix", &cluster.nodes[0].address(), "--cluster-reply-timeout", "300"];
        let (refused, code) = driver.run(&line, "yes\nyes\n");
        cluster.nodes[2].signal("CONT");
        assert!(refused.contains("with 1 unreachable masters is dangerous") && code == 1, "{refused}");
        cluster.wait_until_settled();
        assert_eq!(cluster.owner(&key_of(2, 3, 0)), 2);
    }
}

/// Several nodes have keys of a slot that nobody owns: `fix` shows that, and wants to be told.
#[test]
fn guesses_are_refused() {
    for driver in &DRIVERS {
        let cluster = driver.nodes(3);
        cluster.join(3);
        let (key, slot, address) = ("{b}", "3300", cluster.nodes[0].address());
        assert_eq!(cluster.nodes[0].call(&["SET", key, "one"]), "OK");
        assert_eq!(cluster.nodes[1].call(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &cluster.id(0)]), "OK");
        let mut asking = cluster.nodes[1].connect();
        assert_eq!((asking.text(&["ASKING"]), asking.text(&["SET", key, "two"])), ("OK".into(), "OK".into()));
        assert_eq!(cluster.nodes[1].call(&["CLUSTER", "SETSLOT", slot, "STABLE"]), "OK");
        for index in [0, 1, 2] {
            assert_eq!(cluster.nodes[index].call(&["CLUSTER", "DELSLOTS", slot]), "OK");
        }
        eventually(LATER, "nobody owns it", || {
            (0..3).all(|index| {
                cluster.cluster_info(index, "cluster_slots_assigned").as_deref() == Some("16383")
            })
        });
        let directory = TempDir::with_prefix("shoal-test-").unwrap();
        let path = directory.path().to_str().unwrap();
        let fix = |more: &[&str]| {
            let line = [&["--cluster", "fix", &address, "--cluster-save-dir", path], more].concat();
            driver.run(&line, "yes\nyes\n")
        };
        let (refused, code) = fix(&[]);
        assert!(refused.contains("*** Who has what of slot 3300:\n") && code == 1, "{refused}");
        assert!(refused.contains("none owns it") && refused.contains("--cluster-fix-owner"), "{refused}");
        for index in 0..2 {
            let line = format!("    {} {} ", cluster.id(index), cluster.nodes[index].address());
            assert!(refused.contains(&line), "{line:?} in {refused}");
        }
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "nothing was touched");
        let (wrong, code) = fix(&["--cluster-fix-owner", "nonsense"]);
        assert!(wrong.contains("--cluster-fix-owner is most-keys, ") && code == 1, "{wrong}");

        let owner = cluster.id(1);
        let (fixed, code) = fix(&["--cluster-fix-owner", &owner, "--cluster-replace"]);
        assert_eq!(code, 0, "{fixed}");
        let lines = std::fs::read_dir(path)
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let lines = lines.collect::<String>();
        let saved: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let replaced = (&saved[0]["node"], &saved[0]["key"]);
        assert_eq!((saved.len(), replaced), (1, (&json!(owner), &json!("7b627d"))), "{lines}");
        cluster.wait_until_settled();
        assert_eq!((cluster.owner(key), cluster.nodes[1].call(&["GET", key])), (1, "one".to_owned()));
    }
}

/// Function libraries come back, once each, to every primary that knows functions.
#[test]
fn functions_are_restored() {
    const LIBRARY: &str = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
    let directory = TempDir::with_prefix("shoal-test-").unwrap();
    let path = directory.path().to_str().unwrap();
    {
        let cluster = Driver::OURS_ON_REDIS.nodes(3);
        cluster.join(3);
        for node in &cluster.nodes {
            assert_eq!(node.call(&["FUNCTION", "LOAD", LIBRARY]), "mylib");
        }
        Driver::OURS_ON_REDIS.manage("backup", &[&cluster.nodes[0].address(), path]);
    }
    for driver in &DRIVERS {
        let cluster = driver.nodes(4);
        cluster.join(4);
        let address = cluster.nodes[0].address();
        if cluster.nodes[0].call(&["FUNCTION", "LIST"]).contains("unknown command") {
            let restored = driver.manage("restore", &[&address, path]);
            assert!(restored.contains("does not know FUNCTION"), "{restored}");
            continue;
        }
        let (restored, code) = json_of(driver, "outcome", &["restore", &address, path]);
        assert_eq!((&restored["result"]["libraries"], code), (&json!(4), 0), "{restored}");
        for node in &cluster.nodes {
            assert_eq!(node.call(&["FUNCTION", "DELETE", "mylib"]), "OK");
        }
        let other = LIBRARY.replace("return 1", "return 2");
        assert_eq!(cluster.nodes[0].call(&["FUNCTION", "LOAD", &other]), "mylib");
        let (refused, code) = json_of(driver, "outcome", &["restore", &address, path]);
        assert!(
            refused["messages"].to_string().contains("another function library mylib") && code == 1,
            "{refused}"
        );
        let line = ["restore", &address, path, "--cluster-replace"];
        assert_eq!(json_of(driver, "outcome", &line).0["result"]["libraries"], 4);
        assert_eq!(json_of(driver, "outcome", &line).0["result"]["libraries"], 0, "they are there");
    }
}

/// Bars are for terminals: standard output stays as it is, and a pipe sees nothing of them.
#[test]
fn bars_are_for_terminals() {
    let driver = &Driver::OURS_ON_REDIS;
    let cluster = driver.nodes(3);
    cluster.join(3);
    let (address, to) = (cluster.nodes[0].address(), cluster.id(1));
    let directory = TempDir::with_prefix("shoal-test-").unwrap();
    let reshard = format!(
        "{} cli --cluster reshard {address} --cluster-from all --cluster-to {to} --cluster-slots 300 --cluster-yes",
        crate::support::SHOAL
    );
    let to_file = format!("{reshard} > out");
    let on_terminal = ["script", "-qec", &to_file, "terminal"];
    let run = |words: &[&str]| driver::run(directory.path(), words, "");
    assert!(run(&on_terminal).status.success());
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let moved = |text: &str| text.lines().filter(|line| line.starts_with("Moving slot ")).count();
    let (out, terminal) = (read("out"), read("terminal"));
    assert_eq!(moved(&out), 300, "{out}");
    assert!(!out.contains("/300 slots") && terminal.contains("/300 slots"), "{terminal}");
    let piped = run(&["sh", "-c", &reshard.replace(" 300 ", " 30 ")]);
    assert_eq!((moved(&driver::text(&piped)), piped.stderr.len()), (30, 0), "{}", driver::text(&piped));
}
