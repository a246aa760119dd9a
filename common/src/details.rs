//! What a closer look at a model's answers tells of one part of the data: which classes it takes for which, the rows that
//! it is furthest from, and what the best constant answer gets there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::{METRICS_MAX, Metrics};

/// Pairs of a wanted and a predicted class that are told: of more, those with the most rows.
pub const CONFUSIONS_MAX: usize = 1024;
/// Rows that are told.
pub const WORST_ROWS_MAX: usize = 20;
/// Numbers that are told of a row: of more outputs, the first.
pub const ROW_VALUES_TOLD_MAX: usize = 8;

/// What is told of a part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// What the best answer gets that is the same for every row: the classes' frequencies among the training rows, or
    /// their mean.
    pub guess: Metrics,
    /// Rows by wanted and predicted class, in this order; empty for numbers.
    pub confusions: Vec<Confusion>,
    /// The rows with the largest losses, the largest first; of classes, only those that were taken for another one.
    pub worst: Vec<WorstRow>,
}

/// How many rows of one class were taken for another one, or for their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// What the rows are, counted from 0.
    pub wanted: u32,
    /// What they were taken for.
    pub predicted: u32,
    /// How many there are.
    pub rows: u64,
}

/// A row that was answered badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstRow {
    /// Its number in its part, from 0.
    pub row: u64,
    /// Its loss, as training has it.
    pub loss: f64,
    /// What it is, and what it was taken for.
    pub answer: Answer,
}

/// What a row is, and what it was taken for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// A class, counted from 0.
    Class {
        /// What it is.
        wanted: u32,
        /// The most probable one.
        predicted: u32,
    },
    /// Numbers in the file's units.
    Values {
        /// What they are.
        wanted: Vec<f64>,
        /// What was answered.
        predicted: Vec<f64>,
    },
}

/// Details that are more than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more {0} than are told")]
pub struct TooMuch(&'static str);

impl Details {
    /// Refuses what is larger than it may be: it came from somebody else.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub fn check(&self) -> Result<(), TooMuch> {
        let is_long = |answer: &Answer| match answer {
            Answer::Class { .. } => false,
            Answer::Values { wanted, predicted } => wanted.len().max(predicted.len()) > ROW_VALUES_TOLD_MAX,
        };
        match self {
            _ if self.guess.len() > METRICS_MAX => Err(TooMuch("metrics")),
            _ if self.confusions.len() > CONFUSIONS_MAX => Err(TooMuch("pairs of classes")),
            _ if self.worst.len() > WORST_ROWS_MAX => Err(TooMuch("rows")),
            _ if self.worst.iter().any(|row| is_long(&row.answer)) => Err(TooMuch("numbers of a row")),
            _ => Ok(()),
        }
    }

    /// The pairs of classes as they are told: all of them, or those with the most rows.
    #[must_use]
    pub fn confusions_of(counts: &BTreeMap<(u32, u32), u64>) -> Vec<Confusion> {
        let pair = |(&(wanted, predicted), &rows): (&(u32, u32), &u64)| Confusion { wanted, predicted, rows };
        let mut all: Vec<_> = counts.iter().map(pair).collect();
        if all.len() > CONFUSIONS_MAX {
            all.sort_by_key(|pair| (std::cmp::Reverse(pair.rows), pair.wanted, pair.predicted));
            all.truncate(CONFUSIONS_MAX);
            all.sort_by_key(|pair| (pair.wanted, pair.predicted));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_pairs_those_with_the_most_rows_are_told_in_their_order() {
        let counts: BTreeMap<_, _> =
            (0..2000_u32).map(|pair| ((pair / 50, pair % 50), u64::from(pair % 2))).collect();
        let told = Details::confusions_of(&counts);
        assert_eq!((told.len(), told.iter().map(|pair| pair.rows).sum::<u64>()), (CONFUSIONS_MAX, 1000));
        assert!(told.is_sorted_by_key(|pair| (pair.wanted, pair.predicted)));
        assert_eq!(told[0], Confusion { wanted: 0, predicted: 0, rows: 0 });
        let few: BTreeMap<_, _> = [((1, 0), 3), ((0, 1), 2)].into();
        let told = Details::confusions_of(&few);
        assert_eq!(
            told,
            [(0, 1, 2), (1, 0, 3)].map(|(wanted, predicted, rows)| Confusion { wanted, predicted, rows })
        );
    }

    #[test]
    fn details_that_are_too_long_are_refused() {
        let row = |values| {
            let answer = Answer::Values { wanted: vec![0.0; values], predicted: Vec::new() };
            WorstRow { row: 0, loss: 1.0, answer }
        };
        let pair = Confusion { wanted: 0, predicted: 0, rows: 1 };
        let of = |pairs, rows, values| Details {
            guess: Metrics::default(),
            confusions: vec![pair; pairs],
            worst: vec![row(values); rows],
        };
        assert_eq!(of(CONFUSIONS_MAX, WORST_ROWS_MAX, ROW_VALUES_TOLD_MAX).check(), Ok(()));
        for (pairs, rows, values) in [(CONFUSIONS_MAX + 1, 0, 0), (0, WORST_ROWS_MAX + 1, 0), (0, 1, 9)] {
            assert!(of(pairs, rows, values).check().is_err(), "{pairs} {rows} {values}");
        }
    }
}
