//! Which cells have to be looked through to find all points of an area.

use super::{Cell, EARTH_RADIUS_M, Point, Range, STEP_MAX, degrees, latitude_distance_m, radians};
use std::cmp::Ordering;

/// The form of an area, in meters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// All points within this distance.
    Circle {
        /// The distance.
        radius_m: f64,
    },
    /// All points so far to the sides.
    Box {
        /// From side to side.
        width_m: f64,
        /// From top to bottom.
        height_m: f64,
    },
}

/// A shape around a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// The point.
    pub center: Point,
    /// The shape.
    pub shape: Shape,
}

impl Area {
    /// How far a point is from the center in meters, if it is in the area.
    pub fn distance_m(&self, point: Point) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius_m } => {
                let distance_m = self.center.distance_m(point);
                (distance_m <= radius_m).then_some(distance_m)
            }
            Shape::Box { width_m, height_m } => {
                if latitude_distance_m(point.latitude, self.center.latitude) > height_m / 2.0 {
                    return None;
                }
                let beside = Point { longitude: self.center.longitude, latitude: point.latitude };
                (point.distance_m(beside) <= width_m / 2.0).then(|| self.center.distance_m(point))
            }
        }
    }

    /// Half of width and height, in meters.
    fn half_sizes_m(&self) -> (f64, f64) {
        match self.shape {
            Shape::Circle { radius_m } => (radius_m, radius_m),
            Shape::Box { width_m, height_m } => (width_m / 2.0, height_m / 2.0),
        }
    }

    /// The distance to the farthest point, in meters.
    fn reach_m(&self) -> f64 {
        match self.shape {
            Shape::Circle { radius_m } => radius_m,
            Shape::Box { width_m, height_m } => {
                ((width_m / 2.0) * (width_m / 2.0) + (height_m / 2.0) * (height_m / 2.0)).sqrt()
            }
        }
    }

    /// Longitudes and latitudes that hold the area. It is widest at its side towards the nearer pole.
    fn bounds(&self) -> (Range, Range) {
        let Point { longitude, latitude } = self.center;
        let (half_width_m, half_height_m) = self.half_sizes_m();
        let up = degrees(half_height_m / EARTH_RADIUS_M);
        let widest = if latitude < 0.0 { latitude - up } else { latitude + up };
        let aside = degrees(half_width_m / EARTH_RADIUS_M / radians(widest).cos());
        (
            Range { min: longitude - aside, max: longitude + aside },
            Range { min: latitude - up, max: latitude + up },
        )
    }
}

/// The step of the grid whose cells are about as large as an area that reaches so far.
fn step_for(reach_m: f64, latitude: f64) -> u32 {
    /// Half of what the grid of step 0 covers.
    const HALF_WIDTH_M: f64 = 20_037_726.37;
    /// Beyond this latitude cells are so much narrower that larger ones are needed.
    const NORTHERN: f64 = 66.0;
    /// Beyond this one still larger ones.
    const ARCTIC: f64 = 80.0;
    if reach_m == 0.0 {
        return STEP_MAX;
    }
    let mut step: i32 = 1;
    let mut reach_m = reach_m;
    while reach_m < HALF_WIDTH_M {
        reach_m *= 2.0;
        step += 1;
    }
    // Cells of this step are mostly larger than the area.
    step -= 2;
    step -= i32::from(latitude.abs() > NORTHERN) + i32::from(latitude.abs() > ARCTIC);
    step.clamp(1, STEP_MAX as i32) as u32
}

/// East and north of the cells around one, in the order in which they are looked through.
const AROUND: [(i32, i32); 9] =
    [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// The cells in which points of an area can be: the one around its center and those beside it that it reaches. Some may
/// be the same where cells are huge.
pub fn cells_to_search(area: &Area) -> impl Iterator<Item = Cell> {
    let (longitudes, latitudes) = area.bounds();
    let mut step = step_for(area.reach_m(), area.center.latitude);
    let mut cell = Cell::around(area.center, step);
    if step > 1 && !covers(cell, longitudes, latitudes) {
        step -= 1;
        cell = Cell::around(area.center, step);
    }
    let (own_longitudes, own_latitudes) = cell.bounds();
    AROUND.into_iter().filter_map(move |(east, north)| {
        /// Coarser grids go round after so few cells that none is left out.
        const CHOOSY_FROM_STEP: u32 = 2;
        let beyond = |by: i32, own: Range, wanted: Range| match by {
            1 => own.max > wanted.max,
            -1 => own.min < wanted.min,
            _ => false,
        };
        let is_useless = step >= CHOOSY_FROM_STEP
            && (beyond(east, own_longitudes, longitudes) || beyond(north, own_latitudes, latitudes));
        (!is_useless).then(|| cell.neighbour(east, north))
    })
}

/// Whether a cell and those beside it reach as far as these bounds.
fn covers(cell: Cell, longitudes: Range, latitudes: Range) -> bool {
    let beside = |east, north| cell.neighbour(east, north).bounds();
    // A shape too large for arithmetic has bounds that are no numbers; nothing is short of them.
    let not_beyond = |reached: f64, wanted: f64| reached.partial_cmp(&wanted) != Some(Ordering::Less);
    not_beyond(beside(0, 1).1.max, latitudes.max)
        && not_beyond(latitudes.min, beside(0, -1).1.min)
        && not_beyond(beside(1, 0).0.max, longitudes.max)
        && not_beyond(longitudes.min, beside(-1, 0).0.min)
}

#[cfg(test)]
mod tests {
    use super::super::LATITUDES;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_areas_need_fine_cells() {
        assert_eq!(step_for(0.0, 0.0), 26);
        assert_eq!(step_for(1.0, 0.0), 24);
        assert_eq!(step_for(1.0, 70.0), 23);
        assert_eq!(step_for(1.0, -81.0), 22);
        assert_eq!(step_for(1e9, 0.0), 1);
    }

    proptest! {
        #[test]
        fn no_point_of_an_area_is_outside_its_cells(
            longitude in -170f64..170.0,
            latitude in -70f64..70.0,
            radius_m in 1f64..300_000.0,
            direction in 0f64..std::f64::consts::TAU,
            share in 0f64..1.0,
        ) {
            let center = Point { longitude, latitude };
            let area = Area { center, shape: Shape::Circle { radius_m } };
            let up = degrees(radius_m * share / EARTH_RADIUS_M);
            let point = Point {
                longitude: longitude + up * direction.cos() / radians(latitude).cos(),
                latitude: (latitude + up * direction.sin()).clamp(LATITUDES.min, LATITUDES.max),
            };
            prop_assume!(point.is_valid() && area.distance_m(point).is_some());
            let score = point.to_score();
            let found = cells_to_search(&area).any(|cell| {
                let (first, end) = cell.scores();
                (first..end).contains(&score)
            });
            prop_assert!(found);
        }
    }
}
