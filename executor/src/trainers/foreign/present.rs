//! Rows on their way through a graph: widened, scaled, laid as it takes them, and its answers read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use broadsweep_common::application::{GraphDescription, GraphReading};
use broadsweep_common::dataset::{Dataset, Features, Part, Scaling};
use broadsweep_common::schema::{Outputs, Schema};
use broadsweep_nn::Prediction;
use broadsweep_onnx::{Runner, Session};

/// A graph, and what its rows are.
pub(in crate::trainers) struct ForeignGraph {
    session: Session,
    /// Values of a row.
    values: usize,
    /// The channels of an image, where the graph takes them first.
    channels: Option<usize>,
}

impl ForeignGraph {
    /// Loads a graph; `schema` says what its rows are.
    pub(in crate::trainers) fn load(
        graph: &[u8],
        description: GraphDescription,
        schema: &Schema,
    ) -> Result<Self, String> {
        let values = schema.shape.iter().fold(1, |values: u64, &side| values.saturating_mul(side.into()));
        let taken = description.inputs.iter().fold(0, |sum: u64, input| sum.saturating_add(input.values()));
        let values = usize::try_from(values).ok().filter(|&values| values as u64 == taken && values > 0);
        let values = values.ok_or("its rows are others than its graph takes")?;
        let channels = match schema.shape[..] {
            [_, _, channels] if description.channels_first => Some(channels.max(1) as usize),
            _ => None,
        };
        // What is in a graph is whatever its file had.
        let loaded = catch_unwind(AssertUnwindSafe(|| Session::load(graph, description)));
        let session = loaded.map_err(|_| "its graph cannot be loaded; the executor's log says where it failed")?;
        Ok(Self { session: session.map_err(|error| error.to_string())?, values, channels })
    }

    pub(in crate::trainers) fn pass<'n>(&'n self, outputs: &'n Outputs) -> GraphPass<'n> {
        let width = match outputs {
            Outputs::Classes { names, .. } | Outputs::Values { names, .. } => names.len(),
        };
        GraphPass {
            graph: self,
            runner: self.session.runner(),
            width,
            row: vec![0.0; self.values],
            fed: Vec::new(),
            answer: Vec::new(),
        }
    }
}

/// Rows on their way through a graph.
pub(in crate::trainers) struct GraphPass<'n> {
    graph: &'n ForeignGraph,
    runner: Runner<'n>,
    /// Classes or values.
    width: usize,
    /// One row, before its channels are turned.
    row: Vec<f32>,
    /// A batch, one input after the other.
    fed: Vec<f32>,
    /// What one row's numbers mean.
    answer: Vec<f64>,
}

impl GraphPass<'_> {
    pub(in crate::trainers) fn batch_rows(&self) -> usize {
        self.graph.session.batch_rows()
    }

    pub(in crate::trainers) fn predict(
        &mut self,
        piece: &Dataset,
        mut take: impl FnMut(Prediction<'_>),
    ) -> Result<(), String> {
        let (all, batch_rows) = (piece.rows(Part::Test), self.batch_rows());
        let is_fixed = self.graph.session.description().batch_rows.is_some();
        for first in (0..all).step_by(batch_rows.max(1)) {
            let rows = batch_rows.min(all - first);
            // Where the graph takes a fixed number, the last row stands for those that are not there.
            let fed_rows = if is_fixed { batch_rows } else { rows };
            let places: Vec<_> = (first..first + fed_rows).map(|row| row.min(all - 1)).collect();
            self.feed(piece, &places);
            let numbers = self.runner.run(fed_rows, &self.fed).map_err(|error| error.to_string())?;
            let each = numbers.len() / fed_rows;
            let reading = self.graph.session.description().reading;
            let wanted =
                if matches!(reading, GraphReading::Second | GraphReading::SecondScore) { 1 } else { self.width };
            if each != wanted {
                return Err(format!("its graph answers a row with {each} numbers, and {wanted} were expected"));
            }
            for row in numbers.chunks_exact(each).take(rows) {
                take(read(row, reading, &mut self.answer));
            }
        }
        Ok(())
    }

    /// Lays rows into `fed`: for each input all rows.
    fn feed(&mut self, piece: &Dataset, rows: &[usize]) {
        let Self { graph, row: values, fed, .. } = self;
        fed.resize(rows.len() * graph.values, 0.0);
        let scaling = &piece.header().scaling;
        for (number, &row) in rows.iter().enumerate() {
            match piece.features(Part::Test) {
                Features::U8(all) => scale(all.row(row).iter().map(|&byte| f32::from(byte)), scaling, values),
                Features::F32(all) => scale(all.row(row).iter().copied(), scaling, values),
            }
            let (mut from, mut before) = (0, 0);
            for input in &graph.session.description().inputs {
                let count = input.values() as usize;
                let to = &mut fed[before + number * count..][..count];
                match graph.channels {
                    None => to.copy_from_slice(&values[from..from + count]),
                    Some(channels) => turn(&values[from..from + count], channels, to),
                }
                (from, before) = (from + count, before + rows.len() * count);
            }
        }
    }
}

fn scale(row: impl Iterator<Item = f32>, scaling: &Scaling, to: &mut [f32]) {
    match scaling {
        Scaling::Uniform { factor, offset } => {
            for (to, value) in to.iter_mut().zip(row) {
                *to = value * factor + offset;
            }
        }
        Scaling::PerFeature { factors, offsets } => {
            for (((to, value), factor), offset) in to.iter_mut().zip(row).zip(factors).zip(offsets) {
                *to = value * factor + offset;
            }
        }
    }
}

/// An image with its channels last, as one with its channels first.
fn turn(image: &[f32], channels: usize, to: &mut [f32]) {
    let pixels = image.len() / channels;
    for (place, to) in to.iter_mut().enumerate() {
        *to = image[place % pixels * channels + place / pixels];
    }
}

/// What a row's numbers mean. `answer` is where they are put.
fn read<'a>(row: &[f32], reading: GraphReading, answer: &'a mut Vec<f64>) -> Prediction<'a> {
    answer.clear();
    answer.extend(row.iter().copied().map(f64::from));
    match reading {
        GraphReading::Values => return Prediction::Values(answer),
        GraphReading::Probabilities => {}
        GraphReading::Scores => {
            let largest = answer.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for score in answer.iter_mut() {
                *score = libm::exp(*score - largest);
            }
            let sum: f64 = answer.iter().sum();
            for share in answer.iter_mut() {
                *share /= sum;
            }
        }
        GraphReading::Second => answer.insert(0, 1.0 - answer[0]),
        GraphReading::SecondScore => {
            let score = answer[0];
            *answer = vec![1.0 / (1.0 + libm::exp(score)), 1.0 / (1.0 + libm::exp(-score))];
        }
    }
    let mut class = 0;
    for (place, number) in answer.iter().enumerate() {
        class = if *number > answer[class] { place } else { class };
    }
    Prediction::Class { class, probabilities: answer }
}
