//! Tests of whole studies.

mod bad;
mod changes;
mod conditions;
mod good;
mod hostile;
mod program;
mod replay;
mod sampling;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::TrialId;
use broadsweep_common::model::ModelDescription;
use broadsweep_common::task::TrainerDescription;
use broadsweep_common::training::TrainingDescription;

use super::{DataSettings, Diagnostic, ReplaySettings, Study, Trainer};

/// A study that uses much of the format; other tests change it.
const GOOD: &str = include_str!("good.toml");

/// A study that trains nothing.
const REPLAY: &str = "name = 'a'
[trainer]
kind = 'replay'
seconds = '$pause'
epochs = 3
error = '$error'
[search]
sampler = 'grid'
[search.space]
pause = { range = [0, 2], count = 3 }
error = { values = [0.5, 1] }
[control]
pause = 0.25
error = 0
";

/// One that replays an earlier run, whose search it repeats.
const RECORDED: &str = "name = 'a'
[trainer]
kind = 'replay'
recorded = 'run/trials.csv'
speed = 10
[search]
sampler = 'grid'
[search.space]
rate = { log_range = [0.01, 1], count = 3 }
act = { values = ['relu', 'tanh'] }
";

/// One that runs somebody's program.
const PROGRAM: &str = "name = 'a'
[trainer]
kind = 'program'
command = ['python', 'train.py', '--lr', '${rate}', '${args}']
epochs = '$epochs'
cost = 'epochs * units'
[data]
files = ['train.py', './data/']
[search]
sampler = 'grid'
objective = 'val_accuracy'
direction = 'maximize'
[search.space]
rate = { values = [0.1, 0.01] }
units = { values = [16, 32] }
epochs = { values = [2] }
act = { values = ['relu', 'a b'] }
";

/// The examples, by the path from the workspace.
const EXAMPLES: &[(&str, &str)] = &[
    ("examples/mnist/article.toml", include_str!("../../../../examples/mnist/article.toml")),
    ("examples/mnist/small.toml", include_str!("../../../../examples/mnist/small.toml")),
    ("examples/mnist/branches.toml", include_str!("../../../../examples/mnist/branches.toml")),
    ("examples/mnist/quick.toml", include_str!("../../../../examples/mnist/quick.toml")),
    ("tests/studies/tiny.toml", include_str!("../../../../tests/studies/tiny.toml")),
];

/// The network that a study trains.
fn network(study: &Study) -> (&ModelDescription, &TrainingDescription) {
    let Trainer::Network { model, training } = &study.trainer else { panic!("a replay") };
    (model, training)
}

/// What the search of a study starts with.
fn configurations(study: &Study) -> Result<Vec<Configuration>, Diagnostic> {
    let drawn = study.drawn()?;
    Ok(drawn.into_iter().map(|(configuration, _)| configuration).collect())
}

fn data(study: &Study) -> &DataSettings {
    study.data.as_ref().unwrap()
}

/// Whether the trainer of a good study gives every setting its value.
fn resolves(study: &Study, configuration: &Configuration) -> bool {
    if matches!(study.trainer, Trainer::Replay(ReplaySettings::Recorded { .. })) {
        return true; // its file says more
    }
    match study.description(Vec::new()).trainer {
        TrainerDescription::Network { model, training } => {
            model.resolve(configuration).is_ok() && training.resolve(configuration).is_ok()
        }
        TrainerDescription::Replay(replay) => replay.resolve(TrialId(0), configuration).is_ok(),
        TrainerDescription::Program(program) => program.epochs.resolve(configuration, "epochs").is_ok(),
        TrainerDescription::Model(_) | TrainerDescription::Mapper(_) => true,
    }
}

/// [`GOOD`] with its one `from` replaced.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` has to stand in the good study once");
    GOOD.replace(from, to)
}

/// [`GOOD`] with everything from the line `head` up to the next table replaced.
fn with_table(head: &str, table: &str) -> String {
    let start = GOOD.find(head).unwrap();
    let end = GOOD[start + 1..].find("\n[").map_or(GOOD.len(), |next| start + 1 + next + 1);
    format!("{}{table}\n{}", &GOOD[..start], &GOOD[end..])
}
