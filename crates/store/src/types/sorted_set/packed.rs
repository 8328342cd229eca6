//! Small sorted sets: a listpack of members and scores by turns, in the order of the scores.

use super::bounds::Interval;
use shoal_formats::listpack::{At, Element, Listpack};
use shoal_protocol::number::{self, DoubleText};
use std::cmp::Ordering;
use std::ops::Range;

/// An element as it stands in the listpack.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Where its member is.
    pub at: At,
    /// Its member.
    pub member: Element<'a>,
    /// Its score.
    pub score: f64,
}

/// A score out of a listpack; `None` if it is none.
pub fn score_of(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Integer(integer) => Some(integer as f64),
        Element::Bytes(text) => number::parse_f64(text),
    }
}

/// The pair whose member stands at a place.
#[inline]
fn pair(listpack: &Listpack, at: At) -> Option<(Pair<'_>, At)> {
    let score_at = listpack.next(at)?;
    let score = score_of(listpack.get(score_at)).unwrap_or(0.0);
    Some((Pair { at, member: listpack.get(at), score }, score_at))
}

/// All pairs in order, from either end.
pub fn pairs(listpack: &Listpack) -> Pairs<'_> {
    Pairs { listpack, front: listpack.first(), back: listpack.last(), left: listpack.len() / 2 }
}

/// The pairs with these indexes, in order, from either end.
pub fn range(listpack: &Listpack, range: Range<usize>) -> Pairs<'_> {
    let end = range.end.min(listpack.len() / 2);
    let left = end.saturating_sub(range.start);
    if left == 0 {
        return Pairs { listpack, front: None, back: None, left };
    }
    let front = listpack.seek(range.start as i64 * 2);
    Pairs { listpack, front, back: listpack.seek(end as i64 * 2 - 1), left }
}

/// Finds a member.
pub fn find<'a>(listpack: &'a Listpack, member: &[u8]) -> Option<Pair<'a>> {
    let at = listpack.find(listpack.first(), member, 1)?;
    pair(listpack, at).map(|(pair, _)| pair)
}

/// Puts a member that is not there where its score says.
pub fn insert(listpack: &mut Listpack, member: &[u8], score: f64) {
    let score_text = DoubleText::shortest(score);
    let score_text = match number::whole(score) {
        // A zero has no sign in a listpack.
        Some(0) => &b"0"[..],
        _ => score_text.as_bytes(),
    };
    // New elements are often the last.
    let is_before = |pair: &Pair<'_>| match pair.score.partial_cmp(&score) {
        Some(Ordering::Less) => true,
        Some(Ordering::Equal) => pair.member.with_text(|other| other < member),
        _ => false,
    };
    let behind = match pairs(listpack).next_back() {
        Some(last) if !is_before(&last) => pairs(listpack).find(|pair| !is_before(pair)),
        _ => None,
    };
    match behind.map(|pair| pair.at) {
        Some(at) => {
            listpack.insert_before(at, member);
            listpack.insert_after(at, score_text);
        }
        None => {
            listpack.push(member);
            listpack.push(score_text);
        }
    }
}

/// Index and score of a member.
pub fn rank(listpack: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    let wanted = Element::of(member);
    let found = pairs(listpack).enumerate().find(|(_, pair)| pair.member == wanted);
    found.map(|(index, pair)| (index, pair.score))
}

/// The indexes of an interval's elements but for the first `offset`, which are the last if `backwards`.
///
/// Intervals of members are meant for sets in which all scores are the same. In others Redis goes from its first
/// element (from its last one if `backwards`) as far as the elements are inside, and so does this.
pub fn interval(
    listpack: &Listpack,
    interval: &Interval<'_>,
    backwards: bool,
    offset: usize,
) -> Range<usize> {
    let reached = |pair: &Pair<'_>| interval.is_reached_by(pair.member, pair.score);
    let passed = |pair: &Pair<'_>| interval.is_passed_by(pair.member, pair.score);
    let mut all = pairs(listpack);
    let touches = all.clone().next_back().is_some_and(|last| reached(&last))
        && all.clone().next().is_some_and(|first| !passed(&first));
    if interval.is_empty() || !touches {
        return 0..0;
    }
    let length = listpack.len() / 2;
    if backwards {
        let Some(from_end) = all.clone().rev().position(|pair| !passed(&pair)) else { return 0..0 };
        let end = (length - from_end).saturating_sub(offset);
        let inside = all.rev().skip(length - end).take_while(reached).count();
        end - inside..end
    } else {
        let Some(start) = all.clone().position(|pair| reached(&pair)) else { return 0..0 };
        let start = start.saturating_add(offset).min(length);
        let inside = all.by_ref().skip(start).take_while(|pair| !passed(pair)).count();
        start..start + inside
    }
}

/// Whether these are pairs of members and scores in order, without a score that is not a number. Members that are there twice
/// are not looked for.
pub fn is_in_order(listpack: &Listpack) -> bool {
    let mut before: Option<Pair<'_>> = None;
    let in_order = pairs(listpack).all(|pair| {
        let in_order = before.is_none_or(|before| match before.score.partial_cmp(&pair.score) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => {
                before.member.with_text(|left| pair.member.with_text(|right| left < right))
            }
            _ => false,
        });
        before = Some(pair);
        in_order
    });
    in_order && has_scores(listpack)
}

/// Whether every second element is a score.
pub fn has_scores(listpack: &Listpack) -> bool {
    listpack.len().is_multiple_of(2)
        && listpack.iter().skip(1).step_by(2).all(|score| score_of(score).is_some())
}

/// Pairs in order.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    listpack: &'a Listpack,
    front: Option<At>,
    /// Where the last pair's score is.
    back: Option<At>,
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (pair, score_at) = pair(self.listpack, self.front?)?;
        self.front = self.listpack.next(score_at);
        Some(pair)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let at = self.listpack.previous(self.back?)?;
        self.back = self.listpack.previous(at);
        pair(self.listpack, at).map(|(pair, _)| pair)
    }
}

impl ExactSizeIterator for Pairs<'_> {}
