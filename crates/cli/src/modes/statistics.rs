//! `--stat`: a line of figures per interval.

use super::call_reconnecting;
use crate::console::{self, out};
use crate::exit::{Step, fail};
use crate::session::Session;
use crate::text::leading_integer;
use std::time::Duration;

/// Time between two lines.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Lines between two headings.
const HEADING_EVERY: u64 = 20;

/// Prints until interrupted.
pub(super) fn run(session: &mut Session) -> Step {
    let interval =
        if session.options.interval.is_zero() { INTERVAL_DEFAULT } else { session.options.interval };
    let (mut lines, mut requests_before) = (0, 0);
    loop {
        let reply = call_reconnecting(session, &["INFO"])?;
        if let Some(error) = reply.as_error() {
            fail!("ERROR: {error}");
        }
        let info = reply.as_text().unwrap_or_default();
        if lines % HEADING_EVERY == 0 {
            out!(
                "------- data ------ --------------------- load -------------------- - child -\n\
                 keys       mem      clients blocked requests            connections          \n"
            );
        }
        lines += 1;
        out!("{}\n", line(&info, requests_before));
        console::flush();
        requests_before = info_number(&info, "total_commands_processed");
        std::thread::sleep(interval);
    }
}

/// A field of INFO; 0 if it is missing.
pub(crate) fn info_number(info: &str, name: &str) -> i64 {
    info_field(info, name).map_or(0, |text| leading_integer(text.as_bytes()))
}

/// A field of INFO as text.
pub(crate) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn line(info: &str, requests_before: i64) -> String {
    let keys: i64 = info
        .lines()
        .filter_map(|line| {
            let (database, rest) = line.strip_prefix("db")?.split_once(":keys=")?;
            database.bytes().all(|byte| byte.is_ascii_digit()).then(|| leading_integer(rest.as_bytes()))
        })
        .sum();
    let requests = info_number(info, "total_commands_processed");
    let new_requests = if requests_before == 0 { 0 } else { requests - requests_before };
    let mut children = Vec::new();
    for (field, name) in
        [("rdb_bgsave_in_progress", "SAVE"), ("aof_rewrite_in_progress", "AOF"), ("loading", "LOAD")]
    {
        if info_number(info, field) != 0 {
            children.push(name);
        }
    }
    format!(
        "{keys:<11}{:<8} {:<8}{:<8}{:<19} {:<12}{}",
        human_bytes(info_number(info, "used_memory")),
        info_number(info, "connected_clients"),
        info_number(info, "blocked_clients"),
        format!("{requests} (+{new_requests})"),
        info_number(info, "total_connections_received"),
        children.join("+"),
    )
}

/// A number of bytes with a unit: `512B`, `1.50M`.
fn human_bytes(bytes: i64) -> String {
    let mut amount = bytes as f64;
    if amount < 1024.0 {
        return format!("{bytes}B");
    }
    for unit in ["K", "M", "G"] {
        amount /= 1024.0;
        if amount < 1024.0 {
            return format!("{amount:.2}{unit}");
        }
    }
    format!("{:.2}T", amount / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_sums_the_databases() {
        let info = "used_memory:1572864\r\nconnected_clients:3\r\nblocked_clients:0\r\nloading:0\r\n\
                    rdb_bgsave_in_progress:1\r\ntotal_commands_processed:70\r\ntotal_connections_received:9\r\n\
                    db0:keys=4,expires=0\r\ndb12:keys=38,expires=1\r\n";
        assert_eq!(
            line(info, 50),
            "42         1.50M    3       0       70 (+20)            9           SAVE"
        );
    }

    #[test]
    fn bytes_get_a_unit() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1 << 30, "1.00G"), (1 << 41, "2.00T")]
        {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
