//! What stands between the rows of files and the numbers of a network: columns in their order, what is done to each,
//! and what the outputs mean. Whoever has a network's weights and its schema can use it on raw rows.
//!
//! The same code prepares rows for training and for prediction, so both see the same bits. It works in 64 bits, and
//! narrows last.

use serde::{Deserialize, Serialize};

use crate::dataset::{Element, Header, Scaling, TargetKind};

pub use crate::dataset::Scale;

/// How rows of files become rows of a network, and back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Shape of a row as the network takes it: `[values]`, or `[height, width, channels]`.
    pub shape: Vec<u32>,
    /// What a row's values are.
    pub inputs: Inputs,
    /// The type in which the data set that was trained on keeps them. It says when values are scaled: see [`Scale`].
    pub element: Element,
    /// What is predicted.
    pub outputs: Outputs,
    /// How the study said that its tables are written, if they are text: nothing of it for rows of other formats.
    pub text: Dialect,
}

/// How the text of a table is written; what is not given is found by looking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// Between two cells.
    pub delimiter: Option<u8>,
    /// Between the whole part of a number and its fraction: `.` or `,`.
    pub decimal: Option<u8>,
    /// Whether the first line names the columns.
    pub header: Option<bool>,
    /// The name of the text's encoding; UTF-8, or UTF-16 with a mark in front, unless it is given.
    pub encoding: Option<String>,
}

/// The values of a raw row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Inputs {
    /// Columns of a table, by name, in the order in which the network takes them.
    Columns(Vec<Column>),
    /// Numbers without names, as arrays and images have them.
    Array {
        /// One for all values, or one for each.
        scales: Vec<Scale>,
        /// What stands for a missing value (NaN), one for each; empty where a missing value is an error.
        fills: Vec<f64>,
        /// Whether a file has the channels of an image before its height and width.
        channels_first: bool,
    },
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the header line; its number from 1 in a file without one.
    pub name: String,
    /// What its cells are.
    pub kind: ColumnKind,
}

/// What the cells of a column are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ColumnKind {
    /// A number, which is scaled.
    Number {
        /// How.
        scale: Scale,
        /// What stands for a missing one; `None` where that is an error.
        fill: Option<f64>,
    },
    /// A word for yes or no: 1 or 0, scaled as a number is.
    Flag {
        /// How.
        scale: Scale,
        /// What stands for a missing one; `None` where that is an error.
        fill: Option<f64>,
    },
    /// One of these words: as many values, of which the word's own is 1 and the others are 0. They are not scaled.
    Categories {
        /// In their order, without any twice.
        names: Vec<String>,
        /// Whether a cell may be missing: then all values are 0.
        may_miss: bool,
    },
}

/// What a network's outputs mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outputs {
    /// The scores of these classes, in their order.
    Classes {
        /// The column of a table that holds the class.
        column: Option<String>,
        /// What the classes are called: numbers as they are written, or words.
        names: Vec<String>,
    },
    /// Numbers, scaled.
    Values {
        /// What they are called: the column of a table, or `output1` and so on.
        names: Vec<String>,
        /// How each was scaled: what is predicted is `output × spread + center`.
        scales: Vec<Scale>,
    },
}

impl Outputs {
    /// The targets of rows that a data set keeps for such outputs.
    #[must_use]
    pub fn targets(&self) -> TargetKind {
        match self {
            Self::Classes { names, .. } => TargetKind::Classes { count: names.len() as u32 },
            Self::Values { names, .. } => TargetKind::Values { width: names.len() as u32 },
        }
    }
}

impl ColumnKind {
    /// Values that the network takes for one cell.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Number { .. } | Self::Flag { .. } => 1,
            Self::Categories { names, .. } => names.len(),
        }
    }
}

impl Inputs {
    /// Cells of a raw row, for a row of `values` values of the network.
    #[must_use]
    pub fn cells(&self, values: usize) -> usize {
        match self {
            Self::Columns(columns) => columns.len(),
            Self::Array { .. } => values,
        }
    }

    /// Prepares one raw row. `cells` holds a number for each cell: of categories the place of the word among its names,
    /// of flags 1 or 0, and NaN for a missing one, which has to be allowed. `take` gets each value of the network's row,
    /// in order, with the scale that is due to it.
    pub fn each(&self, cells: &[f64], mut take: impl FnMut(f64, Scale)) {
        match self {
            Self::Columns(columns) => {
                for (column, &cell) in columns.iter().zip(cells) {
                    match &column.kind {
                        ColumnKind::Number { scale, fill } | ColumnKind::Flag { scale, fill } => {
                            take(fill.filter(|_| cell.is_nan()).unwrap_or(cell), *scale);
                        }
                        ColumnKind::Categories { names, .. } => {
                            // NaN is no place.
                            let chosen = (cell >= 0.0).then_some(cell as usize);
                            let mark = |place| f64::from(chosen == Some(place));
                            (0..names.len()).for_each(|place| take(mark(place), Scale::NONE));
                        }
                    }
                }
            }
            Self::Array { scales, fills, .. } => {
                for (place, &cell) in cells.iter().enumerate() {
                    let fill = fills.get(place).copied().filter(|_| cell.is_nan());
                    let scale = scales.get(place).or(scales.first()).copied().unwrap_or(Scale::NONE);
                    take(fill.unwrap_or(cell), scale);
                }
            }
        }
    }

