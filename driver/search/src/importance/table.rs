//! The cells in which trials stand, and how many of them stand in each.

use std::ops::Range;

use broadsweep_common::configuration::Configuration;

use super::density::Comparison;
use crate::coordinate::{Coordinate, PlaceKind, coordinates};
use crate::space::Space;

/// Cells of a parameter without an end.
const SMOOTH_CELLS: usize = 32;

/// Trials as cells, the best trial first.
pub(super) struct Table {
    coordinates: Vec<Coordinate>,
    /// Of each parameter, its cells among those of all.
    cells: Vec<Range<usize>>,
    /// One more than all cells: where a parameter that a configuration does not have is counted.
    absent: usize,
    /// Trial by trial, a cell a parameter.
    rows: Vec<u32>,
    /// Trials that did not fail: the first ones.
    finite: usize,
    trials: usize,
}

/// How many trials stand in each cell.
pub(super) struct Counted {
    pub(super) of_all: Vec<u32>,
    pub(super) of_best: Vec<u32>,
    pub(super) all: usize,
    pub(super) best: usize,
}

impl Table {
    pub(super) fn new(space: &Space, trials: &[(&Configuration, f64)]) -> Self {
        let coordinates = coordinates(space);
        let mut cells = Vec::with_capacity(coordinates.len());
        let mut absent = 0;
        for coordinate in &coordinates {
            let first = absent;
            absent += cells_of(&coordinate.kind);
            cells.push(first..absent);
        }
        let loss = |trial: usize| if trials[trial].1.is_finite() { trials[trial].1 } else { f64::INFINITY };
        let mut order: Vec<_> = (0..trials.len()).collect();
        order.sort_by(|one, other| loss(*one).total_cmp(&loss(*other)));
        let finite = order.partition_point(|trial| loss(*trial).is_finite());
        let cell = |coordinate: &Coordinate, cells: &Range<usize>, configuration: &Configuration| {
            let Some(place) = coordinate.place(configuration) else { return absent as u32 };
            let number = match coordinate.kind {
                PlaceKind::Smooth(_) => (place * SMOOTH_CELLS as f64) as usize,
                PlaceKind::Cells { .. } | PlaceKind::Choices(_) => place as usize,
            };
            (cells.start + number.min(cells.len() - 1)) as u32
        };
        let mut rows = Vec::with_capacity(trials.len() * coordinates.len());
        for trial in order {
            let of_parameters = coordinates.iter().zip(&cells);
            rows.extend(of_parameters.map(|(coordinate, cells)| cell(coordinate, cells, trials[trial].0)));
        }
        Self { coordinates, cells, absent, rows, finite, trials: trials.len() }
    }

    pub(super) fn trials(&self) -> usize {
        self.trials
    }

    /// Counts each trial so many `times`, the best one first; `best` of them are the best, if so many did not fail.
    pub(super) fn count(&self, times: &[u32], best: usize) -> Counted {
        let (mut of_all, mut of_best) = (vec![0; self.absent + 1], vec![0; self.absent + 1]);
        let (mut all, mut left) = (0, best as u32);
        if self.coordinates.is_empty() {
            return Counted { of_all, of_best, all, best: 0 };
        }
        for (number, (row, times)) in self.rows.chunks_exact(self.coordinates.len()).zip(times).enumerate() {
            let as_best = if number < self.finite { left.min(*times) } else { 0 };
            if as_best > 0 {
                left -= as_best;
                for cell in row {
                    of_best[*cell as usize] += as_best;
                }
            }
            all += *times as usize;
            for cell in row {
                of_all[*cell as usize] += *times;
            }
        }
        Counted { of_all, of_best, all, best: best - left as usize }
    }

    /// Of each parameter, how its densities are made of counts. They are as smooth as these counts say.
    pub(super) fn comparisons(&self, counted: &Counted) -> Vec<Comparison> {
        let of_parameters = self.coordinates.iter().zip(&self.cells);
        of_parameters.map(|(coordinate, cells)| Comparison::new(&coordinate.kind, cells.clone(), counted)).collect()
    }
}

fn cells_of(kind: &PlaceKind) -> usize {
    match kind {
        PlaceKind::Smooth(_) => SMOOTH_CELLS,
        PlaceKind::Cells { values, .. } | PlaceKind::Choices(values) => values.len(),
    }
}
