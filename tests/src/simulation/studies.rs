//! What the driver of a world and its rival begin with: a study, its trials, and the data that executors get.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use broadsweep_common::blob::Blob;
use broadsweep_common::dataset::{DatasetBuilder, Header, Part};
use broadsweep_common::replay::Replay;
use broadsweep_data as data;
use broadsweep_driver::plan::{Planner, TrialPlan};
use broadsweep_driver::study::{self, Study};
use bytes::Bytes;

use super::chance::Chance;
use super::disk::Disk;
use super::driver::{Campaign, Desk};
use super::guard::Guard;
use super::ice::Ice;
use super::node::Node;
use super::scenario::Scenario;
use super::trace::Trace;

/// Names the driver's machine.
pub(super) const DRIVER: &str = "driver";
/// Names the machine of one who wants the same executors.
pub(super) const RIVAL: &str = "rival";

/// Values of a row of data: no replay looks at them.
const ROW_VALUES: u32 = 1024;
/// What measuring weights on the test rows is said to cost, as trials do: in microseconds.
const TEST_COST: u64 = 1_300_000;

/// A study whose trials leave weights: replays stand for its trainings.
const TRAINED: &str = "name = 'trained'
[data]
format = 'idx'
train_features = 'a'
train_labels = 'b'
test_features = 'c'
test_labels = 'd'
validation_rows = 1
[[model.layers]]
kind = 'batch_norm'
[training]
learning_rate = 1
epochs = 3
";

/// The run of the world, or its rival's with some of the trials.
pub(super) fn campaign(
    who: &'static str,
    scenario: &Scenario,
    trials: Vec<Replay>,
    nodes: &Arc<Vec<Arc<Node>>>,
    trace: &Arc<Trace>,
    seed: u64,
) -> Arc<Campaign> {
    let is_rival = who == RIVAL;
    let mut study = replays(who, if is_rival { 2 } else { 1 }, trials.len());
    study.checkpoints = scenario.checkpoints;
    let description = study.description(trials);
    let (header, data) = data(if is_rival { 0 } else { scenario.rows });
    let drawn = study.drawn().unwrap();
    let mut trials = Planner::new(&study, &description.trainer, &header).plan_all(drawn).unwrap();
    if scenario.yields.weights_bytes.is_some() && !is_rival {
        leave_weights(&mut study, &mut trials);
    }
    let mut disk = Disk::default();
    if scenario.is_guarded && !is_rival {
        disk.guard = Some(Arc::new(Guard {
            memory: Arc::clone(&disk.memory),
            study: study.text().to_owned(),
            trace: Arc::clone(trace),
            doubts_reports: scenario.lies > 0,
            state: Mutex::default(),
        }));
    }
    Arc::new(Campaign {
        who,
        study,
        description,
        header,
        data,
        trials,
        ladder: if is_rival { Arc::default() } else { Arc::clone(&scenario.ladder) },
        decided: Arc::default(),
        partitions: if is_rival { 0 } else { scenario.partitions },
        policy: scenario.scheduling.validate().unwrap(),
        disk: Arc::new(disk),
        vault_ms: scenario.vault_ms,
        nodes: Arc::clone(nodes),
        trace: Arc::clone(trace),
        chance: Mutex::new(Chance::new(seed)),
        is_on: AtomicBool::new(false),
        ice: Ice::default(),
        takes_over: AtomicBool::new(false),
        generation: AtomicU64::new(0),
        desk: Mutex::new(Desk::default()),
    })
}

fn replays(name: &str, seed: u64, trials: usize) -> Study {
    let numbers: Vec<_> = (0..trials).map(|number| number.to_string()).collect();
    let text = format!(
        "name = '{name}'\nseed = {seed}\n[trainer]\nkind = 'replay'\nrecorded = 'trials.csv'\n\
         [search]\nsampler = 'grid'\n[search.space]\nn = {{ values = [{}] }}\n",
        numbers.join(", ")
    );
    study::parse(&text, "study.toml").unwrap()
}

/// What depends on the trainer follows a study of networks, the rows that are tested in the end among them; what is
/// searched stays.
fn leave_weights(study: &mut Study, trials: &mut [TrialPlan]) {
    let trained = study::parse(TRAINED, "trained.toml").unwrap();
    (study.trainer, study.data) = (trained.trainer, trained.data);
    for trial in trials {
        (trial.parameters, trial.test_flops) = (1, TEST_COST);
    }
}

/// A data set of so many rows, each different.
fn data(rows: usize) -> (Header, Blob<Bytes>) {
    let mut header = data::without_rows().unwrap().header;
    (header.shape, header.rows) = (vec![ROW_VALUES], [rows as u64, 0, 0]);
    let mut builder = DatasetBuilder::new(header.clone()).unwrap();
    let mut filling = Chance::new(rows as u64);
    for row in 0..rows {
        builder.feature_row(Part::Train, row).fill_with(|| filling.next() as u8);
    }
    (header, Blob::new(Bytes::from_owner(builder.finish())).unwrap())
}
