//! One partition on its way through a program: its rows go there batch by batch, and its answers come back beside what is
//! passed on of each row.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use broadsweep_common::application::{
    Applied, BAD_ROWS_TOLD_MAX, BadRow, KeptCell, KeptColumn, Partition, TABLE_BYTES_MAX,
};
use broadsweep_common::mapper::MapperDescription;
use broadsweep_common::printable::{counted, printable};
use broadsweep_data::output::OutputTable;
use broadsweep_data::partition::{PartitionRows, PlainPiece, Readable};

use super::answered::{AnswerStream, cell_of};
use super::given::GivenStream;
use crate::trainers::trainer::in_words;

/// Characters of a name that are shown.
const SHOWN_MAX: usize = 80;

/// A partition that is mapped.
pub(super) struct Mapping<'a> {
    description: &'a MapperDescription,
    partition: &'a Partition,
    rows: PartitionRows<'a>,
    /// Until all rows are in it.
    given: Option<GivenStream<'a>>,
    /// What is to be sent next, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    answers: AnswerStream,
    beside: Beside,
}

/// What stands beside the answers, and both together.
struct Beside {
    /// Of each row that is given and not answered, the cells that are passed on.
    waiting: VecDeque<KeptCell>,
    passed_on: Vec<KeptColumn>,
    rows_given: u64,
    table: Option<OutputTable>,
    told: Applied,
}

impl<'a> Mapping<'a> {
    /// Of a partition, whose files are these.
    ///
    /// # Errors
    /// In words, for the first thing that is wrong with them.
    pub(super) fn new(
        description: &'a MapperDescription,
        partition: &'a Partition,
        files: &[Readable],
    ) -> Result<Self, String> {
        let MapperDescription { schema, application, .. } = description;
        // What is known by its place is no column of the file.
        let kept = if description.values.is_some() { &[][..] } else { &application.kept };
        let rows = PartitionRows::open(schema, &application.wanted, kept, files.to_vec(), partition);
        let rows = rows.map_err(in_words)?;
        let beside = Beside {
            waiting: VecDeque::new(),
            passed_on: description.passed_on().cloned().collect(),
            rows_given: 0,
            table: None,
            told: Applied::default(),
        };
        let given = Some(GivenStream::new(description)?);
        let (outgoing, answers) = (Vec::new(), AnswerStream::default());
        Ok(Self { description, partition, rows, given, outgoing, sent: 0, answers, beside })
    }

    /// What is to be sent next; nothing once all of it was.
    pub(super) fn outgoing(&mut self) -> Result<&[u8], String> {
        while self.sent == self.outgoing.len()
            && let Some(given) = &mut self.given
        {
            self.sent = 0;
            let piece = self.rows.next_plain(self.description.batch_rows as usize).map_err(in_words)?;
            if let Some(piece) = piece {
                let (description, partition) = (self.description, self.partition);
                self.beside.give(given, (description, partition), piece)?;
                self.outgoing = given.take();
            } else {
                given.end()?;
                self.outgoing = given.take();
                self.given = None;
            }
        }
        Ok(&self.outgoing[self.sent..])
    }

    /// So much of it is on its way.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    /// Takes in what the program answered.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (beside, description) = (&mut self.beside, self.description);
        self.answers.push(bytes, |columns, batch| beside.take(description, columns, batch))
    }

    /// Whether all rows are given and the answers have ended.
    pub(super) fn is_over(&self) -> bool {
        self.given.is_none() && self.sent == self.outgoing.len() && self.answers.is_over()
    }

    /// How far it is, for people.
    pub(super) fn progress(&self) -> String {
        let Beside { told, rows_given, .. } = &self.beside;
        let (answered, given) = (told.rows, counted(*rows_given, "row"));
        let hint = if self.given.is_none() && answered == *rows_given {
            "; a program has to end its answers to each partition, as with writer.close()"
        } else {
            ""
        };
        format!("it answered {answered} of {given} that it was given{hint}")
    }

    /// The artifact of the attempt.
    ///
    /// # Errors
    /// In words, if rows are not answered, or the answers are too large.
    pub(super) fn finish(self) -> Result<Vec<u8>, String> {
        let Beside { mut told, rows_given, table, .. } = self.beside;
        if told.rows != rows_given {
            return Err(format!(
                "it answered {} and was given {rows_given}; each row needs one answer, in the order of the rows",
                counted(told.rows, "row")
            ));
        }
        let Some(columns) = self.answers.columns() else { return Err("its answers have no columns".to_owned()) };
        let table = match table {
            Some(table) => table,
            None => table_of(self.description, columns)?,
        };
        columns.clone_into(&mut told.columns);
        let table = table.finish().map_err(in_words)?;
        if table.len() > TABLE_BYTES_MAX {
            return Err(format!(
                "its answers have {} bytes, and {TABLE_BYTES_MAX} are allowed: give it fewer rows a partition \
                 (--partition-rows)",
                table.len()
            ));
        }
        told.to_artifact(&table).map_err(in_words)
    }
}

