//! What a good study becomes.

use std::path::Path;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::measure::{Measure, Reported, WatchedValue};
use broadsweep_common::metrics::Direction;
use broadsweep_common::model::{Activation, Layer, Loss, Padding, Window};
use broadsweep_common::task::Select;
use broadsweep_common::training::{EarlyStop, Optimizer};

use super::{EXAMPLES, GOOD, changed, configurations, data, network, resolves, with_table};
use crate::study::{ColumnName, DataSource, ScalingKind, Study, TestUse, parse};
use broadsweep_scheduler::SchedulingConfig;
use broadsweep_search::{Domain, SamplerKind};

/// The least that a study can say.
const MINIMAL: &str = "name = 'a'
[data]
format = 'idx'
train_features = 'x'
train_labels = 'y'
validation_rows = 1
[[model.layers]]
kind = 'batch_norm'
[training]
learning_rate = 1
epochs = 3
";

fn good(text: &str) -> Study {
    parse(text, "s.toml").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_example_is_a_good_study_whose_configurations_resolve() {
    let trials = [51, 8, 26, 25, 13];
    for ((path, text), trials) in EXAMPLES.iter().zip(trials) {
        let study = parse(text, path).unwrap_or_else(|error| panic!("{error}"));
        let configurations = configurations(&study).unwrap();
        assert_eq!(configurations.len(), trials, "{path}");
        for configuration in &configurations {
            assert!(resolves(&study, configuration), "{path}: {configuration}");
        }
    }
}

#[test]
fn a_study_keeps_what_it_says() {
    let study = good(GOOD);
    assert_eq!((study.name.as_str(), study.seed, study.text()), ("good", 7, GOOD));
    assert_eq!(study.scheduling, SchedulingConfig { failures_max: 2, ..SchedulingConfig::default() });
    assert_eq!(study.search.sampler, SamplerKind::Grid);
    let rate = Domain::Reals { min: 0.001, max: 0.1, log: true, count: Some(3) };
    assert_eq!(study.search.space["rate"], rate);
    assert_eq!(study.search.space["units"], Domain::Integers { min: 16, max: 64, log: false, count: Some(4) });
    assert_eq!(study.search.space["look"], Domain::Values(vec![Value::Flag(true), Value::Flag(false)]));

    let control = study.control.clone().unwrap();
    assert_eq!(control.to_string(), "act=relu look=false rate=0.01 units=32");
    let model = network(&study).0.resolve(&control).unwrap();
    assert_eq!(model.loss, Loss::CrossEntropy);
    assert_eq!(model.layers[1], Layer::MaxPool(Window { size: 2, stride: 2, padding: Padding::Valid }));
    assert!(matches!(model.layers[3], Layer::Dense { units: 32, activation: Activation::Relu, .. }));
    let training = network(&study).1.resolve(&control).unwrap();
    assert_eq!(training.optimizer, Optimizer::Sgd { momentum: 0.9, nesterov: false });
    assert_eq!((training.epochs, training.early_stop), (2, None));
}

#[test]
fn all_of_the_scheduling_can_be_written() {
    let written = "failures_max = 1
losses_max = 2
backoff_ms = 3
exclude_after = 4
probe_ms = 5
reconnect_ms = 6
hang_factor = 7
hang_ms_min = 8
copies = false";
    let study = good(&GOOD.replace("failures_max = 2", written));
    let scheduling = SchedulingConfig {
        failures_max: 1,
        losses_max: 2,
        backoff_ms: 3,
        exclude_after: 4,
        probe_ms: 5,
        reconnect_ms: 6,
        hang_factor: 7.0,
        hang_ms_min: 8,
        copies: false,
    };
    assert_eq!(study.scheduling, scheduling);
    assert!(scheduling.validate().is_ok());
}

#[test]
fn unwritten_settings_have_the_documented_defaults() {
    let study = good(MINIMAL);
    let training = network(&study).1.resolve(&Configuration::default()).unwrap();
    assert_eq!(training.optimizer, Optimizer::Sgd { momentum: 0.0, nesterov: false });
    assert_eq!((training.batch_size, training.learning_rate_decay.to_bits()), (32, 1.0_f64.to_bits()));
    let layer = Layer::BatchNorm { momentum: 0.99, epsilon: 1e-3, activation: Activation::Linear };
    assert_eq!(network(&study).0.resolve(&Configuration::default()).unwrap().layers, [layer]);
    assert_eq!((study.seed, study.scheduling), (0, SchedulingConfig::default()));
    assert_eq!((data(&study).scaling, data(&study).test), (ScalingKind::Unit, TestUse::Winner));
    assert_eq!(configurations(&study).unwrap(), [Configuration::default()]);
}

/// [`GOOD`] with the rows of `[data]` replaced.
fn with_data(rows: &[&str]) -> Study {
    good(&with_table("[data]", &format!("[data]\n{}", rows.join("\n"))))
}

#[test]
fn each_format_has_its_own_keys() {
    let arrays = "train_features = 'x'\ntrain_labels = 'y'\nvalidation_rows = 9";
    let study = with_data(&["format = 'npy'", arrays, "shape = [28, 28, 1]", "scaling = 'standard'"]);
    assert!(matches!(&data(&study).source, DataSource::Npy(paths) if paths.train.labels == [Path::new("y")]));
    assert_eq!((data(&study).shape.clone(), data(&study).scaling), (Some(vec![28, 28, 1]), ScalingKind::Standard));
    assert!(!data(&study).has_test());

    let test = "test_features = 'tx'\ntest_labels = 'ty'\ntest = 'all'";
    let study = with_data(&["format = 'npz'", "file = 'a.npz'", arrays, test]);
    assert!(study.description(Vec::new()).test_every_trial);
    assert_eq!((data(&study).scaling, data(&study).test), (ScalingKind::None, TestUse::All));
    let DataSource::Npz { files, arrays } = &data(&study).source else { panic!("not read as npz") };
    assert_eq!((&files.train, &arrays.train.features), (&vec!["a.npz".into()], &vec!["x".to_owned()]));

    let columns = "label_column = 'price'\nfeature_columns = ['a', 'b']";
    let study = with_data(&["format = 'csv'", "train_file = 'a.csv'", columns, "validation_rows = 9"]);
    let DataSource::Table(table) = &data(&study).source else { panic!("not read as a table") };
    let name = |name: &str| ColumnName::Name(name.to_owned());
    assert_eq!((&table.label_column, &table.files.test), (&name("price"), &None));
    assert_eq!(table.feature_columns.as_deref(), Some(&[name("a"), name("b")][..]));
}

#[test]
fn selecting_by_test_rows_needs_no_validation_rows_and_watches_the_test_rows() {
    let text =
        changed("validation_rows = 100", "").replace("sampler = \"grid\"", "sampler = \"grid\"\nselect = \"test\"");
    let description = good(&text).description(Vec::new());
    assert_eq!(description.select, Select::Test);
    assert!(description.test_every_trial);
    assert!(!good(GOOD).description(Vec::new()).test_every_trial);
}

#[test]
fn a_study_of_one_trial_may_be_measured_by_its_test_rows() {
    let rows = "test_features = 'tx'\ntest_labels = 'ty'";
    let study = good(&format!("{}[search]\nselect = 'test'\n", MINIMAL.replace("validation_rows = 1", rows)));
    assert_eq!(configurations(&study).unwrap(), [Configuration::default()]);
    assert_eq!(study.search.select, Select::Test);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let windows = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert_eq!(good(&windows).description(Vec::new()), good(GOOD).description(Vec::new()));
    let error = parse(&windows.replace("seed = 7", "seed = 'é'"), "s.toml").unwrap_err();
    assert_eq!(error.to_string().lines().nth(2), Some("2 | seed = 'é'"));
    let error = parse(&windows.replace("name =", "nam =").replace("seed", "name"), "s.toml").unwrap_err();
    assert_eq!((error.line(), error.column()), (1, 1));
}

#[test]
fn a_searched_optimizer_brings_its_settings_with_it() {
    let text = changed("optimizer = \"sgd\"", "optimizer = \"$act\"\nbeta1 = 0.8\nweight_decay = 0.1")
        .replace("activation = \"$act\"", "activation = \"relu\"")
        .replace("[\"relu\", \"tanh\"]", "[\"sgd\", \"adamw\"]")
        .replace("act = \"relu\"", "act = \"adamw\"")
        .replace("epochs = 2", "epochs = 2\nearly_stop = { patience = 2 }");
    let study = good(&text);
    let training = network(&study).1.resolve(study.control.as_ref().unwrap()).unwrap();
    let Optimizer::Adam { beta1, weight_decay, .. } = training.optimizer else { panic!("not adam") };
    assert_eq!((beta1.to_bits(), weight_decay.to_bits()), (0.8_f64.to_bits(), 0.1_f64.to_bits()));
    assert_eq!(training.early_stop, Some(EarlyStop { patience: 2, min_delta: 0.0 }));
}

#[test]
fn one_configuration_has_one_digest_however_its_numbers_are_written() {
    let digest = |rate: &str| {
        let control = changed("rate = 0.01", &format!("rate = {rate}"));
        good(&control).control.unwrap().digest()
    };
    assert_eq!(digest("1"), digest("1.0"));
    assert_eq!(digest("1"), digest("10e-1"));
    assert_ne!(digest("1"), digest("2"));
}

#[test]
fn a_parameter_of_a_whole_and_a_real_setting_is_whole() {
    let text = changed("momentum = 0.9", "momentum = 0.9\nl2 = \"$units\"");
    let study = good(&text);
    assert!(matches!(study.search.space["units"], Domain::Integers { .. }));
    let configurations = configurations(&study).unwrap();
    assert!(configurations.iter().all(|one| resolves(&study, one)));
}

#[test]
fn errors_of_the_data_are_located_in_the_study() {
    let study = good(GOOD);
    let first_line = |shown: String| shown.lines().next().unwrap().to_owned();
    let layer = study.at_layer(1, "layer 2 (max_pool): 1 x 1 is too small").to_string();
    assert!(layer.contains("15 |   { kind = \"max_pool\", size = 2 },\n   |   ^^^^"), "{layer}");
    assert_eq!(first_line(layer), "s.toml:15:3: layer 2 (max_pool): 1 x 1 is too small");
    assert_eq!(first_line(study.at("data.train_labels", "gone").to_string()), "s.toml:7:16: gone");
    assert_eq!(first_line(study.at("data.shape", "gone").to_string()), "s.toml:4:1: gone");
    assert_eq!(first_line(study.at("training.learning_rate", "gone").to_string()), "s.toml:24:17: gone");
    assert_eq!(first_line(study.at("nothing.at.all", "gone").to_string()), "s.toml:1:1: gone");
    let headed = good(MINIMAL);
    assert_eq!(first_line(headed.at_layer(0, "gone").to_string()), "s.toml:7:1: gone");
    assert_eq!(first_line(study.at_layer(99, "gone").to_string()), "s.toml:13:10: gone");
}

#[test]
fn a_network_is_compared_by_what_it_is_measured_by() {
    let study = |written: &str| good(&changed("sampler = \"grid\"", &format!("sampler = \"grid\"\n{written}")));
    let words = |study: &Study| {
        let objectives: Vec<_> =
            study.objectives().iter().map(|one| (one.metric.to_string(), one.direction)).collect();
        (objectives, study.search.select, study.search.watched.value)
    };
    let named = |metric: &str, direction| (metric.to_owned(), direction);
    let (less, more) = (Direction::Minimize, Direction::Maximize);
    let measured = study("objective = 'validation_auc'");
    let expected = (vec![named("validation_auc", more)], Select::Validation, WatchedValue::Measure(0));
    assert_eq!(words(&measured), expected);
    assert_eq!(measured.description(Vec::new()).measures, [Reported::new(Measure::Auc, "auc").unwrap()]);

    let measured = study(
        "objectives = ['validation_log_loss', { metric = 'validation_f1', class = 2 }, 'validation_error', \
         { metric = 'validation_f1', direction = 'minimize' }]\nmetrics = ['auc', 'f1']",
    );
    let objectives = [
        named("validation_loss", less),
        named("validation_f1_of_2", more),
        named("validation_error", less),
        named("validation_f1", less),
    ];
    assert_eq!(words(&measured), (objectives.to_vec(), Select::Validation, WatchedValue::Loss));
    let measures: Vec<_> = measured.search.measures.iter().map(|reported| reported.measure).collect();
    assert_eq!(measures[1..], [Measure::F1, Measure::Auc]);
    let mut found = measured.clone();
    let classes = ["1", "2"].map(str::to_owned);
    found.find_classes(&classes).unwrap();
    assert_eq!(found.search.measures[0].measure, Measure::ClassF1 { class: 1 });
    let missing = found.find_classes(&classes[..1]).unwrap_err().to_string();
    assert!(missing.contains("the study measures the class \"2\"; the data has 1"), "{missing}");

    let measured = study("objectives = ['test_balanced_error']");
    assert_eq!(words(&measured).1, Select::Test);
    assert!(measured.watches_test() && !measured.tests_the_best());
    assert_ne!(measured.search_digest(), study("").search_digest());
    assert_ne!(study("metrics = ['f1']").search_digest(), study("").search_digest());
    assert_eq!(study("objective = 'validation_error'").search_digest(), study("").search_digest());
}
