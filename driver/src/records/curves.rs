//! What a trial reported, epoch by epoch: a table with a row an epoch and a column a metric.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use broadsweep_common::metrics::{MetricName, Metrics, canonical_bits};

/// The metrics of the epochs of one trial, from its first one on.
///
/// A million trials keep one each: the names of the columns are shared between them, and numbers lie in one run.
#[derive(Clone)]
pub struct Curves {
    /// The columns, in the order of their names.
    names: Arc<[MetricName]>,
    /// Row by row. What was not reported is NaN here, and stands in `gaps`.
    values: Vec<f64>,
    epochs: u32,
    /// Cells that hold nothing, sorted by epoch and column: most trials report the same metrics at every epoch, and have
    /// none.
    #[expect(clippy::box_collection, reason = "nearly always absent, and then it takes eight bytes and not 24")]
    gaps: Option<Box<Vec<(u32, u16)>>>,
}

impl Default for Curves {
    fn default() -> Self {
        Self { names: Arc::from([]), values: Vec::new(), epochs: 0, gaps: None }
    }
}

impl Curves {
    /// How many epochs were reported.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// Whether no epoch was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.epochs == 0
    }

    /// The metrics that some epoch has, in the order of their names.
    #[must_use]
    pub fn names(&self) -> &[MetricName] {
        &self.names
    }

    /// The value of a metric at an epoch, counted from 1.
    #[must_use]
    pub fn get(&self, epoch: u32, name: &MetricName) -> Option<f64> {
        self.cell(epoch, self.column(name)?)
    }

    /// All that was reported at an epoch, counted from 1; `None` if there is no such epoch.
    #[must_use]
    pub fn at(&self, epoch: u32) -> Option<Metrics> {
        let numbers = || self.row(epoch).map(|(name, value)| (name.clone(), value));
        (1..=self.epochs).contains(&epoch).then(|| numbers().collect())
    }

    /// The same without a copy, in the order of names; nothing if there is no such epoch.
    pub fn row(&self, epoch: u32) -> impl Iterator<Item = (&MetricName, f64)> + Clone {
        self.names.iter().enumerate().filter_map(move |(column, name)| Some((name, self.cell(epoch, column)?)))
    }

    /// Every epoch with its metrics, from 1 on.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Metrics)> {
        (1..=self.epochs).filter_map(|epoch| Some((epoch, self.at(epoch)?)))
    }

    /// The values of one metric, each with its epoch.
    pub fn of(&self, name: &MetricName) -> impl Iterator<Item = (u32, f64)> {
        let column = self.column(name);
        (1..=self.epochs).filter_map(move |epoch| Some((epoch, self.cell(epoch, column?)?)))
    }

    /// Adds the next epoch. Columns of the same names are shared with all others that have them.
    pub fn push(&mut self, metrics: &Metrics, columns: &mut Columns) {
        if self.is_empty() {
            self.names = columns.shared(metrics.iter().map(|(name, _)| name.clone()).collect());
            self.values.reserve_exact(metrics.len());
        } else if metrics.iter().any(|(name, _)| self.column(name).is_none()) {
            self.widen(metrics, columns);
        }
        self.push_row(metrics);
    }

    /// Adds the next epoch, whose values stand in the order of `names`, a list that is in order. As [`Self::push`], without
    /// looking at each name where they are the usual ones.
    pub fn push_values(&mut self, names: &Arc<[MetricName]>, values: &[f64], columns: &mut Columns) {
        if self.is_empty() {
            self.names = Arc::clone(names);
        }
        if Arc::ptr_eq(&self.names, names) && values.len() == names.len() {
            self.values.reserve_exact(values.len());
            self.values.extend_from_slice(values);
            self.epochs += 1;
        } else {
            self.push(&names.iter().cloned().zip(values.iter().copied()).collect(), columns);
        }
    }

    /// Makes room for so many further epochs.
    pub fn reserve(&mut self, epochs: usize) {
        self.values.reserve_exact(epochs * self.names.len());
    }

    /// Only the epochs up to `epochs` stay.
    pub fn truncate(&mut self, epochs: u32) {
        self.epochs = self.epochs.min(epochs);
        self.values.truncate(self.epochs as usize * self.names.len());
        if let Some(gaps) = &mut self.gaps {
            gaps.retain(|(epoch, _)| *epoch <= epochs);
        }
    }

    /// Where the values of a metric stand. Names are few, and whether two are equal is known sooner than which is less.
    fn column(&self, name: &MetricName) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    fn cell(&self, epoch: u32, column: usize) -> Option<f64> {
        if !(1..=self.epochs).contains(&epoch) {
            return None;
        }
        let is_gap = self.gaps.as_ref().is_some_and(|gaps| gaps.binary_search(&(epoch, column as u16)).is_ok());
        (!is_gap).then(|| self.values[(epoch as usize - 1) * self.names.len() + column])
    }

    /// Adds columns: rare, since a trial knows from its first epoch on what it measures.
    fn widen(&mut self, metrics: &Metrics, columns: &mut Columns) {
        let mut names: Vec<_> =
            self.names.iter().cloned().chain(metrics.iter().map(|(name, _)| name.clone())).collect();
        names.sort();
        names.dedup();
        let mut wider = Self { names: columns.shared(names), ..Self::default() };
        self.iter().for_each(|(_, row)| wider.push_row(&row));
        *self = wider;
    }

    fn push_row(&mut self, row: &Metrics) {
        self.epochs += 1;
        for (name, column) in self.names.iter().zip(0..) {
            let value = row.get(name);
            if value.is_none() {
                self.gaps.get_or_insert_default().push((self.epochs, column));
            }
            self.values.push(value.unwrap_or(f64::NAN));
        }
    }
}

