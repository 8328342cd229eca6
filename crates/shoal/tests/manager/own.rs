//! What our manager has beyond Redis's: plans, JSON, spreading by cost, restoring, and doing things twice.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tempfile::TempDir;

use crate::schema::assert_valid;
use crate::support::cluster::key_of;
use crate::support::driver::Driver;
use crate::support::{Cluster, Kind, LATER, Server, eventually};

/// The nodes of both kinds.
pub const DRIVERS: [Driver; 2] = [Driver::OURS, Driver::OURS_ON_REDIS];

/// Runs a command with `--json`; its object, which fits the schema, and the exit code.
pub fn json_of(driver: &Driver, definition: &str, words: &[&str]) -> (Json, i32) {
    let mut line = vec!["--json", "--cluster"];
    line.extend(words);
    let (text, code) = driver.run(&line, "");
    (assert_valid(definition, &text), code)
}

/// Every command prints an object of the schema, also when it fails; create, add-node and del-node may be done twice.
#[test]
fn json_of_every_command() {
    for driver in &DRIVERS {
        let mut cluster = driver.nodes(4);
        let addresses: Vec<String> = cluster.nodes.iter().map(Server::address).collect();
        let first = addresses[0].as_str();
        let mut create = vec!["create"];
        create.extend(addresses[..3].iter().map(String::as_str));
        let (refused, code) = json_of(driver, "outcome", &create);
        assert_eq!((&refused["ok"], code), (&json!(false), 1), "nobody said yes: {refused}");
        create.extend(["--cluster-yes", "--cluster-if-needed"]);
        let (created, code) = json_of(driver, "outcome", &create);
        assert_eq!((created["result"]["nodes"].as_array().unwrap().len(), code), (3, 0), "{created}");
        let last = cluster.nodes.pop().unwrap();
        cluster.wait_until_settled();
        let (again, code) = json_of(driver, "outcome", &create);
        assert_eq!(
            (&again["messages"], code),
            (&json!(["[OK] These nodes are a cluster already."]), 0),
            "{again}"
        );

        assert_eq!(json_of(driver, "check", &["check", first]).0["ok"], json!(true));
        assert_eq!(json_of(driver, "info", &["info", first]).0["keys"], json!(0));
        let add = ["add-node", &addresses[3], first, "--cluster-if-needed"];
        let id = last.call(&["CLUSTER", "MYID"]);
        let (added, code) = json_of(driver, "outcome", &add);
        assert_eq!((&added["result"]["node"], code), (&json!(id), 0), "{added}");
        cluster.nodes.push(last);
        cluster.wait_until_settled();
        let (again, code) = json_of(driver, "outcome", &add);
        assert_eq!((&again["ok"], code), (&json!(true), 0), "{again}");
        let source = cluster.id(0);
        let reshard = [
            "reshard",
            first,
            "--cluster-from",
            &source,
            "--cluster-to",
            &id,
            "--cluster-slots",
            "5",
            "--cluster-yes",
        ];
        let (moved, code) = json_of(driver, "reshard", &reshard);
        assert_eq!((moved["moved"].as_array().unwrap().len(), code), (5, 0), "{moved}");
        cluster.wait_until_settled();
        json_of(
            driver,
            "rebalance",
            &["rebalance", first, "--cluster-simulate", "--cluster-use-empty-masters"],
        );
        json_of(driver, "drain", &["drain", first, &id, "--cluster-simulate"]);
        let (drained, code) =
            json_of(driver, "drain", &["drain", first, &id, "--cluster-yes", "--cluster-delete"]);
        assert_eq!((&drained["deleted"], code), (&json!(true), 0), "{drained}");
        let (gone, code) = json_of(driver, "outcome", &["del-node", first, &id, "--cluster-if-needed"]);
        assert_eq!((&gone["ok"], code), (&json!(true), 0), "{gone}");
        let (unknown, code) = json_of(driver, "outcome", &["del-node", first, &id]);
        assert_eq!((&unknown["ok"], code), (&json!(false), 1), "{unknown}");
        cluster.nodes.truncate(3);
        let (set, code) = json_of(driver, "outcome", &["set-timeout", first, "3000"]);
        assert_eq!((&set["result"]["done"], code), (&json!(3), 0), "{set}");
        let (called, _) = json_of(driver, "call", &["call", first, "ping"]);
        assert_eq!(called.as_object().unwrap().len(), 3);
        json_of(driver, "outcome", &["fix", first]);
        json_of(driver, "outcome", &["help"]);
        let (failed, code) = json_of(driver, "outcome", &["check", "127.0.0.1:1"]);
        assert_eq!((&failed["ok"], code), (&json!(false), 1), "{failed}");
    }
}

