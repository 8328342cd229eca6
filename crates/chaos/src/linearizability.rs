//! Whether what clients saw of one register could have been seen if every operation had happened at one moment between its
//! begin and its end.
//!
//! The moments are looked for just in time (Lowe, *Testing for linearizability*, 2017): the operations' ends are gone through in
//! their order, and all states are kept in which the register and the operations under way can be. An operation that ends must
//! have happened in a state, else the state is impossible; no state left means that the history is not linearizable.

use std::collections::{BTreeMap, BTreeSet};

/// Operations under way at one time, at the most.
const CONCURRENT_MAX: usize = 64;

/// What an operation did. Values are unique; `None` is the register that nobody has written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It wrote this.
    Write(u64),
    /// It read this.
    Read(Option<u64>),
}

/// An operation on a register: times are of one clock, in any unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When the client sent it.
    pub begin: u64,
    /// When the client had the reply; `None` if it never came, and nobody knows whether the operation happened.
    pub end: Option<u64>,
    /// What it did.
    pub action: Action,
}

/// What is known of a register before the first operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nobody has written it.
    Empty,
    /// It may hold anything.
    Unknown,
}

/// The part of a history from `from` to `to`: operations that reach into it from outside may have happened in it, as far as that
/// matters.
pub fn part(operations: &[Operation], from: u64, to: u64) -> Vec<Operation> {
    let inside = operations.iter().filter_map(|operation| {
        let end = operation.end.filter(|&end| end <= to);
        let touches = operation.begin <= to && operation.end.is_none_or(|end| end >= from);
        match operation.action {
            Action::Write(_) => touches.then_some(Operation { end, ..*operation }),
            Action::Read(_) => (operation.begin >= from && end.is_some()).then_some(*operation),
        }
    });
    inside.collect()
}

