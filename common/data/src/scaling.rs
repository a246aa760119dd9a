//! What is done to features and targets, from the rows that are trained on; in 64 bits, before anything is narrowed.

use broadsweep_common::dataset::{Element, Part};
use broadsweep_common::schema::{Column, ColumnKind, Inputs, Scale};

use super::error::{self, DataError, Origin};
use super::rows::{Batch, Cells, RawInputs, RawKind, RawPart};
use super::statistics::{Statistics, Together};
use super::unseen::TrainedWords;
use crate::settings::{DataSettings, Missing, ScalingKind};

/// Values a row of which each can have a scale of its own: the header that carries them has its limit.
const SCALES_MAX: usize = 1 << 22;
/// Numbers that a column's 32-bit neighbours have to tell apart, or people are told.
const TOLD_APART_MIN: u64 = 256;
/// Names that a remark lists.
const NAMES_LISTED_MAX: usize = 5;

/// What the training rows say of all cells and all targets.
pub(super) struct Fitted {
    pub(super) inputs: Inputs,
    /// Of each output; empty where labels are classes.
    pub(super) targets: Vec<Scale>,
    pub(super) remarks: Vec<String>,
}

/// What is looked at.
pub(super) struct Fitting<'d> {
    pub(super) settings: &'d DataSettings,
    pub(super) element: Element,
    pub(super) inputs: RawInputs,
    /// Whether all values are scaled together.
    pub(super) are_images: bool,
    /// Whether they are bytes of pixels, from 0 to 255.
    pub(super) are_pixels: bool,
    /// Outputs whose scales are wanted.
    pub(super) outputs: usize,
}

/// The same, with what the rows so far say.
pub(super) struct Fit<'d> {
    fitting: Fitting<'d>,
    features: Origin,
    labels: Origin,
    cells: usize,
    fixed: Option<Scale>,
    wants_each: bool,
    wants_together: bool,
    each: Statistics,
    together: Together,
    targets: Statistics,
    words: TrainedWords,
}

impl Fit<'_> {
    fn wants_rows(&self) -> bool {
        self.wants_each || self.wants_together || self.fitting.outputs > 0
    }

    /// Whether each value of a row has a scale of its own.
    pub(super) fn scales_each(&self) -> bool {
        self.fixed.is_none() && !self.fitting.are_images
    }

    /// Looks at the rows of a batch that are trained on.
    pub(super) fn add(&mut self, batch: &mut Batch, parts: &[Part]) {
        if !self.wants_rows() {
            return;
        }
        let (cells, outputs) = (self.cells, self.fitting.outputs);
        each_training_run(self.fitting.element, batch, parts, cells, |run, labels| {
            if self.wants_each {
                self.each.add(run);
            }
            if self.wants_together {
                self.together.add(run, cells);
            }
            self.words.add(run, cells);
            if outputs > 0 {
                self.targets.add(RowCells::Numbers(labels));
            }
        });
    }

    /// All rows were seen.
    pub(super) fn settle(self) -> Result<Fitted, DataError> {
        let Self { fitting, features: file, labels, cells, fixed, together, targets, words, .. } = self;
        let each = self.each.settled();
        let mut remarks = Vec::new();
        let scales = match fixed {
            Some(scale) => vec![scale; if fitting.are_images { 1 } else { cells }],
            None if fitting.are_images => vec![fitting.scale_together(&together, &file)?],
            None => fitting.scale_each(&each, &file)?,
        };
        if !fitting.are_images {
            fitting.remark(&each, &file, &mut remarks);
            remarks.extend(words.remarks(&fitting.inputs, &file));
        }
        let scales_targets = fitting.settings.scales_targets;
        remark_targets(&targets, scales_targets, &labels, &mut remarks);
        let targets = targets_of(&targets, scales_targets, fitting.outputs, &labels)?;
        let inputs = fitting.inputs_of(scales, &each, &file)?;
        Ok(Fitted { inputs, targets, remarks })
    }
}

impl<'d> Fitting<'d> {
    /// Whether rows lie in the data set as the bytes that they are, whatever all of them say.
    pub(super) fn keeps_rows(&self) -> bool {
        let are_numbers = match &self.inputs {
            RawInputs::Columns(columns) => {
                columns.iter().all(|column| !matches!(column.kind, RawKind::Categories(_)))
            }
            RawInputs::Array { .. } => true,
        };
        self.element == Element::U8 && are_numbers && self.outputs == 0 && self.settings.missing != Missing::Mean
    }

