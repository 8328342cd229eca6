//! Rust source with blanks in place of comments and literals, and the functions found in it.
//!
//! A lexer of a few states, enough to find words and to match brackets; no parser.

/// Source text of which only code is left; every line keeps its number.
pub struct RustSource {
    code: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, without a path.
    pub name: String,
    /// The line of `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing bracket, both counted.
    pub lines: usize,
}

impl RustSource {
    /// Blanks comments, strings and characters.
    pub fn new(text: &str) -> Self {
        Self { code: blank(text) }
    }

    /// The lines of code, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines on which a word of code stands by itself.
    pub fn lines_with_word<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.lines().filter(move |(_, line)| has_word(line, word)).map(|(number, _)| number)
    }

    /// All functions with bodies, in the order of their beginnings.
    pub fn functions(&self) -> Vec<Function> {
        let bytes = self.code.as_bytes();
        let mut functions = Vec::new();
        let mut at = 0;
        while let Some(found) = self.code.get(at..).and_then(|rest| rest.find("fn ")) {
            let start = at + found;
            at = start + 3;
            let stands_alone = start == 0 || !bytes.get(start - 1).copied().is_some_and(is_word_byte);
            let name: String =
                self.code.chars_from(at).take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !stands_alone || name.is_empty() {
                continue;
            }
            let Some(end) = body_end(bytes, at) else { continue };
            let lines_before = |end: usize| bytes.iter().take(end).filter(|byte| **byte == b'\n').count();
            let line = lines_before(start) + 1;
            functions.push(Function { name, line, lines: lines_before(end) + 2 - line });
        }
        functions
    }
}

/// Whether a word stands by itself in a line.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.as_bytes().get(at.wrapping_sub(1)).copied();
        let after = line.as_bytes().get(at + word.len()).copied();
        !before.is_some_and(is_word_byte) && !after.is_some_and(is_word_byte)
    })
}

trait CharsFrom {
    fn chars_from(&self, at: usize) -> std::str::Chars<'_>;
}

impl CharsFrom for String {
    fn chars_from(&self, at: usize) -> std::str::Chars<'_> {
        self.get(at..).unwrap_or_default().chars()
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where the body of a function ends whose name begins at `at`; nothing for a declaration without a body.
fn body_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    let mut in_body = false;
    for (index, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            b'(' | b'[' | b'{' => {
                in_body |= depth == 0 && *byte == b'{';
                depth += 1;
            }
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 && in_body {
                    return Some(index);
                }
            }
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The same text with blanks for comments and literals; line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let follows_word = at > 0 && bytes.get(at - 1).copied().is_some_and(is_word_byte);
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if byte == b'"' {
            string(rest)
        } else if !follows_word && let Some(length) = prefixed_string(rest) {
            length
        } else if byte == b'\'' {
            character(rest)
        } else {
            0
        };
        if length == 0 {
            code.push(byte);
            at += 1;
            continue;
        }
        let blanks = rest.iter().take(length).map(|byte| if *byte == b'\n' { b'\n' } else { b' ' });
        code.extend(blanks);
        at += length;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a string that begins with its quote.
fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a string or character with a prefix: `b"`, `c"`, `r"`, `br#"`, `b'`.
fn prefixed_string(rest: &[u8]) -> Option<usize> {
    let letters = rest.iter().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count();
    if letters == 0 || letters > 2 {
        return None;
    }
    let after = rest.get(letters..)?;
    if rest.get(letters - 1) != Some(&b'r') {
        return match after.first()? {
            b'"' => Some(letters + string(after)),
            b'\'' if rest.starts_with(b"b") => Some(letters + character(after)).filter(|length| *length > 1),
            _ => None,
        };
    }
    let hashes = after.iter().take_while(|byte| **byte == b'#').count();
    if after.get(hashes) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = after.get(hashes + 1..)?;
    let length = body.windows(end.len()).position(|window| window == end)?;
    Some(letters + hashes + 1 + length + end.len())
}

/// The length of a character; 0 where the quote begins a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|byte| *byte == b'\'');
        return end.map_or(1, |end| end + 4);
    }
    let text = std::str::from_utf8(rest.get(1..rest.len().min(6)).unwrap_or_default());
    let valid = match &text {
        Ok(text) => text,
        Err(error) => {
            let bytes = rest.get(1..1 + error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(bytes).unwrap_or_default()
        }
    };
    match valid.chars().next() {
        Some(first) if rest.get(1 + first.len_utf8()) == Some(&b'\'') => first.len_utf8() + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Function, RustSource, has_word};

    #[test]
    fn comments_and_literals_are_blanked() {
        let cases = [
            ("a // unsafe", "a          "),
            ("a /* x /* y */ z */ b", "a                   b"),
            ("f(\"{\\\"\")", "f(     )"),
            ("f(br#\"\"{\"#)", "f(        )"),
            ("f('{', b'\\'', '\\u{7d}')", "f(   ,      ,         )"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("car\"x\"", "car   "),
        ];
        for (text, code) in cases {
            assert_eq!(RustSource::new(text).code, code, "{text}");
        }
    }

    #[test]
    fn functions_are_found_with_their_lengths() {
        let source = RustSource::new(
            "trait T {\n fn a(&self);\n}\nfn b<F: fn(u8)>(\n x: [u8; 3],\n) {\n fn c() {}\n}\n",
        );
        let names = [("b", 4, 5), ("c", 7, 1)];
        let expected: Vec<_> = names
            .iter()
            .map(|&(name, line, lines)| Function { name: name.to_owned(), line, lines })
            .collect();
        assert_eq!(source.functions(), expected);
    }

    #[test]
    fn words_stand_alone() {
        assert!(has_word("x = unsafe { y }", "unsafe"));
        assert!(!has_word("#![allow(unsafe_code)]", "unsafe"));
    }
}
