//! The `[trainer]` table: what a trial does. Without it, a trial trains a network.

use broadsweep_common::replay::{ERROR, GivenReplay, SECONDS, SPEED};
use broadsweep_common::training::EPOCHS;

use super::diagnostic::Diagnostic;
use super::reader::{Node, Table};
use super::setting::{Kind, Settings, Use, Uses, read_number};
use super::{ReplaySettings, Trainer, model, program, training};

/// Keys of a replay, in the order of the documentation.
const REPLAY_KEYS: &[&str] = &["seconds", "epochs", "error", "cost", "recorded", "speed"];
/// Keys of a replay that a recording answers.
const GIVEN_KEYS: [&str; 4] = ["seconds", "epochs", "error", "cost"];
const REPLAY: &str = "kind = \"replay\"";
const PROGRAM: &str = "kind = \"program\"";

/// What a trial does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TrainerKind {
    Network,
    Replay,
    Program,
}

const KINDS: &[(&str, TrainerKind)] =
    &[("network", TrainerKind::Network), ("replay", TrainerKind::Replay), ("program", TrainerKind::Program)];

/// Reads the kind alone: it says which other tables there are.
pub(super) fn read_kind(document: &Table<'_>) -> Result<TrainerKind, Diagnostic> {
    let Some(node) = document.get("trainer") else { return Ok(TrainerKind::Network) };
    let table = open(&node)?;
    let kind = table.get("kind").map_or(Ok(TrainerKind::Network), |kind| kind.word(KINDS))?;
    let keys: Vec<_> = std::iter::once("kind").chain(kind.keys().iter().copied()).collect();
    table.allow(&keys, |key| kind.misplaced(key))?;
    refuse_what_is_trained(document, kind)?;
    Ok(kind)
}

/// Reads all that says what a trial does; searched settings are noted in `uses`.
pub(super) fn read(document: &Table<'_>, kind: TrainerKind, uses: &mut Uses) -> Result<Trainer, Diagnostic> {
    match kind {
        TrainerKind::Network => Ok(Trainer::Network {
            model: model::read(&document.require("model", "a table with the layers")?, uses)?,
            training: training::read(&document.require("training", "a table with learning_rate and epochs")?, uses)?,
        }),
        TrainerKind::Replay => {
            let table = open(&document.require("trainer", REPLAY)?)?;
            match table.get("recorded") {
                Some(recorded) => read_recorded(document, &table, &recorded, uses),
                None => read_given(&table, &parameters(document), uses),
            }
            .map(Trainer::Replay)
        }
        TrainerKind::Program => {
            let table = open(&document.require("trainer", PROGRAM)?)?;
            program::read(&table, &parameters(document), uses).map(Trainer::Program)
        }
    }
}

impl TrainerKind {
    /// All keys of such a trainer but `kind`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Network => &[],
            Self::Replay => REPLAY_KEYS,
            Self::Program => program::KEYS,
        }
    }

    fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// What to say of a key that other kinds have.
    fn misplaced(self, key: &str) -> Option<String> {
        let owners: Vec<_> = KINDS
            .iter()
            .filter(|(_, kind)| kind.keys().contains(&key))
            .map(|(word, _)| format!("kind = \"{word}\""))
            .collect();
        let here = self.word();
        (!owners.is_empty()).then(|| format!("`{key}` belongs to {}; here kind = \"{here}\"", owners.join(" or ")))
    }
}

/// Whether some kind of trainer has such a key.
pub(super) fn has_key(key: &str) -> bool {
    key == "kind" || KINDS.iter().any(|(_, kind)| kind.keys().contains(&key))
}

fn open<'a>(node: &Node<'a>) -> Result<Table<'a>, Diagnostic> {
    node.table("[trainer]", "[trainer] ")
}

/// Refuses tables without effect: their writer believes that they have one.
fn refuse_what_is_trained(document: &Table<'_>, kind: TrainerKind) -> Result<(), Diagnostic> {
    let (written, reason) = match kind {
        TrainerKind::Network => return Ok(()),
        TrainerKind::Replay => (REPLAY, "a replay trains nothing"),
        TrainerKind::Program => (PROGRAM, "a program has its own"),
    };
    let entries = document.entries();
    let Some(entry) = entries.iter().find(|entry| ["model", "training"].contains(&entry.key)) else { return Ok(()) };
    Err(entry
        .error(format!("[{}] has no effect with {written} in [trainer]: {reason}", entry.key))
        .with_note("leave it out, or leave [trainer] out"))
}

fn read_given(table: &Table<'_>, parameters: &[String], uses: &mut Uses) -> Result<ReplaySettings, Diagnostic> {
    if let Some(speed) = table.entries().iter().find(|entry| entry.key == "speed") {
        let message = "`speed` divides the waits of a recording, and there is none";
        return Err(speed.error(message).with_note("add `recorded`: the trials.csv of an earlier run"));
    }
    if table.get("seconds").is_none() {
        let note = "add `seconds`: how long an epoch takes, or `recorded`: the trials.csv of an earlier run";
        return Err(table.error("[trainer] has no `seconds`").with_note(note));
    }
    let mut settings = Settings { table, uses };
    let replay = GivenReplay {
        seconds: settings.number("seconds", SECONDS, None)?,
        epochs: settings.whole("epochs", EPOCHS, Some(1))?,
        error: settings.number("error", ERROR, None)?,
    };
    let Some(node) = table.get("cost") else { return Ok(ReplaySettings::Given { replay, cost: None }) };
    let cost = program::read_cost(&node, parameters)?;
    // After those that want a certain kind, so that messages name the line of such a setting.
    uses.found.extend(cost.names().filter(|(name, _)| parameters.iter().any(|known| known == name)).map(
        |(name, _)| {
            let (parameter, span, place) = (name.to_owned(), node.span.clone(), "[trainer] cost".to_owned());
            Use { parameter, span, place, kind: Kind::Any, is_required: false, layer_flag: None }
        },
    ));
    Ok(ReplaySettings::Given { replay, cost: Some(cost) })
}

fn read_recorded(
    document: &Table<'_>,
    table: &Table<'_>,
    recorded: &Node<'_>,
    uses: &mut Uses,
) -> Result<ReplaySettings, Diagnostic> {
    if let Some(entry) = table.entries().iter().find(|entry| GIVEN_KEYS.contains(&entry.key)) {
        let message = format!("`{}` has no effect with `recorded`: each row of the recording has its own", entry.key);
        return Err(entry.error(message).with_note("leave one of the two out"));
    }
    let file = recorded.text()?;
    // The earlier run's parameters had places in its model or training; here, any value of theirs is the recording's.
    uses.found.extend(parameters(document).into_iter().map(|parameter| Use {
        parameter,
        span: recorded.span.clone(),
        place: "a recorded parameter".to_owned(),
        kind: Kind::Any,
        is_required: false,
        layer_flag: None,
    }));
    let speed = table.get("speed").map_or(Ok(1.0), |speed| read_number(&speed, SPEED))?;
    Ok(ReplaySettings::Recorded { file: file.into(), speed })
}

/// The names in `[search.space]`; whether that is a table is looked at when the search is read.
fn parameters(document: &Table<'_>) -> Vec<String> {
    let search = document.get("search").and_then(|node| node.table("[search]", "[search] ").ok());
    let space = search.and_then(|search| search.get("space"));
    let space = space.and_then(|node| node.table("[search.space]", "[search.space] ").ok());
    space.map_or_else(Vec::new, |space| space.entries().iter().map(|entry| entry.key.to_owned()).collect())
}
