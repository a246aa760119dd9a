//! The report for a terminal: the table that `tune` prints, then what happened where, and what went wrong.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

use super::sheets::{self, Sheet};
use super::view::View;
use super::{Report, answers, closer};
use crate::results::table::table;

/// Characters of a cell: a reason may hold what a failing program wrote.
const CELL_CHARACTERS_MAX: usize = 100;

pub(super) fn plain(report: &Report<'_>) -> String {
    let run = report.run;
    if let Some(comparison) = report.comparison {
        return comparison.text() + "\n";
    }
    let mut text = table(run, false);
    let took = [sheets::executors(run), sheets::attempts(run), sheets::reasons(run), sheets::given_up(run)];
    // What of a search sees nothing has neither beliefs nor rungs.
    let searched: Vec<_> =
        run.search.iter().flat_map(|_| sheets::searched(&View::of(run)).collect::<Vec<_>>()).collect();
    for sheet in searched.into_iter().chain(closer::sheets(run)).chain(answers::sheets(run)).chain(took) {
        if !sheet.rows.is_empty() {
            text.push('\n');
            text.push_str(&sheet_text(&sheet));
        }
    }
    text
}

fn sheet_text(sheet: &Sheet) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    let cell = |place: usize, content: &str| {
        let alignment = if sheet.columns[place].is_number { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(cut(content)).set_alignment(alignment)
    };
    table.set_header(sheet.columns.iter().enumerate().map(|(place, column)| cell(place, &column.name)));
    for row in &sheet.rows {
        table.add_row(row.iter().enumerate().map(|(place, content)| cell(place, content)));
    }
    let last = sheet.columns.len() - 1;
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, u16::from(place < last)));
    }
    let mut text = format!("{}\n", sheet.title);
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if let Some(note) = &sheet.note {
        text.extend([format!("{note}\n")]);
    }
    text
}

fn cut(content: &str) -> String {
    crate::results::show::printable(content, CELL_CHARACTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{finished, given_up, run};

    #[test]
    fn the_tables_follow_the_one_that_tune_prints() {
        let record = run(vec![finished(0, 0.1), given_up(1, "no room")]);
        let text = plain(&Report::of(&record));
        let tuned = table(&record, false);
        assert!(text.starts_with(&tuned));
        let expected = "
By executor
executor        attempts  completed  epochs  training s  measuring s
────────────────────────────────────────────────────────────────────
127.0.0.1:7070         5          2      10         7.5          1.2

Attempts by end
end        attempts  seconds of work
────────────────────────────────────
failed            3              5.2
completed         2              3.5

What went wrong
attempts  end     reason
─────────────────────────────
       3  failed  out of luck

Given up
trial  attempts  reason   configuration
───────────────────────────────────────────────────────
    1         4  no room  fc1=128 learning_rate=0.03333
";
        assert_eq!(&text[tuned.len()..], expected);
    }
}
