//! What the sampler of a run believes of its parameters once it has seen all that there is.
//!
//! It is made anew from the study's space and seed, and shown the trials in the order of their numbers, each with what it
//! measured at each rung, as `driver/search/src/pruned.rs` shows them. The run itself showed them in the order in which they
//! ended, which changes nothing of what is believed of them all.

use broadsweep_common::configuration::Value;
use broadsweep_common::metrics::Direction;
use broadsweep_search::pruner::{Bracket, RungArrival};
use broadsweep_search::{Belief, Believed, DensityPair, ExpectedLoss, Knowledge, Observation, ranking};

use super::sheets::{Sheet, number, text};
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};
use crate::records::searched::SearchRecord;
use crate::results::measured::{is_error, metric_text, title};
use crate::results::show::{counted, printable, value_text};

/// Parameters that a sampler is asked about.
pub(super) const PARAMETERS_MAX: usize = 8;
/// Characters of a parameter's name.
const NAME_CHARACTERS_MAX: usize = 40;

/// What the sampler believes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Beliefs {
    /// Parameter by parameter, the most important first.
    pub(super) all: Vec<Belief>,
    /// Trials that it has seen something of.
    pub(super) trials: usize,
}

/// What the sampler believes of these parameters; `None` where it believes nothing, as one that does not learn.
pub(super) fn beliefs(run: &RunRecord, names: &[&str]) -> Option<Beliefs> {
    let search = run.search.as_ref()?;
    let sampler = search.sampler.sampler(run.seed, &search.space);
    if !sampler.learns() || names.is_empty() {
        return None;
    }
    let seen: Vec<_> = run.trials.iter().map(|trial| observations(run, search, trial)).collect();
    let trials = seen.iter().filter(|seen| !seen.is_empty()).count();
    let observed = seen.concat();
    let knowledge = Knowledge { observed: &observed, under_way: &[], decision: run.trials.len() as u64 };
    let all = sampler.beliefs(names, knowledge);
    let all = all.into_iter().map(|belief| in_values(run, belief));
    Some(Beliefs { all: all.collect(), trials }).filter(|beliefs| !beliefs.all.is_empty())
}

/// What a search is shown of a trial: what it measured at each rung where it paused, and what came of it.
fn observations(run: &RunRecord, search: &SearchRecord, trial: &TrialRecord) -> Vec<Observation> {
    let pruner = search.pruner.pruner();
    let rungs = pruner.rungs();
    let bracket = pruner.bracket_of(trial.trial).min(rungs.len().saturating_sub(1));
    let mut bracket = Bracket::new(rungs.get(bracket).cloned().unwrap_or_default());
    let last_pause = trial.rungs.last().copied().unwrap_or(0);
    // Where the segment was to end in which it ended early or failed: the control does not pause.
    let planned = bracket.next_pause(last_pause, trial.epochs_max).filter(|_| Some(trial.trial) != run.control);
    let loss = |value: Option<f64>| {
        let loss = value.map(|value| ranking::as_loss(run.objective(), value));
        loss.filter(|loss| loss.is_finite()).unwrap_or(f64::INFINITY)
    };
    let at = |epoch: u32| loss(trial.curves.get(epoch, &run.objective().metric));
    let last = match trial.outcome {
        TrialOutcome::Finished { .. } => Some((planned.unwrap_or(trial.epochs_max), loss(run.value_of(trial)))),
        TrialOutcome::Paused { epoch } => Some((epoch, at(epoch))),
        TrialOutcome::Diverged { .. } | TrialOutcome::GivenUp { .. } => {
            Some((planned.unwrap_or(trial.epochs_max), f64::INFINITY))
        }
        TrialOutcome::NotRun | TrialOutcome::LeftOut => None,
    };
    let has_paused = matches!(trial.outcome, TrialOutcome::Paused { .. });
    let pauses = trial.rungs.iter().map(|epoch| (*epoch, at(*epoch), true));
    let all = pauses.chain(last.map(|(epoch, loss)| (epoch, loss, has_paused)));
    let observation = |(until_epoch, loss, has_paused): (u32, f64, bool)| {
        let epochs_max = has_paused.then_some(trial.epochs_max);
        let arrival = RungArrival { trial: trial.trial, loss, epochs_max, is_paused: false };
        // What it is expected to be in the end, as the sampler was shown it.
        let loss = bracket.note(until_epoch, arrival);
        let (configuration, rung_epochs) = (trial.configuration.clone(), bracket.rung_epochs(until_epoch));
        Observation { configuration, rung_epochs, loss }
    };
    all.map(observation).collect()
}

