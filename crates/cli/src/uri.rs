//! `redis://[[user:]password@][host[:port]][/database]`, the provisional scheme registered with IANA.

use crate::text::leading_integer;
use std::fmt;

/// What a URI says about a server; what it does not mention is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerUri {
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub host: Option<String>,
    pub port: Option<i64>,
    pub database: Option<i64>,
    /// The scheme is `rediss`.
    pub tls: bool,
}

/// Why a URI is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UriError {
    Scheme,
    Incomplete,
    Character,
}

impl fmt::Display for UriError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Scheme => "Invalid URI scheme",
            Self::Incomplete => "Incomplete URI encoding",
            Self::Character => "Illegal character in URI encoding",
        })
    }
}

/// Reads a URI.
pub(crate) fn parse(uri: &[u8]) -> Result<ServerUri, UriError> {
    let mut server = ServerUri::default();
    let mut rest = if let Some(rest) = strip_scheme(uri, b"rediss://") {
        server.tls = true;
        rest
    } else {
        strip_scheme(uri, b"redis://").ok_or(UriError::Scheme)?
    };
    if let Some(end) = find(rest, b'@') {
        let mut userinfo = &rest[..end];
        if let Some(colon) = find(userinfo, b':') {
            server.user = Some(decode_percent(&userinfo[..colon])?);
            userinfo = &userinfo[colon + 1..];
        }
        server.password = Some(decode_percent(userinfo)?);
        rest = &rest[end + 1..];
    }
    let (authority, path) = match find(rest, b'/') {
        Some(slash) => (&rest[..slash], &rest[slash + 1..]),
        None => (rest, &[][..]),
    };
    if !authority.is_empty() {
        let host = match find_port(authority) {
            Some(colon) => {
                server.port = Some(leading_integer(&authority[colon + 1..]));
                &authority[..colon]
            }
            None => authority,
        };
        let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
        server.host = Some(String::from_utf8_lossy(host).into_owned());
    }
    if !path.is_empty() {
        server.database = Some(leading_integer(path));
    }
    Ok(server)
}

fn strip_scheme<'a>(uri: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = uri.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// The colon before the port: behind the bracket of an IPv6 address, else the first one.
fn find_port(authority: &[u8]) -> Option<usize> {
    let start = if authority.starts_with(b"[") { find(authority, b']')? } else { 0 };
    find(&authority[start..], b':').map(|colon| start + colon)
}

fn decode_percent(text: &[u8]) -> Result<Vec<u8>, UriError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return Err(UriError::Incomplete) };
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(UriError::Character);
        decoded.push((digit(*high)? * 16 + digit(*low)?) as u8);
        rest = tail;
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected =
        (Option<&'static str>, Option<&'static str>, Option<&'static str>, Option<i64>, Option<i64>);

    #[test]
    fn every_part_may_be_left_out() {
        let cases: &[(&str, Expected)] = &[
            ("redis://", (None, None, None, None, None)),
            ("REDIS://h", (None, None, Some("h"), None, None)),
            ("redis://h:1/2", (None, None, Some("h"), Some(1), Some(2))),
            ("redis://p@h:1/", (None, Some("p"), Some("h"), Some(1), None)),
            ("redis://u:p%40%2f@h", (Some("u"), Some("p@/"), Some("h"), None, None)),
            ("redis:///3", (None, None, None, None, Some(3))),
            ("redis://[::1]:7/1", (None, None, Some("::1"), Some(7), Some(1))),
        ];
        for (uri, expected) in cases {
            let server = parse(uri.as_bytes()).unwrap();
            let text = |bytes: &Option<Vec<u8>>| {
                bytes.as_ref().map(|bytes| String::from_utf8(bytes.clone()).unwrap())
            };
            assert_eq!(
                (
                    text(&server.user).as_deref(),
                    text(&server.password).as_deref(),
                    server.host.as_deref(),
                    server.port,
                    server.database
                ),
                *expected,
                "{uri}"
            );
        }
        assert!(parse(b"rediss://h").unwrap().tls);
    }

    #[test]
    fn malformed_uris_are_refused() {
        assert_eq!(parse(b"http://h"), Err(UriError::Scheme));
        assert_eq!(parse(b"redis://a%4@h"), Err(UriError::Incomplete));
        assert_eq!(parse(b"redis://a%zz@h"), Err(UriError::Character));
    }
}
