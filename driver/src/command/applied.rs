//! What came of the partitions of an input beside the answers themselves: added up, and told.

use std::fmt::Write as _;

use anyhow::anyhow;
use broadsweep_common::application::{Applied, BadRow, FAR_ROWS_MAX, FarRow, LabelTally, Partition, Portion};
use broadsweep_common::schema::{Outputs, Schema};

use super::Failure;
use super::application::{BAD_ROWS, ToApply};
use crate::records::answers::{AnswersRecord, ClassRecord, FarRecord, LabelsRecord, OutputRecord, Told};
use crate::results::folder::RunFolder;
use crate::results::show::counted;

/// Rows that could not be read, and are told one by one.
const BAD_ROWS_LISTED_MAX: usize = 100_000;
/// Rows far from their labels that people are shown.
const FAR_ROWS_SHOWN: usize = 5;

/// All that came of the partitions so far.
pub(super) struct Sum {
    rows: u64,
    bad_rows: u64,
    /// Each with the place of its file.
    bad: Vec<(u32, BadRow)>,
    tally: Option<LabelTally>,
    far: Vec<FarRow>,
}

impl Sum {
    /// Nothing yet; `outputs` are those that are compared with labels.
    pub(super) fn new(outputs: Option<&Outputs>) -> Self {
        Self { rows: 0, bad_rows: 0, bad: Vec::new(), tally: outputs.map(LabelTally::of), far: Vec::new() }
    }

    /// Rows that were answered.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that could not be read.
    pub(super) fn bad_rows(&self) -> u64 {
        self.bad_rows
    }

    /// The first of these.
    pub(super) fn first_bad(&self) -> Option<&BadRow> {
        self.bad.first().map(|(_, row)| row)
    }

    /// How many of them are listed.
    pub(super) fn listed(&self) -> usize {
        self.bad.len()
    }

    /// Adds what an executor told of a partition.
    pub(super) fn add(&mut self, partition: &Partition, applied: Applied) {
        let Applied { rows, columns: _, bad_rows, bad, tally, far } = applied;
        self.rows = self.rows.saturating_add(rows);
        self.bad_rows = self.bad_rows.saturating_add(bad_rows);
        let room = BAD_ROWS_LISTED_MAX.saturating_sub(self.bad.len());
        self.bad.extend(bad.into_iter().take(room).map(|row| placed(partition, row)));
        if let (Some(sum), Some(more)) = (&mut self.tally, tally) {
            sum.add(&more);
        }
        self.far.extend(far.into_iter().take(FAR_ROWS_MAX));
        self.far.sort_by(|one, other| other.distance.total_cmp(&one.distance));
        self.far.truncate(FAR_ROWS_MAX);
    }
}

/// A bad row with the place of its file. A picture is a file of its own.
fn placed(partition: &Partition, row: BadRow) -> (u32, BadRow) {
    match partition.portion {
        Portion::Pictures { .. } => {
            let file = partition.file.saturating_add(u32::try_from(row.row).unwrap_or(u32::MAX));
            (file, BadRow { row: 0, ..row })
        }
        Portion::Whole | Portion::Rows | Portion::Groups { .. } | Portion::Lines { .. } => (partition.file, row),
    }
}

/// The rows that could not be read, each with its place and what is wrong with it; nothing where there are none.
pub(super) fn bad_rows_of(to_apply: &ToApply, sum: &Sum) -> Result<Option<Vec<u8>>, Failure> {
    if sum.bad.is_empty() {
        return Ok(None);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["file", "row", "place", "reason"])?;
    for (file, BadRow { row, place, reason }) in &sum.bad {
        writer.write_record([path_of(to_apply, *file), &row.to_string(), place, reason])?;
    }
    let bytes = writer.into_inner().map_err(|error| anyhow!("cannot list the rows: {error}"))?;
    Ok(Some(bytes))
}

fn path_of(to_apply: &ToApply, file: u32) -> &str {
    to_apply.application.files.get(file as usize).map_or("", |file| &file.path)
}

/// What came of it, as plain data.
pub(super) fn record(to_apply: &ToApply, sum: &Sum, wall_s: f64) -> AnswersRecord {
    let ToApply { settings, application, schema, .. } = to_apply;
    let labels = sum.tally.as_ref();
    AnswersRecord {
        output: settings.output.display().to_string(),
        rows: sum.rows,
        bad_rows: sum.bad_rows,
        files: application.files.len() as u64,
        partitions: application.partitions.len() as u64,
        wall_s,
        rows_per_s: (sum.rows as f64 / wall_s.max(1e-3)) as u64,
        labelled_rows: labels.map(LabelTally::rows),
        labels: labels.map(|tally| labels_of(schema, tally)),
        worst: labels.map(|_| sum.far.iter().map(|row| far_record(to_apply, row)).collect()),
    }
}

/// A number that JSON can hold.
fn finite(number: f64) -> Option<f64> {
    Some(number).filter(|number| number.is_finite())
}

