//! Rows of tables, once it is known what their words stand for.

use super::error::{DataError, Origin};
use super::rows::{Batch, Cells, RawPart, RowStream};
use super::spool::Spool;

/// What stands for each word of each column: words come in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    columns: Vec<(usize, Vec<f64>)>,
    width: usize,
    /// Whether a place may be beyond a byte.
    is_wide: bool,
}

impl Order {
    /// For each column, what stands for each of its words; nothing for one of numbers.
    pub(super) fn of(orders: Vec<Option<Vec<f64>>>) -> Self {
        let width = orders.len();
        let columns: Vec<_> =
            orders.into_iter().enumerate().filter_map(|(place, order)| order.map(|order| (place, order))).collect();
        let is_wide = columns.iter().any(|(_, order)| order.len() > 256);
        Self { columns, width, is_wide }
    }

    fn apply(&self, batch: &mut Batch) {
        if self.columns.is_empty() {
            return;
        }
        if self.is_wide {
            batch.features.widen();
        }
        let stands_for = |order: &[f64], number: f64| order.get(number as usize).copied().unwrap_or(number);
        match &mut batch.features {
            Cells::Bytes(bytes) => {
                for row in bytes.chunks_exact_mut(self.width) {
                    for (place, order) in &self.columns {
                        row[*place] = stands_for(order, f64::from(row[*place])) as u8;
                    }
                }
            }
            Cells::Numbers(numbers) => {
                for row in numbers.chunks_exact_mut(self.width) {
                    for (place, order) in &self.columns {
                        if !row[*place].is_nan() {
                            row[*place] = stands_for(order, row[*place]);
                        }
                    }
                }
            }
        }
    }
}

/// Rows whose words stand for what they turned out to be.
pub(super) struct Ordered {
    rows: Spool,
    order: Order,
}

impl RowStream for Ordered {
    fn rewind(&mut self) -> Result<(), DataError> {
        self.rows.rewind()
    }

    fn next(&mut self, rows_max: usize, batch: &mut Batch) -> Result<(), DataError> {
        self.rows.next(rows_max, batch)?;
        self.order.apply(batch);
        Ok(())
    }
}

/// The rows of one part, once it is known what their words stand for.
pub(super) fn part(mut rows: Spool, file: Origin, cells: usize, order: &Order) -> RawPart {
    RawPart {
        features: file.clone(),
        labels: file,
        rows: rows.rows,
        cells,
        label_width: 1,
        are_bytes: rows.are_bytes,
        has_byte_type: false,
        numbers: rows.numbers.take(),
        stream: Box::new(Ordered { rows, order: order.clone() }),
    }
}
