//! What is handed over, and kept, where a model is applied: the model, what a partition needs of its files, and what came out
//! of it.

use std::fs;

use broadsweep_common::application::{
    Applied, BadRow, FarRow, FinishedModel, FinishedNetwork, InputFile, KeptColumn, KeptKind, LabelTally,
    OutputFormat, Partition, Portion,
};
use broadsweep_common::codec;
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::Element;
use broadsweep_common::model::{Activation, Initialization, Layer, Loss, Model};
use broadsweep_common::schema::{Dialect, Inputs, Outputs, Scale, Schema};
use broadsweep_data::partition::{PartitionRows, Wanted, unpack};
use broadsweep_driver::apply::manifest::VERSION;
use broadsweep_driver::apply::{Manifest, OutputFile};
use broadsweep_driver::records::answers::{AnswersRecord, Told};
use broadsweep_nn::Weights;

use super::{Bound, folder};

/// A value of bincode claims at most what its limit for short inputs lets it, and weights are read twice.
pub(super) const MODEL: Bound = Bound { fixed: 4 << 20, per_byte: 256 };
/// The head claims as much; what follows is written into a file.
pub(super) const PARTS: Bound = Bound { fixed: 16 << 20, per_byte: 64 };

fn schema() -> Schema {
    let scales = vec![Scale { center: 0.0, spread: 255.0 }];
    let inputs = Inputs::Array { scales, fills: Vec::new(), channels_first: false };
    let outputs = Outputs::Classes { column: None, names: vec!["no".to_owned(), "yes".to_owned()] };
    Schema { shape: vec![4], inputs, element: Element::F32, outputs, text: Dialect::default() }
}

/// A finished model, as executors make it theirs.
pub(super) fn finished_model(bytes: &[u8]) {
    let Ok((FinishedModel { schema, network }, weights)) = FinishedModel::of_blob(bytes) else { return };
    let FinishedNetwork::Layers(layers) = network else { return };
    let Ok(layers) = layers.resolve(&Configuration::default()) else { return };
    drop(Weights::from_safetensors(weights, &layers, &schema.shape, schema.outputs.targets()));
}

pub(super) fn finished_model_seeds() -> Vec<Vec<u8>> {
    let dense = Layer::Dense { units: 2, activation: Activation::Linear, initialization: Initialization::Glorot };
    let layers = Model { loss: Loss::CrossEntropy, layers: vec![dense] }.description();
    let finished = FinishedModel { schema: schema(), network: FinishedNetwork::Layers(layers) };
    vec![finished.to_blob(&[]).unwrap(), finished.to_blob(b"\x02\0\0\0\0\0\0\0{}").unwrap()]
}

/// What a partition needs of its files, as an executor reads it that cannot read them.
pub(super) fn parts(bytes: &[u8]) {
    let file = InputFile { path: "/rows.idx".to_owned(), bytes: 52, modified_ns: 0, tag: String::new() };
    let Ok(files) = unpack(bytes, &[file]) else { return };
    let partition = Partition { file: 0, portion: Portion::Rows, first_row: 2, rows: Some(4), cost: 4 };
    let (schema, wanted) = (schema(), Wanted::default());
    let Ok(mut rows) = PartitionRows::open(&schema, &wanted, &[], files, &partition) else { return };
    while let Ok(Some(_)) = rows.next_piece(3) {}
}

pub(super) fn parts_seeds() -> Vec<Vec<u8>> {
    let header = [&[0, 0, 8, 2][..], &10_u32.to_be_bytes(), &4_u32.to_be_bytes()].concat();
    let packed = |head: &[&[(u64, u64)]], content: &[u8]| codec::encode_before(&head, content).unwrap();
    let rows = [&header[..], &[7; 16]].concat();
    vec![packed(&[&[(0, 12), (20, 36)]], &rows), packed(&[&[(0, 52)]], &[&header[..], &[1; 40]].concat())]
}

/// What came out of a partition, as the driver adds it up.
pub(super) fn answers(bytes: &[u8]) {
    let Ok((applied, _)) = Applied::of_artifact(bytes) else { return };
    let mut tally = LabelTally::of(&schema().outputs);
    applied.tally.iter().for_each(|other| tally.add(other));
    std::hint::black_box(tally.rows());
}

pub(super) fn answers_seeds() -> Vec<Vec<u8>> {
    let bad = BadRow { row: 3, place: "rows.csv, line 5".to_owned(), reason: "it is missing".to_owned() };
    let far = FarRow { file: 0, row: 7, wanted: 1.0, answered: 0.0, distance: 2.5 };
    let tally = LabelTally::Classes { classes: 2, counts: vec![5, 1, 0, 3], loss: 0.5 };
    let applied =
        Applied { rows: 9, bad_rows: 1, bad: vec![bad], tally: Some(tally), far: vec![far], columns: Vec::new() };
    vec![applied.to_artifact(b"prediction\nyes\n").unwrap(), Applied::default().to_artifact(b"").unwrap()]
}

/// What an output says of itself, and what its run does.
pub(super) fn manifest(bytes: &[u8]) {
    let output = folder().join("output");
    fs::create_dir_all(&output).unwrap();
    fs::write(output.join("manifest.json"), bytes).unwrap();
    drop(Manifest::read(&output));
    if let Some(answers) = AnswersRecord::read(bytes) {
        let told = answers.worst.into_iter().flatten().map(|row| row.wanted);
        told.for_each(|wanted: Told| drop(wanted.to_string()));
    }
}

pub(super) fn manifest_seeds() -> Vec<Vec<u8>> {
    let file = OutputFile::of("part-0000000.csv", 3, b"prediction\n", "run");
    let manifest = Manifest {
        version: VERSION,
        run: "run".to_owned(),
        model: "00".to_owned(),
        kernel: "avx2".to_owned(),
        format: OutputFormat::Csv,
        columns: vec![KeptColumn { name: "prediction".to_owned(), kind: KeptKind::Text }],
        rows: 3,
        bad_rows: 0,
        files: vec![file],
        earlier: Vec::new(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let answers = r#"{"output":"/o","rows":1,"bad_rows":0,"files":1,"partitions":1,"wall_s":1.0,"rows_per_s":1,
        "labelled_rows":1,"labels":{"error":0.5,"confusion":[[1]]},
        "worst":[{"file":"f","row":0,"wanted":"a","answered":1.5,"distance":null}]}"#;
    vec![manifest, answers.as_bytes().to_vec()]
}
