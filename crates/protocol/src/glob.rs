//! Glob patterns as KEYS, SCAN, PSUBSCRIBE, CONFIG GET and ACL rules use them.
//!
//! The language is that of Redis (`stringmatchlen` of 7.0): `*` any bytes, `?` one byte, `[abc]`, `[a-z]`, `[^a]`
//! one byte of (or outside) a class, `\x` the byte `x`. A class that is not closed reaches to the end of the
//! pattern. All but `*` match exactly one byte, so going back to the last `*` is enough and the cost is at
//! most the product of both lengths, whatever the pattern. Redis gives up at a thousand stars, and so do we.

/// Whether letters of ASCII match in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `a` matches `a` only.
    Sensitive,
    /// `a` matches `a` and `A`.
    Insensitive,
}

/// A pattern with more stars in a match, those at its end not counted, matches nothing.
const STARS_MAX: usize = 1000;

/// Whether the whole of `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    // Not even `*` matches an empty text in Redis; KEYS and SCAN know that pattern by themselves.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern_at, mut text_at) = (0, 0);
    // Where to go on when something after the last star fails: behind the star, one byte of text later.
    let mut retry: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        let rest = pattern.get(pattern_at..).unwrap_or_default();
        if let [b'*', behind @ ..] = rest {
            stars += usize::from(behind.first().is_some_and(|&byte| byte != b'*'));
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((pattern_at + 1, text_at));
            pattern_at += 1;
            continue;
        }
        let step = match text.get(text_at) {
            None if rest.is_empty() => return true,
            None => None,
            Some(&byte) => match_one(rest, byte, case),
        };
        if let Some(length) = step {
            pattern_at += length;
            text_at += 1;
            continue;
        }
        match &mut retry {
            Some((after_star, from)) if *from < text.len() => {
                *from += 1;
                (pattern_at, text_at) = (*after_star, *from);
            }
            _ => return false,
        }
    }
}

/// Whether `pattern` holds a byte that means something else than itself to [`matches`] in a lookup by name; Redis
/// looks names without `*`, `?` and `[` up directly.
pub fn is_pattern(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Matches one byte against the element at the front of `pattern`; gives the element's length, or `None` if it does
/// not match or nothing is left of the pattern.
fn match_one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (is_member, length) = match_class(class, byte, case);
            is_member.then_some(length + 1)
        }
        [b'\\', escaped, ..] => same(*escaped, byte, case).then_some(2),
        [literal, ..] => same(*literal, byte, case).then_some(1),
    }
}

/// Reads a class whose `[` is already taken: whether `byte` belongs to it, and its length with the closing bracket.
fn match_class(class: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let is_negated = class.first() == Some(&b'^');
    let mut at = usize::from(is_negated);
    let mut is_member = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                // An escaped byte of a class matches itself only, in either mode: so does Redis.
                is_member |= *escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (low, high) = (fold(*from.min(to), case), fold(*from.max(to), case));
                is_member |= (low.min(high)..=low.max(high)).contains(&fold(byte, case));
                at += 3;
            }
            [literal, ..] => {
                is_member |= same(*literal, byte, case);
                at += 1;
            }
        }
    }
    (is_member != is_negated, at)
}

fn same(left: u8, right: u8, case: Case) -> bool {
    fold(left, case) == fold(right, case)
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn too_many_stars_match_nothing() {
        let matches_stars =
            |count| matches("*?".repeat(count).as_bytes(), "a".repeat(count).as_bytes(), Case::Sensitive);
        assert!(matches_stars(1000) && !matches_stars(1001));
        assert!(matches("*".repeat(5000).as_bytes(), b"text", Case::Sensitive));
    }

    #[test]
    fn matches_as_redis_does() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("**", "", false),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("[]a", "a", false),
            ("[^]a", "xa", true),
            ("[abc", "b", true),
            ("[a\\]b]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("h*llo*x", "heeello!", false),
            ("*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("A", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
                *expected,
                "{pattern} {text}"
            );
        }
        assert!(matches(b"MaxMem*", b"maxmemory", Case::Insensitive));
        assert!(matches(b"[A-C]x", b"bX", Case::Insensitive));
    }

    /// The definition, as slow as it is plain.
    fn matches_plainly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| matches_plainly(rest, &text[skip..])),
            (_, []) => false,
            (_, [byte, tail @ ..]) => match_one(pattern, *byte, Case::Sensitive)
                .is_some_and(|length| matches_plainly(&pattern[length..], tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,8}", text in "[ab\\-]{0,8}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            let expected = if text.is_empty() { pattern.is_empty() } else { matches_plainly(pattern, text) };
            prop_assert_eq!(matches(pattern, text, Case::Sensitive), expected);
        }
    }
}
