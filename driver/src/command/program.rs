//! What `broadsweep check` says of a program: its command as it will be run, and what its trials are worth.

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::metrics::Direction;
use broadsweep_common::program::{Known, Piece, PrintedForm, ProgramDescription, Word, all_parameters, value_text};

use super::check::{Costs, range};
use crate::plan::TrialPlan;
use crate::results::show::{bytes_text, counted, printable, value_text as short_text};
use crate::study::{ProgramSettings, Study};

/// Characters of a command that are shown.
const COMMAND_CHARACTERS_MAX: usize = 2000;

/// The command of the first trial, and how trials are compared, placed and bounded.
pub(super) fn describe_program(
    study: &Study,
    trials: &[TrialPlan],
    settings: &ProgramSettings,
    together: &Costs,
) -> String {
    let program = &settings.description;
    let command = trials.first().map_or_else(String::new, |first| command_text(program, first));
    let objective = study.objectives().first();
    let direction = match objective.direction {
        Direction::Minimize => "the smaller the better",
        Direction::Maximize => "the larger the better",
    };
    let ties = study.objectives().iter().skip(1).map(|tie| printable(tie.metric.as_str(), usize::MAX));
    let ties = ties.map(|metric| format!(", then {metric}")).collect::<Vec<_>>().concat();
    let cost = settings.cost.as_ref().map_or("epochs", |cost| cost.text());
    let gpus = match program.gpus {
        None => String::new(),
        Some(0) => "; it sees no GPU".to_owned(),
        Some(gpus) => format!("; {} for itself", counted(gpus.into(), "GPU")),
    };
    let memory = program.memory_bytes.map_or("its slot's share".to_owned(), bytes_text);
    format!(
        "\x20 command      {command}\n\
         \x20 compared by  {metric}, {direction}{ties}; read from the metrics file{printed}\n\
         \x20 cost         {costs} a trial ({cost}), {total} in all, {at_best}{spread} on the busiest of 13 slots{order}\n\
         \x20 memory       {memory} an attempt, {disk} of disk{gpus}\n\
         \x20 time         unknown: no program is timed beforehand; `broadsweep forecast` tells it for other clusters, once \
         a run has been measured\n",
        metric = printable(objective.metric.as_str(), usize::MAX),
        printed = printed_text(&program.printed),
        costs = range(trials, |trial| trial.flops, |cost| number(cost as f64 / 1e6)),
        cost = printable(cost, 80),
        total = number(together.all),
        at_best = if together.order.is_empty() { "at best " } else { "" },
        spread = number(together.on_13),
        order = together.order,
        disk = bytes_text(program.disk_bytes),
    )
}

fn number(value: f64) -> String {
    short_text(&Value::Real(value))
}

fn printed_text(forms: &[PrintedForm]) -> String {
    let names = forms.iter().map(|form| match form {
        PrintedForm::Assignments => " and lines `name=value`".to_owned(),
        PrintedForm::TuneMetric => " and lines `[tune-metric]: {...}`".to_owned(),
        PrintedForm::Keras => " and the progress of Keras".to_owned(),
        PrintedForm::Pattern(pattern) => format!(" and lines like {}", printable(pattern, 80)),
    });
    names.collect()
}

/// The words of a trial's command, as a shell would need them. What only an executor knows stays a reference.
fn command_text(program: &ProgramDescription, trial: &TrialPlan) -> String {
    let words = program.command.iter().flat_map(|word| match word {
        Word::AllParameters => all_parameters(&trial.configuration),
        Word::One(pieces) => {
            vec![pieces.iter().map(|piece| filled(piece, &trial.configuration, trial.epochs)).collect()]
        }
    });
    let words: Vec<_> = words.map(|word| quoted(&word)).collect();
    printable(&words.join(" "), COMMAND_CHARACTERS_MAX)
}

fn filled(piece: &Piece, configuration: &Configuration, epochs: u32) -> String {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Parameter(name) => configuration.get(name).map_or_else(|| format!("${{{name}}}"), value_text),
        Piece::Known(Known::Trial) => "0".to_owned(),
        Piece::Known(Known::Epochs) => epochs.to_string(),
        Piece::Known(known) => {
            let name = Known::ALL.iter().find(|(_, one)| one == known).map_or("", |(name, _)| name);
            format!("${{{name}}}")
        }
        Piece::Variable(name) => format!("${{envvar:{name}}}"),
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_-./=,:+@%${}".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Planner;
    use crate::study::{Trainer, parse};
    use broadsweep_data as data;

    #[test]
    fn a_program_is_shown_as_the_first_trial_runs_it() {
        let text = r#"
name = "a"
[trainer]
kind = "program"
command = ["python", "my train.py", "${args}", "-n${epochs}", "--out=${slot_dir}", "it's ${trial}", "${word}"]
epochs = 3
cost = "epochs * units"
printed = ["keras"]
pattern = 'auc: (?<auc>\S+)'
memory = "2GiB"
requires = { gpus = 1 }
[search]
sampler = "grid"
objective = "auc"
direction = "maximize"
[search.space]
units = { values = [10, 20] }
word = { values = ["a b"] }
"#;
        let study = parse(text, "s.toml").unwrap();
        let (trainer, header) = (study.description(Vec::new()).trainer, data::without_rows().unwrap().header);
        let drawn = study.drawn().unwrap();
        let plan = Planner::new(&study, &trainer, &header).plan_all(drawn).unwrap();
        let Trainer::Program(settings) = &study.trainer else { panic!("no program") };
        let together = Costs { all: 90.0, on_13: 60.0, order: String::new() };
        let shown = describe_program(&study, &plan, settings, &together);
        let expected = r"  command      python 'my train.py' --units=10 '--word=a b' -n3 --out=${slot_dir} 'it'\''s 0' 'a b'
  compared by  auc, the larger the better; read from the metrics file and the progress of Keras and lines like auc: (?<auc>\S+)
  cost         30 to 60 a trial (epochs * units), 90 in all, at best 60 on the busiest of 13 slots
  memory       2.0 GiB an attempt, 64.0 GiB of disk; 1 GPU for itself
  time         unknown: no program is timed beforehand; `broadsweep forecast` tells it for other clusters, once a run has been measured
";
        assert_eq!(shown, expected);
    }
}
