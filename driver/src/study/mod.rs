//! The study file: read, checked, and the configurations that it asks for.
//!
//! | module | holds |
//! |---|---|
//! | `diagnostic` | an error with its line and carets |
//! | `reader` | TOML values that know their place |
//! | `file` | [`parse`]: the file from its first key to its last |
//! | `trainer`, `data`, `model`, `training`, `search`, `space`, `scheduling` | one table of the file each |
//! | `apply` | a finished model and the rows that it is applied to: what a run has that trains nothing |
//! | `objectives` | by what trials are compared, and what is measured for that |
//! | `pruner`, `stop` | how epochs are kept from trials that are not worth them, and when a search ends |
//! | `searched` | the search that a study asks for |
//! | `program`, `cost` | the trainer that is somebody's program, and what its trials cost |
//! | `conditions`, `constraints` | when parameters are there, and what must hold between them |
//! | `given` | the configurations that the study gives itself |
//! | `setting` | what a setting accepts, fixed or searched |
//! | `data_table` | the keys of the data table that tables have |
//! | [`changes`] | values that the command line changes, in the text of the file |
//!
//! It takes text: reading the file, and the files that it names, is done elsewhere.

mod apply;
pub mod changes;
mod conditions;
mod constraints;
mod cost;
mod data;
mod data_table;
mod diagnostic;
mod file;
mod given;
mod mapper;
mod model;
mod objectives;
mod program;
mod pruner;
mod reader;
mod scheduling;
mod search;
mod searched;
mod setting;
mod space;
mod stop;
#[cfg(test)]
mod tests;
mod trainer;
mod training;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::Part;
use broadsweep_common::measure::{Measure, Reported, Watched};
use broadsweep_common::metrics::MetricName;
use broadsweep_common::model::{Loss, ModelDescription};
use broadsweep_common::program::ProgramDescription;
use broadsweep_common::replay::{GivenReplay, Recording, Replay, ReplayDescription};
use broadsweep_common::task::{Select, StudyDescription, TrainerDescription};
use broadsweep_common::training::TrainingDescription;

use broadsweep_scheduler::SchedulingConfig;
use broadsweep_search::ranking::Objectives;
use broadsweep_search::{PrunerKind, SamplerKind, Space, StopRules};

use self::diagnostic::Source;
use self::file::Spans;

pub use self::apply::{ApplySettings, ForeignSettings, Onto, PARTITION_ROWS, PARTITION_ROWS_MAX};
pub use self::cost::Cost;
pub use self::diagnostic::Diagnostic;
pub use self::file::{parse, parse_model};
pub use self::given::{INITIAL_MAX, InitialFrom};
pub use self::mapper::{BATCH_ROWS, MapperSettings, Mapping, SILENT_S, SILENT_S_MAX};
pub use broadsweep_data::settings::{
    ArrayPair, ColumnName, DataSettings, DataSource, Extra, HeldOut, ImageLayout, LabelKind, Missing, PartArrays,
    PartFiles, PartNames, PartPaths, ScalingKind, TableFormat, TableSource, TestUse,
};

/// Classes that an error lists.
const CLASSES_LISTED_MAX: usize = 20;

/// A checked study: nothing in it is out of range or refers to nothing.
#[derive(Clone, Debug)]
pub struct Study {
    /// Names the run folder: letters, digits, `-` and `_`.
    pub name: String,
    /// All random numbers of the study come from it; 0 unless the study says otherwise.
    pub seed: u64,
    /// What a trial does.
    pub trainer: Trainer,
    /// Where the data is and how it is read. Only a trained network cannot do without.
    pub data: Option<DataSettings>,
    /// Files and folders that a program is given, as written in the study; they start at the study file's folder.
    pub files: Vec<String>,
    /// What is searched, and how.
    pub search: SearchSettings,
    /// The default configuration that the search is compared with.
    pub control: Option<Configuration>,
    /// Configurations that are tried before those that the sampler picks.
    pub initial: Vec<Configuration>,
    /// An earlier run whose best configurations are tried as well, until they stand among the others: see
    /// [`changes::starting_from`].
    pub initial_from: Option<InitialFrom>,
    /// How often and where trials are tried.
    pub scheduling: SchedulingConfig,
    /// How much keeping the state of running trials may take.
    pub checkpoints: CheckpointSettings,
    /// What the data calls its classes, once that is known.
    class_names: Vec<String>,
    source: Source,
    spans: Spans,
}

