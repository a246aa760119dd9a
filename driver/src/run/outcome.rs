//! What is left at the end of a run, as plain data.

use broadsweep_common::attempt::Used;
use broadsweep_common::ids::{Digest, TrialId};
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::TaskKind;

use super::book::Book;
use super::record::Finish;
use super::task::TaskBook;
use super::trial::TrialBook;
use super::{Run, RunOutcome, names};
use crate::cluster::{Cluster, Traffic};
use crate::records::attempt::AttemptRecord;
use crate::records::counts::PartitionCounts;
use crate::records::run::{BroadcastRecord, RunRecord, Stage, TrialOutcome, TrialRecord};
use crate::records::searched::SearchRecord;
use crate::study::{Study, Trainer};

/// What came of a partition of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionOutcome {
    /// It is in a file of the run's folder.
    Made {
        /// The file's name there.
        name: String,
        /// The blob that it holds.
        blob: Digest,
    },
    /// It was tried as often as it may be.
    GivenUp {
        /// Why the last attempt failed.
        reason: String,
    },
    /// It is not over.
    Open,
}

impl Run<'_> {
    /// All that is known now, and the links, which are to be told that the run is over.
    pub(super) fn outcome(self) -> (RunOutcome, Cluster) {
        let book = self.chronicle.book();
        let best = book.best_weights().map(|(trial, weights)| (trial, weights.content.to_vec()));
        let control = book.control.and_then(|control| book.weights.get(&control));
        let control = control.map(|weights| weights.content.to_vec());
        let (record, unmeasured) = (book.run_record(self.study), book.unmeasured());
        let are_outputs = matches!(self.study.trainer, Trainer::Program(_));
        (RunOutcome { record, best, control, are_outputs, partitions: book.partitions(), unmeasured }, self.cluster)
    }

    /// What the broadcast took so far: under earlier drivers, and under this one.
    pub(super) fn broadcast(&self) -> BroadcastRecord {
        let (before, traffic) = (self.broadcast_before, &self.payload.traffic);
        let sent_bytes = Traffic::read(&traffic.sent);
        let encoded = traffic.encoded(self.payload.data_bytes());
        BroadcastRecord {
            // Where this driver sent nothing, an earlier one knows what a copy takes.
            data_bytes: if sent_bytes == 0 && before.data_bytes > 0 { before.data_bytes } else { encoded },
            data_raw_bytes: self.payload.data_bytes(),
            sent_bytes: before.sent_bytes + sent_bytes,
            from_peers_bytes: before.from_peers_bytes + Traffic::read(&traffic.from_peers),
            from_cache_bytes: before.from_cache_bytes + Traffic::read(&traffic.from_cache),
            wall_s: before.wall_s + self.broadcast_s,
        }
    }
}

impl Book {
    fn partition_counts(&self) -> PartitionCounts {
        let partitions = self.partitions();
        let blobs = partitions.iter().map(|outcome| match outcome {
            PartitionOutcome::Made { blob, .. } => Some(blob.0),
            PartitionOutcome::GivenUp { .. } | PartitionOutcome::Open => None,
        });
        let outputs: Option<Vec<_>> = blobs.collect();
        let count = |is: fn(&PartitionOutcome) -> bool| partitions.iter().filter(|outcome| is(outcome)).count();
        PartitionCounts {
            planned: partitions.len(),
            applied: count(|outcome| matches!(outcome, PartitionOutcome::Made { .. })),
            given_up: count(|outcome| matches!(outcome, PartitionOutcome::GivenUp { .. })),
            outputs: outputs.map(|blobs| Digest::of(&blobs.concat())),
        }
    }

