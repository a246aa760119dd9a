//! The `[model]` table: the loss and the layers.

use broadsweep_common::model::{
    Activation, BATCH_NORM_MOMENTUM, DROPOUT_RATE, EPSILON, Initialization, LAYERS_MAX, LayerDescription, Loss,
    ModelDescription, Padding, UNITS, WINDOW,
};
use broadsweep_common::setting::Setting;

use super::diagnostic::Diagnostic;
use super::reader::{Node, one_of};
use super::setting::{Settings, Uses};

const KEYS: &[&str] = &["loss", "layers"];

/// Reads the settings of one kind of layer.
type ReadSettings = fn(&mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic>;

/// Each kind of layer, its keys beside `kind`, and what reads them.
const LAYERS: &[(&str, &[&str], ReadSettings)] = &[
    ("dense", &["units", "activation", "initialization"], read_dense),
    ("conv2d", &["filters", "kernel", "stride", "padding", "activation", "initialization"], read_conv2d),
    ("max_pool", &["size", "stride", "padding"], read_max_pool),
    ("average_pool", &["size", "stride", "padding"], read_average_pool),
    ("flatten", &[], |_| Ok(LayerDescription::Flatten)),
    ("dropout", &["rate"], read_dropout),
    ("batch_norm", &["momentum", "epsilon", "activation"], read_batch_norm),
    ("activation", &["function"], read_activation),
];

/// Reads `[model]`; searched settings are noted in `uses`.
pub(super) fn read(node: &Node<'_>, uses: &mut Uses) -> Result<ModelDescription, Diagnostic> {
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
    let mut layers = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        read_layer(node, index + 1, uses, &mut layers)?;
    }
    Ok(ModelDescription { loss, layers })
}

/// Reads a layer, and what says whether it is there.
fn read_layer(
    node: &Node<'_>,
    number: usize,
    uses: &mut Uses,
    layers: &mut Vec<LayerDescription>,
) -> Result<(), Diagnostic> {
    if !node.is_table() {
        let given = node.quoted();
        return Err(
            node.error(format!("layer {number} is {given}; it has to be a table, as in {{ kind = \"flatten\" }}"))
        );
    }
    let untyped = node.table(&format!("layer {number}"), &format!("layer {number}: "))?;
    let kinds: Vec<_> = LAYERS.iter().map(|(kind, keys, read)| (*kind, (*kind, *keys, *read))).collect();
    let names: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
    let (kind, keys, read_settings) = untyped.require("kind", &one_of(&names))?.word(&kinds)?;

    let place = format!("layer {number} ({kind})");
    let table = node.table(&place, &format!("{place}: "))?;
    let allowed: Vec<_> = ["kind", "if"].into_iter().chain(keys.iter().copied()).collect();
    table.allow(&allowed, |key| elsewhere(&place, key))?;
    let first_use = uses.found.len();
    let layer = read_settings(&mut Settings { table: &table, uses })?;
    if table.get("if").is_some() {
        // A flag that is absent says no: what it would turn on is not asked for.
        let flag = Settings { table: &table, uses }.flag("if", false)?;
        if let Setting::Searched(parameter) | Setting::Conditional { parameter, .. } = &flag {
            let of_layer = uses.found.iter_mut().skip(first_use);
            of_layer.for_each(|one| one.layer_flag = Some(parameter.clone()));
        }
        layers.push(LayerDescription::OnlyIf { flag });
    }
    layers.push(layer);
    Ok(())
}

/// What to say of a key that other kinds of layers have.
fn elsewhere(place: &str, key: &str) -> Option<String> {
    let owners: Vec<_> = LAYERS.iter().filter(|(_, keys, _)| keys.contains(&key)).map(|(kind, ..)| *kind).collect();
    (!owners.is_empty()).then(|| format!("`{key}` belongs to {}; {place} has none", owners.join(", ")))
}

fn read_dense(settings: &mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic> {
    Ok(LayerDescription::Dense {
        units: settings.whole("units", UNITS, None)?,
        activation: settings.word("activation", Some(Activation::Linear))?,
        initialization: settings.word("initialization", Some(Initialization::Glorot))?,
    })
}

fn read_conv2d(settings: &mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic> {
    Ok(LayerDescription::Conv2d {
        filters: settings.whole("filters", UNITS, None)?,
        kernel: settings.whole("kernel", WINDOW, None)?,
        stride: settings.whole("stride", WINDOW, Some(1))?,
        padding: settings.word("padding", Some(Padding::Valid))?,
        activation: settings.word("activation", Some(Activation::Linear))?,
        initialization: settings.word("initialization", Some(Initialization::Glorot))?,
    })
}

fn read_max_pool(settings: &mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic> {
    let (size, stride) = read_windows(settings)?;
    let padding = settings.word("padding", Some(Padding::Valid))?;
    Ok(LayerDescription::MaxPool { size, stride, padding })
}

fn read_average_pool(settings: &mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic> {
    let (size, stride) = read_windows(settings)?;
    let padding = settings.word("padding", Some(Padding::Valid))?;
    Ok(LayerDescription::AveragePool { size, stride, padding })
}

fn read_dropout(settings: &mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic> {
    Ok(LayerDescription::Dropout { rate: settings.number("rate", DROPOUT_RATE, None)? })
}

fn read_batch_norm(settings: &mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic> {
    Ok(LayerDescription::BatchNorm {
        momentum: settings.number("momentum", BATCH_NORM_MOMENTUM, Some(0.99))?,
        epsilon: settings.number("epsilon", EPSILON, Some(1e-3))?,
        activation: settings.word("activation", Some(Activation::Linear))?,
    })
}

fn read_activation(settings: &mut Settings<'_, '_>) -> Result<LayerDescription, Diagnostic> {
    Ok(LayerDescription::Activation { function: settings.word("function", None)? })
}

/// Size and stride of a pool. Windows touch, each starting where its neighbour ends, unless a stride is written.
fn read_windows(settings: &mut Settings<'_, '_>) -> Result<(Setting<u32>, Setting<u32>), Diagnostic> {
    let size = settings.whole("size", WINDOW, None)?;
    let stride = match settings.table.get("stride") {
        Some(_) => {
            let default = if let Setting::Fixed(size) = &size { Some(*size) } else { None };
            settings.whole("stride", WINDOW, default)?
        }
        None => size.clone(),
    };
    Ok((size, stride))
}
