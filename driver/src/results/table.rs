//! The best trials and the control as a table for the terminal, and what there is to say about them.

use std::ops::RangeInclusive;

use broadsweep_common::metrics::MetricName;
use broadsweep_common::model::Loss;
use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

use super::fit::{Room, name_in, value_in};
use super::measured::{further, is_usual, metric_text, title};
use super::remarks::{LEFT_OUT, best_sentence, remarks, without_an_end};
use super::show::configuration_pairs;
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};

/// Trials in the table, besides the control.
const ROWS_MAX: usize = 10;
/// Columns of the terminal that sentences are made for, and the table where it can be.
const WIDTH: usize = 80;
/// Columns that the table may have beyond that, so that a trial is one row.
const TABLE_WIDTH_MAX: usize = 100;
/// Parameters that have a column each, however little room that leaves.
const PARAMETERS_MAX: usize = 6;
/// Characters that such a column has.
const ROOM: RangeInclusive<usize> = 6..=16;
/// Columns for what not every trainer measures.
const FURTHER_MAX: usize = 3;
/// What stands before a configuration on lines of its own.
const INDENT: &str = "    ";

/// The table of the best ten and of the control, then sentences: the best and how much lower its test error is
/// than the control's, what went wrong, and what the broadcast took. Lines end in `\n`.
///
/// Each parameter has a column. Where that is wider than 80 characters, names are broken over lines; up to 100 are used,
/// and names and values are shortened for six parameters. Beyond that, each configuration stands below its row instead.
/// `styled` makes the header and the best stand out with ANSI escapes; without it the text is plain.
#[must_use]
pub fn table(run: &RunRecord, styled: bool) -> String {
    let rows = shown_trials(run);
    let mut text = String::new();
    if !rows.is_empty() {
        let lines = lines_of_one_row_each(run, &rows);
        let lines = lines.unwrap_or_else(|| lines_with_configurations_below(run, &rows));
        let header_lines = lines.iter().position(|line| line.trim_start().starts_with('─')).unwrap_or_default();
        for (place, line) in lines.iter().enumerate() {
            push_line(&mut text, line, styled && place < header_lines);
        }
        text.push('\n');
    }
    push_sentence(&mut text, &best_sentence(run), styled);
    if let Some(best) = run.best() {
        for line in wrapped_configuration(best) {
            push_line(&mut text, &line, false);
        }
    }
    for sentence in remarks(run) {
        push_sentence(&mut text, &sentence, false);
    }
    text
}

/// A trial in the table, with its place among all that can be compared, counted from 1.
struct Row<'a> {
    place: Option<usize>,
    trial: &'a TrialRecord,
}

/// The columns after the configuration.
#[derive(Clone, PartialEq)]
enum Column {
    Metric(MetricName),
    Epochs,
    Seconds,
    Attempts,
}

impl Column {
    fn header(&self, loss: Loss) -> String {
        match self {
            // In several lines: an error is narrower than its name.
            Self::Metric(name) if is_usual(name) => {
                let lines = title(loss, name).replace(' ', "\n");
                lines.replace("root\nmean\nsquare\nerror", "root mean\nsquare error")
            }
            Self::Metric(name) => title(loss, name),
            Self::Epochs => "epochs".to_owned(),
            Self::Seconds => "seconds".to_owned(),
            Self::Attempts => "attempts".to_owned(),
        }
    }

    fn cell(&self, run: &RunRecord, trial: &TrialRecord) -> String {
        match self {
            Self::Metric(name) => {
                let otherwise = || if *name == run.objective().metric { outcome_word(run, trial) } else { "" };
                let value = trial.metric(name).map(|value| metric_text(run.loss, name, value));
                value.unwrap_or_else(|| otherwise().to_owned())
            }
            Self::Epochs => trial.curves.epochs().to_string(),
            Self::Seconds => format!("{:.1}", trial.training_s + trial.evaluation_s),
            Self::Attempts => trial.attempts.to_string(),
        }
    }
}

/// Why a trial in the table (the control) has no error.
fn outcome_word(run: &RunRecord, trial: &TrialRecord) -> &'static str {
    match trial.outcome {
        TrialOutcome::Finished { .. } => "",
        TrialOutcome::Diverged { .. } => "diverged",
        TrialOutcome::GivenUp { .. } => "given up",
        TrialOutcome::Paused { .. } => "paused",
        TrialOutcome::NotRun => without_an_end(run),
        TrialOutcome::LeftOut => LEFT_OUT,
    }
}

fn shown_trials(run: &RunRecord) -> Vec<Row<'_>> {
    let ranking = run.ranking();
    let place_of = |trial: &TrialRecord| ranking.iter().position(|ranked| ranked.trial == trial.trial);
    let control = run.control_trial().filter(|trial| place_of(trial).is_none_or(|index| index >= ROWS_MAX));
    let shown = ranking.iter().take(ROWS_MAX).copied().chain(control);
    shown.map(|trial| Row { place: place_of(trial).map(|index| index + 1), trial }).collect()
}

