//! The search that a study asks for.

use std::fmt::Write as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::Part;
use broadsweep_common::ids::Digest;
use broadsweep_search::virtual_time::LAG_DRAWS;
use broadsweep_search::{
    Decision, Knowledge, Origin, PlannedCosts, Pruned, PrunerKind, Sampled, SamplerKind, Search, StopRules,
    VirtualTime,
};

use super::pruner::common_epochs;
use super::{Diagnostic, Order, ReplaySettings, SearchSettings, Study, Trainer};
use crate::records::searched::SearchRecord;

/// Of a budget of epochs, one part of so many may go into first segments before any trial is continued.
const COMPARED_PART: u64 = 4;

/// The epochs that all trials of a study with a pruner have, and one cost of each.
struct CommonEpochs(NonZeroU32);

impl PlannedCosts for CommonEpochs {
    fn epochs(&self, _: &Configuration) -> NonZeroU32 {
        self.0
    }

    fn cost(&self, _: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        NonZeroU64::new(u64::from(epochs.end.saturating_sub(epochs.start))).unwrap_or(NonZeroU64::MIN)
    }
}

fn next_drawn(search: &mut Sampled) -> Option<(Configuration, Origin)> {
    match search.next(VirtualTime::default(), &[], &()) {
        Decision::Start { configuration, origin, .. } => Some((configuration, origin)),
        Decision::Continue { .. } | Decision::Wait | Decision::Ended => None,
    }
}

impl Study {
    /// Whether what is tried depends on results. Otherwise all of it is decided before anything is trained.
    #[must_use]
    pub fn sees_results(&self) -> bool {
        self.search.sampler.learns() || self.search.pruner != PrunerKind::None || self.search.stop.is_any()
    }

    /// The search that decides what is trained. Trial `n` is the `n`th that it starts: the control comes first, then the
    /// starting points, then what the sampler picks.
    #[must_use]
    pub fn search(&self) -> Box<dyn Search> {
        match (self.search.pruner, common_epochs(&self.trainer)) {
            (PrunerKind::None, _) | (_, Err(_)) => Box::new(self.sampled()),
            (pruner, Ok(epochs)) => {
                let SearchSettings { sampler, space, .. } = &self.search;
                let (sampler, objective) = (sampler.sampler(self.seed, space), self.objectives().first().clone());
                let costs = Box::new(CommonEpochs(epochs));
                let pruned = Pruned::new(self.control.clone(), sampler, pruner.pruner(), objective, costs);
                let first = u64::from(self.first_segment(epochs).get());
                let compared = match (self.search.stop.epochs, self.search.stop.cost) {
                    (Some(budget), _) => {
                        usize::try_from(budget.get() / (COMPARED_PART * first)).unwrap_or(usize::MAX)
                    }
                    (None, Some(_)) => 0,
                    (None, None) => usize::MAX,
                };
                Box::new(pruned.starting_from(self.initial.clone()).comparing_at_most(compared))
            }
        }
    }

    /// The same, without a pruner.
    fn sampled(&self) -> Sampled {
        let SearchSettings { sampler, space, .. } = &self.search;
        Sampled::new(self.control.clone(), sampler.sampler(self.seed, space), self.objectives().first().clone())
            .starting_from(self.initial.clone())
    }

    /// The digest of what is searched and how: a run goes on only with the search that it began with.
    #[must_use]
    pub fn search_digest(&self) -> Digest {
        // What these types print tells their values apart, and they hold nothing but values.
        let SearchSettings { sampler, pruner, stop, order, select, objectives, measures, space, .. } = &self.search;
        let told = (sampler, select, space, &self.control);
        let mut told = format!("{told:?}");
        // Told only where `select` does not say it, so that runs from before there were any go on.
        if *objectives != select.objective().into() {
            let _ = write!(told, "{objectives:?}");
        }
        if !self.initial.is_empty() {
            let _ = write!(told, " initial {:?}", self.initial);
        }
        if measures.iter().any(|reported| !reported.measure.is_of_values()) {
            // By what they are called: the numbers of classes are known once there is data.
            let names: Vec<_> = measures.iter().map(|reported| reported.metric(Part::Train).as_str()).collect();
            let _ = write!(told, "{names:?}");
        }
        if self.sees_results() {
            // Of a search that sees nothing, it changes nothing.
            let _ = write!(told, "{pruner:?}{stop:?}{order:?}");
        }
        Digest::of(told.as_bytes())
    }

