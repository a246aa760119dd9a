//! What the trials of an earlier run took and gave, as its `trials.csv` has it: rows that a replay replays.

use std::path::Path;
use std::time::Duration;

use broadsweep_common::dataset::Part;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::replay::{Replay, ReplayEnd, SECONDS};
use broadsweep_common::setting::Bounds;
use broadsweep_common::task::Select;
use broadsweep_common::training::{EPOCHS, EPOCHS_MAX};

use super::error::{DataError, Origin, shown};
use super::table::Table;

/// Reads the first `trials` rows of the table at `path`, or as many as there are. Waits are divided by `speed`; every
/// finished trial has to have the error that `select` compares trials by.
///
/// # Errors
/// [`DataError`], for the first thing that is wrong.
pub fn read(path: &Path, speed: f64, select: Select, trials: usize) -> Result<Vec<Replay>, DataError> {
    let table = Table::open(Origin::file(path.to_owned()))?;
    let columns = Columns::of(&table)?;
    let mut rows = Rows { table, columns, speed, select };
    let mut replays = Vec::new();
    while replays.len() < trials && rows.table.next()? {
        rows.check_number(replays.len())?;
        replays.push(rows.replay()?);
    }
    Ok(replays)
}

/// Where the columns that a replay needs stand.
struct Columns {
    trial: usize,
    outcome: usize,
    counted_epoch: usize,
    epochs: usize,
    training_loss: usize,
    /// Loss and error.
    validation: [usize; 2],
    test: [usize; 2],
    /// Both phases.
    seconds: [usize; 2],
}

impl Columns {
    fn of(table: &Table) -> Result<Self, DataError> {
        let pair = |first: &str, second: &str| Ok::<_, DataError>([table.column(first)?, table.column(second)?]);
        let part = |part| {
            let [loss, error] = MetricName::of_part(part);
            pair(loss.as_str(), error.as_str())
        };
        Ok(Self {
            trial: table.column("trial")?,
            outcome: table.column("outcome")?,
            counted_epoch: table.column("counted_epoch")?,
            epochs: table.column("epochs")?,
            training_loss: table.column(MetricName::TRAINING_LOSS.as_str())?,
            validation: part(Part::Validation)?,
            test: part(Part::Test)?,
            seconds: pair("training_s", "evaluation_s")?,
        })
    }
}

/// The table, at one of its rows.
struct Rows {
    table: Table,
    columns: Columns,
    speed: f64,
    select: Select,
}

impl Rows {
    /// Trial `n` replays row `n`, so row `n` has to be its own.
    fn check_number(&self, want: usize) -> Result<(), DataError> {
        let place = self.columns.trial;
        if self.table.text(place).parse() == Ok(want) {
            return Ok(());
        }
        Err(self.not(place, &format!("{want}: the trials of a run stand in their order, from 0")))
    }

    fn replay(&self) -> Result<Replay, DataError> {
        let (outcome, columns) = (self.columns.outcome, &self.columns);
        let mut seconds = 0.0;
        for place in columns.seconds {
            seconds += self.number(place, SECONDS)?;
        }
        let (epochs, end) = match &*self.table.text(outcome) {
            "finished" => {
                let epochs = self.whole(columns.epochs, EPOCHS)?;
                let (epoch, metrics) = self.counted(epochs)?;
                (epochs, ReplayEnd::Complete { epoch, metrics })
            }
            "diverged" => (self.whole(columns.epochs, Bounds::Within(0, EPOCHS_MAX - 1))?, ReplayEnd::Diverged),
            "given_up" | "paused" | "not_run" | "left_out" => {
                let what = "this trial has no result to replay; record a run whose trials all ended".to_owned();
                return Err(DataError::Row { place: self.table.place(outcome), what });
            }
            _ => {
                return Err(self.not(
                    outcome,
                    "an outcome: `finished`, `diverged`, `given_up`, `paused`, `not_run` or `left_out`",
                ));
            }
        };
        // Both seconds and speed are bounded, and so is this.
        Ok(Replay { wait: Duration::from_secs_f64(seconds / self.speed), epochs, end })
    }

    /// The epoch that counts, of so many, and what was measured there.
    fn counted(&self, epochs: u32) -> Result<(u32, Metrics), DataError> {
        let columns = &self.columns;
        let epoch = self.whole(columns.counted_epoch, Bounds::Within(1, epochs))?;
        let training_loss = self.real(columns.training_loss)?;
        let validation = self.part(Part::Validation, columns.validation)?;
        let test = self.part(Part::Test, columns.test)?;
        let (compared, errors, other) = match self.select {
            Select::Validation => (&validation, columns.validation, "test"),
            Select::Test => (&test, columns.test, "validation"),
        };
        if compared.is_some() {
            // The table has no step size.
            let own = [(MetricName::LEARNING_RATE, 0.0), (MetricName::TRAINING_LOSS, training_loss)];
            let parts = [validation, test].into_iter().flatten().flatten();
            return Ok((epoch, own.into_iter().chain(parts).collect()));
        }
        let what = format!(
            "this trial has no such error, by which trials are compared; write select = \"{other}\" in [search], if \
             it has that one"
        );
        Err(DataError::Row { place: self.table.place(errors[1]), what })
    }

    /// Loss and error of a part of the data, if it was looked at.
    fn part(&self, part: Part, columns: [usize; 2]) -> Result<Option<[(MetricName, f64); 2]>, DataError> {
        if columns.iter().all(|place| self.table.text(*place).is_empty()) {
            return Ok(None);
        }
        let ([loss, error], [loss_name, error_name]) = (columns, MetricName::of_part(part));
        Ok(Some([(loss_name, self.real(loss)?), (error_name, self.real(error)?)]))
    }

    /// Any number, be it NaN or infinite: a run leaves such ones too.
    fn real(&self, place: usize) -> Result<f64, DataError> {
        self.table.text(place).parse().map_err(|_| self.not(place, "a number"))
    }

    fn number(&self, place: usize, bounds: Bounds<f64>) -> Result<f64, DataError> {
        let given = self.table.text(place).parse().ok().filter(|number| bounds.hold(*number));
        given.ok_or_else(|| self.not(place, &format!("a number {}", bounds.in_words())))
    }

    fn whole(&self, place: usize, bounds: Bounds<u32>) -> Result<u32, DataError> {
        let given = self.table.text(place).parse().ok().filter(|number| bounds.hold(*number));
        given.ok_or_else(|| self.not(place, &format!("a whole number {}", bounds.in_words())))
    }

    fn not(&self, place: usize, expected: &str) -> DataError {
        let what = format!("\"{}\" is not {expected}", shown(&self.table.text(place)));
        DataError::Row { place: self.table.place(place), what }
    }
}