/// Plans tell steps, cost and risk, and change nothing.
#[test]
fn plans_change_nothing() {
    for driver in &DRIVERS {
        let cluster = driver.nodes(4);
        let first = cluster.nodes[0].address();
        three_of_four(&cluster);
        let ids: Vec<String> = (0..4).map(|index| cluster.id(index)).collect();
        let before: Vec<_> = (0..4).map(|index| view(&cluster, index)).collect();
        let plan = |words: &[&str]| plan(driver, words);

        let drain = plan(&["drain", &first, &ids[2], "--cluster-delete"]);
        assert_eq!((&drain["cost"]["slots"], &drain["cost"]["keys"]), (&json!(383), &json!(50)), "{drain}");
        let bytes = drain["cost"]["bytes"].as_u64().unwrap();
        assert!((50_000..500_000).contains(&bytes), "{bytes} bytes");
        assert_eq!(drain["steps"].as_array().unwrap().last().unwrap()["action"], "forget");
        let reshard = plan(&[
            "reshard",
            &first,
            "--cluster-from",
            "all",
            "--cluster-to",
            &ids[2],
            "--cluster-slots",
            "1000",
        ]);
        assert_eq!(reshard["steps"].as_array().unwrap().len(), 2, "{reshard}");
        let rebalance = plan(&["rebalance", &first]);
        assert!(rebalance["cost"]["slots"].as_u64().unwrap() > 5000, "{rebalance}");
        let by_keys = plan(&["rebalance", &first, "--cluster-by", "keys"]);
        assert!((30..=34).contains(&by_keys["cost"]["keys"].as_u64().unwrap()), "{by_keys}");
        let by_bytes = plan(&["rebalance", &first, "--cluster-by", "bytes"]);
        assert!((30..=34).contains(&by_bytes["cost"]["keys"].as_u64().unwrap()), "{by_bytes}");
        let replica = ["--cluster-slave", "--cluster-master-id", &ids[2]];
        let add = plan(&[&["add-node", &cluster.nodes[3].address(), &first][..], &replica].concat());
        assert_eq!(
            (&add["steps"][1]["action"], &add["cost"]["keys"]),
            (&json!("replicate"), &json!(50)),
            "{add}"
        );

        // An open slot without an owner, and keys of it at the wrong node.
        for index in 0..3 {
            assert_eq!(cluster.nodes[index].call(&["CLUSTER", "DELSLOTS", "16001"]), "OK");
        }
        let fix = plan(&["fix", &first]);
        let step = &fix["steps"][0];
        assert_eq!((&step["action"], &step["slots"]), (&json!("cover"), &json!([[16001, 16001]])), "{fix}");
        for (index, before) in before.iter().enumerate().take(2) {
            let now = view(&cluster, index);
            assert_eq!(now.len(), before.len(), "node {index} knows whom it knew");
        }
        assert_eq!(view(&cluster, 3), before[3]);
        let text = driver.manage("plan", &["fix", &first]);
        assert!(text.contains("Nothing is changed.") && text.contains("risk: "), "{text}");
    }
}

