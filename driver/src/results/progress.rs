//! What a person sees while a run goes on: a bar on a terminal, a line now and then elsewhere. All of it goes to
//! stderr, since stdout carries results only.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::TrialId;
use broadsweep_common::model::Loss;
use broadsweep_search::ranking::{Objectives, Ranking, Values};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::measured::{is_error, metric_text, title};
use super::show::{bytes_text, configuration_pairs, counted, duration_text, printable_line};

/// The bar of trials or partitions, then what goes on, then the best so far or the rows; the last line is cut at the terminal's width.
const TRAINING_TEMPLATE: &str = "[{bar:20}] {pos}/{len} {prefix}\n{wide_msg}";
const WAITING_TEMPLATE: &str = "{spinner} {wide_msg}";
/// Where stderr is no terminal, a stage has a line when it begins and one for each of so many parts.
const PARTS: u64 = 10;
const STAGES: usize = 3;

/// The progress of one run.
pub struct Progress {
    loss: Loss,
    trials: u32,
    ended: u32,
    state: RunState,
    ranking: Ranking,
    /// The values of the best trial.
    best_configuration: String,
    /// Where a model is applied to rows, and no trials are trained.
    rows: Option<Rows>,
    surface: Surface,
}

/// How far the rows of an input are.
struct Rows {
    /// Of each partition; 0 where nobody knows before it is read.
    of: Vec<u64>,
    done: u64,
    /// Done under this driver, since it began.
    done_now: u64,
    /// When the first partition was placed.
    began: Option<Instant>,
}

/// What the run loop knows of the training while it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunState {
    /// Trials that train now.
    pub running: u32,
    /// Attempts that ended with their executor.
    pub attempts_lost: u32,
    /// Attempts whose program failed.
    pub attempts_failed: u32,
    /// The time that is left, if anybody can know.
    pub left: Option<Duration>,
    /// Slots that have nothing to do before a trial has gone on, and which.
    pub idle: Option<(u32, TrialId)>,
}

