//! Unions, intersections and differences of sorted sets and sets.

use super::{begin_members, store, write_scored};
use crate::call::{Call, Outcome};
use crate::keyspace::CollectionRef;
use crate::types::{Collection, Set, SortedSet, Type};
use shoal_formats::listpack::Element;
use shoal_protocol::{Arguments, ErrorReply, errors, number};

const NEGATIVE_LIMIT: ErrorReply = ErrorReply::new("ERR LIMIT can't be negative");
const WEIGHT_NOT_A_FLOAT: ErrorReply = ErrorReply::new("ERR weight value is not a float");

#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the scores of a member that several inputs have.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, score: f64, other: f64) -> f64 {
        match self {
            // Two infinities of different signs are agreed to give zero.
            Self::Sum => or_zero(score + other),
            Self::Min => {
                if other < score {
                    other
                } else {
                    score
                }
            }
            Self::Max => {
                if other > score {
                    other
                } else {
                    score
                }
            }
        }
    }
}

fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What the client asks for.
struct Query<'q> {
    keys: Vec<&'q [u8]>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members that are counted at most; 0 for all.
    limit: usize,
}

/// What kind of reply a command gives.
#[derive(Clone, Copy, PartialEq)]
enum Outlet {
    Members,
    Count,
    Store,
}

impl<'q> Query<'q> {
    /// The keys and how they are there; then the options.
    fn take(
        call: &mut Call<'_, '_>,
        arguments: &mut Arguments<'q>,
        operation: Operation,
        outlet: Outlet,
        name: &str,
    ) -> Result<Self, ErrorReply> {
        let count = arguments.take_i64()?;
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
            return Err(ErrorReply::from(format!("ERR at least 1 input key is needed for '{name}' command")));
        };
        if count > arguments.remaining() {
            return Err(errors::SYNTAX);
        }
        let mut query = Self {
            keys: Vec::with_capacity(count),
            weights: vec![1.0; count],
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        for _ in 0..count {
            let key = arguments.take()?;
            if let Some(found) = call.find_for_read(key)
                && !matches!(call.database().entry(found).kind(), Type::SortedSet | Type::Set)
            {
                return Err(errors::WRONG_TYPE);
            }
            query.keys.push(key);
        }
        let weighs = operation != Operation::Difference && outlet != Outlet::Count;
        while !arguments.is_empty() {
            if weighs && arguments.remaining() > count && arguments.take_keyword("WEIGHTS") {
                for weight in &mut query.weights {
                    *weight = number::parse_f64(arguments.take()?).ok_or(WEIGHT_NOT_A_FLOAT)?;
                }
            } else if weighs && arguments.remaining() > 1 && arguments.take_keyword("AGGREGATE") {
                query.aggregate = take_aggregate(arguments)?;
            } else if outlet == Outlet::Members && arguments.take_keyword("WITHSCORES") {
                query.with_scores = true;
            } else if outlet == Outlet::Count && arguments.remaining() > 1 && arguments.take_keyword("LIMIT")
            {
                let limit =
                    number::parse_i64(arguments.take()?).and_then(|limit| usize::try_from(limit).ok());
                query.limit = limit.ok_or(NEGATIVE_LIMIT)?;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(query)
    }

    fn inputs<'a>(&self, call: &'a Call<'_, '_>) -> Vec<Input<'a>> {
        let input = |(key, weight): (&&[u8], &f64)| {
            // All keys have been looked up, so those that have expired are gone, or are hidden on a replica.
            let found = call.database().find(key)?;
            let entry = call.database().entry(found);
            if call.is_expired(entry.expiry_ms()) {
                return None;
            }
            let source = match entry.kind() {
                Type::SortedSet => Source::SortedSet(call.keyspace.collection(call.database_index, found)),
                _ => Source::Set(call.keyspace.collection(call.database_index, found)),
            };
            Some(Input { source, weight: *weight })
        };
        let inputs = self.keys.iter().zip(&self.weights);
        inputs.map(|pair| input(pair).unwrap_or(Input { source: Source::Missing, weight: *pair.1 })).collect()
    }
}

fn take_aggregate(arguments: &mut Arguments<'_>) -> Result<Aggregate, ErrorReply> {
    if arguments.take_keyword("SUM") {
        Ok(Aggregate::Sum)
    } else if arguments.take_keyword("MIN") {
        Ok(Aggregate::Min)
    } else if arguments.take_keyword("MAX") {
        Ok(Aggregate::Max)
    } else {
        Err(errors::SYNTAX)
    }
}

/// The value of a key that is combined with others.
struct Input<'a> {
    source: Source<'a>,
    weight: f64,
}