/// The metrics of a tally.
fn labels_of(schema: &Schema, tally: &LabelTally) -> LabelsRecord {
    let rows = tally.rows() as f64;
    let (classes, confusion) = (by_class(schema, tally), confusion(tally));
    let confusion = confusion.into_iter().map(<[u64]>::to_vec).collect();
    let (loss, outputs) = match tally {
        LabelTally::Classes { loss, .. } => (finite(loss / rows), Vec::new()),
        LabelTally::Values { squared, absolute, .. } => {
            let each = squared.iter().zip(absolute).enumerate().map(|(output, (squared, absolute))| {
                let output = schema.output_name(output).unwrap_or_default().to_owned();
                OutputRecord { output, rmse: finite((squared / rows).sqrt()), mae: finite(absolute / rows) }
            });
            (None, each.collect())
        }
    };
    LabelsRecord { error: error_of(tally), loss, classes, confusion, outputs }
}

/// Rows by what was wanted, then by what was answered.
fn confusion(tally: &LabelTally) -> Vec<&[u64]> {
    match tally {
        LabelTally::Classes { classes, counts, .. } => counts.chunks_exact((*classes).max(1) as usize).collect(),
        LabelTally::Values { .. } => Vec::new(),
    }
}

fn added(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// The fraction of labelled rows that was answered wrongly, or the root mean square error over all outputs.
fn error_of(tally: &LabelTally) -> Option<f64> {
    let rows = tally.rows() as f64;
    let error = match tally {
        LabelTally::Classes { .. } => {
            let right = confusion(tally).into_iter().enumerate().map(|(wanted, answered)| answered[wanted]);
            1.0 - added(right) as f64 / rows
        }
        LabelTally::Values { squared, .. } => (squared.iter().sum::<f64>() / (rows * squared.len() as f64)).sqrt(),
    };
    finite(error)
}

/// In the order of the model's classes.
fn by_class(schema: &Schema, tally: &LabelTally) -> Vec<ClassRecord> {
    let confusion = confusion(tally);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let measures = |(class, name): (usize, &String)| {
        let right = confusion[class][class];
        let rows = added(confusion[class].iter().copied());
        let answered = added(confusion.iter().map(|wanted| wanted[class]));
        let f1 = share(right.saturating_mul(2), rows.saturating_add(answered));
        ClassRecord { class: name.clone(), rows, precision: share(right, answered), recall: share(right, rows), f1 }
    };
    schema.class_names().iter().take(confusion.len()).enumerate().map(measures).collect()
}

fn far_record(to_apply: &ToApply, FarRow { file, row, wanted, answered, distance }: &FarRow) -> FarRecord {
    let told = |value: f64| match to_apply.schema.class_names().get(value as usize) {
        Some(name) => Told::Class(name.clone()),
        None => Told::Value(finite(value)),
    };
    let (wanted, answered) = (told(*wanted), told(*answered));
    let file = path_of(to_apply, *file).to_owned();
    FarRecord { file, row: *row, wanted, answered, distance: finite(*distance) }
}

/// What came of it, for people. `listed` bad rows are in their list.
pub(super) fn text(record: &AnswersRecord, folder: &RunFolder, listed: usize, on: &str) -> String {
    let mut text = format!(
        "{} of {} in {}; {} a second\n{on}\n",
        counted(record.rows, "row"),
        counted(record.files, "file"),
        counted(record.partitions, "partition"),
        counted(record.rows_per_s, "row"),
    );
    if record.bad_rows > 0 {
        let (rows, were) = (counted(record.bad_rows, "row"), if record.bad_rows == 1 { "was" } else { "were" });
        let list = folder.path().join(BAD_ROWS);
        let first =
            if (listed as u64) < record.bad_rows { format!("the first {listed} are in ") } else { String::new() };
        let _ = writeln!(text, "{rows} could not be read and {were} left out: {first}{}", list.display());
    }
    if let Some(labels) = &record.labels {
        text += &labels_text(labels, record.labelled_rows.unwrap_or_default());
    }
    for FarRecord { file, row, wanted, answered, .. } in record.worst.iter().flatten().take(FAR_ROWS_SHOWN) {
        let _ = writeln!(text, "  far off: row {row} of {file}: {answered} for {wanted}");
    }
    let _ = writeln!(text, "written: {}", record.output);
    text
}

fn labels_text(labels: &LabelsRecord, rows: u64) -> String {
    let Some(error) = labels.error else { return "no row has a label\n".to_owned() };
    let rows = counted(rows, "row");
    let mut text = if labels.classes.is_empty() {
        format!("root mean square error {error:.4} on {rows} with labels\n")
    } else {
        format!("error {:.2} % on {rows} with labels\n", 100.0 * error)
    };
    let percent =
        |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    for ClassRecord { class, rows, precision, recall, f1 } in &labels.classes {
        let [precision, recall, f1] = [*precision, *recall, *f1].map(percent);
        let rows = counted(*rows, "row");
        let _ = writeln!(text, "  {class}: {rows}, precision {precision}, recall {recall}, F1 {f1}");
    }
    text
}
