//! INFO: the sections, in the order of Redis 7.2.

mod memory;
mod server;
mod statistics;

pub(crate) use memory::MemoryUse;

use crate::host::Host;
use crate::node::Node;
use shoal_machine::Now;
use shoal_session::Session;
use std::fmt::{Display, Write as _};

/// One section.
struct Section {
    name: &'static str,
    /// The heading.
    title: &'static str,
    /// Shown if nothing else is asked for.
    is_default: bool,
    write: fn(&mut Facts<'_>, &mut Lines),
}

const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", is_default: true, write: server::server },
    Section { name: "clients", title: "Clients", is_default: true, write: server::clients },
    Section { name: "memory", title: "Memory", is_default: true, write: memory::memory },
    Section { name: "persistence", title: "Persistence", is_default: true, write: statistics::persistence },
    Section { name: "stats", title: "Stats", is_default: true, write: statistics::stats },
    Section { name: "replication", title: "Replication", is_default: true, write: replication },
    Section { name: "cpu", title: "CPU", is_default: true, write: server::cpu },
    Section { name: "module_list", title: "Modules", is_default: true, write: |_, _| {} },
    Section {
        name: "commandstats",
        title: "Commandstats",
        is_default: false,
        write: statistics::commandstats,
    },
    Section { name: "errorstats", title: "Errorstats", is_default: true, write: statistics::errorstats },
    Section {
        name: "latencystats",
        title: "Latencystats",
        is_default: false,
        write: statistics::latencystats,
    },
    Section { name: "cluster", title: "Cluster", is_default: true, write: server::cluster },
    Section { name: "keyspace", title: "Keyspace", is_default: true, write: server::keyspace },
];

/// What the sections are made from.
struct Facts<'a> {
    node: &'a mut Node,
    host: &'a mut dyn Host,
    /// The client that asks; it is not in the table of clients.
    session: &'a Session,
    now: Now,
}

/// The lines of INFO.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn field(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// A number of bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }
}

impl Node {
    /// The text of INFO with these sections; the standard ones if there are none.
    pub(crate) fn info(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        session: &Session,
        wanted: &[&[u8]],
    ) -> String {
        let is_named = |name: &str| wanted.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        let with_all = is_named("all") || is_named("everything");
        let with_default = wanted.is_empty() || is_named("default");
        let mut facts = Facts { node: self, host, session, now };
        let mut lines = Lines::default();
        for section in SECTIONS {
            if with_all || with_default && section.is_default || is_named(section.name) {
                if !lines.0.is_empty() {
                    lines.0.push_str("\r\n");
                }
                let _ = write!(lines.0, "# {}\r\n", section.title);
                (section.write)(&mut facts, &mut lines);
            }
        }
        lines.0
    }
}

impl Node {
    /// All of INFO, for a report of a crash.
    pub fn describe(&mut self, now: Now, host: &mut dyn Host) -> String {
        let nobody = Session::new(0, shoal_session::Identity::default(), now);
        self.info(now, host, &nobody, &[b"everything"])
    }

    /// The list of clients, line by line, but for the one whose command is running.
    pub fn describe_clients(&self, now: Now, write: &mut dyn FnMut(&str)) {
        for (_, session) in self.clients.iter() {
            let mut line = String::new();
            crate::client_line::write_line(&mut line, session, now, None);
            write(&line);
        }
    }
}

fn replication(facts: &mut Facts<'_>, lines: &mut Lines) {
    facts.node.replication_info(facts.now, &mut lines.0);
}

/// A number of bytes as Redis shows it to people: `1.09M`.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: &[&str] = &["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