/// With the objective's values in place of losses: `low` stays the better end. No error is below 0.
fn in_values(run: &RunRecord, belief: Belief) -> Belief {
    let Belief { parameter, believed } = belief;
    let value = |loss: f64| match run.objective().direction {
        Direction::Minimize if is_error(&run.objective().metric) => loss.max(0.0),
        Direction::Minimize => loss,
        Direction::Maximize => -loss,
    };
    let believed = match believed {
        Believed::Losses(mut losses) => {
            for one in &mut losses {
                (one.low, one.median, one.high) = (value(one.low), value(one.median), value(one.high));
            }
            Believed::Losses(losses)
        }
        Believed::Densities(pairs) => Believed::Densities(pairs),
    };
    Belief { parameter, believed }
}

/// The value of a parameter with which the process expects most, and that with which it expects least.
pub(super) fn ends_of_losses<'a>(run: &RunRecord, losses: &'a [ExpectedLoss]) -> Option<[&'a ExpectedLoss; 2]> {
    let direction = run.objective().direction;
    let order = |one: &&ExpectedLoss, other: &&ExpectedLoss| direction.order(one.median, other.median);
    Some([losses.iter().min_by(order)?, losses.iter().max_by(order)?])
}

/// The value of a parameter where the sampler looks most, and that where it looks least. It draws from the good trials: a
/// large ratio says something only where they lie denser than evenly.
pub(super) fn ends_of_densities(pairs: &[DensityPair]) -> Option<[&DensityPair; 2]> {
    let order = |one: &&DensityPair, other: &&DensityPair| one.ratio().total_cmp(&other.ratio());
    let drawn = pairs.iter().filter(|pair| pair.good >= 1.0).max_by(order);
    Some([drawn.or_else(|| pairs.iter().max_by(order))?, pairs.iter().min_by(order)?])
}

/// What is believed as a table: the ends of each parameter.
pub(super) fn sheet(run: &RunRecord, beliefs: &Beliefs) -> Sheet {
    let shown = |value: f64| metric_text(run.loss, &run.objective().metric, value);
    let name = |belief: &Belief| printable(&belief.parameter, NAME_CHARACTERS_MAX);
    let named = |value: &Value| value_text(value);
    let row = |belief: &Belief| -> Option<Vec<String>> {
        Some(match &belief.believed {
            Believed::Losses(losses) => {
                let [best, worst] = ends_of_losses(run, losses)?;
                let of_best = [named(&best.value), shown(best.median), shown(best.low), shown(best.high)];
                let of_worst = [named(&worst.value), shown(worst.median), shown(worst.low), shown(worst.high)];
                [name(belief)].into_iter().chain(of_best).chain(of_worst).collect()
            }
            Believed::Densities(pairs) => {
                let [most, least] = ends_of_densities(pairs)?;
                let told = |pair: &DensityPair| [pair.good, pair.others, pair.ratio()].map(|one| format!("{one:.2}"));
                let of_most = [named(&most.value)].into_iter().chain(told(most));
                let of_least = [named(&least.value)].into_iter().chain(told(least));
                [name(belief)].into_iter().chain(of_most).chain(of_least).collect()
            }
        })
    };
    let is_of_losses = beliefs.all.iter().any(|belief| matches!(belief.believed, Believed::Losses(_)));
    let columns = if is_of_losses {
        ["best at", "expected", "from", "to", "worst at", "expected", "from", "to"]
    } else {
        ["looked for at", "good", "others", "ratio", "avoided at", "good", "others", "ratio"]
    };
    let trials = counted(beliefs.trials as u64, "trial");
    Sheet {
        title: "What the sampler believes",
        columns: [text("hyperparameter")].into_iter().chain(columns.map(number)).collect(),
        rows: beliefs.all.iter().filter_map(row).collect(),
        note: Some(if is_of_losses {
            let objective = title(run.loss, &run.objective().metric);
            format!(
                "the {objective} that it expects after {trials}, whatever the others are, and one deviation around it"
            )
        } else {
            format!(
                "how densely good trials and others lie there, of {trials}; 1 is as dense as if they were spread evenly"
            )
        }),
    }
}

#[cfg(test)]
#[path = "belief_tests.rs"]
pub(super) mod tests;
