//! Folders of pictures, a folder for each class: PNG and JPEG, as bytes of grey or of red, green and blue.
//!
//! Of 16 bits a pixel the upper 8 are taken, and transparency is left out. Grey is 0.299 red + 0.587 green + 0.114 blue
//! (ITU-R BT.601), as Pillow's mode `L` has it. Pictures are turned no way, whatever their camera noted.

use std::fs;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use broadsweep_common::dataset::ROW_VALUES_MAX;
use png::{ColorType, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::error::{CLASSES_MAX, DataError, Origin, Sides, ValuePlace};
use super::rows::{RawInputs, RawLabels, RawPart};
use super::source::open_file;
use super::spool::SpoolWriter;
use super::targets;
use super::words::Words;

/// Pixels along a side, at most.
const SIDE_MAX: usize = 16_384;
/// Bytes of one picture's file, at most.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Pictures of all parts, and what their first one decided.
pub(super) struct Pictures {
    /// Height, width, channels; channels as the study says, or as the first picture has them.
    shape: Option<[usize; 3]>,
    channels: Option<usize>,
    /// Whether the study says it.
    is_said: bool,
    classes: Words,
    /// What people should know, though it is no error.
    pub(super) remarks: Vec<String>,
}

/// One picture: channels 1 or 3.
struct Picture {
    height: usize,
    width: usize,
    channels: usize,
    bytes: Vec<u8>,
}

impl Pictures {
    /// Of the shape that the study gives, if it does.
    pub(super) fn new(shape: Option<&[u32]>) -> Self {
        let shape = match shape {
            Some(&[height, width, channels]) => Some([height as usize, width as usize, channels as usize]),
            _ => None,
        };
        let channels = shape.map(|[.., channels]| channels);
        Self { shape, channels, is_said: shape.is_some(), classes: Words::new(CLASSES_MAX), remarks: Vec::new() }
    }

    /// Reads the pictures of one part: those of each folder in the order of their names.
    pub(super) fn read(&mut self, folder: &Path) -> Result<RawPart, DataError> {
        let origin = Origin::file(folder.to_owned());
        let mut spool: Option<SpoolWriter> = None;
        let (classes, others) = list(&origin)?;
        if others > 0 {
            self.remarks.push(format!(
                "{origin}: what is no picture of a class (.png, .jpg, .jpeg in its folder) is left out: {others} of its files \
                 and folders"
            ));
        }
        for (class, files) in classes {
            let place = || ValuePlace::Row { file: origin.clone(), row: 0, column: 0 };
            let known = self.classes.known(&class);
            let class = known.or_else(|| self.classes.add(&class, place));
            let class = class.ok_or_else(|| DataError::ClassesMax { file: origin.clone() })?;
            for path in files {
                let file = Origin::file(path);
                let picture = self.fit(&file, read(&file)?)?;
                let spool = spool.get_or_insert_with(|| SpoolWriter::new(origin.clone(), picture.len(), 1));
                let cells: Vec<f64> = picture.into_iter().map(f64::from).collect();
                spool.row(&cells, &[f64::from(class)])?;
            }
        }
        let spool = spool.ok_or_else(|| DataError::NoRows { file: origin.clone() })?.finish()?;
        let cells = self.shape.map_or(0, |shape| shape.iter().product());
        Ok(RawPart {
            features: origin.clone(),
            labels: origin,
            rows: spool.rows,
            cells,
            label_width: 1,
            are_bytes: true,
            has_byte_type: true,
            numbers: None,
            stream: Box::new(spool),
        })
    }

    /// The bytes of a picture, if it is of the shape of all others.
    fn fit(&mut self, file: &Origin, picture: Picture) -> Result<Vec<u8>, DataError> {
        let channels = *self.channels.get_or_insert(picture.channels);
        let size = [picture.height, picture.width, channels];
        let shape = *self.shape.get_or_insert(size);
        let unsupported = |what| Err(DataError::Unsupported { file: file.clone(), what });
        if shape != size {
            let shown = |[height, width, _]: [usize; 3]| format!("{height} x {width}");
            let (own, others) = (shown(size), shown(shape));
            return unsupported(format!(
                "the picture has {own} pixels (height x width), and others have {others}; scale all of them to one size"
            ));
        }
        match (channels, picture.channels) {
            (1, 1) | (3, 3) => Ok(picture.bytes),
            (3, 1) => Ok(picture.bytes.iter().flat_map(|&grey| [grey; 3]).collect()),
            (1, 3) if self.is_said => Ok(picture.bytes.as_chunks().0.iter().copied().map(grey).collect()),
            (1, 3) => unsupported(format!(
                "the picture has colours, and the first one has none; write shape = [{}, {}, 3] in [data] to have all of \
                 them in colour, or 1 instead of 3 for grey",
                shape[0], shape[1]
            )),
            (channels, _) => unsupported(format!(
                "`shape` has {channels} channels; pictures are read with 1 (grey) or 3 (colours)"
            )),
        }
    }

    /// What all parts have in common.
    pub(super) fn finish(self) -> (RawInputs, RawLabels, Vec<String>) {
        let sides = self.shape.unwrap_or_default().map(|side| side as u32).to_vec();
        (RawInputs::Array { sides }, targets::of_names(&self.classes), self.remarks)
    }
}

/// The one row of one picture, for a model that takes pictures of this shape.
pub(super) fn read_one(file: &Origin, shape: &[u32]) -> Result<Vec<f64>, DataError> {
    let bytes = Pictures::new(Some(shape)).fit(file, read(file)?)?;
    let sides = Sides(shape.iter().map(|&side| u64::from(side)).collect());
    if sides.0.iter().product::<u64>() != bytes.len() as u64 {
        let what = format!("it has {} values, and the model takes rows of {sides}", bytes.len());
        return Err(DataError::Unsupported { file: file.clone(), what });
    }
    Ok(bytes.into_iter().map(f64::from).collect())
}

/// The shape of a picture: height, width, channels.
pub(super) fn shape_of(file: &Origin) -> Result<Vec<u32>, DataError> {
    let Picture { height, width, channels, .. } = read(file)?;
    Ok([height, width, channels].map(|side| side as u32).to_vec())
}

fn grey([red, green, blue]: [u8; 3]) -> u8 {
    let weighted = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    ((weighted + 500) / 1000) as u8
}

/// What a class is called, and its pictures.
type Class = (String, Vec<PathBuf>);

/// The folders of the classes and the pictures in each, in the order of their names; and how much else there is.
fn list(origin: &Origin) -> Result<(Vec<Class>, u64), DataError> {
    let (mut classes, mut others) = (Vec::new(), 0);
    for path in entries(origin, &origin.path)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if !path.is_dir() {
            others += 1;
            continue;
        }
        let all = entries(origin, &path)?.into_iter().filter(|path| !is_hidden(path));
        let (files, rest): (Vec<_>, Vec<_>) = all.partition(|path| is_picture(path));
        others += rest.len() as u64;
        if !files.is_empty() {
            classes.push((name, files));
        }
    }
    if classes.is_empty() {
        let what =
            "it has no folders with pictures (.png, .jpg, .jpeg); each class needs a folder of its own".to_owned();
        return Err(DataError::Split { file: origin.clone(), what });
    }
    Ok((classes, others))
}

