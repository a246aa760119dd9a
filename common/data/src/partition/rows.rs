//! The rows of one partition, piece by piece.

use broadsweep_common::application::{BadRow, KeptCell, KeptColumn, KeptKind};
use broadsweep_common::dataset::{Dataset, Element, Header};
use broadsweep_common::schema::{Inputs, Schema};

use super::bad::bad_row;
use super::plain::PlainPiece;
use super::{Partition, Portion, Readable, Wanted};
use crate::any_table::AnyTable;
use crate::error::{DataError, Origin};
use crate::input_array::InputArray;
use crate::input_table::InputTable;
use crate::pictures;
use crate::prepared::{PIECE_BYTES, header_of, lay_out, outputs_of, piece_rows, values_of};
use crate::rows::{Batch, remove_runs};

/// Rows of a piece, at most, unless one batch has more: each of them may be bad, and have a reason.
const ROWS_MAX: usize = 1 << 15;

/// The rows of one partition for a model that is trained.
pub struct PartitionRows<'s> {
    schema: &'s Schema,
    /// Of every piece, but for its rows.
    header: Header,
    kinds: Vec<KeptKind>,
    /// The files that are read.
    files: Vec<Readable>,
    source: RowSource<'s>,
    raw: Batch,
    /// The number of the next row in its file.
    next: u64,
    /// Rows that are still to come, if that is known.
    left: Option<u64>,
}

/// Where raw rows are from.
enum RowSource<'s> {
    Table(Box<InputTable<'s>>),
    Array(Box<InputArray>),
    /// The files themselves.
    Pictures,
}

/// Some rows of a partition.
#[derive(Debug)]
pub struct Piece {
    /// The good rows, as test rows, prepared as those that were trained on; targets that are missing are zeros. There may
    /// be none.
    pub data: Dataset,
    /// Of each good row: its number in its file, from 0. Of a [picture](Portion::Pictures), its place among those of the
    /// partition.
    pub numbers: Vec<u64>,
    /// Of each good row: whether it has its target.
    pub has_target: Vec<bool>,
    /// Of each column that is passed on: a cell for each good row.
    pub kept: Vec<Vec<KeptCell>>,
    /// The rows that no model can take, in their order.
    pub bad: Vec<BadRow>,
}

/// What is known of the rows of a piece beside their values.
#[derive(Default)]
struct Taken {
    numbers: Vec<u64>,
    /// Of rows of a text.
    lines: Vec<u64>,
    has_target: Vec<bool>,
    kept: Vec<Vec<KeptCell>>,
    bad: Vec<BadRow>,
    /// Rows, good and bad.
    looked_at: u64,
}

impl<'s> PartitionRows<'s> {
    /// Opens a partition; `kept` is that of the [`Cut`](super::Cut) that it is of, and `files` are its own.
    ///
    /// # Errors
    /// [`DataError`], for the first thing that is wrong: a file that [has changed](DataError::Changed), too.
    pub fn open(
        schema: &'s Schema,
        wanted: &Wanted,
        kept: &[KeptColumn],
        files: Vec<Readable>,
        partition: &Partition,
    ) -> Result<Self, DataError> {
        Self::open_any(schema, wanted, kept, files, partition).map_err(DataError::for_model)
    }

    fn open_any(
        schema: &'s Schema,
        wanted: &Wanted,
        kept: &[KeptColumn],
        files: Vec<Readable>,
        partition: &Partition,
    ) -> Result<Self, DataError> {
        let Some(first) = files.first().filter(|_| files.len() == partition.portion.files()) else {
            return Err(unlike("the input", "it has other files than a partition"));
        };
        files.iter().try_for_each(Readable::check)?;
        let source = RowSource::open(schema, wanted, &first.origin(), partition)?;
        if let RowSource::Table(table) = &source
            && table.kept().len() != kept.len()
        {
            return Err(unlike(&first.file.path, "other columns are passed on"));
        }
        let kinds = kept.iter().map(|column| column.kind).collect();
        let element = match &source {
            RowSource::Array(array) => array.element(),
            RowSource::Table(_) | RowSource::Pictures => Element::F32,
        };
        let (header, raw) = (header_of(schema, element), Batch::default());
        let (next, left) = (partition.first_row, partition.rows);
        Ok(Self { schema, header, kinds, files, source, raw, next, left })
    }

    /// What the data of each piece is, but for its rows: here it has none.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next rows, at most some MiB of them; nothing behind the last. Up to `batch_rows` are prepared together however
    /// large they are.
    ///
    /// # Errors
    /// [`DataError`], if the whole file cannot be read: never for a row alone.
    pub fn next_piece(&mut self, batch_rows: usize) -> Result<Option<Piece>, DataError> {
        self.read_piece(batch_rows).map_err(DataError::for_model)
    }

