//! The configurations of a study in the order in which they are started: the control, and then what its sampler picks.

use broadsweep_common::configuration::Configuration;

use super::decision::Origin;
use super::sampler::{Knowledge, Observation, Sampler};

/// The control, where a study has one, and then what a sampler picks; each configuration once.
pub(crate) struct Picks {
    control: Option<Configuration>,
    has_picked_control: bool,
    sampler: Box<dyn Sampler>,
    /// Configurations that were started.
    started: u64,
}

impl Picks {
    pub(crate) fn new(control: Option<Configuration>, sampler: Box<dyn Sampler>) -> Self {
        Self { control, has_picked_control: false, sampler, started: 0 }
    }

    /// Whether the sampler has picked the control as well.
    pub(crate) fn has_picked_control(&self) -> bool {
        self.has_picked_control
    }

    /// Whether the sampler looks at results.
    pub(crate) fn learns(&self) -> bool {
        self.sampler.learns()
    }

    /// Whether the next one is the control.
    pub(crate) fn control_is_due(&self) -> bool {
        self.control.is_some() && self.started == 0
    }

    /// The next one, which is started; `None` if there are no more.
    pub(crate) fn next(
        &mut self,
        observed: &[Observation],
        under_way: &[Configuration],
    ) -> Option<(Configuration, Origin)> {
        if self.control_is_due() {
            let control = self.control.clone()?;
            self.recall(&control, Origin::Control);
            return Some((control, Origin::Control));
        }
        let knowledge = Knowledge { observed, under_way, decision: self.started };
        while let Some((configuration, origin)) = self.sampler.next(knowledge) {
            if self.control.as_ref() != Some(&configuration) {
                self.started += 1;
                return Some((configuration, origin));
            }
            self.has_picked_control = true;
        }
        None
    }

    /// One that was started under an earlier driver.
    pub(crate) fn recall(&mut self, configuration: &Configuration, origin: Origin) {
        self.started += 1;
        self.sampler.recall(configuration, origin);
    }
}
