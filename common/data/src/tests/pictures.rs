//! Folders of pictures.

use broadsweep_common::dataset::{Element, Part, Scaling};

use super::*;

/// A picture of 2 x 2 pixels, each channel of the value.
pub(crate) fn png(color: png::ColorType, value: u8) -> Vec<u8> {
    let channels = if color == png::ColorType::Grayscale { 1 } else { 3 };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 2);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(&vec![value; 4 * channels]).unwrap();
    bytes
}

fn folder(files: &[(&str, Vec<u8>)]) -> (Folder, DataSettings) {
    let folder = Folder::new();
    for (name, bytes) in files {
        let path = folder.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut settings = settings(DataSource::Images { train: "train".into(), validation: None, test: None });
    settings.scaling = ScalingKind::Unit;
    (folder, settings)
}

#[test]
fn each_folder_is_a_class_and_pictures_are_bytes_from_0_to_255() {
    let (grey, rgb) = (png::ColorType::Grayscale, png::ColorType::Rgb);
    let (folder, mut settings) = folder(&[
        ("train/dog/b.png", png(grey, 7)),
        ("train/cat/a.PNG", png(grey, 9)),
        ("train/cat/notes.txt", b"no picture".to_vec()),
        ("train/readme", b"neither".to_vec()),
    ]);
    let loaded = folder.load(&settings, LabelKind::Classes).unwrap();
    assert_eq!((loaded.header.shape.as_slice(), loaded.header.element), ([2, 2, 1].as_slice(), Element::U8));
    assert_eq!(loaded.header.scaling, Scaling::Uniform { factor: 1.0 / 255.0, offset: 0.0 });
    assert_eq!(loaded.class_names(), ["cat", "dog"]);
    assert!(loaded.remarks[0].ends_with("is left out: 2 of its files and folders"), "{:?}", loaded.remarks);
    assert_eq!(values(loaded, Part::Train), (vec![9.0, 9.0, 9.0, 9.0, 7.0, 7.0, 7.0, 7.0], vec![0.0, 1.0]));

    std::fs::write(folder.path("train/dog/c.png"), png(rgb, 30)).unwrap();
    let refused = folder.load(&settings, LabelKind::Classes).unwrap_err();
    assert!(
        refused.contains("the picture has colours, and the first one has none; write shape = [2, 2, 3]"),
        "{refused}"
    );
    settings.shape = Some(vec![2, 2, 3]);
    assert_eq!(folder.load(&settings, LabelKind::Classes).unwrap().header.shape, [2, 2, 3]);
    settings.shape = Some(vec![2, 2, 1]);
    let (features, _) = values(folder.load(&settings, LabelKind::Classes).unwrap(), Part::Train);
    assert_eq!(features[8..], [30.0; 4], "0.299 + 0.587 + 0.114 is 1");
}

#[test]
fn folders_are_classes_by_their_whole_names() {
    let grey = png::ColorType::Grayscale;
    let (folder, settings) = folder(&[
        ("train/0.1/a.png", png(grey, 1)),
        ("train/0.9/a.png", png(grey, 2)),
        ("train/01/a.png", png(grey, 3)),
    ]);
    assert_eq!(folder.load(&settings, LabelKind::Classes).unwrap().class_names(), ["0.1", "0.9", "01"]);
}

#[test]
fn what_is_damaged_or_of_another_size_is_named() {
    let grey = png::ColorType::Grayscale;
    let mut other = Vec::new();
    let mut encoder = png::Encoder::new(&mut other, 3, 1);
    encoder.set_color(grey);
    encoder.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
    let good = png(grey, 1);
    for (bytes, want) in [
        (good[..30].to_vec(), "train/b/b.png: its compressed data is damaged"),
        (other, "train/b/b.png: the picture has 1 x 3 pixels (height x width), and others have 2 x 2"),
        (b"GIF89a".to_vec(), "train/b/b.png is no PNG or JPEG file: it starts with 47 49 46 38"),
    ] {
        let (folder, settings) = folder(&[("train/a/a.png", good.clone()), ("train/b/b.png", bytes)]);
        let refused = folder.load(&settings, LabelKind::Classes).unwrap_err();
        assert!(refused.starts_with(want), "{refused}");
    }
}
