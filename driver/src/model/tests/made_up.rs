//! Models that nobody trained: every kind of layer, column and output, each with rows to predict.

use broadsweep_common::dataset::Element;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::model::{Activation, Initialization, Layer, Loss, Model, Padding, Window};
use broadsweep_common::schema::{Column, ColumnKind, Dialect, Inputs, Outputs, Scale, Schema};
use broadsweep_nn::{Role, Tensor, Weights};
use ndarray::{ArrayD, IxDyn};

use super::super::*;

/// A model, its weights, and the file of rows.
pub(super) struct MadeUp {
    pub(super) name: &'static str,
    pub(super) model: TrainedModel,
    pub(super) weights: Weights,
    pub(super) rows: Rows,
}

/// What a file of rows holds.
pub(super) enum Rows {
    Table(String),
    Array(ArrayD<f32>),
    Bytes(ArrayD<u8>),
}

const SAME: Padding = Padding::Same;
const VALID: Padding = Padding::Valid;
const ROWS: usize = 50;

/// Numbers between -1 and 1 without a pattern that a network would notice.
fn wave(place: usize) -> f64 {
    ((place as f64 * 12.9898 + 4.1414).sin() * 43_758.545_3).fract()
}

fn dense(units: usize, activation: Activation) -> Layer {
    Layer::Dense { units, activation, initialization: Initialization::Glorot }
}

fn conv(filters: usize, kernel: usize, stride: usize, padding: Padding, activation: Activation) -> Layer {
    Layer::Conv2d { filters, kernel, stride, padding, activation, initialization: Initialization::He }
}

fn window(size: usize, stride: usize, padding: Padding) -> Window {
    Window { size, stride, padding }
}

fn batch_norm(activation: Activation) -> Layer {
    Layer::BatchNorm { momentum: 0.9, epsilon: 1e-3, activation }
}

fn number(name: &str, center: f64, spread: f64, fill: Option<f64>) -> Column {
    Column { name: name.to_owned(), kind: ColumnKind::Number { scale: Scale { center, spread }, fill } }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn categories(name: &str, names: &[&str], may_miss: bool) -> Column {
    Column { name: name.to_owned(), kind: ColumnKind::Categories { names: words(names), may_miss } }
}

fn classes(names: &[&str]) -> Outputs {
    Outputs::Classes { column: Some("label".to_owned()), names: words(names) }
}

fn array(shape: &[u32], scales: Vec<Scale>, channels_first: bool, element: Element, outputs: Outputs) -> Schema {
    let inputs = Inputs::Array { scales, fills: Vec::new(), channels_first };
    Schema { shape: shape.to_vec(), inputs, element, outputs, text: Dialect::default() }
}

fn columns_of(shape: &[u32], columns: Vec<Column>, element: Element, outputs: Outputs) -> Schema {
    let inputs = Inputs::Columns(columns);
    Schema { shape: shape.to_vec(), inputs, element, outputs, text: Dialect::default() }
}

/// Weights that keep outputs of every layer of about one size.
fn weights(model: &Model, schema: &Schema) -> Weights {
    let plan = broadsweep_nn::plan(model, &schema.shape, schema.outputs.targets()).unwrap();
    let planned = plan.layers.iter().flat_map(|layer| &layer.tensors).enumerate();
    let tensors = planned.map(|(number, tensor)| {
        let inputs: usize = tensor.shape[..tensor.shape.len() - 1].iter().product();
        let value = |index: usize| {
            let wave = wave(1000 * number + index) as f32;
            match tensor.role {
                Role::Weight => 2.0 * wave / (inputs as f32).sqrt(),
                Role::Bias | Role::Mean => 0.3 * wave,
                Role::Scale | Role::Variance => 1.0 + 0.5 * wave,
            }
        };
        let values = (0..tensor.values()).map(value).collect();
        let values = ArrayD::from_shape_vec(IxDyn(&tensor.shape), values).unwrap();
        Tensor { name: tensor.name.clone(), values }
    });
    Weights { tensors: tensors.collect() }
}

pub(super) fn made_up(name: &'static str, layers: Vec<Layer>, schema: Schema, rows: Rows) -> MadeUp {
    let loss = match schema.outputs {
        Outputs::Classes { .. } => Loss::CrossEntropy,
        Outputs::Values { .. } => Loss::MeanSquaredError,
    };
    let layers = Model { loss, layers };
    let about = About {
        study: "made-up".to_owned(),
        trial: TrialId(7),
        epoch: Some(3),
        kernel: "portable".to_owned(),
        build: "0.1.0".to_owned(),
        metrics: Metrics::from_iter([(MetricName::VALIDATION_ERROR, 0.1), (MetricName::TEST_LOSS, f64::NAN)]),
        held_out: vec![0..=0, 3..=9, 12..=12],
    };
    let weights = weights(&layers, &schema);
    MadeUp { name, model: TrainedModel { layers, schema, about }, weights, rows }
}

/// A table of so many rows: what `cell` gives for each row and column.
fn table(schema: &Schema, cell: impl Fn(usize, usize) -> String) -> Rows {
    let Inputs::Columns(columns) = &schema.inputs else { panic!("a table has columns") };
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|column| &column.name)).unwrap();
    for row in 0..ROWS {
        writer.write_record((0..columns.len()).map(|column| cell(row, column))).unwrap();
    }
    Rows::Table(String::from_utf8(writer.into_inner().unwrap()).unwrap())
}

