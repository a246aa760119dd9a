//! The search of a finished run, as it was: it answers what it answered, and its segments take what they took.

use std::collections::{BTreeSet, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::Segment;
use broadsweep_search::virtual_time::lag;
use broadsweep_search::{
    Decision, Origin, PlannedCosts, Running, Search, SearchClock, Seen, SegmentEnd, Timeline, VirtualTime,
};

use super::searching::{PlayedSearch, SegmentCourse};
use crate::plan::cost_of_epochs;
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};
use crate::records::searched::{SearchAct, SearchRecord, SearchStep};

/// By what a recorded trial is known to its timeline, whatever its values were.
const NUMBER: &str = "number";

/// What a search decided when, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RecordedSearch {
    pub(super) clock: SearchClock,
    pub(super) slots: NonZeroU32,
    pub(super) steps: Vec<SearchStep>,
    pub(super) trials: Vec<RecordedTrial>,
}

/// What is known of a trial.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RecordedTrial {
    pub(super) cost: u64,
    pub(super) epochs: NonZeroU32,
    /// What came of its segments, in their order.
    pub(super) courses: Vec<SegmentCourse>,
}

impl RecordedSearch {
    /// That of a run whose trials have ended, if it saw results. `took_us` has what each segment of each trial took, and
    /// `pace` what a unit of cost took: one that was given up has no result, and elsewhere it would have.
    pub(super) fn of(run: &RunRecord, took_us: &[Vec<u64>], pace: f64) -> Option<Self> {
        let search = run.search.as_ref()?;
        let mut segments_until = vec![Vec::new(); run.trials.len()];
        for step in &search.steps {
            if let Some((trial, until_epoch)) = step.trains() {
                segments_until.get_mut(trial.0 as usize).into_iter().for_each(|list| list.push(until_epoch));
            }
        }
        let trials =
            run.trials.iter().zip(&segments_until).zip(took_us).map(|((record, until), took)| RecordedTrial {
                cost: record.cost,
                epochs: NonZeroU32::new(record.epochs_max).unwrap_or(NonZeroU32::MIN),
                courses: courses(record, until, took, pace),
            });
        Some(Self {
            clock: clock(search, &run.trials, &segments_until),
            slots: NonZeroU32::new(search.parallel).unwrap_or(NonZeroU32::MIN),
            steps: search.steps.clone(),
            trials: trials.collect(),
        })
    }

    /// Whether results counted as they came: then another cluster would have decided otherwise.
    pub(super) fn is_asynchronous(&self) -> bool {
        self.clock == SearchClock::Arrivals
    }

    /// Segments of all trials.
    pub(super) fn segments(&self) -> usize {
        self.trials.iter().map(|trial| trial.courses.len()).sum()
    }

    /// What all segments of a trial take together, in microseconds.
    pub(super) fn took_us(&self, trial: TrialId) -> u64 {
        let courses = self.trials.get(trial.0 as usize).map(|trial| trial.courses.as_slice()).unwrap_or_default();
        courses.iter().map(|course| course.took_us).fold(0, u64::saturating_add)
    }

    /// The same search again, each of whose attempts takes so much beside its work.
    pub(super) fn again(&self, overhead_us: u64) -> PlayedSearch<'_> {
        let steps = self.steps.iter().map(|step| (step.v, decision(step.act))).collect();
        let search = Repeated { steps, clock: self.clock, paused: BTreeSet::new() };
        let course = move |segment: Segment, _: &Configuration| self.course(segment, overhead_us);
        PlayedSearch {
            timeline: Timeline::new(self.clock, self.slots, Box::new(self)),
            search: Box::new(search),
            trials_max: self.trials.len() as u32,
            course: Box::new(course),
        }
    }

    fn course(&self, segment: Segment, overhead_us: u64) -> SegmentCourse {
        let trial = self.trials.get(segment.replicate.trial.0 as usize);
        // Segments of a trial follow each other: this is the one that ends here, or where it was cut.
        let ends_here = |course: &&SegmentCourse| course.last_epoch > segment.from_epoch;
        let course = trial.and_then(|trial| trial.courses.iter().find(ends_here)).cloned();
        let unknown = SegmentCourse { took_us: 0, last_epoch: segment.until_epoch, end: SegmentEnd::GivenUp };
        let course = course.unwrap_or(unknown);
        SegmentCourse { took_us: course.took_us.saturating_add(overhead_us), ..course }
    }

    fn trial(&self, configuration: &Configuration) -> Option<&RecordedTrial> {
        let Some(Value::Integer(number)) = configuration.get(NUMBER) else { return None };
        self.trials.get(usize::try_from(*number).ok()?)
    }
}

impl PlannedCosts for &RecordedSearch {
    fn epochs(&self, configuration: &Configuration) -> NonZeroU32 {
        self.trial(configuration).map_or(NonZeroU32::MIN, |trial| trial.epochs)
    }

    fn cost(&self, configuration: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        let cost = |trial: &RecordedTrial| cost_of_epochs(trial.cost, trial.epochs.get(), epochs);
        self.trial(configuration).map_or(NonZeroU64::MIN, cost)
    }
}

