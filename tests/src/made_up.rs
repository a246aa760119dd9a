//! A run that never was, of any size: what reports are made of without training anything.

use broadsweep_common::configuration::Value;
use broadsweep_common::dataset::Part;
use broadsweep_common::details::{Answer, Confusion, Details, WorstRow};
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{Direction, MetricName, Metrics, Objective};
use broadsweep_common::model::Loss;
use broadsweep_common::task::Select;
use broadsweep_driver::records::attempt::{AttemptEnd, AttemptRecord};
use broadsweep_driver::records::counts::PartitionCounts;
use broadsweep_driver::records::curves::{Columns, Curves};
use broadsweep_driver::records::run::{
    BroadcastRecord, DetailsRecord, Purpose, RunRecord, Stage, TrialOutcome, TrialRecord,
};
use broadsweep_driver::records::searched::SearchRecord;
use broadsweep_driver::records::standing::{Standing, StandingSince};
use broadsweep_search::{Domain, PrunerKind, SamplerKind};

/// What names and reasons might be.
const HOSTILE: &str = "</script><img src=x onerror=\"document.title='taken'\"><b>'&lt;\u{2028}\0 @bad %{x} $x$";

/// Numbers that look drawn by chance, and are the same each time: a counter whose bits are mixed.
struct Dice(u64);

