//! Arrays of features beside arrays of labels: rows that several files hold, one after another.

use std::cell::RefCell;
use std::rc::Rc;

use super::error::{CLASSES_MAX, DataError, Sides, ValuePlace};
use super::rows::{Batch, Cells, RawLabels, RawPart, RowStream};
use super::series::{Opener, Series};
use super::spool::SpoolWriter;
use super::targets;
use super::words::Words;
use crate::settings::{DataSettings, ImageLayout, LabelKind, Missing, ScalingKind};

/// What to say where every row has a gap.
pub(super) const NOTHING_LEFT: &str =
    "every row has a missing value, and `missing = \"drop\"` leaves all of them out";

/// Features and labels, row by row.
struct Pair {
    features: Series,
    labels: Series,
    /// Channels of images that a file has before height and width, and pixels of an image.
    channels_first: Option<[usize; 2]>,
    /// Words of labels that are text: those of all parts.
    words: Rc<RefCell<Words>>,
    turned: Vec<f64>,
}

impl Pair {
    fn rewind_both(&mut self) {
        self.features.rewind();
        self.labels.rewind();
    }

    fn take(&mut self, rows_max: usize, batch: &mut Batch) -> Result<(), DataError> {
        if self.features.are_bytes {
            batch.features.bytes();
        } else {
            batch.features.numbers();
        }
        batch.rows = self.features.take(rows_max, &mut batch.features)?;
        if let Some([channels, pixels]) = self.channels_first {
            self.put_channels_last(&mut batch.features, channels, pixels);
        }
        batch.labels.clear();
        self.take_labels(batch.rows, &mut batch.labels)?;
        Ok(())
    }

    /// Adds the labels of the next rows, at most so many; tells how many rows these are.
    fn take_labels(&mut self, rows_max: usize, labels: &mut Vec<f64>) -> Result<usize, DataError> {
        if !self.labels.is_text {
            let mut cells = Cells::Numbers(std::mem::take(labels));
            let rows = self.labels.take(rows_max, &mut cells)?;
            *labels = std::mem::take(cells.widen());
            return Ok(rows);
        }
        let mut taken = Vec::new();
        let rows = self.labels.take_words(rows_max, &mut taken)?;
        let mut words = self.words.borrow_mut();
        for word in &taken {
            let place = || ValuePlace::Row { file: self.labels.known[0].0.clone(), row: 0, column: 0 };
            let known = words.known(word);
            let found = known.or_else(|| words.add(word, place));
            let file = || self.labels.file().clone();
            labels.push(f64::from(found.ok_or_else(|| DataError::ClassesMax { file: file() })?));
        }
        Ok(rows)
    }

    fn put_channels_last(&mut self, cells: &mut Cells, channels: usize, pixels: usize) {
        fn turn<T: Copy>(values: &mut [T], turned: &mut Vec<T>, channels: usize, pixels: usize) {
            for image in values.chunks_exact_mut(channels * pixels) {
                turned.clear();
                turned.extend(
                    (0..pixels)
                        .flat_map(|pixel| (0..channels).map(move |channel| (pixel, channel)))
                        .map(|(pixel, channel)| image[channel * pixels + pixel]),
                );
                image.copy_from_slice(turned);
            }
        }
        match cells {
            Cells::Bytes(bytes) => turn(bytes, &mut Vec::new(), channels, pixels),
            Cells::Numbers(numbers) => turn(numbers, &mut self.turned, channels, pixels),
        }
    }
}

impl RowStream for Pair {
    fn rewind(&mut self) -> Result<(), DataError> {
        self.rewind_both();
        Ok(())
    }

    fn next(&mut self, rows_max: usize, batch: &mut Batch) -> Result<(), DataError> {
        self.take(rows_max, batch)
    }
}

/// The classes that occur in all parts.
#[derive(Debug)]
pub(super) struct Found {
    numbers: Vec<f64>,
    words: Rc<RefCell<Words>>,
}

impl Default for Found {
    fn default() -> Self {
        Self { numbers: Vec::new(), words: Rc::new(RefCell::new(Words::new(CLASSES_MAX))) }
    }
}

impl Found {
    /// Whether some labels are numbers, and others words.
    pub(super) fn are_mixed(&self) -> bool {
        !self.numbers.is_empty() && self.words.borrow().names().len() > 0
    }