    /// The scale of each value of the network's row, in order; one for all where it is the same.
    #[must_use]
    pub fn scales(&self) -> Vec<Scale> {
        match self {
            Self::Array { scales, .. } => scales.clone(),
            Self::Columns(columns) => {
                let each = columns.iter().flat_map(|column| match &column.kind {
                    ColumnKind::Number { scale, .. } | ColumnKind::Flag { scale, .. } => vec![*scale],
                    ColumnKind::Categories { names, .. } => vec![Scale::NONE; names.len()],
                });
                each.collect()
            }
        }
    }
}

impl Schema {
    /// What is done to values while a batch is gathered: nothing to numbers, which lie in the data set as they are used.
    #[must_use]
    pub fn scaling(&self) -> Scaling {
        let scales = self.inputs.scales();
        match (self.element, scales.as_slice()) {
            (Element::F32, _) | (_, []) => Scaling::Uniform { factor: 1.0, offset: 0.0 },
            (Element::U8, [first, rest @ ..]) if rest.iter().all(|scale| scale == first) => {
                let (factor, offset) = first.narrow();
                Scaling::Uniform { factor, offset }
            }
            (Element::U8, scales) => {
                let (factors, offsets) = scales.iter().map(|scale| scale.narrow()).unzip();
                Scaling::PerFeature { factors, offsets }
            }
        }
    }

    /// Prepares one raw row for a data set that keeps 32-bit numbers and whose header has [`Self::scaling`]. See
    /// [`Inputs::each`].
    pub fn prepare(&self, cells: &[f64], mut take: impl FnMut(f32)) {
        match self.element {
            Element::F32 => self.inputs.each(cells, |value, scale| take(scale.apply(value) as f32)),
            Element::U8 => self.inputs.each(cells, |value, _| take(value as f32)),
        }
    }

    /// What output `place` of the network is called.
    #[must_use]
    pub fn output_name(&self, place: usize) -> Option<&str> {
        match &self.outputs {
            Outputs::Classes { names, .. } | Outputs::Values { names, .. } => names.get(place).map(String::as_str),
        }
    }

    /// What its classes are called, in their order; nothing where values are predicted.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        match &self.outputs {
            Outputs::Classes { names, .. } => names,
            Outputs::Values { .. } => &[],
        }
    }

    /// Whether rows of a data set with this header are such rows.
    #[must_use]
    pub fn fits(&self, header: &Header) -> bool {
        let (outputs, element) = (header.targets.outputs(), header.element);
        let named = match &self.outputs {
            Outputs::Classes { names, .. } | Outputs::Values { names, .. } => names.len(),
        };
        self.shape == header.shape && element == self.element && outputs == named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str, scale: Scale, fill: Option<f64>) -> Column {
        Column { name: name.to_owned(), kind: ColumnKind::Number { scale, fill } }
    }

    fn table(element: Element) -> Schema {
        let names = ["red".to_owned(), "blue".to_owned()].to_vec();
        let color = Column { name: "color".to_owned(), kind: ColumnKind::Categories { names, may_miss: true } };
        let seconds = Scale { center: 1_700_000_050.0, spread: 100.0 };
        let columns = vec![number("seconds", seconds, None), color, number("size", Scale::NONE, Some(7.0))];
        let outputs = Outputs::Classes { column: None, names: vec!["no".to_owned(), "yes".to_owned()] };
        Schema { shape: vec![4], inputs: Inputs::Columns(columns), element, outputs, text: Dialect::default() }
    }

    fn prepared(schema: &Schema, cells: &[f64]) -> Vec<f32> {
        let mut values = Vec::new();
        schema.prepare(cells, |value| values.push(value));
        values
    }

    #[test]
    fn values_are_centered_in_64_bits_categories_are_one_hot_and_missing_cells_are_filled() {
        let schema = table(Element::F32);
        assert_eq!(prepared(&schema, &[1_700_000_051.0, 1.0, 3.0]), [0.01, 0.0, 1.0, 3.0]);
        assert_eq!(prepared(&schema, &[1_700_000_000.0, f64::NAN, f64::NAN]), [-0.5, 0.0, 0.0, 7.0]);
        assert_eq!(schema.scaling(), Scaling::Uniform { factor: 1.0, offset: 0.0 });
    }

    #[test]
    fn rows_of_bytes_stay_as_they_are_and_are_scaled_on_their_way_into_a_batch() {
        let schema = table(Element::U8);
        assert_eq!(prepared(&schema, &[9.0, 0.0, 255.0]), [9.0, 1.0, 0.0, 255.0]);
        let Scaling::PerFeature { factors, offsets } = schema.scaling() else { panic!("one scale for all") };
        assert_eq!((factors, offsets), (vec![0.01, 1.0, 1.0, 1.0], vec![-17_000_000.5, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn a_spread_of_zero_makes_every_value_zero() {
        let constant = Scale { center: 5.0, spread: 0.0 };
        assert_eq!((constant.apply(1e300).to_bits(), constant.narrow()), (0, (0.0, 0.0)));
        assert!((constant.undo(3.0) - 5.0).abs() < f64::EPSILON);
    }

    #[test]
    fn pixels_are_divided_by_their_range() {
        for (scale, offset) in
            [(Scale { center: 0.0, spread: 255.0 }, 0.0), (Scale { center: 127.5, spread: 255.0 }, -0.5)]
        {
            let inputs = Inputs::Array { scales: vec![scale], fills: Vec::new(), channels_first: false };
            let outputs = Outputs::Values { names: vec!["output1".to_owned()], scales: vec![Scale::NONE] };
            let text = Dialect::default();
            let schema = Schema { shape: vec![28, 28, 1], inputs, element: Element::U8, outputs, text };
            assert_eq!(schema.scaling(), Scaling::Uniform { factor: 1.0 / 255.0, offset });
            assert_eq!(schema.output_name(0), Some("output1"));
        }
    }
}
