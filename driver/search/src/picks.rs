//! The configurations of a study in the order in which they are started: those that it gives, and then what its sampler
//! picks.

use broadsweep_common::configuration::Configuration;

use super::decision::Origin;
use super::sampler::{Knowledge, Observation, Sampler};

/// The control and the starting points, where a study has some, and then what a sampler picks; each configuration once.
pub(crate) struct Picks {
    given: Vec<(Configuration, Origin)>,
    /// How many of the given ones the sampler has picked as well.
    given_picked: usize,
    sampler: Box<dyn Sampler>,
    /// Configurations that were started.
    started: u64,
}

impl Picks {
    pub(crate) fn new(control: Option<Configuration>, sampler: Box<dyn Sampler>) -> Self {
        let given = control.into_iter().map(|control| (control, Origin::Control)).collect();
        Self { given, given_picked: 0, sampler, started: 0 }
    }

    /// Behind the control come these.
    pub(crate) fn give(&mut self, initial: Vec<Configuration>) {
        let numbered = (0..).zip(initial).map(|(number, configuration)| (configuration, Origin::Initial(number)));
        self.given.extend(numbered);
    }

    /// How many of those that the study gives the sampler has picked as well.
    pub(crate) fn given_picked(&self) -> usize {
        self.given_picked
    }

    /// Whether the sampler looks at results.
    pub(crate) fn learns(&self) -> bool {
        self.sampler.learns()
    }

    /// Whether the next one is given by the study.
    pub(crate) fn given_is_due(&self) -> bool {
        self.started < self.given.len() as u64
    }

    /// The next one, which is started; `None` if there are no more.
    pub(crate) fn next(
        &mut self,
        observed: &[Observation],
        under_way: &[Configuration],
    ) -> Option<(Configuration, Origin)> {
        if let Some((given, origin)) = self.given.get(self.started as usize).cloned() {
            self.recall(&given, origin);
            return Some((given, origin));
        }
        let knowledge = Knowledge { observed, under_way, decision: self.started };
        while let Some((configuration, origin)) = self.sampler.next(knowledge) {
            if self.given.iter().all(|(given, _)| *given != configuration) {
                self.started += 1;
                return Some((configuration, origin));
            }
            self.given_picked += 1;
        }
        None
    }

    /// One that was started under an earlier driver.
    pub(crate) fn recall(&mut self, configuration: &Configuration, origin: Origin) {
        self.started += 1;
        self.sampler.recall(configuration, origin);
    }
}
