//! Places on earth as numbers: the geohashes that scores of sorted sets hold.
//!
//! ```text
//!  52 bits:  longitude and latitude by turns, 26 each, the longitude's first bit highest
//!            … 1 0 1 1 0 1        a prefix of 2n bits is a cell of the grid of step n
//! ```
//!
//! A coordinate is the fraction of its range below it, in fixed point. The latitude's range is that of the web's maps, so
//! cells there are about square; strings of geohash.org have the whole range. Sources: G. M. Niemeyer's geohash
//! (2008); EPSG:3857 for the ranges; the arithmetic, order of operations included, is that of Redis 7.0, so that
//! scores and distances are the same to the last bit.

mod search;

pub use search::{Area, Shape, cells_to_search};

/// The finest grid: bits of each coordinate in a score.
pub const STEP_MAX: u32 = 26;
/// Bits of a score.
const SCORE_BITS: u32 = 2 * STEP_MAX;
/// The earth's radius that distances are computed with, in meters.
const EARTH_RADIUS_M: f64 = 6_372_797.560856;
/// The bits of a cell that hold its longitude.
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
/// The bits of a cell that hold its latitude.
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;

/// Bounds of a coordinate in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The lower bound.
    pub min: f64,
    /// The upper bound.
    pub max: f64,
}

impl Range {
    fn size(self) -> f64 {
        self.max - self.min
    }

    fn contains(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    fn middle(self, within: Self) -> f64 {
        ((self.min + self.max) / 2.0).min(within.max).max(within.min)
    }

    /// The fraction of the range below a value in fixed point.
    fn to_fixed(self, value: f64, step: u32) -> u32 {
        ((value - self.min) / self.size() * (1u64 << step) as f64) as u32
    }

    fn value_of(self, fixed: u32, step: u32) -> f64 {
        self.min + f64::from(fixed) / (1u64 << step) as f64 * self.size()
    }
}

/// Longitudes.
pub const LONGITUDES: Range = Range { min: -180.0, max: 180.0 };
/// Latitudes that scores can hold.
pub const LATITUDES: Range = Range { min: -85.05112878, max: 85.05112878 };
/// All latitudes, as strings of geohash.org have them.
const ALL_LATITUDES: Range = Range { min: -90.0, max: 90.0 };

/// A place in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Degrees to the east.
    pub longitude: f64,
    /// Degrees to the north.
    pub latitude: f64,
}

impl Point {
    /// Whether scores can hold it.
    pub fn is_valid(self) -> bool {
        LONGITUDES.contains(self.longitude) && LATITUDES.contains(self.latitude)
    }

    /// The score of a valid point.
    pub fn to_score(self) -> u64 {
        Cell::around(self, STEP_MAX).bits
    }

    /// The middle of the cell that a score stands for. Any number stands for some cell.
    pub fn from_score(score: f64) -> Self {
        let (longitude, latitude) = Cell { bits: bits_of(score), step: STEP_MAX }.bounds();
        Self { longitude: longitude.middle(LONGITUDES), latitude: latitude.middle(LATITUDES) }
    }

    /// The string of geohash.org: 50 bits in 10 characters, and one more that is always zero.
    pub fn to_text(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        const BITS_PER_CHARACTER: u32 = 5;
        let bits = encode(self, ALL_LATITUDES, STEP_MAX);
        std::array::from_fn(|index| {
            let behind = SCORE_BITS.checked_sub(BITS_PER_CHARACTER * (index as u32 + 1));
            ALPHABET[behind.map_or(0, |behind| (bits >> behind & 31) as usize)]
        })
    }

    /// The distance to another point along a great circle, in meters. (The haversine formula.)
    pub fn distance_m(self, other: Self) -> f64 {
        let half_longitude = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if half_longitude == 0.0 {
            return latitude_distance_m(self.latitude, other.latitude);
        }
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let half_latitude = ((to - from) / 2.0).sin();
        let square = half_latitude * half_latitude + from.cos() * to.cos() * half_longitude * half_longitude;
        2.0 * EARTH_RADIUS_M * square.sqrt().asin()
    }
}

/// The distance between two latitudes, in meters.
fn latitude_distance_m(from: f64, to: f64) -> f64 {
    EARTH_RADIUS_M * (radians(to) - radians(from)).abs()
}

const DEGREE: f64 = std::f64::consts::PI / 180.0;

fn radians(degrees: f64) -> f64 {
    degrees * DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / DEGREE
}

/// A score's bits, of any number as processors of Redis's servers convert it.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    if score >= 2.0 * HALF {
        0
    } else if score >= HALF {
        score as u64
    } else if score >= -HALF {
        score as i64 as u64
    } else {
        1 << 63
    }
}

/// A cell of the grid of a step: its 2 * step bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    bits: u64,
    step: u32,
}

impl Cell {
    /// The cell in which a valid point is.
    fn around(point: Point, step: u32) -> Self {
        Self { bits: encode(point, LATITUDES, step), step }
    }