fn parameter_names<'a>(rows: &[Row<'a>]) -> Vec<&'a str> {
    let mut names: Vec<_> = rows.iter().flat_map(|row| row.trial.configuration.names()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Only what tells something: what ranks and what was measured, attempts where one was not enough.
fn shown_columns(run: &RunRecord, rows: &[Row<'_>]) -> Vec<Column> {
    let any = |has: &dyn Fn(&TrialRecord) -> bool| rows.iter().any(|row| has(row.trial));
    let objective = &run.objective().metric;
    let is_shown = |name: &MetricName| name == objective || any(&|trial| trial.metric(name).is_some());
    let errors = [MetricName::VALIDATION_ERROR, MetricName::TEST_ERROR];
    let objective_apart = (!errors.contains(objective)).then(|| objective.clone());
    let further = further(run).into_iter().filter(|name| name != objective).take(FURTHER_MAX);
    let metrics = objective_apart.into_iter().chain(errors).chain(further).filter(is_shown);
    let mut columns: Vec<_> = metrics.map(Column::Metric).collect();
    columns.extend([Column::Epochs, Column::Seconds]);
    if any(&|trial| trial.attempts > 1) {
        columns.push(Column::Attempts);
    }
    columns
}

/// The table with all parameters in its rows, as whole as there is room for: first names give way, then columns that
/// tell less than a parameter does.
fn lines_of_one_row_each(run: &RunRecord, rows: &[Row<'_>]) -> Option<Vec<String>> {
    let parameters = parameter_names(rows);
    let all = shown_columns(run, rows);
    let whole = [(WIDTH, Room::Whole), (WIDTH, Room::Stacked), (TABLE_WIDTH_MAX, Room::Whole)];
    let whole = whole.into_iter().chain([(TABLE_WIDTH_MAX, Room::Stacked)]).map(|(width, room)| (width, room, &all));
    let fewer = if parameters.len() <= PARAMETERS_MAX { fewer_and_fewer(&all) } else { Vec::new() };
    let narrow = fewer.iter().flat_map(|columns| {
        ROOM.rev().map(move |characters| (TABLE_WIDTH_MAX, Room::Characters(characters), columns))
    });
    whole.chain(narrow).find_map(|(width_max, room, columns)| {
        let lines = lines(run, rows, &parameters, room, columns);
        lines.iter().all(|line| line.chars().count() <= width_max).then_some(lines)
    })
}

/// The columns, and then without attempts, metrics that not every trainer has, seconds and epochs.
fn fewer_and_fewer(all: &[Column]) -> Vec<Vec<Column>> {
    let is_further = |column: &Column| matches!(column, Column::Metric(name) if !is_usual(name));
    let gives_way: [&dyn Fn(&Column) -> bool; 4] =
        [&|column| *column == Column::Attempts, &is_further, &|column| *column == Column::Seconds, &|column| {
            *column == Column::Epochs
        }];
    let mut fewer = vec![all.to_vec()];
    let mut left = all.to_vec();
    for goes in gives_way {
        // What ranks the trials comes first, and stays.
        let is_first = left.first().cloned();
        left.retain(|column| Some(column) == is_first.as_ref() || !goes(column));
        fewer.push(left.clone());
    }
    fewer
}

/// The header, a rule, and one line a row.
fn lines(run: &RunRecord, rows: &[Row<'_>], parameters: &[&str], room: Room, columns: &[Column]) -> Vec<String> {
    let right = |content: &str| Cell::new(content).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    let names = parameters.iter().map(|name| name_in(room, name));
    let headers = ["", "trial"].map(str::to_owned).into_iter().chain(names);
    table
        .set_header(headers.chain(columns.iter().map(|column| column.header(run.loss))).map(|header| right(&header)));
    for Row { place, trial } in rows {
        let place = place.map(|place| place.to_string()).unwrap_or_default();
        let is_control = Some(trial.trial) == run.control;
        let name = if is_control { "control".to_owned() } else { trial.trial.0.to_string() };
        let value =
            |name: &&str| trial.configuration.get(name).map(|value| value_in(room, value)).unwrap_or_default();
        let values = parameters.iter().map(value);
        let results = columns.iter().map(|column| column.cell(run, trial));
        table.add_row([place, name].into_iter().chain(values).chain(results).map(|cell| right(&cell)));
    }
    let last = parameters.len() + columns.len() + 1;
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, u16::from(place < last)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn lines_with_configurations_below(run: &RunRecord, rows: &[Row<'_>]) -> Vec<String> {
    let mut narrow = lines(run, rows, &[], Room::Whole, &shown_columns(run, rows));
    let row_lines = narrow.split_off(narrow.len() - rows.len());
    for (line, row) in row_lines.into_iter().zip(rows) {
        narrow.push(line);
        narrow.extend(wrapped_configuration(row.trial));
    }
    narrow
}

/// Indented lines of whole `name=value` pairs.
fn wrapped_configuration(trial: &TrialRecord) -> Vec<String> {
    wrap(configuration_pairs(&trial.configuration), INDENT)
}

/// What may follow a number, and is read with it.
const UNITS: [&str; 11] = ["%", "ms", "s", "min", "h", "d", "B", "KiB", "MiB", "GiB", "TiB"];

/// The words of a sentence. A number and its unit are one: no line ends between them.
pub(super) fn words(sentence: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        let is_unit = UNITS.contains(&word.trim_end_matches([',', ';', ':', '.', ')']));
        match words.last_mut() {
            Some(number) if is_unit && number.ends_with(|last: char| last.is_ascii_digit()) => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// Lines of whole items, as many as the terminal is wide for; an item that is wider has a line of its own.
pub(super) fn wrap(items: impl IntoIterator<Item = String>, first_indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            None => lines.push(format!("{first_indent}{item}")),
            Some(line) if line.chars().count() + 1 + item.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(&item);
            }
            Some(_) => lines.push(format!("{INDENT}{item}")),
        }
    }
    lines
}

fn push_sentence(text: &mut String, sentence: &str, bold: bool) {
    for line in wrap(words(sentence), "") {
        push_line(text, &line, bold);
    }
}

fn push_line(text: &mut String, line: &str, bold: bool) {
    let (start, end) = if bold { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    text.push_str(start);
    text.push_str(line);
    text.push_str(end);
    text.push('\n');
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