    /// Begins to look at rows of `part`.
    pub(super) fn begin(self, part: &RawPart) -> Result<Fit<'d>, DataError> {
        self.check_width(&part.features)?;
        let fixed = self.fixed();
        Ok(Fit {
            features: part.features.clone(),
            labels: part.labels.clone(),
            cells: part.cells,
            wants_each: !self.are_images || self.settings.missing == Missing::Mean,
            wants_together: self.are_images && fixed.is_none(),
            fixed,
            each: Statistics::new(part.cells),
            together: Together::default(),
            targets: Statistics::new(self.outputs),
            words: TrainedWords::of(&self.inputs),
            fitting: self,
        })
    }

    /// Looks at the training rows of `part`, as far as that is needed.
    pub(super) fn fit(self, part: &mut RawPart, parts: &[Part]) -> Result<Fitted, DataError> {
        let mut fit = self.begin(part)?;
        if fit.wants_rows() {
            part.each_batch(|start, batch| {
                let parts = &parts[start..start + batch.rows];
                fit.add(batch, parts);
                Ok(())
            })?;
        }
        fit.settle()
    }

    /// The scale that no row is asked for.
    fn fixed(&self) -> Option<Scale> {
        let range = self.settings.range.or(self.are_pixels.then_some([0.0, 255.0]));
        match (self.settings.scaling, range) {
            (ScalingKind::None, _) => Some(Scale::NONE),
            (ScalingKind::Unit, Some([low, high])) => Some(unit(low, high)),
            (ScalingKind::Centered, Some([low, high])) => Some(centered(low, high)),
            _ => None,
        }
    }

    fn check_width(&self, file: &Origin) -> Result<(), DataError> {
        let values = self.inputs.values();
        let one_each = self.settings.scaling != ScalingKind::None && !self.are_images;
        if !one_each || values <= SCALES_MAX {
            return Ok(());
        }
        let what = format!(
            "rows of {values} values; `scaling = \"{}\"` takes at most {SCALES_MAX}",
            self.settings.scaling.word()
        );
        Err(DataError::TooLarge { file: file.clone(), what })
    }

    fn scale_together(&self, all: &Together, file: &Origin) -> Result<Scale, DataError> {
        let scale = match self.settings.scaling {
            ScalingKind::Unit => unit(all.least(), all.largest()),
            ScalingKind::Centered => centered(all.least(), all.largest()),
            ScalingKind::Standard => Scale { center: all.mean(), spread: all.deviation() },
            ScalingKind::None => Scale::NONE,
        };
        Self::check_scale(scale, || "the values".to_owned(), file)
    }

    fn scale_each(&self, each: &Statistics, file: &Origin) -> Result<Vec<Scale>, DataError> {
        (0..each.len())
            .map(|cell| {
                let scale = match (self.settings.scaling, self.is_word(cell)) {
                    (ScalingKind::None, _) | (_, true) => Scale::NONE,
                    (ScalingKind::Unit, _) => unit(each.least(cell), each.largest(cell)),
                    (ScalingKind::Centered, _) => centered(each.least(cell), each.largest(cell)),
                    (ScalingKind::Standard, _) => Scale { center: each.mean(cell), spread: each.deviation(cell) },
                };
                Self::check_scale(scale, || format!("{} `{}`", self.noun(), self.name(cell)), file)
            })
            .collect()
    }

    /// Refuses a scale that no number can be given.
    fn check_scale(scale: Scale, what: impl FnOnce() -> String, file: &Origin) -> Result<Scale, DataError> {
        if scale.center.is_finite() && scale.spread.is_finite() {
            return Ok(scale);
        }
        let what = format!(
            "{} run from numbers so small to numbers so large that their spread is beyond 64 bits; scale them in the file, \
             or leave them out",
            what()
        );
        Err(DataError::Split { file: file.clone(), what })
    }

    fn is_word(&self, cell: usize) -> bool {
        match &self.inputs {
            RawInputs::Columns(columns) => matches!(columns[cell].kind, RawKind::Categories(_)),
            RawInputs::Array { .. } => false,
        }
    }

    fn noun(&self) -> &'static str {
        match self.inputs {
            RawInputs::Columns(_) => "the column",
            RawInputs::Array { .. } => "the value",
        }
    }

    fn name(&self, cell: usize) -> String {
        match &self.inputs {
            RawInputs::Columns(columns) => error::shown(&columns[cell].name),
            RawInputs::Array { .. } => format!("{cell}"),
        }
    }

    /// Says which columns are constant, and which have values that 32 bits do not tell apart.
    fn remark(&self, each: &Statistics, file: &Origin, remarks: &mut Vec<String>) {
        let numbers = || (0..each.len()).filter(|&cell| !self.is_word(cell) && each.count(cell) > 0);
        let constant: Vec<_> = numbers().filter(|&cell| each.least(cell) >= each.largest(cell)).collect();
        if !constant.is_empty() {
            remarks.push(format!(
                "{file}: {} the same in all training rows, and nothing can be learned from {}",
                self.listed(&constant, "is", "are"),
                if constant.len() == 1 { "it" } else { "them" }
            ));
        }
        let vanished: Vec<_> = numbers()
            .filter(|&cell| self.settings.scaling == ScalingKind::Standard && each.deviation(cell) <= 0.0)
            .filter(|&cell| each.least(cell) < each.largest(cell))
            .collect();
        if !vanished.is_empty() {
            let are = self.listed(&vanished, "has values", "have values");
            remarks.push(format!(
                "{file}: {are} so small that nothing is left of their spread; multiply them in the file"
            ));
        }
        if self.settings.scaling != ScalingKind::None || self.element == Element::U8 {
            return;
        }
        let collapsed: Vec<_> = numbers().filter(|&cell| collapses(each, cell)).collect();
        if let Some(&first) = collapsed.first() {
            remarks.push(format!(
                "{file}: {} so close together that 32-bit numbers do not tell them apart (`{}` runs from {} to {}); write \
                 scaling = \"standard\" in [data], which centers values in 64 bits first",
                self.listed(&collapsed, "has values", "have values"),
                self.name(first),
                each.least(first),
                each.largest(first)
            ));
        }
    }

    /// `the column `a` is`, or `3 of 10 columns (`a`, `b`, `c`) are`.
    fn listed(&self, cells: &[usize], one: &str, more: &str) -> String {
        let (noun, all) = (self.noun(), self.inputs_len());
        if let [cell] = cells {
            return format!("{noun} `{}` {one}", self.name(*cell));
        }
        let names: Vec<_> =
            cells.iter().take(NAMES_LISTED_MAX).map(|&cell| format!("`{}`", self.name(cell))).collect();
        let rest = if cells.len() > names.len() { ", …" } else { "" };
        let plural = noun.trim_start_matches("the ");
        format!("{} of {all} {plural}s ({}{rest}) {more}", cells.len(), names.join(", "))
    }

    fn inputs_len(&self) -> usize {
        match &self.inputs {
            RawInputs::Columns(columns) => columns.len(),
            RawInputs::Array { .. } => self.inputs.values(),
        }
    }

    /// What stands for a missing value of each cell.
    fn fills(&self, each: &Statistics, file: &Origin) -> Result<Vec<Option<f64>>, DataError> {
        if self.settings.missing != Missing::Mean {
            return Ok(vec![None; each.len()]);
        }
        (0..each.len())
            .map(|cell| {
                if each.count(cell) > 0 || self.is_word(cell) {
                    return Ok(Some(each.mean(cell)));
                }
                let what = format!(
                    "{} `{}` has no value in any training row, so that there is no mean; leave it out",
                    self.noun(),
                    self.name(cell)
                );
                Err(DataError::Split { file: file.clone(), what })
            })
            .collect()
    }

    fn inputs_of(self, scales: Vec<Scale>, each: &Statistics, file: &Origin) -> Result<Inputs, DataError> {
        let fills = self.fills(each, file)?;
        let of_cell = |cell: usize| scales.get(cell).or(scales.first()).copied().unwrap_or(Scale::NONE);
        let columns = match self.inputs {
            RawInputs::Array { .. } => {
                let fills = fills.into_iter().map_while(|fill| fill).collect();
                let same = scales.windows(2).all(|pair| pair[0] == pair[1]);
                let scales = if same { scales.into_iter().take(1).collect() } else { scales };
                let channels_first = self.settings.layout == Some(crate::settings::ImageLayout::ChannelsFirst);
                return Ok(Inputs::Array { scales, fills, channels_first });
            }
            RawInputs::Columns(columns) => columns,
        };
        let may_miss = self.settings.missing == Missing::Mean;
        let columns = columns.into_iter().zip(fills).enumerate().map(|(cell, (column, fill))| {
            let scale = of_cell(cell);
            let kind = match column.kind {
                RawKind::Number => ColumnKind::Number { scale, fill },
                RawKind::Flag => ColumnKind::Flag { scale, fill },
                RawKind::Categories(names) => ColumnKind::Categories { names, may_miss },
            };
            Column { name: column.name, kind }
        });
        Ok(Inputs::Columns(columns.collect()))
    }
}

