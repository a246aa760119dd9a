//! What came of the partitions of an input beside the answers themselves: added up, and told.

use std::fmt::Write as _;

use anyhow::anyhow;
use broadsweep_common::application::{Applied, BadRow, FAR_ROWS_MAX, FarRow, LabelTally, Partition, Portion};
use broadsweep_common::schema::{Outputs, Schema};
use serde_json::{Value, json};

use super::Failure;
use super::application::{BAD_ROWS, ToApply};
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

    /// Adds what an executor told of a partition.
    pub(super) fn add(&mut self, partition: &Partition, applied: Applied) {
        let Applied { rows, bad_rows, bad, tally, far } = applied;
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

/// What came of it, for programs.
pub(super) fn summary(to_apply: &ToApply, sum: &Sum, wall_s: f64) -> Value {
    let ToApply { settings, application, schema, .. } = to_apply;
    let mut summary = json!({
        "output": settings.output.display().to_string(),
        "rows": sum.rows,
        "bad_rows": sum.bad_rows,
        "files": application.files.len(),
        "partitions": application.partitions.len(),
        "wall_s": wall_s,
        "rows_per_s": rate(sum.rows, wall_s),
    });
    if let (Some(tally), Some(fields)) = (&sum.tally, summary.as_object_mut()) {
        fields.insert("labelled_rows".to_owned(), tally.rows().into());
        fields.insert("labels".to_owned(), labels_json(schema, tally));
        fields.insert("worst".to_owned(), sum.far.iter().map(|row| far_json(to_apply, row)).collect());
    }
    summary
}

fn rate(rows: u64, wall_s: f64) -> u64 {
    (rows as f64 / wall_s.max(1e-3)) as u64
}

/// The metrics of a tally; null where there is nothing to tell them from.
fn labels_json(schema: &Schema, tally: &LabelTally) -> Value {
    let rows = tally.rows() as f64;
    match tally {
        LabelTally::Classes { loss, .. } => {
            let measures = by_class(schema, tally).into_iter();
            let classes = measures.map(|(name, ClassMeasures { rows, precision, recall, f1 })| {
                json!({ "class": name, "rows": rows, "precision": precision, "recall": recall, "f1": f1 })
            });
            let classes: Vec<_> = classes.collect();
            json!({ "error": error_of(tally), "loss": loss / rows, "classes": classes, "confusion": confusion(tally) })
        }
        LabelTally::Values { squared, absolute, .. } => {
            let each = squared.iter().zip(absolute).enumerate().map(|(output, (squared, absolute))| {
                let name = schema.output_name(output).unwrap_or_default();
                json!({ "output": name, "rmse": (squared / rows).sqrt(), "mae": absolute / rows })
            });
            json!({ "error": error_of(tally), "outputs": each.collect::<Vec<_>>() })
        }
    }
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
    (rows > 0.0).then_some(error)
}

/// How one class was answered; nothing where there are no rows to tell it from.
struct ClassMeasures {
    rows: u64,
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
}

/// In the order of the model's classes.
fn by_class<'s>(schema: &'s Schema, tally: &LabelTally) -> Vec<(&'s str, ClassMeasures)> {
    let confusion = confusion(tally);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let measures = |class: usize| {
        let right = confusion[class][class];
        let rows = added(confusion[class].iter().copied());
        let answered = added(confusion.iter().map(|wanted| wanted[class]));
        let f1 = share(right.saturating_mul(2), rows.saturating_add(answered));
        ClassMeasures { rows, precision: share(right, answered), recall: share(right, rows), f1 }
    };
    let names = schema.class_names().iter().take(confusion.len()).enumerate();
    names.map(|(class, name)| (name.as_str(), measures(class))).collect()
}

fn far_json(to_apply: &ToApply, FarRow { file, row, wanted, answered, distance }: &FarRow) -> Value {
    let shown = |value: f64| match to_apply.schema.class_names().get(value as usize) {
        Some(name) => json!(name),
        None => json!(value),
    };
    let (wanted, answered) = (shown(*wanted), shown(*answered));
    json!({ "file": path_of(to_apply, *file), "row": row, "wanted": wanted, "answered": answered, "distance": distance })
}

/// What came of it, for people.
pub(super) fn text(to_apply: &ToApply, folder: &RunFolder, sum: &Sum, on: &str, wall_s: f64) -> String {
    let ToApply { settings, application, schema, .. } = to_apply;
    let (files, partitions) = (application.files.len() as u64, application.partitions.len() as u64);
    let mut text = format!(
        "{} of {} in {}; {} a second\n{on}\n",
        counted(sum.rows, "row"),
        counted(files, "file"),
        counted(partitions, "partition"),
        counted(rate(sum.rows, wall_s), "row"),
    );
    if sum.bad_rows > 0 {
        let (rows, were) = (counted(sum.bad_rows, "row"), if sum.bad_rows == 1 { "was" } else { "were" });
        let list = folder.path().join(BAD_ROWS);
        let listed = sum.bad.len() as u64;
        let first = if listed < sum.bad_rows { format!("the first {listed} are in ") } else { String::new() };
        let _ = writeln!(text, "{rows} could not be read and {were} left out: {first}{}", list.display());
    }
    if let Some(tally) = &sum.tally {
        text += &labels_text(schema, tally);
        for row in sum.far.iter().take(FAR_ROWS_SHOWN) {
            let told = far_json(to_apply, row);
            let (wanted, answered) = (plain(&told["wanted"]), plain(&told["answered"]));
            let _ = writeln!(
                text,
                "  far off: row {} of {}: {answered} for {wanted}",
                row.row,
                path_of(to_apply, row.file)
            );
        }
    }
    let _ = writeln!(text, "written: {}", settings.output.display());
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn labels_text(schema: &Schema, tally: &LabelTally) -> String {
    let rows = counted(tally.rows(), "row");
    let Some(error) = error_of(tally) else { return "no row has a label\n".to_owned() };
    let mut text = match tally {
        LabelTally::Classes { .. } => format!("error {:.2} % on {rows} with labels\n", 100.0 * error),
        LabelTally::Values { .. } => format!("root mean square error {error:.4} on {rows} with labels\n"),
    };
    let percent =
        |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    for (name, ClassMeasures { rows, precision, recall, f1 }) in by_class(schema, tally) {
        let [precision, recall, f1] = [precision, recall, f1].map(percent);
        let rows = counted(rows, "row");
        let _ = writeln!(text, "  {name}: {rows}, precision {precision}, recall {recall}, F1 {f1}");
    }
    text
}
