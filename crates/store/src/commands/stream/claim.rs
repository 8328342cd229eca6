//! XCLAIM and XAUTOCLAIM: pending entries change their consumer.

use super::{GroupTarget, Parts, ids, no_key_or_group, now_ms, propagate_effects_only};
use crate::call::{Call, Outcome};
use crate::types::stream::{ConsumerId, Pending, Stream, StreamId};
use shoal_protocol::{Arguments, ErrorReply, errors, number};

const INVALID_IDLE_OF_XCLAIM: ErrorReply = ErrorReply::new("ERR Invalid min-idle-time argument for XCLAIM");
const INVALID_IDLE_OF_XAUTOCLAIM: ErrorReply =
    ErrorReply::new("ERR Invalid min-idle-time argument for XAUTOCLAIM");
const INVALID_IDLE_OPTION: ErrorReply = ErrorReply::new("ERR Invalid IDLE option argument for XCLAIM");
const INVALID_TIME_OPTION: ErrorReply = ErrorReply::new("ERR Invalid TIME option argument for XCLAIM");
const INVALID_RETRYCOUNT: ErrorReply = ErrorReply::new("ERR Invalid RETRYCOUNT option argument for XCLAIM");
const COUNT_TOO_SMALL: ErrorReply = ErrorReply::new("ERR COUNT must be > 0");

/// How entries are claimed.
#[derive(Default)]
struct Claim {
    /// Only entries that were delivered as long ago, or longer; 0 for any.
    min_idle_ms: i64,
    /// When they count as delivered; now if it is not given.
    delivered_ms: Option<i64>,
    /// How often they count as delivered; once more if it is not given and their content is asked for.
    deliveries: Option<u64>,
    /// Entries that are not pending become so.
    force: bool,
    /// The reply has no content.
    just_id: bool,
    /// The group has read up to this id, or further.
    last_id: StreamId,
}

impl Claim {
    fn parse(mut arguments: Arguments<'_>, min_idle_ms: i64, now_ms: i64) -> Result<Self, ErrorReply> {
        let mut claim = Self { min_idle_ms, ..Self::default() };
        while let Some(word) = arguments.take_optional() {
            let has_more = !arguments.is_empty();
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            let mut integer =
                |error: ErrorReply| number::parse_i64(arguments.take().unwrap_or_default()).ok_or(error);
            if is("FORCE") {
                claim.force = true;
            } else if is("JUSTID") {
                claim.just_id = true;
            } else if is("IDLE") && has_more {
                claim.delivered_ms = Some(now_ms.wrapping_sub(integer(INVALID_IDLE_OPTION)?));
            } else if is("TIME") && has_more {
                claim.delivered_ms = Some(integer(INVALID_TIME_OPTION)?);
            } else if is("RETRYCOUNT") && has_more {
                claim.deliveries = u64::try_from(integer(INVALID_RETRYCOUNT)?).ok();
            } else if is("LASTID") && has_more {
                claim.last_id = ids::strict(arguments.take()?)?;
            } else {
                let word = String::from_utf8_lossy(word);
                return Err(ErrorReply::from(format!("ERR Unrecognized XCLAIM option '{word}'")));
            }
        }
        // A time of another clock may be ahead of this one.
        claim.delivered_ms = claim.delivered_ms.filter(|at| (0..=now_ms).contains(at));
        Ok(claim)
    }

    /// What a pending entry becomes.
    fn applied(&self, pending: Pending, consumer: ConsumerId, now_ms: i64) -> Pending {
        Pending {
            consumer,
            delivered_ms: self.delivered_ms.unwrap_or(now_ms),
            deliveries: match self.deliveries {
                Some(deliveries) => deliveries,
                None => pending.deliveries.wrapping_add(u64::from(!self.just_id)),
            },
        }
    }

    fn is_idle_enough(&self, pending: Pending, now_ms: i64) -> bool {
        self.min_idle_ms == 0 || now_ms.wrapping_sub(pending.delivered_ms) >= self.min_idle_ms
    }
}

fn parse_min_idle(word: &[u8], error: ErrorReply) -> Result<i64, ErrorReply> {
    number::parse_i64(word).map(|idle_ms| idle_ms.max(0)).ok_or(error)
}

/// The group, which has to be there.
fn find_group<'q>(
    call: &mut Call<'_, '_>,
    key: &'q [u8],
    name: &'q [u8],
) -> Result<GroupTarget<'q>, ErrorReply> {
    let found = call.find_collection::<Stream>(key)?.ok_or_else(|| no_key_or_group(key, name))?;
    let stream = call.keyspace.collection::<Stream>(call.database_index, found);
    stream.group(name).map(|_| GroupTarget { key, name, found }).ok_or_else(|| no_key_or_group(key, name))
}

impl Parts<'_, '_, '_> {
    /// Gives an entry to a consumer.
    fn claim(&mut self, id: StreamId, id_text: &[u8], pending: Pending, now_ms: i64) {
        self.group.deliver(id, pending);
        self.group.consumer_mut(pending.consumer).active_ms = Some(now_ms);
        self.propagate_claim(id_text, pending);
        self.dirty += 1;
    }

    /// Takes an entry out of the pending ones that the stream has no more.
    fn forget(&mut self, id: StreamId, id_text: &[u8], pending: Pending) {
        // Where the entry is not there, a claim has the same effect.
        self.propagate_claim(id_text, pending);
        self.group.release(id);
        self.dirty += 1;
    }
}