impl PartialEq for Curves {
    /// By the exact bits of what was reported; every NaN is the same one.
    fn eq(&self, other: &Self) -> bool {
        let bits = |curves: &Self| curves.values.iter().map(|value| canonical_bits(*value)).collect::<Vec<_>>();
        (self.epochs, &self.names, &self.gaps) == (other.epochs, &other.names, &other.gaps)
            && bits(self) == bits(other)
    }
}

impl fmt::Debug for Curves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The lists of columns that the curves of a run have: nearly always one.
#[derive(Clone, Debug, Default)]
pub struct Columns(BTreeSet<Arc<[MetricName]>>);

impl Columns {
    /// The list of these names, which are in order.
    fn shared(&mut self, names: Vec<MetricName>) -> Arc<[MetricName]> {
        if let Some(known) = self.0.get(names.as_slice()) {
            return Arc::clone(known);
        }
        let names: Arc<[MetricName]> = names.into();
        self.0.insert(Arc::clone(&names));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(numbers: &[(&str, f64)]) -> Metrics {
        numbers.iter().map(|(name, value)| (MetricName::new(name).unwrap(), *value)).collect()
    }

    fn curves(rows: &[&[(&str, f64)]]) -> Curves {
        let (mut curves, mut columns) = (Curves::default(), Columns::default());
        for row in rows {
            curves.push(&metrics(row), &mut columns);
        }
        curves
    }

    #[test]
    fn every_epoch_comes_back_as_it_was_reported() {
        let rows: [&[(&str, f64)]; 4] =
            [&[("a", 1.0)], &[("a", f64::NAN), ("b", 2.0)], &[], &[("training_loss", 0.5), ("b", 3.0)]];
        let curves = curves(&rows);
        assert_eq!(curves.epochs(), 4);
        for (epoch, row) in (1..).zip(rows) {
            assert_eq!(curves.at(epoch), Some(metrics(row)), "epoch {epoch}");
        }
        assert_eq!((curves.at(0), curves.at(5)), (None, None));
        assert_eq!(curves.of(&MetricName::new("b").unwrap()).collect::<Vec<_>>(), [(2, 2.0), (4, 3.0)]);
        assert_eq!(curves.get(4, &MetricName::TRAINING_LOSS), Some(0.5));
        assert_eq!(curves.names().iter().map(MetricName::as_str).collect::<Vec<_>>(), ["training_loss", "a", "b"]);
    }

    #[test]
    fn values_of_a_known_list_are_the_same_as_metrics_of_these_names() {
        let rows: [&[(&str, f64)]; 4] =
            [&[("a", 1.0), ("b", f64::NAN)], &[("a", 2.0), ("b", 3.0)], &[("b", 4.0)], &[("a", 5.0), ("b", 6.0)]];
        let (mut told, mut columns) = (Curves::default(), Columns::default());
        let lists: Vec<Arc<[MetricName]>> = [&["a", "b"][..], &["b"]]
            .map(|list| list.iter().map(|name| MetricName::new(name).unwrap()).collect())
            .into();
        for row in rows {
            let values: Vec<_> = row.iter().map(|(_, value)| *value).collect();
            told.push_values(&lists[usize::from(row.len() == 1)], &values, &mut columns);
        }
        assert_eq!(told, curves(&rows));
    }

    #[test]
    fn what_is_cut_off_can_be_reported_again() {
        let whole = curves(&[&[("a", 1.0)], &[("a", 2.0)], &[("b", 3.0)]]);
        let mut cut = whole.clone();
        cut.truncate(1);
        assert_eq!(cut.epochs(), 1);
        cut.push(&metrics(&[("a", 2.0)]), &mut Columns::default());
        cut.push(&metrics(&[("b", 3.0)]), &mut Columns::default());
        assert_eq!(cut, whole);
    }

    #[test]
    fn curves_of_the_same_metrics_share_their_columns() {
        let mut columns = Columns::default();
        let [mut first, mut second] = [Curves::default(), Curves::default()];
        first.push(&metrics(&[("a", 1.0)]), &mut columns);
        second.push(&metrics(&[("a", 2.0)]), &mut columns);
        assert!(Arc::ptr_eq(&first.names, &second.names));
        assert_ne!(first, second);
    }
}