    /// What the labels of all parts are.
    pub(super) fn labels(self, kind: LabelKind, width: usize) -> RawLabels {
        match kind {
            LabelKind::Numbers if width == 1 => RawLabels::Values { names: vec!["output".to_owned()] },
            LabelKind::Numbers => {
                RawLabels::Values { names: (1..=width).map(|output| format!("output{output}")).collect() }
            }
            LabelKind::Classes if self.words.borrow().names().len() > 0 => targets::of_names(&self.words.borrow()),
            LabelKind::Classes => targets::of_numbers(self.numbers),
        }
    }

    fn note(&mut self, number: f64) {
        if let Err(place) = self.numbers.binary_search_by(|known| known.total_cmp(&(number + 0.0))) {
            self.numbers.insert(place, number + 0.0);
        }
    }
}

/// One part of the rows: looked through, and the sides of its rows. `remarks` gets what people should know.
pub(super) fn read(
    features: Vec<Opener>,
    labels: Vec<Opener>,
    settings: &DataSettings,
    found: &mut Found,
    remarks: &mut Vec<String>,
) -> Result<(RawPart, Vec<u32>), DataError> {
    let (features, labels) = (Series::new(features)?, Series::new(labels)?);
    check_shapes(&features, &labels, settings.labels)?;
    let (sides, channels_first) = sides_of(&features, settings, remarks)?;
    check_counts(&features, &labels)?;
    let words = Rc::clone(&found.words);
    let mut pair = Pair { features, labels, channels_first, words, turned: Vec::new() };
    let Looked { are_bytes, kept } = look_through(&mut pair, settings, found)?;
    let (features, labels) = (pair.features.file().clone(), pair.labels.file().clone());
    let (cells, label_width, rows) = (pair.features.width(), pair.labels.width(), pair.features.rows);
    let has_byte_type = pair.features.are_bytes;
    let Some(kept) = kept else {
        let (numbers, stream) = (None, Box::new(pair));
        return Ok((
            RawPart { features, labels, rows, cells, label_width, are_bytes, has_byte_type, numbers, stream },
            sides,
        ));
    };
    if kept.rows() == 0 {
        return Err(DataError::Split { file: features, what: NOTHING_LEFT.to_owned() });
    }
    if kept.rows() < rows {
        let dropped = broadsweep_common::printable::counted((rows - kept.rows()) as u64, "row");
        remarks.push(format!("{features}: {dropped} with missing values left out"));
    }
    let mut spool = kept.finish()?;
    let numbers = spool.numbers.take();
    let (rows, are_bytes, stream) = (spool.rows, spool.are_bytes, Box::new(spool));
    Ok((RawPart { features, labels, rows, cells, label_width, are_bytes, has_byte_type, numbers, stream }, sides))
}

/// Checks that each row has its label: of as many files, pair by pair.
fn check_counts(features: &Series, labels: &Series) -> Result<(), DataError> {
    let whole = |series: &Series| vec![(series.file().clone(), series.rows)];
    let are_paired = features.known.len() == labels.known.len();
    let (features, labels) =
        if are_paired { (features.known.clone(), labels.known.clone()) } else { (whole(features), whole(labels)) };
    for ((features, feature_rows), (labels, label_rows)) in features.into_iter().zip(labels) {
        if feature_rows != label_rows {
            return Err(DataError::Counts { features, feature_rows, labels, label_rows });
        }
    }
    Ok(())
}

fn rows_at_once(cells: usize) -> usize {
    ((1 << 16) / cells.max(1)).max(1)
}

fn check_shapes(features: &Series, labels: &Series, kind: LabelKind) -> Result<(), DataError> {
    let refuse =
        |series: &Series, want| Err(DataError::Shape { file: series.file().clone(), shape: series.shape(), want });
    if features.is_text {
        let what = "text is read for labels, not for features; put features that are words into a table".to_owned();
        return Err(DataError::Unsupported { file: features.file().clone(), what });
    }
    if !(1..=3).contains(&features.sides.len()) {
        return refuse(
            features,
            "features are (rows, values), (rows, height, width) or (rows, height, width, channels)",
        );
    }
    if labels.sides.len() > 1 {
        return refuse(labels, "labels are (rows,) or (rows, outputs)");
    }
    if kind == LabelKind::Classes && labels.width() != 1 {
        return refuse(labels, "labels of classes are one class a row, (rows,); of one-hot rows, take the argmax");
    }
    if kind == LabelKind::Numbers && labels.is_text {
        let what = "its labels are text, and numbers are wanted".to_owned();
        return Err(DataError::Unsupported { file: labels.file().clone(), what });
    }
    Ok(())
}

