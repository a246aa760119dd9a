//! `[search] pruner`: how epochs are kept from trials that are not worth them.

use std::num::NonZeroU32;

use broadsweep_common::setting::{Bounds, Setting};
use broadsweep_search::{PrunerKind, RungSpacing, SamplerKind, Space};

use super::diagnostic::Diagnostic;
use super::reader::Table;
use super::setting::read_number;
use super::{ReplaySettings, Trainer};

/// Epochs and trials that a pruner can be told of.
const COUNT_MAX: i64 = 100_000;
/// How many times the epochs there can be from rung to rung.
const ETA: Bounds<f64> = Bounds::Within(1.1, 1000.0);
/// The same in percent, unless written.
const HYPERBAND_ETA_PERCENT: NonZeroU32 = NonZeroU32::new(300).unwrap();
const MEDIAN_ETA_PERCENT: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// The word of a pruner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    None,
    Asha,
    Hyperband,
    Median,
    TopK,
}

const PRUNERS: &[(&str, Written)] = &[
    ("none", Written::None),
    ("asha", Written::Asha),
    ("hyperband", Written::Hyperband),
    ("median", Written::Median),
    ("top_k", Written::TopK),
];

/// Keys of a pruner's table, beside `kind`.
fn keys(written: Written) -> &'static [&'static str] {
    match written {
        Written::None => &["kind"],
        Written::Asha | Written::Hyperband => &["kind", "min_epochs", "eta"],
        Written::Median => &["kind", "min_epochs", "eta", "results_min"],
        Written::TopK => &["kind", "epochs", "k"],
    }
}

/// The epochs that each trial of a trainer has; in words, why trials have no common number of them.
pub(super) fn common_epochs(trainer: &Trainer) -> Result<NonZeroU32, &'static str> {
    let epochs = match trainer {
        Trainer::Network { training, .. } => &training.epochs,
        Trainer::Program(program) => &program.description.epochs,
        Trainer::Replay(ReplaySettings::Given { replay, .. }) => &replay.epochs,
        Trainer::Replay(ReplaySettings::Recorded { .. }) => {
            return Err("the epochs of recorded trials are what they were");
        }
        Trainer::Model(_) => return Err("a finished model is not trained"),
    };
    match epochs {
        Setting::Fixed(epochs) => Ok(NonZeroU32::new(*epochs).unwrap_or(NonZeroU32::MIN)),
        Setting::Searched(_) | Setting::Conditional { .. } => Err("`epochs` is searched itself"),
    }
}