enum Source<'a> {
    Missing,
    SortedSet(CollectionRef<'a, SortedSet>),
    Set(CollectionRef<'a, Set>),
}

/// The score of the members of sets.
const SET_SCORE: f64 = 1.0;

impl Input<'_> {
    fn len(&self) -> usize {
        match &self.source {
            Source::Missing => 0,
            Source::SortedSet(set) => set.len(),
            Source::Set(set) => set.len(),
        }
    }

    /// Shows every member with its score, until `visit` says no.
    fn visit(&self, mut visit: impl FnMut(Element<'_>, f64) -> bool) {
        match &self.source {
            Source::Missing => {}
            Source::SortedSet(set) => {
                let _ = set.iter().all(|(member, score)| visit(member, score));
            }
            Source::Set(set) => {
                let _ = set.iter().all(|member| visit(member, SET_SCORE));
            }
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.source {
            Source::Missing => None,
            Source::SortedSet(set) => set.score(member),
            Source::Set(set) => set.contains(member).then_some(SET_SCORE),
        }
    }
}

pub(super) fn zunion(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_with_members(call, arguments, Operation::Union, "zunion")
}

pub(super) fn zinter(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_with_members(call, arguments, Operation::Intersection, "zinter")
}

pub(super) fn zdiff(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    reply_with_members(call, arguments, Operation::Difference, "zdiff")
}

fn reply_with_members(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    operation: Operation,
    name: &str,
) -> Outcome {
    let query = Query::take(call, &mut arguments, operation, Outlet::Members, name)?;
    let result = combine(call, &query, operation);
    let reply = &mut *call.reply;
    begin_members(reply, result.len(), query.with_scores);
    result.iter().for_each(|(member, score)| write_scored(reply, member, score, query.with_scores));
    Ok(())
}

pub(super) fn zunionstore(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    store_members(call, arguments, Operation::Union, "zunionstore")
}

pub(super) fn zinterstore(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    store_members(call, arguments, Operation::Intersection, "zinterstore")
}

pub(super) fn zdiffstore(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    store_members(call, arguments, Operation::Difference, "zdiffstore")
}

fn store_members(
    call: &mut Call<'_, '_>,
    mut arguments: Arguments<'_>,
    operation: Operation,
    name: &'static str,
) -> Outcome {
    let destination = arguments.take()?;
    let query = Query::take(call, &mut arguments, operation, Outlet::Store, name)?;
    let mut result = combine(call, &query, operation);
    result.shrink(call.settings());
    store(call, destination, result, name);
    Ok(())
}

pub(super) fn zintercard(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let query = Query::take(call, &mut arguments, Operation::Intersection, Outlet::Count, "zintercard")?;
    let mut count = 0;
    intersect(&mut query.inputs(call), query.aggregate, |_, _| {
        count += 1;
        query.limit == 0 || count < query.limit
    });
    call.reply.integer(count as i64);
    Ok(())
}

/// The result as a large set, whatever its size.
fn combine(call: &Call<'_, '_>, query: &Query<'_>, operation: Operation) -> SortedSet {
    let settings = call.settings();
    let mut result = SortedSet::with_expected(usize::MAX, 0, settings);
    let mut inputs = query.inputs(call);
    match operation {
        Operation::Union => {
            inputs.sort_by_key(Input::len);
            for input in &inputs {
                input.visit(|member, score| {
                    let score = or_zero(input.weight * score);
                    let aggregate = |before: Option<f64>| {
                        Some(before.map_or(score, |before| query.aggregate.apply(before, score)))
                    };
                    member.with_text(|member| result.update(member, settings, aggregate));
                    true
                });
            }
        }
        Operation::Intersection => intersect(&mut inputs, query.aggregate, |member, score| {
            result.insert(member, score, settings);
            true
        }),
        Operation::Difference => {
            if let Some((first, others)) = inputs.split_first_mut() {
                // A member is most likely found in a large set.
                others.sort_by_key(|input| std::cmp::Reverse(input.len()));
                first.visit(|member, score| {
                    member.with_text(|member| {
                        if others.iter().all(|other| other.score(member).is_none()) {
                            result.insert(member, score, settings);
                        }
                    });
                    true
                });
            }
        }
    }
    result
}

/// Shows every member that all inputs have, with its aggregated score, until `visit` says no.
fn intersect(inputs: &mut [Input<'_>], aggregate: Aggregate, mut visit: impl FnMut(&[u8], f64) -> bool) {
    inputs.sort_by_key(Input::len);
    let Some((first, others)) = inputs.split_first() else { return };
    first.visit(|member, score| {
        let mut total = Some(or_zero(first.weight * score));
        member.with_text(|member| {
            for other in others {
                total = total.and_then(|total| {
                    other.score(member).map(|score| aggregate.apply(total, score * other.weight))
                });
            }
            total.is_none_or(|total| visit(member, total))
        })
    });
}
