//! What an executor says of itself, and whether it takes part in a study, as messages.

use broadsweep_common::attempt::SLOTS_MAX;
use broadsweep_common::capabilities::{Capabilities, KERNEL_BYTES_MAX, KERNELS_MAX};
use broadsweep_common::ids::Digest;
use broadsweep_common::refusal::{Refusal, StudyPart};

use super::{WireError, at_most, bounded, bytes_of};
use crate::session::{self, prepared::Answer, refusal::Reason};

/// What an executor can do and allows, as a message.
#[must_use]
pub fn capabilities_message(capabilities: Capabilities) -> session::Capabilities {
    let Capabilities { kernels, programs_allowed, files_allowed, gpus } = capabilities;
    session::Capabilities { kernels, programs_allowed, files_allowed, gpus }
}

/// What a message says that an executor can do and allows.
///
/// # Errors
/// [`WireError`], if it is missing or too long.
pub fn capabilities(message: Option<session::Capabilities>) -> Result<Capabilities, WireError> {
    let message = message.ok_or(WireError::Missing("capabilities"))?;
    let session::Capabilities { kernels, programs_allowed, files_allowed, gpus } = message;
    check_kernels(&kernels)?;
    Ok(Capabilities { kernels, programs_allowed, files_allowed, gpus })
}

/// Whether an executor takes part, as a part of a message: with how many slots, or why not.
#[must_use]
pub fn answer_message(prepared: Result<u32, Refusal>) -> Answer {
    match prepared {
        Ok(slots) => Answer::Slots(slots),
        Err(refusal) => Answer::Refusal(session::Refusal { reason: Some(reason_message(refusal)) }),
    }
}

/// With how many slots an executor takes part, or why it does not.
///
/// # Errors
/// [`WireError`], if the answer is missing, or is none that an executor gives.
pub fn answer(message: Option<Answer>) -> Result<Result<u32, Refusal>, WireError> {
    match message.ok_or(WireError::Missing("answer"))? {
        Answer::Slots(slots) if (1..=SLOTS_MAX).contains(&slots) => Ok(Ok(slots)),
        Answer::Slots(slots) => Err(WireError::Slots(slots)),
        Answer::Refusal(session::Refusal { reason: given }) => {
            Ok(Err(reason(given.ok_or(WireError::Missing("reason of a refusal"))?)?))
        }
    }
}

fn reason_message(refusal: Refusal) -> Reason {
    let cut = |words: &str| bounded(words).to_owned();
    match refusal {
        Refusal::Kernel { wanted, has } => {
            let wanted = wanted[..wanted.floor_char_boundary(KERNEL_BYTES_MAX)].to_owned();
            Reason::Kernel(session::KernelRefusal { wanted, has })
        }
        Refusal::Missing { what, blob } => {
            let what = match what {
                StudyPart::Data => session::StudyPart::Data,
                StudyPart::Description => session::StudyPart::Description,
            };
            Reason::Missing(session::MissingBlob { what: what.into(), blob: bytes_of(Some(&blob)) })
        }
        Refusal::Data { reason } => Reason::Data(cut(&reason)),
        Refusal::Study { reason } => Reason::Study(cut(&reason)),
        Refusal::Program { reason } => Reason::Program(cut(&reason)),
        Refusal::Trainer { reason } => Reason::Trainer(cut(&reason)),
        Refusal::NoPrograms => Reason::NoPrograms(session::NoPrograms {}),
    }
}

fn reason(message: Reason) -> Result<Refusal, WireError> {
    let cut = |words: &str| bounded(words).to_owned();
    Ok(match message {
        Reason::Kernel(session::KernelRefusal { wanted, has }) => {
            check_kernels(&has)?;
            Refusal::Kernel { wanted: cut(&wanted), has }
        }
        Reason::Missing(session::MissingBlob { what, blob }) => {
            let number = what;
            let what = match session::StudyPart::try_from(number) {
                Ok(session::StudyPart::Data) => StudyPart::Data,
                Ok(session::StudyPart::Description) => StudyPart::Description,
                Err(_) => return Err(WireError::Unknown { what: "part of a study", number }),
            };
            Refusal::Missing { what, blob: Digest::try_from(&blob[..])? }
        }
        Reason::Data(reason) => Refusal::Data { reason: cut(&reason) },
        Reason::Study(reason) => Refusal::Study { reason: cut(&reason) },
        Reason::Program(reason) => Refusal::Program { reason: cut(&reason) },
        Reason::Trainer(reason) => Refusal::Trainer { reason: cut(&reason) },
        Reason::NoPrograms(session::NoPrograms {}) => Refusal::NoPrograms,
    })
}

fn check_kernels(names: &[String]) -> Result<(), WireError> {
    at_most("kernels", names.len(), KERNELS_MAX)?;
    names.iter().try_for_each(|name| at_most("bytes of a kernel's name", name.len(), KERNEL_BYTES_MAX))
}
