//! Ranges of scores and of members.

use super::nodes::Target;
use super::scored::Link;
use shoal_formats::listpack::Element;

/// A bound of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    /// The score.
    pub score: f64,
    /// The score itself is outside.
    pub exclusive: bool,
}

impl ScoreBound {
    /// Whether a score is not below this lower bound.
    pub fn is_reached_by(self, score: f64) -> bool {
        if self.exclusive { score > self.score } else { score >= self.score }
    }

    /// Whether a score is above this upper bound.
    pub fn is_passed_by(self, score: f64) -> bool {
        if self.exclusive { score >= self.score } else { score > self.score }
    }
}

/// Scores between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The lower bound.
    pub min: ScoreBound,
    /// The upper bound.
    pub max: ScoreBound,
}

/// A bound of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Before all members.
    Lowest,
    /// Behind all members.
    Highest,
    /// This member is inside.
    Inclusive(&'a [u8]),
    /// This member is outside.
    Exclusive(&'a [u8]),
}

impl LexBound<'_> {
    /// Whether a member is not below this lower bound.
    pub fn is_reached_by(self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => true,
            Self::Highest => false,
            Self::Inclusive(bound) => member >= bound,
            Self::Exclusive(bound) => member > bound,
        }
    }

    /// Whether a member is above this upper bound.
    pub fn is_passed_by(self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => true,
            Self::Highest => false,
            Self::Inclusive(bound) => member > bound,
            Self::Exclusive(bound) => member >= bound,
        }
    }
}

/// Members between two bounds; for sorted sets in which all scores are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// The lower bound.
    pub min: LexBound<'a>,
    /// The upper bound.
    pub max: LexBound<'a>,
}

/// Which elements are meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interval<'a> {
    /// By score.
    Score(ScoreRange),
    /// By member.
    Lex(LexRange<'a>),
}

impl LexRange<'_> {
    /// Whether no member can be inside, whatever the set.
    fn is_empty(&self) -> bool {
        let member = |bound| match bound {
            LexBound::Inclusive(member) | LexBound::Exclusive(member) => Some(member),
            LexBound::Lowest | LexBound::Highest => None,
        };
        match (self.min, self.max) {
            (LexBound::Highest, _) | (_, LexBound::Lowest) => true,
            (LexBound::Lowest, _) | (_, LexBound::Highest) => false,
            (LexBound::Inclusive(min), LexBound::Inclusive(max)) => min > max,
            (min, max) => member(min) >= member(max),
        }
    }
}

impl Interval<'_> {
    /// Whether no element can be inside, whatever the set.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Score(range) => {
                let ends_meet = range.min.score == range.max.score;
                range.min.score > range.max.score
                    || (ends_meet && (range.min.exclusive || range.max.exclusive))
            }
            Self::Lex(range) => range.is_empty(),
        }
    }

    /// Whether an element is not below the lower bound.
    pub fn is_reached_by(&self, member: Element<'_>, score: f64) -> bool {
        match self {
            Self::Score(range) => range.min.is_reached_by(score),
            Self::Lex(range) => member.with_text(|member| range.min.is_reached_by(member)),
        }
    }

    /// Whether an element is above the upper bound.
    pub fn is_passed_by(&self, member: Element<'_>, score: f64) -> bool {
        match self {
            Self::Score(range) => range.max.is_passed_by(score),
            Self::Lex(range) => member.with_text(|member| range.max.is_passed_by(member)),
        }
    }
}

/// Where an interval begins or ends in a tree.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// The interval.
    pub interval: &'a Interval<'a>,
    /// The place behind its last element; else that before its first.
    pub is_end: bool,
}

impl Target for Edge<'_> {
    fn score(&self) -> Option<f64> {
        match (self.interval, self.is_end) {
            (Interval::Score(range), false) => Some(range.min.score),
            (Interval::Score(range), true) => Some(range.max.score),
            (Interval::Lex(_), _) => None,
        }
    }

    fn is_behind(&self, link: &Link) -> bool {
        match (self.interval, self.is_end) {
            (Interval::Score(range), false) => !range.min.is_reached_by(link.score()),
            (Interval::Score(range), true) => !range.max.is_passed_by(link.score()),
            (Interval::Lex(range), false) => !range.min.is_reached_by(link.member()),
            (Interval::Lex(range), true) => !range.max.is_passed_by(link.member()),
        }
    }
}
