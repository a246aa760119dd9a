//! A finished model, which is applied to the rows of files.

use broadsweep_common::application::{
    Application, Applied, BAD_ROWS_TOLD_MAX, FAR_ROWS_MAX, FarRow, LabelTally, Partition, TABLE_BYTES_MAX,
};
use broadsweep_common::attempt::Ended;
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Part, Targets};
use broadsweep_common::refusal::Refusal;
use broadsweep_common::schema::{Inputs, Outputs, Schema};
use broadsweep_common::task::{Replicate, Segment};
use broadsweep_data::output::OutputTable;
use broadsweep_data::partition::{PartitionRows, Piece};
use broadsweep_nn::{Control as _, Phase, Prediction};
use broadsweep_store::Content;

use super::finished::{Network, Pass};
use super::input::InputFiles;
use super::trainer::{Means, Trainer, in_words};
use crate::control::SlotControl;

/// Applies a model to partitions of its input.
pub(super) struct ModelTrainer {
    schema: Schema,
    network: Network,
    application: Application,
    input: InputFiles,
    means: Means,
}

impl ModelTrainer {
    /// For a model in the place of the data set.
    ///
    /// # Errors
    /// [`Refusal`], if the model is none.
    pub(super) fn new(application: Application, model: &[u8], means: Means) -> Result<Self, Refusal> {
        let (schema, network) = Network::of_blob(model)?;
        let input = InputFiles::look(&application.files, &means);
        Ok(Self { schema, network, application, input, means })
    }

    fn try_apply(&self, number: u32, sent: Option<&Content>, control: &mut SlotControl) -> Result<Ended, String> {
        let Self { schema, network, application, means, .. } = self;
        let none = || format!("the input has no partition {number}");
        let partition = application.partitions.get(number as usize).ok_or_else(none)?;
        let own = partition.own(&application.files);
        let goes_on = || control.allows_a_batch();
        let read = (schema, &application.wanted);
        let Some(files) = self.input.open(read, (own, partition), sent, &goes_on)? else {
            return Ok(Ended::Stopped);
        };
        // What is known by its place is no column of the file.
        let kept = if self.is_placed() { &[][..] } else { &application.kept };
        control.phase(Phase::Evaluation);
        let mut rows = PartitionRows::open(schema, &application.wanted, kept, files, partition).map_err(in_words)?;
        let mut pass = network.pass(rows.header(), &schema.outputs, means.kernel)?;
        let mut answers = Answers::new(schema, application, partition, self.is_placed());
        while let Some(piece) = rows.next_piece(pass.batch_rows()).map_err(in_words)? {
            if !control.allows_a_batch() {
                return Ok(Ended::Stopped);
            }
            answers.take(&mut pass, piece)?;
        }
        Ok(control.applied(answers.finish()?))
    }

    /// Whether rows have no columns, and are known by where they are.
    fn is_placed(&self) -> bool {
        matches!(self.schema.inputs, Inputs::Array { .. })
    }
}

impl Trainer for ModelTrainer {
    fn train(&self, _: Segment, _: &Configuration, _: Option<Content>, _: &mut SlotControl) -> Ended {
        Ended::failed("a finished model is not trained")
    }

    fn measure(&self, _: Replicate, _: &Configuration, _: (Content, Part), _: &mut SlotControl) -> Ended {
        Ended::failed("a finished model is not measured")
    }

    fn apply(&self, partition: u32, rows: Option<Content>, control: &mut SlotControl) -> Ended {
        self.try_apply(partition, rows.as_ref(), control).unwrap_or_else(Ended::failed)
    }

    fn lacks(&self) -> Option<&str> {
        self.input.lacks()
    }
}

/// What comes of a partition, while it does.
struct Answers<'a> {
    schema: &'a Schema,
    application: &'a Application,
    partition: &'a Partition,
    /// Whether a row is told by where it is.
    is_placed: bool,
    table: OutputTable,
    told: Applied,
}