/// The folder of a part, those of its classes, and the pictures in them: whatever decides what is read.
pub(super) fn all_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let origin = Origin::file(folder.to_owned());
    let mut all = vec![folder.to_owned()];
    for path in entries(&origin, folder)?.into_iter().filter(|path| !is_hidden(path) && path.is_dir()) {
        all.extend(entries(&origin, &path)?.into_iter().filter(|path| is_picture(path)));
        all.push(path);
    }
    Ok(all)
}

pub(super) fn entries(origin: &Origin, folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotADirectory => {
            let what = "is a file; name the folder that has a folder for each class".to_owned();
            DataError::Split { file: origin.clone(), what }
        }
        _ => DataError::of_file(origin, error),
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

pub(super) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ["png", "jpg", "jpeg"].contains(&ending.as_str()) && path.is_file()
}

pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Whether a picture of so many pixels may be a row.
fn is_row(height: usize, width: usize) -> bool {
    height.saturating_mul(width) <= ROW_VALUES_MAX / 3
}

/// Decodes one file, by what it is and not by what it is called.
fn read(file: &Origin) -> Result<Picture, DataError> {
    let (opened, bytes) = open_file(file)?;
    if bytes > FILE_BYTES_MAX {
        let what = format!("{bytes} bytes; a picture may have {FILE_BYTES_MAX}");
        return Err(DataError::TooLarge { file: file.clone(), what });
    }
    let mut content = Vec::new();
    let limited = std::io::Read::take(opened, FILE_BYTES_MAX);
    std::io::Read::read_to_end(&mut BufReader::new(limited), &mut content)
        .map_err(|error| DataError::of_file(file, error))?;
    let corrupt = |what: String| DataError::Corrupt { file: file.clone(), what };
    let picture = match content.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => read_png(&content).map_err(|error| corrupt(error.to_string()))?,
        [0xff, 0xd8, ..] => read_jpeg(&content).map_err(|error| corrupt(error.to_string()))?,
        other => {
            let start = super::idx::hex(&other[..other.len().min(4)]);
            return Err(DataError::Magic { file: file.clone(), format: "PNG or JPEG", start });
        }
    };
    if picture.bytes.len() != picture.height * picture.width * picture.channels || picture.bytes.is_empty() {
        let shape = Sides([picture.height as u64, picture.width as u64, picture.channels as u64].into());
        return Err(corrupt(format!("{} bytes for a picture of {shape}", picture.bytes.len())));
    }
    Ok(picture)
}