/// By what the moments of the search are counted. Runs that did not write down their lag drew their trials from the space
/// that it is the median of.
fn clock(search: &SearchRecord, trials: &[TrialRecord], segments_until: &[Vec<Option<u32>>]) -> SearchClock {
    if search.is_asynchronous {
        return SearchClock::Arrivals;
    }
    let first_segments = trials.iter().zip(segments_until).map(|(trial, until)| {
        let until_epoch = until.first().copied().flatten().unwrap_or(trial.epochs_max);
        cost_of_epochs(trial.cost, trial.epochs_max, 0..until_epoch)
    });
    SearchClock::Virtual { lag: search.lag.unwrap_or_else(|| lag(first_segments)) }
}

/// What came of the segments of a trial that has ended, of which is known where each was to end and what it took.
fn courses(trial: &TrialRecord, until: &[Option<u32>], took_us: &[u64], pace: f64) -> Vec<SegmentCourse> {
    let (mut courses, mut from_epoch) = (Vec::new(), 0);
    for (number, until_epoch) in until.iter().enumerate() {
        let until_epoch = until_epoch.unwrap_or(trial.epochs_max).clamp(from_epoch + 1, u32::MAX);
        let until_epoch = until_epoch.min(trial.epochs_max.max(from_epoch + 1));
        let (metrics, measured_us) = (Metrics::default(), took_us.get(number).copied().unwrap_or_default());
        let is_last = number + 1 == until.len();
        let (took_us, last_epoch, end) = match &trial.outcome {
            TrialOutcome::Finished { epoch } if is_last => {
                (measured_us, trial.curves.epochs(), SegmentEnd::Finished { epoch: *epoch, metrics })
            }
            TrialOutcome::Diverged { epoch } if is_last => {
                (measured_us, *epoch, SegmentEnd::Diverged { epoch: *epoch })
            }
            TrialOutcome::LeftOut if is_last => (0, until_epoch, SegmentEnd::GivenUp),
            TrialOutcome::GivenUp { .. } if is_last => {
                let cost = cost_of_epochs(trial.cost, trial.epochs_max, from_epoch..until_epoch);
                ((cost.get() as f64 * pace) as u64, until_epoch, SegmentEnd::GivenUp)
            }
            TrialOutcome::Finished { .. }
            | TrialOutcome::Diverged { .. }
            | TrialOutcome::GivenUp { .. }
            | TrialOutcome::Paused { .. }
            | TrialOutcome::NotRun
            | TrialOutcome::LeftOut => (measured_us, until_epoch, SegmentEnd::Paused { epoch: until_epoch, metrics }),
        };
        courses.push(SegmentCourse { took_us, last_epoch: last_epoch.clamp(from_epoch + 1, until_epoch), end });
        from_epoch = until_epoch;
    }
    courses
}

/// A recorded decision, as the search says it.
fn decision(act: SearchAct) -> Decision {
    match act {
        SearchAct::Start { trial, until_epoch } => Decision::Start {
            configuration: Configuration::from_iter([(NUMBER, Value::Integer(trial.0.into()))]),
            origin: Origin::Draw(trial.0.into()),
            until_epoch,
        },
        SearchAct::Continue { trial, until_epoch } => Decision::Continue { trial, until_epoch },
        SearchAct::Ended => Decision::Ended,
    }
}

/// Answers what was answered before: in virtual time at the same moments. Where results count as they come, they come in
/// another order than they did: then the first answer that is possible, since a trial goes on only after it has paused.
struct Repeated {
    steps: VecDeque<(VirtualTime, Decision)>,
    clock: SearchClock,
    paused: BTreeSet<TrialId>,
}

impl Repeated {
    /// Which answer is next; `None` to wait.
    fn next_place(&self, v: VirtualTime) -> Option<usize> {
        let is_possible = |(place, (at, decision)): &(usize, &(VirtualTime, Decision))| match (self.clock, decision) {
            (SearchClock::Virtual { .. }, _) => *place == 0 && *at <= v,
            (SearchClock::Arrivals, Decision::Continue { trial, .. }) => self.paused.contains(trial),
            (SearchClock::Arrivals, Decision::Start { .. }) => true,
            (SearchClock::Arrivals, Decision::Wait | Decision::Ended) => *place == 0,
        };
        self.steps.iter().enumerate().find(is_possible).map(|(place, _)| place)
    }
}

impl Search for Repeated {
    fn next(&mut self, v: VirtualTime, seen: &[Seen], running: &dyn Running) -> Decision {
        let paused = seen.iter().filter(|seen| matches!(seen.end, SegmentEnd::Paused { .. }));
        self.paused.extend(paused.map(|seen| seen.segment.replicate.trial));
        // Nobody waits for nothing.
        let place = self.next_place(v).or_else(|| running.trials().next().is_none().then_some(0));
        let Some(place) = place else { return Decision::Wait };
        let Some((_, decision)) = self.steps.remove(place) else { return Decision::Ended };
        if let Decision::Continue { trial, .. } = &decision {
            self.paused.remove(trial);
        }
        decision
    }

    fn recall(&mut self, _: &Decision) {}
}
