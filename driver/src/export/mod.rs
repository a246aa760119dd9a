//! What a run found, for other programs: a line a trial, as CSV or as JSON, and a journal that Optuna opens.
//!
//! | module | holds |
//! |---|---|
//! | `facts` | what is told of a trial, the same in every form |
//! | `lines` | a line a trial |
//! | `optuna` | the journal |
//! | `distributions` | what Optuna is told of a parameter's values |
//!
//! # A line a trial
//!
//! Every trial that was started has its line, in the order of numbers, whether the run is over or not. The names below are
//! columns of the CSV and keys of each JSON object, always in this order. A JSON object has the parameters in `parameters`
//! and the metrics in `metrics`, under their own names; the CSV has a column `parameter.NAME` or `metric.NAME` for each that
//! some trial has, so that no study changes what a column is called. What is absent is an empty cell, or `null`; so is, in
//! JSON, a number that is not finite.
//!
//! | name | holds |
//! |---|---|
//! | `trial` | its number, from 0 |
//! | `state` | `finished`, `diverged`, `given_up`, `paused`, `running` (begun and not over, also where nobody drives the run any more), `waiting` |
//! | `origin` | where its values are from: `control`, `initial`, `point` of a grid, `draw` |
//! | `origin_number` | which starting point, point or draw, from 0 |
//! | `parameters` | its values |
//! | `metrics` | those of the epoch that counts, or of the last one of a trial that paused; the losses and errors of every trainer have their columns in any case |
//! | `counted_epoch` | that epoch, from 1 |
//! | `epochs` | how many were trained so far |
//! | `attempts` | how many were launched |
//! | `executors` | on how many executors |
//! | `executor` | where it ended |
//! | `started_s`, `ended_s` | from the run's start to its own, and to its end |
//! | `training_s`, `evaluation_s` | spent in training, and in measuring errors |
//! | `cpu_s`, `memory_peak_bytes` | what its programs used |
//! | `reason` | why it has no result |
//!
//! # The journal for Optuna
//!
//! It is what Optuna's `JournalFileBackend` (4 and 5) writes: a line an operation. There is one study, called as the run's
//! study, with one direction, that of the first objective: what stands behind it only decides ties here, while several
//! directions would mean a Pareto front to Optuna. `study.best_trial` is the run's best. Trials have the run's numbers;
//! their intermediate values are the objective's, epoch by epoch.
//!
//! | here | in Optuna |
//! |---|---|
//! | finished | `COMPLETE`; `FAIL` where its value is not a number |
//! | diverged, given up | `FAIL`, with the attribute `reason` |
//! | paused | `PRUNED` once the run is over, before that `RUNNING` |
//! | running, waiting | `RUNNING`, `WAITING` |
//!
//! A range is a `FloatDistribution` or an `IntDistribution`, `values` are a `CategoricalDistribution`. A control beside
//! the space widens it, so that each parameter has one distribution. Attributes of a trial are called as the columns
//! above, those of a study are `run`, `seed` and `objectives`. Times are the run's start and the seconds in which it was
//! driven: how long nobody drove it is not in them.

mod distributions;
mod facts;
mod lines;
mod optuna;

use std::io;
use std::time::Duration;

use broadsweep_search::{Origin, Space};

use crate::records::run::RunRecord;

/// A run, and what its record leaves out.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// What it found.
    pub run: &'a RunRecord,
    /// What is searched.
    pub space: &'a Space,
    /// Where each trial's configuration is from.
    pub origins: &'a [Origin],
    /// What the run's folder was called when it began.
    pub folder: &'a str,
    /// When it began, from 1970 on, if that is known.
    pub begun: Option<Duration>,
}

impl Export<'_> {
    /// A header, and a row a trial.
    ///
    /// # Errors
    /// None in practice: the bytes go to memory.
    pub fn csv(&self) -> io::Result<Vec<u8>> {
        lines::csv(self)
    }

    /// A JSON object a trial, each in a line.
    ///
    /// # Errors
    /// None in practice: the bytes go to memory.
    pub fn jsonl(&self) -> io::Result<Vec<u8>> {
        lines::jsonl(self)
    }

    /// The journal of an Optuna study.
    #[must_use]
    pub fn optuna(&self) -> Vec<u8> {
        optuna::journal(self)
    }
}

#[cfg(test)]
mod tests;
