//! Reading from bytes that may go on later.

use super::RdbProblem;

/// Why reading stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// More bytes are needed.
    Incomplete,
    /// The bytes are wrong.
    Problem(RdbProblem),
}

impl From<RdbProblem> for Stop {
    fn from(problem: RdbProblem) -> Self {
        Self::Problem(problem)
    }
}

impl Stop {
    /// What is wrong, where no more bytes will come.
    pub(crate) fn into_problem(self) -> RdbProblem {
        match self {
            Self::Incomplete => RdbProblem::MalformedString,
            Self::Problem(problem) => problem,
        }
    }
}

/// A place in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Bytes before the cursor.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// All bytes, those before the cursor included.
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A cursor at another place of the same bytes.
    pub(crate) const fn at(&self, at: usize) -> Self {
        Self { bytes: self.bytes, at }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::Incomplete)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(count).ok_or(Stop::Incomplete)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Incomplete)?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Stop::Incomplete)
    }
}
