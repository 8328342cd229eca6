//! Tests that a text has to pass to be the value of a directive.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest announced host name or node name, with the NUL byte that ends it on the bus.
const HOST_NAME_SIZE: usize = 256;

/// What the process title's form may name, as `{title}`.
const TITLE_VARIABLES: &[&[u8]] =
    &[b"title", b"listen-addr", b"server-mode", b"port", b"tls-port", b"unixsocket", b"config-file"];

pub(super) fn snapshot_file_name(name: &[u8]) -> Result<(), &'static str> {
    if is_path(name) { Err("dbfilename can't be a path, just a filename") } else { Ok(()) }
}

pub(super) fn append_file_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        [] => Err("appendfilename can't be empty"),
        _ if is_path(name) => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

pub(super) fn append_directory_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        [] => Err("appenddirname can't be empty"),
        _ if is_path(name) => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

pub(super) fn host_name(name: &[u8]) -> Result<(), &'static str> {
    if name.len() >= HOST_NAME_SIZE {
        return Err("Hostnames must be less than 256 characters");
    }
    let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if name.iter().all(is_fine) {
        Ok(())
    } else {
        Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
    }
}

pub(super) fn ipv4(address: &[u8]) -> Result<(), &'static str> {
    is_address::<Ipv4Addr>(address).then_some(()).ok_or("Invalid IPv4 address")
}

pub(super) fn ipv6(address: &[u8]) -> Result<(), &'static str> {
    is_address::<Ipv6Addr>(address).then_some(()).ok_or("Invalid IPv6 address")
}

/// Whether it is an address of this family, or empty.
fn is_address<T: FromStr>(text: &[u8]) -> bool {
    text.is_empty() || std::str::from_utf8(text).is_ok_and(|text| text.parse::<T>().is_ok())
}

pub(super) fn human_node_name(name: &[u8]) -> Result<(), &'static str> {
    if name.len() >= HOST_NAME_SIZE {
        return Err("Announced human node name must be less than 256 characters");
    }
    // The name is part of lines of the log and of nodes.conf, so it may hold nothing that separates there.
    let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.iter().all(is_fine) {
        Ok(())
    } else {
        Err("Announced human node name contained invalid character")
    }
}

/// Every opening brace must begin a known variable, or be doubled to stand for itself.
pub(super) fn proc_title_template(template: &[u8]) -> Result<(), &'static str> {
    if template.is_empty() {
        return Err("template format is invalid or contains unknown variables");
    }
    let mut rest = template;
    while let Some(open) = rest.iter().position(|byte| *byte == b'{') {
        let inside = rest.get(open + 1..).unwrap_or_default();
        if let [b'{', tail @ ..] = inside {
            rest = tail;
            continue;
        }
        let close = inside.iter().position(|byte| *byte == b'}');
        let Some((variable, tail)) = close.and_then(|close| inside.split_at_checked(close)) else {
            return Err("template format is invalid or contains unknown variables");
        };
        if !TITLE_VARIABLES.contains(&variable) {
            return Err("template format is invalid or contains unknown variables");
        }
        rest = tail;
    }
    Ok(())
}

fn is_path(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'/' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_accept_and_refuse() {
        assert!(snapshot_file_name(b"dump.rdb").is_ok());
        assert!(snapshot_file_name(b"../dump.rdb").is_err());
        assert!(append_file_name(b"").is_err());
        assert!(append_directory_name(b"a/b").is_err());
        assert!(host_name(b"node-1.example").is_ok());
        assert!(host_name(b"node_1").is_err());
        assert!(host_name(&[b'a'; 255]).is_ok());
        assert!(host_name(&[b'a'; 256]).is_err());
        assert!(proc_title_template(b"{title} {port}").is_ok());
        assert!(proc_title_template(b"no variables").is_ok());
        assert!(proc_title_template(b"{{not a variable").is_ok());
        assert!(proc_title_template(b"").is_err());
        assert!(proc_title_template(b"{foo}").is_err());
        assert!(proc_title_template(b"{title").is_err());
    }
}
