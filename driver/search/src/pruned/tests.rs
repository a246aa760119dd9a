//! What a search with a pruner promises, for each pruner and sampler.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use broadsweep_common::configuration::Value;
use broadsweep_common::metrics::{Direction, MetricName, Metrics};
use broadsweep_common::seeds::{Rng, sampler_rng};
use broadsweep_common::task::{Replicate, Segment};
use proptest::prelude::*;
use rand_chacha::rand_core::Rng as _;

use super::*;
use crate::decision::RunningTrial;
use crate::pruner::{PrunerKind, RungSpacing};
use crate::sampler::Knowledge;
use crate::space::{Domain, Space, below};
use crate::virtual_time::{EpochEnd, NewDecision, SearchClock, Timeline};
use crate::{Sampled, SamplerKind};

const SLOTS: NonZeroU32 = NonZeroU32::new(4).unwrap();

/// Trials whose epochs, costs and curves follow from their configuration.
#[derive(Clone, Copy, Debug)]
struct Curves {
    /// Epochs that trials have; if they differ, each has between half and all of them.
    epochs_max: u32,
    epochs_differ: bool,
    /// Of 16 trials, how many diverge or stop early.
    cut: u64,
}

impl Curves {
    fn bits(configuration: &Configuration) -> u64 {
        u64::from_le_bytes(configuration.digest().0.0[..8].try_into().unwrap())
    }

    fn last_epoch(self, configuration: &Configuration) -> u32 {
        let fewer = below(u64::from(self.epochs_max / 2 + 1), Self::bits(configuration).rotate_left(17)) as u32;
        self.epochs_max - if self.epochs_differ { fewer } else { 0 }
    }

    /// What comes after an epoch.
    fn epoch_end(self, configuration: &Configuration, epoch: u32) -> EpochEnd {
        let bits = Self::bits(configuration);
        let is_cut = bits % 16 < self.cut && 1 + (bits >> 8) % u64::from(self.epochs_max) == u64::from(epoch);
        match is_cut {
            true if bits.is_multiple_of(2) => EpochEnd::Diverged,
            true => EpochEnd::StoppedEarly,
            false => EpochEnd::GoesOn,
        }
    }

    /// Few values, so that many are equal, and some that are none.
    fn metrics(configuration: &Configuration, epoch: u32) -> Metrics {
        let value = below(16, Self::bits(configuration).rotate_left(epoch)) as f64;
        let value = if value < 2.0 { f64::NAN } else { value };
        [(MetricName::VALIDATION_ERROR, value)]
            .into_iter()
            .filter(|(_, value)| *value < 15.0 || value.is_nan())
            .collect()
    }
}

impl PlannedCosts for Curves {
    fn epochs(&self, configuration: &Configuration) -> NonZeroU32 {
        NonZeroU32::new(self.last_epoch(configuration)).unwrap()
    }