/// Reads `pruner`, a word or a table; [`PrunerKind::None`] where it is not written.
pub(super) fn read(
    table: &Table<'_>,
    trainer: &Trainer,
    (sampler, space, is_asynchronous): (SamplerKind, &Space, bool),
) -> Result<PrunerKind, Diagnostic> {
    let Some(node) = table.get("pruner") else { return Ok(PrunerKind::None) };
    let (written, settings) = if node.is_table() {
        let settings = node.table("[search] pruner", "[search] pruner: ")?;
        let written = settings.require("kind", "one of the pruners, as \"asha\"")?.word(PRUNERS)?;
        settings.allow(keys(written), |_| None)?;
        (written, Some(settings))
    } else {
        (node.word(PRUNERS)?, None)
    };
    if written == Written::None {
        return Ok(PrunerKind::None);
    }
    let epochs_max = common_epochs(trainer).map_err(|reason| {
        node.error(format!("a pruner compares trials after the same epochs, but {reason}"))
            .with_note("write pruner = \"none\", or leave it out")
    })?;
    let is_known_to_keep_state = match trainer {
        Trainer::Program(program) => program.description.knows_checkpoints(),
        Trainer::Network { .. } | Trainer::Replay(_) | Trainer::Model(_) => true,
    };
    if !is_known_to_keep_state && !is_asynchronous {
        let message = "a program that keeps no state begins anew each time that its trial goes on";
        return Err(node.error(message).with_note(
            "put ${checkpoint_dir} into `command` and keep the state there, or write asynchronous = true",
        ));
    }
    let number = |key: &str, default: u32| -> Result<NonZeroU32, Diagnostic> {
        let node = settings.as_ref().and_then(|settings| settings.get(key));
        let written = node.map(|node| node.whole(1, COUNT_MAX)).transpose()?;
        let number = written.map_or(default, |number| number as u32);
        Ok(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
    };
    let even = RungSpacing::even(epochs_max);
    let spacing = |min_epochs: u32, eta_percent: NonZeroU32| -> Result<RungSpacing, Diagnostic> {
        let node = settings.as_ref().and_then(|settings| settings.get("eta"));
        let eta = node.map(|node| read_number(&node, ETA)).transpose()?;
        let written = eta.and_then(|eta| NonZeroU32::new((100.0 * eta).round() as u32));
        let eta_percent = written.unwrap_or(eta_percent);
        Ok(RungSpacing { min_epochs: number("min_epochs", min_epochs)?, eta_percent, epochs_max })
    };
    let pruner = match written {
        Written::None => PrunerKind::None,
        Written::Asha => PrunerKind::Asha(spacing(even.min_epochs.get(), even.eta_percent)?),
        Written::Hyperband => PrunerKind::Hyperband(spacing(1, HYPERBAND_ETA_PERCENT)?),
        Written::Median => {
            PrunerKind::Median { spacing: spacing(2, MEDIAN_ETA_PERCENT)?, results_min: number("results_min", 5)? }
        }
        Written::TopK => {
            PrunerKind::TopK { rung: number("epochs", 1)?, k: number("k", top_k_default(sampler.trials_max(space)))? }
        }
    };
    if let Some(settings) = &settings {
        refuse_idle(pruner, settings, table, sampler.trials_max(space))?;
    }
    match first_rung(pruner) {
        Some(rung) if rung >= epochs_max => {
            let message =
                format!("trials would pause after epoch {rung}, and have {epochs_max}: none would be stopped");
            Err(node.error(message).with_note("write a smaller first rung, or leave `pruner` out"))
        }
        _ => Ok(pruner),
    }
}

/// Refuses a pruner that would stop none of so many trials, whatever they bring.
fn refuse_idle(pruner: PrunerKind, settings: &Table<'_>, search: &Table<'_>, trials: u64) -> Result<(), Diagnostic> {
    // Starting points pause, too; of an earlier run, nobody knows yet how many there will be.
    let given = search.get("initial").and_then(|node| Some(node.array().ok()?.len())).unwrap_or_default() as u64;
    let trials = trials.saturating_add(given);
    let (key, needed) = match pruner {
        PrunerKind::TopK { k, .. } => ("k", u64::from(k.get()) + 1),
        PrunerKind::Median { results_min, .. } => ("results_min", u64::from(results_min.get())),
        PrunerKind::None | PrunerKind::Asha(_) | PrunerKind::Hyperband { .. } => ("", 0),
    };
    let is_known = search.get("initial_from").is_none();
    if let Some(node) = settings.get(key).filter(|_| is_known && needed > trials) {
        let message = format!("`{key}` is {}, and there are {trials} trials: none would be stopped", node.quoted());
        return Err(node.error(message).with_note("write a smaller number, or leave `pruner` out"));
    }
    Ok(())
}

/// The epoch after which trials pause first.
fn first_rung(pruner: PrunerKind) -> Option<NonZeroU32> {
    match pruner {
        PrunerKind::None => None,
        PrunerKind::Asha(spacing) | PrunerKind::Hyperband(spacing) | PrunerKind::Median { spacing, .. } => {
            Some(spacing.min_epochs)
        }
        PrunerKind::TopK { rung, .. } => Some(rung),
    }
}

/// As many as were tried in the study that the pruner is from: a share of 15 %.
fn top_k_default(trials: u64) -> u32 {
    u32::try_from(trials.saturating_mul(15).div_ceil(100)).unwrap_or(u32::MAX)
}
