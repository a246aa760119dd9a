//! The `[training]` table: optimizer, learning rate, epochs, early stop.

use broadsweep_common::setting::Setting;
use broadsweep_common::training::{
    ADAM_EPSILON, BATCH_SIZE, EPOCHS, EarlyStopDescription, LEARNING_RATE, LEARNING_RATE_DECAY, MIN_DELTA, MOMENTUM,
    OptimizerKind, PATIENCE, PENALTY, TrainingDescription,
};

use super::diagnostic::Diagnostic;
use super::reader::{Node, Table};
use super::setting::{Settings, Uses};

/// All keys, in the order of the documentation.
pub(super) const KEYS: &[&str] = &[
    "optimizer",
    "learning_rate",
    "learning_rate_decay",
    "momentum",
    "nesterov",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "l2",
    "batch_size",
    "epochs",
    "early_stop",
];

/// Keys that only some optimizers use, and those optimizers.
const OPTIMIZER_KEYS: &[(&str, &[OptimizerKind])] = &[
    ("momentum", &[OptimizerKind::Sgd]),
    ("nesterov", &[OptimizerKind::Sgd]),
    ("beta1", &[OptimizerKind::Adam, OptimizerKind::AdamW]),
    ("beta2", &[OptimizerKind::Adam, OptimizerKind::AdamW]),
    ("epsilon", &[OptimizerKind::Adam, OptimizerKind::AdamW]),
    ("weight_decay", &[OptimizerKind::AdamW]),
];

/// Reads `[training]`; searched settings are noted in `uses`.
pub(super) fn read(node: &Node<'_>, uses: &mut Uses) -> Result<TrainingDescription, Diagnostic> {
    let table = node.table("[training]", "[training] ")?;
    table.allow(KEYS, |_| None)?;
    let mut settings = Settings { table: &table, uses };
    let optimizer = settings.word("optimizer", Some(OptimizerKind::Sgd))?;
    if let Setting::Fixed(optimizer) = optimizer {
        check_optimizer_keys(&table, optimizer)?;
    }
    let momentum = settings.number("momentum", MOMENTUM, Some(0.0))?;
    let nesterov = settings.flag("nesterov", false)?;
    check_nesterov(&table, &momentum, &nesterov)?;
    Ok(TrainingDescription {
        optimizer,
        learning_rate: settings.number("learning_rate", LEARNING_RATE, None)?,
        learning_rate_decay: settings.number("learning_rate_decay", LEARNING_RATE_DECAY, Some(1.0))?,
        momentum,
        nesterov,
        beta1: settings.number("beta1", MOMENTUM, Some(0.9))?,
        beta2: settings.number("beta2", MOMENTUM, Some(0.999))?,
        epsilon: settings.number("epsilon", ADAM_EPSILON, Some(1e-7))?,
        weight_decay: settings.number("weight_decay", PENALTY, Some(0.01))?,
        l2: settings.number("l2", PENALTY, Some(0.0))?,
        batch_size: settings.whole("batch_size", BATCH_SIZE, Some(32))?,
        epochs: settings.whole("epochs", EPOCHS, None)?,
        early_stop: table.get("early_stop").map(|node| read_early_stop(&node, settings.uses)).transpose()?,
    })
}

/// Refuses a setting without effect: its writer believes that it has one.
fn check_optimizer_keys(table: &Table<'_>, optimizer: OptimizerKind) -> Result<(), Diagnostic> {
    for entry in table.entries() {
        let Some((key, users)) = OPTIMIZER_KEYS.iter().find(|(key, _)| *key == entry.key) else { continue };
        if !users.contains(&optimizer) {
            let users: Vec<_> = users.iter().map(ToString::to_string).collect();
            let message = format!("`{key}` has no effect with optimizer = \"{optimizer}\"");
            return Err(entry.error(message).with_note(format!("`{key}` is used by {}", users.join(" and "))));
        }
    }
    Ok(())
}

/// Nesterov's look ahead is along the momentum.
fn check_nesterov(table: &Table<'_>, momentum: &Setting<f64>, nesterov: &Setting<bool>) -> Result<(), Diagnostic> {
    let still = matches!(momentum, Setting::Fixed(momentum) if *momentum <= 0.0);
    match table.get("nesterov") {
        Some(node) if still && *nesterov != Setting::Fixed(false) => Err(node
            .error("`nesterov` has no effect without `momentum`")
            .with_note("add, for example: momentum = 0.9")),
        _ => Ok(()),
    }
}

fn read_early_stop(node: &Node<'_>, uses: &mut Uses) -> Result<EarlyStopDescription, Diagnostic> {
    let table = node.table("[training] early_stop", "[training] early_stop.")?;
    table.allow(&["patience", "min_delta"], |_| None)?;
    let mut settings = Settings { table: &table, uses };
    Ok(EarlyStopDescription {
        patience: settings.whole("patience", PATIENCE, None)?,
        min_delta: settings.number("min_delta", MIN_DELTA, Some(0.0))?,
    })
}