/// Whether values that differ become the same, or nearly all do, where they are narrowed as they are.
fn collapses(each: &Statistics, cell: usize) -> bool {
    let (least, largest) = (each.least(cell), each.largest(cell));
    if !each.is_rounded(cell) || least >= largest {
        return false;
    }
    // Neighbouring 32-bit numbers have neighbouring bits.
    let place = |number: f32| {
        let bits = i64::from(number.to_bits());
        if number.is_sign_negative() { -(bits & 0x7fff_ffff) } else { bits }
    };
    place(largest as f32).abs_diff(place(least as f32)) < TOLD_APART_MIN
}

fn unit(low: f64, high: f64) -> Scale {
    Scale { center: low, spread: high - low }
}

fn centered(low: f64, high: f64) -> Scale {
    Scale { center: low + (high - low) / 2.0, spread: high - low }
}

/// Says where targets are all the same, and where 32 bits do not tell them apart.
fn remark_targets(each: &Statistics, scales: bool, file: &Origin, remarks: &mut Vec<String>) {
    for output in 0..each.len() {
        let (least, largest) = (each.least(output), each.largest(output));
        let which =
            if each.len() > 1 { format!(" of output {} (counted from 1)", output + 1) } else { String::new() };
        if least >= largest {
            remarks.push(format!(
                "{file}: all training targets{which} are {least}, so that there is nothing to be learned"
            ));
        } else if !scales && collapses(each, output) {
            remarks.push(format!(
                "{file}: the training targets{which} are so close together that 32-bit numbers do not tell them apart (from \
                 {least} to {largest}); leave target_scaling = \"none\" out, and they are centered in 64 bits first"
            ));
        }
    }
}

