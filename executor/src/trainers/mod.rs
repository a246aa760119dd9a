//! What a study trains with.
//!
//! | module | holds |
//! |---|---|
//! | `trainer` | what every trainer is |
//! | `network` | the built-in networks |
//! | [`program`] | somebody's own program, on a leash |
//! | `model` | a finished model, which is applied to rows |
//! | `finished` | what makes its answers: built-in layers, or |
//! | `foreign` | a graph of another program |
//! | `input` | the files that a model or a program is applied to: here, in a store, or as what was sent of them |
//! | [`replay`] | trials that wait instead of training, and report what they were given |
//! | [`in_time`] | the same in simulated time |
//!
//! A trainer is built when a study is prepared: what an executor will not or cannot do is a refusal then, and no failure
//! of an attempt later.

use std::sync::Arc;

use broadsweep_common::dataset::Dataset;
use broadsweep_common::ids::Digest;
use broadsweep_common::refusal::Refusal;
use broadsweep_common::task::{StudyDescription, TrainerDescription};
use broadsweep_store::Content;

mod finished;
mod foreign;
pub mod in_time;
mod input;
mod model;
mod network;
pub mod program;
pub mod replay;
mod trainer;

use model::ModelTrainer;
use network::NetworkTrainer;
#[cfg(feature = "mappers")]
use program::MapperTrainer;
use program::{ProgramTrainer, Programs};
use replay::ReplayTrainer;

pub(crate) use trainer::{Means, Trainer};

/// Why a program is refused that rows are mapped through.
#[cfg(not(feature = "mappers"))]
const NO_MAPPERS: &str = "this executor was built without Arrow, in which rows are given to a program; build it with `cargo \
                          build --release --features mappers`";

/// How many attempts of a study run at the same time on an executor of so many slots: fewer, if each needs for itself what
/// there is less of.
///
/// # Errors
/// [`Refusal`], if there is not enough of it for one.
pub(crate) fn slots_of(study: &StudyDescription, slots: u32, programs: Option<&Programs>) -> Result<u32, Refusal> {
    match (&study.trainer, programs) {
        (TrainerDescription::Program(program), Some(programs)) => programs.slots(program, slots),
        (TrainerDescription::Program(_) | TrainerDescription::Mapper(_), None) => Err(Refusal::NoPrograms),
        (TrainerDescription::Network { .. } | TrainerDescription::Replay(_) | TrainerDescription::Model(_), _)
        | (TrainerDescription::Mapper(_), Some(_)) => Ok(slots),
    }
}

/// The trainer of a study, on what was broadcast with it under this name: a data set, or a finished model.
///
/// # Errors
/// [`Refusal`], if it has nothing to do with this data.
pub(crate) fn trainer_of(
    study: StudyDescription,
    (name, content): (Digest, Content),
    means: Means,
) -> Result<Box<dyn Trainer>, Refusal> {
    let StudyDescription { seed, trainer, select, watched, measures, test_every_trial } = study;
    let rows = || Dataset::open(Arc::clone(&content)).map_err(|error| Refusal::Data { reason: error.to_string() });
    match trainer {
        TrainerDescription::Network { model, training } => {
            let data = rows()?;
            let trainer =
                NetworkTrainer { seed, model, training, select, watched, measures, test_every_trial, data, means };
            Ok(Box::new(trainer.checked()?))
        }
        TrainerDescription::Replay(replays) => {
            rows()?;
            Ok(Box::new(ReplayTrainer::new(replays)))
        }
        TrainerDescription::Program(program) => {
            Ok(Box::new(ProgramTrainer::new(seed, program, (name, &rows()?, test_every_trial), means)?))
        }
        TrainerDescription::Model(application) => {
            Ok(Box::new(ModelTrainer::new(application, (*content).as_ref(), means)?))
        }
        #[cfg(feature = "mappers")]
        TrainerDescription::Mapper(mapper) => Ok(Box::new(MapperTrainer::new(mapper, (name, &rows()?), means)?)),
        #[cfg(not(feature = "mappers"))]
        TrainerDescription::Mapper(_) => Err(Refusal::Program { reason: NO_MAPPERS.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::replay::{GivenReplay, ReplayDescription};
    use broadsweep_common::setting::Setting::Fixed;
    use broadsweep_nn::Kernel;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::fixtures::{bytes, description};

    fn named(rows: [u64; 3]) -> (Digest, Content) {
        (Digest::of(b"rows"), Arc::new(bytes(rows)))
    }

    #[test]
    fn a_study_that_has_nothing_to_train_on_is_refused_before_anything_is_placed() {
        let means = Means {
            kernel: Kernel::PORTABLE,
            memory_bytes: 0,
            slots: 1,
            threads: 1,
            programs: None,
            files: None,
            stores: None,
            given_up: CancellationToken::new(),
        };
        assert!(trainer_of(description(), named([1, 1, 1]), means.clone()).is_ok());
        let refused = trainer_of(description(), named([0, 1, 1]), means.clone()).err();
        assert!(matches!(refused, Some(Refusal::Trainer { .. })), "{refused:?}");
        let given = GivenReplay { seconds: Fixed(1.0), epochs: Fixed(1), error: Fixed(0.5) };
        let trainer = TrainerDescription::Replay(ReplayDescription::Given(given));
        let replays = trainer_of(StudyDescription { trainer, ..description() }, named([0, 0, 0]), means);
        assert!(replays.is_ok_and(|trainer| trainer.replays().is_some()), "a replay looks at no rows");
    }
}