pub(super) fn xclaim(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    let (key, name, consumer) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let target = find_group(call, key, name)?;
    let min_idle_ms = parse_min_idle(arguments.take()?, INVALID_IDLE_OF_XCLAIM)?;
    let mut wanted = Vec::new();
    while let Some(word) = arguments.peek() {
        let Ok(id) = ids::strict(word) else { break };
        wanted.push((id, word));
        arguments.take()?;
    }
    let now_ms = now_ms(call);
    let claim = Claim::parse(arguments, min_idle_ms, now_ms)?;
    propagate_effects_only(call);
    let last_id_moves = target.with(call, |parts| {
        let moves = claim.last_id > parts.group.last_id;
        parts.group.last_id = parts.group.last_id.max(claim.last_id);
        moves
    });
    let Some(consumer) = target.consumer(call, consumer) else { return Ok(()) };
    let length = call.reply.deferred();
    let claimed = target.with(call, |parts| {
        let dirty = parts.dirty;
        let claimed = claim_wanted(parts, &claim, &wanted, consumer, now_ms);
        // Every claim that is propagated says what the last id is.
        if last_id_moves == Some(true) && parts.dirty == dirty {
            parts.propagate_last_id();
            parts.dirty += 1;
        }
        claimed
    });
    call.reply.finish_array(length, claimed.unwrap_or(0));
    Ok(())
}

/// Claims what can be claimed, and replies with it. Returns how many entries that were.
fn claim_wanted(
    parts: &mut Parts<'_, '_, '_>,
    claim: &Claim,
    wanted: &[(StreamId, &[u8])],
    consumer: ConsumerId,
    now_ms: i64,
) -> usize {
    let mut claimed = 0;
    for &(id, id_text) in wanted {
        let before = parts.group.pending(id);
        if !parts.log.contains(id) {
            if let Some(pending) = before {
                parts.forget(id, id_text, pending);
            }
            continue;
        }
        let pending = match before {
            Some(pending) if claim.is_idle_enough(pending, now_ms) => pending,
            None if claim.force => Pending { consumer, delivered_ms: now_ms, deliveries: 1 },
            _ => continue,
        };
        parts.reply_claimed(id, claim.just_id);
        parts.claim(id, id_text, claim.applied(pending, consumer, now_ms), now_ms);
        claimed += 1;
    }
    claimed
}

/// What XAUTOCLAIM goes through.
struct Search {
    start: StreamId,
    /// The most entries that are claimed or found gone.
    count: usize,
}

/// What it found.
#[derive(Default)]
struct SearchOutcome {
    claimed: Vec<StreamId>,
    /// Pending entries that the stream has no more.
    gone: Vec<StreamId>,
    /// Where to go on; 0-0 at the end.
    next: StreamId,
}

pub(super) fn xautoclaim(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>) -> Outcome {
    /// Entries that are claimed if the client does not say how many.
    const DEFAULT_COUNT: i64 = 100;
    /// As many entries as Redis could have memory for.
    const COUNT_MAX: i64 = i64::MAX / size_of::<StreamId>() as i64;
    let (key, name, consumer) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let min_idle_ms = parse_min_idle(arguments.take()?, INVALID_IDLE_OF_XAUTOCLAIM)?;
    let start = ids::interval_start(arguments.take()?)?;
    let (mut count, mut just_id) = (DEFAULT_COUNT, false);
    while !arguments.is_empty() {
        if arguments.remaining() > 1 && arguments.take_keyword("COUNT") {
            let given = number::parse_i64(arguments.take()?);
            count = given.filter(|count| (1..=COUNT_MAX).contains(count)).ok_or(COUNT_TOO_SMALL)?;
        } else if arguments.take_keyword("JUSTID") {
            just_id = true;
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let target = find_group(call, key, name)?;
    propagate_effects_only(call);
    let Some(consumer) = target.consumer(call, consumer) else { return Ok(()) };
    let now_ms = now_ms(call);
    let claim = Claim { min_idle_ms, just_id, ..Claim::default() };
    let search = Search { start, count: count as usize };
    target.with(call, |parts| {
        let outcome = claim_idle(parts, &claim, &search, consumer, now_ms);
        parts.reply.array(3);
        parts.reply.bulk(&outcome.next.text());
        parts.reply.array(outcome.claimed.len());
        outcome.claimed.iter().for_each(|id| parts.reply_claimed(*id, just_id));
        parts.reply.array(outcome.gone.len());
        outcome.gone.iter().for_each(|id| parts.reply.bulk(&id.text()));
    });
    Ok(())
}

fn claim_idle(
    parts: &mut Parts<'_, '_, '_>,
    claim: &Claim,
    search: &Search,
    consumer: ConsumerId,
    now_ms: i64,
) -> SearchOutcome {
    /// Entries that are looked at for each that may be claimed.
    const ATTEMPTS: usize = 10;
    let mut outcome = SearchOutcome::default();
    let mut attempts = search.count.saturating_mul(ATTEMPTS);
    let mut start = Some(search.start);
    loop {
        let next = start.and_then(|start| parts.group.pending_from(start).next());
        let Some((id, pending)) = next else { return outcome };
        if attempts == 0 || outcome.claimed.len() + outcome.gone.len() == search.count {
            outcome.next = id;
            return outcome;
        }
        attempts -= 1;
        start = id.next();
        if !parts.log.contains(id) {
            parts.forget(id, &id.text(), pending);
            outcome.gone.push(id);
        } else if claim.is_idle_enough(pending, now_ms) {
            parts.claim(id, &id.text(), claim.applied(pending, consumer, now_ms), now_ms);
            outcome.claimed.push(id);
        }
    }
}