    /// What came of each partition, in their order.
    fn partitions(&self) -> Vec<PartitionOutcome> {
        let mut found: Vec<_> = self
            .tasks()
            .filter_map(|(task, book)| {
                let TaskKind::Apply { partition } = book.kind() else { return None };
                let outcome = match &book.finish {
                    Some((Finish::Applied { output }, _)) => {
                        PartitionOutcome::Made { name: names::output(task), blob: *output }
                    }
                    Some((Finish::GivenUp { reason }, _)) => PartitionOutcome::GivenUp { reason: reason.clone() },
                    _ => PartitionOutcome::Open,
                };
                Some((partition, outcome))
            })
            .collect();
        found.sort_by_key(|(partition, _)| *partition);
        found.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// All that is known of the run, with what its study says.
    pub(super) fn run_record(&self, study: &Study) -> RunRecord {
        let (executors, slots) = self.took_part();
        let begun = self.begun.as_ref();
        RunRecord {
            study: study.name.clone(),
            seed: study.seed,
            objectives: self.ranking.objectives().clone(),
            search: self.study_now(study).search_record().map(|search| self.searched(search)),
            learning_rates: self.learning_rates(study),
            class_names: Vec::new(),
            loss: study.loss(),
            kernel: begun.and_then(|begun| begun.kernel.clone()).unwrap_or_else(|| "none".to_owned()),
            build: begun.map(|begun| begun.build.clone()).unwrap_or_default(),
            executors,
            slots,
            // Whether its driver lives is not known here: see `read`.
            stage: if self.is_over() { Stage::Over } else { Stage::Interrupted },
            attempts: self.attempts().cloned().collect(),
            executor_names: self.executors.clone(),
            standings: self.standings.clone(),
            epochs_repeated: self.repeated,
            changes: self.changes.clone(),
            differences: self.differences.values().map(|difference| difference.told).collect(),
            trials: self.trial_records(),
            details: self.details().collect(),
            tasks: self.tasks.iter().map(TaskBook::purpose).collect(),
            partitions: self.partition_counts(),
            answers: None,
            control: self.control,
            wall_s: self.latest.seconds(),
            broadcast: self.broadcast,
        }
    }

    /// A search, with what it decided.
    fn searched(&self, search: SearchRecord) -> SearchRecord {
        SearchRecord { lag: self.lag, steps: self.search_steps().collect(), ..search }
    }

    /// The learning rates that were in vain: of all trials, where none has a result.
    fn learning_rates(&self, study: &Study) -> Vec<f64> {
        let Trainer::Network { training, .. } = &study.trainer else { return Vec::new() };
        if !self.is_over() || self.ranking.best().is_some() {
            return Vec::new();
        }
        let rate = |(_, trial): (TrialId, &TrialBook)| training.learning_rate.resolve(&trial.configuration, "").ok();
        let mut rates: Vec<f64> = self.trials().filter_map(rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates
    }

    /// Every trial with what it reported and what it took.
    fn trial_records(&self) -> Vec<TrialRecord> {
        let mut records: Vec<_> = self.trials().map(|(number, trial)| self.trial_record(number, trial)).collect();
        for (task, trial) in self.measured_tasks() {
            if let Some((Finish::Measured(metrics), _)) = &task.finish {
                records[trial.0 as usize].measured = metrics.clone();
            }
        }
        records
    }

    fn trial_record(&self, trial: TrialId, book: &TrialBook) -> TrialRecord {
        let all = || book.segments().filter_map(|task| self.task(task));
        // What was left out is as if nobody had asked for it.
        let segments: Vec<_> = all().filter(|task| !matches!(task.finish, Some((Finish::LeftOut, _)))).collect();
        let finish = segments.last().and_then(|task| task.finish.as_ref());
        let outcome = match finish {
            None if segments.is_empty() && all().next().is_some() => TrialOutcome::LeftOut,
            Some((Finish::Trained { epoch, .. }, _)) => TrialOutcome::Finished { epoch: *epoch },
            Some((Finish::Paused { checkpoint, .. }, _)) => TrialOutcome::Paused { epoch: checkpoint.epoch },
            Some((Finish::Diverged { epoch }, _)) => TrialOutcome::Diverged { epoch: *epoch },
            Some((Finish::GivenUp { reason }, _)) => TrialOutcome::GivenUp { reason: reason.clone() },
            Some((
                Finish::LeftOut
                | Finish::Checked
                | Finish::Measured(_)
                | Finish::Examined(_)
                | Finish::Applied { .. },
                _,
            ))
            | None => TrialOutcome::NotRun,
        };
        // What each segment took, by the attempt that brought its result. The sum of none is -0.0, which would be shown.
        let took = |seconds: fn(&AttemptRecord) -> f64| -> f64 {
            segments.iter().filter_map(|task| task.completing()).map(seconds).sum::<f64>() + 0.0
        };
        let last = segments.last().and_then(|task| task.completing());
        let first = segments.first().and_then(|task| task.attempts.first());
        TrialRecord {
            trial,
            configuration: book.configuration.clone(),
            cost: book.needs.cost,
            epochs_max: book.needs.epochs,
            outcome,
            rungs: rungs_of(&segments),
            curves: book.first().map(|replicate| replicate.curves.clone()).unwrap_or_default(),
            measured: Metrics::default(),
            attempts: segments.iter().map(|task| task.attempts.len() as u32).sum(),
            executor: last.map(|attempt| attempt.executor),
            training_s: took(|attempt| attempt.training_s),
            evaluation_s: took(|attempt| attempt.evaluation_s),
            used: Used::sum(segments.iter().flat_map(|task| &task.attempts).map(|attempt| attempt.used)),
            started_s: first.map_or(0.0, |attempt| attempt.started_s),
            ended_s: finish.map_or(0.0, |(_, at)| at.seconds()),
        }
    }

    /// Trials whose test error was due and could not be had.
    fn unmeasured(&self) -> u32 {
        // Of one that was the best for a while, nobody asks any more.
        let is_given_up = |(task, trial): &(&TaskBook, TrialId)| {
            matches!(task.finish, Some((Finish::GivenUp { .. }, _))) && self.weights.contains_key(trial)
        };
        self.measured_tasks().filter(is_given_up).count() as u32
    }
}

/// Where a trial of these segments paused and was continued.
fn rungs_of(segments: &[&TaskBook]) -> Vec<u32> {
    let continued = segments.split_last().map_or(&[][..], |(_, continued)| continued);
    continued.iter().filter_map(|task| Some(task.segment()?.until_epoch)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    use broadsweep_common::attempt::{ArtifactName, AttemptEvent, Ended};
    use broadsweep_common::configuration::{Configuration, Value};
    use broadsweep_common::ids::{AttemptId, TaskId};
    use broadsweep_common::metrics::MetricName;
    use broadsweep_search::{Decision, Origin};

    use super::*;
    use crate::cluster::Cargo;
    use crate::run::bench::{Bench, EPOCHS, attempt, content, epoch, failed, trained};

    const FIRST: AttemptId = AttemptId { task: TaskId(0), number: 1 };

    #[tokio::test(start_paused = true)]
    async fn what_broadcasts_took_is_added_up_over_the_drivers_of_a_run() {
        let mut bench = Bench::new(1, &["a", "b", "c"]);
        let data_raw_bytes = bench.run.payload.data_bytes();
        let nothing_sent =
            BroadcastRecord { data_bytes: data_raw_bytes, data_raw_bytes, ..BroadcastRecord::default() };
        bench.is_ready(0, 1, &[]);
        assert_eq!(bench.run.chronicle.book().broadcast, nothing_sent, "a copy is as it is in memory");
        let half = data_raw_bytes / 2;
        for (executor, sent, data_bytes, sent_bytes, others, wall_s) in [
            (1, data_raw_bytes, half, half, (2, 5), 3.0),
            (2, 0, half, half, (4, 10), 6.0), // one that sent nothing knows from the one before what a copy takes
            (3, half, data_raw_bytes, data_raw_bytes, (6, 15), 9.0),
        ] {
            let traffic = &bench.run.payload.traffic;
            traffic.sent.store(half.min(sent), Relaxed);
            traffic.sent_raw.store(sent, Relaxed);
            traffic.from_peers.store(2, Relaxed);
            traffic.from_cache.store(5, Relaxed);
            tokio::time::advance(Duration::from_secs(3)).await;
            bench.is_ready(executor, 1, &[]);
            let (from_peers_bytes, from_cache_bytes) = others;
            let wanted = BroadcastRecord {
                data_bytes,
                data_raw_bytes,
                sent_bytes,
                from_peers_bytes,
                from_cache_bytes,
                wall_s,
            };
            assert_eq!(bench.run.chronicle.book().broadcast, wanted, "executor {executor}");
            bench = bench.resumed(&["a", "b", "c", "d"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_was_not_begun_took_nothing_and_not_minus_nothing() {
        let (outcome, _) = Bench::new(1, &["a"]).run.outcome();
        let trial = &outcome.record.trials[0];
        assert_eq!([trial.training_s, trial.evaluation_s].map(f64::to_bits), [0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_is_told_with_each_epoch_after_which_it_was_continued() {
        let configuration = Configuration::from_iter([("n", Value::Integer(i64::from(EPOCHS)))]);
        let start = Decision::Start { configuration, origin: Origin::Point(0), until_epoch: Some(1) };
        let further = |until_epoch| Decision::Continue { trial: TrialId(0), until_epoch };
        let decisions = vec![start, Decision::Wait, further(2), Decision::Wait, further(3), Decision::Wait];
        let mut bench = Bench::scripted(decisions, &["a"]);
        bench.is_ready(0, 1, &[]);
        for number in 1..EPOCHS {
            let (own, state) = (attempt(number - 1, 1), content(number as u8));
            bench.tells(0, own, epoch(number, 0.5));
            bench.tells(0, own, trained(number, ArtifactName::Checkpoint, &state));
            bench.brings_state(0, own, number, &state);
        }
        let (outcome, _) = bench.run.outcome();
        let [trial] = &outcome.record.trials[..] else { panic!("there is one trial") };
        assert_eq!((&trial.rungs[..], trial.attempts), (&[1, 2][..], 3), "it is in its last segment");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_whose_test_error_could_not_be_had_is_counted_and_its_weights_are_there() {
        for fails in [false, true] {
            let (mut bench, weights) = (Bench::measuring(1, &["a"]), content(1));
            bench.is_ready(0, 1, &[]);
            bench.tells(0, FIRST, epoch(1, 0.25));
            bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
            bench.brings(0, FIRST, (Cargo::Weights, "weights/0"), &weights);
            let measured = Metrics::from_iter([(MetricName::TEST_LOSS, 1.0), (MetricName::TEST_ERROR, 0.3)]);
            if fails {
                (1..=4).for_each(|number| drop(bench.tells(0, attempt(1, number), failed())));
            } else {
                bench.tells(0, attempt(1, 1), AttemptEvent::Ended(Ended::Measured(measured.clone())));
            }
            let (outcome, _) = bench.run.outcome();
            assert_eq!(outcome.unmeasured, u32::from(fails));
            assert_eq!(outcome.record.trials[0].measured, if fails { Metrics::default() } else { measured });
            assert_eq!(outcome.best, Some((TrialId(0), weights.content.to_vec())));
        }
    }
}