fn read_png(content: &[u8]) -> Result<Picture, png::DecodingError> {
    let limits = png::Limits { bytes: 4 * SIDE_MAX * SIDE_MAX };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(content), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    if !is_row(reader.info().height as usize, reader.info().width as usize) {
        return Err(png::DecodingError::LimitsExceeded);
    }
    let size = reader.output_buffer_size().filter(|&bytes| bytes <= 4 * SIDE_MAX * SIDE_MAX);
    let mut bytes = vec![0; size.ok_or(png::DecodingError::LimitsExceeded)?];
    let info = reader.next_frame(&mut bytes)?;
    bytes.truncate(info.buffer_size());
    let (height, width) = (info.height as usize, info.width as usize);
    let (channels, bytes) = match info.color_type {
        ColorType::Grayscale => (1, bytes),
        ColorType::GrayscaleAlpha => (1, bytes.as_chunks::<2>().0.iter().map(|[grey, _]| *grey).collect()),
        ColorType::Rgba => (3, bytes.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect()),
        ColorType::Rgb | ColorType::Indexed => (3, bytes),
    };
    Ok(Picture { height, width, channels, bytes })
}

fn read_jpeg(content: &[u8]) -> Result<Picture, zune_jpeg::errors::DecodeErrors> {
    // Without the processor's own instructions: the same bytes on every machine.
    let options = DecoderOptions::default().set_use_unsafe(false).set_max_width(SIDE_MAX).set_max_height(SIDE_MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(content), options);
    decoder.decode_headers()?;
    let info = decoder.info();
    let size = info.map_or((0, 0), |info| (usize::from(info.height), usize::from(info.width)));
    if !is_row(size.0, size.1) {
        return Err(zune_jpeg::errors::DecodeErrors::FormatStatic("more pixels than a row may have"));
    }
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, channels) = if is_grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let bytes = decoder.decode()?;
    let (height, width) = size;
    Ok(Picture { height, width, channels, bytes })
}