    /// Its longitudes and latitudes.
    fn bounds(self) -> (Range, Range) {
        let bounds = |fixed: u32, range: Range| Range {
            min: range.value_of(fixed, self.step),
            max: range.value_of(fixed.wrapping_add(1), self.step),
        };
        (bounds(squeeze(self.bits >> 1), LONGITUDES), bounds(squeeze(self.bits), LATITUDES))
    }

    /// The cell so many cells to the east and to the north, each at most one; the grid goes round.
    fn neighbour(self, east: i32, north: i32) -> Self {
        let mask = u64::MAX >> (64 - 2 * self.step);
        let moved = |axis: u64, by: i32| {
            let bits = self.bits & axis;
            // A carry passes through the bits of the other axis if they are set, a borrow if they are not.
            let other = !axis & mask;
            match by {
                // A point on the upper end of a range has one bit more, which is lost only by moving.
                0 => bits,
                1 => bits.wrapping_add(other + 1) & axis & mask,
                _ => (bits | other).wrapping_sub(other + 1) & axis & mask,
            }
        };
        Self { bits: moved(LONGITUDE_BITS, east) | moved(LATITUDE_BITS, north), step: self.step }
    }

    /// The scores in the cell: from the first, which is inside, to the second, which is outside.
    pub fn scores(self) -> (u64, u64) {
        let shift = SCORE_BITS - 2 * self.step;
        (self.bits << shift, (self.bits + 1) << shift)
    }
}

fn encode(point: Point, latitudes: Range, step: u32) -> u64 {
    let longitude = LONGITUDES.to_fixed(point.longitude, step);
    spread(latitudes.to_fixed(point.latitude, step)) | spread(longitude) << 1
}

/// Puts a zero before every bit.
fn spread(value: u32) -> u64 {
    let mut spread = u64::from(value);
    for (shift, mask) in STAGES {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

/// Takes every second bit, the lowest first.
fn squeeze(value: u64) -> u32 {
    let mut squeezed = value & LATITUDE_BITS;
    for pair in STAGES.windows(2).rev() {
        squeezed = (squeezed | squeezed >> pair[1].0) & pair[0].1;
    }
    (squeezed | squeezed >> STAGES[0].0) as u32
}

/// Halves of halves: by how much to move, and which bits stay.
const STAGES: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, LATITUDE_BITS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_are_those_of_redis() {
        // From GEOADD, ZSCORE, GEOHASH and GEODIST of Redis 7.0.
        let palermo = Point { longitude: 13.361389, latitude: 38.115556 };
        let catania = Point { longitude: 15.087269, latitude: 37.502669 };
        assert_eq!(palermo.to_score(), 3479099956230698);
        assert_eq!(catania.to_score(), 3479447370796909);
        let stored = |point: Point| Point::from_score(point.to_score() as f64);
        assert_eq!(&stored(palermo).to_text(), b"sqc8b49rny0");
        assert_eq!(&stored(catania).to_text(), b"sqdtr74hyu0");
        assert_eq!(format!("{:.4}", stored(palermo).distance_m(stored(catania))), "166274.1516");
    }

    #[test]
    fn neighbours_are_beside_and_the_grid_goes_round() {
        let cell = Cell { bits: spread(5) | spread(3) << 1, step: 4 };
        for (east, north, longitude, latitude) in
            [(0, 0, 3, 5), (1, 0, 4, 5), (-1, 0, 2, 5), (0, 1, 3, 6), (1, -1, 4, 4), (-1, 1, 2, 6)]
        {
            let bits = cell.neighbour(east, north).bits;
            assert_eq!((squeeze(bits >> 1), squeeze(bits)), (longitude, latitude), "{east} {north}");
        }
        let corner = Cell { bits: 0, step: 2 }.neighbour(-1, -1);
        assert_eq!((squeeze(corner.bits >> 1), squeeze(corner.bits)), (3, 3));
        assert_eq!(corner.neighbour(1, 1).bits, 0);
    }

    #[test]
    fn any_score_is_somewhere() {
        for score in [0.0, -1.0, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, 1.8e19, 0.5] {
            assert!(Point::from_score(score).is_valid(), "{score}");
        }
    }

    proptest! {
        #[test]
        fn a_point_is_in_its_cell(longitude in -180f64..=180.0, latitude in -85.05112878..=85.05112878f64) {
            let point = Point { longitude, latitude };
            let stored = Point::from_score(point.to_score() as f64);
            prop_assert!((stored.longitude - longitude).abs() < 1e-5);
            prop_assert!((stored.latitude - latitude).abs() < 1e-5);
        }

        #[test]
        fn bits_spread_and_come_back(value in any::<u32>()) {
            prop_assert_eq!(squeeze(spread(value)), value);
            prop_assert_eq!(squeeze(spread(value) | LONGITUDE_BITS), value);
            prop_assert_eq!(spread(value).count_ones(), value.count_ones());
        }
    }
}