    fn read_piece(&mut self, batch_rows: usize) -> Result<Option<Piece>, DataError> {
        let whole_batches = (ROWS_MAX / batch_rows.max(1)).max(1) * batch_rows.max(1);
        let rows_max = piece_rows(self.schema, batch_rows).min(whole_batches);
        let Some(mut taken) = self.take(rows_max)? else { return Ok(None) };
        let data = self.lay_out(&mut taken)?;
        let Taken { numbers, has_target, kept, bad, .. } = taken;
        Ok(Some(Piece { data, numbers, has_target, kept, bad }))
    }

    /// The next rows as they are, at most so many, and at most some MiB of them; nothing behind the last.
    ///
    /// # Errors
    /// [`DataError`], if the whole file cannot be read: never for a row alone.
    pub fn next_plain(&mut self, rows_max: usize) -> Result<Option<PlainPiece>, DataError> {
        let rows_max = rows_max.clamp(1, piece_rows(self.schema, 1));
        let taken = self.take(rows_max).map_err(DataError::for_model)?;
        Ok(taken.map(|Taken { numbers, kept, bad, .. }| {
            let values = std::mem::take(&mut self.raw.features).into();
            PlainPiece { values, numbers, kept, bad }
        }))
    }

    /// Takes the next rows as they are; nothing behind the last.
    fn take(&mut self, rows_max: usize) -> Result<Option<Taken>, DataError> {
        let mut taken = Taken { kept: self.kinds.iter().map(|_| Vec::new()).collect(), ..Taken::default() };
        self.raw.clear();
        match &mut self.source {
            RowSource::Table(table) => taken.read_table(table, &self.kinds, self.next, rows_max, &mut self.raw)?,
            RowSource::Array(array) => taken.read_array(array, self.next, rows_max, &mut self.raw)?,
            RowSource::Pictures => {
                taken.read_pictures(&self.files, self.schema, self.next, rows_max, &mut self.raw);
            }
        }
        self.next = self.next.saturating_add(taken.looked_at);
        let is_over = taken.looked_at == 0;
        self.check(&taken, is_over)?;
        Ok((!is_over).then_some(taken))
    }

    /// Refuses other rows than the partition has, and at the end files that have changed while they were read.
    fn check(&mut self, taken: &Taken, is_over: bool) -> Result<(), DataError> {
        let left = self.left.map(|left| left.checked_sub(taken.looked_at));
        if left == Some(None) || is_over && self.left.is_some_and(|left| left > 0) {
            return Err(unlike(&self.files[0].file.path, "it has other rows than it had"));
        }
        self.left = left.flatten();
        if is_over { self.files.iter().try_for_each(Readable::check) } else { Ok(()) }
    }

    /// Prepares the raw rows; those that are no 32-bit numbers once scaled become bad.
    fn lay_out(&mut self, taken: &mut Taken) -> Result<Dataset, DataError> {
        let file = self.files[0].origin();
        let pictures = if matches!(self.source, RowSource::Pictures) { &self.files[..] } else { &[] };
        loop {
            let unfit = match lay_out(self.schema, &self.header, &file, &self.raw)? {
                Ok(data) => return Ok(data),
                Err(unfit) => unfit,
            };
            let (cells, outputs) = (self.schema.inputs.cells(values_of(self.schema)), outputs_of(self.schema));
            self.raw.remove(&unfit, cells, outputs);
            taken.set_aside(&file, pictures, &unfit);
        }
    }
}

/// The error of a partition that its file does not have.
fn unlike(path: &str, what: &str) -> DataError {
    DataError::Changed { file: Origin::file(path.into()), what: what.to_owned() }
}

