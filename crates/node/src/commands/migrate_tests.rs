//! MIGRATE against a shell that answers as it is told.

use crate::host::{ExchangeFailure, Exchanged};
use crate::testing::Fixture;
use shoal_protocol::value::Value;

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn error(text: &str) -> Value {
    Value::Error(text.as_bytes().to_vec())
}

fn replies(replies: &[Value]) -> Result<Exchanged, String> {
    Ok(Exchanged { replies: replies.to_vec(), failure: None })
}

fn broken(replies: &[Value], was_writing: bool, is_timeout: bool) -> Result<Exchanged, String> {
    let failure = Some(ExchangeFailure { was_writing, is_timeout });
    Ok(Exchanged { replies: replies.to_vec(), failure })
}

/// The words of all requests that were sent in the exchanges so far, payloads as `*`.
fn sent(fixture: &mut Fixture) -> Vec<String> {
    let mut shown = Vec::new();
    for (_, bytes) in fixture.host.sent_requests.drain(..) {
        let mut decoder = shoal_protocol::value::Decoder::new();
        decoder.feed(&bytes);
        while let Some(value) = decoder.next_value().unwrap() {
            let words = value.as_elements().unwrap();
            let text = |(index, word): (usize, &Value)| match index {
                3 => "*".to_owned(),
                _ => word.as_text().unwrap().into_owned(),
            };
            shown.push(words.iter().enumerate().map(text).collect::<Vec<_>>().join(" "));
        }
    }
    shown
}

