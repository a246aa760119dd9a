//! The tables of the closer looks at the best: what a constant guess gets, which classes are taken for which, and the
//! rows that are worst.

use std::borrow::Cow;
use std::collections::BTreeSet;

use broadsweep_common::dataset::Part;
use broadsweep_common::details::{Answer, Confusion, Details, WorstRow};

use super::sheets::{Column, Sheet, number, text};
use crate::records::run::{DetailsRecord, RunRecord};
use crate::results::guess::class_name;
use crate::results::measured::{metric_text, title};
use crate::results::show::{counted, printable, short_real};

/// Classes that have a row and a column each; of more, the most frequent confusions are listed.
pub(super) const CLASSES_MAX: usize = 20;
/// Confusions in their list.
const CONFUSIONS_MAX: usize = 20;
/// Characters of a class's name.
const NAME_CHARACTERS_MAX: usize = 24;

/// All tables, part by part.
pub(super) fn sheets(run: &RunRecord) -> Vec<Sheet> {
    let of_part = |record: &DetailsRecord| [guess(run, record), confusion(run, record), worst(run, record)];
    run.details.iter().flat_map(of_part).collect()
}

/// The classes that occur or are predicted, in order.
pub(super) fn classes(confusions: &[Confusion]) -> Vec<u32> {
    let both = confusions.iter().flat_map(|pair| [pair.wanted, pair.predicted]);
    both.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Rows of one class that were taken for another one.
pub(super) fn rows_of(confusions: &[Confusion], wanted: u32, predicted: u32) -> u64 {
    let found = confusions.iter().find(|pair| (pair.wanted, pair.predicted) == (wanted, predicted));
    found.map_or(0, |pair| pair.rows)
}

/// A class's name, as long as a table can show it.
pub(super) fn shown_class(run: &RunRecord, class: u32) -> String {
    printable(&class_name(run, class), NAME_CHARACTERS_MAX)
}

fn guess(run: &RunRecord, record: &DetailsRecord) -> Sheet {
    let best = run.trials.iter().find(|trial| trial.trial == record.trial);
    let row = |(name, value): (&_, f64)| {
        let of_best = best.and_then(|best| best.metric(name));
        let shown = |value| metric_text(run.loss, name, value);
        vec![title(run.loss, name), of_best.map(shown).unwrap_or_default(), shown(value)]
    };
    Sheet {
        title: match record.part {
            Part::Test => "A constant guess, test rows",
            Part::Train | Part::Validation => "A constant guess, validation rows",
        },
        columns: vec![text("metric"), number("best"), number("constant guess")],
        rows: record.details.guess.iter().map(row).collect(),
        note: None,
    }
}

fn confusion(run: &RunRecord, record: &DetailsRecord) -> Sheet {
    let title = match record.part {
        Part::Test => "What is taken for what, test rows",
        Part::Train | Part::Validation => "What is taken for what, validation rows",
    };
    taken(run, &record.details.confusions, title)
}

/// What is taken for what.
pub(super) fn taken(run: &RunRecord, confusions: &[Confusion], title: &'static str) -> Sheet {
    let classes = classes(confusions);
    if classes.len() > CLASSES_MAX {
        return most_confused(run, confusions, title);
    }
    let row = |wanted: &u32| {
        let counts = classes.iter().map(|predicted| rows_of(confusions, *wanted, *predicted).to_string());
        [shown_class(run, *wanted)].into_iter().chain(counts).collect()
    };
    let taken = |class: &u32| Column { name: Cow::Owned(shown_class(run, *class)), is_number: true };
    Sheet {
        title,
        columns: [text("is \\ taken for")].into_iter().chain(classes.iter().map(taken)).collect(),
        rows: classes.iter().map(row).collect(),
        note: None,
    }
}

fn most_confused(run: &RunRecord, confusions: &[Confusion], title: &'static str) -> Sheet {
    let mut wrong: Vec<_> = confusions.iter().filter(|pair| pair.wanted != pair.predicted).collect();
    wrong.sort_by_key(|pair| std::cmp::Reverse(pair.rows));
    let row = |pair: &&Confusion| {
        vec![shown_class(run, pair.wanted), shown_class(run, pair.predicted), pair.rows.to_string()]
    };
    Sheet {
        title,
        columns: vec![text("is"), text("taken for"), number("rows")],
        rows: wrong.iter().take(CONFUSIONS_MAX).map(row).collect(),
        note: (wrong.len() > CONFUSIONS_MAX).then(|| format!("{} more pairs", wrong.len() - CONFUSIONS_MAX)),
    }
}

/// What there is to say of the worst rows: of classes, how many others are wrong, too.
fn worst_note(details: &Details) -> Option<String> {
    const COUNTED: &str = "rows of the part are counted from 0";
    let wrong: u64 =
        details.confusions.iter().filter(|pair| pair.wanted != pair.predicted).map(|pair| pair.rows).sum();
    let listed = details.worst.len() as u64;
    match (listed, wrong) {
        (0, _) => None,
        (_, 0) => Some(COUNTED.to_owned()),
        _ if wrong == listed + 1 => Some(format!("{COUNTED}; 1 row more is wrong")),
        _ if wrong > listed => Some(format!("{COUNTED}; {} more are wrong", counted(wrong - listed, "row"))),
        _ => Some(format!("{COUNTED}; no other row is wrong")),
    }
}

fn worst(run: &RunRecord, record: &DetailsRecord) -> Sheet {
    let listed = |values: &[f64]| values.iter().map(|value| short_real(*value)).collect::<Vec<_>>().join(" ");
    let row = |worst: &WorstRow| {
        let [wanted, predicted] = match &worst.answer {
            Answer::Class { wanted, predicted } => [*wanted, *predicted].map(|class| shown_class(run, class)),
            Answer::Values { wanted, predicted } => [wanted, predicted].map(|values| listed(values)),
        };
        vec![worst.row.to_string(), wanted, predicted, short_real(worst.loss)]
    };
    Sheet {
        title: match record.part {
            Part::Test => "Worst rows, test rows",
            Part::Train | Part::Validation => "Worst rows, validation rows",
        },
        columns: vec![number("row"), text("is"), text("taken for"), number("loss")],
        rows: record.details.worst.iter().map(row).collect(),
        note: worst_note(&record.details),
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TrialId;
    use broadsweep_common::metrics::{MetricName, Metrics};

    use super::*;
    use crate::results::fixtures::{finished, run};

    fn looked(confusions: Vec<Confusion>, worst: Vec<WorstRow>) -> RunRecord {
        let guess = Metrics::from_iter([(MetricName::VALIDATION_ERROR, 0.5)]);
        let details = Details { guess, confusions, worst };
        let record = DetailsRecord { trial: TrialId(0), part: Part::Validation, details };
        RunRecord { details: vec![record], ..run(vec![finished(0, 0.25)]) }
    }

    fn pair(wanted: u32, predicted: u32, rows: u64) -> Confusion {
        Confusion { wanted, predicted, rows }
    }

    #[test]
    fn few_classes_are_a_square_and_a_guess_stands_beside_the_best() {
        let row = WorstRow { row: 7, loss: 2.5, answer: Answer::Class { wanted: 2, predicted: 0 } };
        let [guess, confusion, worst] = &sheets(&looked(vec![pair(0, 0, 5), pair(2, 0, 1)], vec![row]))[..] else {
            panic!("three tables a part")
        };
        assert_eq!(guess.rows, [["validation error", "25.00 %", "50.00 %"]]);
        assert_eq!(confusion.rows, [["0", "5", "0"], ["2", "1", "0"]]);
        assert_eq!(
            confusion.columns.iter().map(|column| &column.name[..]).collect::<Vec<_>>(),
            ["is \\ taken for", "0", "2"]
        );
        assert_eq!(worst.rows, [["7", "2", "0", "2.5"]]);
        assert_eq!(worst.note.as_deref(), Some("rows of the part are counted from 0; no other row is wrong"));
    }

    #[test]
    fn of_many_classes_the_most_frequent_confusions_are_listed() {
        let pairs: Vec<_> =
            (0..25).flat_map(|class| [pair(class, class, 9), pair(class, 0, u64::from(class))]).collect();
        let sheet = &sheets(&looked(pairs, Vec::new()))[1];
        assert_eq!(
            (&sheet.rows[0][..], sheet.rows.len()),
            (&["24", "0", "24"].map(str::to_owned)[..], CONFUSIONS_MAX)
        );
        assert_eq!(sheet.note.as_deref(), Some("4 more pairs"));
    }

    #[test]
    fn wrong_rows_that_are_not_listed_are_counted() {
        let row = || WorstRow { row: 7, loss: 2.5, answer: Answer::Class { wanted: 2, predicted: 0 } };
        let note = |wrong, listed: Vec<WorstRow>| {
            sheets(&looked(vec![pair(0, 0, 5), pair(2, 0, wrong)], listed))[2].note.clone().unwrap_or_default()
        };
        assert_eq!(note(4, vec![row(), row()]), "rows of the part are counted from 0; 2 rows more are wrong");
        assert_eq!(note(2, vec![row()]), "rows of the part are counted from 0; 1 row more is wrong");
        assert_eq!(note(0, Vec::new()), "", "there is no table");
    }

    #[test]
    fn numbers_are_told_as_they_are() {
        let answer = Answer::Values { wanted: vec![1.5, 2.0], predicted: vec![0.25, -3.0] };
        let sheets = sheets(&looked(Vec::new(), vec![WorstRow { row: 0, loss: 0.5, answer }]));
        assert!(sheets[1].rows.is_empty(), "numbers are not taken for one another");
        assert_eq!(sheets[2].rows, [["0", "1.5 2", "0.25 -3", "0.5"]]);
    }
}
