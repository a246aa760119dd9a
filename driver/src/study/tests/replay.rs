//! Studies that train nothing.

use std::path::Path;
use std::time::Duration;

use broadsweep_common::configuration::{Configuration, PARAMETERS_MAX, TEXT_BYTES_MAX, Value};
use broadsweep_common::ids::TrialId;
use broadsweep_common::model::Loss;
use broadsweep_common::replay::{Recording, Replay, ReplayDescription, ReplayEnd};
use broadsweep_common::task::{Select, TrainerDescription};

use super::{GOOD, RECORDED, REPLAY, changed, configurations, network};
use crate::study::{ReplaySettings, Study, Trainer, parse};
use broadsweep_search::Domain;

fn good(text: &str) -> Study {
    parse(text, "s.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn replays(study: &Study, recording: &[Replay]) -> ReplayDescription {
    let TrainerDescription::Replay(replay) = study.description(recording.to_vec()).trainer else {
        panic!("not a replay");
    };
    replay
}

#[test]
fn a_replay_needs_neither_data_nor_model_and_its_settings_can_be_searched() {
    let study = good(REPLAY);
    assert!(study.data.is_none());
    assert_eq!((study.loss(), study.search.select), (Loss::CrossEntropy, Select::Validation));
    assert!(!study.watches_test() && !study.tests_the_best());
    let configurations = configurations(&study).unwrap();
    let shown: Vec<_> = configurations.iter().map(ToString::to_string).collect();
    assert_eq!(shown[..3], ["error=0 pause=0.25", "error=0.5 pause=0", "error=0.5 pause=1"]);
    assert_eq!(shown.len(), 7);
    let replay = replays(&study, &[]).resolve(TrialId(0), &configurations[0]).unwrap();
    assert_eq!((replay.wait, replay.epochs), (Duration::from_millis(750), 3));
}

#[test]
fn a_replay_has_one_epoch_unless_it_says_otherwise() {
    let study = good("name = 'a'\ntrainer = { kind = 'replay', seconds = 2, error = 0.5 }");
    let replay = replays(&study, &[]).resolve(TrialId(0), &Configuration::default()).unwrap();
    assert_eq!((replay.wait, replay.epochs), (Duration::from_secs(2), 1));
}

#[test]
fn a_recording_is_a_file_with_a_speed_and_its_rows_come_later() {
    let study = good(RECORDED);
    let Trainer::Replay(ReplaySettings::Recorded { file, speed }) = &study.trainer else { panic!("not recorded") };
    assert_eq!((file.as_path(), speed.to_bits()), (Path::new("run/trials.csv"), 10.0_f64.to_bits()));
    let row = Replay { wait: Duration::from_secs(1), epochs: 2, end: ReplayEnd::Diverged };
    let expected = ReplayDescription::Recorded(Recording::of(vec![row.clone()]));
    assert_eq!(replays(&study, &[row]), expected);
    let full_speed = good(&RECORDED.replace("speed = 10\n", ""));
    assert!(matches!(full_speed.trainer, Trainer::Replay(ReplaySettings::Recorded { speed: 1.0, .. })));
}

#[test]
fn a_recordings_parameters_are_its_own_and_can_be_anything() {
    let study = good(RECORDED);
    assert_eq!(
        study.search.space["act"],
        Domain::Values(vec![Value::Choice("relu".into()), Value::Choice("tanh".into())])
    );
    for (ends, real) in [("[0.01, 1]", true), ("[1, 2.5]", true), ("[1, 4]", false)] {
        let study = good(&RECORDED.replace("[0.01, 1]", ends));
        assert_eq!(matches!(study.search.space["rate"], Domain::Reals { .. }), real, "{ends}");
    }
}

#[test]
fn a_recording_may_be_compared_by_its_test_errors() {
    let study = good(&RECORDED.replace("[search]", "[search]\nselect = 'test'"));
    assert_eq!(study.search.select, Select::Test);
    assert!(!study.watches_test());
}

#[test]
fn a_replay_may_name_data_to_be_broadcast() {
    let data = "[data]\nformat = 'idx'\ntrain_features = 'x'\ntrain_labels = 'y'\ntest_features = 'tx'\ntest_labels = 'ty'\n";
    let study = good(&format!("{REPLAY}{data}"));
    assert!(study.data.is_some() && !study.tests_the_best());
}

#[test]
fn a_trainer_is_a_network_unless_it_says_otherwise() {
    for trainer in ["[trainer]", "[trainer]\nkind = 'network'"] {
        let written = good(&changed("[model]", &format!("{trainer}\n[model]")));
        assert_eq!(network(&written), network(&good(GOOD)));
    }
}

/// A recorded study with these parameters and no others.
fn recorded_with(parameters: &str) -> String {
    let start = RECORDED.find("rate =").unwrap();
    format!("{}{parameters}", &RECORDED[..start])
}

#[test]
fn a_configuration_that_no_launch_can_carry_is_refused_with_its_bound() {
    let numbered = |count: usize| {
        let parameters: Vec<String> = (0..count).map(|number| format!("p{number} = {{ values = [1] }}\n")).collect();
        parameters.concat()
    };
    let word = |bytes: usize| format!("{{ values = ['{}', 1] }}\n", "x".repeat(bytes));
    let half = TEXT_BYTES_MAX / 2;
    let rows: [(String, Option<&str>); 4] = [
        (numbered(PARAMETERS_MAX), None),
        (numbered(PARAMETERS_MAX + 1), Some("[search.space] has 1025 parameters; 1024 are allowed")),
        (format!("a = {}b = {}", word(half - 1), word(half - 1)), None),
        (
            format!("a = {}b = {}", word(half - 1), word(half)),
            Some("names and words of the parameters up to `b` can have 1048577 bytes together; 1048576 are allowed"),
        ),
    ];
    for (parameters, expected) in rows {
        let found = parse(&recorded_with(&parameters), "s.toml").err().map(|error| error.to_string());
        let first = found.as_ref().and_then(|error| error.lines().next());
        assert!(first.map(|line| line.split(": ").nth(1).unwrap()) == expected, "{first:?}");
    }
}

#[test]
fn a_control_that_no_launch_can_carry_is_refused_too() {
    let word = "x".repeat(TEXT_BYTES_MAX);
    let study = recorded_with(&format!("a = {{ values = ['y', 'z'] }}\n[control]\na = '{word}'\n"));
    let error = parse(&study, "s.toml").unwrap_err().to_string();
    assert!(error.contains("of the parameters of [control] can have 1048577 bytes"), "{}", &error[..200]);
}