/// Checks the operations on one register.
///
/// # Errors
/// A text that names the operation that cannot have happened.
pub fn check(operations: &[Operation], before: Before) -> Result<(), String> {
    let operations = with_known_ends(operations);
    // At the same time begins stand before ends: what is not known to be ordered may have overlapped.
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (index, &(operation, end)) in operations.iter().enumerate() {
        events.push((operation.begin, false, index));
        events.push((end, true, index));
    }
    events.sort_unstable();
    let mut places: [Option<usize>; CONCURRENT_MAX] = [None; CONCURRENT_MAX];
    let value = (before == Before::Empty).then_some(None);
    let mut states = BTreeSet::from([State { happened: 0, value }]);
    for (at, is_end, index) in events {
        if !is_end {
            let free = places.iter().position(Option::is_none).ok_or("too many operations at once")?;
            places[free] = Some(index);
            continue;
        }
        let Some(place) = places.iter().position(|&held| held == Some(index)) else { continue };
        states = states_with(&states, place, &places, &operations);
        places[place] = None;
        if states.is_empty() {
            let operation = operations[index].0;
            return Err(format!(
                "{:?} from {} to {at} has no moment at which it can be",
                operation.action, operation.begin
            ));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// A bit for each place whose operation has happened.
    happened: u64,
    /// What the register holds, if that is known.
    value: Option<Option<u64>>,
}

/// All states in which the operation at `place` has happened, which then leaves its place.
fn states_with(
    states: &BTreeSet<State>,
    place: usize,
    places: &[Option<usize>; CONCURRENT_MAX],
    operations: &[(Operation, u64)],
) -> BTreeSet<State> {
    let mut seen = states.clone();
    let mut to_visit: Vec<State> = states.iter().copied().collect();
    let mut found = BTreeSet::new();
    while let Some(state) = to_visit.pop() {
        if state.happened & (1 << place) != 0 {
            found.insert(State { happened: state.happened & !(1 << place), ..state });
            continue;
        }
        for (other, index) in places.iter().enumerate() {
            let Some(index) = *index else { continue };
            if state.happened & (1 << other) != 0 {
                continue;
            }
            let value = match operations[index].0.action {
                Action::Write(value) => Some(value),
                Action::Read(value) if state.value.is_none_or(|held| held == value) => value,
                Action::Read(_) => continue,
            };
            let next = State { happened: state.happened | 1 << other, value: Some(value) };
            if seen.insert(next) {
                to_visit.push(next);
            }
        }
    }
    found
}

/// Operations with an end: reads without one tell nothing; a write without one that nobody has read need not have happened,
/// and one that was read has happened by the end of the first read.
fn with_known_ends(operations: &[Operation]) -> Vec<(Operation, u64)> {
    let mut first_read: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in operations {
        if let (Action::Read(Some(value)), Some(end)) = (operation.action, operation.end) {
            first_read.entry(value).and_modify(|first| *first = (*first).min(end)).or_insert(end);
        }
    }
    let known = operations.iter().filter_map(|operation| {
        let end = operation.end.or_else(|| match operation.action {
            Action::Write(value) => first_read.get(&value).copied(),
            Action::Read(_) => None,
        })?;
        // A value that was read before it was sent stays for the check to find.
        Some((*operation, end.max(operation.begin)))
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{Read, Write};

    fn operation(begin: u64, end: impl Into<Option<u64>>, action: Action) -> Operation {
        Operation { begin, end: end.into(), action }
    }

    #[test]
    fn histories_that_can_be() {
        let cases: &[&[Operation]] = &[
            &[],
            &[operation(0, 1, Write(1)), operation(2, 3, Read(Some(1)))],
            &[operation(0, 10, Write(1)), operation(1, 2, Read(None)), operation(3, 4, Read(Some(1)))],
            // Two writes at once, in either order.
            &[operation(0, 9, Write(1)), operation(0, 9, Write(2)), operation(10, 11, Read(Some(1)))],
            &[operation(0, 9, Write(1)), operation(0, 9, Write(2)), operation(10, 11, Read(Some(2)))],
            // A write without a reply happens late, or never.
            &[operation(0, None, Write(1)), operation(1, 2, Read(None)), operation(5, 6, Read(Some(1)))],
            &[operation(0, None, Write(1)), operation(1, 2, Write(2)), operation(5, 6, Read(Some(2)))],
            &[operation(0, 1, Write(1)), operation(2, None, Read(None)), operation(5, 6, Read(Some(1)))],
        ];
        for case in cases {
            assert_eq!(check(case, Before::Empty), Ok(()), "{case:?}");
        }
    }

    #[test]
    fn histories_that_cannot_be() {
        let cases: &[&[Operation]] = &[
            // A lost write.
            &[operation(0, 1, Write(1)), operation(2, 3, Read(None))],
            // A stale read.
            &[operation(0, 1, Write(1)), operation(2, 3, Write(2)), operation(4, 5, Read(Some(1)))],
            // The new value was seen, then the old one.
            &[
                operation(0, 1, Write(1)),
                operation(2, 20, Write(2)),
                operation(3, 4, Read(Some(2))),
                operation(5, 6, Read(Some(1))),
            ],
            // A value that nobody has written, and one that was read before it was sent.
            &[operation(0, 1, Read(Some(7)))],
            &[operation(0, 1, Read(Some(7))), operation(5, None, Write(7))],
            // A write without a reply was seen, and is gone again.
            &[operation(0, None, Write(1)), operation(1, 2, Read(Some(1))), operation(3, 4, Read(None))],
        ];
        for case in cases {
            assert!(check(case, Before::Empty).is_err(), "{case:?}");
        }
    }

    #[test]
    fn parts_begin_with_anything() {
        let stale = [operation(5, 6, Read(Some(9))), operation(7, 8, Read(Some(9)))];
        assert!(check(&stale, Before::Empty).is_err());
        assert_eq!(check(&stale, Before::Unknown), Ok(()));
        let changing = [operation(5, 6, Read(Some(9))), operation(7, 8, Read(Some(8)))];
        assert!(check(&changing, Before::Unknown).is_err());
    }

    #[test]
    fn what_reaches_into_a_part_may_have_happened_there() {
        let history = [
            operation(0, 4, Write(1)),
            operation(6, 12, Write(2)),
            operation(7, 8, Read(Some(2))),
            operation(9, 30, Read(Some(2))),
            operation(15, None, Write(3)),
            operation(25, 26, Read(Some(3))),
        ];
        let first = part(&history, 0, 10);
        assert_eq!(first, [history[0], Operation { end: None, ..history[1] }, history[2]]);
        assert_eq!(check(&first, Before::Empty), Ok(()));
        let second = part(&history, 20, u64::MAX);
        assert_eq!(second, [history[4], history[5]]);
        assert_eq!(check(&second, Before::Unknown), Ok(()));
    }
}
