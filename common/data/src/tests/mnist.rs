//! MNIST itself, from the example's files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, Element, Features, Part, Scaling, TargetKind, Targets};

use super::{Archive, ArrayPair, DataSource, HeldOut, PartArrays, ScalingKind, load, settings};

fn pair(features: &str, labels: &str) -> ArrayPair<PathBuf> {
    let path = |name: &str| vec![Path::new("../../examples/mnist/data").join(name)];
    ArrayPair { features: path(features), labels: path(labels) }
}

fn mnist(validation_rows: u64) -> Dataset {
    let mut settings = settings(DataSource::Idx(PartArrays {
        train: pair("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        validation: None,
        test: Some(pair("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")),
        groups: None,
    }));
    settings.validation = HeldOut::Count(validation_rows);
    settings.scaling = ScalingKind::Centered;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Dataset::open(Arc::new(load(&settings, &Archive::default(), 1, folder).unwrap().data.content)).unwrap()
}

fn classes(dataset: &Dataset, part: Part) -> Vec<u32> {
    let Targets::Classes(classes) = dataset.targets(part) else { panic!("labels became values") };
    classes.to_vec()
}

fn pixel_sum(dataset: &Dataset, part: Part) -> u64 {
    let Features::U8(pixels) = dataset.features(part) else { panic!("pixels were widened") };
    pixels.iter().map(|&pixel| u64::from(pixel)).sum()
}

#[test]
fn mnist_is_loaded_in_its_own_type_and_order() {
    let dataset = mnist(0);
    let header = dataset.header();
    assert_eq!((header.shape.as_slice(), header.element), ([28, 28, 1].as_slice(), Element::U8));
    assert_eq!((header.targets, header.rows), (TargetKind::Classes { count: 10 }, [60_000, 0, 10_000]));
    assert_eq!(header.scaling, Scaling::Uniform { factor: 1.0 / 255.0, offset: -0.5 });
    assert_eq!(classes(&dataset, Part::Train)[..5], [5, 0, 4, 1, 9]);
    assert_eq!(classes(&dataset, Part::Test)[..5], [7, 2, 1, 0, 4]);
    // The published means, 0.1307 and 0.1325 of 255.
    let mean = |part, rows: f64| pixel_sum(&dataset, part) as f64 / rows / 784.0 / 255.0;
    assert_eq!(format!("{:.4}", mean(Part::Train, 60_000.0)), "0.1307");
    assert_eq!(format!("{:.4}", mean(Part::Test, 10_000.0)), "0.1325");
    let Features::U8(pixels) = dataset.features(Part::Train) else { panic!("pixels were widened") };
    assert_eq!(pixels.row(0).iter().map(|&pixel| u32::from(pixel)).sum::<u32>(), 27_525);
}

#[test]
fn mnist_with_validation_rows_has_every_row_once_in_the_files_order() {
    let (whole, cut) = (mnist(0), mnist(5_000));
    assert_eq!(cut.header().rows, [55_000, 5_000, 10_000]);
    let rows = |dataset: &Dataset, part| {
        let Features::U8(pixels) = dataset.features(part) else { panic!("pixels were widened") };
        let rows = pixels.rows().into_iter().map(|row| row.to_vec());
        rows.zip(classes(dataset, part)).collect::<Vec<_>>()
    };
    let (train, validation) = (rows(&cut, Part::Train), rows(&cut, Part::Validation));
    let (mut train, mut validation) = (train.iter().peekable(), validation.iter().peekable());
    for (number, row) in rows(&whole, Part::Train).iter().enumerate() {
        let next = train.next_if_eq(&row).or_else(|| validation.next_if_eq(&row));
        assert!(next.is_some(), "row {number} is in neither part at its place");
    }
    assert_eq!((train.next(), validation.next()), (None, None));
}
