//! The report as Markdown: the tables and the remarks.

use super::Report;
use super::sheets::{self, Sheet};
use super::view::View;
use crate::results::remarks::{best_sentence, remarks};
use crate::results::show::printable;

pub(super) fn markdown(report: &Report<'_>) -> String {
    let run = report.run;
    let mut text = format!("# {}\n\n{}\n", escaped(&run.study), escaped(&best_sentence(run)));
    for sheet in sheets::of_report(report, &View::of(run)) {
        text.push_str(&sheet_text(&sheet));
    }
    text.push_str("\n## Remarks\n\n");
    for sentence in remarks(run) {
        text.extend([format!("- {}\n", escaped(&sentence))]);
    }
    text
}

fn sheet_text(sheet: &Sheet) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("\n## {}\n\n", sheet.title);
    text.push_str(&line(sheet.columns.iter().map(|column| escaped(&column.name)).collect()));
    let rule = |is_number: bool| if is_number { "---:" } else { "---" }.to_owned();
    text.push_str(&line(sheet.columns.iter().map(|column| rule(column.is_number)).collect()));
    for row in &sheet.rows {
        text.push_str(&line(row.iter().map(|cell| escaped(cell)).collect()));
    }
    if let Some(note) = &sheet.note {
        text.extend([format!("\n{}\n", escaped(note))]);
    }
    text
}

/// What Markdown would take for markup within a line, and what begins HTML, which Markdown takes as well. Quotes are
/// none: they only end attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in printable(text, usize::MAX).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => escaped.extend(['\\', character]),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Value;

    use super::*;
    use crate::results::fixtures::{configuration, finished, given_up, run};

    #[test]
    fn the_tables_are_markdown() {
        let record = run(vec![finished(0, 0.1), given_up(1, "no room")]);
        let text = markdown(&Report::of(&record));
        for expected in [
            "# quick\n\nbest: trial 0, validation error 10.00 %\n",
            "\n## Best trials\n\n| place | trial | validation error | test error | epochs | seconds | attempts | configuration |\n\
             | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n\
             | 1 | 0 | 10.00 % |  | 2 | 1.8 | 1 | fc1=64 learning\\_rate=0.03333 |\n",
            "\n| 1 | 4 | no room | fc1=128 learning\\_rate=0.03333 |\n",
            "\n## Remarks\n\n- 2 trials: 1 finished, 1 given up; ",
        ] {
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        }
    }

    #[test]
    fn a_hostile_name_is_no_markup() {
        let mut trial = finished(0, 0.1);
        trial.configuration = configuration(&[("x", Value::Choice("<b>|[a](b)`\n# c".into()))]);
        let text = markdown(&Report::of(&run(vec![trial])));
        assert!(text.contains("| x=&lt;b&gt;\\|\\[a\\](b)\\`\\\\n# c |\n"), "{text}");
    }

    #[test]
    fn quotes_stand_there_as_people_write_them() {
        let text = markdown(&Report::of(&run(vec![given_up(0, "it's \"full\" & <gone>")])));
        assert!(text.contains("| it's \"full\" &amp; &lt;gone&gt; |"), "{text}");
    }
}