/// `part` in percent of `whole`, or zero; shown with two decimals and a percent sign.
fn percent(part: u64, whole: u64) -> String {
    let value = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    format!("{value:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    /// The names of the fields of each section, from a redis-server 7.2.4.
    const REFERENCE: &str = include_str!("../../testdata/info-7.2.json");
    /// Fields that depend on what has happened.
    const VARYING: &[&str] = &["Commandstats", "Errorstats", "Latencystats", "Keyspace"];

    fn names(text: &str) -> Vec<(String, Vec<String>)> {
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ") {
                Some(title) => sections.push((title.to_owned(), Vec::new())),
                None => {
                    let name = line.split(':').next().unwrap_or_default();
                    sections.last_mut().unwrap().1.push(name.to_owned());
                }
            }
        }
        sections
    }

    /// Reads the one shape of JSON that the reference has: an object of arrays of strings, a string per line.
    fn reference() -> Vec<(String, Vec<String>)> {
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        for line in REFERENCE.lines() {
            let Some(text) = line.split('"').nth(1) else { continue };
            if line.contains("\": [") {
                sections.push((text.to_owned(), Vec::new()));
            } else {
                sections.last_mut().unwrap().1.push(text.to_owned());
            }
        }
        sections
    }

    #[test]
    fn sections_and_fields_are_those_of_redis() {
        let mut fixture = Fixture::new();
        let shown = names(&fixture.text("INFO everything"));
        let mut expected = reference();
        expected[0].1.insert(1, "shoal_version".to_owned());
        // What came with hash fields that expire, in 7.4.
        let stats = expected.iter_mut().find(|(title, _)| title == "Stats").unwrap();
        let expired = stats.1.iter().position(|name| name == "expired_keys").unwrap();
        stats.1.insert(expired + 1, "expired_subkeys".to_owned());
        assert_eq!(shown.len(), expected.len());
        for ((title, fields), (expected_title, expected_fields)) in shown.iter().zip(&expected) {
            assert_eq!(title, expected_title);
            if !VARYING.contains(&title.as_str()) {
                assert_eq!(fields, expected_fields, "section {title}");
            }
        }
    }

    #[test]
    fn sections_are_chosen() {
        let titles = |fixture: &mut Fixture, line: &str| -> Vec<String> {
            names(&fixture.text(line)).into_iter().map(|(title, _)| title).collect()
        };
        let mut fixture = Fixture::new();
        assert_eq!(titles(&mut fixture, "INFO KEYSPACE server"), ["Server", "Keyspace"]);
        assert_eq!(titles(&mut fixture, "INFO nosuch"), [""; 0]);
        let standard = titles(&mut fixture, "INFO");
        assert_eq!(standard.len(), 11);
        assert_eq!(titles(&mut fixture, "INFO default"), standard);
        assert_eq!(titles(&mut fixture, "INFO default commandstats").len(), 12);
        assert_eq!(titles(&mut fixture, "INFO all").len(), 13);
    }

    #[test]
    fn values_are_real() {
        let mut fixture = Fixture::new();
        fixture.advance_ms(86_400_000 + 5000);
        fixture.run("DEBUG POPULATE 10");
        fixture.run("PSUBSCRIBE a*");
        fixture.run("PUNSUBSCRIBE");
        fixture.run("NOSUCH");
        fixture.run("GET");
        fixture.run("GET key:1");
        fixture.run("GET nothing");
        fixture.run("DEBUG SLEEP 0.001");
        let text = fixture.text("INFO all");
        for line in [
            "redis_version:7.2.4",
            "uptime_in_seconds:86405",
            "uptime_in_days:1",
            "process_id:4242",
            "tcp_port:6379",
            "listener0:name=tcp,bind=*,bind=-::*,port=6379",
            "connected_clients:1",
            "maxclients:10000",
            "used_memory:2097152",
            "used_memory_human:2.00M",
            "used_memory_rss:6291456",
            "total_system_memory_human:8.00G",
            "mem_fragmentation_ratio:3.00",
            "total_connections_received:1",
            "keyspace_hits:1",
            "keyspace_misses:1",
            "total_error_replies:2",
            "used_cpu_sys:1.500000",
            "used_cpu_user_main_thread:2.250000",
            "role:master",
            "cmdstat_get:calls=2,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0",
            "cmdstat_debug:calls=2,usec=1000,usec_per_call=500.00,rejected_calls=0,failed_calls=0",
            "errorstat_ERR:count=2",
            "latency_percentiles_usec_debug:p50=0.001,p99=1003.519,p99.9=1003.519",
            "cluster_enabled:0",
            "db0:keys=10,expires=0,avg_ttl=0",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {text}");
        }
    }

    #[test]
    fn numbers_for_people() {
        for (bytes, expected) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1_138_440, "1.09M"), (23 << 40, "23.00T")]
        {
            assert_eq!(human(bytes), expected);
        }
    }
}
