//! Reading a command's arguments.

use crate::errors;
use crate::number;
use crate::reply::ErrorReply;
use crate::request::{Request, SharedBytes};

/// A cursor over the words after the command's name. Every read either gives a typed value or the error to reply.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    request: Request<'a>,
    next: usize,
}

impl<'a> Arguments<'a> {
    /// A cursor that stands on word `first`.
    pub fn new(request: Request<'a>, first: usize) -> Self {
        Self { request, next: first }
    }

    /// Words that are left.
    pub fn remaining(&self) -> usize {
        self.request.len().saturating_sub(self.next)
    }

    /// Whether no words are left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The next word.
    ///
    /// # Errors
    /// A syntax error if there is none.
    pub fn take(&mut self) -> Result<&'a [u8], ErrorReply> {
        self.take_optional().ok_or(errors::SYNTAX)
    }

    /// The next word, if there is one.
    pub fn take_optional(&mut self) -> Option<&'a [u8]> {
        if self.is_empty() {
            return None;
        }
        self.next += 1;
        Some(self.request.argument(self.next - 1))
    }

    /// The next word and, if it came in a block of its own, that block.
    ///
    /// # Errors
    /// A syntax error if there is none.
    pub fn take_shared(&mut self) -> Result<(&'a [u8], Option<&'a SharedBytes>), ErrorReply> {
        let shared = self.request.shared(self.next);
        Ok((self.take()?, shared))
    }

    /// The next word without moving on.
    pub fn peek(&self) -> Option<&'a [u8]> {
        (!self.is_empty()).then(|| self.request.argument(self.next))
    }

    /// The next word as an integer.
    ///
    /// # Errors
    /// It is none.
    pub fn take_i64(&mut self) -> Result<i64, ErrorReply> {
        number::parse_i64(self.take()?).ok_or(errors::NOT_AN_INTEGER)
    }

    /// The next word as an integer between two bounds.
    ///
    /// # Errors
    /// It is none, or outside.
    pub fn take_i64_in(&mut self, bounds: std::ops::RangeInclusive<i64>) -> Result<i64, ErrorReply> {
        let value = self.take_i64()?;
        if bounds.contains(&value) { Ok(value) } else { Err(errors::OUT_OF_RANGE) }
    }

    /// The next word as a double.
    ///
    /// # Errors
    /// It is none.
    pub fn take_f64(&mut self) -> Result<f64, ErrorReply> {
        number::parse_f64(self.take()?).ok_or(errors::NOT_A_FLOAT)
    }

    /// Moves on if the next word is `keyword`, in any case.
    pub fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(keyword.as_bytes()));
        self.next += usize::from(found);
        found
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// A syntax error if words are left.
    pub fn finish(&self) -> Result<(), ErrorReply> {
        if self.is_empty() { Ok(()) } else { Err(errors::SYNTAX) }
    }

    /// The words that are left, one by one.
    pub fn rest(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let (request, next) = (self.request, self.next);
        (next..request.len().max(next)).map(move |index| request.argument(index))
    }

    /// The whole request.
    pub fn request(&self) -> Request<'a> {
        self.request
    }
}
