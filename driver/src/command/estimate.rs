//! What a search that sees results will take, before anything is known of it: random configurations are played in its
//! order, as if their results were random too.

use std::num::NonZeroU32;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::task::Segment;
use broadsweep_search::{Origin, PrunerKind, SamplerKind, SearchClock, SegmentEnd, StopRules, Stopping, Timeline};

use super::check::Costs;
use super::load::Job;
use crate::forecast::{Cluster, Played, PlayedSearch, SegmentCourse};
use crate::plan::{Planner, TrialPlan};
use crate::results::show::counted;
use crate::study::{Order, Study};

/// Of more trials, by how many of them are under way, nobody waits for an estimate.
const LOOKS_MAX: u64 = 500_000;
/// The same of a search with a pruner, which looks at all that have paused.
const PRUNED_TRIALS_MAX: u64 = 10_000;
/// Slots of the cluster that an estimate is for.
const SLOTS: u32 = 13;
/// The share of the slots' time that waits for the order, from which on it is told.
const ORDER_WORTH_A_WORD: f64 = 0.01;
/// Parts that are told apart of what a trial takes on the mean.
const PARTS: f64 = 1e6;

/// A search of which only the study is known.
pub(super) struct SearchEstimate {
    /// It picks at random where the study's own learns, and ends for no result.
    study: Study,
    clock: SearchClock,
    trials_max: u32,
}

impl SearchEstimate {
    /// That of a study; `None` of one whose search sees no results, and of one that would take too long to play.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let mut study = job.study.clone();
        let Order { parallel, is_asynchronous } = study.search.order;
        let trials_max = study.trials_max();
        let looks = trials_max.saturating_mul(trials_max.min(parallel.get().into()));
        let is_long = study.search.pruner != PrunerKind::None && trials_max > PRUNED_TRIALS_MAX;
        if !study.sees_results() || looks > LOOKS_MAX || is_long {
            return None;
        }
        if let (true, Some(trials)) = (study.search.sampler.learns(), study.search.sampler.wanted()) {
            study.search.sampler = SamplerKind::Random { trials };
        }
        study.search.stop = StopRules { target: None, no_progress: None, ..study.search.stop };
        let lag = job.planner().lag();
        let clock = if is_asynchronous { SearchClock::Arrivals } else { SearchClock::Virtual { lag } };
        Some(Self { study, clock, trials_max: trials_max as u32 })
    }

    /// What trials take together, each of which takes `of`; `None` if that is no number.
    pub(super) fn costs(&self, job: &Job, of: &dyn Fn(&TrialPlan) -> f64) -> Option<Costs> {
        let mean = job.trials.iter().map(of).sum::<f64>() / job.trials.len() as f64;
        let parts = PARTS / mean;
        if !(parts.is_finite() && parts > 0.0) {
            return None;
        }
        let took = |plan: &TrialPlan| of(plan) * parts;
        let played = |slots| self.played(job.planner(), &took, Cluster { executors: slots, slots: 1 });
        let (alone, together) = (played(1)?, played(SLOTS)?);
        let in_units = |us: u64| us as f64 / parts;
        Some(Costs {
            all: in_units(alone.wall_us),
            on_13: in_units(together.wall_us),
            order: self.order_text(together),
        })
    }

    fn played(&self, planner: Planner<'_>, of: &dyn Fn(&TrialPlan) -> f64, cluster: Cluster) -> Option<Played> {
        let (rules, objective) = (self.study.search.stop, self.study.objectives().first().clone());
        let metric = objective.metric.clone();
        let course = |segment: Segment, configuration: &Configuration| {
            let plan = planner.plan(TrialId(0), configuration.clone(), Origin::Draw(0));
            plan.map_or_else(
                // It cannot be trained, and is given up at once.
                |_| SegmentCourse { took_us: 0, last_epoch: segment.until_epoch, end: SegmentEnd::GivenUp },
                |plan| course(&plan, segment, of(&plan), &metric),
            )
        };
        let played = PlayedSearch {
            timeline: Timeline::new(self.clock, self.study.search.order.parallel, Box::new(planner)),
            search: Box::new(Stopping::new(self.study.search(), rules, objective, Box::new(planner))),
            trials_max: self.trials_max,
            course: Box::new(course),
        };
        played.on(cluster)
    }

    /// How much of 13 slots' time waits for the order, and what to write for less.
    fn order_text(&self, together: Played) -> String {
        let idle = together.order_us as f64 / (together.wall_us as f64).max(1.0);
        let parallel = self.study.search.order.parallel.get();
        let busy = if parallel < SLOTS && idle >= 0.5 {
            format!(
                "with parallel = {parallel}, about {idle:.0} of {SLOTS} slots wait for the order; parallel = {SLOTS} in \
                 [search] keeps more of them busy"
            )
        } else if idle / f64::from(SLOTS) < ORDER_WORTH_A_WORD {
            format!("none of {SLOTS} slots waits for the order")
        } else {
            format!("{SLOTS} slots wait {:.0} % of their time for the order", idle / f64::from(SLOTS) * 100.0)
        };
        let trials = counted(together.tasks, if self.has_rungs() { "segment" } else { "trial" });
        format!("\n\x20 order        an estimate: {trials} with made-up results, in the order of this search; {busy}")
    }

    fn has_rungs(&self) -> bool {
        let epochs = NonZeroU32::MAX;
        self.study.first_segment(epochs) != epochs
    }
}

/// What comes of a segment of a trial that takes so many parts in all; its result is the same after each epoch.
fn course(plan: &TrialPlan, segment: Segment, took: f64, metric: &MetricName) -> SegmentCourse {
    let Segment { replicate, from_epoch, until_epoch } = segment;
    let share = f64::from(until_epoch - from_epoch) / f64::from(plan.epochs.max(1));
    // Evenly spread, whatever the number of trials: multiples of the golden ratio.
    let value = (f64::from(replicate.trial.0) * 0.618_033_988_749_894_9).fract();
    let (epoch, metrics) = (until_epoch, Metrics::from_iter([(metric.clone(), value)]));
    let end = if until_epoch < plan.epochs {
        SegmentEnd::Paused { epoch, metrics }
    } else {
        SegmentEnd::Finished { epoch, metrics }
    };
    SegmentCourse { took_us: (took * share).round() as u64, last_epoch: until_epoch, end }
}