    /// Why no more trials can be asked for than there are, if so.
    #[must_use]
    pub fn unextendable(&self) -> Option<&'static str> {
        match (&self.trainer, self.search.sampler) {
            (Trainer::Replay(ReplaySettings::Recorded { .. }), _) => {
                Some("it replays recorded trials, and there are no others")
            }
            (Trainer::Model(_), _) => Some("it applies a finished model, and trains nothing"),
            (_, SamplerKind::Grid) => Some("a grid tries each of its combinations, and there are no others"),
            _ => None,
        }
    }

    /// How many configurations the sampler has picked once so many trials of its picks were started: some of them the study may
    /// give as well, and these were started before.
    #[must_use]
    pub fn picked_for(&self, started: u32) -> u32 {
        if self.search.sampler.learns() {
            return started; // it knows what was started
        }
        let given = u32::from(self.control.is_some()) + self.initial.len() as u32;
        let mut search = self.extended(started.saturating_add(given)).sampled();
        let is_picked =
            |drawn: Option<(Configuration, Origin)>| drawn.map(|(_, origin)| u32::from(!origin.is_given()));
        let mut found = 0;
        while found < started
            && let Some(picked) = is_picked(next_drawn(&mut search))
        {
            found += picked;
        }
        found + search.given_picked() as u32
    }

    /// The same study once somebody asked for more trials than it has: its sampler picks so many, and nothing ends its search
    /// before.
    #[must_use]
    pub fn extended(&self, picks: u32) -> Self {
        let mut study = self.clone();
        study.search.sampler = study.search.sampler.picking(picks);
        if study.search.stop.is_any() {
            // Nobody can spend so much; and what sees results goes on doing so.
            study.search.stop = StopRules { epochs: Some(NonZeroU64::MAX), ..StopRules::default() };
        }
        study.search.max_time = None;
        study
    }

    /// How many trials the search starts at most.
    #[must_use]
    pub fn trials_max(&self) -> u64 {
        let sampled = self.search.sampler.trials_max(&self.search.space);
        sampled.saturating_add(u64::from(self.control.is_some())).saturating_add(self.initial.len() as u64)
    }

    /// All that the search starts before any result is seen, in order, each with where it is from: nothing, if it sees
    /// results.
    ///
    /// # Errors
    /// [`Diagnostic`] if a random search did not find so many different configurations.
    pub fn drawn(&self) -> Result<Vec<(Configuration, Origin)>, Diagnostic> {
        if self.sees_results() {
            return Ok(Vec::new());
        }
        let mut search = self.sampled();
        let drawn: Vec<_> = std::iter::from_fn(|| next_drawn(&mut search)).collect();
        let picked = drawn.iter().filter(|(_, origin)| !origin.is_given()).count();
        // One that a given one takes the place of was drawn, too.
        let picked = picked + search.given_picked();
        if self.search.sampler.wanted().is_some_and(|wanted| picked < wanted as usize) {
            let message = format!("only {picked} different configurations were drawn; ask for fewer");
            return Err(self.at("search.trials", message));
        }
        Ok(drawn)
    }

    /// What a search that sees no results starts, in order, as far as there are configurations.
    pub fn draw(&self) -> impl Iterator<Item = (Configuration, Origin)> {
        let mut search = self.sampled();
        std::iter::from_fn(move || next_drawn(&mut search))
    }

    /// The control, and random configurations of the space: what trials of a search that sees results may be.
    #[must_use]
    pub fn examples(&self) -> Vec<Configuration> {
        let mut sampler = SamplerKind::Random { trials: LAG_DRAWS as u32 }.sampler(self.seed, &self.search.space);
        let drawn = (0..LAG_DRAWS).map_while(|decision| {
            let (configuration, _) = sampler.next(Knowledge { decision, ..Knowledge::default() })?;
            Some(configuration)
        });
        self.control.clone().into_iter().chain(drawn).collect()
    }

    /// The epochs of a trial up to where it pauses first, of so many that it has.
    #[must_use]
    pub fn first_segment(&self, epochs: NonZeroU32) -> NonZeroU32 {
        match self.search.pruner {
            PrunerKind::None => epochs,
            PrunerKind::Asha(spacing) | PrunerKind::Hyperband(spacing) | PrunerKind::Median { spacing, .. } => {
                spacing.min_epochs.min(epochs)
            }
            PrunerKind::TopK { rung, .. } => rung.min(epochs),
        }
    }

    /// How the search is asked, if it sees results.
    #[must_use]
    pub fn search_record(&self) -> Option<SearchRecord> {
        let SearchSettings { sampler, pruner, order: Order { parallel, is_asynchronous }, .. } = self.search;
        let SearchSettings { why_chosen, space, .. } = &self.search;
        self.sees_results().then(|| SearchRecord {
            sampler,
            space: space.clone(),
            why_chosen: why_chosen.clone(),
            pruner,
            parallel: parallel.get(),
            trials_max: self.trials_max(),
            may_stop: self.search.stop.is_any(),
            is_asynchronous,
            is_deterministic: self.is_deterministic(),
            lag: None,
            steps: Vec::new(),
        })
    }
}
