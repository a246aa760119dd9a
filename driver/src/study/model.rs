//! The `[model]` table: the loss and the layers.

use broadsweep_common::model::{
    Activation, BATCH_NORM_MOMENTUM, DROPOUT_RATE, EPSILON, Initialization, LAYERS_MAX, LayerDescription, Loss,
    ModelDescription, Padding, UNITS, WINDOW,
};
use broadsweep_common::setting::Setting;

use super::diagnostic::Diagnostic;
use super::reader::{Node, Table, one_of};
use super::setting::{Settings, Use};

const KEYS: &[&str] = &["loss", "layers"];

/// Each kind of layer, and its keys beside `kind`.
const LAYERS: &[(&str, &[&str])] = &[
    ("dense", &["units", "activation", "initialization"]),
    ("conv2d", &["filters", "kernel", "stride", "padding", "activation", "initialization"]),
    ("max_pool", &["size", "stride", "padding"]),
    ("average_pool", &["size", "stride", "padding"]),
    ("flatten", &[]),
    ("dropout", &["rate"]),
    ("batch_norm", &["momentum", "epsilon", "activation"]),
    ("activation", &["function"]),
];

/// Reads `[model]`; searched settings are noted in `uses`.
pub(super) fn read(node: &Node<'_>, uses: &mut Vec<Use>) -> Result<ModelDescription, Diagnostic> {
    let table = node.table("[model]", "[model] ")?;
    table.allow(KEYS, |_| None)?;
    let loss = match table.get("loss") {
        Some(loss) => loss.word(Loss::WORDS)?,
        None => Loss::CrossEntropy,
    };
    let layers = table.require("layers", "an array of layers, as in [{ kind = \"flatten\" }]")?;
    let nodes = layers.array()?;
    if nodes.is_empty() || nodes.len() > LAYERS_MAX {
        return Err(layers.error(format!("[model] has {} layers; it has to have 1 to {LAYERS_MAX}", nodes.len())));
    }
    let layers = nodes.iter().enumerate().map(|(index, node)| read_layer(node, index + 1, uses));
    Ok(ModelDescription { loss, layers: layers.collect::<Result<_, _>>()? })
}

fn read_layer(node: &Node<'_>, number: usize, uses: &mut Vec<Use>) -> Result<LayerDescription, Diagnostic> {
    if !node.is_table() {
        let given = node.quoted();
        return Err(
            node.error(format!("layer {number} is {given}; it has to be a table, as in {{ kind = \"flatten\" }}"))
        );
    }
    let untyped = node.table(&format!("layer {number}"), &format!("layer {number}: "))?;
    let kinds: Vec<_> = LAYERS.iter().map(|(kind, keys)| (*kind, (*kind, *keys))).collect();
    let names: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
    let (kind, keys) = untyped.require("kind", &one_of(&names))?.word(&kinds)?;

    let place = format!("layer {number} ({kind})");
    let table = node.table(&place, &format!("{place}: "))?;
    let allowed: Vec<_> = std::iter::once("kind").chain(keys.iter().copied()).collect();
    table.allow(&allowed, |key| elsewhere(&place, key))?;
    read_settings(kind, &table, uses)
}

/// What to say of a key that other kinds of layers have.
fn elsewhere(place: &str, key: &str) -> Option<String> {
    let owners: Vec<_> = LAYERS.iter().filter(|(_, keys)| keys.contains(&key)).map(|(kind, _)| *kind).collect();
    (!owners.is_empty()).then(|| format!("`{key}` belongs to {}; {place} has none", owners.join(", ")))
}

fn read_settings(kind: &str, table: &Table<'_>, uses: &mut Vec<Use>) -> Result<LayerDescription, Diagnostic> {
    let mut settings = Settings { table, uses };
    Ok(match kind {
        "dense" => LayerDescription::Dense {
            units: settings.whole("units", UNITS, None)?,
            activation: settings.word("activation", Some(Activation::Linear))?,
            initialization: settings.word("initialization", Some(Initialization::Glorot))?,
        },
        "conv2d" => LayerDescription::Conv2d {
            filters: settings.whole("filters", UNITS, None)?,
            kernel: settings.whole("kernel", WINDOW, None)?,
            stride: settings.whole("stride", WINDOW, Some(1))?,
            padding: settings.word("padding", Some(Padding::Valid))?,
            activation: settings.word("activation", Some(Activation::Linear))?,
            initialization: settings.word("initialization", Some(Initialization::Glorot))?,
        },
        "max_pool" | "average_pool" => {
            let size = settings.whole("size", WINDOW, None)?;
            let stride = read_pool_stride(&mut settings, &size)?;
            let padding = settings.word("padding", Some(Padding::Valid))?;
            match kind {
                "max_pool" => LayerDescription::MaxPool { size, stride, padding },
                _ => LayerDescription::AveragePool { size, stride, padding },
            }
        }
        "dropout" => LayerDescription::Dropout { rate: settings.number("rate", DROPOUT_RATE, None)? },
        "batch_norm" => LayerDescription::BatchNorm {
            momentum: settings.number("momentum", BATCH_NORM_MOMENTUM, Some(0.99))?,
            epsilon: settings.number("epsilon", EPSILON, Some(1e-3))?,
            activation: settings.word("activation", Some(Activation::Linear))?,
        },
        "activation" => LayerDescription::Activation { function: settings.word("function", None)? },
        "flatten" => LayerDescription::Flatten,
        // A word in `LAYERS` without an arm above.
        _ => return Err(table.error(format!("`{kind}` is no layer that can be read"))),
    })
}

/// Windows touch, each starting where its neighbour ends, unless a stride is written.
fn read_pool_stride(settings: &mut Settings<'_, '_>, size: &Setting<u32>) -> Result<Setting<u32>, Diagnostic> {
    match settings.table.get("stride") {
        Some(_) => settings.whole("stride", WINDOW, None),
        None => Ok(size.clone()),
    }
}