/// Sides of a row as the network sees it, channels last, and how a file's rows are turned for that.
fn sides_of(
    features: &Series,
    settings: &DataSettings,
    remarks: &mut Vec<String>,
) -> Result<(Vec<u32>, Option<[usize; 2]>), DataError> {
    let sides: Vec<u32> = features.sides.iter().map(|&side| side as u32).collect();
    match (settings.layout, &sides[..]) {
        (Some(ImageLayout::ChannelsFirst), &[channels, height, width]) => {
            Ok((vec![height, width, channels], Some([channels as usize, (height * width) as usize])))
        }
        (Some(ImageLayout::ChannelsFirst), _) => {
            let want = "layout = \"channels_first\" is for (rows, channels, height, width)";
            Err(DataError::Shape { file: features.file().clone(), shape: features.shape(), want })
        }
        (None, &[first @ 1..=4, height, width]) if width > 4 && height > 4 => {
            remarks.push(format!(
                "{}: rows of ({first}, {height}, {width}) are read as images of {first} x {height} pixels with {width} \
                 channels; if the channels come first, write layout = \"channels_first\" in [data], and otherwise \
                 \"channels_last\"",
                features.file()
            ));
            Ok((sides, None))
        }
        _ => Ok((sides, None)),
    }
}

struct Looked {
    are_bytes: bool,
    /// The rows without gaps, where others are left out.
    kept: Option<SpoolWriter>,
}

/// Looks at every row once: what is missing, what is infinite, which classes there are.
fn look_through(pair: &mut Pair, settings: &DataSettings, found: &mut Found) -> Result<Looked, DataError> {
    let (cells, width) = (pair.features.width(), pair.labels.width());
    let drops = settings.missing == Missing::Drop;
    let mut looked = Looked { are_bytes: true, kept: None };
    if drops {
        looked.kept = Some(SpoolWriter::new(pair.features.file().clone(), cells, width));
    }
    if pair.features.are_bytes && !drops {
        return look_at_labels(pair, settings, found).map(|()| looked);
    }
    let (mut batch, mut start) = (Batch::default(), 0);
    pair.rewind_both();
    loop {
        pair.take(rows_at_once(cells), &mut batch)?;
        if batch.rows == 0 {
            return Ok(looked);
        }
        if let Cells::Numbers(numbers) = &batch.features {
            look_at_features(pair, settings, numbers, start, &mut looked)?;
        }
        let numbers = drops.then(|| batch.features.widen().clone());
        for (row, labels) in batch.labels.chunks_exact(width).enumerate() {
            let has_label = look_at_label(pair, settings, found, start + row, labels)?;
            if let (Some(kept), Some(numbers)) = (&mut looked.kept, &numbers) {
                let row = &numbers[row * cells..(row + 1) * cells];
                if has_label && !row.iter().any(|number| number.is_nan()) {
                    kept.row(row, labels)?;
                } else {
                    kept.leave_out();
                }
            }
        }
        start += batch.rows;
    }
}

fn look_at_features(
    pair: &Pair,
    settings: &DataSettings,
    numbers: &[f64],
    start: usize,
    looked: &mut Looked,
) -> Result<(), DataError> {
    let cells = pair.features.width();
    let place = |index: usize| pair.features.place(start + index / cells, index % cells);
    let narrowed = settings.scaling == ScalingKind::None;
    let is_bad = |number: f64| if narrowed { (number as f32).is_infinite() } else { number.is_infinite() };
    if let Some(index) = numbers.iter().position(|&number| is_bad(number)) {
        return Err(DataError::NotFinite { place: place(index), value: numbers[index] });
    }
    if let Some(index) = numbers.iter().position(|number| number.is_nan())
        && settings.missing == Missing::Error
    {
        return Err(DataError::Missing { place: place(index) });
    }
    looked.are_bytes &= numbers.iter().all(|&number| super::rows::is_byte(number));
    Ok(())
}

