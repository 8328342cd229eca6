//! XADD and XTRIM.

use super::ids::{self, WantedId};
use crate::call::{Call, EventClass, Outcome};
use crate::types::stream::{AppendError, Stream, StreamId, Trim, TrimTo};
use shoal_protocol::request::Request;
use shoal_protocol::{Arguments, ErrorReply, OwnedRequest, errors, number};

const TWO_STRATEGIES: ErrorReply =
    ErrorReply::new("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
const NEGATIVE_LENGTH: ErrorReply = ErrorReply::new("ERR The MAXLEN argument must be >= 0.");
const NEGATIVE_LIMIT: ErrorReply = ErrorReply::new("ERR The LIMIT argument must be >= 0.");
const LIMIT_WITHOUT_STRATEGY: ErrorReply =
    ErrorReply::new("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
const LIMIT_OF_EXACT: ErrorReply =
    ErrorReply::new("ERR syntax error, LIMIT cannot be used without the special ~ option");
const NO_STRATEGY: ErrorReply =
    ErrorReply::new("ERR syntax error, XTRIM must be called with a trimming strategy");
const ID_ZERO: ErrorReply = ErrorReply::new("ERR The ID specified in XADD must be greater than 0-0");
const ID_TOO_SMALL: ErrorReply =
    ErrorReply::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const IDS_EXHAUSTED: ErrorReply =
    ErrorReply::new("ERR The stream has exhausted the last possible ID, unable to add more items");
const TOO_LARGE: ErrorReply = ErrorReply::new("ERR Elements are too large to be stored");

/// Fields and values that are listed without the allocator.
const FEW_WORDS: usize = 16;
/// Where the options begin in both commands.
const FIRST_OPTION: usize = 2;

/// How a stream is to be trimmed.
#[derive(Clone, Copy, Debug)]
struct TrimOption {
    trim: Trim,
    /// The word that says to which length or id.
    position: usize,
}

/// What stands between the key and the id, or the end.
#[derive(Debug, Default)]
struct Options {
    no_create: bool,
    trim: Option<TrimOption>,
    limit: Option<u64>,
    /// The id of XADD and its position.
    id: Option<(WantedId, usize)>,
}

impl Options {
    fn parse(call: &Call<'_, '_>, request: Request<'_>, adds: bool) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        let mut position = FIRST_OPTION;
        while position < request.len() {
            let word = request.argument(position);
            let has_more = position + 1 < request.len();
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            // No option begins as ids do.
            if adds && matches!(word.first(), Some(b'*' | b'0'..=b'9')) {
                options.id = Some((WantedId::parse(word)?, position));
                break;
            } else if has_more && (is("MAXLEN") || is("MINID")) {
                position = options.take_strategy(request, position, is("MAXLEN"))?;
            } else if has_more && is("LIMIT") {
                position += 1;
                let limit = number::parse_i64(request.argument(position)).ok_or(errors::NOT_AN_INTEGER)?;
                options.limit = Some(u64::try_from(limit).map_err(|_| NEGATIVE_LIMIT)?);
            } else if adds && is("NOMKSTREAM") {
                options.no_create = true;
            } else if adds {
                options.id = Some((WantedId::parse(word)?, position));
                break;
            } else {
                return Err(errors::SYNTAX);
            }
            position += 1;
        }
        options.settle_limit(call, adds)?;
        Ok(options)
    }

    /// Reads MAXLEN or MINID. Returns the position of its last word.
    fn take_strategy(
        &mut self,
        request: Request<'_>,
        position: usize,
        by_length: bool,
    ) -> Result<usize, ErrorReply> {
        if self.trim.is_some() {
            return Err(TWO_STRATEGIES);
        }
        let mut position = position + 1;
        let mut by_node = false;
        if position + 1 < request.len() && matches!(request.argument(position), b"~" | b"=") {
            by_node = request.argument(position) == b"~";
            position += 1;
        }
        let word = request.argument(position);
        let to = if by_length {
            let length = number::parse_i64(word).ok_or(errors::NOT_AN_INTEGER)?;
            TrimTo::Length(u64::try_from(length).map_err(|_| NEGATIVE_LENGTH)?)
        } else {
            TrimTo::Id(ids::strict(word)?)
        };
        self.trim = Some(TrimOption { trim: Trim { to, by_node, limit: 0 }, position });
        Ok(position)
    }

    fn settle_limit(&mut self, call: &Call<'_, '_>, adds: bool) -> Result<(), ErrorReply> {
        /// Nodes that are trimmed at once, if the client does not say how many entries.
        const NODES: u64 = 100;
        /// Entries that are trimmed at once where nodes have no limit, and where they have a large one.
        const UNLIMITED_NODES: u64 = 10_000;
        const MAX: u64 = 1_000_000;
        let Some(option) = &mut self.trim else {
            return match self.limit {
                Some(limit) if limit > 0 => Err(LIMIT_WITHOUT_STRATEGY),
                _ if !adds => Err(NO_STRATEGY),
                Some(_) if !call.access.from_primary => Err(LIMIT_OF_EXACT),
                _ => Ok(()),
            };
        };
        if call.access.from_primary {
            // The primary has said exactly what goes.
            return Ok(());
        }
        option.trim.limit = match self.limit {
            Some(_) if !option.trim.by_node => return Err(LIMIT_OF_EXACT),
            Some(limit) => limit,
            None if !option.trim.by_node => 0,
            None => match call.options.limits.stream_node_max_entries as u64 {
                0 => UNLIMITED_NODES,
                entries => entries.saturating_mul(NODES).min(MAX),
            },
        };
        Ok(())
    }
}

pub(super) fn xadd(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let request = arguments.request();
    let options = Options::parse(call, request, true)?;
    let (wanted, id_position) = options.id.ok_or_else(|| errors::wrong_arity("xadd"))?;
    let (mut few, many): (_, Vec<&[u8]>);
    let all = (id_position + 1..request.len()).map(|position| request.argument(position));
    let words = if all.len() <= FEW_WORDS {
        let count = all.len();
        few = [&[][..]; FEW_WORDS];
        few.iter_mut().zip(all).for_each(|(slot, word)| *slot = word);
        &few[..count]
    } else {
        many = all.collect();
        &many[..]
    };
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err(errors::wrong_arity("xadd"));
    }
    if wanted == WantedId::Exactly(StreamId::MIN) {
        return Err(ID_ZERO);
    }
    let key = request.argument(1);
    let found = call.find_collection_for_write::<Stream>(key)?;
    if found.is_none() && options.no_create {
        call.reply.null();
        return Ok(());
    }
    let (id, found) = match found {
        Some(found) => {
            let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
            (append(&mut stream, wanted, words, call.now.unix_ms(), call.options)?, found)
        }
        None => {
            let mut stream = Stream::default();
            let id = append(&mut stream, wanted, words, call.now.unix_ms(), call.options)?;
            (id, call.insert(key, stream.into(), None))
        }
    };
    let id_text = id.text();
    call.reply.bulk(&id_text);
    call.changed(key);
    call.event(EventClass::Stream, "xadd", key);
    let mut kept = None;
    if let Some(option) = options.trim {
        let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
        let trimmed = stream.log_mut().trim(option.trim);
        kept = what_is_kept(&stream, option);
        drop(stream);
        if trimmed > 0 {
            call.event(EventClass::Stream, "xtrim", key);
        }
    }
    let is_made = !matches!(wanted, WantedId::Exactly(_));
    if !call.effects.skip_propagation && (is_made || kept.is_some()) {
        let id = is_made.then_some((id_position, &*id_text));
        propagate_rewritten(call, request, kept.as_ref(), id);
    }
    Ok(())
}

fn append(
    stream: &mut Stream,
    wanted: WantedId,
    words: &[&[u8]],
    now_ms: u64,
    options: &crate::StoreOptions,
) -> Result<StreamId, ErrorReply> {
    let last_id = stream.log().last_id();
    if last_id == StreamId::MAX {
        return Err(IDS_EXHAUSTED);
    }
    let id = match wanted {
        WantedId::Any if now_ms > last_id.ms => StreamId::new(now_ms, 0),
        WantedId::Any => last_id.next().ok_or(ID_TOO_SMALL)?,
        WantedId::At(ms) if ms == last_id.ms => {
            StreamId::new(ms, last_id.sequence.checked_add(1).ok_or(ID_TOO_SMALL)?)
        }
        WantedId::At(ms) => StreamId::new(ms, 0),
        WantedId::Exactly(id) => id,
    };
    match stream.log_mut().append(id, words, &options.limits) {
        Ok(()) => Ok(id),
        Err(AppendError::IdTooSmall) => Err(ID_TOO_SMALL),
        Err(AppendError::TooLarge) => Err(TOO_LARGE),
    }
}

pub(super) fn xtrim(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    let request = arguments.request();
    let options = Options::parse(call, request, false)?;
    let key = request.argument(1);
    let found = call.find_collection_for_write::<Stream>(key)?;
    let (Some(found), Some(option)) = (found, options.trim) else {
        call.reply.integer(0);
        return Ok(());
    };
    let mut stream = call.keyspace.collection_mut::<Stream>(call.database_index, found);
    let trimmed = stream.log_mut().trim(option.trim);
    let kept = what_is_kept(&stream, option);
    drop(stream);
    if trimmed > 0 {
        call.event(EventClass::Stream, "xtrim", key);
        if kept.is_some() && !call.effects.skip_propagation {
            propagate_rewritten(call, request, kept.as_ref(), None);
        }
        call.changed(key);
        call.effects.dirty += trimmed - 1;
    }
    call.reply.integer(trimmed as i64);
    Ok(())
}

/// The position of a word, and what stands there instead.
type Rewritten = (usize, Vec<u8>);

/// What exact trimming would have to keep for the same outcome, if the trimming was not exact.
fn what_is_kept(stream: &Stream, option: TrimOption) -> Option<Rewritten> {
    let kept = match option.trim.to {
        _ if !option.trim.by_node => return None,
        TrimTo::Length(_) => stream.log().len().to_string().into_bytes(),
        TrimTo::Id(_) => stream.log().first_kept_id().text().to_vec(),
    };
    Some((option.position, kept))
}

/// Propagates the request with exact trimming and the id that the entry was given.
fn propagate_rewritten(
    call: &mut Call<'_, '_>,
    request: Request<'_>,
    kept: Option<&Rewritten>,
    id: Option<(usize, &[u8])>,
) {
    let mut rewritten = OwnedRequest::new::<[&[u8]; 0]>([]);
    for position in 0..request.len() {
        match (kept, id, request.shared(position)) {
            (Some((at, word)), _, _) if *at == position => rewritten.push(word),
            (Some((at, _)), _, _) if *at == position + 1 => rewritten.push(b"="),
            (_, Some((at, word)), _) if at == position => rewritten.push(word),
            (_, _, Some(large)) => rewritten.push_shared(large),
            _ => rewritten.push(request.argument(position)),
        }
    }
    call.propagate_request_instead(rewritten);
}
