//! The description of a model, and rows that it is asked about.

use std::path::Path;

use broadsweep_common::dataset::{Element, TargetKind};
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::model::{Activation, Initialization, Layer, Loss, Model};
use broadsweep_common::schema::{Column, ColumnKind, Dialect, Inputs, Outputs, Scale, Schema};
use broadsweep_data::input::InputRows;
use broadsweep_driver::model::folder::ModelFiles;
use broadsweep_driver::model::{About, TrainedModel, parse};
use broadsweep_nn::{self as nn, Tensor, Weights};
use ndarray::ArrayD;

use super::Bound;

/// The text as a document, three times.
pub(super) const MODEL: Bound = Bound { fixed: 4 << 20, per_byte: 1024 };
/// Values of a row that is tried with a model.
const VALUES_MAX: usize = 10_000;

/// A description that is accepted can be used.
pub(super) fn model(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(TrainedModel { layers, schema, .. }) = parse(text, Path::new("model.toml")) else { return };
    let plan = nn::plan(&layers, &schema.shape, targets(&schema)).unwrap();
    let values = plan.input.values();
    if values <= VALUES_MAX {
        let mut prepared = 0;
        schema.prepare(&vec![0.0; schema.inputs.cells(values)], |_| prepared += 1);
        assert_eq!(prepared, values);
    }
}

/// Descriptions of a table's model and of an array's.
pub(super) fn model_seeds() -> Vec<Vec<u8>> {
    let scale = Scale { center: 0.5, spread: 2.0 };
    let values = Outputs::Values { names: vec!["price".to_owned()], scales: vec![scale] };
    let inputs = Inputs::Array { scales: vec![scale; 6], fills: vec![1.0; 6], channels_first: true };
    let text = Dialect::default();
    let images = Schema { shape: vec![1, 2, 3], inputs, element: Element::U8, outputs: values, text };
    let described = [table(), images].into_iter().map(|schema| {
        let model = trained(schema);
        ModelFiles::of(&model, &weights(&model)).unwrap().description
    });
    described.collect()
}

/// A row as people type it.
pub(super) fn row(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(mut rows) = InputRows::of_row(&table(), text)
    {
        let piece = rows.next_piece(1).unwrap().unwrap();
        assert!(table().fits(piece.header()));
    }
}

/// Good ones.
pub(super) fn row_seeds() -> Vec<Vec<u8>> {
    ["age=31,color=red,member=yes", "member=0", "\"color=blue\",age=1e3,member=true"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// A table with a column of each kind.
fn table() -> Schema {
    let (scale, names) = (Scale { center: 40.0, spread: 12.0 }, ["red", "blue"].map(str::to_owned).to_vec());
    let kinds = [
        ("age", ColumnKind::Number { scale, fill: Some(38.0) }),
        ("color", ColumnKind::Categories { names, may_miss: true }),
        ("member", ColumnKind::Flag { scale: Scale::NONE, fill: None }),
    ];
    let columns = kinds.map(|(name, kind)| Column { name: name.to_owned(), kind }).to_vec();
    let names = vec!["no".to_owned(), "yes".to_owned()];
    let outputs = Outputs::Classes { column: Some("bought".to_owned()), names };
    let text = Dialect {
        delimiter: Some(b';'),
        decimal: Some(b','),
        header: Some(true),
        encoding: Some("latin1".to_owned()),
    };
    Schema { shape: vec![4], inputs: Inputs::Columns(columns), element: Element::F32, outputs, text }
}

fn trained(schema: Schema) -> TrainedModel {
    let targets = targets(&schema);
    let loss = match targets {
        TargetKind::Classes { .. } => Loss::CrossEntropy,
        TargetKind::Values { .. } => Loss::MeanSquaredError,
    };
    let (units, activation, initialization) = (targets.outputs(), Activation::Linear, Initialization::Glorot);
    let layers = vec![Layer::Flatten, Layer::Dense { units, activation, initialization }];
    let layers = if schema.shape.len() == 1 { layers[1..].to_vec() } else { layers };
    let about = About {
        study: "mine".to_owned(),
        trial: TrialId(3),
        epoch: Some(2),
        kernel: "portable".to_owned(),
        build: "0.1.0".to_owned(),
        metrics: Metrics::from_iter([(MetricName::VALIDATION_ERROR, 0.25)]),
        held_out: vec![0..=0, 3..=9],
    };
    TrainedModel { layers: Model { loss, layers }, schema, about }
}

fn weights(TrainedModel { layers, schema, .. }: &TrainedModel) -> Weights {
    let plan = nn::plan(layers, &schema.shape, targets(schema)).unwrap();
    let planned = plan.layers.iter().flat_map(|layer| &layer.tensors);
    let zeros =
        planned.map(|tensor| Tensor { name: tensor.name.clone(), values: ArrayD::zeros(tensor.shape.clone()) });
    Weights { tensors: zeros.collect() }
}

fn targets(schema: &Schema) -> TargetKind {
    match &schema.outputs {
        Outputs::Classes { names, .. } => TargetKind::Classes { count: names.len() as u32 },
        Outputs::Values { names, .. } => TargetKind::Values { width: names.len() as u32 },
    }
}