fn targets_of(each: &Statistics, scales: bool, outputs: usize, file: &Origin) -> Result<Vec<Scale>, DataError> {
    (0..outputs)
        .map(|output| {
            if !scales {
                return Ok(Scale::NONE);
            }
            let scale = Scale { center: each.mean(output), spread: each.deviation(output) };
            if !scale.center.is_finite() || !scale.spread.is_finite() {
                let what = "the targets are so far apart that their spread is beyond 64 bits; scale them in the file";
                return Err(DataError::Split { file: file.clone(), what: what.to_owned() });
            }
            // Of a constant nothing is left but its value.
            Ok(if scale.spread > 0.0 { scale } else { Scale { spread: 1.0, ..scale } })
        })
        .collect()
}

/// The cells of some rows, one behind the other.
#[derive(Clone, Copy)]
pub(super) enum RowCells<'b> {
    Bytes(&'b [u8]),
    Numbers(&'b [f64]),
}

/// Calls `each` with the rows that are trained on, as many as follow one another: bytes where the data set keeps bytes,
/// whatever the file has.
fn each_training_run(
    element: Element,
    batch: &mut Batch,
    parts: &[Part],
    cells: usize,
    mut each: impl FnMut(RowCells<'_>, &[f64]),
) {
    match element {
        Element::U8 => drop(batch.features.narrow()),
        Element::F32 => drop(batch.features.widen()),
    }
    let width = batch.labels.len() / batch.rows.max(1);
    let mut row = 0;
    for run in parts.chunk_by(|one, next| one == next) {
        let rows = row..row + run.len();
        row = rows.end;
        if run[0] != Part::Train {
            continue;
        }
        let labels = &batch.labels[rows.start * width..rows.end * width];
        let range = rows.start * cells..rows.end * cells;
        match &batch.features {
            Cells::Bytes(bytes) => each(RowCells::Bytes(&bytes[range]), labels),
            Cells::Numbers(numbers) => each(RowCells::Numbers(&numbers[range]), labels),
        }
    }
}
