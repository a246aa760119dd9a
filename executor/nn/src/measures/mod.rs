//! What a part of the data is measured by beside its mean loss: counts of classes, ranks of probabilities, distances of
//! numbers. All sums are whole numbers or `f64`, row after row, so that their order is fixed.
//!
//! | file | holds |
//! |---|---|
//! | `hits` | rows, predictions and hits of each class |
//! | `ranks` | the probabilities of all rows, and the area under their ROC curves |
//! | `distances` | how far predicted numbers are from the wanted ones |
//! | `guess` | what the best constant answer gets |
//! | `look` | which classes are taken for which, and the worst rows |

mod distances;
mod guess;
mod hits;
mod look;
mod ranks;

use broadsweep_common::dataset::{Dataset, Header, Part, TargetKind};
use broadsweep_common::measure::{MEASURES_MAX, Measure};

use super::loss::{Tally, Wanted};
use super::report::{Further, Score};
use distances::Distances;
pub(super) use guess::guess;
use hits::Hits;
pub(super) use look::Look;
use ranks::Ranks;

/// Sees the outputs of a part's rows, and tells its score. Allocates when it is made, and never after that.
pub(super) struct Meter {
    measures: Vec<Measure>,
    counts: Counts,
}

/// What is counted: no more than the measures need.
enum Counts {
    Classes { hits: Option<Hits>, ranks: Option<Ranks> },
    Values(Distances),
}

impl Meter {
    /// A meter for these parts of the data. Measures that do not fit its targets are NaN.
    pub(super) fn new(measures: &[Measure], data: &Dataset, parts: &[Part]) -> Self {
        let header = data.header();
        let measures = measures[..measures.len().min(MEASURES_MAX)].to_vec();
        let counts = match header.targets {
            TargetKind::Classes { .. } => {
                let classes = header.targets.outputs();
                let ranks = measures.contains(&Measure::Auc).then(|| Ranks::new(classes, rows_max(header, parts)));
                let hits = measures.iter().any(|measure| counts_hits(*measure)).then(|| Hits::new(classes));
                Counts::Classes { hits, ranks }
            }
            TargetKind::Values { .. } => Counts::Values(Distances::new(data, parts)),
        };
        Self { measures, counts }
    }

    /// A meter of the error alone, for data with this header of which not all rows are there at a time.
    pub(super) fn of_error(header: &Header) -> Self {
        let counts = match header.targets {
            TargetKind::Classes { .. } => Counts::Classes { hits: None, ranks: None },
            TargetKind::Values { .. } => Counts::Values(Distances::of_error(header)),
        };
        Self { measures: Vec::new(), counts }
    }

    /// The rows of `part` come next.
    pub(super) fn begin(&mut self, part: Part) {
        match &mut self.counts {
            Counts::Classes { hits, ranks } => {
                hits.iter_mut().for_each(Hits::begin);
                ranks.iter_mut().for_each(Ranks::begin);
            }
            Counts::Values(distances) => distances.begin(part),
        }
    }

    /// Takes in a batch's outputs, `(rows, width)`, and what they should be.
    pub(super) fn see(&mut self, outputs: &[f32], width: usize, wanted: Wanted<'_>) {
        match (&mut self.counts, wanted) {
            (Counts::Classes { hits, ranks }, Wanted::Classes(classes)) => {
                for (outputs, class) in outputs.chunks_exact(width).zip(classes) {
                    if let Some(hits) = hits {
                        hits.see(outputs, *class);
                    }
                    if let Some(ranks) = ranks {
                        ranks.see(outputs, *class);
                    }
                }
            }
            (Counts::Values(distances), Wanted::Values(values)) => distances.see(outputs, values),
            (Counts::Classes { .. }, Wanted::Values(_)) | (Counts::Values(_), Wanted::Classes(_)) => {}
        }
    }

    /// The score of the rows since `begin`, whose losses are in `tally`.
    pub(super) fn score(&mut self, tally: &Tally) -> Score {
        let error = match &self.counts {
            Counts::Classes { .. } => tally.fraction_wrong(),
            Counts::Values(distances) => distances.root_mean_square(),
        };
        let Self { measures, counts } = self;
        let further = measures.iter().map(|measure| counts.value(*measure)).collect();
        Score { loss: tally.mean_loss(), error, further }
    }
}

impl Counts {
    fn value(&mut self, measure: Measure) -> f64 {
        let value = match (self, measure) {
            (Self::Classes { ranks: Some(ranks), .. }, Measure::Auc) => Some(ranks.area()),
            (Self::Classes { hits: Some(hits), .. }, Measure::BalancedError) => Some(hits.balanced_error()),
            (Self::Classes { hits: Some(hits), .. }, Measure::F1) => Some(hits.mean_f1()),
            (Self::Classes { hits: Some(hits), .. }, Measure::ClassF1 { class }) => hits.f1(class as usize),
            (Self::Values(distances), Measure::R2) => Some(distances.r2()),
            (Self::Values(distances), Measure::MeanAbsoluteError) => Some(distances.mean()),
            (Self::Classes { .. } | Self::Values(_), _) => None,
        };
        value.unwrap_or(f64::NAN)
    }
}

impl FromIterator<f64> for Further {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut further = Self::default();
        values.into_iter().for_each(|value| further.push(value));
        further
    }
}

fn counts_hits(measure: Measure) -> bool {
    !measure.is_of_values() && measure != Measure::Auc
}

fn rows_max(data: &Header, parts: &[Part]) -> usize {
    parts.iter().map(|part| data.rows(*part)).max().unwrap_or(0)
}

/// Bytes that measuring these parts takes beside a network: a number for each row and class where their area under the
/// curve is asked for, and next to nothing else.
#[must_use]
pub fn measures_bytes(measures: &[Measure], data: &Header, parts: &[Part]) -> u64 {
    let classes = data.targets.outputs() as u64;
    let by_rank =
        if measures.contains(&Measure::Auc) { Ranks::bytes(classes, rows_max(data, parts) as u64) } else { 0 };
    by_rank + 24 * classes
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