    fn cost(&self, configuration: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        NonZeroU64::new(u64::from(epochs.end - epochs.start) * (1 + Self::bits(configuration) % 3)).unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
struct Study {
    sampler: SamplerKind,
    pruner: PrunerKind,
    direction: Direction,
    with_control: bool,
    curves: Curves,
}

fn space() -> Space {
    let whole = Domain::Integers { min: 1, max: 30, log: false, count: Some(8) };
    let words = ["a", "b", "c"].map(|word| Value::Choice(word.to_owned()));
    [("whole".to_owned(), whole), ("word".to_owned(), Domain::Values(words.into()))].into()
}

impl Study {
    fn search(self) -> Pruned {
        let control = [("whole", Value::Integer(1)), ("word", Value::Choice("b".to_owned()))];
        let control = self.with_control.then(|| Configuration::from_iter(control));
        let objective = Objective { metric: MetricName::VALIDATION_ERROR, direction: self.direction };
        Pruned::new(
            control,
            self.sampler.sampler(7, &space()),
            self.pruner.pruner(),
            objective,
            Box::new(self.curves),
        )
    }
}

/// One driver after the other, until all is decided and trained.
struct Play {
    study: Study,
    clock: SearchClock,
    search: Pruned,
    timeline: Timeline<'static>,
    decisions: Vec<NewDecision>,
    configurations: Vec<Configuration>,
    /// Of segments that are trained, how far and how they ended.
    trained: BTreeMap<Segment, (u32, Option<SegmentEnd>)>,
}

impl Play {
    fn new(study: Study, clock: SearchClock) -> Self {
        let timeline = Timeline::new(clock, SLOTS, Box::new(study.curves));
        let (decisions, configurations, trained) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut play = Self { study, clock, search: study.search(), timeline, decisions, configurations, trained };
        play.advance();
        play
    }

    fn advance(&mut self) {
        for new in self.timeline.advance(&mut self.search) {
            if let Decision::Start { configuration, .. } = &new.decision {
                self.configurations.push(configuration.clone());
            }
            self.decisions.push(new);
        }
    }

    /// A later driver, which is told what was written down.
    fn restart(&mut self) {
        self.search = self.study.search();
        self.timeline = Timeline::new(self.clock, SLOTS, Box::new(self.study.curves));
        self.decisions.iter().for_each(|new| self.timeline.recall(new.decision.clone(), new.v));
        for (segment, (epochs, end)) in &self.trained {
            let configuration = &self.configurations[segment.replicate.trial.0 as usize];
            for epoch in segment.from_epoch + 1..=*epochs {
                self.timeline.told(*segment, epoch, self.study.curves.epoch_end(configuration, epoch));
            }
            if let Some(end) = end {
                self.timeline.ended(*segment, end.clone());
            }
        }
        self.advance();
    }

    fn train_an_epoch(&mut self, segment: Segment) {
        let trial = segment.replicate.trial.0 as usize;
        let configuration = &self.configurations[trial];
        let (done, end) = self.trained.entry(segment).or_insert((segment.from_epoch, None));
        let epoch = *done + 1;
        *done = epoch;
        let epoch_end = self.study.curves.epoch_end(configuration, epoch);
        self.timeline.told(segment, epoch, epoch_end);
        let metrics = Curves::metrics(configuration, epoch);
        let last_epoch = self.study.curves.last_epoch(configuration);
        assert!(epoch <= segment.until_epoch && segment.until_epoch <= last_epoch, "trained beyond its epochs");
        *end = match epoch_end {
            EpochEnd::Diverged => Some(SegmentEnd::Diverged { epoch }),
            EpochEnd::StoppedEarly => Some(SegmentEnd::Finished { epoch, metrics }),
            EpochEnd::GoesOn if epoch == last_epoch => Some(SegmentEnd::Finished { epoch, metrics }),
            EpochEnd::GoesOn if epoch == segment.until_epoch => Some(SegmentEnd::Paused { epoch, metrics }),
            EpochEnd::GoesOn => None,
        };
        if let Some(end) = end.clone() {
            self.timeline.ended(segment, end);
        }
    }

    /// Plays to the end: what is trained next is drawn, and so is when a driver is killed (`kills` times in 64).
    fn decide_all(mut self, mut rng: Rng, kills: u64) -> Vec<NewDecision> {
        loop {
            let open: Vec<_> = self.timeline.open().collect();
            let Some(place) = open.len().checked_sub(1) else { break };
            self.train_an_epoch(open[below(place as u64 + 1, rng.next_u64()) as usize]);
            if below(64, rng.next_u64()) < kills {
                self.restart();
            } else {
                self.advance();
            }
        }
        assert!(self.timeline.is_over() && self.timeline.strayed().is_none(), "every search ends");
        self.decisions
    }
}

/// Picks three numbers, and writes down what it was shown.
struct Witness(Arc<Mutex<Vec<String>>>);

impl Sampler for Witness {
    fn next(&mut self, knowledge: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        let observed = knowledge.observed.iter();
        let observed = observed.map(|it| format!("{} {} after {}, ", it.configuration, it.loss, it.rung_epochs));
        let under_way = knowledge.under_way.iter().map(|configuration| format!("{configuration}, "));
        self.0.lock().unwrap().push([observed.collect::<String>(), under_way.collect()].join("| "));
        let configuration = Configuration::from_iter([("it", Value::Integer(knowledge.decision as i64))]);
        (knowledge.decision < 3).then_some((configuration, Origin::Draw(knowledge.decision)))
    }

    fn recall(&mut self, _: &Configuration, _: Origin) {}

    fn learns(&self) -> bool {
        true
    }
}

/// The segments that were decided and not seen to have ended.
struct UnderWay(Vec<(Segment, Configuration)>);

impl Running for UnderWay {
    fn trials(&self) -> Box<dyn Iterator<Item = RunningTrial<'_>> + '_> {
        Box::new(self.0.iter().map(|(segment, configuration)| RunningTrial { segment: *segment, configuration }))
    }
}

#[test]
fn promotions_come_before_new_trials_and_it_waits_while_a_paused_trial_may_go_on() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let [min_epochs, eta_percent, epochs_max] = [1, 200, 3].map(|number| NonZeroU32::new(number).unwrap());
    let asha = PrunerKind::Asha(RungSpacing { min_epochs, eta_percent, epochs_max }).pruner();
    let objective = Objective { metric: MetricName::VALIDATION_ERROR, direction: Direction::Maximize };
    let curves = Curves { epochs_max: 3, epochs_differ: false, cut: 0 };
    let mut search = Pruned::new(None, Box::new(Witness(Arc::clone(&shown))), asha, objective, Box::new(curves));
    let segment = |trial, from_epoch, until_epoch| Segment {
        replicate: Replicate::first(TrialId(trial)),
        from_epoch,
        until_epoch,
    };
    let paused = |segment: Segment, value: f64| {
        let metrics = [(MetricName::VALIDATION_ERROR, value)].into_iter().collect();
        Seen { segment, end: SegmentEnd::Paused { epoch: segment.until_epoch, metrics } }
    };
    let it = |trial: u32| Configuration::from_iter([("it", Value::Integer(i64::from(trial)))]);
    let mut next = |seen: &[Seen], running: &[Segment]| {
        let running = running.iter().map(|segment| (*segment, it(segment.replicate.trial.0))).collect();
        match search.next(VirtualTime(0), seen, &UnderWay(running)) {
            Decision::Start { configuration, until_epoch, .. } => format!("{configuration} until {until_epoch:?}"),
            Decision::Continue { trial, until_epoch } => format!("{trial} until {until_epoch}"),
            other => format!("{other:?}"),
        }
    };
    let (zero, one, two) = (segment(0, 0, 1), segment(1, 0, 1), segment(2, 0, 1));
    let decisions = [
        next(&[], &[]),
        next(&[], &[zero]),
        next(&[paused(zero, 2.0), paused(one, 4.0)], &[]),
        next(&[], &[segment(1, 1, 2)]),
        next(&[], &[segment(1, 1, 2), two]),
        next(&[paused(two, 3.0)], &[segment(1, 1, 2)]),
        next(&[paused(segment(1, 1, 2), 5.0)], &[]),
        next(&[], &[segment(1, 2, 3)]),
        next(&[Seen { segment: segment(1, 2, 3), end: SegmentEnd::Diverged { epoch: 3 } }], &[]),
    ];
    let first = ["it=0 until Some(1)", "it=1 until Some(1)", "trial 1 until 2", "it=2 until Some(1)", "Wait", "Wait"];
    assert_eq!(decisions[..6], first);
    assert_eq!(decisions[6..8], ["trial 1 until 3", "Wait"]);
    // The only one that was to get to its end diverged there: the best of the others goes on, and then the next one.
    assert_eq!(decisions[8], "trial 2 until 2");
    let diverged = |segment| Seen { segment, end: SegmentEnd::Diverged { epoch: 2 } };
    assert_eq!(next(&[diverged(segment(2, 1, 2))], &[]), "trial 0 until 2");
    assert_eq!(next(&[diverged(segment(0, 1, 2))], &[]), "Ended");
    let shown = shown.lock().unwrap();
    assert_eq!(shown[..3], ["| ", "| it=0, ", "it=0 -2 after 1, it=1 -4 after 1, | "], "one is continued");
}

#[test]
fn a_sampler_that_does_not_learn_is_compared_before_any_trial_goes_on_and_one_that_learns_is_not() {
    let [min_epochs, eta_percent, epochs_max] = [1, 150, 9].map(|number| NonZeroU32::new(number).unwrap());
    let pruner = PrunerKind::Asha(RungSpacing { min_epochs, eta_percent, epochs_max });
    let curves = Curves { epochs_max: 9, epochs_differ: false, cut: 0 };
    let early_of = |sampler| {
        let study = Study { sampler, pruner, direction: Direction::Minimize, with_control: false, curves };
        let decisions = Play::new(study, in_virtual_time(1)).decide_all(sampler_rng(3, 1), 0);
        let starts = decisions.iter().rposition(|new| matches!(new.decision, Decision::Start { .. })).unwrap();
        decisions[..starts].iter().filter(|new| matches!(new.decision, Decision::Continue { .. })).count()
    };
    assert_eq!(early_of(SamplerKind::Random { trials: 20 }), 0);
    assert!(early_of(SamplerKind::Tpe { trials: 20 }) > 0);
}

fn studies() -> impl Strategy<Value = Study> {
    let number = |range: Range<u32>| range.prop_map(|number| NonZeroU32::new(number).unwrap());
    let spacing = (number(1..4), number(110..500), number(1..30));
    let spacing =
        spacing.prop_map(|(min_epochs, eta_percent, epochs_max)| RungSpacing { min_epochs, eta_percent, epochs_max });
    let sampler = (1_u32..30, 0_usize..3).prop_map(|(trials, kind)| {
        [SamplerKind::Grid, SamplerKind::Random { trials }, SamplerKind::Tpe { trials }][kind]
    });
    let pruner = (spacing, number(1..6), 0_usize..5).prop_map(|(spacing, few, kind)| {
        [
            PrunerKind::None,
            PrunerKind::Asha(spacing),
            PrunerKind::Hyperband(spacing),
            PrunerKind::Median { spacing, results_min: few },
            PrunerKind::TopK { rung: spacing.min_epochs, k: few },
        ][kind]
    });
    let curves = (1_u32..20, any::<bool>(), 0_u64..8);
    let curves = curves.prop_map(|(epochs_max, epochs_differ, cut)| Curves { epochs_max, epochs_differ, cut });
    (sampler, pruner, any::<bool>(), any::<bool>(), curves).prop_map(
        |(sampler, pruner, maximize, with_control, curves)| {
            let direction = if maximize { Direction::Maximize } else { Direction::Minimize };
            Study { sampler, pruner, direction, with_control, curves }
        },
    )
}

fn in_virtual_time(lag: u64) -> SearchClock {
    SearchClock::Virtual { lag: NonZeroU64::new(lag).unwrap() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn neither_the_order_of_reports_nor_killed_drivers_change_a_decision(
        study in studies(), lag in 1_u64..30, seed: u64, kills in 0_u64..6,
    ) {
        let expected = Play::new(study, in_virtual_time(lag)).decide_all(sampler_rng(0, 0), 0);
        prop_assert_eq!(Play::new(study, in_virtual_time(lag)).decide_all(sampler_rng(seed, 1), kills), expected);
    }

    #[test]
    fn by_arrivals_every_search_ends_with_a_trial_at_its_end(study in studies(), seed: u64) {
        let study = Study { curves: Curves { cut: 0, ..study.curves }, ..study };
        let decisions = Play::new(study, SearchClock::Arrivals).decide_all(sampler_rng(seed, 1), 0);
        let started = decisions.iter().filter_map(|new| match &new.decision {
            Decision::Start { configuration, .. } => Some(study.curves.last_epoch(configuration)),
            _ => None,
        });
        let last_epochs: Vec<_> = started.collect();
        let is_full = |segment: Segment| segment.until_epoch == last_epochs[segment.replicate.trial.0 as usize];
        prop_assert!(decisions.iter().filter_map(|new| new.segment).any(is_full));
        prop_assert_eq!(decisions.last().map(|last| &last.decision), Some(&Decision::Ended));
    }

    #[test]
    fn without_a_pruner_decisions_are_those_of_the_plain_search(study in studies(), seed: u64, lag in 1_u64..30) {
        let study = Study { pruner: PrunerKind::None, with_control: false, ..study };
        let pruned = Play::new(study, in_virtual_time(lag)).decide_all(sampler_rng(seed, 1), 0);
        let objective = Objective { metric: MetricName::VALIDATION_ERROR, direction: study.direction };
        let mut plain = Sampled::new(None, study.sampler.sampler(7, &space()), objective);
        let mut play = Play::new(study, in_virtual_time(lag));
        play.timeline = Timeline::new(play.clock, SLOTS, Box::new(study.curves));
        let mut decisions = play.timeline.advance(&mut plain);
        loop {
            let open = play.timeline.open().next();
            let Some(segment) = open else { break };
            let started = decisions.iter().filter_map(|new: &NewDecision| match &new.decision {
                Decision::Start { configuration, .. } => Some(configuration.clone()),
                _ => None,
            });
            play.configurations = started.collect();
            play.train_an_epoch(segment);
            decisions.extend(play.timeline.advance(&mut plain));
        }
        prop_assert_eq!(decisions, pruned);
    }
}