impl Study {
    /// What executors need to know of the study besides its data. `recording` holds the rows of the recorded trials,
    /// if the study replays some.
    #[must_use]
    pub fn description(&self, recording: Vec<Replay>) -> StudyDescription {
        let trainer = match &self.trainer {
            Trainer::Network { model, training } => {
                TrainerDescription::Network { model: model.clone(), training: training.clone() }
            }
            Trainer::Replay(ReplaySettings::Given { replay, .. }) => {
                TrainerDescription::Replay(ReplayDescription::Given(replay.clone()))
            }
            Trainer::Replay(ReplaySettings::Recorded { .. }) => {
                TrainerDescription::Replay(ReplayDescription::Recorded(Recording::of(recording)))
            }
            Trainer::Program(program) => TrainerDescription::Program(program.description.clone()),
            Trainer::Model(settings) => TrainerDescription::Model(settings.uncut()),
        };
        let (select, test_every_trial) = (self.search.select, self.watches_test());
        let (watched, measures) = (self.search.watched, self.search.measures.clone());
        StudyDescription { seed: self.seed, trainer, select, watched, measures, test_every_trial }
    }

    /// Whether every trial looks at the test rows after each epoch; of a program, whether it is given them.
    #[must_use]
    pub fn watches_test(&self) -> bool {
        let has_test = self.data.as_ref().is_some_and(DataSettings::has_test);
        let asked = self.data.as_ref().is_some_and(|data| data.test == TestUse::All);
        match &self.trainer {
            Trainer::Network { .. } => asked || self.search.select == Select::Test,
            Trainer::Program(_) => {
                has_test && (asked || self.search.objectives.first().metric == MetricName::TEST_ERROR)
            }
            Trainer::Replay(_) | Trainer::Model(_) => false,
        }
    }

    /// Whether the best and the control look at the test rows once, after the search.
    #[must_use]
    pub fn tests_the_best(&self) -> bool {
        let trained = matches!(self.trainer, Trainer::Network { .. });
        let asked = self.data.as_ref().is_some_and(|data| data.test == TestUse::Winner && data.has_test());
        trained && asked && !self.watches_test()
    }

    /// The rows to which the answers of the best are looked at closely.
    #[must_use]
    pub fn examined_parts(&self) -> Vec<Part> {
        let (Trainer::Network { .. }, Some(data)) = (&self.trainer, &self.data) else { return Vec::new() };
        let sees_test = data.has_test() && (self.watches_test() || self.tests_the_best());
        let parts = [(Part::Validation, data.has_validation()), (Part::Test, sees_test)];
        parts.into_iter().filter(|(_, is_seen)| *is_seen).map(|(part, _)| part).collect()
    }

    /// Whether a trial gives the same numbers wherever and however often it is trained.
    #[must_use]
    pub fn is_deterministic(&self) -> bool {
        match &self.trainer {
            Trainer::Network { .. } | Trainer::Replay(_) => true,
            Trainer::Program(program) => program.description.is_deterministic,
            // What runs a model of another program multiplies as the processor likes.
            Trainer::Model(settings) => matches!(settings.mapping, Mapping::Model(_)) && !settings.is_foreign(),
        }
    }

    /// What errors are errors of. Those of a replay are fractions, as of classes, and so are those that a program reports,
    /// unless its labels are numbers.
    #[must_use]
    pub fn loss(&self) -> Loss {
        match (&self.trainer, &self.data) {
            (Trainer::Network { model, .. }, _) => model.loss,
            (Trainer::Program(_), Some(data)) => data.labels.loss(),
            (Trainer::Replay(_) | Trainer::Program(_) | Trainer::Model(_), _) => Loss::CrossEntropy,
        }
    }

    /// How much of the space its constraints admit, estimated from draws; `None` where there are none, or where a grid takes
    /// all that they admit.
    #[must_use]
    pub fn admitted_share(&self) -> Option<f64> {
        let is_estimated = !self.search.space.constraints().is_empty() && self.search.sampler != SamplerKind::Grid;
        is_estimated.then(|| constraints::admitted_share(&self.search.space))
    }

    /// By what trials are ranked: the error of the part that the study selects by, or what the study names.
    #[must_use]
    pub fn objectives(&self) -> &Objectives {
        &self.search.objectives
    }