/// Looks at the labels alone: features that are bytes say nothing that is not known.
fn look_at_labels(pair: &mut Pair, settings: &DataSettings, found: &mut Found) -> Result<(), DataError> {
    let width = pair.labels.width();
    pair.rewind_both();
    let (mut labels, mut start) = (Vec::new(), 0);
    loop {
        labels.clear();
        let rows = pair.take_labels(rows_at_once(width), &mut labels)?;
        if rows == 0 {
            return Ok(());
        }
        for (row, labels) in labels.chunks_exact(width).enumerate() {
            look_at_label(pair, settings, found, start + row, labels)?;
        }
        start += rows;
    }
}

/// Whether a row has its label.
fn look_at_label(
    pair: &Pair,
    settings: &DataSettings,
    found: &mut Found,
    row: usize,
    labels: &[f64],
) -> Result<bool, DataError> {
    for (column, &value) in labels.iter().enumerate() {
        let place = || pair.labels.place(row, column);
        let is_narrowed = settings.labels == LabelKind::Numbers && !settings.scales_targets;
        if value.is_infinite() || is_narrowed && (value as f32).is_infinite() {
            return Err(DataError::NotFinite { place: place(), value });
        }
        if value.is_nan() {
            let drops = settings.missing == Missing::Drop;
            return if drops { Ok(false) } else { Err(DataError::MissingLabel { place: place() }) };
        }
        if settings.labels == LabelKind::Classes && !pair.labels.is_text {
            targets::check_class(value, place)?;
            found.note(value);
            if found.numbers.len() > CLASSES_MAX as usize {
                return Err(DataError::ClassesMax { file: pair.labels.file().clone() });
            }
        }
    }
    Ok(true)
}

/// The group of each row, numbered as they come.
pub(super) fn groups(arrays: Vec<Opener>, rows: usize, missing: Missing) -> Result<Vec<u32>, DataError> {
    let mut series = Series::new(arrays)?;
    let file = series.file().clone();
    if series.width() != 1 {
        let want = "groups are one number or word a row, (rows,)";
        return Err(DataError::Shape { file, shape: series.shape(), want });
    }
    if missing == Missing::Drop {
        let what = "groups and `missing = \"drop\"` do not go together for arrays; leave the rows out of the files";
        return Err(DataError::Split { file, what: what.to_owned() });
    }
    if series.rows != rows {
        let what = format!("it has {} rows, but there are {rows} training rows; each needs its group", series.rows);
        return Err(DataError::Split { file, what });
    }
    let mut spelled = Vec::new();
    if series.is_text {
        series.take_words(rows, &mut spelled)?;
    } else {
        let mut cells = Cells::Numbers(Vec::new());
        series.take(rows, &mut cells)?;
        spelled.extend(cells.widen().iter().map(std::string::ToString::to_string));
    }
    let mut words = Words::new(u32::MAX);
    let place = || ValuePlace::Row { file: file.clone(), row: 0, column: 0 };
    let mut numbers = Vec::with_capacity(rows);
    for word in &spelled {
        let known = words.known(word);
        let group = known.or_else(|| words.add(word, place));
        numbers.push(group.ok_or_else(|| DataError::ClassesMax { file: file.clone() })?);
    }
    Ok(numbers)
}

/// Checks that two parts have rows of one shape.
pub(super) fn check_alike(train: &RawPart, sides: &[u32], test: &RawPart, own: &[u32]) -> Result<(), DataError> {
    let shown = |sides: &[u32]| Sides(sides.iter().map(|&side| u64::from(side)).collect());
    let widths = [train, test].map(|part| [part.label_width as u32]);
    let (a, b, files) = if sides == own {
        (widths[0].as_slice(), widths[1].as_slice(), [&train.labels, &test.labels])
    } else {
        (sides, own, [&train.features, &test.features])
    };
    if a == b {
        return Ok(());
    }
    let [train, test] = files.map(Clone::clone);
    Err(DataError::Unlike { train, train_shape: shown(a), test, test_shape: shown(b) })
}
