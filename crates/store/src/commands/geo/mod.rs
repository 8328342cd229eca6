//! Commands on places: sorted sets whose scores are geohashes.

mod add;
mod position;
mod search;

use super::Body;
use crate::geohash::Point;
use shoal_protocol::{Arguments, CommandId, ErrorReply, Reply};

pub(super) const BODIES: &[(CommandId, Body)] = &[
    (CommandId::Geoadd, add::geoadd),
    (CommandId::Geodist, position::geodist),
    (CommandId::Geohash, position::geohash),
    (CommandId::Geopos, position::geopos),
    (CommandId::Georadius, search::georadius),
    (CommandId::GeoradiusRo, search::georadius_ro),
    (CommandId::Georadiusbymember, search::georadiusbymember),
    (CommandId::GeoradiusbymemberRo, search::georadiusbymember_ro),
    (CommandId::Geosearch, search::geosearch),
    (CommandId::Geosearchstore, search::geosearchstore),
];

const UNKNOWN_UNIT: ErrorReply = ErrorReply::new("ERR unsupported unit provided. please use M, KM, FT, MI");

/// The next two words as a longitude and a latitude.
fn take_point(arguments: &mut Arguments<'_>) -> Result<Point, ErrorReply> {
    let point = Point { longitude: arguments.take_f64()?, latitude: arguments.take_f64()? };
    if point.is_valid() {
        return Ok(point);
    }
    let Point { longitude, latitude } = point;
    Err(ErrorReply::from(format!(
        "ERR invalid longitude,latitude pair {},{}",
        six_digits(longitude),
        six_digits(latitude)
    )))
}

/// A number as `printf` prints it for `%f`.
fn six_digits(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { format!("{value}") }
}

/// The next word as a unit, in meters.
fn take_unit(arguments: &mut Arguments<'_>) -> Result<f64, ErrorReply> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let known = UNITS.iter().find(|(name, _)| arguments.take_keyword(name));
    known.map(|(_, meters)| *meters).ok_or(UNKNOWN_UNIT)
}

/// Replies with a distance: four digits after the point.
fn write_distance(reply: &mut Reply<'_>, distance: f64) {
    const SCALE: f64 = 10_000.0;
    let scaled = (distance * SCALE).round_ties_even() as u64;
    reply.bulk(format!("{}.{:04}", scaled / SCALE as u64, scaled % SCALE as u64).as_bytes());
}

/// Replies with longitude and latitude.
fn write_point(reply: &mut Reply<'_>, point: Point) {
    reply.array(2);
    for coordinate in [point.longitude, point.latitude] {
        let text = format!("{coordinate:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.double_text(if text == "-0" { b"0" } else { text.as_bytes() });
    }
}

#[cfg(test)]
mod tests;
