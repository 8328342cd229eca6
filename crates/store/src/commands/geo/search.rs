//! GEOSEARCH, GEOSEARCHSTORE, and the GEORADIUS commands that they replace.

use super::{take_point, take_unit, write_distance, write_point};
use crate::call::{Call, Outcome};
use crate::commands::{reply_with_element, sorted_set};
use crate::database::Found;
use crate::geohash::{Area, Point, Shape, cells_to_search};
use crate::types::SortedSet;
use crate::types::sorted_set::{Interval, ScoreBound, ScoreRange};
use shoal_formats::listpack::Element;
use shoal_protocol::{Arguments, ErrorReply, Reply, errors, number};

const UNKNOWN_MEMBER: ErrorReply = ErrorReply::new("ERR could not decode requested zset member");
const RADIUS_NOT_A_NUMBER: ErrorReply = ErrorReply::new("ERR need numeric radius");
const RADIUS_NEGATIVE: ErrorReply = ErrorReply::new("ERR radius cannot be negative");
const WIDTH_NOT_A_NUMBER: ErrorReply = ErrorReply::new("ERR need numeric width");
const HEIGHT_NOT_A_NUMBER: ErrorReply = ErrorReply::new("ERR need numeric height");
const BOX_NEGATIVE: ErrorReply = ErrorReply::new("ERR height or width cannot be negative");
const COUNT_NOT_POSITIVE: ErrorReply = ErrorReply::new("ERR COUNT must be > 0");
const ANY_WITHOUT_COUNT: ErrorReply = ErrorReply::new("ERR the ANY argument requires COUNT argument");

/// Which of the commands it is.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// GEORADIUS, the center as coordinates.
    Radius { stores: bool },
    /// GEORADIUSBYMEMBER.
    RadiusByMember { stores: bool },
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    fn may_name_store(self) -> bool {
        matches!(self, Self::Radius { stores: true } | Self::RadiusByMember { stores: true })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Nearest,
    Farthest,
}

/// What the client asks for.
struct Query<'q> {
    /// `Some(None)` if it is a member of a key that is not there.
    center: Option<Option<Point>>,
    /// `None` in it if its size is not known, which matters only if the key is there.
    shape: Option<Shape>,
    /// The unit of distances, in meters.
    unit_m: f64,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    order: Option<Order>,
    count: Option<usize>,
    any: bool,
    store: Option<&'q [u8]>,
    store_distance: bool,
}

pub(super) fn georadius(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, Form::Radius { stores: true })
}

pub(super) fn georadius_ro(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, Form::Radius { stores: false })
}

pub(super) fn georadiusbymember(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, Form::RadiusByMember { stores: true })
}

pub(super) fn georadiusbymember_ro(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, Form::RadiusByMember { stores: false })
}

pub(super) fn geosearch(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, Form::Search)
}

pub(super) fn geosearchstore(call: &mut Call<'_, '_>, arguments: Arguments<'_>) -> Outcome {
    run(call, arguments, Form::SearchStore)
}

fn run(call: &mut Call<'_, '_>, mut arguments: Arguments<'_>, form: Form) -> Outcome {
    let destination = if form == Form::SearchStore { Some(arguments.take()?) } else { None };
    let source = arguments.take()?;
    let found = call.find_collection::<SortedSet>(source)?;
    let mut query = Query::new(destination);
    query.take_start(call, &mut arguments, form, found)?;
    query.take_options(call, &mut arguments, form, found)?;
    query.check(form, arguments.request().argument(0))?;
    match query.store {
        Some(destination) => {
            let set = found.map(|found| collect(call, found, &query)).unwrap_or_default();
            let added = crate::types::Collection::len(&set) as u64;
            let event = if form.is_search() { "geosearchstore" } else { "georadiusstore" };
            sorted_set::store(call, destination, set, event);
            call.effects.dirty += added.saturating_sub(1);
        }
        None => match found {
            Some(found) => reply_with_places(call, found, &query),
            None => call.reply.array(0),
        },
    }
    Ok(())
}

impl<'q> Query<'q> {
    fn new(store: Option<&'q [u8]>) -> Self {
        Self {
            center: None,
            shape: None,
            unit_m: 1.0,
            with_distance: false,
            with_hash: false,
            with_point: false,
            order: None,
            count: None,
            any: false,
            store,
            store_distance: false,
        }
    }