    /// What the data calls its classes, if it was asked for the study's.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Finds the classes that the study names among those of the data, and remembers what these are called.
    ///
    /// # Errors
    /// [`Diagnostic`], if the data has no such class.
    pub fn find_classes(&mut self, names: &[String]) -> Result<(), Diagnostic> {
        self.class_names = names.to_vec();
        for place in 0..self.search.measures.len() {
            let Some(name) = self.search.measures[place].class_name() else { continue };
            let Some(class) = names.iter().position(|known| known == name) else {
                let listed = names.iter().take(CLASSES_LISTED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if names.len() > CLASSES_LISTED_MAX { ", …" } else { "" };
                let message = format!("the study measures the class \"{name}\"; the data has {listed}{more}");
                return Err(self.at("search", message));
            };
            self.search.measures[place].measure = Measure::ClassF1 { class: class as u32 };
        }
        Ok(())
    }

    /// An error at a layer, counted from 0: what only shows once the data's shape is known.
    #[must_use]
    pub fn at_layer(&self, layer: usize, message: impl AsRef<str>) -> Diagnostic {
        self.at(&format!("model.layers.{layer}"), message)
    }

    /// An error at the value that stands at `path`, as in `data.train_labels` or `training.batch_size`; if the
    /// study leaves it out, at the table around it.
    #[must_use]
    pub fn at(&self, path: &str, message: impl AsRef<str>) -> Diagnostic {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return self.source.error(span, message);
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return self.source.error(&(0..0), message),
            }
        }
    }

    /// The study file's text, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.source.text
    }
}

/// What a trial does.
#[derive(Clone, Debug)]
pub enum Trainer {
    /// Trains a network.
    Network {
        /// The layers, with searched settings open.
        model: ModelDescription,
        /// The training, with searched settings open.
        training: TrainingDescription,
    },
    /// Waits, and reports what it was given: for measuring the rest.
    Replay(ReplaySettings),
    /// Runs somebody's own program.
    Program(ProgramSettings),
    /// Nothing is trained: a finished model is applied to rows.
    Model(ApplySettings),
}

/// What is known of a program.
#[derive(Clone, Debug)]
pub struct ProgramSettings {
    /// What executors are told.
    pub description: ProgramDescription,
    /// What a trial costs beside the others; by default as many as it has epochs.
    pub cost: Option<Cost>,
}

/// Where a replay has its waits and metrics from.
#[derive(Clone, Debug)]
pub enum ReplaySettings {
    /// From the study.
    Given {
        /// What executors are told.
        replay: GivenReplay,
        /// What a trial costs beside the others; by default what it waits.
        cost: Option<Cost>,
    },
    /// From the rows of an earlier run's `trials.csv`.
    Recorded {
        /// The file, as written in the study; a relative path starts at the study file's folder.
        file: PathBuf,
        /// What waits are divided by.
        speed: f64,
    },
}

/// The `[checkpoints]` table: how much keeping the state of running trials may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// Between two checkpoints of one trial that are fetched; 0 fetches one after every epoch.
    pub interval_ms: u64,
    /// What may be fetched on average, over all trials; 0 fetches none.
    pub bytes_per_s: u64,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self { interval_ms: 0, bytes_per_s: 64 << 20 }
    }
}

/// When a search is asked that sees results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Segments that are under way at a time, by what they are planned to take.
    pub parallel: NonZeroU32,
    /// Whether results count as they come, instead: then a run is not to be repeated.
    pub is_asynchronous: bool,
}

/// The `[search]` table.
#[derive(Clone, Debug)]
pub struct SearchSettings {
    /// Which configurations are tried.
    pub sampler: SamplerKind,
    /// Which sampler that is and why it suits, in words, where the study leaves it open.
    pub why_chosen: Option<String>,
    /// Which of them are trained to their end.
    pub pruner: PrunerKind,
    /// What ends the search before its sampler does.
    pub stop: StopRules,
    /// The time of the run after which nothing more is begun: no part of the search, whose decisions know no clock.
    pub max_time: Option<Duration>,
    /// When a search that sees results is asked.
    pub order: Order,
    /// The part of the data by whose rows trials are compared.
    pub select: Select,
    /// The metrics by which trials are compared, and which way is better: what `select` says, unless the study names
    /// others.
    pub objectives: Objectives,
    /// What early stop watches: the first objective.
    pub watched: Watched,
    /// What a network is measured by beside its loss and its error.
    pub measures: Vec<Reported>,
    /// Each parameter's values, by name.
    pub space: Space,
}