/// Whole numbers of a byte, so that any element can keep them.
fn image_rows(sides: &[usize], element: Element) -> Rows {
    let sides: Vec<usize> = std::iter::once(ROWS).chain(sides.iter().copied()).collect();
    let values: usize = sides.iter().product();
    let byte = |place| ((wave(place) + 1.0) * 127.5) as u8;
    match element {
        Element::F32 => {
            let values = (0..values).map(|place| f32::from(byte(place)) / 7.0).collect();
            Rows::Array(ArrayD::from_shape_vec(IxDyn(&sides), values).unwrap())
        }
        Element::U8 => Rows::Bytes(ArrayD::from_shape_vec(IxDyn(&sides), (0..values).map(byte).collect()).unwrap()),
    }
}

/// Numbers with every activation, one of them constant, one as large as a time in seconds, some missing.
fn numbers() -> MadeUp {
    let columns = vec![
        number("seconds", 1_700_000_050.0, 100.0, None),
        number("constant", 3.0, 0.0, None),
        number("age", 40.0, 12.5, Some(38.0)),
        number("a \"quoted\", name", -1e-3, 1e-4, None),
    ];
    let outputs = classes(&["0", "1", "5"]);
    let schema = columns_of(&[4], columns, Element::F32, outputs);
    let rows = table(&schema, |row, column| match column {
        0 => (1_700_000_000 + 3 * row).to_string(),
        1 => if row % 10 == 0 { "17" } else { "3" }.to_owned(),
        2 if row % 4 == 0 => String::new(),
        2 => (20 + row).to_string(),
        _ => (1e-4 * wave(row)).to_string(),
    });
    let layers = vec![
        dense(9, Activation::Gelu),
        batch_norm(Activation::Tanh),
        dense(8, Activation::Sigmoid),
        Layer::Dropout { rate: 0.5 },
        dense(7, Activation::LeakyRelu),
        Layer::Activation(Activation::Gelu),
        dense(6, Activation::Relu),
        dense(3, Activation::Linear),
    ];
    made_up("numbers", layers, schema, rows)
}

/// Words between numbers and flags, some missing, and labels that are words.
fn mixed() -> MadeUp {
    let flag = ColumnKind::Flag { scale: Scale { center: 0.25, spread: 0.5 }, fill: Some(1.0) };
    let columns = vec![
        categories("color", &["red", "green", "blue"], true),
        number("size", 2.0, 3.0, Some(1.5)),
        Column { name: "member".to_owned(), kind: flag },
        categories("país", &["España", "日本"], false),
        number("weight", 0.0, 1.0, None),
    ];
    let outputs = classes(&["no", "yes, surely", "größer"]);
    let mut schema = columns_of(&[8], columns, Element::F32, outputs);
    schema.text = Dialect { decimal: Some(b'.'), header: Some(true), ..Dialect::default() };
    let rows = table(&schema, |row, column| {
        let word = match column {
            0 => ["red", "green", "blue", ""][row % 4],
            2 => ["true", "no", "1", ""][row / 4 % 4],
            3 => ["España", "日本"][row % 2],
            1 if row % 5 == 0 => "",
            _ => return (10.0 * wave(row + 100 * column)).to_string(),
        };
        word.to_owned()
    });
    made_up("mixed", vec![dense(11, Activation::Tanh), dense(3, Activation::Linear)], schema, rows)
}