    /// What stands before the options of the GEORADIUS commands.
    fn take_start(
        &mut self,
        call: &Call<'_, '_>,
        arguments: &mut Arguments<'q>,
        form: Form,
        found: Option<Found>,
    ) -> Outcome {
        match form {
            Form::Radius { .. } => {
                self.center = Some(Some(take_point(arguments)?));
                self.take_radius(arguments)
            }
            Form::RadiusByMember { .. } => {
                self.take_member(call, arguments, found)?;
                if found.is_some() {
                    return self.take_radius(arguments);
                }
                // Without the key nobody looks at the size.
                arguments.take()?;
                arguments.take()?;
                Ok(())
            }
            Form::Search | Form::SearchStore => Ok(()),
        }
    }

    fn take_member(
        &mut self,
        call: &Call<'_, '_>,
        arguments: &mut Arguments<'q>,
        found: Option<Found>,
    ) -> Outcome {
        let member = arguments.take()?;
        let Some(found) = found else {
            self.center = Some(None);
            return Ok(());
        };
        let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
        let score = set.score(member).ok_or(UNKNOWN_MEMBER)?;
        self.center = Some(Some(Point::from_score(score)));
        Ok(())
    }

    fn take_radius(&mut self, arguments: &mut Arguments<'q>) -> Outcome {
        let radius = number::parse_f64(arguments.take()?).ok_or(RADIUS_NOT_A_NUMBER)?;
        if radius < 0.0 {
            return Err(RADIUS_NEGATIVE);
        }
        self.unit_m = take_unit(arguments)?;
        self.shape = Some(Shape::Circle { radius_m: radius * self.unit_m });
        Ok(())
    }

    fn take_box(&mut self, arguments: &mut Arguments<'q>) -> Outcome {
        let width = number::parse_f64(arguments.take()?).ok_or(WIDTH_NOT_A_NUMBER)?;
        let height = number::parse_f64(arguments.take()?).ok_or(HEIGHT_NOT_A_NUMBER)?;
        if width < 0.0 || height < 0.0 {
            return Err(BOX_NEGATIVE);
        }
        self.unit_m = take_unit(arguments)?;
        self.shape = Some(Shape::Box { width_m: width * self.unit_m, height_m: height * self.unit_m });
        Ok(())
    }