/// Three of four nodes become a cluster in which the third has few slots, and all the keys.
fn three_of_four(cluster: &Cluster) {
    for node in &cluster.nodes[1..3] {
        let port = node.port().to_string();
        assert_eq!(cluster.nodes[0].call(&["CLUSTER", "MEET", node.host(), &port]), "OK");
    }
    for (index, (first, last)) in [("0", "8000"), ("8001", "16000"), ("16001", "16383")].iter().enumerate() {
        assert_eq!(cluster.nodes[index].call(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "OK");
    }
    let is_whole = |index: usize| cluster.cluster_info(index, "cluster_slots_ok").as_deref() == Some("16384");
    eventually(LATER, "three agree", || {
        (0..3).all(is_whole) && (0..3).all(|index| cluster.table(index).len() == 3)
    });
    (0..3).for_each(|index| cluster.wait_for_state(index, "ok"));
    let mut node = cluster.nodes[2].connect();
    let keys = (0..).map(|number| format!("key:{number}"));
    let of_third = keys.filter(|key| shoal_protocol::slot::key_slot(key.as_bytes()) > 16_000).take(50);
    of_third.for_each(|key| assert_eq!(node.text(&["SET", &key, &"x".repeat(1000)]), "OK"));
}

/// A plan that could be made.
pub fn plan(driver: &Driver, words: &[&str]) -> Json {
    let mut line = vec!["plan"];
    line.extend(words);
    let (plan, code) = json_of(driver, "plan", &line);
    assert_eq!(code, 0, "{plan}");
    plan
}

/// Who has which slots, as a node sees it.
fn view(cluster: &Cluster, index: usize) -> BTreeMap<String, Vec<String>> {
    cluster.table(index).into_iter().map(|line| (line.id, line.slots)).collect()
}

/// A backup of three primaries goes into a cluster of four, of either kind: keys, values, expiries.
#[test]
fn restore_into_another_size() {
    for (from, to) in [
        (Driver::OURS, Driver::OURS),
        (Driver::OURS_ON_REDIS, Driver::OURS),
        (Driver::OURS, Driver::OURS_ON_REDIS),
    ] {
        let directory = TempDir::with_prefix("shoal-test-").unwrap();
        let path = directory.path().to_str().unwrap();
        let contents = {
            // What Redis 7.0 is to read must be in its encodings.
            let compatible = if from.kind == Kind::Shoal { "rdb-version-compat 10" } else { "" };
            let cluster = Cluster::start((0..3).map(|_| from.setup().conf(compatible)).collect());
            cluster.join(3);
            fill(&cluster);
            from.manage("backup", &[&cluster.nodes[0].address(), path]);
            contents(&cluster)
        };
        assert_eq!(contents.len(), 3 * 105);
        let cluster = to.nodes(4);
        cluster.join(4);
        let address = cluster.nodes[1].address();
        let (restored, code) = json_of(&to, "outcome", &["restore", &address, path]);
        assert_eq!((&restored["result"]["keys"], code), (&json!(contents.len()), 0), "{restored}");
        assert!(self::contents(&cluster) == contents, "all is as it was");
        let (again, code) = json_of(&to, "outcome", &["restore", &address, path]);
        assert_eq!((&again["ok"], code), (&json!(false), 1), "{again}");
        let (replaced, code) = json_of(&to, "outcome", &["restore", &address, path, "--cluster-replace"]);
        assert_eq!((&replaced["ok"], code), (&json!(true), 0), "{replaced}");
        assert!(self::contents(&cluster) == contents, "all is as it was");
    }
}

/// Strings, and one small and one large value of each kind in the share of each primary.
fn fill(cluster: &Cluster) {
    for (index, node) in cluster.nodes.iter().enumerate() {
        let mut connection = node.connect();
        for number in 0..100 {
            let key = key_of(index, 3, number);
            let words = ["SET", &key, &number.to_string(), "EX", "5000"];
            let words = if number % 3 == 0 { &words[..] } else { &words[..3] };
            assert_eq!(connection.text(words), "OK");
        }
        let key = |kind: &str| format!("{{{}}}{kind}", key_of(index, 3, 0));
        for number in 0..600 {
            let (field, value) = (format!("field {number}"), format!("value {number}"));
            let score = number.to_string();
            for words in [
                &["HSET", &key("hash"), &field, &value][..],
                &["RPUSH", &key("list"), &value],
                &["SADD", &key("set"), &field],
                &["ZADD", &key("sorted"), &score, &field],
            ] {
                assert!(connection.call(words).as_integer().is_some(), "{words:?}");
            }
        }
        assert!(!connection.text(&["XADD", &key("stream"), "1-1", "field", "value"]).starts_with("ERR"));
    }
}

/// Every key with the digest of its value, and whether it expires.
fn contents(cluster: &Cluster) -> BTreeMap<String, (String, bool)> {
    let mut found = BTreeMap::new();
    for node in &cluster.nodes {
        let mut connection = node.connect();
        let keys = connection.call(&["KEYS", "*"]);
        for key in keys.as_elements().unwrap().iter().filter_map(|key| key.as_text()) {
            let digest = connection.call(&["DEBUG", "DIGEST-VALUE", &key]);
            let digest = digest.as_elements().unwrap()[0].as_text().unwrap().into_owned();
            let expires = connection.text(&["TTL", &key]) != "-1";
            assert!(found.insert(key.to_string(), (digest, expires)).is_none(), "{key} is at two nodes");
        }
    }
    found
}

/// What a restoration and an import would bring to each primary, and what of it is there already. Nothing is changed.
#[test]
fn plans_of_restore_and_import() {
    for driver in &DRIVERS {
        let directory = TempDir::with_prefix("shoal-test-").unwrap();
        let path = directory.path().to_str().unwrap();
        let cluster = driver.nodes(3);
        cluster.join(3);
        fill(&cluster);
        let address = cluster.nodes[0].address();
        driver.manage("backup", &[&address, path]);
        let plan = |words: &[&str]| plan(driver, words);
        let figures = |plan: &Json| {
            let steps = plan["steps"].as_array().unwrap();
            let present: u64 = steps.iter().map(|step| step["present"].as_u64().unwrap()).sum();
            (steps.len(), plan["cost"]["keys"].as_u64().unwrap(), present, plan["risk"].clone())
        };
        let restore = ["restore", &address, path];
        let before = contents(&cluster);
        assert_eq!(figures(&plan(&restore)), (3, 315, 315, json!("medium")));
        let replacing = plan(&[&restore[..], &["--cluster-replace"]].concat());
        assert_eq!(figures(&replacing), (3, 315, 315, json!("high")));
        let keeping = plan(&[&restore[..], &["--cluster-if-needed"]].concat());
        assert_eq!(figures(&keeping), (3, 315, 315, json!("low")));
        assert!(contents(&cluster) == before, "nothing is restored");
        assert_eq!(cluster.nodes[1].call(&["FLUSHALL"]), "OK");
        let again = plan(&restore);
        assert_eq!(figures(&again), (3, 315, 210, json!("medium")));
        let step = &again["steps"][1];
        let bytes = step["cost"]["bytes"].as_u64().unwrap();
        assert!(again["cost"]["bytes"].as_u64().unwrap() > bytes && bytes > 10_000, "{again}");
        assert_eq!(cluster.nodes[1].call(&["DBSIZE"]), "0");

        let plain = driver.setup().start();
        for number in 0..200 {
            assert_eq!(plain.call(&["SET", &format!("import:{number}"), &"x".repeat(100)]), "OK");
        }
        let import = ["import", &address, "--cluster-from", &plain.address()];
        let moving = plan(&import);
        assert_eq!(figures(&moving), (3, 200, 0, json!("medium")), "{moving}");
        let copying = plan(&[&import[..], &["--cluster-copy"]].concat());
        assert_eq!(figures(&copying), (3, 200, 0, json!("low")), "{copying}");
        let owner = cluster.owner("import:7");
        assert_eq!(cluster.nodes[owner].call(&["SET", "import:7", "other"]), "OK");
        let replacing = plan(&[&import[..], &["--cluster-copy", "--cluster-replace"]].concat());
        assert_eq!(figures(&replacing), (3, 200, 1, json!("high")), "{replacing}");
        let id = cluster.id(owner);
        let step =
            replacing["steps"].as_array().unwrap().iter().find(|step| step["to"] == json!(id)).unwrap();
        assert_eq!((&step["present"], &step["action"]), (&json!(1), &json!("import-keys")));
        assert_eq!(plain.call(&["DBSIZE"]), "200");
        assert_eq!(cluster.nodes[owner].call(&["GET", "import:7"]), "other");
    }
}

/// Keys that are on both sides are saved before they are replaced.
#[test]
fn what_is_replaced_is_saved() {
    let driver = Driver::OURS;
    let cluster = driver.nodes(2);
    cluster.join(2);
    let (source, target) = (cluster.id(0), cluster.id(1));
    let key = "{b}";
    assert_eq!(cluster.nodes[0].call(&["SET", key, "one"]), "OK");
    // The other node holds another value of the key, and nobody can say which is the right one: `fix` takes one of the two for
    // the owner and brings the other's keys there.
    assert_eq!(cluster.nodes[1].call(&["CLUSTER", "SETSLOT", "3300", "IMPORTING", &source]), "OK");
    let mut asking = cluster.nodes[1].connect();
    assert_eq!(asking.text(&["ASKING"]), "OK");
    assert_eq!(asking.text(&["SET", key, "two"]), "OK");
    assert_eq!(cluster.nodes[0].call(&["CLUSTER", "SETSLOT", "3300", "MIGRATING", &target]), "OK");
    let payload = |value: &str| {
        let plain = driver.setup().start();
        assert_eq!(plain.call(&["SET", key, value]), "OK");
        let dump = plain.connect().call(&["DUMP", key]);
        dump.as_bytes().unwrap().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let payloads = [payload("one"), payload("two")];
    let directory = TempDir::with_prefix("shoal-test-").unwrap();
    let path = directory.path().to_str().unwrap();
    let address = cluster.nodes[0].address();
    let (refused, code) = driver.run(&["--cluster", "fix", &address, "--cluster-save-dir", path], "");
    assert!(code != 0 && refused.contains("having different values"), "{refused}");
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "nothing was replaced");
    let line = ["--cluster", "fix", &address, "--cluster-save-dir", path, "--cluster-replace"];
    let (fixed, code) = driver.run(&line, "");
    assert_eq!(code, 0, "{fixed}");
    let file = std::fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
    let saved: Json = serde_json::from_str(std::fs::read_to_string(file).unwrap().trim()).unwrap();
    assert_eq!((&saved["key"], &saved["slot"]), (&json!("7b627d"), &json!(3300)));
    cluster.wait_until_settled();
    let owner = cluster.owner(key);
    let kept = cluster.nodes[owner].call(&["GET", key]);
    let replaced = if kept == "one" { 1 } else { 0 };
    assert_eq!(saved["dump"], json!(payloads[replaced]), "the other value than {kept}");
    assert_eq!(saved["node"], json!(cluster.id(owner)));
}