impl<'a> Answers<'a> {
    fn new(schema: &'a Schema, application: &'a Application, partition: &'a Partition, is_placed: bool) -> Self {
        let Application { wanted, kept, format, with_probabilities, .. } = application;
        let tally = wanted.labels.is_some().then(|| LabelTally::of(&schema.outputs));
        let table = OutputTable::new(*format, schema, kept, *with_probabilities);
        Self { schema, application, partition, is_placed, table, told: Applied { tally, ..Applied::default() } }
    }

    /// Answers the rows of a piece, and takes in what is known of the others.
    fn take(&mut self, pass: &mut Pass<'_>, piece: Piece) -> Result<(), String> {
        let Piece { data, numbers, has_target, kept, bad } = piece;
        let targets = data.targets(Part::Test);
        let (mut place, mut cells) = (0, Vec::new());
        pass.predict(&data, |prediction| {
            if self.is_placed {
                cells.extend(self.application.placed(self.partition, numbers[place]));
            } else {
                cells.extend(kept.iter().map(|column| column[place].clone()));
            }
            match prediction {
                Prediction::Class { class, probabilities } => {
                    self.table.push(cells.drain(..), Some(class), probabilities);
                }
                Prediction::Values(values) => self.table.push(cells.drain(..), None, values),
            }
            if has_target[place] {
                self.compare(
                    prediction,
                    &targets,
                    (place, self.application.place_of(self.partition, numbers[place])),
                );
            }
            place += 1;
        })?;
        self.told.rows += place as u64;
        self.told.bad_rows += bad.len() as u64;
        let room = BAD_ROWS_TOLD_MAX.saturating_sub(self.told.bad.len());
        self.told.bad.extend(bad.into_iter().take(room));
        Ok(())
    }

    /// Compares an answer with its label.
    fn compare(
        &mut self,
        prediction: Prediction<'_>,
        targets: &Targets<'_>,
        (place, (file, row)): (usize, (u32, u64)),
    ) {
        let Some(tally) = &mut self.told.tally else { return };
        let worst = match (prediction, targets, &self.schema.outputs, tally) {
            (
                Prediction::Class { class, probabilities },
                Targets::Classes(wanted),
                _,
                LabelTally::Classes { classes, counts, loss },
            ) => {
                let wanted = wanted[place] as usize;
                counts[wanted * *classes as usize + class] += 1;
                let distance = -libm::log(probabilities[wanted]);
                *loss += distance;
                FarRow { file, row, wanted: wanted as f64, answered: class as f64, distance }
            }
            (
                Prediction::Values(values),
                Targets::Values(wanted),
                Outputs::Values { scales, .. },
                LabelTally::Values { rows, squared, absolute },
            ) => {
                *rows += 1;
                let mut worst = FarRow { file, row, wanted: 0.0, answered: 0.0, distance: -1.0 };
                for (output, (&answered, scale)) in values.iter().zip(scales).enumerate() {
                    let wanted = scale.undo(f64::from(wanted[(place, output)]));
                    let distance = (answered - wanted).abs();
                    squared[output] += distance * distance;
                    absolute[output] += distance;
                    if distance > worst.distance || distance.is_nan() {
                        worst = FarRow { wanted, answered, distance, ..worst };
                    }
                }
                worst
            }
            _ => return,
        };
        keep_if_among_far(&mut self.told.far, worst);
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        let table = self.table.finish().map_err(in_words)?;
        if table.len() > TABLE_BYTES_MAX {
            return Err(format!(
                "its answers have {} bytes, and {TABLE_BYTES_MAX} are allowed: write the file in smaller groups of rows, or \
                 unpacked",
                table.len()
            ));
        }
        self.told.to_artifact(&table).map_err(in_words)
    }
}

/// Keeps the rows that are furthest off, the furthest first; of equal ones those that came first.
fn keep_if_among_far(far: &mut Vec<FarRow>, row: FarRow) {
    let place = far.partition_point(|known| known.distance.total_cmp(&row.distance).is_ge());
    if place < FAR_ROWS_MAX {
        far.insert(place, row);
        far.truncate(FAR_ROWS_MAX);
    }
}
