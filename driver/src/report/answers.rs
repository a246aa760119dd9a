//! The tables of what a model answered to the rows that it was applied to, beside their labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use broadsweep_common::details::{Confusion, Details};

use super::closer;
use super::sheets::{Sheet, number, text};
use crate::records::answers::{AnswersRecord, ClassRecord, FarRecord, LabelsRecord, OutputRecord, Told};
use crate::records::run::RunRecord;
use crate::results::show::{printable, short_real};

/// Classes, or values, in their table.
const NAMED_MAX: usize = 100;
/// Characters of a name.
const NAME_CHARACTERS_MAX: usize = 60;

/// The numbers that one looks for first.
pub(super) fn cards(answers: &AnswersRecord) -> Vec<(Cow<'static, str>, String)> {
    let mut cards = vec![("rows".into(), answers.rows.to_string())];
    if answers.bad_rows > 0 {
        cards.push(("rows left out".into(), answers.bad_rows.to_string()));
    }
    if let Some(labels) = &answers.labels {
        cards.extend(labels.error.map(|error| match labels.classes[..] {
            [] => ("root mean square error".into(), short_real(error)),
            _ => ("error".into(), percent(Some(error))),
        }));
    }
    cards.push(("rows a second".into(), answers.rows_per_s.to_string()));
    cards
}

/// All tables.
pub(super) fn sheets(run: &RunRecord) -> Vec<Sheet> {
    let Some(answers) = &run.answers else { return Vec::new() };
    let (labels, worst) = (answers.labels.as_ref(), answers.worst.as_deref());
    let of_labels = labels.map(|labels| [by_class(labels), by_output(labels)]);
    let taken = confusions(run).map(|confusions| closer::taken(run, &confusions, "What is taken for what"));
    of_labels.into_iter().flatten().chain(taken).chain(worst.map(far)).collect()
}

/// Rows by the class that was wanted, and the one that was answered; nothing where no classes are compared.
pub(super) fn confusions(run: &RunRecord) -> Option<Vec<Confusion>> {
    let labels = run.answers.as_ref()?.labels.as_ref()?;
    let rows = labels.confusion.iter().enumerate();
    let pairs = rows.flat_map(|(wanted, answered)| {
        let each = answered.iter().enumerate().filter(|(_, rows)| **rows > 0);
        each.map(move |(predicted, &rows)| ((wanted as u32, predicted as u32), rows))
    });
    let pairs: BTreeMap<_, _> = pairs.collect();
    (!pairs.is_empty()).then(|| Details::confusions_of(&pairs))
}

fn percent(share: Option<f64>) -> String {
    share.map(|share| format!("{:.2} %", 100.0 * share)).unwrap_or_default()
}

fn more(all: usize) -> Option<String> {
    (all > NAMED_MAX).then(|| format!("{} more are in applied.json", all - NAMED_MAX))
}

fn by_class(labels: &LabelsRecord) -> Sheet {
    let row = |ClassRecord { class, rows, precision, recall, f1 }: &ClassRecord| {
        let [precision, recall, f1] = [*precision, *recall, *f1].map(percent);
        vec![printable(class, NAME_CHARACTERS_MAX), rows.to_string(), precision, recall, f1]
    };
    Sheet {
        title: "By class",
        columns: vec![text("class"), number("rows"), number("precision"), number("recall"), number("F1")],
        rows: labels.classes.iter().take(NAMED_MAX).map(row).collect(),
        note: more(labels.classes.len()),
    }
}

fn by_output(labels: &LabelsRecord) -> Sheet {
    let shown = |value: &Option<f64>| value.map(short_real).unwrap_or_default();
    let row = |OutputRecord { output, rmse, mae }: &OutputRecord| {
        vec![printable(output, NAME_CHARACTERS_MAX), shown(rmse), shown(mae)]
    };
    Sheet {
        title: "By value",
        columns: vec![text("value"), number("root mean square error"), number("mean absolute error")],
        rows: labels.outputs.iter().take(NAMED_MAX).map(row).collect(),
        note: more(labels.outputs.len()),
    }
}