    fn take_options(
        &mut self,
        call: &Call<'_, '_>,
        arguments: &mut Arguments<'q>,
        form: Form,
        found: Option<Found>,
    ) -> Outcome {
        let (mut from_member, mut from_point) = (false, false);
        let (mut by_radius, mut by_box) = (false, false);
        while !arguments.is_empty() {
            let following = arguments.remaining() - 1;
            if self.take_flag(arguments) {
                continue;
            }
            if following > 0 && arguments.take_keyword("COUNT") {
                let count = usize::try_from(arguments.take_i64()?).ok();
                self.count = Some(count.filter(|count| *count > 0).ok_or(COUNT_NOT_POSITIVE)?);
            } else if following > 0 && form.may_name_store() && arguments.take_keyword("STORE") {
                (self.store, self.store_distance) = (Some(arguments.take()?), false);
            } else if following > 0 && form.may_name_store() && arguments.take_keyword("STOREDIST") {
                (self.store, self.store_distance) = (Some(arguments.take()?), true);
            } else if form == Form::SearchStore && arguments.take_keyword("STOREDIST") {
                self.store_distance = true;
            } else if !form.is_search() {
                return Err(errors::SYNTAX);
            } else if following > 0 && !from_point && arguments.take_keyword("FROMMEMBER") {
                self.take_member(call, arguments, found)?;
                from_member = true;
            } else if following > 1 && !from_member && arguments.take_keyword("FROMLONLAT") {
                self.center = Some(Some(take_point(arguments)?));
                from_point = true;
            } else if following > 1 && !by_box && arguments.take_keyword("BYRADIUS") {
                self.take_radius(arguments)?;
                by_radius = true;
            } else if following > 2 && !by_radius && arguments.take_keyword("BYBOX") {
                self.take_box(arguments)?;
                by_box = true;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(())
    }

    fn take_flag(&mut self, arguments: &mut Arguments<'q>) -> bool {
        if arguments.take_keyword("ASC") {
            self.order = Some(Order::Nearest);
            return true;
        }
        if arguments.take_keyword("DESC") {
            self.order = Some(Order::Farthest);
            return true;
        }
        let flags = [
            ("WITHDIST", &mut self.with_distance),
            ("WITHHASH", &mut self.with_hash),
            ("WITHCOORD", &mut self.with_point),
            ("ANY", &mut self.any),
        ];
        for (word, flag) in flags {
            if arguments.take_keyword(word) {
                *flag = true;
                return true;
            }
        }
        false
    }

    /// Whether the options fit together.
    fn check(&self, form: Form, name: &[u8]) -> Outcome {
        let refused = |text: String| Err(ErrorReply::from(text));
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_point) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return refused(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            ));
        }
        let name = String::from_utf8_lossy(name);
        if form.is_search() && self.center.is_none() {
            return refused(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            ));
        }
        if form.is_search() && self.shape.is_none() {
            return refused(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"));
        }
        if self.any && self.count.is_none() { Err(ANY_WITHOUT_COUNT) } else { Ok(()) }
    }

    /// The places in the area, as many and in the order that the client wants.
    fn places<'a>(&self, set: &'a SortedSet) -> Vec<Place<'a>> {
        let (Some(Some(center)), Some(shape)) = (self.center, self.shape) else { return Vec::new() };
        let area = Area { center, shape };
        let enough = self.count.filter(|_| self.any).unwrap_or(usize::MAX);
        let mut places = Vec::new();
        let mut before = None;
        for (index, cell) in cells_to_search(&area).enumerate() {
            // The cell after the one around the center is looked through even if it is the same, as in Redis.
            if index > 1 && before == Some(cell) {
                continue;
            }
            before = Some(cell);
            find_in_cell(set, cell.scores(), &area, enough, &mut places);
            if places.len() >= enough {
                break;
            }
        }
        // Some of many places are the nearest, if nothing else is said.
        let order = self.order.or(self.count.filter(|_| !self.any).map(|_| Order::Nearest));
        match order {
            Some(Order::Nearest) => places.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
            Some(Order::Farthest) => places.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
            None => {}
        }
        places.truncate(self.count.unwrap_or(usize::MAX));
        places
    }
}

/// A member in the area.
struct Place<'a> {
    member: Element<'a>,
    score: f64,
    point: Point,
    distance_m: f64,
}

fn find_in_cell<'a>(
    set: &'a SortedSet,
    (first, end): (u64, u64),
    area: &Area,
    enough: usize,
    places: &mut Vec<Place<'a>>,
) {
    let bound = |score: u64, exclusive| ScoreBound { score: score as f64, exclusive };
    let range = ScoreRange { min: bound(first, false), max: bound(end, true) };
    for (member, score) in set.range(set.interval(&Interval::Score(range), false, 0)) {
        let point = Point::from_score(score);
        if let Some(distance_m) = area.distance_m(point) {
            places.push(Place { member, score, point, distance_m });
            if places.len() >= enough {
                return;
            }
        }
    }
}

fn reply_with_places(call: &mut Call<'_, '_>, found: Found, query: &Query<'_>) {
    let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
    let places = query.places(&set);
    call.reply.array(places.len());
    for place in &places {
        write_place(call.reply, place, query);
    }
}

fn write_place(reply: &mut Reply<'_>, place: &Place<'_>, query: &Query<'_>) {
    let extras = [query.with_distance, query.with_hash, query.with_point];
    let extra_count = extras.into_iter().filter(|wanted| *wanted).count();
    if extra_count > 0 {
        reply.array(extra_count + 1);
    }
    reply_with_element(reply, place.member);
    if query.with_distance {
        write_distance(reply, place.distance_m / query.unit_m);
    }
    if query.with_hash {
        reply.integer(place.score as i64);
    }
    if query.with_point {
        write_point(reply, place.point);
    }
}

/// The places as a sorted set, with geohashes or distances for scores.
fn collect(call: &Call<'_, '_>, found: Found, query: &Query<'_>) -> SortedSet {
    let settings = call.settings();
    let set = call.keyspace.collection::<SortedSet>(call.database_index, found);
    let mut result = SortedSet::with_expected(usize::MAX, 0, settings);
    for place in query.places(&set) {
        let score = if query.store_distance { place.distance_m / query.unit_m } else { place.score };
        place.member.with_text(|member| result.insert(member, score, settings));
    }
    result.shrink(settings);
    result
}