impl<'s> RowSource<'s> {
    fn open(schema: &'s Schema, wanted: &Wanted, file: &Origin, partition: &Partition) -> Result<Self, DataError> {
        let not_so = || unlike(&file.path.to_string_lossy(), "it is of another kind than it was");
        let channels_first = match (&schema.inputs, &partition.portion) {
            (Inputs::Columns(columns), portion) => {
                // They were told when it was cut.
                let mut remarks = Vec::new();
                let mut table = InputTable::open_wanted(schema, columns, file, wanted, &mut remarks)?;
                match (portion, table.table_from(partition.first_row)) {
                    (Portion::Whole, _) => {}
                    (&Portion::Groups { first, count }, AnyTable::Parquet(parquet)) => {
                        let first = first as usize;
                        parquet.go_to(first..first.saturating_add(count as usize));
                    }
                    (&Portion::Lines { from, until, lines_before }, AnyTable::Text(text))
                        if text.plain_from().is_some() =>
                    {
                        text.go_to(from..until, lines_before)?;
                    }
                    _ => return Err(not_so()),
                }
                return Ok(Self::Table(Box::new(table)));
            }
            (Inputs::Array { .. }, Portion::Pictures { .. }) => return Ok(Self::Pictures),
            (Inputs::Array { channels_first, .. }, _) => *channels_first,
        };
        let mut array = InputArray::open(schema, channels_first, file)?;
        match partition.portion {
            Portion::Whole => {}
            Portion::Rows if array.can_go() => {
                let place = |number: u64| usize::try_from(number).map_err(|_| not_so());
                array.go_to(place(partition.first_row)?, place(partition.rows.unwrap_or(u64::MAX))?)?;
            }
            _ => return Err(not_so()),
        }
        Ok(Self::Array(Box::new(array)))
    }
}

impl Taken {
    fn read_table(
        &mut self,
        table: &mut InputTable<'_>,
        kinds: &[KeptKind],
        first: u64,
        rows_max: usize,
        raw: &mut Batch,
    ) -> Result<(), DataError> {
        let mut kept_bytes = 0;
        while self.looked_at < rows_max as u64
            && kept_bytes < PIECE_BYTES
            && let Some(row) = table.take_row(raw)?
        {
            let number = first.saturating_add(self.looked_at);
            self.looked_at += 1;
            match row {
                Ok(has_target) => {
                    self.numbers.push(number);
                    self.has_target.push(has_target);
                    self.lines.extend(table.table().line());
                    for ((column, &kind), cell) in self.kept.iter_mut().zip(kinds).zip(table.passed_on()) {
                        let cell = cell.of_kind(kind);
                        kept_bytes += cell.bytes();
                        column.push(cell);
                    }
                }
                Err(error) => self.bad.push(bad_row(number, error)),
            }
        }
        Ok(())
    }

    fn read_array(
        &mut self,
        array: &mut InputArray,
        first: u64,
        rows_max: usize,
        raw: &mut Batch,
    ) -> Result<(), DataError> {
        let unfit = array.read(rows_max, raw)?;
        self.looked_at = raw.rows as u64;
        self.numbers = (0..self.looked_at).map(|row| first.saturating_add(row)).collect();
        self.has_target = vec![false; raw.rows];
        self.bad
            .extend(unfit.iter().map(|unfit| bad_row(first.saturating_add(unfit.row as u64), array.error(unfit))));
        let places: Vec<_> = unfit.iter().map(|unfit| unfit.row).collect();
        if !places.is_empty() {
            let (cells, labels) = array.widths();
            raw.remove(&places, cells, labels);
            self.remove(&places);
        }
        Ok(())
    }

    fn read_pictures(&mut self, files: &[Readable], schema: &Schema, first: u64, rows_max: usize, raw: &mut Batch) {
        let left = usize::try_from(first).ok().and_then(|first| files.get(first..)).unwrap_or_default();
        for file in left.iter().take(rows_max) {
            let number = first.saturating_add(self.looked_at);
            self.looked_at += 1;
            match pictures::read_one(&file.origin(), &schema.shape) {
                Ok(cells) => {
                    raw.features.widen().extend(cells);
                    raw.labels.resize(raw.labels.len() + outputs_of(schema), 0.0);
                    raw.rows += 1;
                    self.numbers.push(number);
                    self.has_target.push(false);
                }
                Err(error) => self.bad.push(bad_row(number, error)),
            }
        }
    }

    /// Sets good rows aside, by their places among these, since they are no 32-bit numbers once scaled.
    fn set_aside(&mut self, file: &Origin, pictures: &[Readable], places: &[usize]) {
        for &place in places {
            let row = self.numbers[place];
            let place = match (self.lines.get(place), pictures.get(row as usize)) {
                (_, Some(picture)) => picture.file.path.clone(),
                (Some(line), None) => format!("{file}, line {line}"),
                (None, None) => format!("{file}, row {row} (counted from 0)"),
            };
            let reason = "it has a value that is no 32-bit number once scaled".to_owned();
            self.bad.push(BadRow { row, place, reason });
        }
        self.bad.sort_by_key(|bad| bad.row);
        self.remove(places);
    }

    /// Takes good rows out, by their places among these.
    fn remove(&mut self, places: &[usize]) {
        remove_runs(&mut self.numbers, places, 1);
        remove_runs(&mut self.lines, places, 1);
        remove_runs(&mut self.has_target, places, 1);
        for column in &mut self.kept {
            remove_runs(column, places, 1);
        }
    }
}
