//! Studies whose trials are trained by somebody's program.

use std::time::Duration;

use broadsweep_common::configuration::Value;
use broadsweep_common::metrics::{Direction, MetricName, Objective};
use broadsweep_common::model::Loss;
use broadsweep_common::program::{Known, Piece, PrintedForm, ProgramDescription, Word, WorkerDescription};
use broadsweep_common::setting::Setting;
use broadsweep_common::task::{Select, TrainerDescription};

use super::{PROGRAM, configurations, resolves};
use crate::study::{LabelKind, ScalingKind, Study, parse};
use broadsweep_search::Domain;

fn good(text: &str) -> Study {
    parse(text, "s.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn described(study: &Study) -> ProgramDescription {
    let TrainerDescription::Program(program) = study.description(Vec::new()).trainer else { panic!("no program") };
    program
}

#[test]
fn a_program_has_its_command_its_files_and_its_objective() {
    let study = good(PROGRAM);
    let program = described(&study);
    assert_eq!(program.command.len(), 5);
    assert_eq!(program.command[3], Word::One(vec![Piece::Parameter("rate".to_owned())]));
    assert_eq!(program.command[4], Word::AllParameters);
    assert_eq!(program.epochs, Setting::Searched("epochs".to_owned()));
    assert_eq!(study.files, ["train.py", "data"]);
    assert!(study.data.is_none() && !study.watches_test() && !study.tests_the_best());
    let accuracy = MetricName::new("val_accuracy").unwrap();
    let objective = Objective { metric: accuracy.clone(), direction: Direction::Maximize };
    assert_eq!((study.objectives(), program.objective), (&objective.into(), accuracy));
    assert_eq!((study.loss(), study.search.select), (Loss::CrossEntropy, Select::Validation));
    let configurations = configurations(&study).unwrap();
    assert_eq!(configurations.len(), 8);
    assert!(configurations.iter().all(|one| resolves(&study, one)));
}

#[test]
fn a_range_that_is_wider_than_any_number_is_refused() {
    let text = "name = 'a'\n[trainer]\nkind = 'program'\ncommand = ['x', '$e']\nepochs = 1\n[search]\ntrials = 3\n\
                objective = 'loss'\n[search.space]\ne = { range = [-1.7e308, 1.7e308] }\n";
    let error = parse(text, "s.toml").unwrap_err();
    assert_eq!(error.message(), "`e` is wider than any number: its ends are further apart than 1.8e308");
}

#[test]
fn what_a_program_does_not_say_has_the_documented_defaults() {
    let study = good("name = 'a'\ntrainer = { kind = 'program', command = ['./train'] }");
    let expected = ProgramDescription {
        command: vec![Word::One(vec![Piece::Text("./train".to_owned())])],
        env_prefix: None,
        epochs: Setting::Fixed(1),
        printed: Vec::new(),
        objective: MetricName::VALIDATION_ERROR,
        outputs: Vec::new(),
        grace_ms: Duration::from_secs(30).as_millis() as u64,
        memory_bytes: None,
        disk_bytes: 64 << 30,
        worker: None,
        gpus: None,
        is_deterministic: false,
    };
    assert_eq!(described(&study), expected);
    assert_eq!(*study.objectives(), Select::Validation.objective().into());
    assert!(study.files.is_empty() && configurations(&study).unwrap().len() == 1);
}

#[test]
fn all_of_a_program_can_be_written() {
    let written = "epochs = 5
env_prefix = '/opt/env'
printed = ['assignments', 'tune-metric', 'keras']
pattern = 'auc: (?<auc>[0-9.]+)'
outputs = ['model.keras', 'logs/last.txt']
grace_s = 0.5
memory = '2GB'
disk = '1 GiB'
worker = { trials = 7, memory = '1GB' }
requires = { gpus = 2 }
deterministic = true";
    let program =
        described(&good(&PROGRAM.replace("epochs = '$epochs'", written).replace("epochs = { values = [2] }", "")));
    let forms = [PrintedForm::Assignments, PrintedForm::TuneMetric, PrintedForm::Keras];
    assert_eq!(program.printed[..3], forms);
    assert_eq!(program.printed[3], PrintedForm::Pattern("auc: (?<auc>[0-9.]+)".to_owned()));
    assert_eq!(program.outputs, ["model.keras", "logs/last.txt"]);
    assert_eq!((program.grace_ms, program.memory_bytes, program.disk_bytes), (500, Some(2_000_000_000), 1 << 30));
    assert_eq!((program.epochs, program.env_prefix), (Setting::Fixed(5), Some("/opt/env".to_owned())));
    assert_eq!(program.worker, Some(WorkerDescription { trials_max: 7, memory_bytes: Some(1_000_000_000) }));
    assert!(program.is_deterministic && program.gpus == Some(2));
}

#[test]
fn a_worker_takes_a_hundred_trials_unless_it_says_otherwise() {
    let worker =
        |text: &str| described(&good(&PROGRAM.replace("cost =", &format!("worker = {text}\ncost =")))).worker;
    let by_default = WorkerDescription { trials_max: 100, memory_bytes: None };
    assert_eq!((worker("true"), worker("{}"), worker("false")), (Some(by_default), Some(by_default), None));
    assert_eq!(worker("{ memory = '8B' }"), Some(WorkerDescription { memory_bytes: Some(8), ..by_default }));
}

#[test]
fn every_known_reference_may_stand_in_a_command_and_a_dollar_may_be_escaped() {
    let references: Vec<_> = Known::ALL.iter().map(|(name, _)| format!("'${{{name}}}', ")).collect();
    let references = references.concat();
    let study = good(&PROGRAM.replace("'${args}'", &format!("{references}'${{envvar:HOME}}/$${{rate}}', ''")));
    let program = described(&study);
    assert_eq!(program.command.len(), 4 + Known::ALL.len() + 2);
    let home = Piece::Variable("HOME".to_owned());
    let expected = [home, Piece::Text("/${rate}".to_owned())];
    assert_eq!(program.command[11], Word::One(expected.to_vec()));
}

#[test]
fn parameters_of_a_program_can_be_anything_and_arrive_as_they_are_written() {
    let study =
        good(&PROGRAM.replace("rate = { values = [0.1, 0.01] }", "rate = { values = [1, 0.5, 'auto', true] }"));
    let values = vec![Value::Integer(1), Value::Real(0.5), Value::Choice("auto".to_owned()), Value::Flag(true)];
    assert_eq!(study.search.space["rate"], Domain::Values(values));
}

#[test]
fn select_is_short_for_an_error_that_the_program_reports() {
    let rows = [("select = 'test'", Select::Test.objective()), ("", Select::Validation.objective())];
    for (written, objective) in rows {
        let study = good(&PROGRAM.replace("objective = 'val_accuracy'\ndirection = 'maximize'", written));
        assert_eq!((study.objectives().first(), described(&study).objective), (&objective, objective.metric.clone()));
        assert!(!study.watches_test());
    }
}

#[test]
fn a_program_may_have_objectives_that_decide_where_others_tie() {
    let written = "objectives = [{ metric = 'val_accuracy', direction = 'maximize' }, 'val_loss']";
    let study = good(&PROGRAM.replace("objective = 'val_accuracy'\ndirection = 'maximize'", written));
    let metrics: Vec<_> = study.objectives().iter().map(|one| (one.metric.as_str(), one.direction)).collect();
    assert_eq!(metrics, [("val_accuracy", Direction::Maximize), ("val_loss", Direction::Minimize)]);
    assert_eq!(described(&study).objective.as_str(), "val_accuracy");
    assert!(study.search.measures.is_empty());
}

#[test]
fn another_objective_is_another_search() {
    let digest = |text: &str| good(text).search_digest();
    let others = [
        PROGRAM.replace("'maximize'", "'minimize'"),
        PROGRAM.replace("val_accuracy", "accuracy"),
        PROGRAM.replace("objective = 'val_accuracy'\ndirection = 'maximize'", ""),
    ];
    for other in others {
        assert_ne!(digest(PROGRAM), digest(&other), "{other}");
    }
    assert_eq!(digest(PROGRAM), digest(&PROGRAM.replace("train.py", "other.py")));
}

#[test]
fn a_program_may_have_rows_and_files() {
    let rows = "format = 'npy'\ntrain_features = 'x'\ntrain_labels = 'y'\nfiles = ['train.py']";
    let study = good(&PROGRAM.replace("files = ['train.py', './data/']", rows));
    assert_eq!(
        study.data.as_ref().map(|data| (data.labels, data.scaling)),
        Some((LabelKind::Classes, ScalingKind::None))
    );
    assert_eq!(study.files, ["train.py"]);
    let shown = study.at("data.files.0", "gone").to_string();
    assert!(shown.starts_with("s.toml:11:10: gone"), "{shown}");
}

#[test]
fn a_program_is_given_test_rows_only_if_its_study_says_so() {
    let rows = |more: &str| {
        let text =
            "format = 'idx'\ntrain_features = 'x'\ntrain_labels = 'y'\nfiles = ['train.py']\n".to_owned() + more;
        PROGRAM.replace("files = ['train.py', './data/']", &text)
    };
    let test = "test_features = 'v'\ntest_labels = 'w'\n";
    let by_test = |text: &str| text.replace("'val_accuracy'", "'test_error'");
    for (name, text, given) in [
        ("none are named", rows(""), false),
        ("nothing is said", rows(test), false),
        ("all", rows(&format!("{test}test = 'all'\n")), true),
        ("by their error", by_test(&rows(test)), true),
        ("by their error, of which the program knows", by_test(&rows("")), false),
    ] {
        let study = good(&text);
        assert_eq!(study.description(Vec::new()).test_every_trial, given, "{name}");
        assert!(!study.tests_the_best(), "{name}");
    }
}

#[test]
fn labels_of_a_program_are_what_its_study_says() {
    for (written, labels, loss) in [
        ("", LabelKind::Classes, Loss::CrossEntropy),
        ("labels = 'classes'", LabelKind::Classes, Loss::CrossEntropy),
        ("labels = 'numbers'", LabelKind::Numbers, Loss::MeanSquaredError),
    ] {
        let rows = format!("format = 'csv'\ntrain_file = 'x'\nlabel_column = 'y'\n{written}");
        let study = good(&PROGRAM.replace("files = ['train.py', './data/']", &rows));
        assert_eq!((study.data.as_ref().unwrap().labels, study.loss()), (labels, loss), "{written}");
    }
}