fn far(worst: &[FarRecord]) -> Sheet {
    let told = |told: &Told| match told {
        Told::Class(name) => printable(name, NAME_CHARACTERS_MAX),
        Told::Value(value) => value.map(short_real).unwrap_or_default(),
    };
    let row = |FarRecord { file, row, wanted, answered, distance }: &FarRecord| {
        let distance = distance.map(short_real).unwrap_or_default();
        vec![printable(file, NAME_CHARACTERS_MAX), row.to_string(), told(wanted), told(answered), distance]
    };
    Sheet {
        title: "Answers that are furthest off",
        columns: vec![text("file"), number("row"), text("label"), text("answer"), number("distance")],
        rows: worst.iter().map(row).collect(),
        note: (!worst.is_empty()).then(|| "rows of a file are counted from 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::counts::PartitionCounts;
    use crate::results::fixtures::run;

    fn applied(labels: Option<LabelsRecord>, worst: Vec<FarRecord>) -> RunRecord {
        let answers = AnswersRecord {
            output: "/out".to_owned(),
            rows: 12_345,
            bad_rows: 2,
            files: 1,
            partitions: 3,
            wall_s: 2.0,
            rows_per_s: 6_172,
            labelled_rows: labels.as_ref().map(|_| 10),
            worst: labels.as_ref().map(|_| worst),
            labels,
        };
        let partitions = PartitionCounts { planned: 3, applied: 3, ..PartitionCounts::default() };
        RunRecord { partitions, answers: Some(answers), ..run(Vec::new()) }
    }

    fn of_classes() -> LabelsRecord {
        let class = |name: &str, recall| ClassRecord {
            class: name.to_owned(),
            rows: 5,
            precision: None,
            recall,
            f1: Some(0.125),
        };
        LabelsRecord {
            error: Some(0.2),
            loss: Some(0.1),
            classes: vec![class("no", Some(0.6)), class("yes\u{1b}", None)],
            confusion: vec![vec![3, 2], vec![0, 5]],
            outputs: Vec::new(),
        }
    }

    #[test]
    fn classes_are_told_one_by_one_and_with_what_they_are_taken_for() {
        let far = FarRecord {
            file: "/x.csv".to_owned(),
            row: 7,
            wanted: Told::Class("no".to_owned()),
            answered: Told::Class("yes".to_owned()),
            distance: Some(2.5),
        };
        let run = applied(Some(of_classes()), vec![far]);
        let [classes, values, taken, worst] = &sheets(&run)[..] else { panic!("four tables") };
        assert_eq!(classes.rows, [["no", "5", "", "60.00 %", "12.50 %"], ["yes\\u{1b}", "5", "", "", "12.50 %"]]);
        assert!(values.rows.is_empty());
        assert_eq!(taken.rows, [["no", "3", "2"], ["yes\\u{1b}", "0", "5"]]);
        assert_eq!(worst.rows, [["/x.csv", "7", "no", "yes", "2.5"]]);
        let told = cards(run.answers.as_ref().unwrap());
        let told: Vec<_> = told.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let wanted = [("rows", "12345"), ("rows left out", "2"), ("error", "20.00 %"), ("rows a second", "6172")];
        assert_eq!(told, wanted);
    }

    #[test]
    fn values_are_told_in_their_units_and_without_labels_there_are_no_tables() {
        let output = OutputRecord { output: "price".to_owned(), rmse: Some(1.5), mae: None };
        let labels = LabelsRecord {
            error: Some(1.5),
            loss: None,
            classes: Vec::new(),
            confusion: Vec::new(),
            outputs: vec![output],
        };
        let run = applied(Some(labels), Vec::new());
        assert_eq!(sheets(&run)[1].rows, [["price", "1.5", ""]]);
        assert_eq!(confusions(&run), None);
        assert!(sheets(&applied(None, Vec::new())).is_empty());
    }
}
