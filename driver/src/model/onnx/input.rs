//! From raw rows to what the first layer takes: missing values filled, scaled in 64 bits and then narrowed, words as many
//! values. A few nodes for all columns, however many there are.

use broadsweep_common::dataset::Element;
use broadsweep_common::schema::{Column, ColumnKind, Inputs, Scale, Schema};
use broadsweep_onnx::messages::{DOUBLE, FLOAT};

use super::graph::{Constant, Graph, Setting, Tensor};

/// Rows as the first layer takes them.
pub(super) struct Rows {
    /// `(rows, values)`, or images.
    pub(super) tensor: Tensor,
    /// Whether the channels of an image stand before its height and width.
    pub(super) channels_first: bool,
}

/// What is done to each value of the network's row, in the order of the tensor.
struct Steps {
    element: Element,
    /// The sides of a row.
    sides: Vec<i64>,
    /// One for all, or one for each.
    scales: Vec<Scale>,
    /// NaN where a missing value is none; empty where that is so for all.
    fills: Vec<f64>,
}

/// Adds the graph's input and all that is done to it.
pub(super) fn prepare(graph: &mut Graph, schema: &Schema) -> Rows {
    let shape: Vec<i64> = schema.shape.iter().map(|&side| i64::from(side)).collect();
    match &schema.inputs {
        Inputs::Columns(columns) => {
            let rows = graph.input("rows", DOUBLE, &[columns.len() as i64]);
            let values = of_columns(graph, rows, columns, schema.element);
            Rows { tensor: shaped(graph, values, &shape), channels_first: false }
        }
        Inputs::Array { scales, fills, channels_first } => {
            let (sides, order) = match shape[..] {
                [height, width, channels] if *channels_first => {
                    (vec![channels, height, width], channels_before(height * width, channels))
                }
                _ => (shape.clone(), Vec::new()),
            };
            let rows = graph.input("rows", DOUBLE, &sides);
            let is_image = sides.len() == 3;
            let (scales, fills) = (in_order(scales, &order), in_order(fills, &order));
            let steps = Steps { element: schema.element, sides, scales, fills };
            Rows { tensor: steps.apply(graph, rows), channels_first: *channels_first && is_image }
        }
    }
}

/// Where each value of an image with its channels first stands in one with its channels last.
fn channels_before(pixels: i64, channels: i64) -> Vec<usize> {
    (0..channels).flat_map(|channel| (0..pixels).map(move |pixel| (pixel * channels + channel) as usize)).collect()
}

/// `values` in another order; one value for all, or none, stays so.
fn in_order<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
    if values.len() == order.len() { order.iter().map(|&place| values[place]).collect() } else { values.to_vec() }
}

/// Rows of a table that become images.
fn shaped(graph: &mut Graph, values: Tensor, shape: &[i64]) -> Tensor {
    if shape.len() == 1 {
        return values;
    }
    // 0 is as many rows as there are.
    let sides: Vec<i64> = std::iter::once(0).chain(shape.iter().copied()).collect();
    let sides = graph.constant("shape", &[sides.len() as i64], &Constant::Ints(&sides));
    graph.node("Reshape", &[&values, &sides], Vec::new())
}

/// One value of the network's row for each number, and one for each word of a column's.
fn of_columns(graph: &mut Graph, rows: Tensor, columns: &[Column], element: Element) -> Tensor {
    let (mut cells, mut places, mut scales, mut fills) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (cell, column) in columns.iter().enumerate() {
        match &column.kind {
            ColumnKind::Number { scale, fill } | ColumnKind::Flag { scale, fill } => {
                cells.push(cell as i64);
                places.push(None);
                scales.push(*scale);
                fills.push(fill.unwrap_or(f64::NAN));
            }
            ColumnKind::Categories { names, .. } => {
                for place in 0..names.len() {
                    cells.push(cell as i64);
                    places.push(Some(place as f64));
                    scales.push(Scale::NONE);
                    fills.push(f64::NAN);
                }
            }
        }
    }
    let values = cells.len() as i64;
    let are_numbers = places.iter().all(Option::is_none);
    let spread_out = if are_numbers {
        rows
    } else {
        let cells = graph.constant("cells", &[values], &Constant::Ints(&cells));
        graph.node("Gather", &[&rows, &cells], vec![("axis", Setting::Int(1))])
    };
    if fills.iter().all(|fill| fill.is_nan()) {
        fills.clear();
    }
    let scaled = Steps { element, sides: vec![values], scales, fills }.apply(graph, spread_out.clone());
    if are_numbers { scaled } else { with_words(graph, &scaled, &spread_out, &places) }
}