impl Dice {
    /// From 0 to before 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A run that never was: a search over five parameters on executors of two slots, with all kinds of ends.
#[must_use]
pub fn searched(trials: u32, executors: u32, names: impl Fn(&str) -> String) -> RunRecord {
    let mut dice = Dice(7);
    let mut free_at = vec![0.4; 2 * executors as usize];
    let mut record = RunRecord {
        changes: Vec::new(),
        search: None,
        study: names("mnist-search"),
        seed: 1,
        details: Vec::new(),
        learning_rates: Vec::new(),
        class_names: Vec::new(),
        objectives: Select::Validation.objective().into(),
        loss: Loss::CrossEntropy,
        kernel: names("avx512"),
        build: "0.1.0".to_owned(),
        executors,
        slots: 2 * executors,
        stage: Stage::Over,
        trials: Vec::new(),
        tasks: (0..trials).map(|number| Purpose::Training(TrialId(number))).collect(),
        partitions: PartitionCounts::default(),
        answers: None,
        control: Some(TrialId(0)),
        attempts: Vec::new(),
        executor_names: (0..executors).map(|place| names(&format!("10.0.0.{}:7717", place + 1))).collect(),
        standings: vec![
            vec![StandingSince { at_s: 0.3, standing: Standing::Ready { slots: 2 } }];
            executors as usize
        ],
        epochs_repeated: 0,
        differences: Vec::new(),
        wall_s: 0.0,
        broadcast: BroadcastRecord {
            data_bytes: 16 << 20,
            data_raw_bytes: 52 << 20,
            sent_bytes: 17 << 20,
            ..BroadcastRecord::default()
        },
    };
    for trial in 0..trials {
        add_trial(&mut record, trial, &mut dice, &mut free_at, &names);
    }
    record.wall_s = free_at.iter().copied().fold(0.5, f64::max) + 0.2;
    if let Some(best) = record.best().map(|best| best.trial) {
        for measured in [TrialId(0), best] {
            let trial = &mut record.trials[measured.0 as usize];
            let error =
                trial.metric(&MetricName::VALIDATION_ERROR).map(|error| (MetricName::TEST_ERROR, error * 0.97));
            trial.measured = error.into_iter().collect();
        }
        record.details = [Part::Validation, Part::Test].map(|part| looked_at(best, part)).to_vec();
    }
    record
}

/// What a closer look at the best told: every class is taken for the one after it now and then.
fn looked_at(trial: TrialId, part: Part) -> DetailsRecord {
    let pair = |wanted, predicted, rows| Confusion { wanted, predicted, rows };
    let of_class = |class: u32| [pair(class, class, 190), pair(class, (class + 1) % 10, u64::from(class) + 1)];
    let worst = |row: u64| {
        let answer = Answer::Class { wanted: row as u32 % 10, predicted: (row as u32 + 1) % 10 };
        WorstRow { row: 37 * row, loss: 9.0 - row as f64 / 3.0, answer }
    };
    let [loss, error] = MetricName::of_part(part);
    let guess = Metrics::from_iter([(loss, 2.25), (error, 0.9)]);
    let confusions = (0..10).flat_map(of_class).collect();
    DetailsRecord { trial, part, details: Details { guess, confusions, worst: (0..20).map(worst).collect() } }
}

fn add_trial(run: &mut RunRecord, trial: u32, dice: &mut Dice, free_at: &mut [f64], names: &impl Fn(&str) -> String) {
    let rate = 10_f64.powf(-3.5 + 3.5 * dice.roll());
    let width = [64, 128, 256, 512, 1024][(dice.roll() * 5.0) as usize];
    let dropout = 0.6 * dice.roll();
    let activation = ["relu", "gelu", "tanh"][(dice.roll() * 3.0) as usize];
    let (rate, width, dropout, activation) =
        if trial == 0 { (0.01, 128, 0.2, "relu") } else { (rate, width, dropout, activation) };
    let values = [
        ("activation", Value::Choice(names(activation))),
        ("dropout", Value::Real(dropout)),
        ("learning_rate", Value::Real(rate)),
        ("nesterov", Value::Flag(dice.roll() < 0.5)),
        ("width", Value::Integer(width)),
    ];
    let configuration = values.into_iter().map(|(name, value)| (names(name), value)).collect();
    let off = (rate.log10() + 1.2).abs();
    let activation_cost = if activation == "tanh" { 0.006 } else { 0.0 };
    let error = 0.014 + 0.012 * off * off + 0.8 / width as f64 + 0.03 * (dropout - 0.25).powi(2) + activation_cost;
    let error = error * (0.93 + 0.14 * dice.roll());
    let (mut curves, mut columns) = (Curves::default(), Columns::default());
    let accuracy = accuracy(names);
    (1..=8).for_each(|epoch| curves.push(&epoch_of(epoch, rate, error, dice, &accuracy), &mut columns));
    let slot = (0..free_at.len()).min_by(|one, other| free_at[*one].total_cmp(&free_at[*other])).unwrap();
    let chance = dice.roll();
    let diverges = rate > 0.5 && chance < 0.8;
    let (outcome, curves) = match chance {
        _ if trial > 0 && diverges => (TrialOutcome::Diverged { epoch: 1 }, Curves::default()),
        0.97.. if trial > 0 => {
            (TrialOutcome::GivenUp { reason: names("exit code 137: out of memory") }, Curves::default())
        }
        _ => (TrialOutcome::Finished { epoch: 8 }, curves),
    };
    let fails = matches!(outcome, TrialOutcome::GivenUp { .. });
    let attempts = if fails { 4 } else { 1 + u32::from(dice.roll() < 0.06) };
    let started_s = free_at[slot];
    for number in 1..=attempts {
        let seconds = (1.0 + width as f64 / 300.0) * if number < attempts { 0.5 } else { 1.0 };
        let end = match (number < attempts, fails) {
            (_, true) => AttemptEnd::Failed { reason: names("exit code 137: out of memory") },
            (true, false) => AttemptEnd::Lost { reason: names("connection reset") },
            (false, false) => AttemptEnd::Completed,
        };
        let attempt = AttemptId { task: TaskId(trial), number };
        run.attempts.push(attempt_of(attempt, slot, (free_at[slot], seconds), curves.epochs(), end));
        free_at[slot] += seconds;
    }
    run.trials.push(TrialRecord {
        trial: TrialId(trial),
        configuration,
        cost: width as u64,
        epochs_max: 8,
        outcome,
        rungs: Vec::new(),
        curves,
        attempts,
        executor: Some(ExecutorId(slot as u32 / 2)),
        training_s: 3.0,
        evaluation_s: 0.2,
        used: None,
        started_s,
        ended_s: free_at[slot],
        measured: Metrics::default(),
    });
}

/// A metric of the trainer's own, of any name that one may have.
fn accuracy(names: &impl Fn(&str) -> String) -> MetricName {
    let name: String = names("accuracy").chars().filter(|letter| !letter.is_control()).take(60).collect();
    MetricName::new(&name).unwrap()
}

/// The same trials, ranked by that.
#[must_use]
pub fn by_accuracy(names: impl Fn(&str) -> String) -> RunRecord {
    let objective = Objective { metric: accuracy(&names), direction: Direction::Maximize };
    RunRecord { objectives: objective.into(), ..searched(50, 3, names) }
}

/// The same search by a sampler that learns, whose pruner stopped three of four trials after epoch 2, and every second one of
/// the others after epoch 4.
#[must_use]
pub fn pruned(trials: u32, sampler: SamplerKind, pruner: PrunerKind, names: impl Fn(&str) -> String) -> RunRecord {
    let mut record = searched(trials, 3, &names);
    let words = ["gelu", "relu", "tanh"].map(|word| Value::Choice(names(word)));
    let domains = [
        ("activation", Domain::Values(words.into())),
        ("dropout", Domain::Reals { min: 0.0, max: 0.6, log: false, count: None }),
        ("learning_rate", Domain::Reals { min: 3e-4, max: 1.0, log: true, count: None }),
        ("nesterov", Domain::Values([false, true].map(Value::Flag).into())),
        ("width", Domain::Values([64, 128, 256, 512, 1024].map(Value::Integer).into())),
    ];
    record.search = Some(SearchRecord {
        sampler,
        space: domains.map(|(name, domain)| (names(name), domain)).into(),
        why_chosen: None,
        pruner,
        parallel: 6,
        trials_max: u64::from(trials),
        may_stop: false,
        is_asynchronous: false,
        is_deterministic: true,
        lag: None,
        steps: Vec::new(),
    });
    for trial in record.trials.iter_mut().skip(1) {
        if !matches!(trial.outcome, TrialOutcome::Finished { .. }) {
            continue;
        }
        let (rungs, epoch) = match trial.trial.0 % 8 {
            0 => (vec![2, 4], None),
            4 => (vec![2], Some(4)),
            _ => (Vec::new(), Some(2)),
        };
        trial.rungs = rungs;
        if let Some(epoch) = epoch {
            trial.outcome = TrialOutcome::Paused { epoch };
            trial.curves.truncate(epoch);
        }
    }
    record
}

fn epoch_of(epoch: u32, learning_rate: f64, error: f64, dice: &mut Dice, accuracy: &MetricName) -> Metrics {
    let error = error * (1.0 + 3.0 * (-0.6 * f64::from(epoch)).exp() + 0.03 * dice.roll());
    Metrics::from_iter([
        (MetricName::LEARNING_RATE, learning_rate),
        (MetricName::TRAINING_LOSS, error * 3.0),
        (MetricName::VALIDATION_LOSS, error * 3.3),
        (MetricName::VALIDATION_ERROR, error),
        (accuracy.clone(), 1.0 - error),
    ])
}

/// An attempt of so many seconds on a slot, from when that was free.
fn attempt_of(
    attempt: AttemptId,
    slot: usize,
    (from, seconds): (f64, f64),
    epoch: u32,
    end: AttemptEnd,
) -> AttemptRecord {
    AttemptRecord {
        attempt,
        executor: ExecutorId(slot as u32 / 2),
        from_epoch: 0,
        epoch,
        started_s: from + 0.02,
        ended_s: from + seconds,
        training_s: (seconds - 0.02) * 0.9,
        evaluation_s: (seconds - 0.02) * 0.06,
        used: None,
        end: Some(end),
    }
}

/// A name as it is.
#[must_use]
pub fn plain(name: &str) -> String {
    name.to_owned()
}

/// A name that would take over any page that took it for markup.
#[must_use]
pub fn hostile(name: &str) -> String {
    format!("{name}{HOSTILE}")
}
