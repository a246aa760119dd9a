//! A graph that is run: by `rten`, which alone is known here.
//!
//! A graph is loaded once and shared; each [`Runner`] has one thread, so that a slot takes one core. The same graph and
//! rows give the same bits on processors of one kind: `rten` chooses its products and sums by what a processor has.
//!
//! `rten` promises that no graph reads or writes what it should not, and promises nothing about memory, time or panics.
//! So whoever loads a graph that nobody has tried does it in a process of its own, and whoever runs one catches panics.

use std::ops::Range;
use std::sync::Arc;

use broadsweep_common::application::{GraphDescription, GraphInput, GraphNumber};
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};

use crate::error::{OnnxError, shown};

/// Values of all inputs that a batch should have.
const BATCH_VALUES: u64 = 1 << 18;
/// Rows of a batch, at most, where the graph takes any number.
const BATCH_ROWS_MAX: u64 = 256;

/// A graph, ready to be run.
pub struct Session {
    model: Model,
    description: GraphDescription,
    inputs: Vec<NodeId>,
    output: NodeId,
}

impl Session {
    /// Loads a graph of standard operators.
    ///
    /// # Errors
    /// [`OnnxError`], if it is none, has operators that are not known, or lacks what the description names.
    pub fn load(graph: &[u8], description: GraphDescription) -> Result<Self, OnnxError> {
        let load = || ModelOptions::with_all_ops().load(graph.to_vec());
        // Parts that depend on no row are computed now: on one thread, as all else.
        let model = ThreadPool::with_num_threads(1).run(load).map_err(|error| of_load(&error.to_string()))?;
        let node = |name: &str| {
            model.find_node(name).ok_or_else(|| OnnxError::Damaged(format!("it has no tensor `{}`", shown(name))))
        };
        let inputs = description.inputs.iter().map(|input| node(&input.name)).collect::<Result<Vec<_>, _>>()?;
        let output = node(&description.output)?;
        Ok(Self { model, description, inputs, output })
    }

    /// How it is used.
    #[must_use]
    pub fn description(&self) -> &GraphDescription {
        &self.description
    }

    /// Rows of a batch: as many as the graph takes, or as are well run together.
    #[must_use]
    pub fn batch_rows(&self) -> usize {
        let GraphDescription { inputs, batch_rows, .. } = &self.description;
        let values: u64 = inputs.iter().map(GraphInput::values).fold(0, u64::saturating_add);
        let rows = (BATCH_VALUES / values.max(1)).clamp(1, BATCH_ROWS_MAX);
        batch_rows.map_or(rows as usize, |rows| rows as usize)
    }

    /// Runs it on a thread of its own.
    #[must_use]
    pub fn runner(&self) -> Runner<'_> {
        Runner { session: self, thread: Arc::new(ThreadPool::with_num_threads(1)) }
    }
}

/// What `rten` says of a graph that it does not load, with what to do.
fn of_load(error: &str) -> OnnxError {
    let advice = if error.contains("not supported or not enabled") {
        "; export the model for other operators (another opset), or without that layer"
    } else {
        ""
    };
    OnnxError::Unsupported(format!("its graph cannot be loaded: {}{advice}", shown(error)))
}

/// A graph and the thread that it runs on.
pub struct Runner<'s> {
    session: &'s Session,
    thread: Arc<ThreadPool>,
}

impl Runner<'_> {
    /// The numbers that answer `rows` rows, row after row. `values` has those of each input, one input after the other, and
    /// of each all rows; their number is [`Session::batch_rows`], or any where the graph takes any.
    ///
    /// # Errors
    /// [`OnnxError::Failed`], if the graph does not run on them, or if its answer is no tensor with a row for each.
    pub fn run(&self, rows: usize, values: &[f32]) -> Result<Vec<f32>, OnnxError> {
        let Session { model, description, inputs, output } = self.session;
        let (mut fed, mut left) = (Vec::new(), values);
        for (input, &node) in description.inputs.iter().zip(inputs) {
            let count = rows.saturating_mul(input.values() as usize);
            let (values, others) =
                left.split_at_checked(count).ok_or_else(|| failed("it was given too few values"))?;
            fed.push((node, tensor(input, rows, values)?));
            left = others;
        }
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.thread)));
        let answers = model.run(fed, &[*output], Some(options)).map_err(|error| failed(&error.to_string()))?;
        let answer = answers.into_iter().next().ok_or_else(|| failed("it gave no answer"))?;
        let numbers: Vec<f32> = match answer {
            Value::FloatTensor(tensor) => tensor.into_data(),
            Value::Int32Tensor(tensor) => tensor.into_data().into_iter().map(|number| number as f32).collect(),
            _ => return Err(failed("its answer is no tensor of numbers")),
        };
        if numbers.is_empty() || !numbers.len().is_multiple_of(rows) {
            return Err(failed(&format!("it answers {rows} rows with {} numbers", numbers.len())));
        }
        Ok(numbers)
    }
}

fn failed(what: &str) -> OnnxError {
    OnnxError::Failed(shown(what).to_string())
}

/// The values of an input, in its type.
fn tensor(input: &GraphInput, rows: usize, values: &[f32]) -> Result<ValueOrView<'static>, OnnxError> {
    let sides: Vec<usize> = std::iter::once(rows).chain(input.sides.iter().map(|&side| side as usize)).collect();
    let unfit = |value: f32| {
        OnnxError::Failed(format!(
            "its input `{}` takes whole numbers, and {value} is none that fits",
            shown(&input.name)
        ))
    };
    let value = match input.number {
        GraphNumber::Float => {
            Value::from_shape(sides, values.to_vec()).map_err(|error| failed(&error.to_string()))?
        }
        GraphNumber::Integer => {
            let whole = |&value: &f32| is_whole(value, -2_147_483_648.0..2_147_483_648.0).then_some(value as i32);
            let values = values.iter().map(|value| whole(value).ok_or_else(|| unfit(*value)));
            let values = values.collect::<Result<Vec<_>, _>>()?;
            Value::from_shape(sides, values).map_err(|error| failed(&error.to_string()))?
        }
        GraphNumber::Byte => {
            let byte = |&value: &f32| is_whole(value, 0.0..256.0).then_some(value as u8);
            let values = values.iter().map(|value| byte(value).ok_or_else(|| unfit(*value)));
            let values = values.collect::<Result<Vec<_>, _>>()?;
            Value::from_shape(sides, values).map_err(|error| failed(&error.to_string()))?
        }
    };
    Ok(value.into())
}

/// Whether a number is a whole one of these.
fn is_whole(value: f32, range: Range<f32>) -> bool {
    value.fract() == 0.0 && range.contains(&value)
}
