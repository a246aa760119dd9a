//! Bad studies, listed in `bad.txt`: each with the first line of its error and what the carets stand under.
//!
//! ```text
//! what is bad
//!   on csv                     (or replay, recorded, program: the study that is changed; `good` if left out)
//!   - what it says             (lines that stand in it once)
//!   + what it says instead
//!   > the first line of the error
//!   ^ what the carets stand under
//! ```

use std::fmt::Write as _;

use super::{GOOD, PROGRAM, RECORDED, REPLAY};
use crate::study::parse;

const CSV: &str = "name = 'a'
[data]
format = 'csv'
train_file = 'a.csv'
label_column = 'price'
feature_columns = ['a', 'b']
validation_rows = 9
[model]
loss = 'mean_squared_error'
layers = [{ kind = 'dense', units = 1 }]
[training]
optimizer = 'adam'
learning_rate = 0.1
epochs = 1
";

#[derive(Default)]
struct Case {
    name: String,
    on: String,
    from: Vec<String>,
    to: Vec<String>,
    error: String,
    marked: String,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("bad.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let Some(part) = line.strip_prefix("  ") else {
            cases.push(Case { name: line.to_owned(), ..Case::default() });
            continue;
        };
        let case = cases.last_mut().expect("a name comes first");
        let (mark, rest) = part.split_once(' ').unwrap_or((part, ""));
        match mark {
            "on" => rest.clone_into(&mut case.on),
            "-" => case.from.push(rest.to_owned()),
            "+" => case.to.push(rest.to_owned()),
            ">" => rest.clone_into(&mut case.error),
            "^" => rest.clone_into(&mut case.marked),
            other => panic!("`{other}` in {}", case.name),
        }
    }
    cases
}

impl Case {
    fn text(&self) -> String {
        let (from, to) = (self.from.join("\n"), self.to.join("\n"));
        let study = match self.on.as_str() {
            "" => GOOD,
            "csv" => CSV,
            "replay" => REPLAY,
            "recorded" => RECORDED,
            "program" => PROGRAM,
            "nothing" => return to,
            other => panic!("no study `{other}`"),
        };
        assert_eq!(study.matches(&from).count(), 1, "{}: `{from}` has to stand in the study once", self.name);
        study.replace(&from, &to)
    }
}

#[test]
fn every_bad_study_names_its_place_and_what_was_meant() {
    let mut differences = String::new();
    for case in cases() {
        let (error, marked) = match parse(&case.text(), "s.toml") {
            Ok(_) => ("no error".to_owned(), String::new()),
            Err(diagnostic) => {
                let shown = diagnostic.to_string();
                let lines: Vec<_> = shown.lines().collect();
                let carets = lines[3].chars().position(|character| character == '^').unwrap();
                let under = lines[2].chars().skip(carets).take(lines[3].matches('^').count()).collect();
                (lines[0].to_owned(), under)
            }
        };
        if (&error, &marked) != (&case.error, &case.marked) {
            write!(differences, "\n{}\n  > {error}\n  ^ {marked}\n", case.name).unwrap();
        }
    }
    assert!(differences.is_empty(), "these differ from bad.txt:\n{differences}");
}

#[test]
fn an_error_shows_the_line_the_carets_and_a_way_out() {
    let shown = parse(&GOOD.replace("momentum = 0.9", "momentun = 0.9"), "studies/s.toml").unwrap_err().to_string();
    let expected = "\
studies/s.toml:25:1: unknown key `momentun` in [training]; did you mean `momentum`?
   |
25 | momentun = 0.9
   | ^^^^^^^^
   = [training] has: optimizer, learning_rate, learning_rate_decay, momentum, nesterov, beta1, beta2, epsilon, \
weight_decay, l2, batch_size, epochs, early_stop";
    assert_eq!(shown, expected);
}
