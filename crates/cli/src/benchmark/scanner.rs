//! Counts replies in a stream without keeping them: a load generator wants to know that an answer came, not what it is.

use memchr::memchr;

/// Longest line that is looked at; what an error says beyond it is cut off.
const LINE_LENGTH_MAX: usize = 64 * 1024;

/// The stream is not RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotResp;

/// A reply that ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// Anything but an error.
    Good,
    /// An error and its text.
    Error(&'a [u8]),
}

/// Where in a reply the stream stands.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Values of the current reply that have not ended; 0 between replies.
    missing: u64,
    /// Bytes of a string that have not come, its line end included.
    skip: u64,
    /// The string being skipped belongs to an attribute or to an aggregate.
    line: Vec<u8>,
    /// The current reply is a push, which answers nothing.
    push: bool,
}

impl Scanner {
    /// Takes bytes that arrived; calls `on_reply` for each reply that ends in them.
    pub(super) fn feed(&mut self, bytes: &[u8], mut on_reply: impl FnMut(Reply<'_>)) -> Result<(), NotResp> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(rest.len() as u64);
                self.skip -= skipped;
                rest = &rest[skipped as usize..];
                if self.skip == 0 {
                    self.end_value(Reply::Good, &mut on_reply);
                }
                continue;
            }
            let Some(end) = memchr(b'\n', rest) else {
                if self.line.len() + rest.len() > LINE_LENGTH_MAX {
                    return Err(NotResp);
                }
                self.line.extend_from_slice(rest);
                return Ok(());
            };
            if self.line.is_empty() {
                self.header(&rest[..end], &mut on_reply)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..end]);
                self.header(&line, &mut on_reply)?;
                line.clear();
                self.line = line;
            }
            rest = &rest[end + 1..];
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8], on_reply: &mut impl FnMut(Reply<'_>)) -> Result<(), NotResp> {
        let line = line.strip_suffix(b"\r").ok_or(NotResp)?;
        let (&kind, text) = line.split_first().ok_or(NotResp)?;
        if self.missing == 0 {
            self.missing = 1;
            self.push = kind == b'>';
        }
        match kind {
            b'-' => self.end_value(Reply::Error(text), on_reply),
            b'+' | b':' | b'_' | b'#' | b',' | b'(' => self.end_value(Reply::Good, on_reply),
            b'$' | b'=' | b'!' => match length(text)? {
                None => self.end_value(Reply::Good, on_reply),
                Some(length) => self.skip = length + 2,
            },
            b'*' | b'~' | b'>' => {
                self.missing += length(text)?.unwrap_or(0);
                self.end_value(Reply::Good, on_reply);
            }
            b'%' => {
                self.missing += length(text)?.unwrap_or(0) * 2;
                self.end_value(Reply::Good, on_reply);
            }
            b'|' => self.missing += length(text)?.unwrap_or(0) * 2,
            _ => return Err(NotResp),
        }
        Ok(())
    }

    fn end_value(&mut self, reply: Reply<'_>, on_reply: &mut impl FnMut(Reply<'_>)) {
        self.missing -= 1;
        if self.missing == 0 && !self.push {
            on_reply(reply);
        }
    }
}

/// A length; `None` for -1.
fn length(text: &[u8]) -> Result<Option<u64>, NotResp> {
    let text = std::str::from_utf8(text).map_err(|_| NotResp)?;
    if text == "-1" {
        return Ok(None);
    }
    text.parse::<u32>().map(|length| Some(u64::from(length))).map_err(|_| NotResp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b"+OK\r\n$3\r\na\nb\r\n*2\r\n$-1\r\n*1\r\n:1\r\n-ERR no\r\n>1\r\n+push\r\n%1\r\n+a\r\n*0\r\n\
                            |1\r\n+a\r\n+b\r\n:5\r\n*-1\r\n$0\r\n\r\n";

    fn replies(chunks: &[&[u8]]) -> Vec<Option<String>> {
        let mut scanner = Scanner::default();
        let mut replies = Vec::new();
        for chunk in chunks {
            scanner
                .feed(chunk, |reply| {
                    replies.push(match reply {
                        Reply::Good => None,
                        Reply::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
                    });
                })
                .unwrap();
        }
        replies
    }

    #[test]
    fn replies_are_counted_however_they_are_split() {
        let expected = [None, None, None, Some("ERR no".to_owned()), None, None, None, None];
        assert_eq!(replies(&[STREAM]), expected);
        for size in 1..STREAM.len() {
            let chunks: Vec<_> = STREAM.chunks(size).collect();
            assert_eq!(replies(&chunks), expected, "{size}");
        }
    }

    #[test]
    fn garbage_is_noticed() {
        for garbage in [b"hello\r\n".as_slice(), b"$x\r\n", b"+OK\n", b"\r\n"] {
            assert_eq!(Scanner::default().feed(garbage, |_| ()), Err(NotResp), "{}", garbage.escape_ascii());
        }
    }
}