/// The values that stand for words: 1 for the word of the cell, 0 for the others, and for all where it is missing.
fn with_words(graph: &mut Graph, scaled: &Tensor, cells: &Tensor, places: &[Option<f64>]) -> Tensor {
    let sides = [1, places.len() as i64];
    let are_words: Vec<bool> = places.iter().map(Option::is_some).collect();
    let places: Vec<f64> = places.iter().map(|place| place.unwrap_or(0.0)).collect();
    let places = graph.constant("places", &sides, &Constant::Doubles(&places));
    let is_it = graph.node("Equal", &[cells, &places], Vec::new());
    let hot = graph.node("Cast", &[&is_it], vec![("to", Setting::Int(FLOAT.into()))]);
    if are_words.iter().all(|&is_word| is_word) {
        return hot;
    }
    let are_words = graph.constant("are_words", &sides, &Constant::Flags(&are_words));
    graph.node("Where", &[&are_words, &hot, scaled], Vec::new())
}

impl Steps {
    /// Adds the nodes: to numbers what `Schema::prepare` does, to bytes what the gathering of a batch does.
    fn apply(&self, graph: &mut Graph, rows: Tensor) -> Tensor {
        let mut values = rows;
        if !self.fills.is_empty() {
            let fills = graph.constant("fills", &self.sides_of(self.fills.len()), &Constant::Doubles(&self.fills));
            let is_missing = graph.node("IsNaN", &[&values], Vec::new());
            values = graph.node("Where", &[&is_missing, &fills, &values], Vec::new());
        }
        let one_for_all = self.scales.first().filter(|first| self.scales.iter().all(|scale| scale == *first));
        let scales = one_for_all.map_or(self.scales.as_slice(), std::slice::from_ref);
        let narrow = vec![("to", Setting::Int(FLOAT.into()))];
        match self.element {
            Element::F32 => {
                values = self.scale_wide(graph, values, scales);
                graph.node("Cast", &[&values], narrow)
            }
            Element::U8 => {
                values = graph.node("Cast", &[&values], narrow);
                self.scale_narrow(graph, &values, scales)
            }
        }
    }

    fn scale_wide(&self, graph: &mut Graph, mut values: Tensor, scales: &[Scale]) -> Tensor {
        let sides = self.sides_of(scales.len());
        let centers: Vec<f64> = scales.iter().map(|scale| scale.center).collect();
        if centers.iter().any(|&center| center != 0.0) {
            let centers = graph.constant("centers", &sides, &Constant::Doubles(&centers));
            values = graph.node("Sub", &[&values, &centers], Vec::new());
        }
        let spreads: Vec<f64> =
            scales.iter().map(|scale| if scale.spread > 0.0 { scale.spread } else { 1.0 }).collect();
        if spreads.iter().any(|spread| spread.to_bits() != 1.0_f64.to_bits()) {
            let spreads = graph.constant("spreads", &sides, &Constant::Doubles(&spreads));
            values = graph.node("Div", &[&values, &spreads], Vec::new());
        }
        let vary: Vec<bool> = scales.iter().map(|scale| scale.spread > 0.0).collect();
        if vary.iter().all(|&varies| varies) {
            return values;
        }
        let vary = graph.constant("vary", &sides, &Constant::Flags(&vary));
        let zero = graph.constant("zero", &[1], &Constant::Doubles(&[0.0]));
        graph.node("Where", &[&vary, &values, &zero], Vec::new())
    }

    fn scale_narrow(&self, graph: &mut Graph, values: &Tensor, scales: &[Scale]) -> Tensor {
        let sides = self.sides_of(scales.len());
        let (factors, offsets): (Vec<f32>, Vec<f32>) = scales.iter().map(|scale| scale.narrow()).unzip();
        let factors = graph.constant("factors", &sides, &Constant::Floats(&factors));
        let offsets = graph.constant("offsets", &sides, &Constant::Floats(&offsets));
        let scaled = graph.node("Mul", &[values, &factors], Vec::new());
        graph.node("Add", &[&scaled, &offsets], Vec::new())
    }

    /// Of a constant with so many values: one for all rows and values, or one for each value.
    fn sides_of(&self, values: usize) -> Vec<i64> {
        let each = std::iter::once(1).chain(self.sides.iter().copied());
        if values == 1 { vec![1] } else { each.collect() }
    }
}
