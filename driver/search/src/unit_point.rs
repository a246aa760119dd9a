//! Points in which all parameters with an order are between 0 and 1, for samplers that measure distances or directions.

use super::coordinate::{Coordinate, PlaceKind};

/// Between 0 and 1 in each parameter with an order; the number of the choice in others.
pub(crate) type UnitPoint = Vec<f64>;

/// The unit place of the middle of each interval, where values have one.
pub(crate) fn unit_point(coordinates: &[Coordinate], point: &[f64]) -> UnitPoint {
    let unit = |(coordinate, place): (&Coordinate, &f64)| match &coordinate.kind {
        PlaceKind::Cells { edges, .. } => {
            let cell = (*place as usize).min(edges.len() - 2);
            f64::midpoint(edges[cell], edges[cell + 1])
        }
        PlaceKind::Smooth(_) | PlaceKind::Choices(_) => *place,
    };
    coordinates.iter().zip(point).map(unit).collect()
}

/// The point of the configuration whose unit point is nearest.
pub(crate) fn point_at(coordinates: &[Coordinate], unit: &[f64]) -> Vec<f64> {
    let place = |(coordinate, unit): (&Coordinate, &f64)| match &coordinate.kind {
        PlaceKind::Cells { edges, .. } => edges[1..edges.len() - 1].partition_point(|edge| edge <= unit) as f64,
        PlaceKind::Smooth(_) | PlaceKind::Choices(_) => *unit,
    };
    coordinates.iter().zip(unit).map(place).collect()
}
