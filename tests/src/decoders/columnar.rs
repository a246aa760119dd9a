//! Parquet tables, and pictures.

use std::sync::Arc;

use broadsweep_common::dataset::Element;
use broadsweep_common::schema::{Inputs, Outputs, Scale, Schema};
use broadsweep_driver::data::input;
use broadsweep_driver::study::TableFormat;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::data_files::{load, table};
use super::{Bound, file};

/// Pages say how large they are before they are unpacked; the library believes them up to a bound of its own.
pub(super) const PARQUET: Bound = Bound { fixed: 8 << 20, per_byte: 64 * 1032 };
/// A picture of so few bytes may have many pixels.
pub(super) const PICTURE: Bound = Bound { fixed: 8 << 20, per_byte: 64 * 1032 };

/// A table with a column of each of three types.
pub(super) fn parquet(bytes: &[u8]) {
    file("train.parquet", bytes);
    load(&table("train.parquet", TableFormat::Parquet));
}

pub(super) fn parquet_seeds() -> Vec<Vec<u8>> {
    [Compression::UNCOMPRESSED, Compression::SNAPPY].into_iter().map(parquet_of).collect()
}

fn parquet_of(compression: Compression) -> Vec<u8> {
    let column = |name: &str, physical, logical| {
        let built = Type::primitive_type_builder(name, physical).with_logical_type(logical);
        built.with_repetition(Repetition::OPTIONAL).build().map(Arc::new)
    };
    let fields = [
        column("a", Physical::INT32, None),
        column("b", Physical::DOUBLE, None),
        column("label", Physical::BYTE_ARRAY, Some(LogicalType::String)),
    ];
    let fields = fields.into_iter().flatten().collect();
    let schema = Type::group_type_builder("rows").with_fields(fields).build().unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut next = group.next_column().unwrap().unwrap();
    next.typed::<Int32Type>().write_batch(&[1, -2], Some(&[1, 0, 1]), None).unwrap();
    next.close().unwrap();
    let mut next = group.next_column().unwrap().unwrap();
    next.typed::<DoubleType>().write_batch(&[0.5, 1e9, -1.0], Some(&[1, 1, 1]), None).unwrap();
    next.close().unwrap();
    let mut next = group.next_column().unwrap().unwrap();
    let words = ["cat", "dog", "cat"].map(ByteArray::from);
    next.typed::<ByteArrayType>().write_batch(&words, Some(&[1, 1, 1]), None).unwrap();
    next.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// A picture, for a model that takes such ones.
pub(super) fn picture(bytes: &[u8]) {
    let path = file("row.png", bytes);
    let inputs = Inputs::Array { scales: vec![Scale::NONE], fills: Vec::new(), channels_first: false };
    let outputs = Outputs::Classes { column: None, names: vec!["a".to_owned(), "b".to_owned()] };
    let schema = Schema { shape: vec![8, 8, 3], inputs, element: Element::U8, outputs };
    let _ = input::read_rows(&schema, &path);
}

pub(super) fn picture_seeds() -> Vec<Vec<u8>> {
    let png = |color, depth, channels: usize| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let pixels: Vec<u8> = (0..64 * channels).map(|place| place as u8).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes
    };
    vec![
        png(png::ColorType::Rgb, png::BitDepth::Eight, 3),
        png(png::ColorType::Grayscale, png::BitDepth::Eight, 1),
        png(png::ColorType::Rgba, png::BitDepth::Sixteen, 8),
        JPEG.to_vec(),
    ]
}

/// A grey picture of 8 x 8 pixels (Pillow 13, quality 50).
const JPEG: &[u8] = include_bytes!("../../studies/grey.jpg");