#[test]
fn arguments() {
    let mut fixture = Fixture::new();
    fixture.run("SET k v");
    fixture.check_all(&[
        ("MIGRATE h 1 k 0", "-ERR wrong number of arguments for 'migrate' command"),
        ("MIGRATE h 1 k 0 x", "-ERR value is not an integer or out of range"),
        ("MIGRATE h 1 k x 0", "-ERR value is not an integer or out of range"),
        ("MIGRATE h 1 k 0 1 what", "-ERR syntax error"),
        ("MIGRATE h 1 k 0 1 AUTH", "-ERR syntax error"),
        ("MIGRATE h 1 k 0 1 AUTH2 u", "-ERR syntax error"),
        (
            "MIGRATE h 1 k 0 1 KEYS k",
            "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
        ("MIGRATE h 1 nothing 0 1", "+NOKEY"),
        ("MIGRATE h 1 \"\" 0 1 KEYS", "+NOKEY"),
        ("MIGRATE h x k 0 1", "-IOERR error or timeout connecting to the client"),
    ]);
    assert!(fixture.host.sent_requests.is_empty());
}

#[test]
fn keys_move() {
    let mut fixture = Fixture::new();
    fixture.run("MSET a 1 b 2 c 3");
    fixture.run("SET d 4 PX 5000");
    fixture.check_all(&[
        ("MIGRATE h 7 a 2 100", "+OK"),
        ("EXISTS a", ":0"),
        ("MIGRATE h 7 \"\" 2 100 COPY REPLACE KEYS b nothing d", "+OK"),
        ("EXISTS b d", ":2"),
        ("MIGRATE h 7 \"\" 0 100 AUTH pw KEYS b c", "+OK"),
        ("DBSIZE", ":1"),
        ("MIGRATE i 7 d 0 100 AUTH2 user pw", "+OK"),
    ]);
    assert_eq!(
        sent(&mut fixture),
        [
            "SELECT 2",
            "RESTORE a 0 *",
            "RESTORE b 0 * REPLACE",
            "RESTORE d 5000 * REPLACE",
            "AUTH pw",
            "SELECT 0",
            "RESTORE b 0 *",
            "RESTORE c 0 *",
            "AUTH user pw",
            "SELECT 0",
            "RESTORE d 5000 *",
        ]
    );
    assert_eq!(fixture.host.exchange_connections, ["h:7", "i:7"]);
}

#[test]
fn refusals_of_the_target() {
    let mut fixture = Fixture::new();
    fixture.run("MSET a 1 b 2 c 3");
    let busy = error("BUSYKEY Target key name already exists.");
    fixture.host.exchanges.push_back(replies(&[ok(), ok(), busy, ok()]));
    fixture.check_all(&[
        (
            "MIGRATE h 7 \"\" 0 100 KEYS a b c",
            "-ERR Target instance replied with error: BUSYKEY Target key name already exists.",
        ),
        ("KEYS *", "[\"b\"]"),
    ]);
    // After a refusal nothing is believed about the connection; and what AUTH's failure is followed by does not count.
    fixture.host.exchanges.push_back(replies(&[error("WRONGPASS no"), ok(), ok()]));
    fixture.check_all(&[
        ("MIGRATE h 7 b 0 100 AUTH pw", "-ERR Target instance replied with error: WRONGPASS no"),
        ("KEYS *", "[\"b\"]"),
        ("MIGRATE h 7 b 0 100", "+OK"),
    ]);
    let sent = sent(&mut fixture);
    assert_eq!(sent.iter().filter(|request| *request == "SELECT 0").count(), 3, "{sent:?}");
}

#[test]
fn broken_connections() {
    let reading = "-IOERR error or timeout reading to target instance";
    let writing = "-IOERR error or timeout writing to target instance";
    let connecting = "-IOERR error or timeout connecting to the client";
    // What the shell answers, the reply, the keys that are left, and how often requests were sent.
    for (exchanges, reply, left, count) in [
        (vec![Err("refused".to_owned())], connecting, 2, 0),
        (vec![broken(&[], true, false)], "+OK", 0, 2),
        (vec![broken(&[], true, true)], writing, 2, 1),
        (vec![broken(&[ok()], false, false)], "+OK", 0, 2),
        (vec![broken(&[ok()], false, true)], reading, 2, 1),
        (vec![broken(&[], false, false), broken(&[], false, false)], reading, 2, 2),
        (vec![broken(&[], false, false), Err("refused".to_owned())], connecting, 2, 1),
        // One key was taken before the end: that one is gone, and nothing is sent twice.
        (vec![broken(&[ok(), ok()], false, false)], reading, 1, 1),
    ] {
        let mut fixture = Fixture::new();
        fixture.run("MSET a 1 b 2");
        fixture.host.exchanges.extend(exchanges.clone());
        fixture.check("MIGRATE h 7 \"\" 0 100 KEYS a b", reply);
        fixture.check("DBSIZE", &format!(":{left}"));
        assert_eq!(fixture.host.sent_requests.len(), count, "{exchanges:?}");
        if reply != "+OK" {
            assert!(fixture.host.exchange_connections.is_empty(), "{exchanges:?}");
        }
    }
}

#[test]
fn what_moved_is_deleted_for_replicas_and_watchers() {
    let mut fixture = Fixture::with_configuration(&[("notify-keyspace-events", "KEA")]);
    fixture.run("MSET a 1 b 2");
    let replica = fixture.connect();
    fixture.send_as(replica, &["PSYNC", "?", "-1"]);
    fixture.end_snapshot(Ok(crate::host::SnapshotReport::default()));
    fixture.node.file_sent(fixture.host.clock, &mut fixture.host, replica, Ok(()));
    let watcher = fixture.connect();
    fixture.check_as(watcher, "WATCH a", "+OK");
    let listener = fixture.connect();
    fixture.send_as(listener, &["SUBSCRIBE", "__keyevent@0__:del"]);
    fixture.received(listener);
    let before = fixture.node.replication_offset();
    fixture.check("MIGRATE h 7 a 0 100 COPY", "+OK");
    assert_eq!(fixture.node.replication_offset(), before);
    fixture.check("MIGRATE h 7 \"\" 0 100 KEYS a b", "+OK");
    let select_and_del = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n".len();
    assert_eq!(fixture.node.replication_offset() - before, select_and_del as u64);
    assert_eq!(fixture.received(listener).len(), 2);
    fixture.check_as(watcher, "MULTI", "+OK");
    fixture.check_as(watcher, "EXEC", "nil");
}

#[test]
fn cluster_nodes_restore_with_asking() {
    let mut fixture =
        Fixture::with_configuration(&[("cluster-enabled", "yes"), ("rdb-version-compat", "10")]);
    let mut owners = shoal_cluster::view::SlotOwners::none();
    (0..16_384).for_each(|slot| owners.set(slot, Some(shoal_cluster::view::NodeKey(0))));
    let view = crate::testing::cluster_view(2, owners);
    let message = shoal_cluster::MachineMessage::View { view: std::sync::Arc::new(view), orders: Vec::new() };
    fixture.node.cluster_message(fixture.host.clock, &mut fixture.host, message);
    fixture.run("SET a v");
    fixture.check("MIGRATE h 7 a 0 100", "+OK");
    let (_, bytes) = fixture.host.sent_requests[0].clone();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("RESTORE-ASKING"), "{text}");
    // The payload: type, length, value, and the version that Redis 7.0 writes.
    assert!(bytes.windows(5).any(|window| window == b"\0\x01v\x0a\0"), "{bytes:?}");
}