/// Words alone, kept as bytes, and values as answers, scaled back.
fn words_to_values() -> MadeUp {
    let columns = vec![categories("a", &["x", "y"], true), categories("b", &["one", "two", "three"], false)];
    let scales = vec![Scale { center: 1e6, spread: 2.5e4 }, Scale { center: -3.0, spread: 1e-3 }];
    let outputs = Outputs::Values { names: words(&["price", "yield"]), scales };
    let schema = columns_of(&[5], columns, Element::U8, outputs);
    let rows = table(&schema, |row, column| {
        if column == 0 { ["x", "y", ""][row % 3] } else { ["one", "two", "three"][row / 3 % 3] }.to_owned()
    });
    made_up("words-to-values", vec![dense(4, Activation::Sigmoid), dense(2, Activation::Linear)], schema, rows)
}

/// A table whose columns are the pixels of an image.
fn pixels() -> MadeUp {
    let columns = (0..30).map(|pixel| number(&format!("p{pixel}"), 100.0 + f64::from(pixel), 50.0, None)).collect();
    let outputs = classes(&["even", "odd"]);
    let schema = columns_of(&[5, 6, 1], columns, Element::U8, outputs);
    let rows = table(&schema, |row, column| (((wave(30 * row + column) + 1.0) * 127.0) as u8).to_string());
    let layers = vec![conv(3, 2, 1, SAME, Activation::Relu), Layer::Flatten, dense(2, Activation::Linear)];
    made_up("pixels", layers, schema, rows)
}

/// Images through all that windows can do: odd sides, strides, both paddings.
fn images() -> MadeUp {
    let scales = vec![Scale { center: 17.0, spread: 10.0 }];
    let schema = array(&[13, 10, 3], scales, false, Element::F32, classes(&["0", "1", "2", "3"]));
    let layers = vec![
        conv(5, 4, 1, SAME, Activation::LeakyRelu),
        Layer::MaxPool(window(3, 2, SAME)),
        batch_norm(Activation::Relu),
        Layer::AveragePool(window(3, 2, SAME)),
        conv(4, 3, 2, SAME, Activation::Gelu),
        Layer::Dropout { rate: 0.25 },
        Layer::Activation(Activation::Tanh),
        Layer::Flatten,
        dense(4, Activation::Linear),
    ];
    made_up("images", layers, schema, image_rows(&[13, 10, 3], Element::F32))
}

/// The same with the channels first, as bytes, each pixel scaled on its own, and windows that stay inside.
fn images_channels_first() -> MadeUp {
    let scale = |place| match place % 11 {
        0 => Scale { center: 255.0, spread: 0.0 },
        _ => Scale { center: 100.0 + 20.0 * wave(place), spread: 60.0 + 30.0 * wave(place + 500) },
    };
    let scales = (0..11 * 9 * 2).map(scale).collect();
    let schema = array(&[11, 9, 2], scales, true, Element::U8, classes(&["a", "b", "c"]));
    let layers = vec![
        batch_norm(Activation::Linear),
        conv(6, 3, 2, VALID, Activation::Relu),
        Layer::AveragePool(window(2, 1, VALID)),
        Layer::MaxPool(window(2, 2, VALID)),
        Layer::Flatten,
        batch_norm(Activation::Sigmoid),
        dense(3, Activation::Linear),
    ];
    made_up("images-channels-first", layers, schema, image_rows(&[2, 11, 9], Element::U8))
}

/// Images that are flattened at once, with channels first and last.
fn flattened(channels_first: bool) -> MadeUp {
    let schema = array(
        &[4, 3, 2],
        vec![Scale { center: 0.0, spread: 255.0 }],
        channels_first,
        Element::U8,
        classes(&["0", "1"]),
    );
    let (name, sides) = if channels_first { ("flattened-first", [2, 4, 3]) } else { ("flattened-last", [4, 3, 2]) };
    made_up(name, vec![Layer::Flatten, dense(2, Activation::Linear)], schema, image_rows(&sides, Element::U8))
}

/// All of them.
pub(super) fn all() -> Vec<MadeUp> {
    vec![
        numbers(),
        mixed(),
        words_to_values(),
        pixels(),
        images(),
        images_channels_first(),
        flattened(true),
        flattened(false),
    ]
}

/// Many columns, most of them numbers.
pub(super) fn wide(columns: usize) -> MadeUp {
    let column = |place: usize| match place % 100 {
        99 => categories(&format!("c{place}"), &["x", "y", "z"], true),
        _ => number(&format!("c{place}"), place as f64, 2.0, None),
    };
    let columns: Vec<Column> = (0..columns).map(column).collect();
    let width: usize = columns.iter().map(|column| column.kind.width()).sum();
    let schema = columns_of(&[width as u32], columns, Element::F32, classes(&["0", "1"]));
    made_up("wide", vec![dense(2, Activation::Linear)], schema, Rows::Table(String::new()))
}