enum Surface {
    Bar {
        bar: ProgressBar,
        stage: Option<Stage>,
    },
    /// `told`: the furthest part of each stage that a line told of. A late node's broadcast goes on beside the
    /// training, so stages alternate; and lines stay few even so.
    Lines {
        sink: Box<dyn Write + Send>,
        told: [Option<u64>; STAGES],
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Broadcasting,
    Training,
}

impl Progress {
    /// On stderr: a bar on a terminal, else plain lines.
    #[must_use]
    pub fn on_stderr(trials: u32, loss: Loss, objectives: Objectives) -> Self {
        if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(trials.into()), ProgressDrawTarget::stderr());
            // A terminal that cannot move its cursor (`TERM=dumb`) gets lines too.
            if !bar.is_hidden() {
                return Self::new(trials, (loss, objectives), Surface::Bar { bar, stage: None });
            }
        }
        Self::in_lines(trials, loss, objectives, Box::new(io::stderr()))
    }

    /// Nothing of how far the run is: only what else there is to say.
    #[must_use]
    pub fn quiet(trials: u32, loss: Loss, objectives: Objectives) -> Self {
        let told = [Some(PARTS); STAGES]; // as if all had been told
        Self::new(trials, (loss, objectives), Surface::Lines { sink: Box::new(io::stderr()), told })
    }

    /// Plain lines to `sink`: when a stage (connecting, broadcasting, training) begins, and for each tenth of it.
    #[must_use]
    pub fn in_lines(trials: u32, loss: Loss, objectives: Objectives, sink: Box<dyn Write + Send>) -> Self {
        Self::new(trials, (loss, objectives), Surface::Lines { sink, told: [None; STAGES] })
    }

    fn new(trials: u32, (loss, objectives): (Loss, Objectives), surface: Surface) -> Self {
        let ranking = Ranking::new(objectives, None);
        let state = RunState::default();
        Self { loss, trials, ended: 0, state, ranking, best_configuration: String::new(), rows: None, surface }
    }

    /// The progress of rows instead of trials: so many in each partition, or 0 where that is not known.
    #[must_use]
    pub fn of_rows(mut self, rows: Vec<u64>) -> Self {
        self.trials = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if let Surface::Bar { bar, .. } = &self.surface {
            bar.set_length(rows.len() as u64);
        }
        self.rows = Some(Rows { of: rows, done: 0, done_now: 0, began: None });
        self
    }

    /// A partition is over. A bar shows it at the next tick.
    pub fn partition_ended(&mut self, partition: u32) {
        if let Some(rows) = &mut self.rows {
            rows.done_now += rows.of.get(partition as usize).copied().unwrap_or_default();
        }
        self.remember_partition(partition);
        if matches!(self.surface, Surface::Lines { .. }) {
            self.show_training();
        }
    }

    /// As [`Self::partition_ended`], under an earlier driver: nothing is shown.
    pub fn remember_partition(&mut self, partition: u32) {
        self.ended += 1;
        if let Some(rows) = &mut self.rows {
            rows.done += rows.of.get(partition as usize).copied().unwrap_or_default();
        }
    }

    /// So many trials are known of by now: a search may decide on more while the run goes on.
    pub fn planned(&mut self, trials: u32) {
        self.trials = self.trials.max(trials);
    }

    /// `connected` of `nodes` answered.
    pub fn connecting(&mut self, connected: u32, nodes: u32) {
        self.waiting(Stage::Connecting, connected, nodes, format!("connecting: {connected} of {nodes} nodes answer"));
    }

    /// `ready` of `nodes` have all blocks. So many bytes were sent from here, have come to nodes from wherever, and come
    /// there in a second.
    pub fn broadcasting(&mut self, ready: u32, nodes: u32, (sent, arrived, rate): (u64, u64, u64)) {
        let [sent, arrived, rate] = [sent, arrived, rate].map(bytes_text);
        let message = format!(
            "broadcasting: {ready} of {nodes} nodes ready, {arrived} there ({rate}/s), {sent} sent from here"
        );
        self.waiting(Stage::Broadcasting, ready, nodes, message);
    }

    /// A trial ended; `values` are those by which trials are ranked, `None` without a result. A bar shows it at the
    /// next tick: there may be thousands a second.
    pub fn trial_ended(&mut self, trial: TrialId, configuration: &Configuration, values: Option<Values>) {
        self.remember(trial, configuration, values);
        if matches!(self.surface, Surface::Lines { .. }) {
            self.show_training();
        }
    }

    /// As [`Self::trial_ended`], under an earlier driver: nothing is shown.
    pub fn remember(&mut self, trial: TrialId, configuration: &Configuration, values: Option<Values>) {
        self.ended += 1;
        if let Some(values) = values.filter(|values| self.ranking.would_be_best(trial, *values)) {
            self.ranking.note(trial, values);
            self.best_configuration = configuration_pairs(configuration).collect::<Vec<_>>().join(" ");
        }
    }

    /// Training goes on. To be called now and then, so that the time left moves.
    pub fn tick(&mut self, state: RunState) {
        self.state = state;
        if let Some(rows) = &mut self.rows {
            rows.began.get_or_insert_with(Instant::now);
        }
        self.show_training();
    }

    /// A line above the bar; it stays one line, whatever a node said that stands in it.
    pub fn println(&mut self, line: &str) {
        match &mut self.surface {
            Surface::Bar { bar, .. } => bar.println(printable_line(line)),
            Surface::Lines { sink, .. } => write_line(sink.as_mut(), line),
        }
    }

    /// Takes the bar away; what was printed stays.
    pub fn finish(&mut self) {
        if let Surface::Bar { bar, .. } = &self.surface {
            bar.finish_and_clear();
        }
    }

    fn waiting(&mut self, stage: Stage, ready: u32, nodes: u32, message: String) {
        match &mut self.surface {
            Surface::Bar { bar, stage: shown } => {
                enter(bar, shown, stage);
                bar.set_message(message);
                bar.tick();
            }
            Surface::Lines { sink, told } => {
                if is_due(told, stage, ready, nodes) {
                    write_line(sink.as_mut(), &message);
                }
            }
        }
    }

    fn show_training(&mut self) {
        let is_due = match &mut self.surface {
            Surface::Bar { .. } => true,
            Surface::Lines { told, .. } => is_due(told, Stage::Training, self.ended, self.trials),
        };
        if !is_due {
            return;
        }
        let noun = if self.rows.is_some() { "partitions" } else { "trials" };
        let (state, best) = (self.state_text(), self.rows_text().unwrap_or_else(|| self.best_text()));
        match &mut self.surface {
            Surface::Bar { bar, stage } => {
                enter(bar, stage, Stage::Training);
                bar.set_prefix(format!("{noun}{state}"));
                bar.set_message(printable_line(&best).into_owned());
                bar.set_position(self.ended.into());
            }
            Surface::Lines { sink, .. } => {
                let separator = if best.is_empty() { "" } else { "; " };
                let line = format!("{}/{} {noun}{state}{separator}{best}", self.ended, self.trials);
                write_line(sink.as_mut(), &line);
            }
        }
    }

    /// `, 4 running, 2 min 10 s left, 1 attempt lost`: the usual first, so that it fits a narrow terminal.
    fn state_text(&self) -> String {
        let RunState { running, attempts_lost, attempts_failed, left, idle } = self.state;
        let is_over = self.ended >= self.trials;
        let mut parts = Vec::new();
        if running > 0 && !is_over {
            parts.push(format!(", {running} running"));
        }
        if !is_over && let Some(left) = left.filter(|left| *left > Duration::ZERO) {
            parts.push(format!(", {} left", duration_text(left)));
        }
        if !is_over && let Some((slots, trial)) = idle {
            parts.push(format!(", {} idle until {trial} goes on", counted(slots.into(), "slot")));
        }
        for (count, how) in [(attempts_lost, "lost"), (attempts_failed, "failed")] {
            if count > 0 {
                parts.push(format!(", {} {how}", counted(count.into(), "attempt")));
            }
        }
        parts.concat()
    }

    /// `196608 rows, 312000 a second`; nothing of a run that trains trials.
    fn rows_text(&self) -> Option<String> {
        let Rows { of, done, done_now, began } = self.rows.as_ref()?;
        if of.contains(&0) {
            return Some(String::new()); // nobody knows how many there are
        }
        let Some(began) = began else { return Some(String::new()) };
        let rate = (*done_now as f64 / began.elapsed().as_secs_f64().max(1e-3)) as u64;
        Some(format!("{}, {rate} a second", counted(*done, "row")))
    }

    fn best_text(&self) -> String {
        let Some((trial, values)) = self.ranking.best() else { return String::new() };
        let metric = &self.ranking.objectives().first().metric;
        let name = if is_error(metric) { String::new() } else { format!("{} ", title(self.loss, metric)) };
        let (value, configuration) = (metric_text(self.loss, metric, values.first()), &self.best_configuration);
        let gap = if configuration.is_empty() { "" } else { ": " };
        format!("best so far: {name}{value} ({trial}{gap}{configuration})")
    }
}

/// Whether a stage that has come to `done` of `all` is worth another line.
fn is_due(told: &mut [Option<u64>; STAGES], stage: Stage, done: u32, all: u32) -> bool {
    let part = u64::from(done) * PARTS / u64::from(all.max(1));
    let told = &mut told[stage as usize];
    let is_due = told.is_none_or(|furthest| part > furthest);
    if is_due {
        *told = Some(part);
    }
    is_due
}

/// Gives the bar the looks of `stage`, if it has others.
fn enter(bar: &ProgressBar, shown: &mut Option<Stage>, stage: Stage) {
    if shown.replace(stage) == Some(stage) {
        return;
    }
    let template = match stage {
        Stage::Connecting | Stage::Broadcasting => WAITING_TEMPLATE,
        Stage::Training => TRAINING_TEMPLATE,
    };
    // The templates are constants, and tested: the default never shows.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
}

/// A closed stderr must not end a run.
fn write_line(sink: &mut dyn Write, line: &str) {
    let _ = writeln!(sink, "{}", printable_line(line)).and_then(|()| sink.flush());
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
