//! Parquet tables.

use std::sync::Arc;

use broadsweep_driver::study::TableFormat;
use parquet::basic::{Compression, Encoding, GzipLevel, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};

use super::data_files::{load, table};
use super::{Bound, file};

/// Texts that are written out take 64 MiB at a time. A block of zstd becomes 128 KiB and takes 4 bytes, and a dictionary of
/// it is kept twice.
pub(super) const PARQUET: Bound = Bound { fixed: 72 << 20, per_byte: 4 * 32_768 };

/// A table with a column of each of four types.
pub(super) fn parquet(bytes: &[u8]) {
    file("train.parquet", bytes);
    load(&table("train.parquet", TableFormat::Parquet));
}

pub(super) fn parquet_seeds() -> Vec<Vec<u8>> {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let mut seeds = Vec::new();
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(GzipLevel::default()), zstd]
    {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = || WriterProperties::builder().set_compression(compression).set_writer_version(version);
            seeds.push(parquet_of(properties().build()));
            let differences = properties()
                .set_dictionary_enabled(false)
                .set_column_encoding(ColumnPath::from("a"), Encoding::DELTA_BINARY_PACKED)
                .set_column_encoding(ColumnPath::from("b"), Encoding::BYTE_STREAM_SPLIT)
                .set_column_encoding(ColumnPath::from("c"), Encoding::RLE);
            for texts in [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::PLAIN] {
                let properties = differences.clone().set_column_encoding(ColumnPath::from("label"), texts);
                seeds.push(parquet_of(properties.build()));
            }
        }
    }
    seeds
}

fn parquet_of(properties: WriterProperties) -> Vec<u8> {
    let column = |name: &str, physical, logical| {
        let built = Type::primitive_type_builder(name, physical).with_logical_type(logical);
        built.with_repetition(Repetition::OPTIONAL).build().map(Arc::new)
    };
    let fields = [
        column("a", Physical::INT32, None),
        column("b", Physical::DOUBLE, None),
        column("c", Physical::BOOLEAN, None),
        column("label", Physical::BYTE_ARRAY, Some(LogicalType::String)),
    ];
    let fields = fields.into_iter().flatten().collect();
    let schema = Type::group_type_builder("rows").with_fields(fields).build().unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    write::<Int32Type>(&mut group, &[1, -2], &[1, 0, 1]);
    write::<DoubleType>(&mut group, &[0.5, 1e9, -1.0], &[1, 1, 1]);
    write::<BoolType>(&mut group, &[true, false], &[1, 1, 0]);
    write::<ByteArrayType>(&mut group, &["cat", "cattle", "cat"].map(ByteArray::from), &[1, 1, 1]);
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

fn write<T: DataType>(group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>, values: &[T::T], known: &[i16]) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, Some(known), None).unwrap();
    column.close().unwrap();
}