impl Beside {
    /// Gives rows to the program, and keeps what is passed on of each.
    fn give(
        &mut self,
        given: &mut GivenStream<'_>,
        (description, partition): (&MapperDescription, &Partition),
        piece: PlainPiece,
    ) -> Result<(), String> {
        let PlainPiece { values, numbers, mut kept, bad } = piece;
        if description.values.is_some() {
            let application = &description.application;
            kept = vec![Vec::with_capacity(numbers.len()); application.kept.len()];
            for &number in &numbers {
                let cells = application.placed(partition, number);
                kept.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
            }
        }
        self.set_aside(bad);
        if numbers.is_empty() {
            return Ok(());
        }
        given.push(numbers.len(), &kept, values)?;
        self.rows_given += numbers.len() as u64;
        for row in 0..numbers.len() {
            let columns = description.passed_on.iter().filter_map(|&place| kept.get(place as usize));
            self.waiting.extend(columns.map(|column| column[row].clone()));
        }
        Ok(())
    }

    fn set_aside(&mut self, bad: Vec<BadRow>) {
        self.told.bad_rows += bad.len() as u64;
        let room = BAD_ROWS_TOLD_MAX.saturating_sub(self.told.bad.len());
        self.told.bad.extend(bad.into_iter().take(room));
    }

    /// Takes answers, each beside what is passed on of its row.
    fn take(
        &mut self,
        description: &MapperDescription,
        columns: &[KeptColumn],
        batch: &RecordBatch,
    ) -> Result<(), String> {
        let rows = batch.num_rows() as u64;
        if self.told.rows.saturating_add(rows) > self.rows_given {
            return Err(format!(
                "it answered {} and was given {} so far; each row needs one answer, in the order of the rows",
                counted(self.told.rows.saturating_add(rows), "row"),
                self.rows_given
            ));
        }
        if self.table.is_none() {
            self.table = Some(table_of(description, columns)?);
        }
        let Some(table) = &mut self.table else { return Ok(()) };
        let mut cells = Vec::with_capacity(self.passed_on.len() + columns.len());
        for row in 0..batch.num_rows() {
            cells.extend(self.waiting.drain(..self.passed_on.len()));
            for (column, answers) in columns.iter().zip(batch.columns()) {
                let cell = cell_of(answers.as_ref(), row).map_err(|what| {
                    format!("a cell of the column \"{}\" of its answers: {what}", printable(&column.name, SHOWN_MAX))
                })?;
                cells.push(cell);
            }
            table.push(cells.drain(..), None, &[]);
        }
        self.told.rows += rows;
        Ok(())
    }
}

/// A table of what is passed on and what is answered.
fn table_of(description: &MapperDescription, columns: &[KeptColumn]) -> Result<OutputTable, String> {
    let all: Vec<_> = description.passed_on().chain(columns).cloned().collect();
    let clash = columns.iter().find(|column| description.passed_on().any(|passed_on| passed_on.name == column.name));
    if let Some(clash) = clash {
        return Err(format!(
            "its answers have a column \"{0}\", and so has what is passed on of each row; name it otherwise, or leave {0} out \
             of --keep",
            printable(&clash.name, SHOWN_MAX)
        ));
    }
    Ok(OutputTable::new(description.application.format, &description.schema, &all, false))
}
